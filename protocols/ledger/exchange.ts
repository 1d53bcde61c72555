/**
 * Anti-entropy: with whom this node compares ledgers, when, and how much it gives. Whoever comes during a repair waits
 * for a turn (repairs.ts), and what a repair brought is offered to others at once. An exchange that finds nothing is one
 * hash, and the rarer the longer nothing is found. What was written a moment ago is on its way by gossip: ledgers that
 * differ in nothing else are not compared.
 * Not here: what differs (reconcile.ts), and taking records in (machine.ts).
 */
import { type Env, HLC_FOLLOWED_MS_MAX } from '../base/clock.ts';
import type { NodeId } from '../base/ids.ts';
import { fromLot, sample } from '../base/sample.ts';
import type { Cover } from './cover.ts';
import { isGrowOnly, type Ledger } from './ledger.ts';
import { RecentChanges } from './recent-changes.ts';
import { answerCompare, type Comparison, isBeginning, isRecognized, splitAll } from './reconcile.ts';
import type { LedgerRecord } from './record.ts';
import { type Repair, Repairs, type RepairsConfig } from './repairs.ts';
import {
  CHUNK_BYTES,
  type Compare,
  encodeSync,
  type ShortDigest,
  type SyncMessage,
  shortDigest,
} from './sync.ts';

export interface ExchangeConfig extends RepairsConfig {
  /** With one random peer this often, jittered by a quarter. Bounds how long a lost gossip stays lost. */
  readonly exchange_ms: number;
  /** The same after exchanges that found nothing; it doubles up to this. Any change brings it back. */
  readonly exchangeIdle_ms: number;
  /** A peer that has connected is greeted anew after this. Above the time until gossip flows between the two. */
  readonly fresh_ms: number;
  /** What has an earlier stamp should have come by gossip: a difference is repaired. Above the p99 of gossip. */
  readonly settle_ms: number;
  /** Whoever has been given its turn and says nothing for so long needs none. About a round trip. */
  readonly turn_ms: number;
  /** Records given in answer to one message; the other side asks on. */
  readonly give_bytes_max: number;
  /** What one peer may be given at once, and per second after that. */
  readonly giveBurst_bytes: number;
  readonly give_bytes_per_s: number;
  /** To how many others a finished repair is offered at once. */
  readonly spread_count: number;
  /**
   * So many offers and turns at once, and then one more in `greet_ms`: a peer can end one repair after another, and those
   * who are greeted in vain count that against this node. At least two, or neither can be kept for a turn that is due.
   */
  readonly greetBurst_count: number;
  readonly greet_ms: number;
}

export const EXCHANGE_DEFAULTS: ExchangeConfig = {
  exchange_ms: 5_000,
  exchangeIdle_ms: 30_000,
  fresh_ms: 1_000,
  settle_ms: 2_000,
  repairSilence_ms: 1_500,
  repair_ms_max: 30_000,
  turn_ms: 100,
  give_bytes_max: 2 << 20,
  giveBurst_bytes: 16 << 20,
  give_bytes_per_s: 8 << 20,
  spread_count: 2,
  greetBurst_count: 20,
  greet_ms: 100,
};

/** Records that were refused for good, so that they are not asked for again; the oldest goes first. */
export const UNWANTED_MAX = 4096;
export const UNWANTED_MS = 600_000;

/** What it takes of what a peer may be given to look at one record for it: a short message can ask for all. */
const LOOK_BYTES = 8;
/** What a grant or a revocation takes beside, for what it hangs on is looked for: as many looks. */
const ACT_LOOKS = 4;
/** So much of what a peer may be given is left for records, whatever it takes to find them; it pays that off before the next. */
const GIVEN_LEAST = 0.5;

const EXCHANGE = 'exchange/';
/** Followed by a peer. */
const FRESH = 'fresh/';

export type ExchangeEffect =
  | { readonly kind: 'send'; readonly to: NodeId; readonly body: Uint8Array }
  | { readonly kind: 'schedule'; readonly token: string; readonly at_ms: number };

const NO_EFFECTS: readonly ExchangeEffect[] = [];

