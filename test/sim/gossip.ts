/**
 * Gossip among simulated hosts as gossipsub does it: each keeps a mesh of some peers, grafted by heartbeats,
 * and what is published travels along it once each hop has accepted it. Not here: IHAVE and IWANT, since anti-entropy
 * repairs what is missed, and scores. Source: libp2p specification, gossipsub v1.1.
 */
import type { NodeId } from '../../protocols/base/ids.ts';
import { MEMBERSHIP_DEFAULTS } from '../../protocols/membership/config.ts';
import type { Host } from './host.ts';
import { HOSTS_MAX, type Network } from './network.ts';
import type { Prng } from './prng.ts';
import { STEP } from './steps.ts';
import { GOSSIP, GRAFT, PRUNE, type Transport, UNWANTED } from './transport.ts';

/** As protocols/mesh/gossip-options.ts. */
const DEGREE = 4;
const DEGREE_LOW = 3;
const DEGREE_HIGH = 5;
const HEARTBEAT_MS = 1000;
/** As Dout: so many of the mesh's links were dialled by the node itself. */
const DEGREE_OUTBOUND = 1;
/** Neither side of a PRUNE grafts the other again before this. */
const BACKOFF_MS = 60_000;
/** Equal bytes are one message for this long. */
const SEEN_MS = 120_000;
const CONTROL_BYTES = 20;
/**
 * What is published reaches no peer before both have told one another what they listen to: two round trips for identify
 * and for a stream, half of one for the subscription in it, and the turns that a process needs for them.
 */
const OPENING_ROUND_TRIPS = 2.5;
const OPENING_MS = 20;
/** A message's id, and what is around it. */
const UNWANTED_BYTES = 40;
/** As protocols/mesh/gossip.ts: no smaller message is worth it where not all are connected to all. */
const UNWANTED_MESSAGE_BYTES_MIN = 2048;
/**
 * As protocols/mesh/gossip.ts: where all are connected to all the author tells everybody, and who hears it waits so
 * long before relaying it to those that have not said by then that they have it.
 */
const RELAY_PAUSE_MS = 40;

/** A message under way, shared by all its copies. */
export interface Publication {
  readonly body: Uint8Array;
  readonly at_ms: number;
  /** A bit for each host that has seen it. */
  readonly seen: Uint8Array;
  /** Hosts that wait to relay it or have not got it yet, and who told them not to send it: `host * HOSTS_MAX + peer`. */
  readonly unwanted: Set<number>;
}

export interface GossipWorld {
  readonly now_ms: number;
  readonly network: Network;
  readonly prng: Prng;
  readonly hosts: readonly Host[];
  hostOf(id: NodeId): Host;
  push(after_ms: number, kind: number, host: Host, a: number, b: number, ref: unknown, body: unknown): void;
}

export class Gossip {
  readonly #world: GossipWorld;
  readonly #transport: Transport;
  /** Of the last two minutes, the oldest first. */
  readonly #recent = new Map<string, Publication>();

  constructor(world: GossipWorld, transport: Transport) {
    this.#world = world;
    this.#transport = transport;
  }

  onConnected(host: Host, peer: NodeId): void {
    const roundTrip_ms = 2 * this.#world.network.base_ms(host.at, this.#world.hostOf(peer).at);
    const after_ms = OPENING_ROUND_TRIPS * roundTrip_ms + OPENING_MS;
    this.#world.push(after_ms, STEP.subscribed, host, 0, 0, peer, null);
  }

