/** Tombstones go when all have acknowledged them, and what was deleted never comes back. */
import t, { type Test } from 'tap';
import { recordKey } from '../../../protocols/base/records.ts';
import { Collected } from '../../../protocols/ledger/collected.ts';
import { ackOf, collectable, following, roundOf } from '../../../protocols/ledger/collection.ts';
import { HORIZON_UNKNOWN } from '../../../protocols/ledger/horizon.ts';
import { LEDGER_DEFAULTS } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord, StreamId } from '../../../protocols/ledger/record.ts';
import fc from '../../laws.ts';
import {
  acksOf,
  cluster,
  collect,
  everybody,
  exchange,
  forged,
  introduce,
  memberGrant,
  NOW,
  newMachine,
  operator,
  rejections,
  round,
  settled,
  TAG,
  type TestNode,
  write,
} from './fixtures.ts';
import { digestsOf, StandingWrites } from './standing-writes.ts';

const HOUR_MS = 3_600_000;
const { tombstone_ms } = LEDGER_DEFAULTS;

t.test('a tombstone is collected once all members hold it, and not before', async (t) => {
  const nodes = settled(3);
  const [a, b, c] = nodes;
  write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
  everybody(nodes);
  write(a!.machine, a!.signer.id, 'tag', 'app:1', null, NOW + 1);
  exchange(a!, b!);
  const later = NOW + 2 * tombstone_ms;
  for (const node of [a!, b!]) collect(node, later);
  exchange(a!, b!, later);
  for (const node of [a!, b!]) collect(node, later);
  t.equal(a!.machine.ledger.tombstones_count, 1, 'one member has not been heard');
  t.same(a!.machine.unacknowledged(later), [c!.signer.id]);
  everybody(nodes, later);
  round(nodes, later);
  round(nodes, later);
  for (const { machine } of nodes) t.equal(machine.ledger.tombstones_count, 0);
  everybody(nodes, later);
  t.equal(a!.machine.ledger.hash, c!.machine.ledger.hash);
  t.ok(a!.machine.horizon_ms > NOW);
});

t.test('a young tombstone stays', async (t) => {
  const nodes = settled(2);
  write(nodes[0]!.machine, nodes[0]!.signer.id, 'tag', 'app:1', null);
  everybody(nodes);
  for (let turn = 0; turn < 3; turn += 1) round(nodes, NOW + tombstone_ms / 2);
  t.equal(nodes[0]!.machine.ledger.tombstones_count, 1);
});

t.test('when nothing was deleted nothing is acknowledged', async (t) => {
  const nodes = settled(2);
  const effects = collect(nodes[0]!, NOW + 10 * tombstone_ms);
  t.same(
    effects.map(({ kind }) => kind),
    ['schedule'],
  );
});

t.test('a record from before the horizon that nobody holds is stale, and a new one is not', async (t) => {
  const nodes = settled(2);
  const [a, b] = nodes;
  const record = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
  everybody(nodes);
  write(b!.machine, b!.signer.id, 'tag', 'app:1', null, NOW + 1);
  everybody(nodes);
  const later = NOW + 2 * tombstone_ms;
  for (let turn = 0; turn < 3; turn += 1) round(nodes, later);
  t.equal(a!.machine.ledger.siblings('tag', 'app:1').length, 0);
  t.same(rejections(introduce(a!.machine, [record], later)), ['stale']);
  write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG, later);
  everybody(nodes, later);
  t.same(b!.machine.ledger.get('tag', 'app:1')?.body, TAG);
});

t.test('a disk from before the horizon brings nothing back, and is made whole', async (t) => {
  const nodes = settled(2);
  const [a, b] = nodes;
  write(a!.machine, a!.signer.id, 'tag', 'gone:1', TAG);
  write(a!.machine, a!.signer.id, 'tag', 'kept:1', TAG);
  everybody(nodes);
  const snapshot = [...b!.machine.ledger.records()];
  const streams: [StreamId, number][] = [[`${b!.signer.id}/0`, 1]];
  write(a!.machine, a!.signer.id, 'tag', 'gone:1', null, NOW + 1);
  everybody(nodes);
  const later = NOW + 2 * tombstone_ms;
  for (let turn = 0; turn < 3; turn += 1) round(nodes, later);
  const machine = newMachine({ signers: [b!.signer], stored: { records: snapshot, streams } });
  const restored: TestNode = { signer: b!.signer, machine };
  t.equal(restored.machine.ledger.siblings('tag', 'gone:1').length, 1, 'the old disk still has it');
  for (let turn = 0; turn < 3; turn += 1) round([a!, restored], later + turn * HOUR_MS);
  t.equal(a!.machine.ledger.siblings('tag', 'gone:1').length, 0, 'nothing came back');
  t.equal(restored.machine.ledger.siblings('tag', 'gone:1').length, 0, 'and the old disk let it go');
  t.same(restored.machine.ledger.get('tag', 'kept:1')?.body, TAG);
  t.equal(a!.machine.ledger.hash, restored.machine.ledger.hash);
});

