/**
 * A mesh within one process, for tests and simulations in real time: the same interface, limits and errors as over
 * libp2p, and pairs of nodes can be cut from each other. Nothing is encrypted and nothing touches a network.
 */
import { createHash, createPrivateKey, createPublicKey } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { type Duplex, duplexPair } from 'node:stream';
import { isShoalError, ShoalError } from '../base/errors.ts';
import { type Digest, keyIdFromPublicKey, type NodeId } from '../base/ids.ts';
import { decodeAnswer, encodeAnswer, encodeFailure } from './answers.ts';
import { checkSize, decodeNamed, encodeNamed } from './frames.ts';
import {
  MESH_LIMITS,
  type Mesh,
  type MeshEvents,
  type MeshGuard,
  type MeshInit,
  type MeshLimits,
  OPEN_GUARD,
  type PublishedHandler,
  type RequestHandler,
  type StreamHandler,
} from './mesh.ts';

/** PKCS #8 of an Ed25519 key up to its 32 bytes of seed (RFC 8410). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const PUBLIC_KEY_BYTES = 32;
const SEEN_MESSAGES_MAX = 4096;

/** Where memory meshes find each other. */
export class MemoryNetwork {
  readonly #nodes = new Map<NodeId, MemoryMesh>();
  readonly #cuts = new Set<string>();
  readonly #ports = new Set<string>();
  readonly providers = new Map<Digest, Set<NodeId>>();
  #lastPort = 0;

