/** What is written before the horizon and heard of after it: it is not lost, and nobody may use that to bring back more. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { type GenesisBody, recordKey } from '../../../protocols/base/records.ts';
import type { LedgerEffect } from '../../../protocols/ledger/effects.ts';
import { HEARSAY_MS } from '../../../protocols/ledger/horizon.ts';
import { LEDGER_DEFAULTS, type LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { sealRecord } from '../../../protocols/ledger/record.ts';
import { decodeSync, encodeSync, itemOf, shortDigest } from '../../../protocols/ledger/sync.ts';
import { Authority } from '../../../protocols/trust/authority.ts';
import {
  cluster,
  env,
  everybody,
  exchange,
  forged,
  genesis,
  introduce,
  memberGrant,
  NOW,
  newMachine,
  newNode,
  numberedActs,
  operator,
  rejections,
  round,
  TAG,
  type TestNode,
  testSigner,
  write,
} from './fixtures.ts';

const LATER = NOW + 2 * LEDGER_DEFAULTS.tombstone_ms;

/** All have collected; `a` wrote `late` before that, and only its acknowledgement went to the others. */
function lateWrite(kind = 'tag', key = (_author: string) => 'late:1') {
  const nodes = cluster(3) as [TestNode, TestNode, TestNode];
  const [a, b, c] = nodes;
  for (const { machine, signer } of nodes) write(machine, signer.id, 'member', signer.id, { name: 'x' });
  const gone = write(b.machine, b.signer.id, 'tag', 'gone:1', TAG);
  everybody(nodes, NOW);
  write(b.machine, b.signer.id, 'tag', 'gone:1', null, NOW + 1);
  everybody(nodes, NOW + 1);
  const late = write(a.machine, a.signer.id, kind, key(a.signer.id), TAG, NOW + 2);
  for (const { machine } of nodes) machine.handle({ kind: 'timer', token: 'collect' }, env(LATER));
  const acks = nodes.flatMap(({ machine, signer }) => machine.ledger.siblings('ack', signer.id));
  for (const { machine } of nodes) {
    introduce(machine, acks, LATER);
    machine.handle({ kind: 'timer', token: 'collect' }, env(LATER));
  }
  for (const { machine } of nodes) t.ok(machine.horizon_ms > NOW + 2);
  return { nodes, a, b, c, gone, late };
}

t.test('a write that others hear of only after the horizon is taken from whoever may write it', async (t) => {
  const { nodes, late } = lateWrite();
  everybody(nodes, LATER);
  for (const { machine } of nodes) t.ok(machine.ledger.has(late));
  t.equal(new Set(nodes.map(({ machine }) => machine.ledger.hash)).size, 1);
});

t.test('what was stale from one is asked for at once from another that has collected as far', async (t) => {
  const { a, b, late } = lateWrite();
  t.same(rejections(introduce(b.machine, [late], LATER)), ['stale']);
  b.machine.handle({ kind: 'connected', peer: a.signer.id }, env(LATER));
  const listing = { prefix: '', items: Array.from(a.machine.ledger.records(), itemOf) };
  const wanted = (horizon_ms: number) => {
    const body = encodeSync({ kind: 'compare', splits: [], listings: [listing], wants: [], horizon_ms });
    const effects = b.machine.handle({ kind: 'message', from: a.signer.id, body }, env(LATER));
    return effects
      .flatMap((effect) => (effect.kind === 'send' ? [decodeSync(effect.body)] : []))
      .flatMap((message) => (message.kind === 'compare' ? message.wants : []))
      .flatMap(({ digests }) => digests);
  };
  t.notOk(wanted(0).includes(shortDigest(late)));
  t.ok(wanted(a.machine.horizon_ms).includes(shortDigest(late)));
});

t.test('what only its author may write is taken from others when the author is gone', async (t) => {
  const { b, c, a, late } = lateWrite('alloc', (author) => `${author}/1`);
  exchange(a, b, LATER);
  t.ok(b.machine.ledger.has(late));
  everybody([b, c], LATER);
  t.ok(c.machine.ledger.has(late));
  t.equal(b.machine.ledger.hash, c.machine.ledger.hash);
});

