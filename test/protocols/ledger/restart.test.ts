/** What is persisted is what is live, and a restart changes nothing: no record, no number, no order of stamps. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { Unsaved } from '../../../daemon/drivers/unsaved.ts';
import type { LedgerEffect } from '../../../protocols/ledger/effects.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import {
  type LedgerRecord,
  openRecord,
  type StreamId,
  sealRecord,
} from '../../../protocols/ledger/record.ts';
import { encodeGossip } from '../../../protocols/ledger/sync.ts';
import { revokeBody } from '../../../protocols/trust/acts.ts';
import fc from '../../laws.ts';
import {
  cluster,
  env,
  forged,
  genesis,
  introduce,
  memberGrant,
  NOW,
  newMachine,
  newNode,
  operator,
  rejections,
  sealedAct,
  TAG,
  type TestNode,
  testSigner,
  write,
} from './fixtures.ts';

/** A disk that does what `persist` effects say. */
class Disk {
  readonly records = new Map<string, LedgerRecord>();
  readonly streams = new Map<StreamId, number>();

  constructor({ machine }: TestNode) {
    for (const record of machine.ledger.records()) this.records.set(record.digest, record);
  }

  carryOut(effects: readonly LedgerEffect[]): readonly LedgerEffect[] {
    for (const effect of effects) {
      if (effect.kind !== 'persist') continue;
      for (const record of effect.put) this.records.set(record.digest, record);
      for (const record of effect.remove) this.records.delete(record.digest);
      for (const [stream, high] of effect.streams) this.streams.set(stream, high);
    }
    return effects;
  }

  /** As after kill -9. */
  restart({ signer }: TestNode): TestNode {
    const records = Array.from(this.records.values(), ({ bytes }) => openRecord(bytes, nodeCrypto));
    const stored = { records, streams: this.streams };
    return {
      signer,
      machine: newMachine({ signers: [signer], stored }),
    };
  }
}

const step = fc.record({
  isOwn: fc.boolean(),
  key: fc.nat(3),
  isDeletion: fc.boolean(),
  isRestart: fc.boolean(),
});

t.test(
  'the disk holds what is live, whoever wrote or deleted it, and numbers are never given twice',
  async (t) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const [a, b] = cluster(2) as [TestNode, TestNode];
        const disk = new Disk(a);
        let node = a;
        const numbers = new Set<string>();
        for (const [at, { isOwn, key, isDeletion, isRestart }] of steps.entries()) {
          const body = isDeletion ? null : TAG;
          const now = NOW + at;
          if (isOwn) {
            const event = {
              kind: 'write',
              author: a.signer.id,
              recordKind: 'tag',
              key: `app:${key}`,
              body,
            } as const;
            for (const effect of disk.carryOut(node.machine.handle(event, env(now)))) {
              if (effect.kind !== 'written') continue;
              const { epoch, seq } = effect.record;
              if (numbers.has(`${epoch}/${seq}`)) return false;
              numbers.add(`${epoch}/${seq}`);
              introduce(b.machine, [effect.record], now);
            }
          } else {
            disk.carryOut(
              introduce(node.machine, [write(b.machine, b.signer.id, 'tag', `app:${key}`, body, now)], now),
            );
          }
          if (isRestart) {
            const { hash } = node.machine.ledger;
            node = disk.restart(a);
            if (node.machine.ledger.hash !== hash) return false;
          }
        }
        return true;
      }),
      { numRuns: 80 },
    );
    t.pass();
  },
);

t.test('a write is stamped after what it is written over, also when its clock is behind', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  const seen = write(a.machine, a.signer.id, 'tag', 'app:1', TAG, NOW + 30_000);
  introduce(b.machine, [seen]);
  const written = write(b.machine, b.signer.id, 'tag', 'app:1', null);
  t.ok(written.hlc.ms >= NOW + 30_000);
  t.equal(b.machine.ledger.get('tag', 'app:1'), undefined, 'the deletion counts');
});