t.test('a lost disk is filled again, from before the horizon too', async (t) => {
  const nodes = settled(2);
  const [a, b] = nodes;
  write(a!.machine, a!.signer.id, 'tag', 'kept:1', TAG);
  write(a!.machine, a!.signer.id, 'tag', 'gone:1', null);
  everybody(nodes);
  const later = NOW + 2 * tombstone_ms;
  for (let turn = 0; turn < 3; turn += 1) round(nodes, later);
  const machine = newMachine({ signers: [b!.signer], horizon_ms: HORIZON_UNKNOWN });
  const empty: TestNode = { signer: b!.signer, machine };
  everybody([a!, empty], later);
  t.same(machine.ledger.get('tag', 'kept:1')?.body, TAG);
  t.equal(machine.ledger.hash, a!.machine.ledger.hash);
});

/** What a node does next; deletions, collections and late copies in any order. */
const step = fc.oneof(
  fc.record({ op: fc.constant('write' as const), node: fc.nat(2), key: fc.nat(2), isDeletion: fc.boolean() }),
  fc.record({ op: fc.constant('meet' as const), node: fc.nat(2), other: fc.nat(2) }),
  fc.record({ op: fc.constant('collect' as const), node: fc.nat(2) }),
  fc.record({ op: fc.constant('wait' as const), hours: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ op: fc.constant('replay' as const), node: fc.nat(2), record: fc.nat(20) }),
);

t.test('collection never resurrects, and all end alike', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) => {
      const nodes = settled(3);
      const written: LedgerRecord[] = [];
      const standing = new StandingWrites();
      let now = NOW;
      for (const each of steps) {
        now += 1;
        if (each.op === 'wait') now += each.hours * HOUR_MS;
        if (each.op === 'collect') collect(nodes[each.node]!, now);
        if (each.op === 'meet' && each.node !== each.other)
          exchange(nodes[each.node]!, nodes[each.other]!, now);
        if (each.op === 'replay' && written[each.record] !== undefined)
          introduce(nodes[each.node]!.machine, [written[each.record]!], now);
        if (each.op === 'write') {
          const { machine, signer } = nodes[each.node]!;
          const key = `app:${each.key}`;
          const seen = machine.ledger.siblings('tag', key);
          const record = write(machine, signer.id, 'tag', key, each.isDeletion ? null : TAG, now);
          written.push(record);
          standing.add(record, seen);
        }
      }
      everybody(nodes, now);
      const [first] = nodes;
      for (let turn = 0; turn < 4; turn += 1) {
        now += 2 * HOUR_MS;
        round(nodes, now);
        // Without the deletions, which would undo it at once.
        const late = written.filter(({ isTombstone }) => !isTombstone);
        for (const { machine } of nodes) introduce(machine, late, now);
      }
      everybody(nodes, now);
      return nodes.every(
        ({ machine }) =>
          machine.ledger.hash === first!.machine.ledger.hash &&
          ['app:0', 'app:1', 'app:2'].every(
            (key) => digestsOf(machine.ledger.siblings('tag', key)).join() === standing.of(key).join(),
          ),
      );
    }),
    { numRuns: 80 },
  );
  t.pass();
});

t.test('what was acknowledged stays said until it is collected', async (t) => {
  const rounds = [1000, 2000, 2000, 3000].map((upTo_ms, at) => ({ upTo_ms, hash: `${at}`.repeat(32) }));
  const horizon = (ms: number) => ({ ms, isInDoubt: false });
  let ack: Parameters<typeof following>[0];
  for (const round of rounds) {
    const { before, collected_ms, upTo_ms, hash } = following(ack, round, horizon(0));
    ack = { rounds: [...before, { upTo_ms, hash }], collected_ms };
  }
  t.same(ack?.rounds, rounds, 'also the same round with another hash');
  const next = { upTo_ms: 4000, hash: '4'.repeat(32) };
  t.match(following(ack, next, horizon(2000)), { ...next, collected_ms: 2000, before: rounds.slice(1) });
  const again = following({ ...ack!, collected_ms: 2000 }, next, horizon(0));
  t.equal(again.collected_ms, 2000, 'a horizon that is not known is not unsaid');
});

