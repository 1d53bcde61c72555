/** The ledger's core at its boundary: what it takes, what it refuses and why, what it persists, what it sends. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { HLC_AHEAD_MS_MAX } from '../../../protocols/base/clock.ts';
import { encode } from '../../../protocols/base/codec.ts';
import { recordKey } from '../../../protocols/base/records.ts';
import { gossipVerdict, type LedgerEffect, netOf } from '../../../protocols/ledger/effects.ts';
import { LEDGER_DEFAULTS, LedgerMachine, sealGenesis } from '../../../protocols/ledger/machine.ts';
import {
  type LedgerRecord,
  openRecord,
  RECORD_BYTES_MAX,
  type StreamId,
  sealRecord,
} from '../../../protocols/ledger/record.ts';
import { EPOCH_END } from '../../../protocols/ledger/record-reader.ts';
import { encodeGossip, SYNC_VERSION } from '../../../protocols/ledger/sync.ts';
import {
  cluster,
  env,
  exchange,
  genesis,
  introduce,
  memberGrant,
  NOW,
  newNode,
  operator,
  rejections,
  TAG,
  type TestNode,
  testSigner,
  write,
} from './fixtures.ts';

function forged(record: LedgerRecord, changes: Partial<LedgerRecord>, signer = testSigner(0)): LedgerRecord {
  return sealRecord({ ...record, ...changes }, changes.body ?? record.body, signer, nodeCrypto);
}

t.test('a write is persisted before it is answered and gossiped', async (t) => {
  const [a] = cluster(1);
  const event = { kind: 'write', author: a!.signer.id, recordKind: 'tag', key: 'app:1', body: TAG } as const;
  // The grants of the fixture may be waiting to be gossiped.
  a!.machine.handle({ kind: 'timer', token: 'flush' }, env());
  const effects = a!.machine.handle(event, env());
  t.same(
    effects.map(({ kind }) => kind),
    ['persist', 'written', 'changed', 'schedule'],
  );
  const published = a!.machine.handle({ kind: 'timer', token: 'flush' }, env());
  t.same(
    published.map(({ kind }) => kind),
    ['publish'],
  );
});

t.test('an idle exchange between equal ledgers is one message', async (t) => {
  const [a, b] = cluster(2);
  exchange(a!, b!);
  const { messages, bytes } = exchange(a!, b!);
  t.equal(messages, 1);
  t.ok(bytes < 128);
});

t.test('repair costs about the size of the difference, and little more when that is nothing', async (t) => {
  for (const count of [1, 20, 500]) {
    const [a, b] = cluster(2);
    for (let number = 0; number < 2000; number += 1)
      write(a!.machine, a!.signer.id, 'tag', `app:${number}`, TAG);
    exchange(a!, b!);
    const difference = Array.from({ length: count }, (_, number) =>
      write(a!.machine, a!.signer.id, 'tag', `new:${number}`, TAG),
    );
    const size = difference.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    const { bytes } = exchange(a!, b!);
    t.equal(a!.machine.ledger.hash, b!.machine.ledger.hash);
    t.ok(bytes < size * 2 + 16_384, `${bytes} bytes for a difference of ${size}`);
  }
});

t.test('what both sides wrote while they were apart costs about its size', async (t) => {
  const [a, b] = cluster(2);
  for (let number = 0; number < 500; number += 1)
    write(a!.machine, a!.signer.id, 'tag', `app:${number}`, TAG);
  exchange(a!, b!);
  let size = 0;
  for (let number = 0; number < 1000; number += 1) {
    const { machine, signer } = number % 2 === 0 ? a! : b!;
    size += write(machine, signer.id, 'tag', `app:${number}`, TAG, NOW + number).bytes.byteLength;
  }
  const { bytes } = exchange(a!, b!);
  t.equal(a!.machine.ledger.hash, b!.machine.ledger.hash);
  t.ok(bytes < size * 2, `${bytes} bytes for a difference of ${size}`);
});

t.test('replaced records are not sent', async (t) => {
  const [a, b] = cluster(2);
  for (let number = 0; number < 100; number += 1)
    write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG, NOW + number);
  const { bytes } = exchange(a!, b!);
  t.ok(bytes < 2000, `${bytes} bytes`);
  t.equal(a!.machine.ledger.hash, b!.machine.ledger.hash);
});

t.test('of two versions of a key only the later one travels', async (t) => {
  const [a, b] = cluster(2);
  const large = { text: 'x'.repeat(20_000) };
  write(a!.machine, a!.signer.id, 'unheard-of', 'key', large);
  exchange(a!, b!);
  for (const [newer, older] of [
    [a!, b!],
    [b!, a!],
  ] as const) {
    write(newer.machine, newer.signer.id, 'unheard-of', 'key', large, NOW + 5);
    const { bytes } = exchange(newer, older);
    t.ok(bytes < 25_000, `${bytes} bytes`);
    t.equal(a!.machine.ledger.hash, b!.machine.ledger.hash);
  }
});

t.test('many records under one signature are each taken alone, in any order', async (t) => {
  const [a, b] = cluster(2);
  for (const count of [1, 2, 3, 5, 8, 13, 100]) {
    const writes = Array.from({ length: count }, (_, number) => {
      return { recordKind: 'tag', key: `app:${count}-${number}`, body: TAG };
    });
    const effects = a!.machine.handle({ kind: 'writes', author: a!.signer.id, writes }, env());
    const records = effects.flatMap((effect) => (effect.kind === 'written' ? [effect.record] : []));
    t.equal(records.length, count);
    for (const record of records.toReversed()) t.same(rejections(introduce(b!.machine, [record])), []);
  }
  t.equal(a!.machine.ledger.hash, b!.machine.ledger.hash);
});

t.test('a batch in which one write is refused changes nothing', async (t) => {
  const [a] = cluster(1);
  const before = a!.machine.ledger.hash;
  const writes = [
    { recordKind: 'tag', key: 'app:1', body: TAG },
    { recordKind: 'member', key: 'somebody else', body: TAG },
  ];
  t.throws(() => a!.machine.handle({ kind: 'writes', author: a!.signer.id, writes }, env()), {
    code: 'E_NOT_ALLOWED',
  });
  t.equal(a!.machine.ledger.hash, before);
  t.equal(write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG).seq, 1, 'no number is lost');
});

t.test('a large repair goes in bounded messages', async (t) => {
  const [a, b] = cluster(2);
  for (let number = 0; number < 60; number += 1) {
    write(a!.machine, a!.signer.id, 'unheard-of', `key:${number}`, { text: 'x'.repeat(30_000) });
  }
  const { messages } = exchange(a!, b!);
  t.equal(a!.machine.ledger.hash, b!.machine.ledger.hash);
  t.ok(messages >= 8, `${messages} messages`);
  t.equal(
    b!.machine.ledger.siblings('unheard-of', 'key:7').length,
    1,
    'an unknown kind is kept and forwarded',
  );
});

t.test('each refusal has its reason and changes nothing', async (t) => {
  const [a, b] = cluster(2);
  const record = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
  const before = b!.machine.ledger.hash;
  const ownGrant = b!.machine.ledger.get('grant', recordKey.grant(a!.signer.id, operator.id))!;
  const flipped = record.bytes.slice();
  flipped[flipped.length - 1]! ^= 1;
  const stranger = testSigner(77);
  const otherGenesis = sealGenesis(
    { ...(genesis.body as object), name: 'other' } as never,
    operator,
    nodeCrypto,
    NOW,
  );
  const cases: [string, string, LedgerRecord | { bytes: Uint8Array }][] = [
    ['garbage', 'malformed', { bytes: Uint8Array.of(1, 2, 3) }],
    ['one envelope over the limit', 'malformed', { bytes: new Uint8Array(RECORD_BYTES_MAX + 1) }],
    ['a flipped bit in the signature', 'bad-signature', { bytes: flipped }],
    ['another cluster', 'other-cluster', forged(record, { cluster: otherGenesis.digest })],
    ['a foreign genesis', 'other-cluster', otherGenesis],
    ['a stranger', 'unknown-author', forged(record, { author: stranger.id }, stranger)],
    [
      'the key of another owner',
      'not-allowed',
      forged(record, { kind: 'member', key: b!.signer.id, seq: 9 }),
    ],
    [
      'a grant in its own right by one who is no operator',
      'not-allowed',
      forged(record, {
        kind: 'grant',
        key: `${stranger.id}/${a!.signer.id}`,
        seq: 9,
        body: memberGrant(stranger.id),
      }),
    ],
    [
      'a grant by one whose own grant admits nobody',
      'not-allowed',
      forged(record, {
        kind: 'grant',
        key: `${stranger.id}/${a!.signer.id}`,
        seq: 10,
        body: memberGrant(stranger.id, { parent: ownGrant.digest }),
      }),
    ],
    [
      'a stamp far ahead',
      'from-the-future',
      forged(record, { hlc: { ms: NOW + HLC_AHEAD_MS_MAX + 1, n: 0 }, seq: 9 }),
    ],
  ];
  for (const [name, reason, bad] of cases) {
    t.same(rejections(introduce(b!.machine, [bad as LedgerRecord])), [reason], name);
  }
  t.equal(b!.machine.ledger.hash, before);
  t.same(rejections(b!.machine.handle({ kind: 'gossip', from: 'x', body: encode(['?']) }, env())), [
    'malformed',
  ]);
  t.same(rejections(b!.machine.handle({ kind: 'message', from: 'x', body: encode([1, 'z']) }, env())), [
    'malformed',
  ]);
  t.same(rejections(introduce(b!.machine, [record])), [], 'the true one is taken after all that');
});

/** A node whose grant node 0 wrote, and node 1 has not heard of. */
function newcomer(founder: TestNode, number: number) {
  const signer = testSigner(number);
  const key = recordKey.grant(signer.id, operator.id);
  const grant = write(founder.machine, operator.id, 'grant', key, memberGrant(signer.id));
  const node = newNode(signer);
  introduce(node.machine, [grant]);
  return { node, grant };
}

