/** Reads small files and big blobs of an import into the store, each of them checked. */
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../../protocols/base/errors.ts';
import type { Digest } from '../../protocols/base/ids.ts';
import { DOCUMENT_BYTES_MAX } from '../core/documents.ts';
import type { BlobStore, ExpectedBlob, StoredBlob } from '../store/blob-store.ts';
import type { ImportSource } from './source.ts';

/** @returns the bytes, or undefined when the source has no such file. @throws E_IMAGE_INVALID when it is too large. */
export async function readDocument(source: ImportSource, name: string): Promise<Uint8Array | undefined> {
  const file = await source.file(name);
  if (file === undefined) return undefined;
  if ((await stat(file)).size > DOCUMENT_BYTES_MAX) {
    throw new ShoalError('E_IMAGE_INVALID', `${name} is over ${DOCUMENT_BYTES_MAX} bytes; nothing was kept`);
  }
  return new Uint8Array(await readFile(file));
}

/** Stores one file of the source. @throws E_IMAGE_INVALID when it is missing, E_BLOB_CORRUPT, E_DISK_FULL */
export async function storeFile(
  source: ImportSource,
  name: string,
  store: BlobStore,
  expected?: ExpectedBlob,
): Promise<StoredBlob> {
  const file = await source.file(name);
  if (file === undefined) {
    throw new ShoalError('E_IMAGE_INVALID', `the image lacks ${name}; nothing was kept`);
  }
  if (source.owned) {
    // A second name for the same bytes: nothing is copied, and a file that comes twice can be taken twice.
    const aside = join(store.temporary, randomUUID());
    await link(file, aside);
    return store.adopt(aside, expected);
  }
  return store.put(createReadStream(file, { highWaterMark: 1 << 20 }), expected);
}

/** Where OCI layouts keep a blob. Source: OCI image specification, image layout, blobs. */
export function blobPath(digest: Digest): string {
  return `blobs/${digest.replace(':', '/')}`;
}