/** Everything that `from` holds of some kinds, handed to `to` with nothing said in return. */
function tell(from: TestNode, to: TestNode, now: number, accept: (record: LedgerRecord) => boolean): void {
  introduce(to.machine, [...from.machine.ledger.records()].filter(accept), now);
}

const isAck = ({ kind }: LedgerRecord) => kind === 'ack';

/** All acknowledge what they hold, and one of them alone hears that of all, and collects. */
function collectFirst(first: TestNode, nodes: readonly TestNode[], now: number): void {
  for (const node of nodes) collect(node, now);
  for (const from of nodes) tell(from, first, now, isAck);
  collect(first, now);
}

/** Three who hold two tombstones, and have acknowledged them; `ahead` have heard that of all. */
function acknowledgedBy(ahead: readonly number[]): { nodes: TestNode[]; later: number } {
  const nodes = settled(3);
  for (const tag of ['gone:1', 'again:1'])
    write(nodes[0]!.machine, nodes[0]!.signer.id, 'tag', tag, null, NOW + 1);
  everybody(nodes, NOW + 1);
  const later = NOW + 2 * tombstone_ms;
  for (const node of nodes) collect(node, later);
  for (const at of ahead) {
    for (const from of nodes) tell(from, nodes[at]!, later, isAck);
    collect(nodes[at]!, later);
    if (nodes[at]!.machine.horizon_ms === 0) throw new Error('it has not collected');
  }
  return { nodes, later };
}

function assertWhole(t: Test, nodes: readonly TestNode[], from: number): void {
  for (let turn = 1; turn <= 6; turn += 1) round(nodes, from + turn * HOUR_MS);
  t.equal(new Set(nodes.map(({ machine }) => machine.ledger.hash)).size, 1, 'all hold one ledger');
  t.equal(new Set(nodes.map(({ machine }) => machine.horizon_ms)).size, 1, 'and have collected as far');
  for (const { machine } of nodes) t.equal(machine.ledger.siblings('tag', 'gone:1').length, 0);
}

t.test('what is written anew while some have collected leaves nobody behind', async (t) => {
  const { nodes, later } = acknowledgedBy([1]);
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
  const again = write(c.machine, c.signer.id, 'tag', 'again:1', TAG, later);
  introduce(a.machine, [again], later);
  // Another hash of the same round: what it said before is what the others have acted on.
  collect(a, later);
  everybody([a, b, c], later);
  assertWhole(t, nodes, later);
});

/** The node after a restart: it remembers no deletion that it has collected. */
function restarted({ machine, signer }: TestNode): TestNode {
  const records = [...machine.ledger.records()];
  const last = Math.max(...records.filter(({ author }) => author === signer.id).map(({ seq }) => seq));
  const stored = { records, streams: [[`${signer.id}/0`, last]] as [StreamId, number][] };
  const { horizon_ms } = machine;
  return {
    signer,
    machine: newMachine({ signers: [signer], epochs: new Map([[signer.id, 1]]), stored, horizon_ms }),
  };
}

/** Of a later generation than whatever is written by who has not seen it, or no more. */
function deleteTwice({ machine, signer }: TestNode, key: string): LedgerRecord {
  for (const [at, body] of [TAG, TAG].entries()) write(machine, signer.id, 'tag', key, body, NOW + 1 + at);
  return write(machine, signer.id, 'tag', key, null, NOW + 3);
}

