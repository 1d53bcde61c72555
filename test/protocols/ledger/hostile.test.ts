/** What members with bad intent, copied keys and old disks can do to a ledger: little, and the same on every node. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { type GrantBody, type RevokeBody, recordKey } from '../../../protocols/base/records.ts';
import {
  ACCUSED_MAX,
  COLLECT_TIMER,
  LEDGER_DEFAULTS,
  LedgerMachine,
  sealGenesis,
  TOLD_MAX,
} from '../../../protocols/ledger/machine.ts';
import { type LedgerRecord, sealRecord } from '../../../protocols/ledger/record.ts';
import { EPOCH_END } from '../../../protocols/ledger/record-reader.ts';
import { encodeSync, type SyncMessage } from '../../../protocols/ledger/sync.ts';
import { operatorGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import { fastCrypto, fastSigner } from '../../sim/fast-crypto.ts';
import {
  cluster,
  env,
  exchange,
  forged,
  genesis,
  introduce,
  memberGrant,
  NOW,
  operator,
  rejections,
  TAG,
  type TestNode,
  testSigner,
  unsigned,
  write,
} from './fixtures.ts';

function exchangeBothWays(a: TestNode, b: TestNode): void {
  for (let round = 0; round < 3; round += 1) exchange(a, b);
}

t.test('a kind that is named like a part of every object is a kind like any other', async (t) => {
  const [a, b] = cluster(2);
  const record = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
  for (const [at, kind] of ['constructor', '__proto__', 'toString'].entries()) {
    const odd = forged(record, { kind, seq: 9 + at }, a!.signer);
    t.same(rejections(introduce(b!.machine, [odd])), [], kind);
  }
});

t.test(
  'a peer that lies about what it holds makes no record disappear, and gets at most what it could have',
  async (t) => {
    const [a, b] = cluster(2);
    const record = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
    exchange(a!, b!);
    const { hash } = b!.machine.ledger;
    const liar = testSigner(9).id;
    b!.machine.handle({ kind: 'connected', peer: liar }, env());
    const lies: SyncMessage[] = [
      { kind: 'hello', hash: '00'.repeat(16), records: 0, horizon_ms: Number.MAX_SAFE_INTEGER },
      { kind: 'compare', splits: [{ prefix: '', parts: [] }], listings: [], wants: [], horizon_ms: 0 },
      {
        kind: 'compare',
        splits: [],
        listings: [
          { prefix: '', items: [{ digest: 'ab'.repeat(8), placeLow: record.placeLow, ms: NOW * 2, n: 0 }] },
        ],
        wants: [],
        horizon_ms: 0,
      },
      { kind: 'records', envelopes: [], last: true, more: true },
    ];
    for (const lie of lies) {
      const effects = b!.machine.handle({ kind: 'message', from: liar, body: encodeSync(lie) }, env());
      t.notOk(
        effects.some(({ kind }) => kind === 'persist' || kind === 'epoch'),
        lie.kind,
      );
    }
    t.equal(b!.machine.ledger.hash, hash);
  },
);

t.test('a peer that asks for everything again and again is given a bounded amount', async (t) => {
  const [a] = cluster(1);
  for (let number = 0; number < 60; number += 1)
    write(a!.machine, a!.signer.id, 'unheard-of', `key:${number}`, { text: 'x'.repeat(100_000) });
  const greedy = testSigner(9).id;
  a!.machine.handle({ kind: 'connected', peer: greedy }, env());
  const body = encodeSync({
    kind: 'compare',
    splits: [{ prefix: '', parts: [] }],
    listings: [],
    wants: [],
    horizon_ms: 0,
  });
  let given_bytes = 0;
  for (let round = 0; round < 50; round += 1) {
    for (const effect of a!.machine.handle({ kind: 'message', from: greedy, body }, env()))
      if (effect.kind === 'send') given_bytes += effect.body.byteLength;
  }
  t.ok(given_bytes <= LEDGER_DEFAULTS.giveBurst_bytes * 1.1, `${given_bytes} bytes`);
});

t.test('an author fills its quota and no more, and all nodes keep the same of it', async (t) => {
  const config = { author_records_max: 10 };
  const [a] = cluster(1);
  const records = Array.from({ length: 20 }, (_, number) =>
    write(a!.machine, a!.signer.id, 'tag', `app:${number}`, TAG, NOW + number),
  );
  const [b, c] = [1, 2].map((number): TestNode => {
    const signer = testSigner(number);
    const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer], config });
    introduce(
      machine,
      [...a!.machine.ledger.records()].filter(({ kind }) => kind === 'grant'),
    );
    return { signer, machine };
  });
  const refused = records.flatMap((record) => rejections(introduce(b!.machine, [record])));
  t.same(refused, Array(10).fill('over-quota'));
  for (const record of records.toReversed()) introduce(c!.machine, [record]);
  t.same([...b!.machine.ledger.ofKind('tag')].length, 10);
  t.equal(b!.machine.ledger.hash, c!.machine.ledger.hash);
  t.ok(
    records.slice(0, 10).every((record) => c!.machine.ledger.has(record)),
    'the earliest are kept',
  );
});

t.test('a stolen key that writes of long ago pushes out no grants, and not the beginning', async (t) => {
  const [a] = cluster(1);
  const junk = Array.from({ length: 30 }, (_, number) =>
    write(a!.machine, operator.id, 'tag', `app:${number}`, TAG, NOW + number),
  ).map((record, number) => forged(record, { hlc: { ms: 1 + number, n: 0 } }, operator));
  const own = [...a!.machine.ledger.recordsOf(operator.id)].filter(({ kind }) => kind !== 'tag');
  t.same(new Set(own.map(({ kind }) => kind)), new Set(['genesis', 'grant']));
  const config = { author_records_max: 10 };
  const hashes = [junk, junk.toReversed()].map((order) => {
    const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [testSigner(1)], config });
    introduce(machine, own);
    for (const record of order) introduce(machine, [record]);
    t.ok(own.every((record) => machine.ledger.has(record)));
    t.equal([...machine.ledger.recordsOf(operator.id)].length, 10);
    return machine.ledger.hash;
  });
  t.equal(hashes[0], hashes[1]);
});

t.test('what a revocation of a stolen key keeps is pushed out by nothing that the key writes', async (t) => {
  const recovery = testSigner(1001);
  const founding = sealGenesis(
    { name: 'test', operators: [recovery.id, operator.id], range: '10.210.0.0/16', nonce: '00'.repeat(16) },
    operator,
    nodeCrypto,
    NOW,
  );
  const make = (config = {}) =>
    new LedgerMachine({
      genesis: founding,
      crypto: nodeCrypto,
      signers: [testSigner(1), operator, recovery],
      config,
    });
  const origin = make();
  const host = testSigner(0).id;
  const grantKey = recordKey.grant(host, operator.id);
  const grant = write(origin, operator.id, 'grant', grantKey, memberGrant(host), NOW + 1);
  const mend = write(
    origin,
    recovery.id,
    'revoke',
    recordKey.revoke(operator.id, recovery.id),
    revokeBody({ subject: operator.id, reason: 'stolen', descendants: true, keeps: [grant.digest] }),
    NOW + 2,
  );
  // Of long ago, and so before the grant: revocations of nobody, grants, and an operator that says that those are good.
  const old = (signer: Signer, seq: number, kind: 'grant' | 'revoke', body: GrantBody | RevokeBody) => {
    const key = recordKey[kind](body.subject, signer.id);
    return sealRecord(
      { ...grant, author: signer.id, kind, key, seq, hlc: { ms: seq, n: 0 } },
      body,
      signer,
      nodeCrypto,
    );
  };
  const accomplice = testSigner(1002);
  const appointment = old(operator, 100, 'grant', operatorGrant(accomplice.id));
  const junkGrants = Array.from({ length: 12 }, (_, at) =>
    old(operator, 200 + at, 'grant', memberGrant(testSigner(2000 + at).id)),
  );
  const junkRevocations = Array.from({ length: 12 }, (_, at) =>
    old(operator, 300 + at, 'revoke', revokeBody({ subject: testSigner(3000 + at).id, reason: '' })),
  );
  const keeps = junkGrants.map(({ digest }) => digest);
  const vouching = old(accomplice, 1, 'revoke', revokeBody({ subject: operator.id, reason: '', keeps }));
  const junk = [appointment, vouching, ...junkRevocations, ...junkGrants];
  const honest = [grant, mend];
  const config = { author_records_max: 10 };
  const orders = {
    'the revocation first': [...honest, ...junk, ...junk],
    'the theft first': [...junk, ...junk, mend, grant],
    'the revocation in between': [grant, ...junk.slice(0, 20), mend, grant, ...junk],
  };
  const hashes = Object.entries(orders).map(([order, records]) => {
    const machine = make(config);
    for (const record of records) introduce(machine, [record], NOW + 9);
    t.ok(machine.ledger.has(grant), order);
    t.ok(machine.authority.isMember(host), order);
    t.equal([...machine.ledger.recordsOf(operator.id)].length, 10, order);
    return machine.ledger.hash;
  });
  t.equal(new Set(hashes).size, 1);
});

t.test('a record that was replaced, came back and is one too many then leaves whole', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  const config = { author_records_max: 4 };
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [testSigner(9)], config });
  const arrive = (...records: LedgerRecord[]) => rejections(introduce(machine, records, NOW + 9));
  arrive(...[...a.machine.ledger.records()].filter(({ kind }) => kind === 'grant'));
  const tagsOf = ({ machine, signer }: TestNode, ...names: string[]) =>
    names.map((name, at) => write(machine, signer.id, 'tag', name, TAG, NOW + at));
  const [first, ...others] = tagsOf(a, 'app:1', 'app:2', 'app:3', 'app:4') as [LedgerRecord];
  const [last, over] = tagsOf(a, 'app:5', 'app:6') as [LedgerRecord, LedgerRecord];
  arrive(...others, last);
  t.same(arrive(over), ['over-quota']);
  const theirs = tagsOf(b, 'their:1', 'their:2', 'their:3', 'their:4');
  introduce(b.machine, [last], NOW + 9);
  arrive(write(b.machine, b.signer.id, 'tag', last.key, TAG, NOW + 9));
  t.notOk(machine.ledger.has(last));
  arrive(...theirs, last);
  t.ok(machine.ledger.has(last), 'what had replaced it was one too many itself');
  arrive(first);
  const digests = (records: Iterable<LedgerRecord>) => [...records].map(({ digest }) => digest).sort();
  const left = [first, ...others];
  t.same(digests(machine.ledger.recordsOf(a.signer.id)), digests(left));
  t.same(
    digests([...machine.ledger.ofKind('tag')].flatMap(([, siblings]) => siblings)),
    digests([...left, ...theirs]),
  );
});

t.test('a node that is at its quota is told so, and may still change what it has', async (t) => {
  const signer = testSigner(0);
  const config = { author_records_max: 3 };
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer, operator], config });
  write(machine, operator.id, 'grant', `${signer.id}/${operator.id}`, memberGrant(signer.id));
  for (const key of ['app:1', 'app:2', 'app:3']) write(machine, signer.id, 'tag', key, TAG);
  t.throws(() => write(machine, signer.id, 'tag', 'app:4', TAG), { code: 'E_QUOTA' });
  write(machine, signer.id, 'tag', 'app:3', null);
  t.equal(machine.ledger.get('tag', 'app:3'), undefined);
});

t.test('a node at its quota says what it must all the same, and all nodes keep the same of it', async (t) => {
  const config = { author_records_max: 6 };
  const [a, b] = [0, 1].map((number): TestNode => {
    const signer = testSigner(number);
    const signers = [signer, operator] as const;
    return { signer, machine: new LedgerMachine({ genesis, crypto: nodeCrypto, signers, config }) };
  }) as [TestNode, TestNode];
  const grant = memberGrant(a.signer.id);
  const key = `${a.signer.id}/${operator.id}`;
  introduce(b.machine, [write(a.machine, operator.id, 'grant', key, grant)]);
  for (let tag = 1; tag <= 6; tag += 1)
    write(a.machine, a.signer.id, 'tag', `app:${tag}`, tag === 1 ? null : TAG, NOW + tag);
  introduce(b.machine, [...a.machine.ledger.recordsOf(a.signer.id)], NOW + 9);
  const member = write(a.machine, a.signer.id, 'member', a.signer.id, { incarnation: 1 }, NOW + 9);
  t.ok(a.machine.ledger.has(member));
  const later = NOW + 3 * LEDGER_DEFAULTS.tombstone_ms;
  const due = a.machine.handle({ kind: 'timer', token: COLLECT_TIMER }, env(later));
  t.ok(due.some((effect) => effect.kind === 'schedule' && effect.token === COLLECT_TIMER));
  const ack = a.machine.ledger.get('ack', a.signer.id)!;
  const [one, other] = [{ key: 'app:8' }, { key: 'app:9' }].map((changes) =>
    forged(member, { kind: 'tag', seq: 50, hlc: { ms: NOW, n: 1 }, ...changes }, operator),
  ) as [LedgerRecord, LedgerRecord];
  introduce(a.machine, [one, other], later);
  a.machine.handle({ kind: 'timer', token: 'evidence' }, env(later));
  t.ok(a.machine.flagged().has(operator.id));
  const own = [...a.machine.ledger.recordsOf(a.signer.id)];
  t.equal(own.length, 6);
  t.notOk(a.machine.ledger.get('tag', 'app:6'), 'the latest of the others goes');
  t.ok(a.machine.ledger.get('tag', 'app:3'));
  t.same(rejections(introduce(b.machine, [member, ack, ...own], later)), []);
  t.same(
    [...b.machine.ledger.recordsOf(a.signer.id)].map(({ digest }) => digest).sort(),
    own.map(({ digest }) => digest).sort(),
  );
});

t.test('an acknowledgement has room beside any deletions, and all nodes keep the same of them', async (t) => {
  const [a, b, c] = cluster(3) as [TestNode, TestNode, TestNode];
  const names = ['1', '2', '3', '4'];
  const theirs = names.map((name) => write(b.machine, b.signer.id, 'tag', `app:${name}`, TAG));
  introduce(a.machine, theirs);
  for (const [at, name] of names.entries())
    write(a.machine, a.signer.id, 'tag', `app:${name}`, null, NOW + 1 + at);
  const deletions = [...a.machine.ledger.recordsOf(a.signer.id)];
  const later = NOW + 3 * LEDGER_DEFAULTS.tombstone_ms;
  a.machine.handle({ kind: 'timer', token: COLLECT_TIMER }, env(later));
  const ack = a.machine.ledger.get('ack', a.signer.id)!;
  // Under another key it counts nowhere, and any number of them has room.
  const vain = forged(ack, { key: `${a.signer.id}/1`, seq: 50, hlc: { ms: NOW, n: 1 } }, a.signer);
  const grants = [...c.machine.ledger.ofKind('grant')].flatMap(([, records]) => records);
  const orders = [
    [...deletions, ack, vain],
    [vain, ack, ...deletions],
  ];
  const hashes = orders.map((order) => {
    const config = { author_records_max: 4 };
    const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [testSigner(9)], config });
    introduce(machine, grants);
    for (const record of order) introduce(machine, [record], later);
    t.ok(machine.ledger.has(ack));
    t.equal([...machine.ledger.recordsOf(a.signer.id)].length, 4);
    return machine.ledger.hash;
  });
  t.equal(hashes[0], hashes[1]);
});

t.test('a part of the quota is left free for what a node must say', async (t) => {
  const [a] = cluster(1);
  const signer = testSigner(7);
  const config = { author_records_max: 32 };
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer, operator], config });
  write(machine, operator.id, 'grant', `${signer.id}/${operator.id}`, memberGrant(signer.id));
  for (let tag = 0; tag < 30; tag += 1) write(machine, signer.id, 'tag', `app:${tag}`, TAG);
  t.throws(() => write(machine, signer.id, 'tag', 'app:30', TAG), { code: 'E_QUOTA' });
  write(machine, signer.id, 'member', signer.id, { incarnation: 1 });
  const theirs = write(a!.machine, operator.id, 'tag', 'other:1', TAG);
  introduce(machine, [theirs]);
  write(machine, signer.id, 'tag', 'other:1', null, NOW + 1);
  t.equal(machine.ledger.get('tag', 'other:1'), undefined, 'and for deletions');
  t.equal([...machine.ledger.recordsOf(signer.id)].length, 32, 'nothing had to go');
});

t.test('a deletion that would itself be what goes is refused, and not written for a moment', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  const signer = testSigner(7);
  const config = { author_records_max: 4 };
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer, operator], config });
  introduce(
    machine,
    [...a.machine.ledger.ofKind('grant')].flatMap(([, grants]) => grants),
  );
  write(machine, operator.id, 'grant', `${signer.id}/${operator.id}`, memberGrant(signer.id));
  const names = ['1', '2', '3', '4', '5'];
  const tags = names.map((name, at) => {
    const { machine, signer } = at < 3 ? a : b;
    return write(machine, signer.id, 'tag', `other:${name}`, TAG);
  });
  t.same(rejections(introduce(machine, tags)), []);
  for (const name of names.slice(0, 4)) write(machine, signer.id, 'tag', `other:${name}`, null, NOW + 1);
  const { hash } = machine.ledger;
  t.throws(() => write(machine, signer.id, 'tag', 'other:5', null, NOW + 2), { code: 'E_QUOTA' });
  t.same(
    [machine.ledger.hash, machine.ledger.get('tag', 'other:5')?.body],
    [hash, TAG],
    'nothing was changed',
  );
});

t.test('a stranger whose key has an equal hash takes nothing from what a node may write', async (t) => {
  const signer = testSigner(0);
  const config = { author_records_max: 6 };
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer, operator], config });
  write(machine, operator.id, 'grant', `${signer.id}/${operator.id}`, memberGrant(signer.id));
  const first = write(machine, signer.id, 'tag', 'app:1', TAG);
  for (let number = 0; number < 6; number += 1) {
    const key = `theirs:${number}`;
    const like = unsigned({ ...first, author: operator.id, key, seq: 100 + number }, TAG, `${number}`);
    machine.ledger.merge({ ...like, authorHash: first.authorHash });
  }
  t.ok(write(machine, signer.id, 'tag', 'app:2', TAG));
});

t.test('a record that is over the quota of its author takes the place of no other', async (t) => {
  const [a, b, c] = cluster(3) as [TestNode, TestNode, TestNode];
  const machine = new LedgerMachine({
    genesis,
    crypto: nodeCrypto,
    signers: [c.signer],
    config: { author_records_max: 3, author_bytes_max: 1500 },
  });
  introduce(
    machine,
    // The operator has no room for one more.
    [a, b].flatMap(({ signer }) =>
      c.machine.ledger.siblings('grant', recordKey.grant(signer.id, operator.id)),
    ),
  );
  const theirs = write(b.machine, b.signer.id, 'tag', 'app:1', TAG);
  const tags = [2, 3, 4].map((tag) => write(a.machine, a.signer.id, 'tag', `app:${tag}`, TAG, NOW + tag));
  introduce(a.machine, [theirs], NOW + 5);
  const over = write(a.machine, a.signer.id, 'tag', 'app:1', { ...TAG, platform: 'x' }, NOW + 6);
  introduce(machine, [theirs, ...tags], NOW + 5);
  t.same(rejections(introduce(machine, [over], NOW + 6)), ['over-quota']);
  t.ok(machine.ledger.has(theirs));
  // Nor that of its author itself, when there are too many bytes.
  const large = write(a.machine, a.signer.id, 'tag', 'app:2', { text: 'x'.repeat(1400) }, NOW + 7);
  t.same(rejections(introduce(machine, [large], NOW + 7)), ['over-quota']);
  t.ok(tags.every((tag) => machine.ledger.has(tag)));
  const other = write(a.machine, a.signer.id, 'tag', 'app:3', { digest: TAG.digest, at: 2 }, NOW + 8);
  t.same(rejections(introduce(machine, [other], NOW + 8)), [], 'what it has it may change');
  t.ok(machine.ledger.has(other));
});

t.test('authors that nobody vouches for are left out of a context', async (t) => {
  const [a, b] = cluster(2);
  const record = write(b!.machine, b!.signer.id, 'tag', 'app:1', TAG);
  const invented = Array.from({ length: 256 }, (_, number) => ({
    author: testSigner(3000 + number).id,
    epoch: 0,
    seq: 1,
  }));
  introduce(a!.machine, [
    forged(record, { seq: 2, hlc: { ms: NOW + 1, n: 0 }, context: invented }, b!.signer),
  ]);
  const written = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG, NOW + 2);
  t.same(written.context, [{ author: b!.signer.id, epoch: 0, seq: 2 }]);
});

t.test(
  'evidence of a copied key is written once, proves itself, and flags the author everywhere',
  async (t) => {
    const [a, b, c] = cluster(3);
    const one = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
    const twin = forged(one, { key: 'app:2' }, a!.signer);
    const effects = introduce(b!.machine, [one, twin]);
    t.ok(effects.some((effect) => effect.kind === 'schedule' && effect.token === 'evidence'));
    b!.machine.handle({ kind: 'timer', token: 'evidence' }, env());
    t.same([...b!.machine.flagged().keys()], [a!.signer.id]);
    exchange(b!, c!);
    t.same([...c!.machine.flagged()], [[a!.signer.id, [b!.signer.id]]]);
    const heard = introduce(c!.machine, [forged(one, { key: 'app:3' }, a!.signer)]);
    t.notOk(
      heard.some((effect) => effect.kind === 'schedule' && effect.token === 'evidence'),
      'once is enough',
    );
  },
);

t.test('of several who notice a copied key one writes it down, and none that was cut off', async (t) => {
  const [a, b, c, d] = cluster(4) as [TestNode, TestNode, TestNode, TestNode];
  const one = write(a.machine, a.signer.id, 'tag', 'app:1', TAG);
  for (const { machine } of [b, c, d]) introduce(machine, [one, forged(one, { key: 'app:2' }, a.signer)]);
  const due = ({ machine }: TestNode) => machine.handle({ kind: 'timer', token: 'evidence' }, env());
  const cut = revokeBody({ subject: d.signer.id, reason: 'test', cut: { epoch: 0, last: 9 } });
  const key = recordKey.revoke(d.signer.id, operator.id);
  introduce(d.machine, [write(a.machine, operator.id, 'revoke', key, cut)]);
  t.same(due(d), []);
  t.ok(due(b).some(({ kind }) => kind === 'written'));
  exchange(b, c);
  t.same(due(c), []);
  t.same([...c.machine.flagged()], [[a.signer.id, [b.signer.id]]]);
});

t.test('however many keys are copied, what is kept and written of them has an end', async (t) => {
  const [node, op] = [fastSigner('node'), fastSigner('op')];
  const body = { name: 'test', operators: [op.id], range: '10.210.0.0/16', nonce: '00'.repeat(16) };
  const machine = new LedgerMachine({
    genesis: sealGenesis(body, op, fastCrypto, NOW),
    crypto: fastCrypto,
    signers: [node, op],
  });
  const authors = Array.from({ length: TOLD_MAX + 1 }, (_, at) => fastSigner(`author-${at}`));
  for (const { id } of [node, ...authors])
    write(machine, op.id, 'grant', recordKey.grant(id, op.id), memberGrant(id));
  const like = write(machine, node.id, 'tag', 'app:1', TAG);
  const twin = (author: Signer, key: string) =>
    sealRecord({ ...like, author: author.id, key: `${author.id}/${key}` }, TAG, author, fastCrypto);
  const isTold = (author: Signer, ...keys: string[]) =>
    introduce(
      machine,
      keys.map((key) => twin(author, key)),
    ).some(({ kind }) => kind === 'equivocation');
  const [first, ...others] = authors as [Signer, ...Signer[]];
  t.ok(isTold(first, '1', '2'));
  t.notOk(isTold(first, '3'), 'it is no news');
  t.equal(others.filter((author) => isTold(author, '1', '2')).length, others.length);
  t.ok(isTold(first, '4'), 'the oldest was forgotten');
  t.notOk(isTold(others.at(-1)!, '4'));
  const written = machine
    .handle({ kind: 'timer', token: 'evidence' }, env())
    .filter(({ kind }) => kind === 'written');
  t.equal(written.length, ACCUSED_MAX);
});

t.test('evidence that proves nothing is refused', async (t) => {
  const [a, b] = cluster(2);
  const one = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG);
  const other = write(a!.machine, a!.signer.id, 'tag', 'app:2', TAG);
  const accuse = (accused: string, first: Uint8Array, second: Uint8Array, seq: number) =>
    sealRecord(
      { ...one, author: b!.signer.id, seq, kind: 'evidence', key: `${b!.signer.id}/${accused}` },
      { first, second },
      b!.signer,
      nodeCrypto,
    );
  const elsewhere = (key: string) => forged(one, { cluster: 'e'.repeat(64), key }, a!.signer).bytes;
  const forgedTwin = forged(one, { author: a!.signer.id, key: 'app:9' }, a!.signer).bytes.slice();
  forgedTwin[forgedTwin.length - 1]! ^= 1;
  const cases = [
    accuse(a!.signer.id, one.bytes, other.bytes, 50),
    accuse(a!.signer.id, one.bytes, one.bytes, 51),
    accuse(a!.signer.id, one.bytes, forgedTwin, 52),
    accuse(a!.signer.id, Uint8Array.of(1), Uint8Array.of(2), 53),
    // What the same key signed in another cluster is no matter of this one.
    accuse(a!.signer.id, elsewhere('app:1'), elsewhere('app:2'), 54),
    accuse(a!.signer.id, one.bytes, elsewhere('app:2'), 55),
    accuse(a!.signer.id, elsewhere('app:2'), one.bytes, 56),
  ];
  for (const record of cases) t.same(rejections(introduce(a!.machine, [record])), ['not-allowed']);
  t.equal(a!.machine.flagged().size, 0);
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
  t.ok(write(a!.machine, a!.signer.id, 'tag', 'app:2', TAG).epoch > 0);
});

t.test('nobody can write off what is not written yet', async (t) => {
  const [a, b] = cluster(2);
  const record = write(b!.machine, b!.signer.id, 'tag', 'app:1', TAG);
  const context = [{ author: a!.signer.id, epoch: EPOCH_END - 1, seq: Number.MAX_SAFE_INTEGER }];
  introduce(a!.machine, [forged(record, { seq: 2, hlc: { ms: NOW + 1, n: 0 }, context }, b!.signer)]);
  const written = write(a!.machine, a!.signer.id, 'tag', 'app:1', TAG, NOW + 2);
  t.ok(a!.machine.ledger.has(written));
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

t.test(
  'a token that is used too often fills no ledger, and all nodes keep the same of its grants',
  async (t) => {
    const [a, b] = cluster(2);
    const token = testSigner(50);
    const roles = ['member', 'worker', 'deployer'] as const;
    const admit = write(a!.machine, operator.id, 'grant', `${token.id}/${operator.id}`, {
      ...memberGrant(token.id, { roles: ['admit'], admits: [...roles], uses: 2 }),
    });
    introduce(b!.machine, [admit]);
    const hosts = Array.from({ length: 12 }, (_, number) => testSigner(4000 + number));
    const grants = hosts.map(({ id }, at) =>
      sealRecord(
        { ...admit, author: token.id, seq: at + 1, key: `${id}/${token.id}`, hlc: { ms: NOW + at, n: 0 } },
        memberGrant(id, { parent: admit.digest }),
        token,
        nodeCrypto,
      ),
    );
    const tags = hosts.map((host) =>
      forged(admit, { author: host.id, seq: 1, kind: 'tag', key: host.id }, host),
    );
    for (const record of [...grants, ...tags]) introduce(a!.machine, [record]);
    for (const record of [...grants, ...tags].toReversed()) introduce(b!.machine, [record]);
    exchangeBothWays(a!, b!);
    t.equal(a!.machine.ledger.hash, b!.machine.ledger.hash);
    const ofToken = [...a!.machine.ledger.recordsOf(token.id)];
    t.equal(ofToken.length, 3, 'those that count, and one more as the proof');
    const least = grants
      .map(({ digest }) => digest)
      .sort()
      .slice(0, 3);
    t.same(ofToken.map(({ digest }) => digest).sort(), least);
    t.equal([...a!.machine.ledger.ofKind('tag')].length, 3, 'what the others wrote went with their grants');
  },
);

t.test('a true record is taken although a copy with a false signature came first', async (t) => {
  // Either of the two may be the one that lists what it has, and so the other the one that asks.
  for (const [writer, reader] of [
    [0, 1],
    [1, 0],
  ] as const) {
    const nodes = cluster(2);
    const [from, to] = [nodes[writer]!, nodes[reader]!];
    const record = write(from.machine, from.signer.id, 'tag', 'app:1', TAG);
    const copy = record.bytes.slice();
    copy[copy.length - 1]! ^= 1;
    const [effect] = to.machine.handle({ kind: 'introduce', envelopes: [copy] }, env());
    t.match(effect, { kind: 'rejected', reason: 'bad-signature' });
    exchange(from, to);
    t.ok(to.machine.ledger.has(record));
  }
});

/** Grants for so many keys, which `node` knows. */
function granted(node: TestNode, count: number, roles: GrantBody['roles']): Signer[] {
  const signers = Array.from({ length: count }, (_, at) => testSigner(3000 + at));
  for (const { id } of signers)
    write(node.machine, operator.id, 'grant', recordKey.grant(id, operator.id), memberGrant(id, { roles }));
  return signers;
}

