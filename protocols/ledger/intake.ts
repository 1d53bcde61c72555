/**
 * Taking in what others wrote: each record is opened, judged, checked and merged, the cheap refusals first, and what must
 * go because of it goes. What comes out is plain: what was added, what went, what is to be told.
 * Not here: how records travel and where they are kept (machine.ts), and who may write what (protocols/trust).
 */
import { type Env, HLC_AHEAD_MS_MAX } from '../base/clock.ts';
import type { Crypto } from '../base/crypto.ts';
import { isShoalError } from '../base/errors.ts';
import type { KeyId, NodeId } from '../base/ids.ts';
import { firstPart } from '../base/records.ts';
import type { Authority } from '../trust/authority.ts';
import { isOwned } from '../trust/rules.ts';
import { SealChecker } from './envelope.ts';
import type { EnvelopeReader } from './envelope-reader.ts';
import { isProof } from './evidence.ts';
import type { Horizon } from './horizon.ts';
import type { Ledger } from './ledger.ts';
import { type PendingConfig, PendingRecords } from './pending.ts';
import type { Quota } from './quota.ts';
import { isSealedAlike, keepRecord, type LedgerRecord } from './record.ts';

/** Why a record was not taken. */
export const REJECTIONS = [
  'malformed',
  'other-cluster',
  'unknown-author',
  'not-allowed',
  'from-the-future',
  'bad-signature',
  'stale',
  'over-quota',
] as const;
export type Rejection = (typeof REJECTIONS)[number];

/** Refusals that no honest peer can bring upon itself by passing on what it has checked. */
export const DISHONEST: ReadonlySet<Rejection> = new Set(['malformed', 'other-cluster', 'bad-signature']);
/**
 * Refusals that time does not mend: not asked for again. Not those of a signature: the digest that would be shunned does
 * not cover it, so a peer could have the true record shunned by showing it with a false one.
 */
const LASTING: ReadonlySet<Rejection> = new Set(['other-cluster', 'not-allowed', 'stale', 'over-quota']);

/**
 * Clocks of honest nodes differ: what is ahead of ours by up to this another may take in and pass on. It is held against
 * nobody, or a member could choose stamps by which honest nodes ban one another.
 */
const FORGIVEN_AHEAD_MS_MAX = 2 * HLC_AHEAD_MS_MAX;

/**
 * Refusals of what another may rightly have taken: it lacks some of what is known here, or knows more. Of gossip that is
 * held against nobody but its author, or a member could show records to those alone that take them, and have the others ban
 * them for it.
 */
const OF_DIFFERENT_MIND: ReadonlySet<Rejection> = new Set([
  'unknown-author',
  'not-allowed',
  'stale',
  'over-quota',
]);
/** The same of what is given in a repair: there whoever gives knows what is lacked here, and how far was collected. */
const OF_DIFFERENT_MIND_IN_REPAIR: ReadonlySet<Rejection> = new Set(['unknown-author', 'over-quota']);

/**
 * Of authors that no grant is known of: signatures that are looked at for one message. A grant comes before what it lets in,
 * so few wait at once; anti-entropy brings the others again. Any member can sign with any number of keys that nobody knows.
 */
export const STRANGERS_CHECKED_MAX = 64;

/**
 * Of gossip that was replaced here: signatures that are looked at for one message beside as many as it has news. An author
 * writes a key several times before it gossips, and the last of those may have come first.
 */
export const REPLACED_CHECKED_MAX = 8;

export interface Rejected {
  readonly kind: 'rejected';
  readonly from: NodeId | null;
  readonly reason: Rejection;
  readonly author: KeyId | null;
  /** It is held against nobody. */
  readonly isForgiven?: true;
  /** It had waited, and the grant that it waited for came: who brought that is not who brought this. */
  readonly hasWaited?: true;
}

const NONE: readonly LedgerRecord[] = [];
const NO_REPORTS: readonly never[] = [];

/** A list with one more. Most lists here stay empty or end with one item: those that are empty are all one. */
function withOne<Item>(list: readonly Item[], item: Item): readonly Item[] {
  if (list.length === 0) return [item];
  (list as Item[]).push(item);
  return list;
}