for (const [what, ahead_ms, restart] of [
  ['at one time', 0, 'never'],
  ['by a clock that is ahead', 30_000, 'never'],
  ['after a restart', 0, 'before'],
  ['after a restart with what was written anew', 0, 'after'],
] as const)
  t.test(`what is written anew by who has collected counts for all who collect later, ${what}`, async (t) => {
    const nodes = settled(3);
    const [a, , c] = nodes as [TestNode, TestNode, TestNode];
    let [, b] = nodes as [TestNode, TestNode];
    deleteTwice(a, 'gone:1');
    everybody(nodes, NOW + 4);
    const later = NOW + 2 * tombstone_ms;
    for (const node of nodes) collect(node, node === a ? later + ahead_ms : later);
    for (const from of nodes) tell(from, b, later, isAck);
    collect(b, later);
    t.equal(b.machine.ledger.tombstones_count, 0);
    b = restarted(b);
    const again = write(b.machine, b.signer.id, 'tag', 'gone:1', TAG, later + 1);
    let others = [a, c];
    const restartAll = () => {
      // It had said once more what it has said.
      for (const { machine, signer } of others)
        write(machine, signer.id, 'ack', signer.id, machine.ledger.get('ack', signer.id)!.body, later + 2);
      others = others.map(restarted);
    };
    if (restart === 'before') restartAll();
    // It comes before what all have acknowledged.
    for (const { machine } of others) introduce(machine, [again], later + 1);
    if (restart === 'after') restartAll();
    for (const node of others) collect(node, later + 3 + ahead_ms);
    const all = [...others, b];
    for (let turn = 1; turn <= 4; turn += 1) round(all, later + turn * HOUR_MS);
    for (const { machine } of all) {
      t.equal(machine.ledger.get('tag', 'gone:1')?.digest, again.digest);
      t.same(digestsOf(machine.ledger.siblings('tag', 'gone:1')), [again.digest]);
    }
    t.equal(new Set(all.map(({ machine }) => machine.ledger.hash)).size, 1);
  });

for (const isGrantedLater of [false, true]) {
  const what = isGrantedLater ? ', by who may write it only since then' : '';
  t.test(`what is written anew by who has collected shows where the deletion stays${what}`, async (t) => {
    const nodes = settled(3, isGrantedLater ? 1 : 0);
    let [a, c] = nodes as [TestNode, TestNode, TestNode];
    const [operators, , b] = nodes as [TestNode, TestNode, TestNode];
    const gone = [deleteTwice(a, 'gone:1'), deleteTwice(a, 'gone:2')];
    everybody(nodes, NOW + 4);
    const later = NOW + 2 * tombstone_ms;
    collectFirst(b, nodes, later);
    t.equal(b.machine.ledger.tombstones_count, 0);
    const key = recordKey.grant(b.signer.id, operator.id);
    const grant = write(operators.machine, operator.id, 'grant', key, memberGrant(b.signer.id), later);
    for (const { machine } of [b, c]) introduce(machine, [grant], later);
    const again = write(b.machine, b.signer.id, 'tag', 'gone:2', TAG, later + 1);
    t.ok(again.generation > gone[1]!.generation);
    const over = write(c.machine, c.signer.id, 'tag', 'gone:1', TAG, later + 1);
    for (const { machine } of [a, c]) introduce(machine, [over, again], later + 2);
    // One of its round was written over, and they start anew: its hash tells them nothing of the other.
    [a, c] = [restarted(a), restarted(c)];
    const all = [a, b, c];
    for (let turn = 1; turn <= 6; turn += 1) round(all, later + turn * HOUR_MS);
    t.equal(new Set(all.map(({ machine }) => machine.ledger.hash)).size, 1);
    for (const { machine } of all)
      t.same(
        machine.ledger.siblings('tag', 'gone:2').map(({ digest }) => digest),
        [again.digest, gone[1]!.digest],
      );
  });
}

for (const kind of ['alloc', 'made-up']) {
  t.test(`deletions that only their author could make are not remembered, of kind ${kind}`, async (t) => {
    const nodes = settled(3, 1);
    const [a, b, worker] = nodes as [TestNode, TestNode, TestNode];
    const { generation } = deleteTwice(a, 'gone:1');
    everybody(nodes, NOW + 4);
    const later = NOW + 2 * tombstone_ms;
    for (let turn = 0; turn < 3; turn += 1) round(nodes, later);
    const { machine, signer } = worker;
    for (let at = 0; at <= Collected.KEYS_MAX; at += 1)
      write(machine, signer.id, kind, `${signer.id}/${at}`, null, later + 3);
    everybody(nodes, later + 4);
    for (let turn = 1; turn < 4; turn += 1) round(nodes, later + 2 * turn * HOUR_MS);
    t.equal(b.machine.ledger.tombstones_count, 0);
    const again = write(b.machine, b.signer.id, 'tag', 'gone:1', TAG, later + 9 * HOUR_MS);
    t.equal(again.generation, generation + 1);
  });
}

