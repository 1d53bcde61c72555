/**
 * Gossip between members: gossipsub with what it leaves to its user. A message is relayed only once its owner has
 * taken it, so whoever relays what is not acceptable is to blame for it; what each peer sends is metered, frame by
 * frame before it is decoded, then by what is in it; frames that cannot be read are reported; streams to several peers
 * are opened at the same time; and where gossipsub has lost its stream to a peer, which it never opens again by itself,
 * the connection is given up so that a new one brings a new stream.
 *
 * Not here: what messages mean and what follows for a peer (`PublishedHandler`, `MeshGuard`).
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { TopicValidatorResult } from '@chainsafe/libp2p-gossipsub';
import type { RPC } from '@chainsafe/libp2p-gossipsub/message';
import type { Connection, PeerId, Stream } from '@libp2p/interface';

import { Uint8ArrayList } from 'uint8arraylist';
import { isShoalError } from '../base/errors.ts';
import type { NodeId } from '../base/ids.ts';
import { FrameReader, VARINT_HEADER } from './frames.ts';
import { GOSSIP_FRAME_BYTES_MAX } from './gossip-options.ts';
import type { MeshNode } from './libp2p-node.ts';
import type { MeshGuard, MeshInit, PublishedHandler, Verdict } from './mesh.ts';

/**
 * In a full mesh the author has sent its message to everybody at once, and everybody tells its neighbours so at once
 * (IDONTWANT). Who waits this long before it relays has heard it from nearly all: with it a node receives about one
 * copy of a message instead of four. It costs only those that the author could not reach itself this much.
 */
export const RELAY_PAUSE_MS = 40;
/** Messages that wait to be relayed; one more is relayed at once. */
export const PAUSED_MESSAGES_MAX = 256;
/**
 * Elsewhere nobody waits, and an IDONTWANT comes after nearly all of the copies that it could spare: it is sent for
 * messages alone that are so large that the few it does spare outweigh it.
 */
export const UNWANTED_MESSAGE_BYTES_MIN = 2048;
/**
 * Messages that our neighbours are told of by IDONTWANT between two heartbeats: gossipsub heeds no more of one peer.
 * Beyond it a member that makes up messages could have us spend on them all that we may send to our neighbours.
 */
export const UNWANTED_MESSAGES_MAX = 512;
/**
 * Ids in IHAVE, IWANT and IDONTWANT that count as one message. An honest member tells of 5,000 in a second at most,
 * and answers as many: that is what gossipsub asks for.
 */
export const IDS_PER_MESSAGE = 16;

/** Heartbeats, of a second each, that the first stream to a peer may take, on a busy host or a bad link too. */
const MISSING_BEATS_MAX = 60;

const ACCEPTANCE: Readonly<Record<Verdict, TopicValidatorResult>> = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
};

/**
 * Of gossipsub 17.1.1, pinned: what it has no public way to. `pipePeerReadStream` reads all frames of one peer, from the
 * stream that was put into `streamsInbound` just before.
 */
interface Inside {
  readonly opts: { idontwantMinDataSize: number };
  readonly streamsInbound: ReadonlyMap<NodeId, { readonly rawStream: Stream }>;
  readonly streamsOutbound: ReadonlyMap<NodeId, unknown>;
  createOutboundStream(peer: PeerId, connection: Connection): Promise<void>;
  decodeRpc(bytes: Uint8Array): RPC;
  sendIDontWants(id: Uint8Array, topic: string, source: NodeId): void;
  pipePeerReadStream(peer: PeerId, frames: AsyncIterable<Uint8ArrayList>): Promise<void>;
}

export interface GossipInit {
  readonly topic: string;
  readonly message_bytes_max: number;
  readonly guard: MeshGuard;
  readonly isFullMesh: () => boolean;
  readonly log: MeshInit['log'];
  /** On which connection of a peer a stream is. */
  readonly connectionOf: (peer: NodeId, stream: Stream) => Connection | undefined;
  /** Nothing of gossip comes through to this peer or from it any more: on this connection, or on any. */
  readonly onBroken: (peer: NodeId, connection?: Connection) => void;
}

