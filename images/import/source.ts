/**
 * Where an import reads from: named files, be they in a directory or in an archive. Names are as in the archive,
 * without `./`. Not here: what the files mean.
 */

export interface ImportSource extends AsyncDisposable {
  /** @returns the path of a regular file with the content, or undefined when there is no such name. */
  file(name: string): Promise<string | undefined>;
  /** The files belong to the import and lie on the store's file system: they may be moved into it. */
  readonly owned: boolean;
}
