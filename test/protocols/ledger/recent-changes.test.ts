/** What the hash was a moment ago, and that nodes do not repair what is only on its way. */
import t from 'tap';
import { type GrantBody, recordKey } from '../../../protocols/base/records.ts';
import type { LedgerEffect } from '../../../protocols/ledger/effects.ts';
import { Ledger } from '../../../protocols/ledger/ledger.ts';
import { LEDGER_DEFAULTS } from '../../../protocols/ledger/machine.ts';
import { CHANGES_MAX, RecentChanges } from '../../../protocols/ledger/recent-changes.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { decodeSync, encodeSync, type SyncMessage } from '../../../protocols/ledger/sync.ts';
import {
  cluster,
  env,
  exchange,
  introduce,
  memberGrant,
  NOW,
  operator,
  TAG,
  type TestNode,
  testSigner,
  write,
} from './fixtures.ts';

const { settle_ms, exchange_ms } = LEDGER_DEFAULTS;
/** What the fixture wrote has settled by then. */
const LATER = NOW + 60_000;

/** Ten keys, each written again and again, one write each 100 ms. */
function writes(count: number): LedgerRecord[] {
  const [a] = cluster(1);
  return Array.from({ length: count }, (_, at) =>
    write(a!.machine, a!.signer.id, 'tag', `app:${at % 10}`, TAG, NOW + at * 100),
  );
}

function hashAt(recent: RecentChanges, ledger: Ledger, ms: number) {
  return recent.hashAt(ms, ledger.places.summary('').words);
}

t.test('the hash of every moment of the last seconds is known, whatever was replaced since', async (t) => {
  const ledger = new Ledger();
  const recent = new RecentChanges(NOW - 1);
  const hashes = writes(60).map((record) => {
    const removed = ledger.merge(record);
    recent.add([record], removed, record.hlc.ms);
    return [record.hlc.ms, ledger.hash] as const;
  });
  for (const [ms, hash] of hashes) {
    t.equal(hashAt(recent, ledger, ms), hash);
    t.equal(hashAt(recent, ledger, ms + 50), hash);
  }
  t.notOk(recent.hasAfter(NOW + 6000));
  t.ok(recent.hasAfter(NOW + 5000));
});

t.test('of what was before, or with too many changes at once, nothing is said', async (t) => {
  const ledger = new Ledger();
  const recent = new RecentChanges(NOW - 1);
  t.equal(hashAt(recent, ledger, NOW - 2), undefined);
  const [first, ...rest] = writes(200);
  for (const record of [first!, ...rest]) recent.add([record], ledger.merge(record), record.hlc.ms);
  t.equal(hashAt(recent, ledger, NOW + 100), undefined);
  t.equal(hashAt(recent, ledger, NOW + 30_000), ledger.hash);
  recent.add(Array<LedgerRecord>(CHANGES_MAX + 1).fill(rest.at(-1)!), [], NOW + 20_000);
  t.equal(hashAt(recent, ledger, NOW + 15_000), undefined);
});

t.test('what goes without another in its place is not taken for part of what came', async (t) => {
  const [record] = writes(1);
  const words = [1, 2, 3, 4] as const;
  const hashWith = (removed: readonly LedgerRecord[]) => {
    const recent = new RecentChanges(NOW - 1);
    recent.add([record!], removed, NOW);
    return recent.hashAt(NOW - 1, words);
  };
  t.not(
    hashWith([{ ...record!, words: [9, 9, 9, 9] }]),
    hashWith([]),
    'one of its kind and key was replaced',
  );
  t.equal(hashWith([{ ...record!, kind: 'image', words: [9, 9, 9, 9] }]), hashWith([]), 'another kind');
  t.equal(hashWith([{ ...record!, key: 'other:1', words: [9, 9, 9, 9] }]), hashWith([]), 'another key');
});

t.test(
  'the words of a record are made when they are asked for; a large one is not kept for them',
  async (t) => {
    const [record] = writes(1) as [LedgerRecord];
    const asked: number[] = [];
    const sized = (payload_bytes: number) =>
      new Proxy(record, {
        get(of, field) {
          if (field === 'payload_bytes') return payload_bytes;
          if (field === 'words') asked.push(payload_bytes);
          return Reflect.get(of, field, of);
        },
      });
    const recent = new RecentChanges(NOW - 1);
    recent.add([sized(300)], [], NOW);
    recent.add([sized(30_000)], [], NOW);
    t.strictSame(asked, [30_000]);
    t.equal(recent.hashAt(NOW - 1, [0, 0, 0, 0]), '0'.repeat(32), 'one undoes the other');
    t.strictSame(asked, [30_000, 300]);
  },
);

