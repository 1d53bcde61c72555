/**
 * Connections between simulated hosts, with what TCP makes of a bad network: order is kept, loss is delay, everything
 * behind a lost segment waits for it, and what stays silent too long is broken. A lost segment is noticed by the timer,
 * or a round trip after something sent later has arrived. What is sent in one moment travels as one segment. A
 * connection that one side has forgotten is answered with a reset, when the next data reach that side.
 * Sources: RFC 9293, RFC 6298 (retransmission timer), RFC 8985 (RACK: loss noticed by what was sent later); Linux for
 * its least timeout and its neighbours. Not here: congestion windows, and tail probes: with one segment in flight
 * Linux's comes no sooner than the timer.
 */
import type { NodeId } from '../../protocols/base/ids.ts';
import type { Host } from './host.ts';
import type { Network } from './network.ts';
import { STEP } from './steps.ts';

/** Linux's least retransmission timeout; added to it is a round trip. */
const RETRY_MS_MIN = 200;
const RETRY_MS_MAX = 120_000;
/** Round trips until what was sent later shows a loss: RACK allows a quarter of one for reordering. */
const NOTICED_ROUND_TRIPS = 1.25;
/**
 * Unacknowledged for this long, a connection is given up: as SOCKET_SILENCE_MS of protocols/mesh/libp2p-node.ts, which
 * transport.test.ts compares. Linux alone would try for a quarter of an hour.
 */
export const BROKEN_AFTER_MS = 150_000;
/** As FRESH_MS of protocols/mesh/tcp.ts: while nothing answers, a fresh SYN is sent this often. */
const FRESH_SYN_MS = 500;
/**
 * A host whose link goes down forgets its neighbours' addresses, and asks for them this often. What it sends waits for
 * that, its answers to others too, unless these ask themselves. Linux: arp(7), retrans_time_ms.
 */
const NEIGHBOUR_MS = 1000;
/** As MESH_LIMITS.dial_timeout_ms. */
const DIAL_TIMEOUT_MS = 5000;
/** As CROSSING_MS_MAX of protocols/mesh/libp2p-mesh.ts: who dials anew has given up a connection that is older. */
const CROSSING_MS_MAX = 5000;
/** SYN, TLS 1.3 and the first stream that shows that the other side accepts us. */
const ROUND_TRIPS_THERE = 2.5;
const ROUND_TRIPS_BACK = 1.5;
const MOMENT_MS = 0.001;
const SEGMENT_BYTES = 1400;
/** TCP/IP, TLS record, yamux frame, length and channel of one small message, and its share of acknowledgements. */
const OVERHEAD_BYTES = 150;
/** As MESH_LIMITS.sendQueue_messages_max and message_bytes_max. */
export const SEND_QUEUE_MAX = 1024;
export const MESSAGE_BYTES_MAX = 1 << 20;
/** A message that was overtaken comes up to this many times later. */
const OVERTAKEN_TIMES_MAX = 3;

/** Channels of the mesh itself; a node's are 0 and above. */
export const GOSSIP = -1;
export const GRAFT = -2;
export const PRUNE = -3;
/** IDONTWANT. */
export const UNWANTED = -4;
const CHANNEL_MIN = UNWANTED;
const CHANNELS_COUNT = 256 - CHANNEL_MIN;

export interface Message {
  readonly channel: number;
  readonly body: unknown;
  readonly bytes: number;
  /** What was sent in the same moment, and comes in the same segment. */
  next: Message | null;
}

/** One host's end of a connection, and the way out of it. */
export interface End {
  readonly host: Host;
  other: End;
  readonly isOutbound: boolean;
  isOpen: boolean;
  opened_ms: number;
  /** When something arrived here last, or the connection was made. */
  heard_ms: number;
  /** When what was sent last arrives: nothing arrives before it. */
  arrival_ms: number;
  /** What waits for a lost segment, in order; null when nothing does. */
  stuck: Message[] | null;
  stuckSince_ms: number;
  retry_ms: number;
  /** Of the retry that counts: an earlier one took its place. */
  retry_number: number;
  /** Nothing sent later has shown the loss yet, and the timer has not run out. */
  mayHasten: boolean;
  hasExpired: boolean;
  /** The segment that is filled while this moment lasts: its last message, its bytes, and the moment. */
  filled: Message | null;
  filled_bytes: number;
  filled_ms: number;
  /** What others learn of a cut on the way back: nothing is acknowledged. */
  isWatched: boolean;
}

