/**
 * Gossip among simulated hosts as gossipsub does it: each keeps a mesh of some peers, grafted by heartbeats,
 * and what is published travels along it once each hop has accepted it. Not here: IHAVE and IWANT, since anti-entropy
 * repairs what is missed, and scores. Source: libp2p specification, gossipsub v1.1.
 */
import type { NodeId } from '../../protocols/base/ids.ts';
import type { Host } from './host.ts';
import type { Prng } from './prng.ts';
import { STEP } from './steps.ts';
import { GOSSIP, GRAFT, PRUNE, type Transport } from './transport.ts';

const DEGREE = 4;
const DEGREE_LOW = 3;
const DEGREE_HIGH = 6;
const HEARTBEAT_MS = 1000;
/** After a peer has pruned us, or nobody was left to graft. */
const BACKOFF_MS = 10_000;
/** Equal bytes are one message for this long. */
const SEEN_MS = 120_000;
const CONTROL_BYTES = 20;

/** A message under way, shared by all its copies. */
export interface Publication {
  readonly body: Uint8Array;
  readonly at_ms: number;
  /** A bit for each host that has seen it. */
  readonly seen: Uint8Array;
}

export interface GossipWorld {
  readonly now_ms: number;
  readonly prng: Prng;
  readonly hosts: readonly Host[];
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

  onConnected(host: Host): void {
    this.#expectHeartbeat(host, HEARTBEAT_MS);
  }

  onDisconnected(host: Host, peer: NodeId): void {
    if (host.mesh.delete(peer)) this.#expectHeartbeat(host, HEARTBEAT_MS);
  }

  onHeartbeat(host: Host): void {
    host.isHeartbeatDue = false;
    if (host.mesh.size >= DEGREE_LOW) return;
    const candidates: NodeId[] = [];
    for (const peer of host.ends.keys()) if (!host.mesh.has(peer)) candidates.push(peer);
    for (const peer of this.#world.prng.sample(candidates, DEGREE - host.mesh.size)) {
      host.mesh.add(peer);
      this.#transport.send(host, peer, GRAFT, null, CONTROL_BYTES);
    }
  }

  onControl(host: Host, from: NodeId, channel: number): void {
    if (channel === PRUNE) {
      if (host.mesh.delete(from)) this.#expectHeartbeat(host, BACKOFF_MS);
    } else if (host.mesh.size >= DEGREE_HIGH && !host.mesh.has(from)) {
      this.#transport.send(host, from, PRUNE, null, CONTROL_BYTES);
    } else {
      host.mesh.add(from);
    }
  }

  publish(host: Host, body: Uint8Array): void {
    const publication = this.#publicationOf(body);
    if (!this.#see(host, publication)) return;
    const peers = host.mesh.size > 0 ? host.mesh : this.#world.prng.sample([...host.ends.keys()], DEGREE);
    for (const peer of peers) this.#transport.send(host, peer, GOSSIP, publication, body.byteLength);
  }

  /** A copy has come. @returns whether it is the first. */
  onCopy(host: Host, publication: Publication): boolean {
    host.gossipCopies_count += 1;
    if (!this.#see(host, publication)) return false;
    host.gossipFirst_count += 1;
    return true;
  }

  relay(host: Host, publication: Publication, from: NodeId): void {
    for (const peer of host.mesh) {
      if (peer !== from) this.#transport.send(host, peer, GOSSIP, publication, publication.body.byteLength);
    }
  }

  /** A new process has seen nothing. */
  onCrash(host: Host): void {
    host.mesh.clear();
    for (const { seen } of this.#recent.values()) seen[host.at >> 3]! &= ~(1 << (host.at & 7));
  }

  #expectHeartbeat(host: Host, within_ms: number): void {
    if (host.isHeartbeatDue || host.mesh.size >= DEGREE_LOW) return;
    host.isHeartbeatDue = true;
    this.#world.push(this.#world.prng.between(0, within_ms), STEP.heartbeat, host, host.life, 0, null, null);
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
    const publication: Publication = { body, at_ms: now_ms, seen };
    this.#recent.delete(text);
    this.#recent.set(text, publication);
    return publication;
  }

  #see(host: Host, { seen }: Publication): boolean {
    const byte = host.at >> 3;
    const bit = 1 << (host.at & 7);
    if ((seen[byte]! & bit) !== 0) return false;
    seen[byte]! |= bit;
    return true;
  }
}