t.test('records that come before the grant of their author wait for it', async (t) => {
  const [a, b] = cluster(2);
  const { node, grant } = newcomer(a!, 5);
  const tag = write(node.machine, node.signer.id, 'tag', 'app:1', TAG);
  t.same(rejections(introduce(b!.machine, [tag])), ['unknown-author']);
  t.same(rejections(introduce(b!.machine, [grant])), []);
  t.same(b!.machine.ledger.get('tag', 'app:1')?.body, TAG);
});

t.test('records that came before a grant of this node itself are taken once it has given that', async (t) => {
  const [a] = cluster(1);
  const { node } = newcomer(a!, 5);
  const tag = write(node.machine, node.signer.id, 'tag', 'app:1', TAG);
  const granting = newNode(testSigner(8), operator);
  t.same(rejections(introduce(granting.machine, [tag])), ['unknown-author']);
  const key = recordKey.grant(node.signer.id, operator.id);
  write(granting.machine, operator.id, 'grant', key, memberGrant(node.signer.id));
  t.same(granting.machine.ledger.get('tag', 'app:1')?.body, TAG);
});

t.test('what a newcomer says first is passed on, though others know the grants that it relays', async (t) => {
  const [a, b] = cluster(2);
  const { node, grant } = newcomer(a!, 6);
  introduce(b!.machine, [grant]);
  const machine = newNode(node.signer).machine;
  introduce(machine, [grant]);
  write(machine, node.signer.id, 'tag', 'app:1', TAG);
  const published = machine.handle({ kind: 'timer', token: 'flush' }, env());
  const verdicts = published.map((effect) => {
    const { body } = effect as Extract<LedgerEffect, { kind: 'publish' }>;
    return gossipVerdict(b!.machine.handle({ kind: 'gossip', from: node.signer.id, body }, env()));
  });
  t.same(verdicts, ['ignore', 'accept']);
});

