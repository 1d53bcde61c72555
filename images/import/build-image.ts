/** An image from a directory, on top of one that is in the store or of nothing. */
import { ShoalError } from '../../protocols/base/errors.ts';
import { DOCUMENT_BYTES_MAX, LAYERS_MAX, parseConfig, parseManifest } from '../core/documents.ts';
import { parseImageName } from '../core/image-name.ts';
import {
  type BlobReference,
  type ConfigInit,
  encodeConfig,
  encodeManifest,
} from '../core/manifest-encoding.ts';
import { OCI_CONFIG, OCI_LAYER_GZIP } from '../core/media-types.ts';
import type { BuildInit } from '../images.ts';
import type { BlobStore } from '../store/blob-store.ts';
import { buildLayer } from './build-layer.ts';
import type { FoundImage, OnStored } from './oci-layout.ts';

const NOTHING = {
  diffIds: [],
  entrypoint: [],
  command: [],
  env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
  workingDir: '',
  user: '',
  exposedPorts: [],
  stopSignal: '',
};

/**
 * What the base says holds where the build says nothing. An entrypoint of the build drops the base's command, as
 * Dockerfiles do.
 * @throws E_IMAGE_INVALID, E_IMAGE_UNKNOWN (the base is not here), E_BAD_INPUT (the name), E_DISK_FULL, E_CANCELLED
 */
export async function buildImage(
  init: BuildInit,
  store: BlobStore,
  options: {
    readonly platform: string;
    readonly onStored: OnStored;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<FoundImage> {
  const name = parseImageName(init.name);
  const base = await readBase(init, store, options.platform);
  if (base.layers.length >= LAYERS_MAX) {
    throw new ShoalError('E_IMAGE_INVALID', `the base has ${LAYERS_MAX} layers already`);
  }
  const layer = await buildLayer(init.directory, store, options.signal);
  options.onStored(layer);
  const env = new Map(base.config.env.map((pair) => [pair.slice(0, pair.indexOf('=')), pair]));
  for (const [key, value] of Object.entries(init.env ?? {})) env.set(key, `${key}=${value}`);
  const config = await store.putBytes(
    encodeConfig({
      ...base.config,
      diffIds: [...base.config.diffIds, layer.diffId],
      entrypoint: init.entrypoint ?? base.config.entrypoint,
      command: init.command ?? (init.entrypoint === undefined ? base.config.command : []),
      env: [...env.values()],
      workingDir: init.workingDir ?? base.config.workingDir,
      user: init.user ?? base.config.user,
      exposedPorts: [
        ...new Set([...base.config.exposedPorts, ...(init.ports ?? []).map((port) => `${port}/tcp`)]),
      ],
    }),
  );
  options.onStored(config);
  const layers = [...base.layers, { ...layer, mediaType: OCI_LAYER_GZIP }];
  const manifest = await store.putBytes(encodeManifest({ ...config, mediaType: OCI_CONFIG }, layers));
  options.onStored(manifest);
  const kept = base.layers.map((blob) => ({ digest: blob.digest, size: blob.size, created: false }));
  return { names: [name], manifest, blobs: [config, ...kept, layer] };
}

async function readBase(
  init: BuildInit,
  store: BlobStore,
  platform: string,
): Promise<{ config: ConfigInit; layers: readonly BlobReference[] }> {
  if (init.base === undefined) return { config: { ...NOTHING, platform }, layers: [] };
  if (!(await store.has(init.base))) {
    throw new ShoalError('E_IMAGE_UNKNOWN', `the base ${init.base} is not on this host`);
  }
  const manifest = parseManifest(await store.read(init.base, DOCUMENT_BYTES_MAX));
  const config = parseConfig(await store.read(manifest.config.digest, DOCUMENT_BYTES_MAX));
  for (const layer of manifest.layers) {
    if (await store.has(layer.digest)) continue;
    throw new ShoalError('E_IMAGE_UNKNOWN', `the base ${init.base} is not whole on this host`);
  }
  return {
    config: { ...config.config, platform: config.platform, diffIds: config.diffIds },
    layers: manifest.layers,
  };
}