  /** The peer's subscription has come: it is grafted at once while there is room. */
  onSubscribed(host: Host, peer: NodeId): void {
    if (!host.ends.has(peer)) return;
    host.subscribed.add(peer);
    if (host.mesh.has(peer)) return;
    if (host.mesh.size < DEGREE_LOW && !this.#isBackedOff(host, peer)) this.#graft(host, peer);
    else this.#expectHeartbeat(host);
  }

  onDisconnected(host: Host, peer: NodeId): void {
    host.subscribed.delete(peer);
    if (host.mesh.delete(peer)) this.#expectHeartbeat(host);
  }

  /** Nothing is to be done at most heartbeats: only those that matter take place. */
  onHeartbeat(host: Host): void {
    if (this.#world.now_ms < host.heartbeat_ms) return;
    host.heartbeat_ms = Number.POSITIVE_INFINITY;
    if (host.mesh.size < DEGREE_LOW) this.#fill(host, DEGREE - host.mesh.size, this.#candidates(host));
    if (host.mesh.size > DEGREE_HIGH) this.#thin(host);
    if (host.mesh.size >= DEGREE_LOW && !hasOutbound(host)) {
      const dialled = this.#candidates(host).filter((peer) => isOutbound(host, peer));
      this.#fill(host, DEGREE_OUTBOUND, dialled);
    }
    if (host.mesh.size < DEGREE_LOW) this.#waitForBackoff(host);
  }

  onControl(host: Host, from: NodeId, channel: number, body: unknown): void {
    if (channel === UNWANTED) {
      const publication = body as Publication;
      // Who does not wait has relayed it already, and it would be kept for nothing.
      if (this.#isFull || !isSeen(host, publication)) publication.unwanted.add(this.#pair(host, from));
    } else if (channel === PRUNE) {
      this.#backOff(host, from);
      if (host.mesh.delete(from)) this.#expectHeartbeat(host);
    } else if (!host.mesh.has(from)) {
      const isFull = host.mesh.size >= DEGREE_HIGH && !isOutbound(host, from);
      if (isFull || this.#isBackedOff(host, from)) this.#prune(host, from);
      else if (host.ends.has(from)) {
        host.mesh.add(from);
        this.#expectHeartbeat(host);
      }
    }
  }

  #candidates(host: Host): NodeId[] {
    const candidates: NodeId[] = [];
    for (const peer of host.subscribed)
      if (!host.mesh.has(peer) && !this.#isBackedOff(host, peer)) candidates.push(peer);
    return candidates;
  }

  #fill(host: Host, count: number, candidates: NodeId[]): void {
    for (const peer of this.#world.prng.sample(candidates, count)) this.#graft(host, peer);
  }

  /** Too many: some by lot, and one that was dialled, stay. */
  #thin(host: Host): void {
    const kept = this.#world.prng.sample([...host.mesh], DEGREE);
    if (!kept.some((peer) => isOutbound(host, peer))) {
      const dialled = [...host.mesh].find((peer) => isOutbound(host, peer));
      if (dialled !== undefined) kept[0] = dialled;
    }
    for (const peer of [...host.mesh]) {
      if (kept.includes(peer)) continue;
      host.mesh.delete(peer);
      this.#prune(host, peer);
    }
  }

  #graft(host: Host, peer: NodeId): void {
    host.mesh.add(peer);
    this.#transport.send(host, peer, GRAFT, null, CONTROL_BYTES);
  }

  #prune(host: Host, peer: NodeId): void {
    this.#backOff(host, peer);
    this.#transport.send(host, peer, PRUNE, null, CONTROL_BYTES);
  }

  #backOff(host: Host, peer: NodeId): void {
    host.backoffs.set(peer, this.#world.now_ms + BACKOFF_MS);
  }

  #isBackedOff(host: Host, peer: NodeId): boolean {
    const until_ms = host.backoffs.get(peer);
    if (until_ms === undefined) return false;
    if (until_ms > this.#world.now_ms) return true;
    host.backoffs.delete(peer);
    return false;
  }

  /** All who are left have pruned this host: it is the end of a backoff that changes that. */
  #waitForBackoff(host: Host): void {
    let until_ms = Number.POSITIVE_INFINITY;
    for (const [peer, ends_ms] of host.backoffs)
      if (host.subscribed.has(peer) && !host.mesh.has(peer)) until_ms = Math.min(until_ms, ends_ms);
    if (until_ms < Number.POSITIVE_INFINITY) this.#beatIn(host, until_ms - this.#world.now_ms + HEARTBEAT_MS);
  }

