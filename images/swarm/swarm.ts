/**
 * Gets blobs from members and gives them to members. Small ones travel whole in an answer, the others as torrents
 * over mesh streams; nothing enters the blob store before its SHA-256 was checked.
 * Not here: BitTorrent itself (torrents.ts), which blobs an image needs, unpacking.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import type { Digest, NodeId } from '../../protocols/base/ids.ts';
import type { Blob } from '../../protocols/base/records.ts';
import {
  blobName,
  PIECE_HASH_BYTES,
  pieceCount,
  TORRENT_BYTES_MIN,
  travelsByTorrent,
} from '../core/metainfo.ts';
import type { ImagesInit, ImageTransport } from '../images.ts';
import type { BlobStore } from '../store/blob-store.ts';
import { asDiskError } from '../store/disk-errors.ts';
import { type PieceStore, provesInfohash } from '../store/piece-store.ts';
import { Candidates } from './candidates.ts';
import {
  BLOB_PROTOCOL,
  decodeAnswer,
  decodeDigest,
  encodeAnswer,
  encodeDigest,
  PIECES_PROTOCOL,
  WIRE_PROTOCOL,
} from './protocol.ts';
import { Sessions } from './sessions.ts';
import type { Torrent } from './torrents.ts';
import { Traffic } from './traffic.ts';
import { SWARM_LIMITS, type SwarmTuning } from './tuning.ts';

export interface FetchProgress {
  phase(phase: 'fetching' | 'verifying'): void;
  /** Bytes that are here by now. */
  done(bytes: number): void;
  from(peer: NodeId, bytes: number): void;
}

interface Fetch {
  readonly blob: Blob;
  readonly transport: ImageTransport;
  readonly candidates: Candidates;
  readonly progress: FetchProgress;
  readonly signal: AbortSignal;
}

export class Swarm implements AsyncDisposable {
  readonly #blobs: BlobStore;
  readonly #pieces: PieceStore;
  readonly #partial: string;
  readonly #log: ImagesInit['log'];
  readonly #tuning: SwarmTuning;
  readonly #traffic = new Traffic();
  #transport: ImageTransport | undefined;
  #sessions: Sessions | undefined;

  constructor(init: {
    readonly blobs: BlobStore;
    readonly pieces: PieceStore;
    /** Downloads under way; what is in it is taken up again after a restart. */
    readonly partial: string;
    readonly log: ImagesInit['log'];
    readonly tuning: SwarmTuning;
  }) {
    this.#blobs = init.blobs;
    this.#pieces = init.pieces;
    this.#partial = init.partial;
    this.#log = init.log;
    this.#tuning = init.tuning;
  }

  attach(transport: ImageTransport): void {
    if (this.#transport !== undefined) throw new Error('attached already');
    this.#transport = transport;
    const sessions = new Sessions({
      blobs: this.#blobs,
      pieces: this.#pieces,
      traffic: this.#traffic,
      self: transport.self,
      idle_ms: this.#tuning.seedIdle_ms,
    });
    this.#sessions = sessions;
    transport.handle(BLOB_PROTOCOL, async (from, body) => this.#answerBlob(from, decodeDigest(body)));
    transport.handle(PIECES_PROTOCOL, async (_from, body) => {
      const digest = decodeDigest(body);
      return encodeAnswer(digest === undefined ? undefined : await sessions.hashes(digest));
    });
    transport.handleStream(WIRE_PROTOCOL, (from, header, stream) => {
      const digest = decodeDigest(header);
      if (digest === undefined) stream.destroy();
      else void sessions.accept(digest, from, stream);
    });
  }

  traffic(): ReturnType<Traffic['totals']> {
    return this.#traffic.totals();
  }

  /** Tells the DHT, which is only a hint: failing is logged and no more. */
  provide(digest: Digest): void {
    this.#transport?.provide(digest).catch((error: unknown) => {
      this.#log('debug', 'the DHT did not take a provider record', { digest, error: String(error) });
    });
  }

  /**
   * Fetches one blob into the blob store.
   * @param holders asked anew each time, so that members that come later are found.
   * @throws E_NO_SOURCE, E_BLOB_CORRUPT, E_DISK_FULL, E_CANCELLED; what was fetched so far is kept for the next try.
   */
  async fetch(
    blob: Blob,
    options: {
      readonly holders: () => readonly NodeId[];
      readonly progress: FetchProgress;
      readonly signal: AbortSignal;
    },
  ): Promise<void> {
    const transport = this.#transport;
    if (transport === undefined) throw noSource(blob.digest, 'this host is in no cluster');
    const { holders, progress, signal } = options;
    const ended = new AbortController();
    const candidates = new Candidates({
      transport,
      digest: blob.digest,
      holders,
      tuning: this.#tuning,
      signal: ended.signal,
    });
    const fetch = { blob, transport, candidates, progress, signal };
    progress.phase('fetching');
    try {
      if (travelsByTorrent(blob.size) && blob.infohash !== null)
        await this.#fetchTorrent(fetch, blob.infohash);
      else await this.#fetchWhole(fetch);
    } catch (error) {
      throw asDiskError(error);
    } finally {
      ended.abort();
    }
    this.provide(blob.digest);
  }

