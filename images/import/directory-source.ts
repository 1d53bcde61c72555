/** A directory as the source of an import. Nothing outside of it is read, whatever its symlinks say. */
import { realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import type { ImportSource } from './source.ts';

export class DirectorySource implements ImportSource {
  readonly owned = false;
  readonly #root: string;

  private constructor(root: string) {
    this.#root = root;
  }

  static async open(directory: string): Promise<DirectorySource> {
    return new DirectorySource(await realpath(directory));
  }

  async file(name: string): Promise<string | undefined> {
    const path = await realpath(join(this.#root, name)).catch(() => undefined);
    if (path === undefined || !path.startsWith(this.#root + sep)) return undefined;
    return (await stat(path)).isFile() ? path : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