  publish(host: Host, body: Uint8Array): void {
    const publication = this.#publicationOf(body);
    if (!this.#see(host, publication)) return;
    let peers: Iterable<NodeId> = host.mesh;
    if (this.#isFull) peers = [...host.subscribed];
    else if (host.mesh.size === 0) peers = this.#world.prng.sample([...host.subscribed], DEGREE);
    for (const peer of peers) this.#transport.send(host, peer, GOSSIP, publication, body.byteLength);
  }

  /** A copy has come. @returns whether it is the first; then the neighbours may be told that no other is needed. */
  onCopy(host: Host, publication: Publication, from: NodeId): boolean {
    host.gossipCopies_count += 1;
    if (!this.#see(host, publication)) return false;
    host.gossipFirst_count += 1;
    if (publication.body.byteLength < UNWANTED_MESSAGE_BYTES_MIN && !this.#isFull) return true;
    for (const peer of host.mesh) {
      if (peer !== from) this.#transport.send(host, peer, UNWANTED, publication, UNWANTED_BYTES);
    }
    return true;
  }

  /** The node has accepted it. */
  onAccepted(host: Host, publication: Publication, from: NodeId): void {
    if (this.#isFull) this.#world.push(RELAY_PAUSE_MS, STEP.relay, host, 0, 0, from, publication);
    else this.relay(host, publication, from);
  }

  relay(host: Host, publication: Publication, from: NodeId): void {
    const { body, unwanted } = publication;
    for (const peer of host.mesh) {
      if (peer === from || (unwanted.size > 0 && unwanted.has(this.#pair(host, peer)))) continue;
      this.#transport.send(host, peer, GOSSIP, publication, body.byteLength);
    }
  }

  /** A new process has seen nothing. */
  onCrash(host: Host): void {
    host.mesh.clear();
    host.subscribed.clear();
    host.backoffs.clear();
    for (const { seen } of this.#recent.values()) seen[host.at >> 3]! &= ~(1 << (host.at & 7));
  }

  /** As daemon/cluster.ts: by how many there are, and not by how many of them can be reached. */
  get #isFull(): boolean {
    return this.#world.hosts.length <= MEMBERSHIP_DEFAULTS.meshMembers_max;
  }

  #pair(host: Host, peer: NodeId): number {
    return host.at * HOSTS_MAX + this.#world.hostOf(peer).at;
  }

  #expectHeartbeat(host: Host): void {
    const { size } = host.mesh;
    if (size >= DEGREE_LOW && size <= DEGREE_HIGH && hasOutbound(host)) return;
    // One that is near comes soon enough.
    if (host.heartbeat_ms <= this.#world.now_ms + HEARTBEAT_MS) return;
    this.#beatIn(host, this.#world.prng.between(0, HEARTBEAT_MS));
  }

  /** One that was to come later is void. */
  #beatIn(host: Host, after_ms: number): void {
    host.heartbeat_ms = this.#world.now_ms + after_ms;
    this.#world.push(after_ms, STEP.heartbeat, host, host.life, 0, null, null);
  }

  #publicationOf(body: Uint8Array): Publication {
    const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1');
    const known = this.#recent.get(text);
    const { now_ms } = this.#world;
    if (known !== undefined && now_ms - known.at_ms < SEEN_MS) return known;
    for (const [oldest, { at_ms }] of this.#recent) {
      if (now_ms - at_ms < SEEN_MS) break;
      this.#recent.delete(oldest);
    }
    const seen = new Uint8Array((this.#world.hosts.length >> 3) + 1);
    const publication: Publication = { body, at_ms: now_ms, seen, unwanted: new Set() };
    this.#recent.delete(text);
    this.#recent.set(text, publication);
    return publication;
  }

  #see(host: Host, publication: Publication): boolean {
    if (isSeen(host, publication)) return false;
    publication.seen[host.at >> 3]! |= 1 << (host.at & 7);
    return true;
  }
}

function isSeen(host: Host, { seen }: Publication): boolean {
  return (seen[host.at >> 3]! & (1 << (host.at & 7))) !== 0;
}

/** Whether `host` dialled this connection. */
function isOutbound(host: Host, peer: NodeId): boolean {
  return host.ends.get(peer)?.some((end) => end.isOutbound) ?? false;
}

function hasOutbound(host: Host): boolean {
  for (const peer of host.mesh) if (isOutbound(host, peer)) return true;
  return false;
}
