/**
 * How each peer stands with this node: what it uses, what it did wrong, and what follows: good, limited, banned.
 *
 * Standing is this node's own opinion: it is never told to others, it decays, and no ban is for ever. Who must be
 * kept out for good is revoked, by a record. A pure core: events in, effects out; what time has mended is worked out
 * when it is asked for, so there are no timers. Not here: what counts as an offence (the drivers report it).
 */
import type { NodeId } from '../base/ids.ts';
import { type Buckets, fullBuckets, owe, refill, take, tokensOf } from './bucket.ts';
import {
  assertStanding,
  OFFENCES,
  type Offence,
  RESOURCES,
  type Resource,
  type StandingConfig,
} from './config.ts';

export const STANDINGS = ['good', 'limited', 'banned'] as const;
export type PeerStanding = (typeof STANDINGS)[number];

export type StandingEvent =
  /** May this be handled? Answered by `refused` when not. */
  | {
      readonly kind: 'spend';
      readonly peer: NodeId;
      readonly resource: Resource;
      readonly amount: number;
      /** Spent besides, once the rest was there; none when nothing is said. */
      readonly bytes?: number;
    }
  /** It has been handled, and turned out to have cost this. */
  | { readonly kind: 'charge'; readonly peer: NodeId; readonly resource: Resource; readonly amount: number }
  | {
      readonly kind: 'offence';
      readonly peer: NodeId;
      readonly offence: Offence;
      /** How often within one message. */
      readonly count: number;
    };

export type StandingEffect =
  | { readonly kind: 'refused'; readonly peer: NodeId; readonly resource: Resource }
  | {
      readonly kind: 'changed';
      readonly peer: NodeId;
      readonly from: PeerStanding;
      readonly to: PeerStanding;
      /** What tipped the scale. */
      readonly offence: Offence;
      /** Of a ban; else null. */
      readonly until_ms: number | null;
    };

/** What one peer has to its name, for people to look at. */
export interface PeerReport {
  readonly peer: NodeId;
  readonly standing: PeerStanding;
  readonly points: number;
  readonly until_ms: number | null;
  /** How often it was banned, as far as that is not forgotten. */
  readonly bans: number;
}

/** Totals since the start; each only grows. */
export interface StandingCounters {
  readonly offences: Readonly<Record<Offence, number>>;
  readonly refused: Readonly<Record<Resource, number>>;
  readonly bans: number;
}

interface Peer {
  points: number;
  scored_ms: number;
  heard_ms: number;
  /** Each as it was when it was last used, or the rate of its refill changed. */
  readonly buckets: Buckets;
  /** A bucket may be below zero. */
  inDebt: boolean;
  /** Bans that are not forgotten, and when the last one ended or one was last forgotten. */
  bans: number;
  forgot_ms: number;
  /** End of the ban that is in force. */
  until_ms: number | null;
  /** As last told by an effect. */
  told: PeerStanding;
}

/** Beyond this the doubling has long met its cap. */
const BANS_MAX = 32;

export class Standing {
  readonly #config: StandingConfig;
  readonly #peers = new Map<NodeId, Peer>();
  readonly #offences = zeros(OFFENCES);
  readonly #refused = zeros(RESOURCES);
  #bans = 0;

  constructor(config: StandingConfig) {
    this.#config = assertStanding(config);
  }

  handle(event: StandingEvent, env: { readonly now: number }): StandingEffect[] {
    const peer = this.#peer(event.peer, env.now);
    switch (event.kind) {
      case 'spend':
        return this.#spend(peer, event, env.now);
      case 'charge':
        this.#charge(peer, event.resource, event.amount, env.now);
        return [];
      case 'offence':
        return this.#offence(event.peer, peer, event.offence, event.count, env.now);
    }
  }

  standing(id: NodeId, now: number): PeerStanding {
    const peer = this.#peers.get(id);
    if (peer === undefined) return 'good';
    this.#mend(peer, now);
    return this.#standingOf(peer);
  }

