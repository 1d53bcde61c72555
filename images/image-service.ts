/**
 * The image service: wires stores, import, swarm and unpacking together behind the interface of `images.ts`.
 * Not here: tags and records (the daemon writes what `import` returns), garbage collection, running anything.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isShoalError, ShoalError } from '../protocols/base/errors.ts';
import type { Digest } from '../protocols/base/ids.ts';
import type { Blob, ImageBody } from '../protocols/base/records.ts';
import {
  type Config,
  DOCUMENT_BYTES_MAX,
  type Manifest,
  parseConfig,
  parseManifest,
} from './core/documents.ts';
import { parseImageName } from './core/image-name.ts';
import { LAYER_LIMITS, type LayerLimits } from './core/layer-rules.ts';
import { layerCompression, OCI_CONFIG, OCI_MANIFEST } from './core/media-types.ts';
import { travelsByTorrent } from './core/metainfo.ts';
import { linuxPlatform } from './core/platform.ts';
import type {
  BlobProgress,
  BuildInit,
  Images,
  ImagesInit,
  ImageTransport,
  ImportedImage,
  ReadyImage,
} from './images.ts';
import { buildImage } from './import/build-image.ts';
import type { FoundImage } from './import/oci-layout.ts';
import { readImages } from './import/open-source.ts';
import { blobsOf, Progress } from './progress.ts';
import { SharedWork } from './shared-work.ts';
import { Slots } from './slots.ts';
import { BlobStore, type StoredBlob } from './store/blob-store.ts';
import { Catalog } from './store/catalog.ts';
import { LayerStore } from './store/layer-store.ts';
import { hashPieces, infohashOf, PieceStore } from './store/piece-store.ts';
import { Swarm } from './swarm/swarm.ts';
import { SWARM_TUNING, type SwarmTuning } from './swarm/tuning.ts';
import { unpackLayer } from './unpack/unpack-layer.ts';

/** Layers of all images that are fetched at once, and that are unpacked at once. */
const FETCHES_MAX = 4;
const UNPACKS_MAX = 2;

/** For tests. */
export interface ImagesTuning {
  readonly swarm: SwarmTuning;
  readonly layers: LayerLimits;
}

/** @param tuning for tests; the defaults are right. @throws E_DISK_FULL and whatever the file system says. */
export async function createImages(init: ImagesInit, tuning: Partial<ImagesTuning> = {}): Promise<Images> {
  await mkdir(init.directory, { recursive: true, mode: 0o755 });
  const blobs = await BlobStore.open(init.directory);
  return new ImageService({
    init,
    blobs,
    pieces: await PieceStore.open(init.directory, blobs.temporary),
    layers: await LayerStore.open(init.directory),
    catalog: await Catalog.open(init.directory, blobs.temporary),
    swarmTuning: tuning.swarm ?? SWARM_TUNING,
    limits: tuning.layers ?? LAYER_LIMITS,
  });
}

interface Parts {
  readonly init: ImagesInit;
  readonly blobs: BlobStore;
  readonly pieces: PieceStore;
  readonly layers: LayerStore;
  readonly catalog: Catalog;
  readonly swarmTuning: SwarmTuning;
  readonly limits: LayerLimits;
}

/** What an import put on disk so far, to be taken back when it fails. */
interface Undo {
  readonly blobs: Set<Digest>;
  readonly layers: Set<Digest>;
}

class ImageService implements Images {
  readonly #init: ImagesInit;
  readonly #blobs: BlobStore;
  readonly #pieces: PieceStore;
  readonly #layers: LayerStore;
  readonly #catalog: Catalog;
  readonly #limits: LayerLimits;
  readonly #swarm: Swarm;
  readonly #progress = new Progress();
  readonly #platform = linuxPlatform(process.arch);
  readonly #closing = new AbortController();
  /** One import at a time, so that taking back a failed one takes nothing from another. */
  readonly #imports = new Slots(1);
  readonly #fetches = new Slots(FETCHES_MAX);
  readonly #unpacks = new Slots(UNPACKS_MAX);
  readonly #ensuring = new SharedWork<Digest, ReadyImage>();
  readonly #fetching = new SharedWork<Digest, void>();
  readonly #unpacking = new SharedWork<Digest, boolean>();

