/**
 * The image service as the daemon sees it: import, keep, share, fetch and unpack. See DESIGN section 6.
 * `createImages` in `image-service.ts` makes one. Everything a caller may need is exported from here.
 */
import type { Duplex } from 'node:stream';
import type { Digest, NodeId } from '../protocols/base/ids.ts';
import type { ImageBody } from '../protocols/base/records.ts';

/** What a container needs of an image's config. Source: OCI image specification, config, `config` property. */
export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly exposedPorts: readonly string[];
  readonly stopSignal: string;
}

/** An image that is whole on this host, unpacked and ready. */
export interface ReadyImage {
  readonly digest: Digest;
  readonly config: ImageConfig;
  /** Base first, top last. */
  readonly lowerDirs: readonly string[];
}

export interface ImportedImage {
  readonly digest: Digest;
  /** Names with tag found in the source, or the one that the caller gave. */
  readonly names: readonly string[];
  readonly body: ImageBody;
  /** Bytes newly stored; blobs that were there already do not count. */
  readonly bytes: number;
}

/** Progress of one blob; `sources` says how many bytes came from whom so far. */
export interface BlobProgress {
  readonly digest: Digest;
  readonly size: number;
  readonly done: number;
  readonly phase: 'waiting' | 'fetching' | 'verifying' | 'unpacking' | 'ready';
  readonly sources: Readonly<Record<NodeId, number>>;
}

export interface BuildInit {
  /** Directory whose tree becomes a layer. */
  readonly directory: string;
  readonly name: string;
  /** On top of an image that is on this host. */
  readonly base?: Digest;
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly workingDir?: string;
  readonly user?: string;
  readonly ports?: readonly number[];
}

/** The part of the mesh that images need; the daemon hands in the real one. */
export interface ImageTransport {
  readonly self: NodeId;
  request(
    peer: NodeId,
    protocol: string,
    body: Uint8Array,
    options?: { signal?: AbortSignal },
  ): Promise<Uint8Array>;
  handle(
    protocol: string,
    handler: (from: NodeId, body: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>,
  ): void;
  open(
    peer: NodeId,
    protocol: string,
    header: Uint8Array,
    options?: { signal?: AbortSignal },
  ): Promise<Duplex>;
  handleStream(protocol: string, handler: (from: NodeId, header: Uint8Array, stream: Duplex) => void): void;
  provide(digest: Digest): Promise<void>;
  findProviders(digest: Digest, options?: { signal?: AbortSignal }): AsyncIterable<NodeId>;
}

export interface ImagesInit {
  /** Blobs, unpacked layers and partial downloads live under it. */
  readonly directory: string;
  /** Members that may have an image's blobs, best first, from the ledger: its author and who runs it. */
  readonly holders: (image: Digest) => readonly NodeId[];
  readonly log: (level: 'debug' | 'info' | 'warn', message: string, detail?: Record<string, unknown>) => void;
}

export interface Images extends AsyncDisposable {
  /** Called when the node joins its mesh; before that only local operations work. */
  attach(transport: ImageTransport): void;
  /**
   * An OCI layout (directory or tar), or a `docker save` archive; the kind is found by looking.
   * @param name replaces the names in the source; needed when the source has none.
   * @throws E_IMAGE_INVALID, E_BLOB_CORRUPT, E_LAYER_HOSTILE, E_DISK_FULL; nothing is kept then.
   */
  import(path: string, options: { name?: string; signal?: AbortSignal }): Promise<ImportedImage[]>;
  build(init: BuildInit, options?: { signal?: AbortSignal }): Promise<ImportedImage>;
  /** Images whose blobs are all here. */
  local(): Promise<Digest[]>;
  has(digest: Digest): Promise<boolean>;
  /**
   * Fetches what is missing from members, checks it, unpacks it. Concurrent calls for one image share the work.
   * @throws E_NO_SOURCE, E_BLOB_CORRUPT, E_LAYER_HOSTILE, E_DISK_FULL, E_CANCELLED
   */
  ensure(digest: Digest, image: ImageBody, options?: { signal?: AbortSignal }): Promise<ReadyImage>;
  /** Blobs of an image that is being fetched or is here; empty when nothing is known. */
  progress(digest: Digest): BlobProgress[];
  /** Totals since start, for the closing table and for metrics. */
  traffic(): {
    readonly received: Readonly<Record<NodeId, number>>;
    readonly sent: Readonly<Record<NodeId, number>>;
  };
}
