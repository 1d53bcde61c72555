/**
 * A tar archive, plain or gzipped, as the source of an import. It is read once: each file goes to a temporary file
 * under a name of ours, so no name in the archive touches the file system.
 */
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rm } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import { asDiskError } from '../store/disk-errors.ts';
import { type ArchiveEntry, readArchive } from '../tar/archive.ts';
import { isGzip } from './gzip.ts';
import type { ImportSource } from './source.ts';

/** A docker archive has a few files per layer. */
export const ARCHIVE_FILES_MAX = 10_000;
export const ARCHIVE_BYTES_MAX = 256 * 2 ** 30;
const LINKS_MAX = 8;

export class ArchiveSource implements ImportSource {
  readonly owned = true;
  readonly #directory: string;
  readonly #files = new Map<string, string>();
  /** Old docker versions write a layer that comes twice as a symlink. */
  readonly #links = new Map<string, string>();

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * @param temporary a directory on the store's file system, emptied at every start.
   * @throws E_IMAGE_INVALID when it is no tar archive, E_DISK_FULL, E_CANCELLED; nothing is kept then.
   */
  static async open(path: string, temporary: string, signal?: AbortSignal): Promise<ArchiveSource> {
    const source = new ArchiveSource(join(temporary, randomUUID()));
    await mkdir(source.#directory, { mode: 0o700 });
    try {
      await source.#extract(path, signal);
      return source;
    } catch (cause) {
      await source[Symbol.asyncDispose]();
      const error = asDiskError(cause);
      if (isShoalError(error)) throw error;
      if (signal?.aborted) throw new ShoalError('E_CANCELLED', 'the import was cancelled; nothing was kept');
      throw new ShoalError('E_IMAGE_INVALID', `${path} is no readable tar archive; nothing was kept`, {
        cause,
      });
    }
  }

  async file(name: string): Promise<string | undefined> {
    let at = posix.normalize(name);
    for (let links = 0; links < LINKS_MAX; links++) {
      const link = this.#links.get(at);
      if (link === undefined) return this.#files.get(at);
      at = posix.normalize(link);
    }
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #extract(path: string, signal: AbortSignal | undefined): Promise<void> {
    const file = createReadStream(path, { highWaterMark: 1 << 20, ...(signal ? { signal } : {}) });
    const tar = (await isGzip(path)) ? pipeline(file, createGunzip(), () => undefined) : file;
    let entries = 0;
    let bytes = 0;
    await readArchive(tar as Readable, async (entry, body) => {
      entries += 1;
      bytes += entry.size;
      if (entries > ARCHIVE_FILES_MAX || bytes > ARCHIVE_BYTES_MAX) {
        throw new ShoalError('E_IMAGE_INVALID', 'the archive is too large; nothing was kept');
      }
      await this.#take(entry, body);
    });
  }

  async #take(entry: ArchiveEntry, body: AsyncIterable<Uint8Array>): Promise<void> {
    const name = posix.normalize(entry.path);
    if (entry.type === 'symlink') this.#links.set(name, posix.join(posix.dirname(name), entry.link));
    else if (entry.type === 'link') this.#links.set(name, entry.link);
    else if (entry.type === 'file') {
      const target = join(this.#directory, String(this.#files.size));
      const handle = await open(target, 'wx', 0o644);
      try {
        for await (const chunk of body) {
          for (let at = 0; at < chunk.byteLength; ) at += (await handle.write(chunk, at)).bytesWritten;
        }
      } finally {
        await handle.close();
      }
      this.#files.set(name, target);
    }
  }
}
