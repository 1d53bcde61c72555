/**
 * Records that go and come again, as peers bring them that still hold them: whatever goes and comes, memory, disk and what
 * is told of it are of one mind, by key and by author.
 */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { type GrantBody, type RevokeBody, type Role, recordKey } from '../../../protocols/base/records.ts';
import type { LedgerEffect } from '../../../protocols/ledger/effects.ts';
import { LedgerMachine, sealGenesis } from '../../../protocols/ledger/machine.ts';
import { type LedgerRecord, openRecord, sealRecord } from '../../../protocols/ledger/record.ts';
import type { ContextEntry } from '../../../protocols/ledger/record-reader.ts';
import { encodeSync } from '../../../protocols/ledger/sync.ts';
import { readGrant, renewalGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import fc from '../../laws.ts';
import { env, memberGrant, NOW, sealedAct, TAG, testSigner } from './fixtures.ts';

const SELF = testSigner(1);
const PEER = testSigner(2);
const FOUNDERS = [10, 11].map(testSigner);
/** Of whom the last is let in by what the others write, if at all. */
const AUTHORS = [...FOUNDERS, ...[20, 21, 22].map(testSigner)];
const ADMITTER = {
  roles: ['member', 'worker', 'deployer', 'admitter'] as Role[],
  admits: ['member', 'worker', 'deployer', 'admitter', 'admit'] as Role[],
};
const genesis = sealGenesis(
  { name: 'test', operators: FOUNDERS.map(({ id }) => id), range: '10.210.0.0/16', nonce: '00'.repeat(16) },
  FOUNDERS[0]!,
  nodeCrypto,
  NOW,
);
const MEMBERS = [SELF, AUTHORS[2]!, AUTHORS[3]!].map(({ id }, at) =>
  sealedAct(genesis.digest, FOUNDERS[at % 2]!, 'grant', memberGrant(id), { seq: 2 + at, ms: NOW }),
);

const write = fc.record({
  what: fc.oneof(
    { weight: 5, arbitrary: fc.constant('own') },
    { weight: 7, arbitrary: fc.constantFrom('tag', 'tag', 'ack', 'grant', 'grant', 'renewal', 'revoke') },
  ),
  /** One of them writes the most. */
  author: fc.constantFrom(2, 2, 2, ...AUTHORS.keys()),
  subject: fc.nat(AUTHORS.length - 1),
  key: fc.nat(3),
  ms: fc.nat(40),
  epoch: fc.nat(12),
  /** What it has seen or keeps of what was written before, by bits; its grant; whether it deletes. */
  bits: fc.nat(0xffff),
});
type Write = typeof write extends fc.Arbitrary<infer W> ? W : never;

function bitsOf<Item>(items: readonly Item[], bits: number): Item[] {
  return items.filter((_, at) => ((bits >> (at % 16)) & 1) === 1);
}

/** Where there is nothing to renew, or to issue a grant by, nothing is written. */
function recordsOf(writes: readonly Write[]): LedgerRecord[] {
  const records: LedgerRecord[] = [];
  for (const [at, { what, author: number, subject: other, key, ms, epoch, bits }] of writes.entries()) {
    const author = AUTHORS[number]!;
    const subject = AUTHORS[other]!.id;
    const grants = records.filter(({ kind }) => kind === 'grant').map((record) => readGrant(record)!);
    const above = grants.filter(({ body }) => body.subject === author.id && body.renews === undefined);
    const parent = FOUNDERS.includes(author) ? null : above[bits % (above.length || 1)]?.record.digest;
    const add = (kind: string, name: string, body: unknown, context: ContextEntry[] = [], life = 0) => {
      const header = { cluster: genesis.digest, author: author.id, epoch: life, seq: 10 + at, generation: 1 };
      const stamped = { ...header, hlc: { ms: NOW + ms, n: 0 }, kind, key: name, context };
      records.push(sealRecord(stamped, body, author, nodeCrypto));
    };
    const addGrant = (body: GrantBody) => add('grant', recordKey.grant(body.subject, author.id), body);
    if (what === 'own') add('thing', `${author.id}/${key}`, bits % 4 === 0 ? null : bits);
    else if (what === 'tag') {
      const before = bitsOf(records, bits).filter(
        ({ kind, key: name }) => kind === 'tag' && name === `k:${key}`,
      );
      const seen = Map.groupBy(before, (record) => record.author);
      add(
        'tag',
        `k:${key}`,
        bits % 4 === 0 ? null : TAG,
        [...seen.values()].map((of) => of.at(-1)!),
      );
    } else if (what === 'ack') {
      const body = { upTo_ms: ms, hash: '0'.repeat(32), collected_ms: 0, isInDoubt: false, before: [] };
      add('ack', author.id, body, [], epoch);
    } else if (what === 'revoke') {
      const keeps = bitsOf(grants, bits).filter(({ record }) => record.author === subject);
      const body: RevokeBody = revokeBody({
        subject,
        reason: '',
        keeps: keeps.map(({ record }) => record.digest),
      });
      add('revoke', recordKey.revoke(subject, author.id), body);
    } else if (what === 'grant' && parent !== undefined) {
      const notAfter_ms = bits % 2 === 0 ? null : NOW + ms + 1 + (bits % 20);
      const uses = bits % 3 === 0 ? bits % 2 : null;
      addGrant(memberGrant(subject, { ...ADMITTER, parent, notAfter_ms, uses }));
    } else if (what === 'renewal' && parent !== undefined) {
      const mortal = grants.filter(({ body }) => body.notAfter_ms !== null && body.renews === undefined);
      const original = mortal[bits % (mortal.length || 1)];
      if (original === undefined) continue;
      const life_ms = original.body.notAfter_ms! - original.record.hlc.ms;
      addGrant(renewalGrant(original, parent, NOW + ms + Math.min(life_ms, 1 + (bits % 20))));
    }
  }
  return records;
}

function named(records: Iterable<LedgerRecord>): string {
  return Array.from(records, ({ digest }) => digest)
    .sort()
    .join();
}

/** A node, what its disk holds, and what those know who heed what is told of changes. */
class Held {
  readonly #config: { readonly author_records_max: number };
  readonly machine: LedgerMachine;
  readonly disk = new Map<string, LedgerRecord>();
  readonly told = new Map<string, string>();
  evicted_count = 0;
  again_count = 0;
  readonly #went = new Set<string>();

  constructor(author_records_max: number) {
    this.#config = { author_records_max };
    this.machine = this.#open([]);
    this.machine.handle({ kind: 'connected', peer: PEER.id }, env(NOW + 100));
  }

  #open(records: readonly LedgerRecord[]): LedgerMachine {
    const stored = { records, streams: [] };
    return new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [SELF], config: this.#config, stored });
  }

  take(records: readonly LedgerRecord[]): void {
    const envelopes = records.map(({ bytes }) => bytes);
    const body = encodeSync({ kind: 'records', envelopes, last: false, more: true });
    this.#heed(this.machine.handle({ kind: 'message', from: PEER.id, body }, env(NOW + 100)));
  }

  introduce(records: readonly LedgerRecord[]): void {
    const envelopes = records.map(({ bytes }) => bytes);
    this.#heed(this.machine.handle({ kind: 'introduce', envelopes }, env(NOW + 100)));
  }

  #heed(effects: readonly LedgerEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'persist') {
        for (const record of effect.put) {
          if (this.disk.has(record.digest)) throw new Error('what is on the disk was put there');
          this.disk.set(record.digest, record);
          if (this.#went.has(record.digest)) this.again_count += 1;
        }
        for (const { digest } of effect.remove) {
          if (!this.disk.delete(digest)) throw new Error('what is not on the disk was removed');
          this.#went.add(digest);
        }
        this.evicted_count += effect.evicted_count ?? 0;
      }
      if (effect.kind !== 'changed') continue;
      for (const { kind, key } of effect.records)
        this.told.set(`${kind}/${key}`, named(this.machine.ledger.siblings(kind, key)));
    }
  }

  /** @returns what is not as it should be. */
  fault(): string | undefined {
    const { ledger } = this.machine;
    const live = new Set(ledger.records());
    const byAuthor = [SELF, ...AUTHORS].flatMap(({ id }) => [...ledger.recordsOf(id)]);
    if (live.symmetricDifference(new Set(byAuthor)).size > 0) return 'by key and by author';
    live.delete([...live].find(({ kind }) => kind === 'genesis')!);
    if (named(live) !== named(this.disk.values())) return 'memory and disk';
    const byKey = Map.groupBy(live, ({ kind, key }) => `${kind}/${key}`);
    for (const name of new Set([...byKey.keys(), ...this.told.keys()]))
      if ((this.told.get(name) ?? '') !== named(byKey.get(name) ?? [])) return `what was told of ${name}`;
    return undefined;
  }

  /** As the next life has it. */
  restarted(): LedgerMachine {
    const stored = [...this.disk.values()].toReversed();
    return this.#open(stored.map(({ bytes }) => openRecord(bytes, nodeCrypto)));
  }
}

t.test('what goes and comes again leaves memory and disk the same, by key as by author', async (t) => {
  let [evicted, again] = [0, 0];
  const batches = fc.array(fc.array(fc.nat(59), { minLength: 1, maxLength: 4 }), {
    minLength: 60,
    maxLength: 120,
    size: 'max',
  });
  fc.assert(
    fc.property(
      fc.array(write, { minLength: 40, maxLength: 60, size: 'max' }),
      batches,
      fc.integer({ min: 2, max: 5 }),
      (writes, batches, records_max) => {
        const records = recordsOf(writes);
        const held = new Held(records_max);
        held.introduce(MEMBERS);
        for (const batch of batches) {
          held.take(batch.map((number) => records[number % records.length]!));
          const fault = held.fault();
          if (fault !== undefined) throw new Error(fault);
        }
        evicted += held.evicted_count;
        again += held.again_count;
        return held.restarted().ledger.hash === held.machine.ledger.hash;
      },
    ),
    { numRuns: 100, endOnFailure: true },
  );
  t.ok(evicted > 100 && again > 100, `${evicted} were one too many, ${again} came again`);
});