  get counters(): StandingCounters {
    return { offences: { ...this.#offences }, refused: { ...this.#refused }, bans: this.#bans };
  }

  /** How many peers are remembered. */
  get size(): number {
    return this.#peers.size;
  }

  /** Everybody who is limited, banned, or was banned not long ago. */
  reports(now: number): PeerReport[] {
    const reports: PeerReport[] = [];
    for (const [id, peer] of this.#peers) {
      this.#mend(peer, now);
      const standing = this.#standingOf(peer);
      if (standing === 'good' && peer.bans === 0) continue;
      reports.push({ peer: id, standing, points: peer.points, until_ms: peer.until_ms, bans: peer.bans });
    }
    return reports;
  }

  #spend(peer: Peer, event: StandingEvent & { kind: 'spend' }, now: number): StandingEffect[] {
    const { peer: id, resource, amount, bytes = 0 } = event;
    if (peer.until_ms !== null) return [this.#refuse(id, resource)];
    if (peer.inDebt) this.#payOff(peer, now);
    if (peer.inDebt || !this.#take(peer, resource, amount, now))
      return this.#flood(id, peer, resource, amount, now);
    if (bytes > 0 && !this.#take(peer, 'bytes', bytes, now))
      return this.#flood(id, peer, 'bytes', bytes, now);
    return [];
  }

  #take(peer: Peer, resource: Resource, amount: number, now: number): boolean {
    this.#refill(peer, resource, now);
    return take(peer.buckets, resource, amount);
  }

  #charge(peer: Peer, resource: Resource, amount: number, now: number): void {
    this.#refill(peer, resource, now);
    owe(peer.buckets, resource, this.#config.allowances[resource], amount);
    peer.inDebt ||= tokensOf(peer.buckets, resource) < 0;
  }

  #payOff(peer: Peer, now: number): void {
    this.#refillAll(peer, now);
    peer.inDebt = RESOURCES.some((name) => tokensOf(peer.buckets, name) < 0);
  }

  #flood(id: NodeId, peer: Peer, resource: Resource, amount: number, now: number): StandingEffect[] {
    const { allowances, floodsPerSecond } = this.#config;
    const floods = Math.max(1, Math.round((amount / allowances[resource].perSecond) * floodsPerSecond));
    return [this.#refuse(id, resource), ...this.#offence(id, peer, 'flood', floods, now)];
  }

  #refuse(peer: NodeId, resource: Resource): StandingEffect {
    this.#refused[resource] += 1;
    return { kind: 'refused', peer, resource };
  }

  #offence(id: NodeId, peer: Peer, offence: Offence, count: number, now: number): StandingEffect[] {
    this.#offences[offence] += count;
    if (peer.until_ms !== null) return [];
    const { points, each } = this.#config.penalties[offence];
    this.#refillAll(peer, now);
    peer.scored_ms = now;
    peer.points += points * (each ? count : 1);
    const from = peer.told;
    if (peer.points >= this.#config.banned_points) this.#ban(peer, now);
    const to = this.#standingOf(peer);
    peer.told = to;
    return to === from ? [] : [{ kind: 'changed', peer: id, from, to, offence, until_ms: peer.until_ms }];
  }

  #ban(peer: Peer, now: number): void {
    const { banFirst_ms, banCap_ms } = this.#config;
    peer.until_ms = now + Math.min(banCap_ms, banFirst_ms * 2 ** peer.bans);
    peer.bans = Math.min(BANS_MAX, peer.bans + 1);
    this.#bans += 1;
  }

  #standingOf(peer: Peer): PeerStanding {
    if (peer.until_ms !== null) return 'banned';
    return peer.points >= this.#config.limited_points ? 'limited' : 'good';
  }

  /** What time has mended since this peer was last looked at. */
  #mend(peer: Peer, now: number): void {
    if (peer.points === 0 && peer.until_ms === null && peer.bans === 0) return;
    // What it gains by then is by the rate that held.
    if (peer.told !== 'good') this.#refillAll(peer, now);
    const { halfLife_ms, banCap_ms, banForgotten_ms, limited_points } = this.#config;
    const elapsed_ms = Math.max(0, now - peer.scored_ms);
    peer.points *= 0.5 ** (elapsed_ms / halfLife_ms);
    peer.scored_ms = now;
    if (peer.until_ms !== null) {
      // A clock that was set back must not make a ban longer than any ban can be.
      peer.until_ms = Math.min(peer.until_ms, now + banCap_ms);
      if (now < peer.until_ms) return;
      // Let in again on probation: another offence soon after counts for more.
      peer.until_ms = null;
      peer.points = limited_points;
      peer.forgot_ms = now;
    }
    const forgotten = Math.floor(Math.max(0, now - peer.forgot_ms) / banForgotten_ms);
    if (forgotten > 0) {
      peer.bans = Math.max(0, peer.bans - forgotten);
      peer.forgot_ms = now;
    }
    peer.told = this.#standingOf(peer);
  }

  #refill(peer: Peer, resource: Resource, now: number): void {
    const divisor = peer.told === 'good' ? 1 : this.#config.limited_divisor;
    refill(peer.buckets, resource, this.#config.allowances[resource], divisor, now);
  }

  #refillAll(peer: Peer, now: number): void {
    for (const name of RESOURCES) this.#refill(peer, name, now);
  }

  /** The peer as it stands now, and heard now. */
  #peer(id: NodeId, now: number): Peer {
    let peer = this.#peers.get(id);
    if (peer === undefined) {
      this.#makeRoom();
      peer = {
        points: 0,
        scored_ms: now,
        heard_ms: now,
        buckets: fullBuckets(this.#config.allowances, now),
        inDebt: false,
        bans: 0,
        forgot_ms: now,
        until_ms: null,
        told: 'good',
      };
      this.#peers.set(id, peer);
    } else {
      peer.heard_ms = now;
      this.#mend(peer, now);
    }
    return peer;
  }

  #makeRoom(): void {
    if (this.#peers.size < this.#config.peers_max) return;
    let first: [NodeId, Peer] | undefined;
    for (const entry of this.#peers) if (first === undefined || goesBefore(entry[1], first[1])) first = entry;
    if (first !== undefined) this.#peers.delete(first[0]);
  }
}

/** Whoever is not banned is forgotten first, then whoever was heard longest ago. */
function goesBefore(one: Peer, other: Peer): boolean {
  const isBanned = one.until_ms !== null;
  return isBanned === (other.until_ms !== null) ? one.heard_ms < other.heard_ms : !isBanned;
}

function zeros<K extends string>(names: readonly K[]): Record<K, number> {
  return Object.fromEntries(names.map((name) => [name, 0])) as Record<K, number>;
}