/** Ends a repair for the other side, which need not wait then until it takes the silence for the end. */
const NOTHING: SyncMessage = { kind: 'records', envelopes: [], last: true, more: false };

type Hello = Extract<SyncMessage, { kind: 'hello' }>;

interface Peer {
  give_bytes: number;
  /** It has used up what it may be given, or more, and has not enough back yet for an answer that gives much. */
  isOwing: boolean;
  at_ms: number;
  /** When it connected. */
  since_ms: number;
  /** As it last told. */
  horizon_ms: number;
}

export interface ExchangeParts {
  readonly self: NodeId;
  readonly ledger: Ledger;
  /** Grants and revocations, each behind all that it needs to be let in: so they must be given. */
  readonly inOrder: (acts: readonly LedgerRecord[]) => readonly LedgerRecord[];
  readonly horizon_ms: () => number;
  /** How far a peer that tells this horizon may be believed to have collected, where a doubt hangs on it; else 0. */
  readonly believed_ms: (peer: NodeId, horizon_ms: number) => number;
  /**
   * Of what a peer lacks that tells this horizon, and is believed as far, the part that it shall be given; the rest is doubted
   * here (horizon.ts), or it would refuse it.
   */
  readonly mayGive: (
    records: readonly LedgerRecord[],
    horizon: { readonly believed_ms: number; readonly told_ms: number },
    env: Env,
  ) => readonly LedgerRecord[];
  /** Of a node in doubt, towards a peer that tells this horizon and could end that. */
  readonly coverOf: (horizon_ms: number) => Cover | undefined;
  /** A peer that tells this horizon holds what we hold, from before the horizon at least. */
  readonly onEqual: (horizon_ms: number) => void;
}

export class Exchange {
  readonly #config: ExchangeConfig;
  readonly #parts: ExchangeParts;
  readonly #peers = new Map<NodeId, Peer>();
  /** Is there a timer that gives the next turn? */
  #isTurnSet = false;
  /** Was there a turn to give since the last, and one greeting too many? */
  #isTurnDue = false;
  /** How many offers and turns there may be, as of when. */
  #greets_left: number;
  #greets_ms = 0;
  #wasOffer = false;
  /** Who is offered next what repairs brought meanwhile. */
  #toOffer: readonly NodeId[] = [];
  readonly #unwanted = new Map<ShortDigest, { until_ms: number; readonly horizon_ms: number }>();
  readonly #recent: RecentChanges;
  readonly #repairs: Repairs;
  /** As the clock was last. */
  #clock_ms = 0;
  #interval_ms: number;
  /** Of the timer that counts; an older one that still fires is ignored. */
  #exchange_number = 0;

  constructor(config: ExchangeConfig, parts: ExchangeParts) {
    this.#config = config;
    this.#parts = parts;
    this.#repairs = new Repairs(config);
    this.#interval_ms = config.exchange_ms;
    this.#greets_left = config.greetBurst_count;
    this.#recent = new RecentChanges(parts.ledger.latest.ms);
  }

