/** What the daemon and the process that unpacks say to one another: one line of JSON each way. */
import type { Digest } from '../../protocols/base/ids.ts';
import type { LayerLimits } from '../core/layer-rules.ts';
import type { Compression } from '../core/media-types.ts';

export interface UnpackJob {
  /** The blob's file. */
  readonly blob: string;
  readonly digest: Digest;
  readonly compression: Compression;
  /** SHA-256 of the uncompressed bytes, from the image's config. */
  readonly diffId: Digest;
  /** An empty directory that becomes the layer: `fs` and `whiteouts.json` are made in it. */
  readonly directory: string;
  readonly limits: LayerLimits;
}

export type UnpackResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: string; readonly message: string };
