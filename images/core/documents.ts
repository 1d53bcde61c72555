/**
 * Reads manifests, indexes and configs: JSON of strangers to values that hold. Every length is bounded, every
 * field that is used is checked, and nothing else is kept.
 * Source: OCI image specification, descriptor, manifest, image index, config.
 */
import { ShoalError } from '../../protocols/base/errors.ts';
import { type Digest, isDigest } from '../../protocols/base/ids.ts';
import type { ImageConfig } from '../images.ts';
import { isIndexType, isManifestType, layerCompression } from './media-types.ts';

/** Largest manifest, index or config that is read. The OCI distribution specification asks for at least this. */
export const DOCUMENT_BYTES_MAX = 4 << 20;
/** overlayfs takes no more lower directories; nor does the image record. */
export const LAYERS_MAX = 500;
export const MANIFESTS_MAX = 1000;
export const BLOB_BYTES_MAX = 128 * 2 ** 30;
/** Strings of a config: environment, command and the like. */
const STRINGS_MAX = 4096;
const TEXT_MAX = 128 << 10;

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  /** `os/architecture`, or undefined when the descriptor does not say. */
  readonly platform: string | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Manifest {
  readonly config: Descriptor;
  /** Base first. */
  readonly layers: readonly Descriptor[];
}

export interface Config {
  readonly config: ImageConfig;
  /** SHA-256 of each uncompressed layer, base first. */
  readonly diffIds: readonly Digest[];
  /** `os/architecture` */
  readonly platform: string;
}

type Fields = Readonly<Record<string, unknown>>;

function invalid(what: string): ShoalError {
  return new ShoalError('E_IMAGE_INVALID', `${what}; nothing was kept`);
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws E_IMAGE_INVALID when it is too large, no JSON, or no object. */
export function parseDocument(bytes: Uint8Array, what: string): Fields {
  if (bytes.byteLength > DOCUMENT_BYTES_MAX) throw invalid(`${what} is over ${DOCUMENT_BYTES_MAX} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw invalid(`${what} is not JSON`);
  }
  if (!isFields(value)) throw invalid(`${what} is not a JSON object`);
  return value;
}

function text(value: unknown, what: string): string {
  if (typeof value !== 'string' || value.length > TEXT_MAX) throw invalid(`${what} is no string of use`);
  return value;
}

function optionalText(value: unknown, what: string): string {
  return value === undefined || value === null ? '' : text(value, what);
}

function list(value: unknown, items_max: number, what: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid(`${what} is no list`);
  if (value.length > items_max) throw invalid(`${what} has more than ${items_max} items`);
  return value;
}

function texts(value: unknown, what: string): string[] {
  return list(value, STRINGS_MAX, what).map((item) => text(item, what));
}

function platformOf(value: unknown): string | undefined {
  if (!isFields(value)) return undefined;
  const { os, architecture } = value;
  return typeof os === 'string' && typeof architecture === 'string' ? `${os}/${architecture}` : undefined;
}

/** @throws E_IMAGE_INVALID */
export function parseDescriptor(value: unknown, what: string): Descriptor {
  if (!isFields(value)) throw invalid(`${what} is no descriptor`);
  const { digest, size } = value;
  if (typeof digest !== 'string' || !isDigest(digest)) throw invalid(`${what} has no sha256 digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0 || size > BLOB_BYTES_MAX) {
    throw invalid(`${what} has a size outside 0 to ${BLOB_BYTES_MAX}`);
  }
  const annotations: Record<string, string> = {};
  for (const [key, note] of isFields(value.annotations) ? Object.entries(value.annotations) : []) {
    if (typeof note === 'string' && note.length <= 4096) annotations[key] = note;
  }
  const mediaType = optionalText(value.mediaType, `the media type of ${what}`);
  if (mediaType.length > 256) throw invalid(`the media type of ${what} is too long`);
  return { mediaType, digest, size, platform: platformOf(value.platform), annotations };
}

/** @throws E_IMAGE_INVALID */
export function parseIndex(bytes: Uint8Array): readonly Descriptor[] {
  const fields = parseDocument(bytes, 'the index');
  if (!Array.isArray(fields.manifests)) throw invalid('the index has no list of manifests');
  return list(fields.manifests, MANIFESTS_MAX, 'the index').map((item, at) =>
    parseDescriptor(item, `manifest ${at} of the index`),
  );
}

/** @returns what the document is; its own media type wins over what pointed to it. */
export function documentKind(bytes: Uint8Array, mediaType: string): 'manifest' | 'index' {
  const fields = parseDocument(bytes, 'the manifest');
  const own = typeof fields.mediaType === 'string' ? fields.mediaType : mediaType;
  if (isIndexType(own) || (own === '' && Array.isArray(fields.manifests))) return 'index';
  if (isManifestType(own) || (own === '' && Array.isArray(fields.layers))) return 'manifest';
  throw invalid(`a manifest of type "${own.slice(0, 100)}" is not supported`);
}

/** @throws E_IMAGE_INVALID */
export function parseManifest(bytes: Uint8Array): Manifest {
  const fields = parseDocument(bytes, 'the manifest');
  if (fields.schemaVersion !== 2) throw invalid('the manifest is not of schema version 2');
  if (!Array.isArray(fields.layers)) throw invalid('the manifest has no list of layers');
  const layers = list(fields.layers, LAYERS_MAX, 'the list of layers').map((item, at) => {
    const layer = parseDescriptor(item, `layer ${at}`);
    if (layerCompression(layer.mediaType) === undefined) {
      throw invalid(`layer ${at} has type "${layer.mediaType.slice(0, 100)}", which is not supported`);
    }
    return layer;
  });
  return { config: parseDescriptor(fields.config, 'the config'), layers };
}

/** @throws E_IMAGE_INVALID */
export function parseConfig(bytes: Uint8Array): Config {
  const fields = parseDocument(bytes, 'the config');
  const platform = platformOf(fields);
  if (platform === undefined || platform.length > 64) throw invalid('the config names no platform');
  if (!isFields(fields.rootfs)) throw invalid('the config has no rootfs');
  const diffIds = list(fields.rootfs.diff_ids, LAYERS_MAX, 'the list of diff ids').map((id) => {
    if (typeof id !== 'string' || !isDigest(id)) throw invalid('a diff id is no sha256 digest');
    return id;
  });
  const own = isFields(fields.config) ? fields.config : {};
  return {
    platform,
    diffIds,
    config: {
      entrypoint: texts(own.Entrypoint, 'the entrypoint'),
      command: texts(own.Cmd, 'the command'),
      env: texts(own.Env, 'the environment'),
      workingDir: optionalText(own.WorkingDir, 'the working directory'),
      user: optionalText(own.User, 'the user'),
      exposedPorts: isFields(own.ExposedPorts) ? Object.keys(own.ExposedPorts).slice(0, STRINGS_MAX) : [],
      stopSignal: optionalText(own.StopSignal, 'the stop signal'),
    },
  };
}