t.test('a record of a batch whose seal was tampered with is refused', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  const writes = ['1', '2', '3'].map((tag) => ({ recordKind: 'tag', key: `app:${tag}`, body: TAG }));
  const effects = a.machine.handle({ kind: 'writes', author: a.signer.id, writes }, env());
  const records = effects.flatMap((effect) => (effect.kind === 'written' ? [effect.record] : []));
  // Every byte of the last 150 is of the signature, the sides or the path.
  for (const record of records) {
    for (let from_end = 1; from_end <= 150; from_end += 7) {
      const bytes = record.bytes.slice();
      bytes[bytes.length - from_end]! ^= 1;
      const [reason] = rejections(introduce(b.machine, [{ ...record, bytes }]));
      t.match(reason, /^(bad-signature|malformed)$/, `${from_end} from the end`);
    }
  }
  t.equal(b.machine.ledger.siblings('tag', 'app:1').length, 0);
  for (const record of records) t.same(rejections(introduce(b.machine, [record])), []);
});

t.test('what a clock far ahead had a node write is written anew once the clock is right', async (t) => {
  const years = 2 * 365 * 86_400_000;
  for (const isRestarted of [false, true]) {
    const [a, b] = cluster(2) as [TestNode, TestNode];
    introduce(a.machine, [write(b.machine, b.signer.id, 'tag', 'theirs:1', TAG)]);
    const streams: (readonly [StreamId, number])[] = [];
    const ahead = ['own:1', 'theirs:1'].map((key) =>
      write(a.machine, a.signer.id, 'tag', key, { digest: `sha256:${'2'.repeat(64)}` }, NOW + years),
    );
    const deletion = write(a.machine, a.signer.id, 'tag', 'own:2', null, NOW + years);
    t.equal(rejections(introduce(b.machine, ahead)).length, 2, 'nobody takes it');
    const epochs = new Map([[a.signer.id, 7]]);
    const machine = isRestarted
      ? newMachine({
          signers: [a.signer],
          epochs,
          stored: { records: [...a.machine.ledger.records()], streams },
        })
      : a.machine;
    const later = NOW + 5000;
    const event = isRestarted ? ({ kind: 'start' } as const) : ({ kind: 'timer', token: 'flush' } as const);
    const effects = machine.handle(event, env(later));
    t.match(
      effects.filter(({ kind }) => kind === 'clock'),
      [{ ahead_ms: years - 5000, records_count: 3 }],
    );
    t.ok(effects.some((effect) => effect.kind === 'epoch' && effect.epoch === (isRestarted ? 8 : 1)));
    const persist = effects.find((effect) => effect.kind === 'persist')!;
    t.same(
      new Set(persist.remove.filter(({ author }) => author === a.signer.id).map(({ digest }) => digest)),
      new Set([...ahead, deletion].map(({ digest }) => digest)),
      'the disk lets go of it',
    );
    const member = write(machine, a.signer.id, 'member', a.signer.id, { incarnation: 3 }, later + 1);
    t.ok(member.hlc.ms <= later + 1);
    t.same(rejections(introduce(b.machine, [...machine.ledger.recordsOf(a.signer.id)], later + 2)), []);
    for (const key of ['own:1', 'theirs:1'])
      t.match(b.machine.ledger.get('tag', key)?.body, { digest: /222/ }, key);
    t.equal(b.machine.ledger.siblings('tag', 'theirs:1').length, 1, 'it replaces what it did');
    t.ok(b.machine.ledger.siblings('tag', 'own:2')[0]?.isTombstone);
    t.equal(b.machine.ledger.hash, machine.ledger.hash);
    t.notOk(
      machine
        .handle({ kind: 'timer', token: 'flush' }, env(later + 70_000))
        .some(({ kind }) => kind === 'clock'),
    );
  }
});