  /** @throws ShoalError E_PORT_IN_USE when another node listens on one of the addresses; a port 0 is always free. */
  async createMesh(init: MeshInit): Promise<Mesh> {
    const listen = init.listen.map((address) =>
      address.replace(/\/tcp\/0$/, () => `/tcp/memory-${++this.#lastPort}`),
    );
    const taken = listen.find((address) => this.#ports.has(address));
    if (taken !== undefined) throw new ShoalError('E_PORT_IN_USE', `${taken} is in use`);
    for (const address of listen) this.#ports.add(address);
    const mesh = new MemoryMesh(this, init, listen);
    this.#nodes.set(mesh.self, mesh);
    if (init.mdns) {
      for (const other of this.#nodes.values()) {
        if (other !== mesh && other.init.mdns) {
          other.emit('discovered', mesh.self, mesh.addresses());
          setImmediate(() => mesh.emit('discovered', other.self, other.addresses()));
        }
      }
    }
    return mesh;
  }

  /** The two lose their connection and get none until `heal`. */
  cut(a: NodeId, b: NodeId): void {
    this.#cuts.add(pair(a, b));
    this.#nodes.get(a)?.drop(b);
  }

  heal(a: NodeId, b: NodeId): void {
    this.#cuts.delete(pair(a, b));
  }

  /** @returns the node at one of `addresses` when it can be reached from `from`. */
  find(from: NodeId, to: NodeId, addresses: readonly string[]): MemoryMesh | undefined {
    const node = this.#nodes.get(to);
    if (node === undefined || this.#cuts.has(pair(from, to))) return undefined;
    return node.addresses().some((address) => addresses.includes(address)) ? node : undefined;
  }

  remove(mesh: MemoryMesh, listen: readonly string[]): void {
    if (this.#nodes.get(mesh.self) === mesh) this.#nodes.delete(mesh.self);
    for (const address of listen) this.#ports.delete(address);
  }
}

function pair(a: NodeId, b: NodeId): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

interface Link {
  readonly peer: MemoryMesh;
  queue: Uint8Array[];
  queue_bytes: number;
  /** Fires when the connection is lost. */
  readonly lost: AbortController;
  readonly streams: Set<Duplex>;
}

class MemoryMesh implements Mesh {
  readonly self: NodeId;
  readonly init: MeshInit;
  readonly limits: MeshLimits;
  readonly #network: MemoryNetwork;
  readonly #listen: readonly string[];
  readonly #events = new EventEmitter();
  readonly #links = new Map<NodeId, Link>();
  readonly #handlers = new Map<string, RequestHandler>();
  readonly #streamHandlers = new Map<string, StreamHandler>();
  readonly #seen = new Set<string>();
  readonly #guard: MeshGuard;
  #onPublish: PublishedHandler = () => 'ignore';
  #closed = false;

  constructor(network: MemoryNetwork, init: MeshInit, listen: readonly string[]) {
    this.#network = network;
    this.init = init;
    this.limits = { ...MESH_LIMITS, ...init.limits };
    this.#guard = init.guard ?? OPEN_GUARD;
    this.#listen = listen;
    const key = createPrivateKey({
      key: Buffer.concat([PKCS8_PREFIX, init.seed]),
      format: 'der',
      type: 'pkcs8',
    });
    const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
    this.self = keyIdFromPublicKey(spki.subarray(-PUBLIC_KEY_BYTES));
  }

  addresses(): string[] {
    return this.#listen.map((address) => `${address}/p2p/${this.self}`);
  }

  peers(): NodeId[] {
    return [...this.#links.keys()];
  }

  async connect(
    peer: NodeId,
    addresses: readonly string[],
    options: { signal?: AbortSignal } = {},
  ): Promise<void> {
    if (this.#links.has(peer)) return;
    if (this.#closed) throw new ShoalError('E_UNREACHABLE', 'the mesh is closed');
    if (!this.init.isMember(peer))
      throw new ShoalError('E_NOT_ALLOWED', `${peer} is no member, or banned for now`);
    if (options.signal?.aborted) throw new ShoalError('E_CANCELLED', 'given up by the caller');
    const named = addresses.map((address) =>
      address.includes('/p2p/') ? address : `${address}/p2p/${peer}`,
    );
    const node = this.#network.find(this.self, peer, named);
    if (node === undefined || node === this || !node.init.isMember(this.self)) {
      throw new ShoalError('E_UNREACHABLE', `cannot connect to ${peer} at ${addresses.join(', ')}`);
    }
    this.#join(node);
    node.#join(this);
  }

  async disconnect(peer: NodeId): Promise<void> {
    this.drop(peer);
  }

  #join(peer: MemoryMesh): void {
    if (this.#links.has(peer.self)) return;
    const link = { peer, queue: [], queue_bytes: 0, lost: new AbortController(), streams: new Set<Duplex>() };
    this.#links.set(peer.self, link);
    this.emit('connected', peer.self);
  }

  /** The connection to `peer` is lost on both sides. */
  drop(id: NodeId): void {
    const link = this.#links.get(id);
    if (link === undefined) return;
    this.#links.delete(id);
    link.queue = [];
    link.lost.abort();
    for (const stream of link.streams) stream.destroy(broken());
    this.emit('disconnected', id);
    link.peer.drop(this.self);
  }

  send(id: NodeId, channel: string, body: Uint8Array): boolean {
    checkSize('a datagram', body, this.limits.message_bytes_max);
    const link = this.#links.get(id);
    const frame = encodeNamed(channel, body);
    if (
      link === undefined ||
      link.queue.length >= this.limits.sendQueue_messages_max ||
      link.queue_bytes + frame.byteLength > this.limits.sendQueue_bytes_max
    ) {
      return false;
    }
    if (link.queue.length === 0) setImmediate(() => this.#deliver(link));
    link.queue.push(frame);
    link.queue_bytes += frame.byteLength;
    return true;
  }

  #deliver(link: Link): void {
    const frames = link.queue;
    link.queue = [];
    link.queue_bytes = 0;
    for (const frame of frames) {
      const { name, body } = decodeNamed(frame);
      if (link.lost.signal.aborted) return;
      if (link.peer.#guard.admit(this.self, 'message', frame.byteLength))
        link.peer.emit('message', this.self, name, body);
    }
  }

  handle(protocol: string, handler: RequestHandler): void {
    this.#handlers.set(protocol, handler);
  }

  async request(
    peer: NodeId,
    protocol: string,
    body: Uint8Array,
    options: { signal?: AbortSignal } = {},
  ): Promise<Uint8Array> {
    checkSize('a request', body, this.limits.message_bytes_max);
    const link = this.#links.get(peer);
    if (link === undefined) throw new ShoalError('E_UNREACHABLE', `${peer} is not connected`);
    const timeout = AbortSignal.timeout(this.limits.request_timeout_ms);
    const signals = [timeout, link.lost.signal, ...(options.signal === undefined ? [] : [options.signal])];
    const signal = AbortSignal.any(signals);
    const { promise: gone, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    // An unreferenced timer alone would let the process end while somebody waits.
    const alive = setInterval(() => undefined, 1000);
    try {
      const told = await Promise.race([link.peer.#answer(this.self, protocol, body.slice(), signal), gone]);
      checkSize('an answer', told, this.limits.response_bytes_max + 1);
      return decodeAnswer(told);
    } catch (cause) {
      if (options.signal?.aborted) throw new ShoalError('E_CANCELLED', 'given up by the caller', { cause });
      if (timeout.aborted) throw new ShoalError('E_TIMEOUT', `${peer} did not answer ${protocol} in time`);
      if (isShoalError(cause)) throw cause;
      throw new ShoalError('E_UNREACHABLE', `the connection to ${peer} failed`, { cause });
    } finally {
      clearInterval(alive);
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #answer(from: NodeId, protocol: string, body: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    try {
      if (!this.#admitStream(from, body.byteLength)) throw broken();
      const handler = this.#handlers.get(protocol);
      if (handler === undefined) throw new ShoalError('E_NOT_FOUND', `nobody answers ${protocol} here`);
      const answer = await handler(from, body, signal);
      checkSize('an answer', answer, this.limits.response_bytes_max);
      return encodeAnswer(answer);
    } catch (error) {
      return encodeFailure(error);
    }
  }

  async publish(body: Uint8Array): Promise<void> {
    checkSize('a message', body, this.limits.message_bytes_max);
    if (this.#notice(body)) this.#relay(body.slice(), undefined);
  }

  #relay(body: Uint8Array, from: NodeId | undefined): void {
    for (const [id, link] of this.#links) {
      if (id !== from)
        setImmediate(() => link.lost.signal.aborted || link.peer.#onPublished(this.self, body));
    }
  }

  handlePublished(handler: PublishedHandler): void {
    this.#onPublish = handler;
  }

  #onPublished(from: NodeId, body: Uint8Array): void {
    if (this.#closed || !this.#guard.admit(from, 'message', body.byteLength) || !this.#notice(body)) return;
    try {
      if (this.#onPublish(from, body.slice()) === 'accept') this.#relay(body, from);
    } catch (error) {
      this.init.log('warn', 'the handler of published messages threw', { error: String(error) });
    }
  }

  /** @returns whether these bytes are new here. */
  #notice(body: Uint8Array): boolean {
    const hash = createHash('sha256').update(body).digest('base64');
    if (this.#seen.has(hash)) return false;
    this.#seen.add(hash);
    if (this.#seen.size > SEEN_MESSAGES_MAX) {
      for (const oldest of this.#seen) {
        this.#seen.delete(oldest);
        break;
      }
    }
    return true;
  }

  async open(
    peer: NodeId,
    protocol: string,
    header: Uint8Array,
    options: { signal?: AbortSignal } = {},
  ): Promise<Duplex> {
    checkSize('a header', header, this.limits.header_bytes_max);
    const link = this.#links.get(peer);
    if (link === undefined) throw new ShoalError('E_UNREACHABLE', `cannot open a stream to ${peer}`);
    if (options.signal?.aborted) throw new ShoalError('E_CANCELLED', 'given up by the caller');
    const [near, far] = duplexPair();
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      link.streams.add(one);
      one.on('error', () => undefined);
      one.once('close', () => link.streams.delete(one));
      // As a reset does: the other side may not take what it has for the whole.
      const destroy = one._destroy.bind(one);
      one._destroy = (error, done) => {
        if (!one.readableEnded || !one.writableFinished) other.destroy(broken());
        destroy(error, done);
      };
    }
    const excess = link.streams.size / 2 > link.peer.limits.inboundStreams_max;
    setImmediate(() => {
      if (excess) far.destroy();
      else link.peer.#onStream(this.self, protocol, header.slice(), far);
    });
    return near;
  }

  #onStream(from: NodeId, protocol: string, header: Uint8Array, stream: Duplex): void {
    if (stream.destroyed) return;
    const handler = this.#streamHandlers.get(protocol);
    if (handler === undefined || !this.#admitStream(from, header.byteLength)) {
      stream.destroy(broken());
      return;
    }
    try {
      handler(from, header, stream);
    } catch (error) {
      this.init.log('warn', 'a stream handler threw', { error: String(error) });
      stream.destroy(broken());
    }
  }

  #admitStream(from: NodeId, bytes: number): boolean {
    return this.#guard.admit(from, 'stream', 0) && this.#guard.admit(from, 'message', bytes);
  }

  handleStream(protocol: string, handler: StreamHandler): void {
    this.#streamHandlers.set(protocol, handler);
  }

  async provide(digest: Digest): Promise<void> {
    const holders = this.#network.providers.get(digest) ?? new Set();
    this.#network.providers.set(digest, holders.add(this.self));
  }

  async *findProviders(digest: Digest, options: { signal?: AbortSignal } = {}): AsyncIterable<NodeId> {
    for (const id of this.#network.providers.get(digest) ?? []) {
      if (options.signal?.aborted) return;
      if (id !== this.self && this.init.isMember(id)) yield id;
    }
  }

  on<E extends keyof MeshEvents>(event: E, listener: MeshEvents[E]): void {
    this.#events.on(event, listener);
  }

  off<E extends keyof MeshEvents>(event: E, listener: MeshEvents[E]): void {
    this.#events.off(event, listener);
  }

  emit<E extends keyof MeshEvents>(event: E, ...args: Parameters<MeshEvents[E]>): void {
    try {
      this.#events.emit(event, ...args);
    } catch (error) {
      this.init.log('warn', `a listener of ${event} threw`, { error: String(error) });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const id of [...this.#links.keys()]) this.drop(id);
    this.#network.remove(this, this.#listen);
  }
}

function broken(): ShoalError {
  return new ShoalError('E_UNREACHABLE', 'the stream broke before its end');
}
