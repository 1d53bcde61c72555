/** Images in an OCI layout. Source: OCI image specification, image layout, annotations; containerd's image name. */
import { ShoalError } from '../../protocols/base/errors.ts';
import type { Digest } from '../../protocols/base/ids.ts';
import { type Descriptor, documentKind, parseIndex, parseManifest } from '../core/documents.ts';
import { imageNameOrUndefined } from '../core/image-name.ts';
import { chooseManifest } from '../core/platform.ts';
import type { BlobStore, StoredBlob } from '../store/blob-store.ts';
import { blobPath, readDocument, storeFile } from './read-source.ts';
import type { ImportSource } from './source.ts';

/** Indexes within indexes; deeper is not an image. */
const NESTING_MAX = 4;
const NAME_ANNOTATIONS = ['io.containerd.image.name', 'org.opencontainers.image.ref.name'];

/** An image whose blobs are all in the store now. */
export interface FoundImage {
  readonly names: readonly string[];
  readonly manifest: StoredBlob;
  readonly blobs: readonly StoredBlob[];
}

/** The blobs of a found image are reported one by one to `onStored`, so that a failure can take them back. */
export type OnStored = (blob: StoredBlob) => void;

function nameOf(descriptor: Descriptor): string | undefined {
  for (const key of NAME_ANNOTATIONS) {
    const name = imageNameOrUndefined(descriptor.annotations[key] ?? '');
    if (name !== undefined) return name;
  }
  return undefined;
}

/** @returns the images for this platform; of several with one name, the one that fits. */
export async function readOciLayout(
  source: ImportSource,
  store: BlobStore,
  options: { readonly platform: string; readonly onStored: OnStored },
): Promise<FoundImage[]> {
  const index = await readDocument(source, 'index.json');
  if (index === undefined) throw new ShoalError('E_IMAGE_INVALID', 'the layout has no index.json');
  const groups = new Map<string, Descriptor[]>();
  for (const descriptor of parseIndex(index)) {
    const key = nameOf(descriptor) ?? descriptor.digest;
    groups.set(key, [...(groups.get(key) ?? []), descriptor]);
  }
  const found = new Map<Digest, FoundImage>();
  for (const group of groups.values()) {
    const chosen = chooseManifest(group, options.platform);
    if (chosen === undefined) continue;
    const image = await readImage(chosen, source, store, options);
    const names = [...(found.get(image.manifest.digest)?.names ?? []), ...image.names];
    found.set(image.manifest.digest, { ...image, names: [...new Set(names)] });
  }
  return [...found.values()];
}

async function readImage(
  top: Descriptor,
  source: ImportSource,
  store: BlobStore,
  options: { readonly platform: string; readonly onStored: OnStored },
): Promise<FoundImage> {
  let at = top;
  for (let depth = 0; depth < NESTING_MAX; depth++) {
    const bytes = await readDocument(source, blobPath(at.digest));
    if (bytes === undefined)
      throw new ShoalError('E_IMAGE_INVALID', `the layout lacks the blob ${at.digest}`);
    if (documentKind(bytes, at.mediaType) === 'manifest') {
      const manifest = await store.putBytes(bytes, at);
      options.onStored(manifest);
      const { config, layers } = parseManifest(bytes);
      const blobs: StoredBlob[] = [];
      for (const blob of [config, ...layers]) {
        const stored = await storeFile(source, blobPath(blob.digest), store, blob);
        options.onStored(stored);
        blobs.push(stored);
      }
      const name = nameOf(top);
      return { names: name === undefined ? [] : [name], manifest, blobs };
    }
    const chosen = chooseManifest(parseIndex(bytes), options.platform);
    if (chosen === undefined) {
      throw new ShoalError('E_IMAGE_INVALID', `the image has no manifest for ${options.platform}`);
    }
    at = chosen;
  }
  throw new ShoalError('E_IMAGE_INVALID', `indexes are nested more than ${NESTING_MAX} deep`);
}