t.test('a node whose clock is behind keeps what it has written, and goes on from there', async (t) => {
  const day = 86_400_000;
  const [a, b, alone] = [...(cluster(2) as [TestNode, TestNode]), newNode(testSigner(0), operator)];
  introduce(a!.machine, [write(b!.machine, b!.signer.id, 'tag', 'theirs:1', TAG, NOW + 1)]);
  const grant = memberGrant(alone!.signer.id);
  write(alone!.machine, operator.id, 'grant', `${alone!.signer.id}/${operator.id}`, grant);
  for (const [{ machine, signer }, back_ms] of [
    // All stamps are ahead.
    [a!, 3 * day],
    // Nobody else is there to refuse anything.
    [alone!, 3 * day],
  ] as const) {
    write(machine, signer.id, 'tag', 'own:1', TAG, NOW + 2);
    const { hash } = machine.ledger;
    machine.handle({ kind: 'timer', token: 'flush' }, env(NOW - back_ms));
    t.equal(machine.ledger.hash, hash);
    t.ok(write(machine, signer.id, 'tag', 'own:1', TAG, NOW - back_ms).hlc.ms >= NOW);
  }
  // Set back by mistake where all is quiet: nobody else has written for long, and the others hold what this node wrote.
  const [c, d] = cluster(2) as [TestNode, TestNode];
  introduce(d.machine, [write(c.machine, c.signer.id, 'tag', 'own:1', TAG, NOW + day / 2)]);
  const later = NOW + day / 2;
  t.same(rejections(introduce(d.machine, [...c.machine.ledger.recordsOf(c.signer.id)], later)), []);
  c.machine.handle({ kind: 'timer', token: 'flush' }, env(later));
  c.machine.handle({ kind: 'timer', token: 'flush' }, env(NOW));
  const deletion = write(c.machine, c.signer.id, 'tag', 'own:1', null, NOW);
  introduce(d.machine, [deletion], later);
  t.equal(d.machine.ledger.get('tag', 'own:1'), undefined, 'what it writes later is later');
});

/** A node that a peer gossips to, and its disk, to which the daemon writes all that waits at once. */
function gossipedTo(self = testSigner(3), config = {}) {
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self], config });
  const node = { signer: self, machine };
  const disk = new Disk(node);
  const unsaved = new Unsaved();
  const hears = (...records: LedgerRecord[]) => {
    const body = encodeGossip(records.map(({ bytes }) => bytes));
    const effects = machine.handle({ kind: 'gossip', from: testSigner(4).id, body }, env(NOW + 1000));
    for (const effect of effects) unsaved.add(effect);
    return effects;
  };
  const save = () => {
    const { put, remove } = unsaved.batch();
    disk.carryOut([{ kind: 'persist', put, remove, streams: [] }]);
    unsaved.clear();
  };
  return { node, disk, hears, save };
}

t.test('what goes and comes again within one message is on the disk, if it is live', async (t) => {
  const { node, disk, hears, save } = gossipedTo();
  const token = testSigner(5);
  const admit = memberGrant(token.id, { roles: ['admit'], admits: ['member'], uses: 1 });
  const opening = sealedAct(genesis.digest, operator, 'grant', admit, { seq: 2, ms: NOW });
  const joined = [10, 11, 12].map((number, at) => {
    const body = memberGrant(testSigner(number).id, { roles: ['member'], parent: opening.digest });
    return sealedAct(genesis.digest, token, 'grant', body, { seq: 1 + at, ms: NOW });
  });
  // Of those that are too many the first two stay.
  const [first, second, kept] = joined.sort((a, b) => (a.digest < b.digest ? -1 : 1)) as [
    LedgerRecord,
    LedgerRecord,
    LedgerRecord,
  ];
  const keeping = revokeBody({ subject: token.id, reason: '', keeps: [kept.digest], descendants: true });
  const revocation = sealedAct(genesis.digest, operator, 'revoke', keeping, { seq: 3, ms: NOW });
  hears(opening, second);
  save();
  // Not on the disk yet when the message comes in which it is one too many at first, and then kept.
  hears(kept);
  t.ok(node.machine.ledger.has(kept));
  hears(first, revocation, kept);
  t.ok(node.machine.ledger.has(kept));
  save();
  t.equal(disk.restart(node).machine.ledger.hash, node.machine.ledger.hash);
});