t.test('a worker lets go of a deletion that stays with it alone', async (t) => {
  const nodes = settled(3, 1);
  const [b, d, before] = nodes as [TestNode, TestNode, TestNode];
  for (const key of ['gone:1', 'gone:2']) deleteTwice(d, key);
  everybody(nodes, NOW + 4);
  const later = NOW + 2 * tombstone_ms;
  collectFirst(b, nodes, later);
  const again = write(b.machine, b.signer.id, 'tag', 'gone:2', TAG, later + 1);
  const over = write(d.machine, d.signer.id, 'tag', 'gone:1', TAG, later + 1);
  for (const { machine } of [before, d]) introduce(machine, [over, again], later + 2);
  // One of its round was written over, and it starts anew: the hash tells it nothing of the other.
  const worker = restarted(before);
  const all = [b, d, worker];
  for (let turn = 1; turn <= 4; turn += 1) round(all, later + turn * HOUR_MS);
  t.equal(new Set(all.map(({ machine }) => machine.ledger.hash)).size, 1);
  t.same(
    worker.machine.ledger.siblings('tag', 'gone:2').map(({ digest }) => digest),
    [again.digest],
  );
});

t.test('what is written anew leaves the hash true that tells of the others of its round', async (t) => {
  const nodes = settled(3);
  let [, b, c] = nodes as [TestNode, TestNode, TestNode];
  const [a] = nodes as [TestNode];
  for (const key of ['gone:1', 'gone:2']) deleteTwice(a, key);
  everybody(nodes, NOW + 4);
  const later = NOW + 2 * tombstone_ms;
  collectFirst(b, nodes, later);
  const again = [write(b.machine, b.signer.id, 'tag', 'gone:1', TAG, later + 1)];
  b = restarted(b);
  again.push(write(b.machine, b.signer.id, 'tag', 'gone:2', TAG, later + 1));
  for (const { machine } of [a, c]) introduce(machine, again, later + 2);
  c = restarted(c);
  const all = [a, b, c];
  for (let turn = 1; turn <= 6; turn += 1) round(all, later + turn * HOUR_MS);
  t.equal(new Set(all.map(({ machine }) => machine.ledger.hash)).size, 1);
  for (const { machine } of all)
    for (const { key, digest } of again)
      t.same(
        machine.ledger.siblings('tag', key).map((record) => record.digest),
        [digest],
      );
});

for (const ahead_ms of [0, 20_000, 50_000])
  t.test(
    `a deletion that hid something when all acknowledged hides it afterwards, ${ahead_ms} ms ahead`,
    async (t) => {
      const nodes = settled(3);
      const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
      write(a.machine, a.signer.id, 'tag', 'hidden:1', TAG, NOW + 1);
      write(a.machine, a.signer.id, 'tag', 'gone:1', null, NOW + 1);
      everybody(nodes, NOW + 1);
      const deletion = deleteTwice(a, 'hidden:1');
      exchange(a, c, NOW + 4);
      const later = NOW + 2 * tombstone_ms;
      // It was away, and has not seen the deletion.
      const unseen = write(b.machine, b.signer.id, 'tag', 'hidden:1', TAG, later + ahead_ms);
      everybody(nodes, later);
      for (let turn = 1; turn <= 4; turn += 1) round(nodes, later + turn * 1000);
      for (const { machine } of nodes) {
        t.equal(machine.ledger.siblings('tag', 'gone:1').length, 0, 'the other deletion was collected');
        t.same(
          machine.ledger.siblings('tag', 'hidden:1').map(({ digest }) => digest),
          [deletion.digest, unseen.digest],
        );
      }
    },
  );

t.test('of deletions beside what is new those go that were acknowledged', async (t) => {
  const nodes = settled(3);
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
  write(a.machine, a.signer.id, 'tag', 'hidden:1', TAG, NOW);
  everybody(nodes, NOW);
  for (const key of ['gone:1', 'gone:2', 'gone:3']) deleteTwice(a, key);
  everybody(nodes, NOW + 4);
  const deletion = deleteTwice(a, 'hidden:1');
  exchange(a, c, NOW + 5);
  const later = NOW + 2 * tombstone_ms;
  const unseen = write(b.machine, b.signer.id, 'tag', 'hidden:1', TAG, later + 20_000);
  everybody(nodes, later);
  collectFirst(b, nodes, later);
  const again = ['gone:1', 'gone:2'].map((key) => write(b.machine, b.signer.id, 'tag', key, TAG, later + 1));
  for (const { machine } of [a, c]) introduce(machine, again, later + 1);
  for (const node of [a, c]) collect(node, later + 2);
  for (let turn = 1; turn <= 4; turn += 1) round(nodes, later + turn * 1000);
  for (const { machine } of nodes) {
    for (const { key, digest } of again)
      t.same(
        machine.ledger.siblings('tag', key).map((record) => record.digest),
        [digest],
      );
    t.same(
      machine.ledger.siblings('tag', 'hidden:1').map(({ digest }) => digest),
      [deletion.digest, unseen.digest],
    );
  }
});