  start(env: Env): ExchangeEffect[] {
    return [this.#scheduleExchange(env)];
  }

  /**
   * Before anything else that comes. A clock that was set back has stood still for all that is remembered here: what began
   * later than now would not end, nor be regained, before the clock has caught up.
   */
  onClock(now: number): void {
    const back_ms = this.#clock_ms - now;
    this.#clock_ms = now;
    if (back_ms <= 0) return;
    for (const peer of this.#peers.values()) {
      peer.since_ms -= back_ms;
      peer.at_ms -= back_ms;
    }
    this.#repairs.setBack(back_ms);
    for (const refused of this.#unwanted.values()) refused.until_ms -= back_ms;
    this.#greets_ms -= back_ms;
  }

  /** Records changed here: whoever missed them shall not wait for long. @param evicted as of `RecentChanges.add`. */
  changed(
    added: readonly LedgerRecord[],
    removed: readonly LedgerRecord[],
    env: Env,
    evicted?: readonly LedgerRecord[],
  ): readonly ExchangeEffect[] {
    this.#recent.add(added, removed, env.now, evicted);
    if (this.#interval_ms === this.#config.exchange_ms) return NO_EFFECTS;
    this.#interval_ms = this.#config.exchange_ms;
    return [this.#scheduleExchange(env)];
  }

  connected(peer: NodeId, env: Env): ExchangeEffect[] {
    this.#peers.set(peer, {
      give_bytes: this.#config.giveBurst_bytes,
      isOwing: false,
      at_ms: env.now,
      since_ms: env.now,
      horizon_ms: 0,
    });
    // One of the two begins: from both sides at once everything would be sent twice.
    if (this.#parts.self > peer) return [];
    const at_ms = env.now + this.#config.fresh_ms;
    return [...this.#greet(peer, env), { kind: 'schedule', token: `${FRESH}${peer}`, at_ms }];
  }

  /** What was gossiped before the two had streams for gossip has passed one of them by. */
  #greetAgain(peer: NodeId, env: Env): ExchangeEffect[] {
    const since_ms = this.#peers.get(peer)?.since_ms ?? env.now;
    // It may have come back meanwhile, and has a later timer then.
    return env.now - since_ms < this.#config.fresh_ms ? [] : this.#greet(peer, env);
  }

  disconnected(peer: NodeId, env: Env): ExchangeEffect[] {
    this.#peers.delete(peer);
    this.#repairs.forget(peer);
    const repair = this.#repairs.of(peer);
    return repair === undefined ? [] : this.#end(repair, env);
  }

  /** As the peer last told; 0 when it has not, or is in doubt. */
  horizonOf(peer: NodeId): number {
    return this.#peers.get(peer)?.horizon_ms ?? 0;
  }

  /** A record that will be refused from whoever tells no later horizon. */
  refuse(record: LedgerRecord, horizon_ms: number, now: number): void {
    this.#unwanted.set(shortDigest(record), { until_ms: now + UNWANTED_MS, horizon_ms });
    if (this.#unwanted.size > UNWANTED_MAX) this.#unwanted.delete(this.#unwanted.keys().next().value!);
  }

  /** @returns undefined for a token that is none of its own. */
  onTimer(token: string, env: Env): ExchangeEffect[] | undefined {
    if (token === 'repair') {
      const over = this.#repairs.over(env.now);
      const effects = over.flatMap((repair) => this.#end(repair, env, true));
      const due = this.#repairDue(env.now);
      // Somebody has had this node alone for long enough.
      if (over.length === 0 && due.length > 0) effects.push(...this.#giveTurn(env));
      return [...effects, ...due];
    }
    if (token === 'turn') {
      this.#isTurnSet = false;
      return this.#giveTurn(env);
    }
    if (token === 'offer') {
      const peers = this.#toOffer;
      this.#toOffer = [];
      return this.#offer(peers, env);
    }
    if (token.startsWith(FRESH)) return this.#greetAgain(token.slice(FRESH.length) as NodeId, env);
    if (!token.startsWith(EXCHANGE)) return undefined;
    if (token !== `${EXCHANGE}${this.#exchange_number}`) return [];
    this.#interval_ms = Math.min(this.#interval_ms * 2, this.#config.exchangeIdle_ms);
    const effects: ExchangeEffect[] = [this.#scheduleExchange(env)];
    if (this.#repairs.isTaken(env.now)) return effects;
    const [peer] = sample(this.#peers.keys(), 1, env.random);
    if (peer !== undefined) effects.push(...this.#greet(peer, env));
    return effects;
  }

  onHello(from: NodeId, hello: Hello, env: Env): ExchangeEffect[] {
    const peer = this.#peers.get(from);
    if (peer === undefined) return [];
    peer.horizon_ms = hello.horizon_ms;
    const ours = this.#repairs.of(from);
    const { hash, size } = this.#parts.ledger;
    // A member can make up records whose digests cancel one another out, and show them to some only.
    const isSameHash = hello.hash === hash;
    const isEqual = isSameHash && hello.records === size;
    const believed_ms = this.#parts.believed_ms(from, hello.horizon_ms);
    if (isEqual) this.#parts.onEqual(believed_ms);
    else this.#interval_ms = this.#config.exchange_ms;
    // In doubt there is more to learn from a peer than what is missing.
    const isAsking = this.#parts.coverOf(believed_ms) !== undefined;
    if (isEqual || (!isAsking && !isSameHash && this.#isInFlight(peer, hello, env))) {
      if (ours === undefined) return [];
      return [...this.#greet(from, env), ...this.#end(ours, env)];
    }
    if (!this.#repairs.admit(from, env.now)) return [];
    const beginning = splitAll(this.#parts.ledger, isAsking);
    const effects = this.#begin(from, env, isRecognized(beginning));
    return [...effects, this.#compare(from, beginning)];
  }

  onCompare(from: NodeId, message: Compare, env: Env): ExchangeEffect[] {
    const peer = this.#peers.get(from);
    if (peer === undefined) return [];
    if (!this.#repairs.admit(from, env.now)) return [this.#send(from, NOTHING)];
    peer.horizon_ms = message.horizon_ms;
    const effects = this.#begin(from, env);
    const repair = this.#repairs.of(from)!;
    // Both have begun at once: one of the two beginnings goes on.
    if (repair.isOpening && isBeginning(message) && this.#parts.self < from) return effects;
    repair.isOpening = false;
    this.#refill(peer, env.now);
    if (peer.isOwing) return effects;
    const believed_ms = this.#parts.believed_ms(from, peer.horizon_ms);
    const cover = this.#parts.coverOf(believed_ms);
    const isUnwanted = (digest: ShortDigest) => this.#isUnwanted(digest, peer.horizon_ms, env.now);
    // A look at all of a large ledger takes more than all, each time: what it takes beyond is owed.
    const least_bytes = peer.give_bytes * GIVEN_LEAST;
    const answer = answerCompare(this.#parts.ledger, message, isUnwanted, cover, () => env.random());
    peer.give_bytes -= answer.looked_count * LOOK_BYTES;
    const give = this.#parts.mayGive(answer.give, { believed_ms, told_ms: peer.horizon_ms }, env);
    // Only now: what the other side lacks was doubted to the last.
    if (cover?.isWhole === true) this.#parts.onEqual(believed_ms);
    const isLast = answer.compare === undefined;
    // Before the comparison: its answer may be the end.
    effects.push(...this.#give(from, peer, give, { isLast, least_bytes }, env));
    if (!isLast) effects.push(this.#compare(from, answer.compare));
    // Where there is something that may not be given yet, the other side asks again after a silence.
    else if (give.length === 0) effects.push(this.#send(from, NOTHING), ...this.#end(repair, env));
    return effects;
  }

  /** After the records were taken in. @param changed whether any was news. */
  onRecords(
    from: NodeId,
    { last, envelopes }: Pick<Extract<SyncMessage, { kind: 'records' }>, 'last' | 'envelopes'>,
    changed: boolean,
    env: Env,
  ): ExchangeEffect[] {
    const repair = this.#repairs.of(from);
    if (repair === undefined) return [];
    repair.heard_ms = env.now;
    repair.isOpening = false;
    repair.changed ||= changed;
    if (!last) return [];
    // The rest of what is refused here would be refused too: it is not asked for without end.
    if (changed) return this.#greet(from, env);
    return [...(envelopes.length > 0 ? [this.#send(from, NOTHING)] : []), ...this.#end(repair, env)];
  }

  /** What was refused may be taken now. */
  reconsider(): void {
    this.#unwanted.clear();
  }

  /** Is what differs too new to be missed? Between peers that have just met nothing is on its way yet. */
  #isInFlight(peer: Peer, { settled, hash }: Hello, env: Env): boolean {
    if (env.now < peer.since_ms + this.#config.settle_ms) return false;
    const upTo_ms = settled?.upTo_ms ?? this.#settled_ms(env);
    return this.#hashAt(upTo_ms) === (settled?.hash ?? hash);
  }

  #settled_ms(env: Env): number {
    return Math.max(0, Math.floor(env.now - this.#config.settle_ms));
  }

  /**
   * Without what is on its way. An honest stamp is no further ahead of the author's clock than others' are followed, and clocks
   * differ by some seconds. What bears a later one may be missed at once: until that was past it would be for long, and
   * members can choose their stamps. It ends after the moment that both sides know: at clocks of their own they would differ.
   */
  #hashAt(ms: number): string | undefined {
    const until_ms = ms + 2 * this.#config.settle_ms + HLC_FOLLOWED_MS_MAX;
    return this.#recent.hashAt(ms, this.#parts.ledger.places.summary('').words, until_ms);
  }

  #begin(peer: NodeId, env: Env, isOpening = false): ExchangeEffect[] {
    return this.#repairs.begin(peer, env.now, isOpening) ? this.#repairDue(env.now) : [];
  }

  /**
   * What came is offered to others, and those who waited have their turn.
   * @param isSilent the other side may have more, and is one of those then.
   */
  #end(repair: Repair, env: Env, isSilent = false): ExchangeEffect[] {
    this.#repairs.end(repair, env.now);
    const peers = [...this.#peers.keys()].filter((peer) => isSilent || peer !== repair.peer);
    const others = repair.changed ? sample(peers, this.#config.spread_count, env.random) : [];
    return [...this.#offer(others, env), ...this.#giveTurn(env)];
  }

  /** At once, or in a moment if that was done too often. */
  #offer(peers: readonly NodeId[], env: Env): ExchangeEffect[] {
    if (peers.length === 0) return [];
    const isTurnNext = this.#isTurnDue && this.#repairs.isWaitedFor && this.#wasOffer;
    const at_ms = this.#mayGreet_ms(env.now, isTurnNext);
    if (at_ms > env.now) {
      const isSet = this.#toOffer.length > 0;
      this.#toOffer = peers;
      return isSet ? [] : [{ kind: 'schedule', token: 'offer', at_ms }];
    }
    this.#greets_left -= 1;
    this.#wasOffer = true;
    for (const peer of peers) this.#repairs.call(peer);
    return peers.flatMap((peer) => this.#greet(peer, env));
  }

  /**
   * When there may be one more offer or turn. @param isOthersNext the one before was of the same kind, and one of the other
   * kind is put off: one is left for that. Each kind can be wanted at once whenever there may be one more.
   */
  #mayGreet_ms(now: number, isOthersNext: boolean): number {
    const { greetBurst_count, greet_ms } = this.#config;
    const refill = (now - this.#greets_ms) / greet_ms;
    this.#greets_left = Math.min(greetBurst_count, this.#greets_left + refill);
    this.#greets_ms = now;
    const missing = (isOthersNext ? 2 : 1) - this.#greets_left;
    return missing <= 0 ? now : Math.ceil(now + missing * greet_ms);
  }

  /** To the next who waits. It says nothing if it has got all from others meanwhile: then it is the turn of one more. */
  #giveTurn(env: Env): ExchangeEffect[] {
    const peer = this.#repairs.next(env.now);
    if (peer === undefined) return [];
    const at_ms = this.#mayGreet_ms(env.now, this.#toOffer.length > 0 && !this.#wasOffer);
    this.#isTurnDue = at_ms > env.now;
    if (this.#isTurnDue) return this.#setTurn(at_ms);
    this.#greets_left -= 1;
    this.#wasOffer = false;
    this.#repairs.call(peer);
    const effects = this.#greet(peer, env);
    if (this.#repairs.isWaitedFor) effects.push(...this.#setTurn(env.now + this.#config.turn_ms));
    return effects;
  }

  #setTurn(at_ms: number): ExchangeEffect[] {
    if (this.#isTurnSet) return [];
    this.#isTurnSet = true;
    return [{ kind: 'schedule', token: 'turn', at_ms }];
  }

  #greet(to: NodeId, env: Env): ExchangeEffect[] {
    if (!this.#peers.has(to)) return [];
    const { hash, size } = this.#parts.ledger;
    const hello: Hello = { kind: 'hello', hash, records: size, horizon_ms: this.#parts.horizon_ms() };
    const upTo_ms = this.#settled_ms(env);
    const settled = this.#recent.hasAfter(upTo_ms) ? this.#hashAt(upTo_ms) : undefined;
    return [
      this.#send(to, settled === undefined ? hello : { ...hello, settled: { upTo_ms, hash: settled } }),
    ];
  }

  #refill(peer: Peer, now: number): void {
    const { giveBurst_bytes, give_bytes_per_s } = this.#config;
    const refill = ((now - peer.at_ms) / 1000) * give_bytes_per_s;
    peer.give_bytes = Math.min(giveBurst_bytes, peer.give_bytes + refill);
    peer.at_ms = now;
    // One that asks all the time would spend the first that it has back on looks, and be given nothing.
    peer.isOwing &&= peer.give_bytes < giveBurst_bytes * GIVEN_LEAST;
  }

  /**
   * @param isLast nothing else is asked of the other side in this turn.
   * @param least_bytes so much may be given, whatever it took to find it.
   */
  #give(
    to: NodeId,
    peer: Peer,
    records: readonly LedgerRecord[],
    { isLast, least_bytes }: { readonly isLast: boolean; readonly least_bytes: number },
    env: Env,
  ): ExchangeEffect[] {
    const ordered = this.#inOrder(records, peer, env);
    const bytes_max = Math.min(this.#config.give_bytes_max, Math.max(least_bytes, peer.give_bytes));
    const chosen: Uint8Array[] = [];
    let bytes = 0;
    for (const record of ordered) {
      if (bytes + record.bytes.byteLength > bytes_max) break;
      chosen.push(record.bytes);
      bytes += record.bytes.byteLength;
    }
    peer.give_bytes -= bytes;
    peer.isOwing = peer.give_bytes <= 0;
    const chunks = inChunks(chosen);
    const more = chosen.length < records.length;
    return chunks.map((envelopes, at) =>
      this.#send(to, { kind: 'records', envelopes, last: isLast && at === chunks.length - 1, more }),
    );
  }

  /**
   * Grants and revocations first, each behind what it hangs on: no record shall come before what lets it in, or an answer
   * may hold nothing that is taken, and the next one the same. Of those that need not wait for one another, and of the
   * others, from a place by lot, so that what is refused over there does not stand before the rest for ever.
   */
  #inOrder(records: readonly LedgerRecord[], peer: Peer, env: Env): readonly LedgerRecord[] {
    const lot = env.random();
    const acts: LedgerRecord[] = [];
    const others: LedgerRecord[] = [];
    for (const record of records) (isGrowOnly(record.kind) ? acts : others).push(record);
    peer.give_bytes -= acts.length * ACT_LOOKS * LOOK_BYTES;
    return [...this.#parts.inOrder(fromLot(acts, lot)), ...fromLot(others, lot)];
  }

  #isUnwanted(digest: ShortDigest, theirs_ms: number, now: number): boolean {
    const refused = this.#unwanted.get(digest);
    if (refused === undefined) return false;
    if (refused.until_ms > now) return theirs_ms <= refused.horizon_ms;
    this.#unwanted.delete(digest);
    return false;
  }

  #scheduleExchange(env: Env): ExchangeEffect {
    const jitter = 0.75 + env.random() / 2;
    this.#exchange_number += 1;
    const token = `${EXCHANGE}${this.#exchange_number}`;
    return { kind: 'schedule', token, at_ms: env.now + this.#interval_ms * jitter };
  }

  #repairDue(now: number): ExchangeEffect[] {
    const at_ms = this.#repairs.due_ms(now);
    return at_ms === undefined ? [] : [{ kind: 'schedule', token: 'repair', at_ms }];
  }

  #compare(to: NodeId, comparison: Comparison): ExchangeEffect {
    return this.#send(to, { kind: 'compare', ...comparison, horizon_ms: this.#parts.horizon_ms() });
  }

  #send(to: NodeId, message: SyncMessage): ExchangeEffect {
    return { kind: 'send', to, body: encodeSync(message) };
  }
}

export function inChunks(envelopes: readonly Uint8Array[]): Uint8Array[][] {
  const chunks: Uint8Array[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const envelope of envelopes) {
    if (bytes + envelope.byteLength > CHUNK_BYTES) {
      chunks.push([]);
      bytes = 0;
    }
    chunks.at(-1)!.push(envelope);
    bytes += envelope.byteLength;
  }
  return chunks;
}
