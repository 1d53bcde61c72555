/**
 * The mesh as the daemon sees it: authenticated connections between members, and what may travel on them.
 * Implementations: `libp2p-mesh.ts` (the one importer of libp2p) and `memory-mesh.ts`; both pass
 * `test/conformance/mesh.ts`.
 */
import type { Duplex } from 'node:stream';
import type { Digest, NodeId } from '../base/ids.ts';

export interface MeshEvents {
  connected: (peer: NodeId) => void;
  disconnected: (peer: NodeId) => void;
  /** A datagram of `send`. */
  message: (from: NodeId, channel: string, body: Uint8Array) => void;
  /** Something answered at these addresses on the LAN (mDNS): worth a dial when it is a member. */
  discovered: (peer: NodeId, addresses: readonly string[]) => void;
  /**
   * Who was dialled as this peer has a certificate that is not valid yet by our clock (`ahead_ms` above 0: by how much the
   * clock of who made it is ahead of ours, at least), or not any more. Nothing has proved who it is.
   */
  untimely: (peer: NodeId, ahead_ms: number) => void;
}

export type RequestHandler = (from: NodeId, body: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>;
/**
 * What the owner of gossip finds in one message: `accept` passes it on, `ignore` keeps it here, `reject` keeps it here
 * and makes gossip think less of `from`.
 */
export type Verdict = 'accept' | 'ignore' | 'reject';
/** A `publish` by anyone else; `from` relayed it and need not be its author. Asked once, before it is relayed. */
export type PublishedHandler = (from: NodeId, body: Uint8Array) => Verdict;
/** `header` is what the dialler gave to `open`. The handler owns `stream`: it ends or destroys it. */
export type StreamHandler = (from: NodeId, header: Uint8Array, stream: Duplex) => void;

/** What a peer asks for. A `frame` is one of the muxer, of whatever kind and for whatever stream. */
export type MeshUse = 'connection' | 'message' | 'stream' | 'frame';
/** What no honest peer does. What a published message holds is not judged here: see PublishedHandler. */
export type MeshOffence = 'malformed' | 'oversize';

/** Who decides how much of each peer is handled. The mesh asks and reports; it keeps no opinion of its own. */
export interface MeshGuard {
  /**
   * Asked before anything is handled, of frames for some at once. @param count how many, 1 when nothing is said.
   * @returns false: it is dropped, a stream is reset, and a connection ends, for frames too.
   */
  admit(peer: NodeId, use: MeshUse, bytes: number, count?: number): boolean;
  offence(peer: NodeId, offence: MeshOffence): void;
}

/** Named limits; each is enforced before anything is allocated. `MeshInit.limits` may change them, for tests. */
export const MESH_LIMITS = {
  /** One datagram, one request body, one published message. */
  message_bytes_max: 1 << 20,
  /** An answer to a request. */
  response_bytes_max: 8 << 20,
  header_bytes_max: 4096,
  /** Datagrams queued for one peer, by count and by bytes; `send` refuses beyond either. */
  sendQueue_messages_max: 1024,
  sendQueue_bytes_max: 8 << 20,
  /** Of requests and of byte streams from one peer, each. */
  inboundStreams_max: 256,
  /** Answers that one peer has not taken yet; a request beyond it is told E_BUSY. */
  answersQueue_bytes_max: 32 << 20,
  request_timeout_ms: 15_000,
  /** For one address; the addresses of a peer are tried one after another, in the order given. */
  dial_timeout_ms: 5_000,
} as const;
export type MeshLimits = { readonly [K in keyof typeof MESH_LIMITS]: number };

export interface Mesh extends AsyncDisposable {
  readonly self: NodeId;
  /** Multiaddrs that this node listens on, with its peer id. */
  addresses(): string[];
  /** Members connected now: each has proved its key, and has shown that it accepts ours. */
  peers(): NodeId[];
  /**
   * Resolves once connected (at once when it already is).
   * @throws E_UNREACHABLE after all addresses failed or the peer refused us, E_NOT_ALLOWED when it is no member.
   */
  connect(peer: NodeId, addresses: readonly string[], options?: { signal?: AbortSignal }): Promise<void>;
  /** Hard and at once: what is in flight is lost, streams break, nothing waits for the other side. */
  disconnect(peer: NodeId): Promise<void>;
  /**
   * A small message, in order, at most once, on a stream that is kept open. Never blocks.
   * @returns false when `peer` is not connected or its queue is full: the message is dropped.
   * @throws E_TOO_LARGE
   */
  send(peer: NodeId, channel: string, body: Uint8Array): boolean;
  /** @throws E_UNREACHABLE, E_TIMEOUT, E_TOO_LARGE, or the ShoalError code that the other side's handler threw. */
  request(
    peer: NodeId,
    protocol: string,
    body: Uint8Array,
    options?: { signal?: AbortSignal },
  ): Promise<Uint8Array>;
  handle(protocol: string, handler: RequestHandler): void;
  /**
   * To every member that is reachable now, by gossip, in any order. Bytes equal to some that travelled within
   * the last two minutes are the same message and do not travel again. @throws E_TOO_LARGE
   */
  publish(body: Uint8Array): Promise<void>;
  /** One handler; until there is one, what is published is ignored. A handler that throws ignores. */
  handlePublished(handler: PublishedHandler): void;
  /**
   * A byte stream with backpressure. A side that vanishes breaks the other's stream: only `end` ends it cleanly.
   * @throws E_UNREACHABLE, E_TOO_LARGE
   */
  open(
    peer: NodeId,
    protocol: string,
    header: Uint8Array,
    options?: { signal?: AbortSignal },
  ): Promise<Duplex>;
  handleStream(protocol: string, handler: StreamHandler): void;
  /** Announces to the DHT that this node holds the blob. Failing to is not an error: the DHT is a hint. */
  provide(digest: Digest): Promise<void>;
  /** Hints, in no order, ended by `signal` or when the search is done. Never throws. */
  findProviders(digest: Digest, options?: { signal?: AbortSignal }): AsyncIterable<NodeId>;
  on<E extends keyof MeshEvents>(event: E, listener: MeshEvents[E]): void;
  off<E extends keyof MeshEvents>(event: E, listener: MeshEvents[E]): void;
}

export interface MeshInit {
  /** 32 bytes, the seed of the node's Ed25519 key. */
  readonly seed: Uint8Array;
  /** The cluster's id in hex: names the gossip topic and the DHT, so that clusters never mix. */
  readonly cluster: string;
  /** Multiaddrs to listen on, such as /ip4/0.0.0.0/tcp/7420. */
  readonly listen: readonly string[];
  /**
   * Asked for every inbound and outbound peer after the handshake proved its key, and before any protocol. False also
   * for a member that is not to be dealt with for now.
   */
  readonly isMember: (peer: NodeId) => boolean;
  /** Default: admits everything. */
  readonly guard?: MeshGuard;
  /**
   * Whether every pair of members keeps a connection, as in small clusters. Then an author reaches all others at
   * once, and who relays waits a moment to be told that it need not. Default: no.
   */
  readonly isFullMesh?: () => boolean;
  /** mDNS on the LAN. */
  readonly mdns: boolean;
  readonly limits?: Partial<MeshLimits>;
  readonly log: (level: 'debug' | 'info' | 'warn', message: string, detail?: Record<string, unknown>) => void;
}

export const OPEN_GUARD: MeshGuard = { admit: () => true, offence: () => undefined };

/** Of the door: each is enforced for strangers, before anything is allocated for them. */
export const DOOR_LIMITS = {
  /** The largest record fits, and what is around it: an appeal may bring one. */
  knock_bytes_max: 160 << 10,
  answer_bytes_max: 1 << 20,
  /** Whole requests being answered at a time; one more is told E_BUSY. */
  knocks_max: 16,
  connections_max: 64,
  /** Of one address, unless it is this very host. Several hosts behind one router may join at once. */
  connectionsEach_max: 8,
  /** Handshakes of one address at a time, unless it is this very host. */
  pendingEach_max: 4,
  /** New connections per second from one address. */
  inbound_per_second_max: 50,
  /** From the first byte of a connection to its end, on both sides. */
  timeout_ms: 10_000,
} as const;
export type DoorLimits = { readonly [K in keyof typeof DOOR_LIMITS]: number };

/** The door: a listener of its own where a stranger may do one thing, hand in a grant. Nothing else is spoken there. */
export interface Door extends AsyncDisposable {
  /** Multiaddrs with peer id. */
  addresses(): string[];
}
export interface DoorInit {
  readonly seed: Uint8Array;
  readonly listen: readonly string[];
  /** Answers one knock; a throw of ShoalError is told to the stranger by code and message. */
  readonly onKnock: (from: NodeId, body: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>;
  readonly limits?: Partial<DoorLimits>;
  readonly log: MeshInit['log'];
}
/**
 * Knocks at each address in turn. An address without a peer id at its end is passed over: nobody could tell whose
 * door it is. @throws E_UNREACHABLE, E_BUSY, E_CLOCK_BEHIND, E_CLOCK_AHEAD, E_TOO_LARGE, E_CANCELLED, or the code that the
 * door answered.
 */
export type Knock = (
  init: { readonly seed: Uint8Array; readonly addresses: readonly string[]; readonly signal?: AbortSignal },
  body: Uint8Array,
) => Promise<Uint8Array>;
