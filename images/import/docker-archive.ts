/**
 * Images as old versions of `docker save` write them: manifest.json, a config and uncompressed layers. The config is
 * kept as it is; the manifest is made anew, always the same for the same content.
 * Source: moby image specification v1.2, combined image JSON and file system changeset format.
 */
import { ShoalError } from '../../protocols/base/errors.ts';
import { isDigest } from '../../protocols/base/ids.ts';
import { LAYERS_MAX, parseConfig } from '../core/documents.ts';
import { imageNameOrUndefined } from '../core/image-name.ts';
import { encodeManifest } from '../core/manifest-encoding.ts';
import { OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP } from '../core/media-types.ts';
import type { BlobStore, StoredBlob } from '../store/blob-store.ts';
import { isGzip } from './gzip.ts';
import type { FoundImage, OnStored } from './oci-layout.ts';
import { readDocument, storeFile } from './read-source.ts';
import type { ImportSource } from './source.ts';

const IMAGES_MAX = 100;

interface SavedImage {
  readonly config: string;
  readonly names: readonly string[];
  readonly layers: readonly string[];
}

function invalid(what: string): ShoalError {
  return new ShoalError('E_IMAGE_INVALID', `${what}; nothing was kept`);
}

function isTexts(value: unknown, items_max: number): value is string[] {
  return Array.isArray(value) && value.length <= items_max && value.every((item) => typeof item === 'string');
}

function parseSaved(bytes: Uint8Array): SavedImage[] {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw invalid('manifest.json is not JSON');
  }
  if (!Array.isArray(value) || value.length > IMAGES_MAX) throw invalid('manifest.json is no list of images');
  return value.map((item: { Config?: unknown; RepoTags?: unknown; Layers?: unknown } | null) => {
    const config = item?.Config;
    const layers = item?.Layers ?? [];
    const names = item?.RepoTags ?? [];
    if (typeof config !== 'string' || !isTexts(layers, LAYERS_MAX) || !isTexts(names, 1000)) {
      throw invalid('manifest.json does not describe images');
    }
    return { config, layers, names };
  });
}

export async function readDockerArchive(
  source: ImportSource,
  store: BlobStore,
  options: { readonly onStored: OnStored },
): Promise<FoundImage[]> {
  const saved = await readDocument(source, 'manifest.json');
  if (saved === undefined) throw invalid('the archive has no manifest.json');
  const found: FoundImage[] = [];
  for (const image of parseSaved(saved)) found.push(await readImage(image, source, store, options.onStored));
  return found;
}

async function readImage(
  image: SavedImage,
  source: ImportSource,
  store: BlobStore,
  onStored: OnStored,
): Promise<FoundImage> {
  const keep = (blob: StoredBlob): StoredBlob => {
    onStored(blob);
    return blob;
  };
  const configBytes = await readDocument(source, image.config);
  if (configBytes === undefined) throw invalid(`the archive lacks the config ${image.config}`);
  if (parseConfig(configBytes).diffIds.length !== image.layers.length) {
    throw invalid('the config and manifest.json differ in the number of layers');
  }
  // The config's name is its hash; what does not say so is only checked through its layers.
  const hex = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(image.config)?.[1];
  const digest = `sha256:${hex}`;
  const expected = isDigest(digest) ? { digest, size: configBytes.byteLength } : undefined;
  const config = keep(await store.putBytes(configBytes, expected));
  const layers: (StoredBlob & { mediaType: string })[] = [];
  for (const name of image.layers) {
    const layer = keep(await storeFile(source, name, store));
    const mediaType = (await isGzip(store.path(layer.digest))) ? OCI_LAYER_GZIP : OCI_LAYER;
    layers.push({ ...layer, mediaType });
  }
  const bytes = encodeManifest({ ...config, mediaType: OCI_CONFIG }, layers);
  const manifest = keep(await store.putBytes(bytes));
  const names = image.names.map(imageNameOrUndefined).filter((name) => name !== undefined);
  return { names: [...new Set(names)], manifest, blobs: [config, ...layers] };
}