t.test('what went for a record that was one too many itself is told, and leaves the disk', async (t) => {
  const { node, disk, hears, save } = gossipedTo(testSigner(3), { author_records_max: 4 });
  const [full, other] = [6, 7].map(testSigner) as [typeof operator, typeof operator];
  const tag = (by: typeof operator, seq: number, key: string, ms: number, seen: LedgerRecord[] = []) => {
    const context = seen.map(({ author, epoch, seq }) => ({ author, epoch, seq }));
    const header = { cluster: genesis.digest, author: by.id, epoch: 0, seq, hlc: { ms: NOW + ms, n: 0 } };
    return sealRecord({ ...header, kind: 'tag', key, generation: 1, context }, TAG, by, nodeCrypto);
  };
  const grants = [full, other].map(({ id }, at) =>
    sealedAct(genesis.digest, operator, 'grant', memberGrant(id), { seq: 2 + at, ms: NOW }),
  );
  const replaced = tag(other, 1, 'app:1', 5);
  hears(...grants, ...[1, 2, 3].map((n) => tag(full, n, `full:${n}`, 1)), replaced);
  save();
  // The second is earlier, and the author full: the first goes, which had replaced what was there.
  const effects = hears(tag(full, 20, 'app:1', 9, [replaced]), tag(full, 21, 'full:4', 2));
  t.notOk(node.machine.ledger.has(replaced));
  t.equal(node.machine.ledger.get('tag', 'app:1'), undefined);
  const changed = effects.flatMap((effect) => (effect.kind === 'changed' ? effect.records : []));
  t.ok(changed.some(({ key }) => key === 'app:1'));
  save();
  t.equal(disk.restart(node).machine.ledger.hash, node.machine.ledger.hash);
});

t.test(
  'of acknowledgements under ever new epochs the latest are live and on the disk, in any order',
  async (t) => {
    const [a, b, liar] = cluster(3) as [TestNode, TestNode, TestNode];
    const body = { upTo_ms: NOW, hash: '0'.repeat(32), collected_ms: 0, isInDoubt: false, before: [] };
    const like = write(liar.machine, liar.signer.id, 'ack', liar.signer.id, body);
    const acks = Array.from({ length: 100 }, (_, at) => {
      // Each is stamped before the one of the life before it.
      return forged(like, { epoch: 1 + at, seq: 1, hlc: { ms: NOW - at, n: 0 }, context: [] }, liar.signer);
    });
    const scattered = acks.map((_, at) => acks[(37 * at + 11) % acks.length]!);
    const expected = acks.slice(-8).map(({ digest }) => digest);
    for (const [node, order] of [
      [a, acks],
      [b, scattered],
    ] as const) {
      const disk = new Disk(node);
      for (const at of [0, 1, 2, 50]) {
        const effects = disk.carryOut(introduce(node.machine, order.slice(at, at === 50 ? 100 : at + 50)));
        t.same(rejections(effects), []);
      }
      const { machine } = disk.restart(node);
      for (const { ledger } of [node.machine, machine]) {
        const live = ledger.siblings('ack', liar.signer.id);
        t.same(new Set(live.map(({ digest }) => digest)), new Set(expected));
      }
      t.equal(machine.ledger.hash, node.machine.ledger.hash);
    }
    t.equal(a.machine.ledger.hash, b.machine.ledger.hash);
  },
);

t.test(
  'what an earlier version left on the disk though another stands in its place goes at the start',
  async (t) => {
    const [a, liar] = cluster(2) as [TestNode, TestNode];
    const body = { upTo_ms: NOW, hash: '0'.repeat(32), collected_ms: 0, isInDoubt: false, before: [] };
    const like = write(liar.machine, liar.signer.id, 'ack', liar.signer.id, body);
    const acks = Array.from({ length: 12 }, (_, at) =>
      forged(like, { epoch: 1 + at, seq: 1, hlc: { ms: NOW + at, n: 0 }, context: [] }, liar.signer),
    );
    const gone = new Set(acks.slice(0, -8).map(({ digest }) => digest));
    for (const order of [acks, acks.toReversed()]) {
      const disk = new Disk(a);
      for (const ack of order) disk.records.set(ack.digest, ack);
      const { machine } = disk.restart(a);
      const effects = disk.carryOut(machine.handle({ kind: 'start' }, env(NOW + 100)));
      const removed = effects.flatMap((effect) => (effect.kind === 'persist' ? effect.remove : []));
      t.same(new Set(removed.map(({ digest }) => digest)), gone);
      t.same(
        new Set(disk.records.keys()),
        new Set(Array.from(machine.ledger.records(), (each) => each.digest)),
      );
      const again = disk.restart(a).machine.handle({ kind: 'start' }, env(NOW + 100));
      t.notOk(again.some(({ kind }) => kind === 'persist'));
    }
  },
);
