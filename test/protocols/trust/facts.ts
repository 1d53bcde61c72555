/**
 * Trust without a ledger: records that nobody signed, and a replica that holds what the authority lets in, as the
 * ledger does. For laws about sets of grants and revocations.
 */
import { createHash } from 'node:crypto';
import { type GrantBody, type Role, recordKey } from '../../../protocols/base/records.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import {
  revokeBody as makeRevokeBody,
  operatorGrant,
  type revokeBody,
} from '../../../protocols/trust/acts.ts';
import { Authority } from '../../../protocols/trust/authority.ts';
import { unsigned } from '../ledger/fixtures.ts';

export const NOW = 1_800_000_000_000;
export const GENESIS = 'f'.repeat(64);

/** Each may bring what the one before had refused: it has to rest by then. */
const ROUNDS_MAX = 100;

/** A key that has a name. */
export function key(name: string): string {
  return name.padEnd(44, '.');
}

export interface Place {
  readonly seq: number;
  readonly epoch?: number;
  /** The record's stamp. */
  readonly at_ms?: number;
}

export function fact(
  author: string,
  kind: string,
  recordKeyText: string,
  body: unknown,
  place: Place,
): LedgerRecord {
  const header = {
    author: key(author),
    kind,
    key: recordKeyText,
    epoch: place.epoch ?? 0,
    seq: place.seq,
    hlc: { ms: place.at_ms ?? NOW, n: 0 },
  };
  const digest = createHash('sha256')
    .update(JSON.stringify([header, body]))
    .digest('hex');
  return unsigned({ ...header, cluster: GENESIS, generation: 1, context: [] }, body, digest);
}

export function grant(
  author: string,
  subject: string,
  changes: Partial<GrantBody>,
  place: Place,
): LedgerRecord {
  const body: GrantBody = {
    subject: key(subject),
    roles: ['member', 'worker', 'deployer'],
    admits: [],
    parent: null,
    notAfter_ms: null,
    uses: null,
    ...changes,
  };
  return fact(author, 'grant', recordKey.grant(body.subject, key(author)), body, place);
}

export const ADMITTER: { readonly roles: Role[]; readonly admits: Role[] } = {
  roles: ['member', 'worker', 'deployer', 'admitter'],
  admits: ['member', 'worker', 'deployer', 'admitter', 'admit'],
};

/** A vote to make somebody an operator. */
export function appoint(author: string, subject: string, place: Place): LedgerRecord {
  return fact(
    author,
    'grant',
    recordKey.grant(key(subject), key(author)),
    operatorGrant(key(subject)),
    place,
  );
}

type Revoking = Partial<Parameters<typeof revokeBody>[0]>;

/** A vote against somebody; by default nothing of the subject counts. */
export function revoke(author: string, subject: string, place: Place, changes: Revoking = {}): LedgerRecord {
  const body = makeRevokeBody({ subject: key(subject), reason: 'test', ...changes });
  return fact(author, 'revoke', recordKey.revoke(key(subject), key(author)), body, place);
}

/** Something that a member writes about itself. */
export function own(author: string, place: Place, kind = 'member'): LedgerRecord {
  return fact(author, kind, key(author), {}, place);
}

export function authority(operators: readonly string[], threshold?: number): Authority {
  const body = { operators: operators.map(key) };
  return new Authority(GENESIS, threshold === undefined ? body : { ...body, threshold });
}

/** Holds what its authority lets in, and drops what it says must leave. */
export class Replica {
  readonly authority: Authority;
  readonly held = new Map<string, LedgerRecord>();
  readonly #offered = new Set<LedgerRecord>();

  constructor(of: Authority) {
    this.authority = of;
  }

  /** Anti-entropy: what was refused is offered again, until nothing moves. */
  offer(records: readonly LedgerRecord[]): this {
    for (const record of records) this.#offered.add(record);
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const before = this.picture;
      for (const record of this.#offered) this.#take(record);
      if (this.picture === before) return this;
    }
    throw new Error('what is held comes to no rest');
  }

  /** What it holds, in no order that it came in. */
  get picture(): string {
    return [...this.held.keys()].sort().join();
  }

  #take(record: LedgerRecord): void {
    if (this.held.has(record.digest) || this.authority.admission(record) !== 'yes') return;
    const surplus = this.authority.surplus(record);
    if (surplus.includes(record)) return;
    this.held.set(record.digest, record);
    this.authority.add(record);
    for (const dropped of surplus) this.#drop(dropped);
  }

  #drop(record: LedgerRecord): void {
    if (!this.held.delete(record.digest)) return;
    for (const grant of this.authority.remove(record))
      if (this.held.has(grant.digest))
        for (const surplus of this.authority.surplus(grant)) this.#drop(surplus);
    for (const each of [...this.held.values()])
      if (this.authority.admission(each) !== 'yes') this.#drop(each);
  }
}
