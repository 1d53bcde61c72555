/**
 * BitTorrent: one blob is one torrent, and its wires are streams that somebody else opens. The one importer of
 * webtorrent, which is loaded when the first torrent is needed and not before (it costs 20 MB).
 * Nothing here finds peers, dials or listens: no DHT, trackers, LSD, PEX, NAT, web seeds or uTP.
 * Sources: BEP 3, BEP 6 (fast extension), BEP 27 (private).
 */
import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { Server } from 'node:net';
import type { Duplex } from 'node:stream';
import type { NodeId } from '../../protocols/base/ids.ts';
import { encodeTorrent, pieceOrder } from '../core/metainfo.ts';
import { Blame } from './blame.ts';

/** Peers that one torrent serves at a time; webtorrent's default of 10 would leave getters waiting for a turn. */
const UPLOADS_MAX = 64;
/** Pieces kept in memory per torrent; each is up to 16 MiB, so few. */
const CACHE_PIECES_MAX = 4;

interface Wire extends EventEmitter {
  readonly isSeeder: boolean;
  destroy(): void;
}
interface RawTorrent extends EventEmitter {
  readonly ready: boolean;
  readonly done: boolean;
  readonly destroyed: boolean;
  readonly downloaded: number;
  readonly pieces: readonly unknown[];
  /** Private to webtorrent 3.0.21: peers by id. The wire of a stream cannot be had otherwise. */
  readonly _peers: Map<string, { readonly wire: Wire | null }>;
  addPeer(stream: Duplex): boolean;
  /**
   * Private to webtorrent 3.0.21. The public `select` joins ranges that touch and forgets which came first; with
   * `apart` they stay as they are.
   */
  _select(from: number, to: number, priority: number, notify: undefined, apart: boolean): void;
  destroy(options: { destroyStore: boolean }, done: (error?: Error | null) => void): void;
}
interface Client extends EventEmitter {
  /** Private to webtorrent 3.0.21: it always listens; there is no option against it. */
  readonly _connPool: { readonly tcpServer: Server };
  add(torrent: Uint8Array, options: Record<string, unknown>): RawTorrent;
  destroy(done: (error?: Error | null) => void): void;
}

async function startClient(): Promise<Client> {
  const { default: WebTorrent } = await import('webtorrent');
  const client = new WebTorrent({
    dht: false,
    tracker: false,
    lsd: false,
    utPex: false,
    natUpnp: false,
    natPmp: false,
    webSeeds: false,
    utp: false,
    // Handed on to net.Server.listen: loopback only, and closed again below.
    torrentPort: { host: '127.0.0.1', port: 0 },
  }) as Client;
  client.setMaxListeners(0);
  await new Promise<void>((resolve, reject) => {
    client.once('listening', resolve);
    client.once('error', reject);
  });
  client.on('error', () => undefined);
  // All wires come in as streams: nobody has business with this port.
  client._connPool.tcpServer.close();
  return client;
}

export interface TorrentInit {
  /** From `encodeInfo`. */
  readonly info: Uint8Array;
  /** The blob's file is in it, named as the torrent says. */
  readonly directory: string;
  /** The file is whole and checked: it is served as it is. */
  readonly complete: boolean;
  /** Differs per getter: where it starts. */
  readonly orderSeed: string;
}

interface TorrentEvents {
  /** Content bytes that came from a peer, or went to one. */
  received: [peer: NodeId, bytes: number];
  sent: [peer: NodeId, bytes: number];
  /** This peer is proved to have sent wrong bytes; its wires are gone already. */
  liar: [peer: NodeId];
  /** All pieces are here and match the infohash. */
  done: [];
  /** The disk failed, most likely. The torrent is dead. */
  failed: [error: Error];
}

export class Torrent extends EventEmitter<TorrentEvents> {
  readonly #raw: RawTorrent;
  readonly #ready: Promise<void>;
  readonly #wires = new Map<
    string,
    { readonly peer: NodeId; readonly stream: Duplex; readonly wire: Wire }
  >();
  readonly #blame = new Blame<NodeId>((bytes) => createHash('sha1').update(bytes).digest('base64'));
  readonly #liars = new Set<NodeId>();
  #streams = 0;
  #closed = false;