t.test('what came and went is neither put on the disk nor removed from it', async (t) => {
  const [a] = cluster(1);
  const [one, two] = [1, 2].map((n) => write(a!.machine, a!.signer.id, 'tag', `app:${n}`, TAG)) as [
    LedgerRecord,
    LedgerRecord,
  ];
  const again = openRecord(one.bytes, nodeCrypto);
  t.same(netOf([one], [], []), { put: [one], remove: [] });
  t.same(netOf([one], [two], []), { put: [one], remove: [two] });
  t.same(netOf([one], [one], []), { put: [], remove: [] }, 'replaced by what then went itself');
  t.same(netOf([again], [one], []), { put: [], remove: [] }, 'went, and came again');
  t.same(netOf([one], [two, one], []), { put: [], remove: [two] });
  t.same(netOf([one, two], [one], []), { put: [two], remove: [] });
  t.same(netOf([one, again], [one], []), { put: [one], remove: [] });
  t.same(netOf([], [one], [two]), { put: [], remove: [one, two] });
});

t.test('records that wait for a grant are capped', async (t) => {
  const [a, b] = cluster(2);
  const { node, grant } = newcomer(a!, 6);
  const tags = Array.from({ length: LEDGER_DEFAULTS.pending_records_max + 10 }, (_, number) =>
    write(node.machine, node.signer.id, 'tag', `app:${number}`, TAG),
  );
  // Of one message fewer would wait.
  for (const tag of tags) introduce(b!.machine, [tag]);
  introduce(b!.machine, [grant]);
  t.equal([...b!.machine.ledger.ofKind('tag')].length, LEDGER_DEFAULTS.pending_records_max);
  for (let round = 0; round < 2; round += 1) for (const other of [a!, node]) exchange(b!, other);
  t.equal(b!.machine.ledger.hash, node.machine.ledger.hash, 'anti-entropy brings the rest');
});