/** What the simulator does for connections. */
export interface TransportWorld {
  readonly now_ms: number;
  readonly network: Network;
  push(after_ms: number, kind: number, host: Host, a: number, b: number, ref: unknown, body: unknown): void;
  /** The rest of a segment, for when the process is free again. */
  defer(host: Host, end: End, rest: Message): void;
  hostOf(id: NodeId): Host;
  /** Between the first end to a peer and the loss of the last. */
  onConnected(host: Host, peer: NodeId): void;
  onDisconnected(host: Host, peer: NodeId): void;
  onMessage(host: Host, from: NodeId, message: Message): void;
}

export class Transport {
  /** Messages that a full queue dropped, and those that were too large to travel. */
  dropped_count = 0;
  refused_count = 0;
  /** What came in at all hosts, with what carries it, by channel. */
  readonly #received_bytes = new Float64Array(CHANNELS_COUNT);
  readonly #world: TransportWorld;
  #dials_count = 0;

  constructor(world: TransportWorld) {
    this.#world = world;
  }

  receivedOn_bytes(channel: number): number {
    return this.#received_bytes[channel - CHANNEL_MIN]!;
  }

  /** @returns false when the message was dropped. */
  send(host: Host, to: NodeId, channel: number, body: unknown, bytes: number): boolean {
    const ends = host.ends.get(to);
    if (ends === undefined) return false;
    if (bytes > MESSAGE_BYTES_MAX) {
      this.refused_count += 1;
      return false;
    }
    const end = ends[ends.length - 1]!;
    if (!end.isOpen) return false;
    if (end.stuck === null) {
      this.#carry(end, { channel, body, bytes, next: null });
      return true;
    }
    if (end.stuck.length >= SEND_QUEUE_MAX) {
      this.dropped_count += 1;
      return false;
    }
    end.stuck.push({ channel, body, bytes, next: null });
    if (end.mayHasten) this.#hasten(end);
    return true;
  }

  /** What is sent behind a lost segment shows, if it arrives and its acknowledgement too, that something is missing. */
  #hasten(end: End): void {
    const world = this.#world;
    const { network } = world;
    const { host, other } = end;
    if (!this.#passes(host, other.host) || !this.#passes(other.host, host)) return;
    end.mayHasten = false;
    if (network.isLost() || network.isLost()) return;
    this.#retryIn(end, 2 * network.base_ms(host.at, other.host.at) * NOTICED_ROUND_TRIPS);
  }

