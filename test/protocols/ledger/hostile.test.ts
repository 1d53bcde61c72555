/** What members with bad intent, copied keys and old disks can do to a ledger: little, and the same on every node. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { LEDGER_DEFAULTS, type LedgerEffect } from '../../../protocols/ledger/machine.ts';
import { EPOCH_END, type LedgerRecord, sealRecord, streamId } from '../../../protocols/ledger/record.ts';
import { AHEAD_MAX, UNPROVEN_STREAMS_MAX } from '../../../protocols/ledger/streams.ts';
import { encodeSync, type Range } from '../../../protocols/ledger/sync.ts';
import {
  cluster,
  env,
  exchange,
  introduce,
  NOW,
  rejections,
  type TestNode,
  testSigner,
  write,
} from './fixtures.ts';

const TAG = { digest: `sha256:${'1'.repeat(64)}` };

function forged(record: LedgerRecord, changes: Partial<LedgerRecord>, signer: Signer): LedgerRecord {
  return sealRecord({ ...record, author: signer.id, ...changes }, record.body, signer, nodeCrypto);
}

function claimRanges({ machine }: TestNode, ranges: readonly Range[]): LedgerEffect[] {
  const body = encodeSync({ kind: 'records', ranges, envelopes: [] });
  return machine.handle({ kind: 'message', from: testSigner(9).id, body }, env());
}

/** Anti-entropy that each of the two begins in turn, as their timers do. */
function exchangeBothWays(a: TestNode, b: TestNode): void {
  for (let round = 0; round < 3; round += 1) {
    exchange(a, b);
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      let effects = from.machine.handle({ kind: 'timer', token: 'exchange' }, env());
      let [sender, receiver] = [from, to];
      for (let hop = 0; hop < 8; hop += 1) {
        const bodies = effects.flatMap((effect) => (effect.kind === 'send' ? [effect.body] : []));
        effects = bodies.flatMap((body) =>
          receiver.machine.handle({ kind: 'message', from: sender.signer.id, body }, env()),
        );
        [sender, receiver] = [receiver, sender];
      }
    }
  }
}

t.test('a kind that is named like a part of every object is a kind like any other', async (t) => {
  const [a, b] = cluster(2);
  const record = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
  for (const [at, kind] of ['constructor', '__proto__', 'toString'].entries()) {
    const odd = forged(record, { kind, seq: 9 + at }, a!.signer);
    t.same(rejections(introduce(b!.machine, [odd])), [], kind);
  }
});

t.test('a peer that claims numbers which nobody wrote makes no later write disappear', async (t) => {
  const [a, b] = cluster(2);
  const { id } = a!.signer;
  claimRanges(b!, [{ author: id, epoch: 0, from: 0, to: Number.MAX_SAFE_INTEGER }]);
  const record = write(a!.machine, id, 'tag', 'app:1', TAG);
  t.same(rejections(introduce(b!.machine, [record])), []);
  t.same(b!.machine.ledger.get('tag', 'app:1')?.body, TAG);
});

t.test('a peer that claims numbers of our own costs one epoch, and we can still write', async (t) => {
  const [a, b] = cluster(2);
  const { id } = a!.signer;
  claimRanges(a!, [
    { author: id, epoch: EPOCH_END - 1, from: 0, to: 5 },
    { author: id, epoch: 0, from: 0, to: Number.MAX_SAFE_INTEGER },
  ]);
  const record = write(a!.machine, id, 'tag', 'app:1', TAG);
  t.same([record.epoch, record.seq], [1, 1]);
  t.same(rejections(introduce(b!.machine, [record])), []);
});

t.test('streams that are known by a claim alone are capped, and none is of a stranger', async (t) => {
  const [a, b] = cluster(2);
  const before = b!.machine.ledger.seen.size;
  const claim = (author: string, epoch: number) => ({ author, epoch, from: 0, to: 5 });
  claimRanges(
    b!,
    Array.from({ length: 50 }, (_, number) => claim(testSigner(2000 + number).id, 0)),
  );
  t.equal(b!.machine.ledger.seen.size, before);
  claimRanges(
    b!,
    Array.from({ length: UNPROVEN_STREAMS_MAX + 20 }, (_, number) => claim(a!.signer.id, 7 + number)),
  );
  t.equal(b!.machine.ledger.seen.size, before + UNPROVEN_STREAMS_MAX);
});

t.test('a copied key: whatever came first, all nodes end with the same records', async (t) => {
  for (const twinKey of ['app:1', 'app:2']) {
    for (let salt = 0; salt < 4; salt += 1) {
      const [a, b, c] = cluster(3);
      const one = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
      const twin = forged(one, { key: twinKey, hlc: { ms: NOW + 10 + salt, n: 0 } }, a!.signer);
      const two = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG, NOW + 20);
      for (const record of [one, two, twin]) introduce(b!.machine, [record]);
      for (const record of [twin, two, one]) introduce(c!.machine, [record]);
      exchangeBothWays(b!, c!);
      t.equal(b!.machine.ledger.hash, c!.machine.ledger.hash);
    }
  }
});