t.test('what is further ahead than is asked for is left in', async (t) => {
  const ledger = new Ledger();
  const recent = new RecentChanges(NOW - 1);
  const [settled, way, far] = writes(3) as [LedgerRecord, LedgerRecord, LedgerRecord];
  const without = new Ledger();
  for (const record of [settled, way, far]) recent.add([record], ledger.merge(record), NOW);
  for (const record of [settled, far]) without.merge(record);
  const { words } = ledger.places.summary('');
  t.equal(recent.hashAt(settled.hlc.ms, words, way.hlc.ms), without.hash);
  t.equal(recent.hashAt(settled.hlc.ms, words, settled.hlc.ms), ledger.hash);
});

/** Nodes that have been connected for long. */
function acquainted(): [TestNode, TestNode] {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  a.machine.handle({ kind: 'connected', peer: b.signer.id }, env(NOW));
  b.machine.handle({ kind: 'connected', peer: a.signer.id }, env(NOW));
  return [a, b];
}

function sent(effects: readonly LedgerEffect[]): SyncMessage[] {
  return effects.flatMap((effect) => (effect.kind === 'send' ? [decodeSync(effect.body)] : []));
}

/** The hello that `from` sends at its next exchange. */
function hello(from: TestNode, now: number): SyncMessage {
  for (let number = 0; number < 100; number += 1) {
    const effects = from.machine.handle({ kind: 'timer', token: `exchange/${number}` }, env(now));
    const [message] = sent(effects);
    if (message !== undefined) return message;
  }
  throw new Error('no exchange was due');
}

function answer(to: TestNode, from: TestNode, message: SyncMessage, now: number): string[] {
  const body = encodeSync(message);
  return sent(to.machine.handle({ kind: 'message', from: from.signer.id, body }, env(now))).map(
    ({ kind }) => kind,
  );
}

t.test('what one side has just written is on its way, and no reason to compare', async (t) => {
  for (const isTheirs of [true, false]) {
    const [a, b] = acquainted();
    const writer = isTheirs ? a : b;
    a.machine.handle({ kind: 'start' }, env(NOW));
    write(writer.machine, writer.signer.id, 'tag', 'app:1', TAG, LATER);
    t.same(answer(b, a, hello(a, LATER + 500), LATER + 500), []);
    a.machine.handle({ kind: 'start' }, env(LATER));
    const late = LATER + settle_ms + 500;
    t.same(answer(b, a, hello(a, late), late), ['compare'], 'by now it should have come');
  }
});

t.test('nor is what had to go for it', async (t) => {
  for (const isWriters of [true, false]) {
    const [writer, other] = acquainted();
    const host = testSigner(7).id;
    const grant = (changes: Partial<GrantBody>, now: number) =>
      write(
        writer.machine,
        operator.id,
        'grant',
        recordKey.grant(host, operator.id),
        memberGrant(host, changes),
        now,
      );
    const original = grant({ notAfter_ms: NOW + 90_000 }, NOW);
    const renews = original.digest;
    const first = grant({ notAfter_ms: NOW + 91_000, renews }, NOW + 1000);
    introduce(other.machine, [original, first], NOW + 1000);
    for (const { machine } of [writer, other]) machine.handle({ kind: 'start' }, env(NOW));
    grant({ notAfter_ms: LATER + 90_000, renews }, LATER);
    t.notOk(writer.machine.ledger.has(first));
    const [from, to] = isWriters ? [writer, other] : [other, writer];
    t.same(answer(to, from, hello(from, LATER + 500), LATER + 500), []);
  }
});

t.test('the hash of every moment is known also where an earlier record pushed out a later one', async (t) => {
  const ledger = new Ledger();
  const recent = new RecentChanges(NOW - 1);
  const [early, late] = writes(2) as [LedgerRecord, LedgerRecord];
  recent.add([late], ledger.merge(late), NOW + 100);
  ledger.remove(late);
  recent.add([early], ledger.merge(early), NOW + 200, [late]);
  const { hash } = ledger;
  for (const ms of [NOW, NOW + 50, NOW + 100]) t.equal(hashAt(recent, ledger, ms), hash);
  t.equal(hashAt(recent, ledger, NOW - 1), new Ledger().hash);
});

t.test('peers that have just met compare what was just written: nothing is on its way', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  write(a.machine, a.signer.id, 'tag', 'app:1', TAG, LATER);
  exchange(a, b, LATER + 1);
  t.equal(a.machine.ledger.hash, b.machine.ledger.hash);
});

t.test('a peer that says nothing of moments is compared with what settled here', async (t) => {
  const [a, b] = acquainted();
  const { hash, size } = a.machine.ledger;
  const old: SyncMessage = { kind: 'hello', hash, records: size, horizon_ms: 0 };
  write(b.machine, b.signer.id, 'tag', 'app:1', TAG, LATER);
  t.same(answer(b, a, old, LATER + 500), []);
  t.same(answer(b, a, old, LATER + exchange_ms), ['compare']);
});
