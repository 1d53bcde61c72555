/** Finds out by looking what an import was given, and reads the images in it into the store. */
import { stat } from 'node:fs/promises';
import { ShoalError } from '../../protocols/base/errors.ts';
import type { BlobStore } from '../store/blob-store.ts';
import { ArchiveSource } from './archive-source.ts';
import { DirectorySource } from './directory-source.ts';
import { readDockerArchive } from './docker-archive.ts';
import { type FoundImage, type OnStored, readOciLayout } from './oci-layout.ts';
import type { ImportSource } from './source.ts';

async function openSource(
  path: string,
  temporary: string,
  signal: AbortSignal | undefined,
): Promise<ImportSource> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new ShoalError('E_IMAGE_INVALID', `${path} cannot be read`, { cause });
  });
  if (found.isDirectory()) return DirectorySource.open(path);
  if (found.isFile()) return ArchiveSource.open(path, temporary, signal);
  throw new ShoalError('E_IMAGE_INVALID', `${path} is neither a file nor a directory`);
}

/**
 * @param options.onStored every blob that is put into the store, also when the import fails later.
 * @throws E_IMAGE_INVALID, E_BLOB_CORRUPT, E_DISK_FULL, E_CANCELLED
 */
export async function readImages(
  path: string,
  store: BlobStore,
  options: {
    readonly platform: string;
    readonly onStored: OnStored;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<FoundImage[]> {
  await using source = await openSource(path, store.temporary, options.signal);
  let images: FoundImage[];
  // Newer versions of docker save write both; the layout names every blob by its digest.
  if ((await source.file('index.json')) !== undefined) images = await readOciLayout(source, store, options);
  else if ((await source.file('manifest.json')) !== undefined)
    images = await readDockerArchive(source, store, options);
  else
    throw new ShoalError('E_IMAGE_INVALID', `${path} is no image: no index.json and no manifest.json in it`);
  if (images.length === 0) {
    throw new ShoalError('E_IMAGE_INVALID', `${path} has no image for ${options.platform}`);
  }
  return images;
}
