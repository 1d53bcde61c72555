/**
 * The member record of this node: what it tells of itself, under an incarnation that only grows. Whoever else writes
 * records with this node's key is noticed here too. Not here: who holds it as failed (protocols/membership) and
 * whether it may be a member at all (cluster-trust.ts).
 */

import type { NodeId } from '../protocols/base/ids.ts';
import { type MemberBody, recordKey } from '../protocols/base/records.ts';
import type { LedgerRecord } from '../protocols/ledger/record.ts';
import { bodyOf } from '../protocols/view/bodies.ts';
import { attempt } from './attempt.ts';
import type { LedgerDriver } from './drivers/ledger-driver.ts';
import type { Log } from './log.ts';

/** Multiaddrs in a member record. */
const ADDRESSES_MAX = 16;

export interface OwnMemberInit {
  readonly self: NodeId;
  readonly started_ms: number;
  /** Of this life: above what an older disk's node ever called itself. */
  readonly epoch: number;
  readonly ledger: LedgerDriver;
  readonly log: Log;
  /** All but the incarnation, as it is now. */
  readonly facts: () => Omit<MemberBody, 'incarnation'>;
}

export class OwnMember {
  readonly #init: OwnMemberInit;
  #incarnation: number;
  /** Writes that wait for the first member record of this life; undefined once that is out. */
  #waiting: (() => void)[] | undefined = [];
  #copy: readonly string[] | null = null;

  constructor(init: OwnMemberInit) {
    this.#init = init;
    this.#incarnation = init.epoch;
  }

  /** Another daemon that runs with this node's key, by the addresses that it tells; null: none was noticed. */
  get copy(): readonly string[] | null {
    return this.#copy;
  }

  /** Takes an incarnation above all that are known of this node. @param known in its record of an earlier life. */
  rise(known: number): void {
    this.#incarnation = Math.max(this.#incarnation, known) + 1;
  }

  /** The first record of this life, and what waited for it. @param isHeard false: others would refuse the record. */
  async announce(isHeard: boolean): Promise<void> {
    const { self, ledger } = this.#init;
    if (isHeard) await ledger.write(self, 'member', recordKey.member(self), this.#body());
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const write of waiting) write();
  }

  /** Says it anew. @param incarnation at least this one. */
  tell(incarnation = this.#incarnation): void {
    this.#incarnation = Math.max(this.#incarnation, incarnation);
    // The first record, which is to come, refutes as well.
    if (this.#waiting !== undefined) return;
    const { self, ledger, log } = this.#init;
    void attempt(log, 'writing the member record', () =>
      ledger.write(self, 'member', recordKey.member(self), this.#body()),
    );
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

  /** Only people can end that. */
  #onCopy(record: LedgerRecord): void {
    const { self, log, facts } = this.#init;
    const body = bodyOf('member', record);
    const there = body?.addresses ?? [];
    const isFirst = this.#copy === null;
    if (!isFirst && there.length === 0) return;
    this.#copy = there;
    if (!isFirst) return;
    const here = facts().addresses;
    log('warn', "another daemon runs with this node's key: stop one of them", { node: self, here, there });
    // The other one shall know too, and where this one is.
    this.tell(Math.max(this.#incarnation, body?.incarnation ?? 0) + 1);
  }

  #body(): MemberBody {
    return { ...this.#init.facts(), incarnation: this.#incarnation };
  }
}

/** What others may dial: the host's own address first, and none that means something else on another host. */
export function announcedAddresses(addresses: readonly string[], host: string): string[] {
  const own = addresses.filter((address) => address.split('/')[2] === host);
  if (own.length > 0) return own.slice(0, ADDRESSES_MAX);
  const foreign = addresses.filter((address) => !/^\/ip[46]\/(?:127\.|::1\/)/.test(address));
  return (foreign.length > 0 ? foreign : addresses).slice(0, ADDRESSES_MAX);
}