t.test('a ledger restored from what was persisted is the same, and numbers go on', async (t) => {
  const [a] = cluster(1);
  const disk = new Map<string, LedgerRecord>(
    [...a!.machine.ledger.records()].map((record) => [record.digest, record]),
  );
  const streams = new Map<StreamId, number>();
  for (const key of ['app:1', 'app:1', 'app:2']) {
    const effects = a!.machine.handle(
      { kind: 'write', author: a!.signer.id, recordKind: 'tag', key, body: TAG },
      env(),
    );
    for (const effect of effects) {
      if (effect.kind !== 'persist') continue;
      for (const record of effect.put) disk.set(record.digest, record);
      for (const record of effect.remove) disk.delete(record.digest);
      for (const [stream, high] of effect.streams) streams.set(stream, high);
    }
  }
  const again = new LedgerMachine({
    genesis,
    crypto: nodeCrypto,
    signers: [a!.signer],
    stored: { records: disk.values(), streams },
  });
  t.equal(again.ledger.hash, a!.machine.ledger.hash);
  t.equal(write(again, a!.signer.id, 'tag', 'app:3', TAG).seq, 4);
});

t.test(
  'a node on an old disk notices its own future and takes a new epoch before it writes over it',
  async (t) => {
    const [a, b] = cluster(2);
    write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
    exchange(a!, b!);
    const old = newNode(a!.signer);
    exchange(old, b!);
    const record = write(old.machine, a!.signer.id, 'tag', 'app:2', TAG);
    t.ok(record.epoch > 0, 'one after that of its former life, and not that of another life of this disk');
    t.same(rejections(introduce(b!.machine, [record])), []);
    const effects = introduce(b!.machine, [write(old.machine, a!.signer.id, 'tag', 'app:3', TAG)]);
    t.notOk(effects.some(({ kind }) => kind === 'equivocation'));
  },
);

t.test(
  'a node whose epochs were used up by a copy of its key gives no number that the copy gave',
  async (t) => {
    const [a, b] = cluster(2);
    const own = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
    const last = forged(own, { epoch: EPOCH_END - 1, seq: 7, key: 'app:2' }, a!.signer);
    introduce(a!.machine, [last]);
    const next = write(a!.machine, a!.signer.id, 'tag', 'app:3', TAG);
    t.same([next.epoch, next.seq], [EPOCH_END - 1, 8]);
    t.same(rejections(introduce(b!.machine, [own, last, next])), []);
  },
);

t.test('two records with one number are evidence, and every node keeps the same one', async (t) => {
  const [a, b, c] = cluster(3);
  const one = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
  const twin = forged(one, { hlc: { ms: NOW + 1, n: 0 } });
  const seen = [b!, c!].map(({ machine }, order) => {
    const records = order === 0 ? [one, twin] : [twin, one];
    return records.flatMap((record) => introduce(machine, [record]));
  });
  for (const effects of seen)
    t.ok(effects.some((effect) => effect.kind === 'equivocation' && effect.author === a!.signer.id));
  t.equal(b!.machine.ledger.hash, c!.machine.ledger.hash);
});

