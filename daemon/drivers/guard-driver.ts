/**
 * Drives the standing of peers: what the mesh lets through and what came of it goes in; who is banned is disconnected
 * and kept out until the ban is over. Of their gossip no more is passed on than other peers allow this node, shared among
 * its authors. Not here: what is an offence of a record (protocols/ledger) and who is a member at all (protocols/trust).
 */
import type { KeyId, NodeId } from '../../protocols/base/ids.ts';
import { gossipVerdict, type LedgerEffect, recordsIn } from '../../protocols/ledger/effects.ts';
import type { Mesh, MeshGuard, MeshOffence, MeshUse, Verdict } from '../../protocols/mesh/mesh.ts';
import {
  OFFENCES,
  type Offence,
  type Resource,
  STANDING_DEFAULTS,
  type StandingConfig,
} from '../../protocols/standing/config.ts';
import { RelayBudget, type RelayCost } from '../../protocols/standing/relay-budget.ts';
import {
  type PeerReport,
  Standing,
  type StandingCounters,
  type StandingEffect,
  type StandingEvent,
} from '../../protocols/standing/standing.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';

export interface GuardDriverInit {
  readonly self: NodeId;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Log;
  readonly config?: Partial<StandingConfig>;
}

export interface GuardCounters extends StandingCounters {
  /** Gossip messages of others that were news and not passed on, for this node had passed on as much as it may. */
  readonly notRelayed: number;
}

const RESOURCE_OF: Readonly<Record<MeshUse, Resource>> = {
  connection: 'connections',
  message: 'messages',
  stream: 'streams',
  frame: 'frames',
};

/** Beyond it all are forgotten, and may count once more. */
const ACCUSED_MAX = 1024;

export class GuardDriver implements MeshGuard {
  readonly #init: GuardDriverInit;
  readonly #core: Standing;
  readonly #relay: RelayBudget;
  /** Pairs of records that have counted already, by their digests. */
  readonly #accused = new Set<string>();
  #mesh: Pick<Mesh, 'disconnect'> | undefined;

  constructor(init: GuardDriverInit) {
    this.#init = init;
    const config = { ...STANDING_DEFAULTS, ...init.config };
    this.#core = new Standing(config);
    this.#relay = new RelayBudget(config);
  }

  /** Whom to disconnect from is known from here on. */
  start(mesh: Pick<Mesh, 'disconnect'>): void {
    this.#mesh = mesh;
  }

  isBanned(peer: NodeId): boolean {
    return this.#core.standing(peer, this.#init.clock.now()) === 'banned';
  }

  admit(peer: NodeId, use: MeshUse, bytes: number, count = 1): boolean {
    return this.#feed({ kind: 'spend', peer, resource: RESOURCE_OF[use], amount: count, bytes });
  }

  offence(peer: NodeId, offence: MeshOffence): void {
    this.#feed({ kind: 'offence', peer, offence, count: 1 });
  }

  charge(peer: NodeId, resource: Resource, amount: number): void {
    this.#feed({ kind: 'charge', peer, resource, amount });
  }

  /** What one message of `peer` held, by what the ledger made of it. */
  judge(peer: NodeId, effects: readonly LedgerEffect[]): void {
    const offences = new Map<Offence, number>();
    for (const effect of effects) {
      if (effect.kind === 'rejected') {
        if (effect.isForgiven) continue;
        const offence = OFFENCES.find((name) => name === effect.reason);
        if (offence !== undefined) offences.set(offence, (offences.get(offence) ?? 0) + 1);
      } else if (effect.kind === 'equivocation' && effect.author !== this.#init.self) {
        this.#accuse(effect);
      }
    }
    const records_count = recordsIn(effects);
    if (records_count > 0) this.charge(peer, 'records', records_count);
    for (const [offence, count] of offences) this.#feed({ kind: 'offence', peer, offence, count });
  }

