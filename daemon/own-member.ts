/**
 * The member record of this node: what it tells of itself, under an incarnation that only grows. Whoever else writes
 * records with this node's key is noticed here too. Not here: who holds it as failed (protocols/membership) and
 * whether it may be a member at all (cluster-trust.ts).
 */

import { type Hlc, hlcCompare } from '../protocols/base/clock.ts';
import type { NodeId } from '../protocols/base/ids.ts';
import { type MemberBody, recordKey } from '../protocols/base/records.ts';
import type { LedgerRecord } from '../protocols/ledger/record.ts';
import { bodyOf } from '../protocols/view/bodies.ts';
import { attempt } from './attempt.ts';
import type { Clock } from './clock.ts';
import type { LedgerDriver } from './drivers/ledger-driver.ts';
import type { Log } from './log.ts';
import { COPIED_CODE } from './trust/copied-keys.ts';

/** Multiaddrs in a member record. */
const ADDRESSES_MAX = 16;
/** Of two daemons with one key each says so often that it still runs: nothing else tells the other one. */
const COPY_TOLD_MS = 300_000;
/** A copy that has said nothing for so long runs no more. Twice as long, and some. */
const COPY_GONE_MS = 660_000;
/**
 * Whoever is told that it is a copy says that it runs, no more often than this; one that has not yet is told so often.
 * What it wrote before it was told may be all that there ever is of it: after a machine came back with the memory that
 * it had before, its daemon finds what it has written since, and nobody writes that any more.
 */
const COPY_ASKED_MS = 20_000;
/** A copy that was asked so long ago and has not said that it runs does not, or cannot be reached. */
const COPY_MUTE_MS = 70_000;

/** Another daemon that runs with this node's key. */
interface Copy {
  /** The addresses that it tells. */
  there: readonly string[];
  /** When it wrote something last. */
  heard_ms: number;
  /** When this node last said, or tried to say, that it runs besides it. */
  told_ms: number;
  /** When this node first said so, and under which stamp; undefined: no record of that could be written yet. */
  asked: { at_ms: number; readonly hlc: Hlc } | undefined;
  /** It has written something since. */
  hasAnswered: boolean;
}

export interface OwnMemberInit {
  readonly self: NodeId;
  readonly started_ms: number;
  /** Of this life: above what an older disk's node ever called itself. */
  readonly epoch: number;
  readonly ledger: LedgerDriver;
  readonly clock: Clock;
  readonly log: Log;
  /** All but the incarnation and the copy, as it is now. */
  readonly facts: () => Omit<MemberBody, 'incarnation' | 'copy'>;
}

export class OwnMember {
  readonly #init: OwnMemberInit;
  #incarnation: number;
  /** Writes that wait for the first member record of this life; undefined once that is out. */
  #waiting: (() => void)[] | undefined = [];
  #copy: Copy | undefined;

  constructor(init: OwnMemberInit) {
    this.#init = init;
    this.#incarnation = init.epoch;
  }

  /** Another daemon that runs with this node's key, by the addresses that it tells; null: none is known to run. */
  get copy(): readonly string[] | null {
    return this.#copy?.there ?? null;
  }

  /** Takes an incarnation above all that are known of this node. @param known in its record of an earlier life. */
  rise(known: number): void {
    this.#incarnation = Math.max(this.#incarnation, known) + 1;
  }