t.test('gossip and anti-entropy carry the same records', async (t) => {
  const [a, b] = cluster(2);
  const record = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
  b!.machine.handle({ kind: 'gossip', from: a!.signer.id, body: encodeGossip([record.bytes]) }, env());
  t.ok(b!.machine.ledger.has(record));
  exchange(a!, b!);
  t.equal(a!.machine.ledger.hash, b!.machine.ledger.hash);
});

t.test(
  'gossip is passed on when it is news, kept when it is not, and held against its sender when it lies',
  async (t) => {
    const [a, b] = cluster(2);
    const record = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
    const gossip = (bytes: Uint8Array) =>
      gossipVerdict(
        b!.machine.handle({ kind: 'gossip', from: a!.signer.id, body: encodeGossip([bytes]) }, env()),
      );
    const { node } = newcomer(a!, 8);
    t.equal(gossip(record.bytes), 'accept');
    t.equal(gossip(record.bytes), 'ignore');
    t.equal(
      gossip(write(node.machine, node.signer.id, 'tag', 'app:2', TAG).bytes),
      'ignore',
      'its grant is under way',
    );
    const notIts = forged(record, { kind: 'member', key: b!.signer.id, seq: 9 });
    t.equal(gossip(notIts.bytes), 'ignore', 'a grant that allows it may be under way');
    const later = encode([SYNC_VERSION + 1, 'g', ['whatever']]);
    t.equal(
      gossipVerdict(b!.machine.handle({ kind: 'gossip', from: a!.signer.id, body: later }, env())),
      'ignore',
      'a later version is no lie',
    );
    const flipped = forged(record, { seq: 10 }).bytes.slice();
    flipped[flipped.length - 1]! ^= 1;
    t.equal(gossip(flipped), 'reject');
    t.equal(gossip(Uint8Array.of(1)), 'reject');
  },
);

t.test(
  'exchanges grow rare while nothing is found, a change makes them frequent again, and old timers are void',
  async (t) => {
    const [a, b] = cluster(2);
    exchange(a!, b!);
    const timerOf = (effects: readonly LedgerEffect[]) => {
      const timers = effects.flatMap((effect) => (effect.kind === 'schedule' ? [effect] : []));
      return timers.find(({ token }) => token.startsWith('exchange'))!;
    };
    const delays: number[] = [];
    let timer = timerOf(a!.machine.handle({ kind: 'start' }, env()));
    const first = timer.token;
    for (let turn = 0; turn < 5; turn += 1) {
      timer = timerOf(a!.machine.handle({ kind: 'timer', token: timer.token }, env()));
      delays.push(timer.at_ms - NOW);
    }
    t.same(
      delays.toSorted((one, other) => one - other),
      delays,
    );
    t.equal(delays.at(-1), LEDGER_DEFAULTS.exchangeIdle_ms);
    const record = write(b!.machine, b!.signer.id, 'tag', 'app:1', TAG);
    const sooner = timerOf(introduce(a!.machine, [record]));
    t.equal(sooner.at_ms - NOW, LEDGER_DEFAULTS.exchange_ms);
    t.same(a!.machine.handle({ kind: 'timer', token: first }, env()), []);
  },
);

t.test('what comes and goes within one batch is never taken from the disk', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  const persisted = (effects: readonly LedgerEffect[]) =>
    effects.flatMap((effect) =>
      effect.kind === 'persist' ? [{ put: effect.put, remove: effect.remove }] : [],
    );
  const records = [1, 2, 3].map((number) =>
    write(a.machine, a.signer.id, 'tag', 'app:1', { digest: `sha256:${`${number}`.repeat(64)}` }),
  );
  t.match(persisted(introduce(b.machine, records)), [{ put: { length: 1 }, remove: { length: 0 } }]);
  const writes = [1, 2].map((number) => ({
    recordKind: 'tag',
    key: 'app:1',
    body: { digest: `sha256:${`${number}`.repeat(64)}` },
  }));
  const [last] = persisted(b.machine.handle({ kind: 'writes', author: b.signer.id, writes }, env()));
  t.same(
    last!.remove.map(({ digest }) => digest),
    [records[2]!.digest],
    'what was there before is',
  );
  t.equal(last!.put.length, 1);
});
