/**
 * Tells membership what records say of members, each as it comes: whoever waited for the next view would hold a member
 * for dead that has refuted long since. Not here: connections and datagrams (membership-driver.ts).
 */
import type { NodeId } from '../../protocols/base/ids.ts';
import { recordKey } from '../../protocols/base/records.ts';
import type { LedgerMachine } from '../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { bodyOf } from '../../protocols/view/bodies.ts';
import type { MemberView } from '../../protocols/view/view.ts';
import type { Quarantine } from '../view/quarantine.ts';
import type { MembershipDriver } from './membership-driver.ts';

/** A throw is tried once more, and then its record is in quarantine. */
const TRIES_MAX = 2;

export interface MembershipFeedInit {
  readonly machine: LedgerMachine;
  readonly membership: Pick<MembershipDriver, 'members' | 'member' | 'removed' | 'verdict'>;
  readonly quarantine: Quarantine;
}

export class MembershipFeed {
  readonly #init: MembershipFeedInit;

  constructor(init: MembershipFeedInit) {
    this.#init = init;
  }

  /** What is on disk: membership begins where it left off. */
  start(members: Iterable<MemberView>): void {
    const { machine, membership } = this.#init;
    membership.members(members);
    for (const [, [record]] of machine.ledger.ofKind('verdict'))
      if (record !== undefined) this.#verdict(record);
  }

  changed(records: Iterable<LedgerRecord>): void {
    for (const record of records) {
      if (record.kind === 'member') this.#member(record);
      else if (record.kind === 'verdict') this.#verdict(record);
    }
  }

  /** What the ledger has of this watcher on this subject: it may have come before one of them. */
  recall(watcher: NodeId, subject: NodeId): void {
    const record = this.#init.machine.ledger.get('verdict', recordKey.verdict(watcher, subject));
    if (record !== undefined) this.#verdict(record);
  }

  #member({ author }: LedgerRecord): void {
    const { machine, membership, quarantine } = this.#init;
    const { ledger, authority } = machine;
    const record = ledger.get('member', recordKey.member(author));
    const body = record && authority.counts(record) ? bodyOf('member', record) : undefined;
    if (record === undefined || body === undefined || !authority.roles(author).has('member')) {
      membership.removed(author);
      return;
    }
    for (let tries = 0; tries < TRIES_MAX && !quarantine.has(record); tries += 1) {
      try {
        membership.member(author, body.incarnation);
        return;
      } catch (error) {
        quarantine.strike(record, 'membership', error);
      }
    }
  }

  #verdict(record: LedgerRecord): void {
    const { membership, quarantine } = this.#init;
    if (quarantine.has(record)) return;
    try {
      const verdict = bodyOf('verdict', record);
      if (verdict !== undefined) membership.verdict(record.author, verdict);
    } catch (error) {
      quarantine.strike(record, 'membership', error);
    }
  }
}