for (const isFirst of [true, false])
  t.test(
    `a deletion goes of which all have said two hashes, ${isFirst ? 'it' : 'the other'} first`,
    async (t) => {
      const nodes = settled(3);
      const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
      write(b.machine, b.signer.id, 'tag', 'early:1', null, NOW + 1);
      everybody(nodes, NOW + 1);
      write(b.machine, b.signer.id, 'tag', 'app:1', TAG, NOW + 2);
      const gone = write(b.machine, b.signer.id, 'tag', 'app:1', null, NOW + 3);
      exchange(b, c, NOW + 4);
      const later = NOW + 2 * tombstone_ms;
      // Whether it opens the round without that deletion, and hears of it then, or acknowledges that first.
      if (isFirst) introduce(a.machine, [gone], later);
      for (const node of nodes) collect(node, later);
      const first = acksOf(a);
      introduce(a.machine, [gone, ...acksOf(b, c)], later);
      for (let look = 0; look < 2; look += 1) collect(a, later + 1);
      t.equal(a.machine.ledger.siblings('tag', 'app:1').length, 0, 'one has collected it');
      const anew = write(a.machine, a.signer.id, 'tag', 'app:1', TAG, later + 2);
      for (const node of [b, c]) {
        introduce(node.machine, [...first, anew], later + 3);
        collect(node, later + 3);
      }
      everybody(nodes, later + 4);
      const effects = collect(b, later + 5);
      collect(c, later + 5);
      for (const { machine } of nodes) {
        t.same(machine.ledger.get('tag', 'app:1')?.body, TAG);
        t.equal(machine.ledger.tombstones_count, 0);
      }
      const told = effects.flatMap((effect) => (effect.kind === 'changed' ? effect.records : []));
      t.ok(
        told.some(({ digest }) => digest === gone.digest),
        'those who look at it are told',
      );
    },
  );

t.test('of more deletions beside what is new than a hash tells apart all go, or none', async (t) => {
  const [a, b] = settled(2) as [TestNode, TestNode];
  const keys = Array.from({ length: 100 }, (_, at) => `gone:${at}`);
  for (const key of keys) write(a.machine, a.signer.id, 'tag', key, null, NOW + 1);
  const { ledger } = a.machine;
  const upTo_ms = NOW + 1;
  const acknowledged = roundOf(ledger, upTo_ms);
  t.equal(collectable(ledger, acknowledged, 0).length, 100);
  for (const key of keys) write(b.machine, b.signer.id, 'tag', key, TAG, NOW + 2);
  exchange(a, b, NOW + 3);
  t.equal(collectable(ledger, acknowledged, 0).length, 100);
  for (const hash of ['0'.repeat(32), '1'.repeat(32), 'no hash'])
    t.equal(collectable(ledger, { upTo_ms, hash }, 0).length, 0);
});

for (const isRestarted of [false, true])
  t.test(
    `so it does where another deletion of the round was written over meanwhile, after ${isRestarted ? 'a' : 'no'} restart`,
    async (t) => {
      const nodes = settled(3);
      const [, b, c] = nodes as [TestNode, TestNode, TestNode];
      let [a] = nodes as [TestNode];
      deleteTwice(a, 'gone:1');
      write(a.machine, a.signer.id, 'tag', 'gone:2', null, NOW + 3);
      everybody(nodes, NOW + 4);
      const later = NOW + 2 * tombstone_ms;
      for (const node of nodes) collect(node, later);
      for (const from of nodes) tell(from, b, later, isAck);
      if (isRestarted) a = restarted(a);
      const all = [a, b, c];
      collect(b, later);
      const again = write(b.machine, b.signer.id, 'tag', 'gone:1', TAG, later + 1);
      const over = write(c.machine, c.signer.id, 'tag', 'gone:2', TAG, later + 1);
      introduce(a.machine, [again, over], later + 1);
      introduce(c.machine, [again], later + 1);
      for (const node of [a, c]) collect(node, later + 2);
      for (let turn = 1; turn <= 4; turn += 1) round(all, later + turn * HOUR_MS);
      for (const { machine } of all) {
        t.equal(machine.ledger.get('tag', 'gone:1')?.digest, again.digest);
        t.equal(machine.ledger.siblings('tag', 'gone:1').length, 1);
      }
    },
  );