t.test('a context of as many authors as a record may name closes no key', async (t) => {
  for (const roles of [
    ['member', 'worker'],
    ['member', 'deployer'],
  ] as const) {
    const [a, b] = cluster(2) as [TestNode, TestNode];
    const signers = granted(a, 256, [...roles]);
    const context = signers.map(({ id }) => ({ author: id, epoch: EPOCH_END - 1, seq: 1 }));
    const record = write(b.machine, b.signer.id, 'tag', 'app:1', TAG);
    const full = forged(record, { seq: 2, hlc: { ms: NOW + 1, n: 0 }, context }, b.signer);
    exchange(a, b);
    introduce(a.machine, [full]);
    const again = write(a.machine, a.signer.id, 'tag', 'app:1', TAG, NOW + 2);
    t.same(a.machine.ledger.siblings('tag', 'app:1'), [again], 'what is live is replaced');
    const isDeployer = roles.some((role) => role === 'deployer');
    t.equal(again.context.length, isDeployer ? 256 : 1, 'who could not write it is not named');
    introduce(b.machine, [full, again]);
    write(a.machine, a.signer.id, 'tag', 'app:1', null, NOW + 3);
    t.equal(a.machine.ledger.get('tag', 'app:1'), undefined);
  }
});

t.test('a key that more hosts have written than a record may name is open to the next', async (t) => {
  const [a] = cluster(1) as [TestNode];
  const first = write(a.machine, a.signer.id, 'tag', 'app:1', TAG);
  const signers = granted(a, 300, ['member', 'deployer']);
  const written = signers.map((signer, at) =>
    forged(first, { seq: 1, hlc: { ms: NOW + 1 + at, n: 0 }, context: [] }, signer),
  );
  introduce(a.machine, written);
  t.equal(a.machine.ledger.siblings('tag', 'app:1').length, 301);
  const gone = write(a.machine, a.signer.id, 'tag', 'app:1', null, NOW + 1000);
  t.equal(gone.context.length, 256);
  t.equal(a.machine.ledger.get('tag', 'app:1'), undefined, 'it is deleted, whatever stands beside that');
  t.equal(a.machine.ledger.siblings('tag', 'app:1').length, 45);
  write(a.machine, operator.id, 'tag', 'app:1', null, NOW + 1001);
  t.equal(a.machine.ledger.siblings('tag', 'app:1').length, 1, 'and the next writer names the rest');
  const late = introduce(a.machine, written, NOW + 1002);
  t.same(rejections(late), []);
  t.equal(a.machine.ledger.get('tag', 'app:1'), undefined, 'what comes back does not win');
});