t.test('what was deleted is not taken from one who could not write it', async (t) => {
  const { b, gone } = lateWrite();
  const worker = testSigner(30);
  b.machine.handle({ kind: 'connected', peer: worker.id }, env(LATER));
  const tell = (message: Parameters<typeof encodeSync>[0]) =>
    b.machine.handle({ kind: 'message', from: worker.id, body: encodeSync(message) }, env(LATER));
  tell({ kind: 'hello', hash: '0f'.repeat(16), records: 1, horizon_ms: LATER });
  const effects = tell({ kind: 'records', envelopes: [gone.bytes], last: true, more: false });
  t.same(rejections(effects), ['stale']);
  t.same(rejections(introduce(b.machine, [gone], LATER)), ['stale']);
});

t.test('a node that begins with a prepared ledger stamps after all that is in it', async (t) => {
  const [a] = cluster(1) as [TestNode];
  write(a.machine, a.signer.id, 'tag', 'app:1', TAG, NOW + 30_000);
  const ledger = a.machine.ledger.fork();
  const authority = new Authority(genesis.digest, genesis.body as GenesisBody);
  for (const record of ledger.records()) authority.add(record);
  const machine = newMachine({ signers: [a.signer], prepared: { ledger, authority } });
  write(machine, a.signer.id, 'tag', 'app:1', null);
  t.equal(machine.ledger.get('tag', 'app:1'), undefined);
});

t.test('how an envelope is written changes nothing of what its author may have', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  const writes = ['1', '2', '3'].map((tag) => ({ recordKind: 'tag', key: `app:${tag}`, body: TAG }));
  const effects = a.machine.handle({ kind: 'writes', author: a.signer.id, writes }, env());
  const batched = effects.flatMap((effect) => (effect.kind === 'written' ? [effect.record] : []));
  const alone = batched.map((record) => sealRecord(record, record.body, a.signer, nodeCrypto));
  introduce(b.machine, alone);
  t.same(
    b.machine.ledger.filledBy(alone[0]!),
    a.machine.ledger.filledBy(batched[0]!),
    'signed alone or in a batch',
  );
});

t.test('nor from one that was revoked, though it once could', async (t) => {
  const { nodes, a, b, c, gone } = lateWrite();
  write(
    a.machine,
    operator.id,
    'revoke',
    recordKey.revoke(c.signer.id, operator.id),
    {
      subject: c.signer.id,
      epoch: 0,
      last: 99,
      reason: 'stolen',
    },
    LATER,
  );
  everybody(nodes, LATER);
  b.machine.handle({ kind: 'connected', peer: c.signer.id }, env(LATER));
  const tell = (message: Parameters<typeof encodeSync>[0]) =>
    b.machine.handle({ kind: 'message', from: c.signer.id, body: encodeSync(message) }, env(LATER));
  tell({ kind: 'hello', hash: '0f'.repeat(16), records: 1, horizon_ms: LATER });
  t.same(rejections(tell({ kind: 'records', envelopes: [gone.bytes], last: true, more: false })), ['stale']);
});

t.test('how far a peer has collected is known from its greeting alone', async (t) => {
  const { a, b, late } = lateWrite();
  b.machine.handle({ kind: 'connected', peer: a.signer.id }, env(LATER));
  const tell = (message: Parameters<typeof encodeSync>[0]) =>
    b.machine.handle({ kind: 'message', from: a.signer.id, body: encodeSync(message) }, env(LATER));
  tell({ kind: 'hello', hash: '0f'.repeat(16), records: 1, horizon_ms: a.machine.horizon_ms });
  t.same(rejections(tell({ kind: 'records', envelopes: [late.bytes], last: true, more: false })), []);
  t.ok(b.machine.ledger.has(late));
});

function restarted({ machine, signer }: TestNode, horizon_ms: number): LedgerMachine {
  const stored = { records: [...machine.ledger.records()], streams: [] };
  return newMachine({ signers: [signer], horizon_ms, stored });
}