t.test('rounds that are opened apart leave nobody behind', async (t) => {
  const { nodes, later } = acknowledgedBy([0, 1]);
  const [a, b] = nodes as [TestNode, TestNode, TestNode];
  write(a.machine, a.signer.id, 'tag', 'next:1', null, later);
  exchange(a, b, later);
  collect(a, later + 2 * HOUR_MS);
  collect(b, later + 3 * HOUR_MS);
  tell(b, a, later + 3 * HOUR_MS, isAck);
  collect(a, later + 3 * HOUR_MS);
  assertWhole(t, nodes, later + 3 * HOUR_MS);
});

t.test('an old disk does not unsay what its former self has acknowledged', async (t) => {
  const { nodes, later } = acknowledgedBy([0]);
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
  // An image from before the tombstone. Alone, it opens a round of its own.
  const image = [...c.machine.ledger.records()].filter(
    ({ kind, key }) => kind !== 'ack' && !key.endsWith(':1'),
  );
  const old: TestNode = {
    signer: c.signer,
    machine: newMachine({
      signers: [c.signer],
      epochs: new Map([[c.signer.id, 5]]),
      stored: { records: image, streams: [[`${c.signer.id}/0`, 1]] },
    }),
  };
  write(old.machine, c.signer.id, 'tag', 'alone:1', null, NOW + 3);
  collect(old, later + HOUR_MS / 4);
  for (const node of [a, b]) tell(old, node, later + HOUR_MS, isAck);
  assertWhole(t, [a, b, old], later + HOUR_MS);
});

t.test('what is collected leaves the disk too', async (t) => {
  const nodes = settled(2);
  const [a] = nodes;
  write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
  const gone = write(a!.machine, a!.signer.id, 'tag', 'app:1', null, NOW + 1);
  everybody(nodes);
  const later = NOW + 2 * tombstone_ms;
  const removed: string[] = [];
  for (let turn = 0; turn < 3; turn += 1) {
    for (const effect of collect(a!, later))
      if (effect.kind === 'persist') removed.push(...effect.remove.map(({ digest }) => digest));
    round(nodes, later);
  }
  t.equal(a!.machine.ledger.tombstones_count, 0);
  t.ok(removed.includes(gone.digest));
});

t.test('a member that acknowledges what is young does not make others collect it', async (t) => {
  const nodes = settled(3);
  const [a, b, liar] = nodes;
  const later = NOW + 2 * tombstone_ms;
  const young_ms = later - tombstone_ms / 3;
  write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG, young_ms - 1);
  write(a!.machine, a!.signer.id, 'tag', 'app:1', null, young_ms);
  everybody(nodes, later);
  const told = following(undefined, roundOf(liar!.machine.ledger, later - tombstone_ms / 4), {
    ms: 0,
    isInDoubt: false,
  });
  write(liar!.machine, liar!.signer.id, 'ack', liar!.signer.id, told, later);
  everybody(nodes, later);
  for (let turn = 0; turn < 3; turn += 1) round([a!, b!], later);
  for (const { machine } of [a!, b!])
    t.strictSame([machine.ledger.tombstones_count, machine.horizon_ms], [1, 0]);
});

t.test('a member that was granted anew is waited for as before', async (t) => {
  const nodes = settled(2);
  const [a, b] = nodes;
  write(a!.machine, a!.signer.id, 'tag', 'app:1', null, NOW + 1);
  everybody(nodes);
  const later = NOW + 2 * tombstone_ms;
  const key = recordKey.grant(b!.signer.id, operator.id);
  write(a!.machine, operator.id, 'grant', key, memberGrant(b!.signer.id, { uses: 1 }), later);
  for (let turn = 0; turn < 3; turn += 1) collect(a!, later);
  t.equal(a!.machine.ledger.tombstones_count, 1);
  t.same(a!.machine.unacknowledged(later), [b!.signer.id]);
});

t.test('a deletion stays as long as what its author had not seen stands beside it', async (t) => {
  const nodes = settled(2);
  const [a, b] = nodes as [TestNode, TestNode];
  write(a.machine, a.signer.id, 'tag', 'app:1', TAG);
  everybody(nodes);
  const unseen = write(a.machine, a.signer.id, 'tag', 'app:1', TAG, NOW + 1);
  const deletion = write(b.machine, b.signer.id, 'tag', 'app:1', null, NOW + 2);
  write(b.machine, b.signer.id, 'tag', 'other:1', null, NOW + 2);
  everybody(nodes);
  const later = NOW + 2 * tombstone_ms;
  for (let turn = 0; turn < 3; turn += 1) round(nodes, later);
  for (const { machine } of nodes) {
    t.ok(machine.horizon_ms > NOW + 2, 'the other deletion was collected');
    t.equal(machine.ledger.get('tag', 'app:1'), undefined, 'nothing shows again');
    t.same(
      machine.ledger.siblings('tag', 'app:1').map(({ digest }) => digest),
      [deletion.digest, unseen.digest],
    );
  }
});