  /** The first record of this life, and what waited for it. @param isHeard false: others would refuse the record. */
  async announce(isHeard: boolean): Promise<void> {
    if (isHeard) await this.#write();
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const write of waiting) write();
  }

  /** Says it anew. @param incarnation at least this one. */
  tell(incarnation = this.#incarnation): void {
    this.#incarnation = Math.max(this.#incarnation, incarnation);
    // The first record, which is to come, refutes as well.
    if (this.#waiting !== undefined) return;
    void attempt(this.#init.log, 'writing the member record', () => this.#write());
  }

  /** Runs `write` once this node has heard from the others and told of itself. */
  whenAnnounced(write: () => void): void {
    if (this.#waiting === undefined) write();
    else this.#waiting.push(write);
  }

  /** Records that came in. Written with this node's key, now, by somebody else: a cloned disk runs twice. */
  changed(records: Iterable<LedgerRecord>): void {
    const { self, started_ms, ledger } = this.#init;
    for (const record of records)
      if (record.author === self && record.hlc.ms > started_ms && !ledger.isOwn(record)) this.#onCopy(record);
  }

  /** To be called again and again: while two run with one key, each says now and then that it does. */
  tick(): void {
    const copy = this.#copy;
    if (copy === undefined) return;
    const { clock, log, self } = this.#init;
    const now = clock.now();
    // Where the clock was set back, what was before counts as now.
    copy.heard_ms = Math.min(copy.heard_ms, now);
    copy.told_ms = Math.min(copy.told_ms, now);
    if (copy.asked !== undefined) copy.asked.at_ms = Math.min(copy.asked.at_ms, now);
    const isMute = copy.asked !== undefined && !copy.hasAnswered && now - copy.asked.at_ms >= COPY_MUTE_MS;
    if (isMute || now - copy.heard_ms >= COPY_GONE_MS) {
      this.#copy = undefined;
      log('info', "the other daemon with this node's key writes no more", { node: self });
      this.tell(this.#incarnation + 1);
    } else if (now - copy.told_ms >= (copy.hasAnswered ? COPY_TOLD_MS : COPY_ASKED_MS))
      this.#tellCopy(copy, 0);
  }

  /** Only people can end that. */
  #onCopy(record: LedgerRecord): void {
    const { self, clock, log, facts } = this.#init;
    const now = clock.now();
    // A record may come long after it was written.
    if (now - record.hlc.ms >= COPY_GONE_MS) return;
    const body = bodyOf('member', record);
    const before = this.#copy?.there ?? null;
    this.#copy ??= { there: [], heard_ms: 0, told_ms: 0, asked: undefined, hasAnswered: false };
    const copy = this.#copy;
    copy.there = body?.addresses ?? copy.there;
    copy.heard_ms = Math.max(copy.heard_ms, Math.min(now, record.hlc.ms));
    if (copy.asked !== undefined && hlcCompare(record.hlc, copy.asked.hlc) > 0) copy.hasAnswered = true;
    if (before !== null && (before.length > 0 || copy.there.length === 0)) {
      if (body?.copy !== undefined && now - copy.told_ms >= COPY_ASKED_MS)
        this.#tellCopy(copy, body.incarnation);
      return;
    }
    const here = facts().addresses;
    const message = "another daemon runs with this node's key: stop one of them";
    log('warn', message, { code: COPIED_CODE, node: self, here, there: copy.there });
    // The other one shall know too, and where this one is.
    this.#tellCopy(copy, body?.incarnation ?? 0);
  }

  /** Above what the other one has said, or nobody would see it. */
  #tellCopy(copy: Copy, known: number): void {
    copy.told_ms = this.#init.clock.now();
    this.tell(Math.max(this.#incarnation, known, this.#ledgerIncarnation()) + 1);
  }

  async #write(): Promise<void> {
    const { self, ledger, clock } = this.#init;
    const copy = this.#copy;
    const { hlc } = await ledger.write(self, 'member', recordKey.member(self), this.#body());
    if (copy !== undefined) copy.asked ??= { at_ms: clock.now(), hlc };
  }

  #ledgerIncarnation(): number {
    const { self, ledger } = this.#init;
    const record = ledger.machine.ledger.get('member', self);
    return (record && bodyOf('member', record)?.incarnation) ?? 0;
  }

  #body(): MemberBody {
    const copy = this.#copy === undefined ? {} : { copy: this.#copy.there.slice(0, ADDRESSES_MAX) };
    return { ...this.#init.facts(), incarnation: this.#incarnation, ...copy };
  }
}

/** What others may dial: the host's own address first, and none that means something else on another host. */
export function announcedAddresses(addresses: readonly string[], host: string): string[] {
  const own = addresses.filter((address) => isAt(address, host));
  if (own.length > 0) return own.slice(0, ADDRESSES_MAX);
  const foreign = addresses.filter((address) => !/^\/ip[46]\/(?:127\.|::1\/)/.test(address));
  return (foreign.length > 0 ? foreign : addresses).slice(0, ADDRESSES_MAX);
}

/** @param address a multiaddr. */
export function isAt(address: string, host: string): boolean {
  return address.split('/')[2] === host;
}
