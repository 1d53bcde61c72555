/**
 * The torrents that are open: those being fetched, and those that are served because somebody asked. A wire that
 * comes in finds its torrent here, or has one opened for a blob that is whole; what serves nobody is closed again.
 */
import type { Duplex } from 'node:stream';
import type { Digest, NodeId } from '../../protocols/base/ids.ts';
import { encodeInfo, travelsByTorrent } from '../core/metainfo.ts';
import type { BlobStore } from '../store/blob-store.ts';
import { hashPieces, type PieceStore } from '../store/piece-store.ts';
import { type Torrent, Torrents } from './torrents.ts';
import type { Traffic } from './traffic.ts';
import { SWARM_LIMITS } from './tuning.ts';

export interface Session {
  readonly torrent: Torrent;
  readonly size: number;
  /** Not closed for being idle. */
  fetching: boolean;
  used_ms: number;
}

export class Sessions implements AsyncDisposable {
  readonly #blobs: BlobStore;
  readonly #pieces: PieceStore;
  readonly #traffic: Traffic;
  readonly #self: NodeId;
  readonly #idle_ms: number;
  readonly #torrents = new Torrents();
  readonly #open = new Map<Digest, Session>();
  readonly #opening = new Map<Digest, Promise<Session | undefined>>();
  readonly #timer: NodeJS.Timeout;
  #closed = false;

  constructor(init: {
    readonly blobs: BlobStore;
    readonly pieces: PieceStore;
    readonly traffic: Traffic;
    readonly self: NodeId;
    readonly idle_ms: number;
  }) {
    this.#blobs = init.blobs;
    this.#pieces = init.pieces;
    this.#traffic = init.traffic;
    this.#self = init.self;
    this.#idle_ms = init.idle_ms;
    this.#timer = setInterval(() => this.#closeIdle(), Math.max(50, init.idle_ms / 4));
    this.#timer.unref();
  }

  get(digest: Digest): Session | undefined {
    return this.#open.get(digest);
  }

  /** Opens the torrent of a blob that is to be fetched into `directory`. */
  async fetch(digest: Digest, size: number, hashes: Uint8Array, directory: string): Promise<Session> {
    // A serving session of a blob that has since been removed must not stand in the way.
    await this.close(digest);
    const session = await this.#start(digest, size, hashes, directory, false);
    session.fetching = true;
    return session;
  }

  /** A wire that a member opened to us. Refused by closing it. */
  async accept(digest: Digest, from: NodeId, stream: Duplex): Promise<void> {
    stream.on('error', () => undefined);
    const session = await this.#serving(digest).catch(() => undefined);
    const full = session !== undefined && session.torrent.wireCount >= SWARM_LIMITS.wires_max;
    const alone = session?.torrent.wantsOnePeer && session.torrent.wireCount > 0;
    if (session === undefined || full || alone || this.#closed) {
      stream.destroy();
      return;
    }
    session.used_ms = performance.now();
    await session.torrent.addStream(from, stream);
  }

  /** @returns the SHA-1 of each piece, for a blob that is here or on its way here. */
  async hashes(digest: Digest): Promise<Uint8Array | undefined> {
    const size = this.#open.get(digest)?.size ?? (await this.#blobs.size(digest));
    if (size === undefined || !travelsByTorrent(size)) return undefined;
    const known = await this.#pieces.get(digest, size);
    if (known !== undefined || !(await this.#blobs.has(digest))) return known;
    const hashes = await hashPieces(this.#blobs.path(digest), size);
    await this.#pieces.put(digest, hashes);
    return hashes;
  }

  async close(digest: Digest): Promise<void> {
    const session = this.#open.get(digest);
    this.#open.delete(digest);
    await session?.torrent.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await Promise.allSettled(this.#opening.values());
    await Promise.all([...this.#open.keys()].map((digest) => this.close(digest)));
    await this.#torrents[Symbol.asyncDispose]();
  }

  #serving(digest: Digest): Promise<Session | undefined> {
    const open = this.#open.get(digest);
    if (open !== undefined) return Promise.resolve(open);
    const opening = this.#opening.get(digest) ?? this.#serve(digest);
    this.#opening.set(digest, opening);
    const forget = () => this.#opening.delete(digest);
    opening.then(forget, forget);
    return opening;
  }

  async #serve(digest: Digest): Promise<Session | undefined> {
    const size = await this.#blobs.size(digest);
    const hashes = size === undefined ? undefined : await this.hashes(digest);
    if (size === undefined || hashes === undefined || this.#closed) return undefined;
    return this.#start(digest, size, hashes, this.#blobs.directory, true);
  }

  async #start(
    digest: Digest,
    size: number,
    hashes: Uint8Array,
    directory: string,
    complete: boolean,
  ): Promise<Session> {
    if (this.#open.size >= SWARM_LIMITS.sessions_max) await this.#makeRoom();
    const info = encodeInfo(digest, size, hashes);
    const torrent = await this.#torrents.add({ info, directory, complete, orderSeed: this.#self + digest });
    const session: Session = { torrent, size, fetching: false, used_ms: performance.now() };
    torrent.on('received', (peer, bytes) => this.#traffic.received(peer, bytes));
    torrent.on('sent', (peer, bytes) => {
      session.used_ms = performance.now();
      this.#traffic.sent(peer, bytes);
    });
    torrent.on('failed', () => {
      if (this.#open.get(digest) === session) this.#open.delete(digest);
    });
    this.#open.set(digest, session);
    return session;
  }

  async #makeRoom(): Promise<void> {
    const serving = [...this.#open].filter(([, session]) => !session.fetching);
    const [oldest] = serving.sort(([, a], [, b]) => a.used_ms - b.used_ms);
    if (oldest === undefined) throw new Error('too many torrents are open');
    await this.close(oldest[0]);
  }

  #closeIdle(): void {
    const before = performance.now() - this.#idle_ms;
    for (const [digest, session] of this.#open) {
      if (!session.fetching && session.used_ms < before) void this.close(digest);
    }
  }
}
