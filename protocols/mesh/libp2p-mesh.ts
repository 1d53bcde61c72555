/**
 * The mesh over libp2p: TCP, TLS 1.3, yamux, gossipsub, kad-dht.
 *
 * A peer counts as connected once both sides have let each other in. TLS 1.3 finishes on the dialling side before
 * the other has looked at the certificate, so a bare connection proves nothing: each side opens its channel for
 * datagrams at once, and the first stream that works, in either direction, is the proof.
 * Not here: how the node is put together (libp2p-node.ts) and who is a member (`isMember`).
 */
import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import type { Connection, Stream } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import { isShoalError, ShoalError } from '../base/errors.ts';
import type { Digest, NodeId } from '../base/ids.ts';
import { addressesOf } from './addresses.ts';
import { answer, ask } from './exchange.ts';
import { checkSize, decodeNamed, encodeFrame, encodeNamed, NAME_BYTES_MAX } from './frames.ts';
import { Gossip } from './gossip.ts';
import { GOSSIP_PROTOCOL_PREFIX, gossipTopic } from './gossip-options.ts';
import { addressTimeout_ms, createNode, listenError, type MeshNode } from './libp2p-node.ts';
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
import { MeshStream } from './mesh-stream.ts';
import { MessageChannel } from './message-channel.ts';
import { readMessages } from './message-reader.ts';
import { ProviderHints } from './provider-hints.ts';
import { readHeader } from './stream-header.ts';
import { meterStreams } from './stream-meter.ts';

const MESSAGES = '/shoal/messages/1';
const REQUEST = '/shoal/request/1';
const STREAM = '/shoal/stream/1';
/** One is enough; a second one comes while the first is being given up. */
const MESSAGE_STREAMS_MAX = 4;
const STREAM_HEADER_TIMEOUT_MS = 10_000;
/** Of the DHT's questions, which are most of it; an announcement counts as two to four. */
const INNER_MESSAGE_BYTES = 64;
/** Within this time both of two sides may dial: longer than a handshake takes on a busy host. */
const CROSSING_MS_MAX = 5_000;
/** Both sides may dial at once, and again when the network cut that off: most limits are of a connection each. */
const CONNECTIONS_EACH_MAX = 4;

interface Peer {
  readonly channel: MessageChannel;
  /** Settles with the proof that both sides let each other in, or with the loss of the connection. */
  readonly proven: PromiseWithResolvers<void>;
  up: boolean;
  /** Bytes of answers that it has not taken yet. */
  answers_bytes: number;
}

/**
 * @throws ShoalError E_PORT_IN_USE, E_PORT_DENIED, E_ADDRESS_NOT_HERE, E_BAD_INPUT for an address that cannot be listened
 * on. Nothing stays open.
 */
export async function createLibp2pMesh(init: MeshInit): Promise<Mesh> {
  const mesh = new Libp2pMesh(init);
  await mesh.start();
  return mesh;
}

class Libp2pMesh implements Mesh {
  readonly #init: MeshInit;
  readonly #limits: MeshLimits;
  readonly #events = new EventEmitter();
  readonly #peers = new Map<NodeId, Peer>();
  readonly #handlers = new Map<string, RequestHandler>();
  readonly #streamHandlers = new Map<string, StreamHandler>();
  readonly #streams = new Set<MeshStream>();
  /** Peers that `connect` is dialling, with how many callers wait for each. */
  readonly #dialling = new Map<NodeId, number>();
  /** Peers that `disconnect` sent away: no search of the DHT may bring them back. */
  readonly #parted = new Set<NodeId>();
  /** When each connection was opened, by a clock that nobody sets. */
  readonly #opened_ms = new WeakMap<Connection, number>();
  readonly #guard: MeshGuard;
  #hints!: ProviderHints;
  #gossip!: Gossip;
  #node!: MeshNode;
  #self: NodeId = '';
  #closing: Promise<void> | undefined;

  constructor(init: MeshInit) {
    this.#init = init;
    this.#limits = { ...MESH_LIMITS, ...init.limits };
    this.#guard = init.guard ?? OPEN_GUARD;
    this.#events.setMaxListeners(0);
  }