/** All have collected. Then a deployer shows a record from before the horizon, of its own making, to a worker alone. */
function withPlanted(key: string, body: unknown, generation = 1) {
  const act = numberedActs();
  const liar = testSigner(20);
  const signers = [testSigner(0), testSigner(1), testSigner(2)];
  const worker = signers[0]!;
  const grants = [worker, ...signers.slice(1), liar].map(({ id }) =>
    act(operator, 'grant', memberGrant(id, id === worker.id ? { roles: ['member', 'worker'] } : {})),
  );
  const nodes = [...signers, liar].map((signer): TestNode => {
    const stored = { records: grants, streams: [] };
    return {
      signer,
      machine: newMachine({ signers: [signer], stored }),
    };
  });
  const [x, y] = nodes as [TestNode, TestNode];
  write(y.machine, y.signer.id, 'tag', 'gone:1', null, NOW + 1);
  everybody(nodes, NOW + 1);
  for (let turn = 0; turn < 3; turn += 1) round(nodes, LATER);
  const horizon_ms = x.machine.horizon_ms;
  const mine = newNode(liar);
  introduce(mine.machine, grants);
  const own = write(mine.machine, liar.id, 'tag', key, body, NOW + 2);
  const planted = forged(own, { generation, seq: 7 }, liar);
  x.machine.handle({ kind: 'connected', peer: liar.id }, env(LATER));
  const tell = (message: Parameters<typeof encodeSync>[0]) =>
    x.machine.handle({ kind: 'message', from: liar.id, body: encodeSync(message) }, env(LATER));
  tell({ kind: 'hello', hash: '0f'.repeat(16), records: 1, horizon_ms });
  tell({ kind: 'records', envelopes: [planted.bytes], last: true, more: false });
  x.machine.handle({ kind: 'disconnected', peer: liar.id }, env(LATER));
  return { nodes, x, y, planted, horizon_ms };
}

/** The node, and all effects that it has from now on. */
function watched({ signer, machine }: TestNode, seen: LedgerEffect[]): TestNode {
  const handle = (...[event, env]: Parameters<LedgerMachine['handle']>) => {
    const effects = machine.handle(event, env);
    seen.push(...effects);
    return effects;
  };
  return { signer, machine: { handle } as LedgerMachine };
}

/** A node that knows the members and has collected nothing. */
function early(signer: TestNode['signer'], { machine }: TestNode): TestNode {
  const node = newNode(signer);
  const grants = [...machine.ledger.records()].filter(({ kind }) => kind === 'grant');
  introduce(node.machine, grants);
  return node;
}

for (const [what, key, body, generation, isLeft] of [
  ['a deletion', 'app:2', null, 1, false],
  ['a version that a deletion beats', 'app:1', TAG, 1, true],
  ['a version that beats a deletion', 'app:1', TAG, 9, true],
] as const)
  t.test(`${what} from before the horizon that one worker was shown holds up no collection`, async (t) => {
    const { nodes, x, y, planted, horizon_ms } = withPlanted(key, body, generation);
    t.ok(horizon_ms > NOW + 2);
    const machine = restarted(x, horizon_ms);
    t.ok(machine.ledger.has(planted));
    const all = [{ signer: x.signer, machine }, ...nodes.slice(1)];
    write(y.machine, y.signer.id, 'tag', 'app:1', null, LATER + 1);
    everybody(all, LATER + 1);
    for (let turn = 0; turn < 3; turn += 1) round(all, LATER + 2 * LEDGER_DEFAULTS.tombstone_ms);
    for (const { machine } of all) t.ok(machine.horizon_ms > LATER);
    for (const { machine } of nodes.slice(1)) t.equal(machine.ledger.tombstones_count, 0);
    t.equal(machine.ledger.has(planted), isLeft);
    t.equal(machine.ledger.hash === y.machine.ledger.hash, !isLeft);
  });

for (const [what, generation, isAgain] of [
  ['is hidden', 1, false],
  ['is shown', 9, false],
  ['is hidden', 1, true],
  ['is shown', 9, true],
] as const)
  t.test(
    `what one worker was shown, and ${what} there beside a deletion that all others collect, hides nothing new, ${isAgain ? 'also' : 'not'} after a restart`,
    async (t) => {
      const { nodes, x, y, horizon_ms } = withPlanted('app:1', TAG, generation);
      let machine = restarted(x, horizon_ms);
      let all = [{ signer: x.signer, machine }, ...nodes.slice(1)];
      for (const body of [TAG, TAG, null]) write(y.machine, y.signer.id, 'tag', 'app:1', body, LATER + 1);
      everybody(all, LATER + 1);
      const collected = LATER + 2 * LEDGER_DEFAULTS.tombstone_ms;
      for (let turn = 0; turn < 3; turn += 1) round(all, collected);
      t.ok(machine.ledger.tombstones_count > 0 && y.machine.ledger.tombstones_count === 0);
      if (isAgain) {
        machine = restarted({ ...x, machine }, machine.horizon_ms);
        machine.handle({ kind: 'start' }, env(collected));
        all = [{ signer: x.signer, machine }, ...nodes.slice(1)];
      }
      const again = write(y.machine, y.signer.id, 'tag', 'app:1', TAG, collected);
      everybody(all, collected + HEARSAY_MS);
      for (const { machine } of all) {
        t.equal(machine.ledger.get('tag', 'app:1')?.digest, again.digest);
        t.equal(machine.ledger.hash, y.machine.ledger.hash);
      }
    },
  );

