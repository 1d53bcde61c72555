/** An ImageTransport in memory: members of one process, joined by duplex pairs, that can die in mid-stream. */
import { Duplex } from 'node:stream';
import type { ImageTransport } from '../../images/images.ts';
import { ShoalError } from '../../protocols/base/errors.ts';
import type { Digest, NodeId } from '../../protocols/base/ids.ts';

type Handler = Parameters<ImageTransport['handle']>[1];
type StreamHandler = Parameters<ImageTransport['handleStream']>[1];

class Half extends Duplex {
  other: Half | undefined;
  /** Counts the bytes; what it returns, in milliseconds, they wait. */
  readonly #onBytes: (bytes: number) => number;
  #release: (() => void) | undefined;

  constructor(onBytes: (bytes: number) => number) {
    super({ readableHighWaterMark: 64 << 10, writableHighWaterMark: 64 << 10 });
    this.#onBytes = onBytes;
  }

  override _read(): void {
    const release = this.#release;
    this.#release = undefined;
    release?.();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    const wait_ms = this.#onBytes(chunk.byteLength);
    if (wait_ms > 1) setTimeout(() => this.#deliver(chunk, done), wait_ms);
    else this.#deliver(chunk, done);
  }

  #deliver(chunk: Buffer, done: (error?: Error) => void): void {
    const other = this.other;
    if (other === undefined || other.destroyed || this.destroyed) done(new Error('closed'));
    else if (other.push(Buffer.from(chunk))) setImmediate(done);
    else other.#release = () => setImmediate(done);
  }

  override _final(done: () => void): void {
    this.other?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const release = this.#release;
    this.#release = undefined;
    release?.();
    const other = this.other;
    if (other !== undefined) setImmediate(() => other.destroy());
    done(error);
  }
}

export class MemoryNetwork {
  readonly members = new Map<NodeId, MemoryTransport>();
  readonly providers = new Map<Digest, Set<NodeId>>();
  /** Bytes that a member wrote into streams. */
  readonly streamed = new Map<NodeId, number>();
  /** Called before bytes travel. */
  onBytes: (from: NodeId, total: number) => void = () => undefined;
  /** What a member can send, over all its streams, in bytes per millisecond; no limit when it is not here. */
  readonly rates = new Map<NodeId, number>();
  readonly #busyUntil_ms = new Map<NodeId, number>();

  join(id: NodeId): MemoryTransport {
    const transport = new MemoryTransport(this, id);
    this.members.set(id, transport);
    return transport;
  }

  kill(id: NodeId): void {
    const member = this.members.get(id);
    this.members.delete(id);
    for (const stream of member?.streams ?? []) stream.destroy();
  }

  /** @returns how long these bytes take until they are sent, in milliseconds. */
  count(from: NodeId, bytes: number): number {
    const total = (this.streamed.get(from) ?? 0) + bytes;
    this.streamed.set(from, total);
    this.onBytes(from, total);
    const rate = this.rates.get(from);
    if (rate === undefined) return 0;
    const now = performance.now();
    const until = Math.max(now, this.#busyUntil_ms.get(from) ?? 0) + bytes / rate;
    this.#busyUntil_ms.set(from, until);
    return until - now;
  }
}

export class MemoryTransport implements ImageTransport {
  readonly self: NodeId;
  readonly streams = new Set<Duplex>();
  readonly handlers = new Map<string, Handler>();
  readonly streamHandlers = new Map<string, StreamHandler>();
  readonly #network: MemoryNetwork;

  constructor(network: MemoryNetwork, self: NodeId) {
    this.#network = network;
    this.self = self;
  }

  #reach(peer: NodeId): MemoryTransport {
    const member = this.#network.members.get(peer);
    if (member === undefined || this.#network.members.get(this.self) !== this) {
      throw new ShoalError('E_UNREACHABLE', `${peer} cannot be reached`);
    }
    return member;
  }

  async request(
    peer: NodeId,
    protocol: string,
    body: Uint8Array,
    options: { signal?: AbortSignal } = {},
  ): Promise<Uint8Array> {
    const handler = this.#reach(peer).handlers.get(protocol);
    if (handler === undefined) throw new ShoalError('E_UNREACHABLE', 'no such protocol');
    return handler(this.self, body, options.signal ?? new AbortController().signal);
  }

  handle(protocol: string, handler: Handler): void {
    this.handlers.set(protocol, handler);
  }

  async open(peer: NodeId, protocol: string, header: Uint8Array): Promise<Duplex> {
    const member = this.#reach(peer);
    const handler = member.streamHandlers.get(protocol);
    if (handler === undefined) throw new ShoalError('E_UNREACHABLE', 'no such protocol');
    const near = new Half((bytes) => this.#network.count(this.self, bytes));
    const far = new Half((bytes) => this.#network.count(peer, bytes));
    near.other = far;
    far.other = near;
    for (const [owner, stream] of [
      [this, near],
      [member, far],
    ] as const) {
      owner.streams.add(stream);
      stream.on('close', () => owner.streams.delete(stream));
    }
    handler(this.self, header, far);
    return near;
  }

  handleStream(protocol: string, handler: StreamHandler): void {
    this.streamHandlers.set(protocol, handler);
  }

  async provide(digest: Digest): Promise<void> {
    const known = this.#network.providers.get(digest) ?? new Set();
    this.#network.providers.set(digest, known.add(this.self));
  }

  async *findProviders(digest: Digest): AsyncGenerator<NodeId> {
    yield* this.#network.providers.get(digest) ?? [];
  }
}
