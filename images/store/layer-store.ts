/**
 * Unpacked layers, as directories `layers/<hex of the blob>/fs`, with what the layer hides in `whiteouts.json`
 * beside `fs`. A directory under its final name is whole; half-made ones are removed at start.
 * Not here: unpacking (images/unpack).
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../../protocols/base/ids.ts';
import { blobName } from '../core/metainfo.ts';
import { asDiskError } from './disk-errors.ts';
import { syncDirectory } from './durable-file.ts';

const UNFINISHED = '.new-';

export class LayerStore {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async open(root: string): Promise<LayerStore> {
    const directory = join(root, 'layers');
    await mkdir(directory, { recursive: true, mode: 0o755 });
    for (const name of await readdir(directory)) {
      if (name.startsWith(UNFINISHED)) await removeTree(join(directory, name));
    }
    return new LayerStore(directory);
  }

  /** The lower directory for overlayfs, whether it is there or not. */
  path(layer: Digest): string {
    return join(this.#directory, blobName(layer), 'fs');
  }

  async has(layer: Digest): Promise<boolean> {
    return (await stat(this.path(layer)).catch(() => undefined))?.isDirectory() ?? false;
  }

  /**
   * @param fill makes `fs` and `whiteouts.json` in the directory that it is given, and syncs them.
   * @returns true when the layer was not there before.
   * @throws E_DISK_FULL, or what `fill` throws; nothing is kept then.
   */
  async install(layer: Digest, fill: (directory: string) => Promise<void>): Promise<boolean> {
    if (await this.has(layer)) return false;
    const aside = join(this.#directory, UNFINISHED + randomUUID());
    try {
      await mkdir(aside, { mode: 0o755 });
      await fill(aside);
      await rename(aside, join(this.#directory, blobName(layer)));
      await syncDirectory(this.#directory);
      return true;
    } catch (error) {
      await removeTree(aside);
      // Another unpacked the same layer meanwhile: rename(2) refuses to replace a directory that is not empty.
      if (await this.has(layer)) return false;
      throw asDiskError(error);
    }
  }

  async remove(layer: Digest): Promise<void> {
    // Renamed first, so that a crash midway leaves nothing that looks whole.
    const aside = join(this.#directory, UNFINISHED + randomUUID());
    await rename(join(this.#directory, blobName(layer)), aside).catch(() => undefined);
    await removeTree(aside);
  }
}

async function removeTree(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
}