  /**
   * What the mesh shall do with a gossip message of `peer`, by what the ledger made of it. News beyond what this node
   * passes on is kept alone; anti-entropy brings it to the others.
   */
  verdict(peer: NodeId, bytes: number, effects: readonly LedgerEffect[]): Verdict {
    const verdict = gossipVerdict(effects);
    if (verdict !== 'accept') return verdict;
    const costs = relayCosts(peer, bytes, effects);
    return this.#relay.take(costs, this.#init.clock.now()) ? 'accept' : 'ignore';
  }

  /** Proved by both signatures: it is the author's doing, whoever brought it, and once, however often it is brought. */
  #accuse({ author, records }: Extract<LedgerEffect, { kind: 'equivocation' }>): void {
    const pair = records
      .map(({ digest }) => digest)
      .sort()
      .join(' ');
    if (this.#accused.has(pair)) return;
    if (this.#accused.size >= ACCUSED_MAX) this.#accused.clear();
    this.#accused.add(pair);
    this.#feed({ kind: 'offence', peer: author, offence: 'equivocation', count: 1 });
  }

  reports(): PeerReport[] {
    return this.#core.reports(this.#init.clock.now());
  }

  get counters(): GuardCounters {
    return { ...this.#core.counters, notRelayed: this.#relay.refused };
  }

  /** @returns false when it was refused. */
  #feed(event: StandingEvent): boolean {
    const effects = this.#core.handle(event, { now: this.#init.clock.now() });
    let admitted = true;
    for (const effect of effects) {
      if (effect.kind === 'refused') admitted = false;
      else this.#onChanged(effect);
    }
    return admitted;
  }

  #onChanged({ peer, from, to, offence, until_ms }: Extract<StandingEffect, { kind: 'changed' }>): void {
    const { log } = this.#init;
    if (to === 'banned') {
      const until = new Date(until_ms!).toISOString();
      log('warn', 'a peer is banned for a time', { peer, offence, until });
      void this.#mesh?.disconnect(peer);
    } else if (to === 'limited') {
      log('warn', 'a peer is limited', { peer, offence, before: from });
    }
  }
}

/**
 * What it costs to pass a gossip message on, by the shares that pay for it. Each author pays for its news, which it has
 * signed. What is there besides anybody may have put there, such as what all know: for that the author has another share,
 * or whoever is first to send on what others write would use theirs up.
 */
function relayCosts(
  peer: NodeId,
  bytes: number,
  effects: readonly LedgerEffect[],
): ReadonlyMap<string, RelayCost> {
  const news = new Map<KeyId, { bytes: number; records: number }>();
  const newsOf = (author: KeyId) => {
    const cost = news.get(author) ?? { bytes: 0, records: 0 };
    news.set(author, cost);
    return cost;
  };
  let besides_bytes = bytes;
  let besides_count = recordsIn(effects);
  for (const effect of effects) {
    if (effect.kind === 'equivocation') newsOf(effect.author);
    if (effect.kind !== 'persist') continue;
    for (const record of effect.put) {
      const cost = newsOf(record.author);
      cost.bytes += record.bytes.byteLength;
      cost.records += 1;
      besides_bytes -= record.bytes.byteLength;
      besides_count -= 1;
    }
  }
  // Nothing of what came is left: it is nobody's but who brought it.
  if (news.size === 0) newsOf(peer);
  const parts = news.size;
  const besides = {
    messages: 0,
    // What had waited is no part of the message.
    bytes: Math.max(0, besides_bytes) / parts,
    records: besides_count / parts,
  };
  const costs = new Map<string, RelayCost>();
  for (const [author, { bytes, records }] of news) {
    // With nothing but news in it the rest is what holds the message together.
    const frame_bytes = besides_count === 0 ? besides.bytes : 0;
    costs.set(author, { messages: 1 / parts, bytes: bytes + frame_bytes, records });
    if (besides_count > 0) costs.set(`${author} besides`, besides);
  }
  return costs;
}