  /** Stops serving a blob that is about to be removed. */
  async drop(digest: Digest): Promise<void> {
    await this.#sessions?.close(digest);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sessions?.[Symbol.asyncDispose]();
  }

  async #answerBlob(from: NodeId, digest: Digest | undefined): Promise<Uint8Array> {
    const size = digest === undefined ? undefined : await this.#blobs.size(digest);
    if (digest === undefined || size === undefined || size >= TORRENT_BYTES_MIN)
      return encodeAnswer(undefined);
    const bytes = await this.#blobs.read(digest, TORRENT_BYTES_MIN);
    this.#traffic.sent(from, bytes.byteLength);
    return encodeAnswer(bytes);
  }

  /** Asks one candidate after the other until `use` accepts an answer, for as long as the tuning says. */
  async #ask<T>(
    fetch: Fetch,
    protocol: string,
    bytes: number,
    use: (answer: Uint8Array, peer: NodeId) => Promise<T | undefined>,
  ): Promise<T> {
    const { blob, transport, candidates, signal } = fetch;
    const deadline = performance.now() + this.#tuning.noProgress_ms;
    while (performance.now() < deadline) {
      for (const peer of candidates.now(performance.now())) {
        throwIfCancelled(signal);
        const answer = await transport
          .request(peer, protocol, encodeDigest(blob.digest), { signal })
          .catch(() => undefined);
        const found = answer === undefined ? undefined : decodeAnswer(answer, bytes);
        const used = found === undefined ? undefined : await use(found, peer);
        if (used !== undefined) return used;
        candidates.gaveNothing(peer, performance.now());
      }
      await pause(this.#tuning.look_ms, signal);
    }
    throw noSource(blob.digest, 'no member gave it');
  }

  async #fetchWhole(fetch: Fetch): Promise<void> {
    const { blob, candidates, progress } = fetch;
    if (blob.size >= TORRENT_BYTES_MIN) {
      throw new ShoalError('E_IMAGE_INVALID', `the record of the blob ${blob.digest} lacks its infohash`);
    }
    await this.#ask(fetch, BLOB_PROTOCOL, blob.size, async (bytes, peer) => {
      this.#traffic.received(peer, bytes.byteLength);
      try {
        await this.#blobs.putBytes(bytes, blob);
      } catch (error) {
        if (!isShoalError(error, 'E_BLOB_CORRUPT')) throw error;
        this.#dropLiar(candidates, blob.digest, peer);
        return undefined;
      }
      progress.from(peer, bytes.byteLength);
      progress.done(bytes.byteLength);
      return true;
    });
  }

  async #fetchTorrent(fetch: Fetch, infohash: string): Promise<void> {
    const { blob } = fetch;
    const hashes = await this.#pieceHashes(fetch, infohash);
    await mkdir(this.#partial, { recursive: true, mode: 0o700 });
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#download(fetch, hashes);
        return;
      } catch (error) {
        if (!isShoalError(error, 'E_BLOB_CORRUPT') || attempt >= SWARM_LIMITS.attempts_max) throw error;
        this.#log('warn', 'a blob matched its pieces but not its digest; fetching it again', {
          digest: blob.digest,
        });
      }
    }
  }

  async #pieceHashes(fetch: Fetch, infohash: string): Promise<Uint8Array> {
    const { blob, candidates } = fetch;
    const proved = (hashes: Uint8Array) => provesInfohash(blob.digest, blob.size, hashes, infohash);
    const known = await this.#pieces.get(blob.digest, blob.size);
    if (known !== undefined && proved(known)) return known;
    const bytes = pieceCount(blob.size) * PIECE_HASH_BYTES;
    return this.#ask(fetch, PIECES_PROTOCOL, bytes, async (hashes, peer) => {
      if (!proved(hashes)) {
        this.#dropLiar(candidates, blob.digest, peer);
        return undefined;
      }
      await this.#pieces.put(blob.digest, hashes);
      return hashes;
    });
  }

  async #download(fetch: Fetch, hashes: Uint8Array): Promise<void> {
    const { blob, candidates, progress, signal } = fetch;
    const sessions = this.#sessions;
    if (sessions === undefined) throw noSource(blob.digest, 'this host is in no cluster');
    throwIfCancelled(signal);
    const session = await sessions.fetch(blob.digest, blob.size, hashes, this.#partial);
    const { torrent } = session;
    const senders = new Set<NodeId>();
    torrent.on('received', (peer, bytes) => {
      senders.add(peer);
      candidates.gaveSomething(peer);
      progress.from(peer, bytes);
      progress.done(Math.min(blob.size, torrent.bytes));
    });
    torrent.on('liar', (peer) => this.#dropLiar(candidates, blob.digest, peer));
    // Whoever knows of us may dial us from now on: getters serve one another.
    this.provide(blob.digest);
    try {
      await this.#untilDone(fetch, torrent);
      progress.phase('verifying');
      // The torrent keeps its open file across the rename, and goes on serving from it.
      await this.#blobs.adopt(join(this.#partial, blobName(blob.digest)), blob);
    } catch (error) {
      await sessions.close(blob.digest);
      if (isShoalError(error, 'E_BLOB_CORRUPT')) for (const peer of senders) candidates.lied(peer);
      throw error;
    }
    session.fetching = false;
    session.used_ms = performance.now();
    progress.done(blob.size);
    torrent.dropSeeders();
  }

  /** Keeps wires open to as many candidates as useful until the torrent is whole. */
  async #untilDone(fetch: Fetch, torrent: Torrent): Promise<void> {
    const { blob, candidates, signal } = fetch;
    const finished = new AbortController();
    let failure: Error | undefined;
    torrent.once('done', () => finished.abort());
    torrent.once('failed', (error) => {
      failure = error;
      finished.abort();
    });
    const dialling = new Set<NodeId>();
    let moved_ms = performance.now();
    let resumed = false;
    torrent.on('received', () => {
      moved_ms = performance.now();
    });
    while (!torrent.done) {
      if (failure !== undefined) throw failure;
      throwIfCancelled(signal);
      const now = performance.now();
      if (!resumed && torrent.bytes > 0) {
        resumed = true;
        fetch.progress.done(torrent.bytes);
      }
      if (now - moved_ms > this.#tuning.noProgress_ms)
        throw noSource(blob.digest, 'no member gave more of it');
      const wires_max = torrent.wantsOnePeer ? 1 : SWARM_LIMITS.wiresDialled_max;
      for (const peer of candidates.now(now)) {
        if (torrent.wireCount + dialling.size >= wires_max) break;
        if (dialling.has(peer) || torrent.hasPeer(peer)) continue;
        dialling.add(peer);
        void this.#dial(fetch, torrent, peer).finally(() => dialling.delete(peer));
      }
      await pause(this.#tuning.look_ms, AbortSignal.any([signal, finished.signal])).catch(() => undefined);
    }
  }

  /** Opens a wire; when it closes without having brought anything, the peer is left alone for a while. */
  async #dial(fetch: Fetch, torrent: Torrent, peer: NodeId): Promise<void> {
    const { blob, transport, candidates, signal } = fetch;
    let brought = false;
    const onReceived = (from: NodeId) => {
      brought ||= from === peer;
    };
    try {
      const stream = await transport.open(peer, WIRE_PROTOCOL, encodeDigest(blob.digest), { signal });
      torrent.on('received', onReceived);
      stream.once('close', () => {
        torrent.off('received', onReceived);
        if (!brought) candidates.gaveNothing(peer, performance.now());
      });
      await torrent.addStream(peer, stream);
    } catch {
      candidates.gaveNothing(peer, performance.now());
    }
  }

  #dropLiar(candidates: Candidates, digest: Digest, peer: NodeId): void {
    candidates.lied(peer);
    this.#log('warn', 'a member sent wrong bytes of a blob and is not asked for it again', { digest, peer });
  }
}

function noSource(digest: Digest, why: string): ShoalError {
  return new ShoalError('E_NO_SOURCE', `${why}: ${digest}; what is here so far is kept`, {
    detail: { digest },
  });
}

function throwIfCancelled(signal: AbortSignal): void {
  if (!signal.aborted) return;
  throw new ShoalError('E_CANCELLED', 'the fetch was cancelled; what is here so far is kept');
}

/** @throws E_CANCELLED when `signal` aborts first. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const cancel = () => {
      clearTimeout(timer);
      reject(new ShoalError('E_CANCELLED', 'the fetch was cancelled; what is here so far is kept'));
    };
    if (signal.aborted) {
      reject(new ShoalError('E_CANCELLED', 'the fetch was cancelled; what is here so far is kept'));
      return;
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', cancel);
      resolve();
    }, ms);
    signal.addEventListener('abort', cancel, { once: true });
  });
}