  #retryIn(end: End, after_ms: number): void {
    end.retry_number += 1;
    this.#world.push(after_ms, STEP.retry, end.host, end.retry_number, 0, end, null);
  }

  /** @returns when something of `peer` arrived at `host` last, on the connections that they have now; null without one. */
  heardFrom_ms(host: Host, peer: NodeId): number | null {
    const ends = host.ends.get(peer) ?? [];
    return ends.length === 0 ? null : Math.max(...ends.map(({ heard_ms }) => heard_ms));
  }

  /** As daemon/drivers/membership-driver.ts: what is asked for during a dial is dialled after it. */
  dial(host: Host, peer: NodeId): void {
    if (host.ends.has(peer)) return;
    if (host.dialling.has(peer)) {
      host.askedAgain.add(peer);
      return;
    }
    this.#dials_count += 1;
    host.dialling.set(peer, this.#dials_count);
    this.#world.push(DIAL_TIMEOUT_MS, STEP.dialTimeout, host, this.#dials_count, 0, peer, null);
    this.trySyn(host, peer, this.#dials_count);
  }

  trySyn(host: Host, peer: NodeId, dial: number): void {
    if (host.dialling.get(peer) !== dial) return;
    const { network } = this.#world;
    const to = this.#world.hostOf(peer);
    const isCut = !this.#passes(host, to) || !this.#passes(to, host);
    if (isCut && network.isLinkDown(host.at)) host.asking.add(peer);
    const isAsking = host.asking.has(peer);
    const isUnanswered = !isAsking && to.asking.has(host.id);
    if (isCut || isUnanswered || network.isLost() || network.isLost()) {
      this.#world.push(isAsking ? NEIGHBOUR_MS : FRESH_SYN_MS, STEP.syn, host, dial, 0, peer, null);
      return;
    }
    host.asking.delete(peer);
    to.asking.delete(host.id);
    const there_ms = 2 * network.base_ms(host.at, to.at) * ROUND_TRIPS_THERE + this.#lossDelay_ms(host, to);
    this.#world.push(there_ms, STEP.dialled, to, dial, 0, host, null);
  }

  endDial(host: Host, peer: NodeId, dial: number): void {
    if (host.dialling.get(peer) !== dial) return;
    host.dialling.delete(peer);
    host.asking.delete(peer);
    if (host.askedAgain.delete(peer)) this.dial(host, peer);
  }

  /** The dial has reached the other side. A process that does not run, or does not want it, refuses. */
  onDialled(host: Host, from: Host, dial: number): void {
    const world = this.#world;
    if (!this.#passes(from, host)) return;
    if (host.node === null || !host.node.admits(from.id)) {
      world.push(world.network.base_ms(host.at, from.at), STEP.dialTimeout, from, dial, 0, host.id, null);
      return;
    }
    this.#endOld(host, from.id);
    const [near, far] = createEnds(host, from);
    const back_ms =
      2 * world.network.base_ms(host.at, from.at) * ROUND_TRIPS_BACK + this.#lossDelay_ms(from, host);
    world.push(back_ms, STEP.accepted, from, dial, 0, far, null);
    // Nothing overtakes the handshake.
    near.arrival_ms = world.now_ms + back_ms + MOMENT_MS;
    this.#open(near);
  }

  onAccepted(host: Host, end: End, dial: number): void {
    const peer = end.other.host.id;
    const isAwaited = host.node !== null && host.dialling.get(peer) === dial && host.node.admits(peer);
    if (isAwaited) host.askedAgain.delete(peer);
    this.endDial(host, peer, dial);
    if (isAwaited && end.other.isOpen) this.#open(end);
    else this.#tellReset(end);
  }

  /** Who dials anew has given up what it had, whether or not it could say so. */
  #endOld(host: Host, peer: NodeId): void {
    for (const end of [...(host.ends.get(peer) ?? [])]) {
      if (this.#world.now_ms - end.opened_ms <= CROSSING_MS_MAX) continue;
      this.#tellReset(end);
      this.#shut(end);
    }
  }

  onArrival(end: End, message: Message): void {
    const { host } = end;
    if (!host.isPowered) {
      // Sent into the dark: the sender tries again.
      if (end.other.isOpen) this.#strandSegment(end.other, message);
      return;
    }
    end.heard_ms = this.#world.now_ms;
    const peer = end.other.host.id;
    for (let part: Message | null = message; part !== null; part = part.next) {
      if (!end.isOpen) {
        this.#tellReset(end);
        return;
      }
      if (part !== message && host.busyUntil_ms > this.#world.now_ms) {
        this.#world.defer(host, end, part);
        return;
      }
      host.received_bytes += part.bytes + OVERHEAD_BYTES;
      this.#received_bytes[part.channel - CHANNEL_MIN]! += part.bytes + OVERHEAD_BYTES;
      host.received_count += 1;
      this.#world.onMessage(host, peer, part);
    }
  }

  onRetry(end: End, number: number): void {
    const { stuck } = end;
    if (!end.isOpen || stuck === null || number !== end.retry_number) return;
    const world = this.#world;
    if (this.#passes(end.host, end.other.host) && !world.network.isLost()) {
      this.#unstick(end, stuck);
      return;
    }
    if (world.now_ms - end.stuckSince_ms >= BROKEN_AFTER_MS) {
      this.#shut(end);
      return;
    }
    // Lost again after a loss that was noticed early: the timer begins anew. After that it doubles.
    if (end.mayHasten || end.hasExpired) end.retry_ms = Math.min(RETRY_MS_MAX, end.retry_ms * 2);
    end.hasExpired = true;
    end.mayHasten = false;
    this.#retryIn(end, end.retry_ms);
  }

  /**
   * The lost segment has arrived. What was sent behind it has arrived already, or was lost by its own lot: that is
   * noticed within round trips, as in one long message, but for the last, behind which nothing was sent. After the
   * timer the window is one segment, and what comes next may wait for the timer again.
   */
  #unstick(end: End, stuck: Message[]): void {
    const { network } = this.#world;
    let first_count = stuck.length - 1;
    if (end.hasExpired) first_count = segmentLength(stuck);
    const isLost = first_count > 0 && first_count < stuck.length && network.isLost();
    const rest = isLost ? stuck.splice(first_count) : [];
    let bytes = 0;
    for (const message of stuck) bytes += message.bytes;
    const late_ms = this.#recovery_ms(end, bytes);
    end.stuck = null;
    for (const message of stuck) this.#carry(end, message, late_ms);
    for (const message of rest) this.#strand(end, message);
  }

  /** Nothing came back since: the way back is cut still. */
  onUnacknowledged(end: End): void {
    end.isWatched = false;
    if (end.isOpen && !this.#passes(end.other.host, end.host)) this.#shut(end);
  }

  onReset(end: End): void {
    if (end.isOpen) this.#shut(end);
  }

  disconnect(host: Host, peer: NodeId): void {
    for (const end of [...(host.ends.get(peer) ?? [])]) {
      this.#tellReset(end);
      // The node hears of it when this turn is over.
      end.isOpen = false;
      this.#world.push(0, STEP.shut, host, host.life, 0, end, null);
    }
  }

  onShut(end: End): void {
    this.#forget(end);
  }

  /** @param isSilent the whole host goes, so nobody tells its peers; else only the process, and the kernel tells them. */
  crash(host: Host, isSilent: boolean): void {
    for (const ends of host.ends.values()) {
      for (const end of ends) {
        end.isOpen = false;
        end.stuck = null;
        if (!isSilent) this.#tellReset(end);
      }
    }
    host.ends.clear();
    host.dialling.clear();
    host.askedAgain.clear();
    host.asking.clear();
  }

  #passes(from: Host, to: Host): boolean {
    return from.isPowered && to.isPowered && this.#world.network.isOpen(from.at, to.at);
  }

  /** @param recovered_ms it has been sent before, was lost, and comes so much later. */
  #carry(end: End, message: Message, recovered_ms = -1): void {
    const world = this.#world;
    const { network, now_ms } = world;
    const from = end.host;
    const to = end.other.host;
    from.sent_bytes += message.bytes + OVERHEAD_BYTES;
    if (
      end.filled_ms === now_ms &&
      end.filled !== null &&
      end.filled_bytes + message.bytes <= SEGMENT_BYTES
    ) {
      end.filled.next = message;
      end.filled = message;
      end.filled_bytes += message.bytes;
      return;
    }
    const isNew = recovered_ms < 0;
    if (!this.#passes(from, to) || (isNew && message.bytes <= SEGMENT_BYTES && network.isLost())) {
      this.#strand(end, message);
      return;
    }
    if (!end.isWatched && !this.#passes(to, from)) {
      end.isWatched = true;
      world.push(BROKEN_AFTER_MS, STEP.unacknowledged, from, 0, 0, end, null);
    }
    end.filled = message;
    end.filled_bytes = message.bytes;
    end.filled_ms = now_ms;
    const late_ms = isNew ? this.#recovery_ms(end, message.bytes) : recovered_ms;
    const delay_ms = network.delay_ms(from.at, to.at, message.bytes) + late_ms;
    const { quality } = network;
    if (network.chance(quality.reordering)) {
      const after_ms = delay_ms * (1 + OVERTAKEN_TIMES_MAX * (network.chance(0.5) ? 1 : 0.5));
      world.push(after_ms, STEP.arrival, to, 0, 0, end.other, message);
      return;
    }
    end.arrival_ms = Math.max(now_ms + delay_ms, end.arrival_ms);
    world.push(end.arrival_ms - now_ms, STEP.arrival, to, 0, 0, end.other, message);
    if (network.chance(quality.duplication)) {
      world.push(end.arrival_ms - now_ms + delay_ms, STEP.arrival, to, 0, 0, end.other, message);
    }
  }

  /** Long messages: lost segments in the middle are noticed and sent again within a round trip. */
  #recovery_ms(end: End, bytes: number): number {
    const { network } = this.#world;
    if (bytes <= SEGMENT_BYTES || network.quality.loss === 0) return 0;
    let missing_count = Math.ceil(bytes / SEGMENT_BYTES);
    let delay_ms = 0;
    while (missing_count > 0) {
      let lost_count = 0;
      for (let at = 0; at < missing_count; at += 1) if (network.isLost()) lost_count += 1;
      if (lost_count > 0) delay_ms += 2 * network.base_ms(end.host.at, end.other.host.at);
      missing_count = lost_count;
    }
    return delay_ms;
  }

  #strand(end: End, message: Message): void {
    const world = this.#world;
    end.filled = null;
    if (end.stuck !== null) {
      end.stuck.push(message);
      return;
    }
    end.stuck = [message];
    end.stuckSince_ms = world.now_ms;
    end.retry_ms = RETRY_MS_MIN + 2 * world.network.base_ms(end.host.at, end.other.host.at);
    end.mayHasten = true;
    end.hasExpired = false;
    this.#retryIn(end, end.retry_ms);
  }

  #strandSegment(end: End, segment: Message): void {
    for (let part: Message | null = segment; part !== null; part = part.next)
      this.#strand(end, { channel: part.channel, body: part.body, bytes: part.bytes, next: null });
  }

  /** What losses cost a handshake after its first segment. */
  #lossDelay_ms(from: Host, to: Host): number {
    const { network } = this.#world;
    let delay_ms = 0;
    let retry_ms = RETRY_MS_MIN + 2 * network.base_ms(from.at, to.at);
    while (network.isLost()) {
      delay_ms += retry_ms;
      retry_ms *= 2;
    }
    return delay_ms;
  }

  /** To the other end, unless the way there is cut: then it learns of it when it sends. */
  #tellReset(end: End): void {
    const world = this.#world;
    const to = end.other.host;
    if (!end.host.isPowered || !world.network.isOpen(end.host.at, to.at) || world.network.isLost()) return;
    const after_ms = Math.max(world.network.delay_ms(end.host.at, to.at, 0), end.arrival_ms - world.now_ms);
    world.push(after_ms, STEP.reset, to, 0, 0, end.other, null);
  }

  #open(end: End): void {
    const { host } = end;
    const peer = end.other.host.id;
    end.isOpen = true;
    end.opened_ms = this.#world.now_ms;
    end.heard_ms = end.opened_ms;
    const ends = host.ends.get(peer);
    if (ends !== undefined) {
      ends.push(end);
      return;
    }
    host.ends.set(peer, [end]);
    this.#world.onConnected(host, peer);
  }

  #shut(end: End): void {
    end.isOpen = false;
    this.#forget(end);
  }

  #forget(end: End): void {
    const { host } = end;
    end.stuck = null;
    const peer = end.other.host.id;
    const ends = host.ends.get(peer);
    const at = ends?.indexOf(end) ?? -1;
    if (ends === undefined || at < 0) return;
    ends.splice(at, 1);
    if (ends.length > 0) return;
    host.ends.delete(peer);
    this.#world.onDisconnected(host, peer);
  }
}

/** How many of the messages fit into a first segment; 1 at least. */
function segmentLength(messages: readonly Message[]): number {
  let bytes = 0;
  for (const [at, message] of messages.entries()) {
    bytes += message.bytes;
    if (at > 0 && bytes > SEGMENT_BYTES) return at;
  }
  return messages.length;
}

/** Both ends of a new connection that `far` dialled, neither open yet. */
function createEnds(near: Host, far: Host): [End, End] {
  const end = (host: Host): End => ({
    host,
    isOutbound: host === far,
    other: undefined as unknown as End,
    isOpen: false,
    opened_ms: 0,
    heard_ms: 0,
    arrival_ms: 0,
    stuck: null,
    stuckSince_ms: 0,
    retry_ms: 0,
    retry_number: 0,
    mayHasten: false,
    hasExpired: false,
    filled: null,
    filled_bytes: 0,
    filled_ms: 0,
    isWatched: false,
  });
  const a = end(near);
  const b = end(far);
  a.other = b;
  b.other = a;
  return [a, b];
}