t.test('a worker gives nobody what would be held against it', async (t) => {
  const { x, y, planted } = withPlanted('app:1', TAG);
  const effects: LedgerEffect[] = [];
  exchange(watched(x, effects), watched(y, effects), LATER);
  exchange(watched(y, effects), watched(x, effects), LATER);
  t.same(rejections(effects), []);
  const other = early(y.signer, x);
  exchange(x, other, LATER);
  t.ok(other.machine.ledger.has(planted), 'who has not collected as far takes it');
});

t.test('what one deployer showed to a worker alone goes when others have long been without it', async (t) => {
  const { nodes, x, y, planted } = withPlanted('app:1', TAG);
  const [, , z] = nodes as [TestNode, TestNode, TestNode];
  const honest = nodes.slice(0, 3);
  const known = write(z.machine, z.signer.id, 'tag', 'app:2', TAG, LATER);
  everybody(honest, LATER);
  t.ok(x.machine.ledger.has(planted), 'the other may have met nobody else yet');
  const then = LATER + HEARSAY_MS;
  exchange(x, early(y.signer, x), then);
  t.ok(x.machine.ledger.has(planted), 'one that has not collected as far makes nobody let go of anything');
  const effects: LedgerEffect[] = [];
  exchange(watched(x, effects), y, then);
  const removed = effects.flatMap((effect) => (effect.kind === 'persist' ? effect.remove : []));
  t.same(
    removed.map(({ digest }) => digest),
    [planted.digest],
  );
  t.ok(x.machine.ledger.has(known));
  t.equal(x.machine.ledger.hash, z.machine.ledger.hash);
});

t.test('a true one stays, with the deletion beside it, on a worker that was restarted', async (t) => {
  const { nodes, x, y, horizon_ms, planted } = withPlanted('app:1', TAG);
  const [, , z, author] = nodes as [TestNode, TestNode, TestNode, TestNode];
  const stored = { records: [...x.machine.ledger.records()], streams: [] };
  const machine = newMachine({ signers: [x.signer], horizon_ms, stored });
  const deletion = write(z.machine, z.signer.id, 'tag', 'app:1', null, LATER + 1);
  author.machine.ledger.merge(planted);
  const all = [{ signer: x.signer, machine }, y, z, author];
  everybody(all, LATER + 1);
  const collected = LATER + 2 * LEDGER_DEFAULTS.tombstone_ms;
  for (let turn = 0; turn < 3; turn += 1) round(all, collected);
  for (let turn = 1; turn < 3; turn += 1) everybody(all, collected + turn * HEARSAY_MS);
  for (const { machine } of all) {
    t.ok(machine.horizon_ms > horizon_ms);
    t.same(
      new Set(machine.ledger.siblings('tag', 'app:1').map(({ digest }) => digest)),
      new Set([planted.digest, deletion.digest]),
    );
  }
});

t.test('a late write that is true stays with a worker that had it first', async (t) => {
  const { nodes, x, y, horizon_ms, planted } = withPlanted('app:1', TAG);
  everybody(nodes.slice(0, 3), LATER);
  const author = testSigner(20).id;
  y.machine.handle({ kind: 'connected', peer: author }, env(LATER));
  const tell = (message: Parameters<typeof encodeSync>[0]) =>
    y.machine.handle({ kind: 'message', from: author, body: encodeSync(message) }, env(LATER));
  tell({ kind: 'hello', hash: '0f'.repeat(16), records: 1, horizon_ms });
  tell({ kind: 'records', envelopes: [planted.bytes], last: true, more: false });
  y.machine.handle({ kind: 'disconnected', peer: author }, env(LATER));
  everybody(nodes.slice(0, 3), LATER);
  everybody(nodes, LATER + HEARSAY_MS);
  for (const { machine } of nodes) t.ok(machine.ledger.has(planted));
  t.equal(x.machine.ledger.hash, y.machine.ledger.hash);
});