/** A tombstone of long ago, and one member that says in its acknowledgement whatever it likes. */
function withLiar() {
  const nodes = settled(3);
  const [a, b, liar] = nodes as [TestNode, TestNode, TestNode];
  write(a.machine, a.signer.id, 'tag', 'app:1', null, NOW + 1);
  everybody(nodes);
  const later = NOW + 2 * tombstone_ms;
  const say = (body: object) => {
    const round = roundOf(liar.machine.ledger, later - tombstone_ms);
    const told = { ...following(undefined, round, { ms: 0, isInDoubt: false }), ...body };
    write(liar.machine, liar.signer.id, 'ack', liar.signer.id, told, later);
    everybody(nodes, later);
    for (let turn = 0; turn < 3; turn += 1) {
      for (const node of [a, b]) collect(node, later);
      everybody(nodes, later);
    }
  };
  return { nodes, a, b, liar, later, say };
}

for (const [what, claim] of [
  ['that it shows no round of', (later: number) => later - 1.5 * tombstone_ms],
  ['that is young', (later: number) => later - tombstone_ms / 4],
  ['that is to come', (later: number) => later + tombstone_ms],
] as const)
  t.test(`a member that claims to have collected ${what} stops nobody`, async (t) => {
    const { a, b, later, say } = withLiar();
    say({ collected_ms: claim(later) });
    for (const { machine } of [a, b]) {
      t.equal(machine.ledger.tombstones_count, 0);
      t.equal(machine.horizon_ms, later - tombstone_ms);
    }
  });

t.test('a member that claims to have collected what nobody else knows of is named', async (t) => {
  const { a, b, liar, later, say } = withLiar();
  const upTo_ms = later - 1.5 * tombstone_ms;
  say({ upTo_ms, hash: '0'.repeat(32), collected_ms: upTo_ms });
  for (const { machine } of [a, b]) t.same(machine.unacknowledged(later), [liar.signer.id]);
  const body = { subject: liar.signer.id, epoch: 0, last: 1000, reason: 'it lies' };
  write(a.machine, operator.id, 'revoke', recordKey.revoke(liar.signer.id, operator.id), body, later);
  exchange(a, b, later);
  for (let turn = 0; turn < 3; turn += 1) round([a, b], later);
  for (const { machine } of [a, b]) t.equal(machine.ledger.tombstones_count, 0, 'without it all goes on');
});

t.test('whoever has collected just as far need not have acknowledged it by the same hash', async (t) => {
  const { nodes, later } = acknowledgedBy([]);
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
  const upTo_ms = ackOf(a.machine.ledger, a.signer.id)!.rounds.at(-1)!.upTo_ms;
  const told = { upTo_ms, hash: '0'.repeat(32), collected_ms: upTo_ms, isInDoubt: false, before: [] };
  write(c.machine, c.signer.id, 'ack', c.signer.id, told, later);
  for (let turn = 0; turn < 3; turn += 1) {
    everybody(nodes, later);
    for (const node of [a, b]) collect(node, later);
  }
  for (const { machine } of [a, b]) t.equal(machine.horizon_ms, upTo_ms);
});

t.test('of what a member says no more is looked at than an honest one would say', async (t) => {
  const [a] = cluster(1) as [TestNode];
  const before = Array.from({ length: 500 }, (_, at) => ({ upTo_ms: NOW + at, hash: '0'.repeat(32) }));
  const body = { upTo_ms: NOW + 1000, hash: '1'.repeat(32), collected_ms: 0, isInDoubt: false, before };
  const first = write(a.machine, a.signer.id, 'ack', a.signer.id, body);
  t.equal(ackOf(a.machine.ledger, a.signer.id)!.rounds.length, 16);
  for (let epoch = 1; epoch < 50; epoch += 1)
    introduce(a.machine, [forged(first, { epoch, seq: 1, context: [] }, a.signer)]);
  t.same(
    new Set(a.machine.ledger.siblings('ack', a.signer.id).map(({ epoch }) => epoch)),
    new Set([42, 43, 44, 45, 46, 47, 48, 49]),
    'its latest lives stand beside one another',
  );
  t.equal(ackOf(a.machine.ledger, a.signer.id)!.rounds.length, 8 * 16);
});