/** @param items are nobody else's from now on. */
function withAll<Item>(list: readonly Item[], items: readonly Item[]): readonly Item[] {
  if (list.length === 0) return items;
  let all = list;
  for (const item of items) all = withOne(all, item);
  return all;
}

function report<Report>(taken: Taken<Report>, rejected: Rejected): void {
  taken.reports = withOne(taken.reports, rejected);
}

/** Is it refused for what whoever sends it need not know? */
function isExcused(
  { author, hlc }: LedgerRecord,
  reason: Rejection,
  { from, isGossip }: Source,
  env: Env,
): boolean {
  if (reason === 'from-the-future') return hlc.ms <= env.now + FORGIVEN_AHEAD_MS_MAX;
  return author !== from && (isGossip ? OF_DIFFERENT_MIND : OF_DIFFERENT_MIND_IN_REPAIR).has(reason);
}

/** Where records come from, and how far it says that it has collected. */
export interface Source {
  readonly from: NodeId | null;
  readonly horizon_ms: number;
  /** Whoever sends it may have it from others, and has not been asked for it. */
  readonly isGossip?: true;
  /** It is of what has waited here for a grant that came. */
  readonly hasWaited?: true;
  /** It is at least as late as this, whatever the clock says. Absent: the clock is right. */
  readonly now_ms?: number;
}

/** What taking records in has come to. */
export interface Taken<Report> {
  added: readonly LedgerRecord[];
  removed: readonly LedgerRecord[];
  /** Of those that went: one too many of their author. */
  evicted: readonly LedgerRecord[];
  /** What had waited for a grant that came. */
  freed: readonly LedgerRecord[];
  /** Of the envelopes: those whose signature holds, as far as that was looked at: not of what is refused before that. */
  checked_count: number;
  /** Of gossip: what was known, whose signature was not looked at. */
  known: readonly LedgerRecord[];
  /** Signatures that were looked at of authors that no grant is known of. */
  strangers_count: number;
  reports: readonly (Rejected | Report)[];
}

function nothing<Report>(): Taken<Report> {
  return {
    added: NONE,
    removed: NONE,
    evicted: NONE,
    freed: NONE,
    checked_count: 0,
    known: NONE,
    strangers_count: 0,
    reports: NO_REPORTS,
  };
}

export interface IntakeParts<Report> {
  readonly cluster: string;
  readonly crypto: Crypto;
  readonly reader: EnvelopeReader;
  readonly ledger: Ledger;
  readonly authority: Authority;
  readonly horizon: Horizon;
  readonly quota: Quota;
  /** Two records that their author signed with one number. */
  readonly onTwins: (one: LedgerRecord, other: LedgerRecord, env: Env) => readonly Report[];
  /** Did this node itself write it, and its disk know nothing of that? */
  readonly isForgotten: (record: LedgerRecord) => boolean;
  /** A record that is about to be merged. */
  readonly onNews: (record: LedgerRecord, env: Env) => readonly Report[];
  /** One that was merged though it is from before the horizon, on the word of whoever gave it. */
  readonly onLate: (record: LedgerRecord, env: Env) => void;
  /** A record that will be refused from whoever tells no later horizon. */
  readonly onRefused: (record: LedgerRecord, horizon_ms: number, env: Env) => void;
  /** A grant was merged, or a revocation, which may keep some: what was refused may be allowed now. */
  readonly onAct: () => void;
  /** Takes records away, with all that must go with them. @returns all that went. */
  readonly expel: (records: readonly LedgerRecord[]) => readonly LedgerRecord[];
}

export class Intake<Report> {
  readonly #parts: IntakeParts<Report>;
  readonly #seals: SealChecker;
  readonly #pending: PendingRecords;

  constructor(config: PendingConfig, parts: IntakeParts<Report>) {
    this.#parts = parts;
    this.#seals = new SealChecker(parts.crypto);
    this.#pending = new PendingRecords(config, parts.crypto);
  }

  /** What waits for a grant of its author. */
  get pending(): { readonly records: number; readonly bytes: number } {
    return this.#pending.size;
  }