t.test('an old disk that writes over what it never saw: all nodes end with the same records', async (t) => {
  const [a, b, c] = cluster(3);
  const theirs = write(b!.machine, b!.signer.id, 'tag', 'app:1', TAG);
  introduce(a!.machine, [theirs]);
  const lost = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG, NOW + 5);
  const again = forged(lost, { epoch: 1, seq: 1, hlc: { ms: NOW + 9, n: 0 }, context: [] }, a!.signer);
  for (const record of [lost, again]) introduce(b!.machine, [record]);
  for (const record of [again, theirs, lost]) introduce(c!.machine, [record]);
  exchangeBothWays(b!, c!);
  t.equal(b!.machine.ledger.hash, c!.machine.ledger.hash);
});

t.test('a number that an old disk gave twice is noticed, and a new epoch taken', async (t) => {
  const [a] = cluster(1);
  const one = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
  const effects = introduce(a!.machine, [forged(one, { key: 'app:9' }, a!.signer)]);
  t.ok(effects.some(({ kind }) => kind === 'epoch'));
  t.equal(write(a!.machine, a!.signer.id, 'tag', 'app:2', TAG).epoch, 1);
});

t.test('nobody can write off what is not written yet', async (t) => {
  const [a, b] = cluster(2);
  const record = write(b!.machine, b!.signer.id, 'tag', 'app:1', TAG);
  const context = [{ author: a!.signer.id, epoch: EPOCH_END - 1, seq: Number.MAX_SAFE_INTEGER }];
  introduce(a!.machine, [forged(record, { seq: 2, hlc: { ms: NOW + 1, n: 0 }, context }, b!.signer)]);
  const written = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG, NOW + 2);
  t.equal(a!.machine.ledger.byDigest(written.digest), written);
});

t.test('the highest generation and counter leave a key writable', async (t) => {
  const [a, b] = cluster(2);
  const record = write(b!.machine, b!.signer.id, 'tag', 'app:1', TAG);
  const highest = forged(
    record,
    { seq: 2, generation: Number.MAX_SAFE_INTEGER, hlc: { ms: NOW + 1, n: Number.MAX_SAFE_INTEGER } },
    b!.signer,
  );
  for (const { machine } of [a!, b!]) introduce(machine, [highest]);
  const written = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG, NOW + 2);
  t.same(rejections(introduce(b!.machine, [written])), []);
  t.equal(b!.machine.ledger.get('tag', 'app:1')?.digest, written.digest);
});

t.test('a write that others could not read is refused, and nothing is changed', async (t) => {
  const [a] = cluster(1);
  const before = a!.machine.ledger.hash;
  t.throws(() => write(a!.machine, a!.signer.id, 'tag', 'x'.repeat(513), TAG), { code: 'E_MALFORMED' });
  t.equal(a!.machine.ledger.hash, before);
});

t.test('records of unknown authors are capped in bytes', async (t) => {
  const [a, b] = cluster(2);
  const stranger = testSigner(77);
  const large = write(a!.machine, a!.signer.id, 'unheard-of', 'key', { text: 'x'.repeat(100_000) });
  const count = Math.ceil(LEDGER_DEFAULTS.pending_bytes_max / 100_000) + 20;
  const flood = Array.from({ length: count }, (_, seq) => forged(large, { seq: seq + 1 }, stranger));
  for (const record of flood) introduce(b!.machine, [record]);
  const grant = b!.machine.ledger.ofKind('grant').next().value![1][0]!;
  const effects = introduce(b!.machine, [grant, grant, grant]);
  t.same(rejections(effects), [], 'a known grant wakes nothing that waits');
  t.ok(b!.machine.pending.bytes <= LEDGER_DEFAULTS.pending_bytes_max);
  t.ok(b!.machine.pending.records < count);
});

t.test('a stream whose beginning was replaced is adopted whole, however many records follow', async (t) => {
  const [a, b] = cluster(2);
  const { id } = a!.signer;
  for (let at = 0; at < 2; at += 1) write(a!.machine, id, 'tag', 'again', TAG, NOW + at);
  for (let at = 0; at < AHEAD_MAX + 200; at += 1) write(a!.machine, id, 'tag', `app:${at}`, TAG, NOW + 9);
  const [first] = a!.machine.ledger.range(streamId(id, 0), 0, 2);
  t.equal(first?.seq, 2);
  const records = [...a!.machine.ledger.range(streamId(id, 0), 0, AHEAD_MAX + 202)];
  const body = encodeSync({
    kind: 'records',
    ranges: [{ author: id, epoch: 0, from: 0, to: AHEAD_MAX + 202 }],
    envelopes: records.map(({ bytes }) => bytes),
  });
  b!.machine.handle({ kind: 'message', from: id, body }, env());
  t.equal(b!.machine.ledger.seen.high(streamId(id, 0)), AHEAD_MAX + 202);
});