  async start(): Promise<void> {
    const node = await createNode(this.#init, this.#limits, {
      mayDial: (peer) => this.#dialling.has(peer) || (this.#hints.searching && !this.#parted.has(peer)),
      onDialled: (peer) => this.#onDialled(peer),
      onUntimely: (peer, ahead_ms) => this.#emit('untimely', peer, ahead_ms),
      onDiscovered: (peer, addresses) => this.#emit('discovered', peer, addresses),
      peers_count: () => this.peers().length,
    });
    this.#node = node;
    this.#hints = new ProviderHints(node, this.#init);
    this.#self = node.peerId.toString();
    this.#gossip = new Gossip(node, {
      topic: gossipTopic(this.#init.cluster),
      message_bytes_max: this.#limits.message_bytes_max,
      guard: this.#guard,
      isFullMesh: this.#init.isFullMesh ?? (() => false),
      log: this.#init.log,
      connectionOf: (peer, stream) =>
        node.getConnections(peerIdFromString(peer)).find(({ streams }) => streams.includes(stream)),
      onBroken: (peer, connection) =>
        this.#abortConnections(peer, 'its gossip broke', (one) => one === (connection ?? one)),
    });
    await this.#listenToNode(node);
    try {
      await node.start();
      this.#gossip.start();
    } catch (cause) {
      await node.stop();
      throw listenError(this.#init.listen, cause);
    }
  }

  async #listenToNode(node: MeshNode): Promise<void> {
    node.addEventListener('peer:connect', (event) => this.#onConnection(event.detail.toString()));
    node.addEventListener('peer:disconnect', (event) => this.#onNoConnection(event.detail.toString()));
    node.addEventListener('connection:open', (event) => {
      this.#opened_ms.set(event.detail, performance.now());
      meterStreams(event.detail, this.#guard, messagesIn);
      this.#endBeyond(event.detail);
    });
    const streams_max = this.#limits.inboundStreams_max;
    const limited = { maxInboundStreams: streams_max, maxOutboundStreams: streams_max };
    await node.handle(MESSAGES, this.#serve(this.#onMessages), {
      maxInboundStreams: MESSAGE_STREAMS_MAX,
      maxOutboundStreams: MESSAGE_STREAMS_MAX,
    });
    await node.handle(REQUEST, this.#serve(this.#onRequest), limited);
    await node.handle(STREAM, this.#serve(this.#onStream), limited);
  }

  get self(): NodeId {
    return this.#self;
  }

  addresses(): string[] {
    return this.#node.getMultiaddrs().map((address) => address.toString());
  }

  peers(): NodeId[] {
    return [...this.#peers].filter(([, peer]) => peer.up).map(([id]) => id);
  }

  // Connections

  async connect(
    peer: NodeId,
    addresses: readonly string[],
    options: { signal?: AbortSignal } = {},
  ): Promise<void> {
    if (this.#peers.get(peer)?.up === true) return;
    if (this.#closing !== undefined) throw new ShoalError('E_UNREACHABLE', 'the mesh is closed');
    if (!this.#init.isMember(peer))
      throw new ShoalError('E_NOT_ALLOWED', `${peer} is no member, or banned for now`);
    const targets = addressesOf(peer, addresses);
    this.#parted.delete(peer);
    const timeout = AbortSignal.timeout(addressTimeout_ms(this.#limits) * Math.max(1, targets.length));
    const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
    this.#dialling.set(peer, (this.#dialling.get(peer) ?? 0) + 1);
    try {
      if (!this.#peers.has(peer)) {
        if (targets.length === 0) throw new Error('no usable address');
        await this.#node.dial(targets, { signal });
      }
      await raceAbort(this.#peers.get(peer)?.proven.promise ?? Promise.reject(new Error('refused')), signal);
    } catch (cause) {
      if (options.signal?.aborted) throw cancelled(cause);
      throw new ShoalError('E_UNREACHABLE', `cannot connect to ${peer} at ${addresses.join(', ')}`, {
        cause,
      });
    } finally {
      const callers = (this.#dialling.get(peer) ?? 1) - 1;
      if (callers > 0) this.#dialling.set(peer, callers);
      else this.#dialling.delete(peer);
    }
  }

  async disconnect(peer: NodeId): Promise<void> {
    this.#parted.add(peer);
    this.#abortConnections(peer, 'disconnected');
  }

  #onDialled(peer: NodeId): boolean {
    if (!this.#guard.admit(peer, 'connection', 0)) return false;
    this.#endOld(peer);
    return true;
  }

  /** Counted once it is open: of those that shake hands at the same time each would see too few others. */
  #endBeyond(connection: Connection): void {
    const count = this.#node.getConnections(connection.remotePeer).length;
    const isBeyond = connection.direction === 'inbound' && count > CONNECTIONS_EACH_MAX;
    if (isBeyond) connection.abort(new Error('too many connections'));
  }

  /**
   * Whoever dials has no connection: one that is still open here it has given up while the network was cut, or in a
   * former life. What is sent on that one is not acknowledged, and TCP would find out only many seconds later.
   * Two that dial one another at the same time have two young ones.
   */
  #endOld(peer: NodeId): void {
    const now = performance.now();
    this.#abortConnections(peer, 'the peer has dialled anew', (connection) => {
      return now - (this.#opened_ms.get(connection) ?? now) > CROSSING_MS_MAX;
    });
  }

  #abortConnections(
    peer: NodeId,
    reason: string,
    isMeant: (connection: Connection) => boolean = () => true,
  ): void {
    for (const connection of this.#node.getConnections(peerIdFromString(peer)).filter(isMeant)) {
      try {
        connection.abort(new Error(reason));
      } catch (error) {
        this.#init.log('debug', 'aborting a connection failed', { peer, error: String(error) });
      }
    }
  }

  #onConnection(id: NodeId): void {
    if (this.#closing !== undefined || this.#peers.has(id)) return;
    const peer: Peer = {
      channel: new MessageChannel(
        this.#limits,
        () => this.#newStream(id, MESSAGES),
        (error) =>
          this.#init.log('debug', 'the channel for datagrams broke', { peer: id, error: String(error) }),
      ),
      proven: Promise.withResolvers<void>(),
      up: false,
      answers_bytes: 0,
    };
    // Nobody need wait for it.
    peer.proven.promise.catch(() => undefined);
    this.#peers.set(id, peer);
    peer.channel.open().then(
      () => this.#onProof(id, peer),
      (error) => {
        this.#init.log('debug', 'a peer did not let us in', { peer: id, error: String(error) });
        if (this.#peers.get(id) === peer && !peer.up) this.#abortConnections(id, 'refused');
      },
    );
  }

  #onProof(id: NodeId, peer: Peer): void {
    if (peer.up || this.#peers.get(id) !== peer) return;
    peer.up = true;
    this.#parted.delete(id);
    this.#emit('connected', id);
    peer.proven.resolve();
  }

  #onNoConnection(id: NodeId): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    this.#peers.delete(id);
    peer.channel.close();
    peer.proven.reject(new Error('the connection closed'));
    if (peer.up) this.#emit('disconnected', id);
  }

  async #newStream(peer: NodeId, protocol: string, signal?: AbortSignal): Promise<Stream> {
    const connection = this.#node
      .getConnections(peerIdFromString(peer))
      .find((candidate) => candidate.status === 'open');
    if (connection === undefined) throw new ShoalError('E_UNREACHABLE', `${peer} is not connected`);
    return await connection.newStream(protocol, signal === undefined ? {} : { signal });
  }

  /** Wraps the handler of a protocol: the peer is a member still, and its stream proves that it let us in. */
  #serve(handler: (from: NodeId, stream: Stream) => void) {
    return (stream: Stream, connection: Connection): void => {
      const from = connection.remotePeer.toString();
      if (this.#closing !== undefined) {
        stream.abort(new Error('closing'));
      } else if (!this.#init.isMember(from)) {
        this.#init.log('info', 'dropped a peer that is no member any more', { peer: from });
        this.#abortConnections(from, 'not a member');
      } else {
        const peer = this.#peers.get(from);
        if (peer !== undefined) this.#onProof(from, peer);
        handler.call(this, from, stream);
      }
    };
  }

  // Datagrams

  send(id: NodeId, channel: string, body: Uint8Array): boolean {
    checkSize('a datagram', body, this.#limits.message_bytes_max);
    const peer = this.#peers.get(id);
    return peer?.up === true && peer.channel.send(encodeFrame(encodeNamed(channel, body)));
  }

  #onMessages(from: NodeId, stream: Stream): void {
    readMessages(
      stream,
      this.#limits.message_bytes_max,
      (bytes) => this.#guard.admit(from, 'message', bytes),
      (channel, body) => this.#emit('message', from, channel, body),
      (error) => {
        this.#init.log('debug', 'a peer sent what is no datagram', { peer: from, error: String(error) });
        this.#guard.offence(from, isShoalError(error, 'E_TOO_LARGE') ? 'oversize' : 'malformed');
      },
    );
  }

  // Requests

  handle(protocol: string, handler: RequestHandler): void {
    this.#handlers.set(protocol, handler);
  }

  async request(
    peer: NodeId,
    protocol: string,
    body: Uint8Array,
    options: { signal?: AbortSignal } = {},
  ): Promise<Uint8Array> {
    checkSize('a request', body, this.#limits.message_bytes_max);
    const timeout = AbortSignal.timeout(this.#limits.request_timeout_ms);
    const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
    try {
      const stream = await this.#newStream(peer, REQUEST, signal);
      return await ask(stream, encodeNamed(protocol, body), this.#limits.response_bytes_max, signal);
    } catch (cause) {
      if (options.signal?.aborted) throw cancelled(cause);
      if (timeout.aborted) throw new ShoalError('E_TIMEOUT', `${peer} did not answer ${protocol} in time`);
      if (isShoalError(cause) || cause instanceof RangeError) throw cause;
      throw new ShoalError('E_UNREACHABLE', `the connection to ${peer} failed`, { cause });
    }
  }

  #onRequest(from: NodeId, stream: Stream): void {
    void answer(stream, {
      request_bytes_max: 1 + NAME_BYTES_MAX + this.#limits.message_bytes_max,
      answer_bytes_max: this.#limits.response_bytes_max,
      timeout_ms: this.#limits.request_timeout_ms,
      handler: async (request, signal) => {
        const { name, body } = this.#decodeRequest(from, request);
        const handler = this.#handlers.get(name);
        if (handler === undefined) throw new ShoalError('E_NOT_FOUND', `nobody answers ${name} here`);
        return await handler(from, body, signal);
      },
      reserve: (bytes) => this.#reserveAnswer(from, bytes),
      release: (bytes) => this.#releaseAnswer(from, bytes),
      onFailure: (error) => this.#logFailure(from, error),
      onOversize: () => this.#guard.offence(from, 'oversize'),
    });
  }

  #decodeRequest(from: NodeId, request: Uint8Array): { name: string; body: Uint8Array } {
    try {
      return decodeNamed(request);
    } catch (error) {
      this.#guard.offence(from, 'malformed');
      throw error;
    }
  }

  #reserveAnswer(id: NodeId, bytes: number): boolean {
    const peer = this.#peers.get(id);
    if (peer === undefined || peer.answers_bytes + bytes > this.#limits.answersQueue_bytes_max) return false;
    peer.answers_bytes += bytes;
    return true;
  }

  #releaseAnswer(id: NodeId, bytes: number): void {
    const peer = this.#peers.get(id);
    // It may be another connection by now, which owes nothing.
    if (peer !== undefined) peer.answers_bytes = Math.max(0, peer.answers_bytes - bytes);
  }

  // Streams

  handleStream(protocol: string, handler: StreamHandler): void {
    this.#streamHandlers.set(protocol, handler);
  }

  async open(
    peer: NodeId,
    protocol: string,
    header: Uint8Array,
    options: { signal?: AbortSignal } = {},
  ): Promise<Duplex> {
    checkSize('a header', header, this.#limits.header_bytes_max);
    const frame = encodeFrame(encodeNamed(protocol, header));
    const timeout = AbortSignal.timeout(this.#limits.request_timeout_ms);
    const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
    try {
      const stream = await this.#newStream(peer, STREAM, signal);
      stream.send(frame);
      return this.#track(new MeshStream(stream), stream);
    } catch (cause) {
      if (options.signal?.aborted) throw cancelled(cause);
      throw new ShoalError('E_UNREACHABLE', `cannot open a stream to ${peer}`, { cause });
    }
  }

  #onStream(from: NodeId, stream: Stream): void {
    readHeader(
      stream,
      this.#limits.header_bytes_max,
      STREAM_HEADER_TIMEOUT_MS,
      (name, header, early) => {
        const handler = this.#streamHandlers.get(name);
        if (handler === undefined)
          throw new ShoalError('E_NOT_FOUND', `nobody takes streams of ${name} here`);
        handler(from, header, this.#track(new MeshStream(stream, early), stream));
      },
      (error) => {
        this.#logFailure(from, error);
        if (isShoalError(error, 'E_TOO_LARGE')) this.#guard.offence(from, 'oversize');
        else if (isShoalError(error, 'E_MALFORMED')) this.#guard.offence(from, 'malformed');
        stream.abort(new Error('refused'));
      },
    );
  }

  #track(duplex: MeshStream, stream: Stream): MeshStream {
    this.#streams.add(duplex);
    stream.addEventListener('close', () => this.#streams.delete(duplex), { once: true });
    // A stream may break before its owner listens; it learns of it from `destroyed` or its next call.
    duplex.on('error', () => undefined);
    return duplex;
  }

  #logFailure(from: NodeId, error: unknown): void {
    const expected = isShoalError(error) && error.code !== 'E_INTERNAL';
    const detail = { peer: from, error: expected ? String(error) : String((error as Error)?.stack ?? error) };
    this.#init.log(expected ? 'debug' : 'warn', 'a request or stream failed here', detail);
  }

  // Gossip and DHT

  async publish(body: Uint8Array): Promise<void> {
    checkSize('a message', body, this.#limits.message_bytes_max);
    if (this.#closing !== undefined) return;
    await this.#gossip.publish(body);
  }

  handlePublished(handler: PublishedHandler): void {
    this.#gossip.handle(handler);
  }

  async provide(digest: Digest): Promise<void> {
    await this.#hints.provide(digest);
  }

  findProviders(digest: Digest, options: { signal?: AbortSignal } = {}): AsyncIterable<NodeId> {
    return this.#hints.find(digest, options.signal);
  }

  // Events and the end

  on<E extends keyof MeshEvents>(event: E, listener: MeshEvents[E]): void {
    this.#events.on(event, listener);
  }

  off<E extends keyof MeshEvents>(event: E, listener: MeshEvents[E]): void {
    this.#events.off(event, listener);
  }

  /** A listener that throws must not break the connection that it was told of. */
  #emit<E extends keyof MeshEvents>(event: E, ...args: Parameters<MeshEvents[E]>): void {
    try {
      this.#events.emit(event, ...args);
    } catch (error) {
      this.#init.log('warn', `a listener of ${event} threw`, {
        error: String((error as Error)?.stack ?? error),
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #close(): Promise<void> {
    // An orderly close of the connection would end every stream in an orderly way too, wherever it was.
    for (const stream of [...this.#streams]) stream.destroy();
    await this.#node.stop();
    for (const id of [...this.#peers.keys()]) this.#onNoConnection(id);
  }
}

/**
 * Datagrams and gossip are metered by the frame; byte streams hold their sender back by themselves. A request is one.
 * What is answered inside of libp2p is as many as may be packed into the bytes: we do not see where one ends.
 */
function messagesIn(protocol: string, bytes: number): number {
  if (protocol === MESSAGES || protocol === STREAM || protocol.startsWith(GOSSIP_PROTOCOL_PREFIX)) return 0;
  return protocol === REQUEST || protocol === '' ? 1 : Math.ceil(bytes / INNER_MESSAGE_BYTES);
}

function cancelled(cause: unknown): ShoalError {
  return new ShoalError('E_CANCELLED', 'given up by the caller', { cause });
}

async function raceAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