  /** Made by Torrents. */
  constructor(raw: RawTorrent, init: TorrentInit) {
    super();
    this.#raw = raw;
    raw.on('error', (error: Error) => this.emit('failed', error));
    raw.on('warning', (warning: Error) => this.#warned(warning));
    raw.on('verified', (piece: number) => this.#accuse(this.#blame.verified(piece)));
    raw.on('done', () => this.emit('done'));
    this.#ready = new Promise((resolve, reject) => {
      raw.once('ready', resolve);
      raw.once('close', () => reject(new Error('the torrent was closed')));
    });
    this.#ready.then(
      () => {
        if (init.complete || raw.destroyed) return;
        const order = pieceOrder(raw.pieces.length, init.orderSeed);
        order.forEach((range, at) => {
          raw._select(range.from, range.to, order.length - 1 - at, undefined, true);
        });
      },
      () => undefined,
    );
  }

  /** Bytes that are here, checked or in pieces under way. */
  get bytes(): number {
    return this.#closed ? 0 : this.#raw.downloaded;
  }

  get done(): boolean {
    return this.#raw.done;
  }

  /** A piece failed and came from several peers: until it is fetched again, one wire is better than many. */
  get wantsOnePeer(): boolean {
    return this.#blame.undecided;
  }

  get wireCount(): number {
    return this.#wires.size;
  }

  hasPeer(peer: NodeId): boolean {
    return [...this.#wires.values()].some((wire) => wire.peer === peer);
  }

  /** Speaks BitTorrent on the stream, in whichever direction it was opened, until either side closes it. */
  async addStream(peer: NodeId, stream: Duplex): Promise<void> {
    stream.on('error', () => undefined);
    try {
      await this.#ready;
    } catch {
      stream.destroy();
    }
    if (this.#closed || stream.destroyed || this.#liars.has(peer)) {
      stream.destroy();
      return;
    }
    this.#streams += 1;
    // webtorrent takes a stream for a connected peer by these two; ids are unique or it drops the later silently.
    const id = `${peer}/${this.#streams}`;
    Object.assign(stream, { id, connected: true });
    this.#raw.addPeer(stream);
    const wire = this.#raw._peers.get(id)?.wire;
    if (!wire) {
      stream.destroy();
      return;
    }
    this.#wires.set(id, { peer, stream, wire });
    stream.once('close', () => this.#wires.delete(id));
    wire.on('piece', (piece: number, offset: number, bytes: Uint8Array) =>
      this.#blame.received(piece, offset, bytes, peer),
    );
    wire.on('download', (bytes: number) => this.emit('received', peer, bytes));
    wire.on('upload', (bytes: number) => this.emit('sent', peer, bytes));
  }

  dropPeer(peer: NodeId): void {
    for (const wire of this.#wires.values()) if (wire.peer === peer) wire.stream.destroy();
  }

  /** After the blob is whole: who has it all too is of no more use, nor are we to them. */
  dropSeeders(): void {
    for (const { wire, stream } of this.#wires.values()) if (wire.isSeeder) stream.destroy();
  }

  dropAllBut(peer: NodeId | undefined): void {
    for (const wire of this.#wires.values()) if (wire.peer !== peer) wire.stream.destroy();
  }

  /** Closes all wires and the file; the file stays. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { stream } of this.#wires.values()) stream.destroy();
    if (this.#raw.destroyed) return;
    await new Promise<void>((resolve) => this.#raw.destroy({ destroyStore: false }, () => resolve()));
  }

  #warned(warning: Error): void {
    const piece = /^Piece (\d+) failed verification$/.exec(warning.message)?.[1];
    if (piece === undefined) return;
    this.#accuse(this.#blame.failed(Number(piece)));
    if (!this.#blame.undecided) return;
    const first = this.#wires.values().next().value;
    this.dropAllBut(first?.peer);
  }

  #accuse(liars: readonly NodeId[]): void {
    for (const liar of liars) {
      this.#liars.add(liar);
      this.dropPeer(liar);
      this.emit('liar', liar);
    }
  }
}

export class Torrents implements AsyncDisposable {
  #client: Promise<Client> | undefined;
  #closed = false;

  /** @throws Error when webtorrent cannot be loaded. */
  async add(init: TorrentInit): Promise<Torrent> {
    if (this.#closed) throw new Error('closed');
    this.#client ??= startClient();
    const client = await this.#client;
    const raw = client.add(encodeTorrent(init.info), {
      path: init.directory,
      skipVerify: init.complete,
      deselect: true,
      strategy: 'sequential',
      uploads: UPLOADS_MAX,
      storeCacheSlots: CACHE_PIECES_MAX,
    });
    return new Torrent(raw, init);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const client = await this.#client?.catch(() => undefined);
    // The port is closed already, which webtorrent reports as an error.
    if (client !== undefined) await new Promise<void>((resolve) => client.destroy(() => resolve()));
  }
}