export class Gossip {
  readonly #pubsub: MeshNode['services']['pubsub'];
  readonly #inside: Inside;
  readonly #init: GossipInit;
  /** Peers that had a stream of ours at the last heartbeat, and those that did not: for how many heartbeats. */
  #streamed = new Set<NodeId>();
  #missing = new Map<NodeId, number>();
  /** Peers to which a stream is being opened, each with the connection to try after that. */
  readonly #opening = new Map<NodeId, Connection | undefined>();
  #handler: PublishedHandler | undefined;
  /** What frames that are about to be handled hold. */
  readonly #decoded = new WeakMap<Uint8Array, RPC>();
  #paused = 0;
  /** Messages since the last heartbeat that neighbours were told of. */
  #unwanted = 0;

  constructor(node: MeshNode, init: GossipInit) {
    this.#pubsub = node.services.pubsub;
    this.#inside = node.services.pubsub as unknown as Inside;
    this.#init = init;
    this.#meter();
    this.#openTogether();
    // Read for each message that comes.
    Object.defineProperty(this.#inside.opts, 'idontwantMinDataSize', {
      get: () => (init.isFullMesh() ? 0 : UNWANTED_MESSAGE_BYTES_MIN),
    });
    this.#pubsub.topicValidators.set(init.topic, (peer, message) =>
      this.#validate(peer.toString(), message.data),
    );
    this.#pubsub.addEventListener('gossipsub:heartbeat', () => this.#mend());
  }

  /** To be called once the node has started. */
  start(): void {
    this.#pubsub.subscribe(this.#init.topic);
  }

  handle(handler: PublishedHandler): void {
    this.#handler = handler;
  }

  async publish(body: Uint8Array): Promise<void> {
    // Where everybody is connected to everybody nothing is faster; elsewhere it would only make the first hop wide.
    const options = { floodPublish: this.#init.isFullMesh() };
    await (this.#pubsub as Publisher).publish(this.#init.topic, body, options);
  }

  async #validate(from: NodeId, body: Uint8Array): Promise<TopicValidatorResult> {
    const { guard, message_bytes_max, isFullMesh, log } = this.#init;
    if (body.byteLength > message_bytes_max) {
      guard.offence(from, 'oversize');
      return TopicValidatorResult.Reject;
    }
    let verdict: Verdict = 'ignore';
    try {
      verdict = this.#handler?.(from, body) ?? 'ignore';
    } catch (error) {
      log('warn', 'the handler of published messages threw', {
        error: String((error as Error)?.stack ?? error),
      });
    }
    if (verdict === 'accept' && isFullMesh()) await this.#pause();
    return ACCEPTANCE[verdict];
  }

  async #pause(): Promise<void> {
    if (this.#paused >= PAUSED_MESSAGES_MAX) return;
    this.#paused++;
    await sleep(RELAY_PAUSE_MS, undefined, { ref: false });
    this.#paused--;
  }

  #meter(): void {
    const inside = this.#inside;
    const decode = inside.decodeRpc.bind(inside);
    inside.decodeRpc = (bytes) => this.#decoded.get(bytes) ?? decode(bytes);
    const tellUnwanted = inside.sendIDontWants.bind(inside);
    inside.sendIDontWants = (id, topic, source) => {
      if (this.#unwanted++ < UNWANTED_MESSAGES_MAX) tellUnwanted(id, topic, source);
    };
    const read = inside.pipePeerReadStream.bind(inside);
    // Its own reader takes time with the square of the pieces in which a frame comes.
    inside.pipePeerReadStream = (peer) => {
      const id = peer.toString();
      const { rawStream } = inside.streamsInbound.get(id)!;
      return read(peer, this.#metered(id, rawStream, decode));
    };
  }

  /**
   * gossipsub opens streams one after another, once more for each that a peer opens, and a silent peer takes some
   * seconds each time: it would hold up those to everybody else.
   */
  #openTogether(): void {
    const inside = this.#inside;
    const open = inside.createOutboundStream.bind(inside);
    const openAll = async (peer: PeerId, first: Connection): Promise<void> => {
      const id = peer.toString();
      try {
        for (let next: Connection | undefined = first; next !== undefined; next = this.#opening.get(id)) {
          this.#opening.set(id, undefined);
          await open(peer, next);
        }
      } finally {
        // At once: a connection that comes from now on is opened by itself.
        this.#opening.delete(id);
      }
    };
    inside.createOutboundStream = async (peer, connection) => {
      const id = peer.toString();
      if (this.#opening.has(id)) {
        this.#opening.set(id, connection);
        return;
      }
      openAll(peer, connection).catch((error) =>
        this.#init.log('debug', 'no stream for gossip', { peer: id, error: String(error) }),
      );
    };
  }

  /** The frames of `peer` that its guard admits. */
  async *#metered(peer: NodeId, stream: Stream, decode: Inside['decodeRpc']): AsyncGenerator<Uint8ArrayList> {
    const { guard, connectionOf, onBroken } = this.#init;
    // When it has broken it is on none any more, and another connection of the peer may be there.
    const connection = connectionOf(peer, stream);
    try {
      for await (const bytes of framesOf(stream)) {
        if (!guard.admit(peer, 'message', bytes.byteLength)) continue;
        let rpc: RPC;
        try {
          rpc = decode(bytes);
        } catch {
          guard.offence(peer, 'malformed');
          continue;
        }
        const more_count = messagesIn(rpc) - 1;
        if (more_count > 0 && !guard.admit(peer, 'message', 0, more_count)) continue;
        this.#decoded.set(bytes, rpc);
        yield new Uint8ArrayList(bytes);
        this.#decoded.delete(bytes);
      }
    } catch (error) {
      if (isShoalError(error, 'E_TOO_LARGE')) guard.offence(peer, 'oversize');
      else if (isShoalError(error, 'E_MALFORMED')) guard.offence(peer, 'malformed');
      // gossipsub forgets a peer whose stream broke, and would not find it again on this connection.
      onBroken(peer, connection);
      throw error;
    }
  }

  #mend(): void {
    this.#unwanted = 0;
    const { streamsOutbound } = this.#inside;
    const missing = new Map<NodeId, number>();
    for (const peer of this.#pubsub.getPeers()) {
      const id = peer.toString();
      if (streamsOutbound.has(id)) continue;
      const beats = (this.#missing.get(id) ?? 0) + 1;
      if (beats === MISSING_BEATS_MAX || this.#streamed.has(id)) this.#init.onBroken(id);
      else missing.set(id, beats);
    }
    this.#missing = missing;
    this.#streamed = new Set(streamsOutbound.keys());
  }
}

/** @throws ShoalError E_TOO_LARGE, E_MALFORMED */
async function* framesOf(stream: Stream): AsyncGenerator<Uint8Array> {
  const reader = new FrameReader(GOSSIP_FRAME_BYTES_MAX, VARINT_HEADER);
  for await (const chunk of stream) {
    reader.push(chunk.subarray());
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) yield frame;
  }
}

/**
 * How much of one frame there is to do. Most hold one message; answers to IWANT hold many, and so may replays, which
 * nobody hears of again once gossipsub has found that it knows them.
 */
function messagesIn({ subscriptions, messages, control }: RPC): number {
  const { ihave = [], iwant = [], graft = [], prune = [], idontwant = [] } = control ?? {};
  let ids_count = 0;
  for (const { messageIDs } of [...ihave, ...iwant, ...idontwant]) ids_count += messageIDs.length;
  const entries_count = ihave.length + iwant.length + graft.length + prune.length + idontwant.length;
  return subscriptions.length + messages.length + entries_count + Math.floor(ids_count / IDS_PER_MESSAGE);
}

/** `publish` of gossipsub takes options that its interface for others does not tell of. */
interface Publisher {
  publish(topic: string, body: Uint8Array, options: { floodPublish: boolean }): Promise<unknown>;
}