  take(envelopes: readonly Uint8Array[], source: Source, env: Env): Taken<Report> {
    const taken = nothing<Report>();
    // By numbers: an iterator costs an object for each record.
    for (let at = 0; at < envelopes.length; at += 1) {
      const bytes = envelopes[at]!;
      const record = this.#open(bytes);
      if (record !== undefined) this.#takeOne(record, source, env, taken);
      else report(taken, { kind: 'rejected', from: source.from, reason: 'malformed', author: null });
    }
    this.#takeFreed(source, env, taken);
    if (taken.added.length > 0) this.#checkKnown(source, taken);
    return taken;
  }

  /**
   * What was known stops no news beside it: any member can cut a record out of a message of another, and have it known to all
   * before that comes. As it is here it was checked; of the rest, which was replaced here, as many signatures are looked at
   * as there was news.
   */
  #checkKnown(source: Source, taken: Taken<Report>): void {
    let left_count = taken.added.length + REPLACED_CHECKED_MAX;
    for (const record of taken.known) {
      const live = this.#parts.ledger.live(record);
      if (live !== undefined && isSealedAlike(live, record)) taken.checked_count += 1;
      else if (left_count > 0) {
        left_count -= 1;
        this.#isSigned(record, source, taken);
      }
    }
  }

  /** What has waited for grants that did not come in here: this node has given them. */
  granted(grants: readonly LedgerRecord[], env: Env): Taken<Report> {
    const taken = nothing<Report>();
    this.#free(grants, taken);
    this.#takeFreed({ from: null, horizon_ms: 0 }, env, taken);
    return taken;
  }

  #free(grants: readonly LedgerRecord[], taken: Taken<Report>): void {
    const { authority, onAct } = this.#parts;
    onAct();
    const come = grants.flatMap(({ key, digest }) => [firstPart(key), digest]);
    const isReady = (other: LedgerRecord) => authority.admission(other) !== 'unknown-author';
    taken.freed = withAll(taken.freed, this.#pending.take(come, isReady));
  }

  /** It grows while it is walked, for there may be grants among it. */
  #takeFreed(source: Source, env: Env, taken: Taken<Report>): void {
    if (taken.freed.length === 0) return;
    const waited = { ...source, hasWaited: true } as const;
    for (let at = 0; at < taken.freed.length; at += 1) this.#takeOne(taken.freed[at]!, waited, env, taken);
  }

  #takeOne(record: LedgerRecord, source: Source, env: Env, taken: Taken<Report>): void {
    const reason = this.#take(record, source, env, taken);
    if (reason !== undefined) {
      const isForgiven = isExcused(record, reason, source, env);
      const rejected = { kind: 'rejected', from: source.from, reason, author: record.author } as const;
      if (source.hasWaited) report(taken, { ...rejected, isForgiven: true, hasWaited: true });
      else report(taken, isForgiven ? { ...rejected, isForgiven } : rejected);
      if (LASTING.has(reason)) this.#parts.onRefused(record, this.#refusedUpTo_ms(reason), env);
    } else if (taken.added[taken.added.length - 1] === record) {
      if (record.kind === 'grant') this.#free([record], taken);
      else if (record.kind === 'revoke') this.#parts.onAct();
    }
  }

  #take(record: LedgerRecord, from: Source, env: Env, taken: Taken<Report>): Rejection | undefined {
    const { cluster, ledger, authority, quota } = this.#parts;
    if (record.cluster !== cluster && record.digest !== cluster) return 'other-cluster';
    const finding = ledger.find(record);
    const { twin } = finding;
    const isSettled = finding.isLive || finding.isReplaced;
    if (isSettled && twin === undefined) {
      if (from.isGossip && !from.hasWaited) taken.known = withOne(taken.known, record);
      return undefined;
    }
    if (!isSettled && !this.#parts.isForgotten(record) && this.#isStale(record, from)) return 'stale';
    const admission = authority.admission(record);
    if (admission === 'unknown-author') return this.#wait(record, from, taken);
    if (admission === 'refused') return 'not-allowed';
    if (record.hlc.ms > Math.max(env.now, from.now_ms ?? 0) + HLC_AHEAD_MS_MAX) return 'from-the-future';
    if (!isSettled && quota.isBeyond(record, finding.replaces)) return 'over-quota';
    if (!this.#isSigned(record, from, taken)) return 'bad-signature';
    if (record.kind === 'evidence' && !record.isTombstone && !this.#isProof(record)) return 'not-allowed';
    if (twin !== undefined) taken.reports = withAll(taken.reports, this.#parts.onTwins(twin, record, env));
    if (isSettled) return undefined;
    taken.reports = withAll(taken.reports, this.#parts.onNews(record, env));
    const surplus = record.kind === 'grant' ? authority.surplus(record) : NONE;
    if (surplus.includes(record)) return 'over-quota';
    keepRecord(record);
    const removed = ledger.merge(record, finding);
    authority.add(record);
    if (this.#parts.horizon.isPast(record)) this.#parts.onLate(record, env);
    taken.removed = withAll(taken.removed, removed);
    taken.added = withOne(taken.added, record);
    if (surplus.length === 0 && quota.isKept(record)) return undefined;
    this.#expel(surplus, taken);
    if (!quota.isKept(record)) for (const excess of quota.excess(record)) this.#expel([excess], taken);
    return ledger.has(record) ? undefined : 'over-quota';
  }

  /** Takes away what is one too many, with all that must go with it. */
  #expel(records: readonly LedgerRecord[], taken: Taken<Report>): void {
    if (records.length === 0) return;
    const gone = this.#parts.expel(records);
    const left = new Set(gone);
    const came = new Set(taken.added);
    taken.added = taken.added.filter((record) => !left.has(record));
    const evicted = gone.filter((record) => !came.has(record));
    taken.evicted = withAll(taken.evicted, evicted);
  }

  /** Its author is known by its key, so what is not signed need not wait for that to be found. */
  #wait(record: LedgerRecord, from: Source, taken: Taken<Report>): Rejection {
    if (this.#pending.has(record)) {
      taken.checked_count += 1;
      return 'unknown-author';
    }
    if (!from.hasWaited) {
      if (taken.strangers_count >= STRANGERS_CHECKED_MAX) return 'unknown-author';
      taken.strangers_count += 1;
    }
    if (!this.#isSigned(record, from, taken)) return 'bad-signature';
    this.#pending.add(record);
    return 'unknown-author';
  }

  #isSigned(record: LedgerRecord, from: Source, taken: Taken<Report>): boolean {
    // What has waited was found to be.
    if (from.hasWaited) return true;
    if (!this.#parts.reader.verify(record, this.#parts.crypto, this.#seals)) return false;
    taken.checked_count += 1;
    return true;
  }

  #isProof(record: LedgerRecord): boolean {
    return isProof(record, this.#parts.cluster, this.#parts.crypto, this.#seals);
  }

  /**
   * Records from before the horizon were seen by all, or were deleted and collected. Or they were under way for very
   * long: an honest peer that has collected as far, and holds one, knows that it was not deleted. Who could write the
   * like anew is believed so, for it gains nothing by a lie. So is any member about what nobody but its author can
   * write: the author may be gone, and then no other could give it.
   */
  #isStale(record: LedgerRecord, { from, horizon_ms }: Source): boolean {
    const { authority, horizon } = this.#parts;
    if (!horizon.isPast(record)) return false;
    if (from === null || horizon_ms < horizon.ms || !authority.hasRole(from)) return true;
    const { kind, key } = record;
    return !isOwned(record) && authority.admission({ kind, key, author: from } as LedgerRecord) !== 'yes';
  }

  /** Who has collected as far may be believed about a record that others are not. */
  #refusedUpTo_ms(reason: Rejection): number {
    return reason === 'stale' ? this.#parts.horizon.ms - 1 : Number.POSITIVE_INFINITY;
  }

  #open(bytes: Uint8Array): LedgerRecord | undefined {
    try {
      return this.#parts.reader.open(bytes, this.#parts.crypto);
    } catch (error) {
      if (isShoalError(error)) return undefined;
      throw error;
    }
  }
}