  constructor(parts: Parts) {
    this.#init = parts.init;
    this.#blobs = parts.blobs;
    this.#pieces = parts.pieces;
    this.#layers = parts.layers;
    this.#catalog = parts.catalog;
    this.#limits = parts.limits;
    this.#swarm = new Swarm({
      blobs: parts.blobs,
      pieces: parts.pieces,
      partial: join(parts.init.directory, 'partial'),
      log: parts.init.log,
      tuning: parts.swarmTuning,
    });
  }

  attach(transport: ImageTransport): void {
    this.#swarm.attach(transport);
    const digests = [...this.#catalog.all().values()].flatMap((image) =>
      blobsOf(image).map((blob) => blob.digest),
    );
    for (const digest of new Set(digests)) this.#swarm.provide(digest);
  }

  import(path: string, options: { name?: string; signal?: AbortSignal }): Promise<ImportedImage[]> {
    const name = options.name === undefined ? undefined : parseImageName(options.name);
    return this.#importing(options.signal, async (undo, signal) => {
      const found = await readImages(path, this.#blobs, {
        platform: this.#platform,
        onStored: (blob) => blob.created && undo.blobs.add(blob.digest),
        signal,
      });
      if (name !== undefined && found.length > 1)
        throw badName(`${path} has ${found.length} images: one name is not enough`);
      if (name === undefined && found.some((image) => image.names.length === 0)) {
        throw badName(`an image in ${path} has no name of its own: give one`);
      }
      const imported: ImportedImage[] = [];
      for (const image of found) {
        imported.push(
          await this.#finish(name === undefined ? image : { ...image, names: [name] }, undo, signal),
        );
      }
      return imported;
    });
  }

  build(init: BuildInit, options: { signal?: AbortSignal } = {}): Promise<ImportedImage> {
    return this.#importing(options.signal, async (undo, signal) => {
      const image = await buildImage(init, this.#blobs, {
        platform: this.#platform,
        onStored: (blob) => blob.created && undo.blobs.add(blob.digest),
        signal,
      });
      return this.#finish(image, undo, signal);
    });
  }

  async local(): Promise<Digest[]> {
    const whole: Digest[] = [];
    for (const digest of this.#catalog.all().keys()) if (await this.has(digest)) whole.push(digest);
    return whole;
  }

  async has(digest: Digest): Promise<boolean> {
    const image = this.#catalog.get(digest);
    if (image === undefined) return false;
    for (const blob of blobsOf(image)) if (!(await this.#blobs.has(blob.digest))) return false;
    return true;
  }

  ensure(digest: Digest, image: ImageBody, options: { signal?: AbortSignal } = {}): Promise<ReadyImage> {
    const signal = this.#signal(options.signal);
    return this.#ensuring.run(digest, signal, (shared) => this.#ensure(digest, image, shared));
  }

  progress(digest: Digest): BlobProgress[] {
    const tracked = this.#progress.of(digest);
    const image = this.#catalog.get(digest);
    if (tracked.length > 0 || image === undefined) return tracked;
    return blobsOf(image).map((blob) => ({
      digest: blob.digest,
      size: blob.size,
      done: blob.size,
      phase: 'ready',
      sources: {},
    }));
  }

  traffic(): ReturnType<Images['traffic']> {
    return this.#swarm.traffic();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.all([this.#ensuring.stop(), this.#fetching.stop(), this.#unpacking.stop()]);
    await this.#imports.run(async () => undefined);
    await this.#swarm[Symbol.asyncDispose]();
  }

  #signal(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
  }

  async #importing<T>(
    given: AbortSignal | undefined,
    work: (undo: Undo, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const signal = this.#signal(given);
    return this.#imports.run(async () => {
      if (signal.aborted) throw new ShoalError('E_CANCELLED', 'it was cancelled; nothing was kept');
      const undo: Undo = { blobs: new Set(), layers: new Set() };
      try {
        return await work(undo, signal);
      } catch (error) {
        await this.#takeBack(undo);
        throw error;
      }
    });
  }

  async #takeBack(undo: Undo): Promise<void> {
    const kept = new Set(
      [...this.#catalog.all().values()].flatMap((image) => blobsOf(image).map((blob) => blob.digest)),
    );
    for (const digest of undo.layers) if (!kept.has(digest)) await this.#layers.remove(digest);
    for (const digest of undo.blobs) {
      if (kept.has(digest)) continue;
      await this.#blobs.remove(digest);
      await this.#pieces.remove(digest);
    }
  }

  /** Unpacks what was imported, so that a hostile layer is found now, and makes the body of its record. */
  async #finish(found: FoundImage, undo: Undo, signal: AbortSignal): Promise<ImportedImage> {
    const { digest } = found.manifest;
    const manifest = await this.#readManifest(digest);
    const config = await this.#readConfig(manifest);
    for (const [at, layer] of manifest.layers.entries()) {
      if (await this.#unpack(layer, config.diffIds[at]!, signal)) undo.layers.add(layer.digest);
    }
    const body: ImageBody = {
      manifest: await this.#record({ ...found.manifest, mediaType: OCI_MANIFEST }),
      config: await this.#record({ ...manifest.config, mediaType: manifest.config.mediaType || OCI_CONFIG }),
      layers: await Promise.all(manifest.layers.map((layer) => this.#record(layer))),
      platform: config.platform,
    };
    await this.#catalog.put(digest, body);
    for (const blob of blobsOf(body)) this.#swarm.provide(blob.digest);
    const all = new Map(
      [found.manifest, ...found.blobs].map((blob): [Digest, StoredBlob] => [blob.digest, blob]),
    );
    const bytes = [...all.values()].reduce(
      (sum, blob) => sum + (undo.blobs.has(blob.digest) ? blob.size : 0),
      0,
    );
    return { digest, names: found.names, body, bytes };
  }

  async #record(blob: { digest: Digest; size: number; mediaType: string }): Promise<Blob> {
    const { digest, size, mediaType } = blob;
    if (!travelsByTorrent(size)) return { digest, size, mediaType, infohash: null };
    let hashes = await this.#pieces.get(digest, size);
    if (hashes === undefined) {
      hashes = await hashPieces(this.#blobs.path(digest), size);
      await this.#pieces.put(digest, hashes);
    }
    return { digest, size, mediaType, infohash: infohashOf(digest, size, hashes) };
  }

  async #ensure(digest: Digest, image: ImageBody, signal: AbortSignal): Promise<ReadyImage> {
    if (image.manifest.digest !== digest) throw mismatch(digest);
    this.#progress.track(digest, image);
    const holders = () => this.#init.holders(digest);
    await this.#fetch(image.manifest, holders, signal);
    const manifest = await this.#readManifest(digest);
    checkBody(digest, image, manifest);
    await this.#fetch(image.config, holders, signal);
    const config = await this.#readConfig(manifest);
    for (const blob of [image.manifest, image.config]) this.#progress.blob(blob).phase('ready');
    // The first that fails stops the others.
    const failed = new AbortController();
    const all = AbortSignal.any([signal, failed.signal]);
    const work = image.layers.map(async (layer, at) => {
      try {
        await this.#fetch(layer, holders, all);
        await this.#unpackFetched(layer, config.diffIds[at]!, all);
      } catch (error) {
        failed.abort();
        throw error;
      }
    });
    const results = await Promise.allSettled(work);
    const errors = results.flatMap((result) =>
      result.status === 'rejected' ? [result.reason as unknown] : [],
    );
    const cause = errors.find((error) => !isShoalError(error, 'E_CANCELLED')) ?? errors[0];
    if (cause !== undefined) throw cause;
    if (this.#catalog.get(digest) === undefined) await this.#catalog.put(digest, image);
    return {
      digest,
      config: config.config,
      lowerDirs: manifest.layers.map((layer) => this.#layers.path(layer.digest)),
    };
  }

  async #fetch(blob: Blob, holders: () => readonly string[], signal: AbortSignal): Promise<void> {
    if (await this.#blobs.has(blob.digest)) return;
    const progress = this.#progress.blob(blob);
    await this.#fetching.run(blob.digest, signal, (shared) =>
      this.#fetches.run(async () => {
        if (await this.#blobs.has(blob.digest)) return;
        try {
          await this.#swarm.fetch(blob, { holders, progress, signal: shared });
        } catch (error) {
          progress.phase('waiting');
          throw error;
        }
      }),
    );
  }

  async #unpackFetched(layer: Blob, diffId: Digest, signal: AbortSignal): Promise<void> {
    const progress = this.#progress.blob(layer);
    progress.phase('unpacking');
    try {
      await this.#unpack(layer, diffId, signal);
    } catch (error) {
      progress.phase('waiting');
      if (isShoalError(error, 'E_LAYER_HOSTILE') || isShoalError(error, 'E_BLOB_CORRUPT')) {
        await this.#swarm.drop(layer.digest);
        await this.#takeBack({ blobs: new Set([layer.digest]), layers: new Set() });
      }
      throw error;
    }
    progress.phase('ready');
  }

  /** @returns true when the layer was not unpacked before. */
  #unpack(
    layer: { digest: Digest; mediaType: string },
    diffId: Digest,
    signal: AbortSignal,
  ): Promise<boolean> {
    const compression = layerCompression(layer.mediaType);
    if (compression === undefined) throw new ShoalError('E_IMAGE_INVALID', 'a layer is of no known type');
    return this.#unpacking.run(layer.digest, signal, (shared) =>
      this.#unpacks.run(() =>
        this.#layers.install(layer.digest, (directory) =>
          unpackLayer(
            {
              blob: this.#blobs.path(layer.digest),
              digest: layer.digest,
              compression,
              diffId,
              directory,
              limits: this.#limits,
            },
            { signal: shared },
          ),
        ),
      ),
    );
  }

  async #readManifest(digest: Digest): Promise<Manifest> {
    return parseManifest(await this.#blobs.read(digest, DOCUMENT_BYTES_MAX));
  }

  async #readConfig(manifest: Manifest): Promise<Config> {
    const config = parseConfig(await this.#blobs.read(manifest.config.digest, DOCUMENT_BYTES_MAX));
    if (config.diffIds.length !== manifest.layers.length) {
      throw new ShoalError('E_IMAGE_INVALID', 'the config and the manifest differ in the number of layers');
    }
    return config;
  }
}

function badName(message: string): ShoalError {
  return new ShoalError('E_BAD_INPUT', `${message}; nothing was kept`, { detail: { field: 'name' } });
}

function mismatch(digest: Digest): ShoalError {
  return new ShoalError('E_IMAGE_INVALID', `the record of the image ${digest} does not match its manifest`);
}

/** The record is its author's word; the manifest is what the digest stands for. */
function checkBody(digest: Digest, image: ImageBody, manifest: Manifest): void {
  const same = (blob: Blob, other: { digest: Digest; size: number; mediaType: string } | undefined) =>
    blob.digest === other?.digest && blob.size === other.size;
  const layers = image.layers.every(
    (layer, at) => same(layer, manifest.layers[at]) && layer.mediaType === manifest.layers[at]?.mediaType,
  );
  if (image.layers.length !== manifest.layers.length || !layers || !same(image.config, manifest.config)) {
    throw mismatch(digest);
  }
}
