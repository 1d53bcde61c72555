/**
 * Blobs by SHA-256, as files `blobs/sha256/<hex>`. A file is there only when its bytes were checked; everything
 * unfinished lives in `tmp/`, which is emptied at start. Not here: where blobs come from, and what is in them.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../../protocols/base/errors.ts';
import { type Digest, isDigest } from '../../protocols/base/ids.ts';
import { blobName } from '../core/metainfo.ts';
import { asDiskError } from './disk-errors.ts';
import { renameDurably } from './durable-file.ts';

const READ_CHUNK_BYTES = 1 << 20;

export interface StoredBlob {
  readonly digest: Digest;
  readonly size: number;
  /** False when it was there already. */
  readonly created: boolean;
}

/** What a blob must turn out to be. */
export interface ExpectedBlob {
  readonly digest: Digest;
  readonly size: number;
}

export class BlobStore {
  /** A scratch directory on the store's file system, emptied at start. */
  readonly temporary: string;
  /** Where the files are, named by `blobName`. */
  readonly directory: string;

  private constructor(directory: string, temporary: string) {
    this.directory = directory;
    this.temporary = temporary;
  }

  /** @param root made when missing. What an earlier process left unfinished is removed. */
  static async open(root: string): Promise<BlobStore> {
    const directory = join(root, 'blobs', 'sha256');
    const temporary = join(root, 'tmp');
    await mkdir(directory, { recursive: true, mode: 0o755 });
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { mode: 0o700 });
    return new BlobStore(directory, temporary);
  }

  path(digest: Digest): string {
    return join(this.directory, blobName(digest));
  }

  async has(digest: Digest): Promise<boolean> {
    return (await this.size(digest)) !== undefined;
  }

  /** @returns bytes, or undefined when it is not here. */
  async size(digest: Digest): Promise<number | undefined> {
    const found = await stat(this.path(digest)).catch(() => undefined);
    return found?.isFile() ? found.size : undefined;
  }

  async list(): Promise<Digest[]> {
    return (await readdir(this.directory)).map((name) => `sha256:${name}`).filter(isDigest);
  }

  /** @throws E_NOT_FOUND, E_TOO_LARGE */
  async read(digest: Digest, bytes_max: number): Promise<Uint8Array> {
    const size = await this.size(digest);
    if (size === undefined) throw new ShoalError('E_NOT_FOUND', `the blob ${digest} is not here`);
    if (size > bytes_max) throw new ShoalError('E_TOO_LARGE', `the blob ${digest} has ${size} bytes`);
    return new Uint8Array(await readFile(this.path(digest)));
  }

  /**
   * Stores what `source` yields. Any number of writers of one digest may run at once.
   * @param expected when missing, the digest is whatever the bytes have.
   * @throws E_BLOB_CORRUPT, E_DISK_FULL, or what `source` throws; nothing is kept then.
   */
  async put(source: AsyncIterable<Uint8Array>, expected?: ExpectedBlob): Promise<StoredBlob> {
    const aside = join(this.temporary, randomUUID());
    try {
      const handle = await open(aside, 'wx', 0o644);
      let found: ExpectedBlob;
      try {
        found = await writeAndHash(handle, source, expected?.size ?? Number.POSITIVE_INFINITY);
        await handle.sync();
      } finally {
        await handle.close();
      }
      return await this.#settle(aside, found, expected);
    } catch (error) {
      await rm(aside, { force: true });
      throw asDiskError(error);
    }
  }

  putBytes(bytes: Uint8Array, expected?: ExpectedBlob): Promise<StoredBlob> {
    return this.put(oneChunk(bytes), expected);
  }

  /**
   * Checks a finished file on the store's file system and moves it in, without copying it.
   * @throws E_BLOB_CORRUPT, E_DISK_FULL; the file is removed then.
   */
  async adopt(file: string, expected?: ExpectedBlob): Promise<StoredBlob> {
    try {
      const hash = createHash('sha256');
      let size = 0;
      for await (const chunk of createReadStream(file, { highWaterMark: READ_CHUNK_BYTES })) {
        hash.update(chunk as Uint8Array);
        size += (chunk as Uint8Array).byteLength;
      }
      const handle = await open(file, 'r');
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
      return await this.#settle(file, { digest: `sha256:${hash.digest('hex')}`, size }, expected);
    } catch (error) {
      await rm(file, { force: true });
      throw asDiskError(error);
    }
  }

  async remove(digest: Digest): Promise<void> {
    await rm(this.path(digest), { force: true });
  }

  async #settle(file: string, found: ExpectedBlob, expected: ExpectedBlob | undefined): Promise<StoredBlob> {
    if (expected !== undefined && (found.digest !== expected.digest || found.size !== expected.size)) {
      throw corrupt(expected.digest);
    }
    const created = !(await this.has(found.digest));
    if (created) await renameDurably(file, this.path(found.digest));
    else await rm(file, { force: true });
    return { ...found, created };
  }
}

function corrupt(digest: Digest): ShoalError {
  return new ShoalError('E_BLOB_CORRUPT', `the bytes of ${digest} are not what it names; nothing was kept`, {
    detail: { digest },
  });
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function writeAndHash(
  handle: FileHandle,
  source: AsyncIterable<Uint8Array>,
  bytes_max: number,
): Promise<ExpectedBlob> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of source) {
    size += chunk.byteLength;
    if (size > bytes_max) throw new ShoalError('E_BLOB_CORRUPT', 'a blob is longer than it should be');
    hash.update(chunk);
    for (let at = 0; at < chunk.byteLength; ) at += (await handle.write(chunk, at)).bytesWritten;
  }
  return { digest: `sha256:${hash.digest('hex')}`, size };
}
