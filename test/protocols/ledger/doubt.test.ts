/** A node that may have missed a collection: what it lets go, and what nobody can make it let go. */
import t from 'tap';
import type { KeyId } from '../../../protocols/base/ids.ts';
import { recordKey } from '../../../protocols/base/records.ts';
import { HORIZON_UNKNOWN } from '../../../protocols/ledger/horizon.ts';
import { LEDGER_DEFAULTS, type LedgerEvent, type LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { decodeSync, encodeSync, itemOf } from '../../../protocols/ledger/sync.ts';
import {
  cluster,
  env,
  everybody,
  exchange,
  introduce,
  memberGrant,
  NOW,
  newMachine,
  newNode,
  operator,
  rejections,
  round,
  TAG,
  type TestNode,
  testSigner,
  write,
} from './fixtures.ts';

const LATER = NOW + 2 * LEDGER_DEFAULTS.tombstone_ms;

/** A cluster whose members kept one tag, and deleted and collected another. */
function collected(count: number) {
  const nodes = cluster(count);
  const [a] = nodes;
  for (const { machine, signer } of nodes) write(machine, signer.id, 'member', signer.id, { name: 'x' });
  const gone = write(a!.machine, a!.signer.id, 'tag', 'gone:1', TAG);
  write(a!.machine, a!.signer.id, 'tag', 'kept:1', TAG);
  everybody(nodes, NOW);
  const before = [...nodes.at(-1)!.machine.ledger.records()];
  write(a!.machine, a!.signer.id, 'tag', 'gone:1', null, NOW + 1);
  everybody(nodes, NOW + 1);
  for (let turn = 0; turn < 3; turn += 1) round(nodes, LATER);
  return { nodes, gone, before };
}

function restarted(
  { signer, machine }: TestNode,
  records: Iterable<LedgerRecord> = machine.ledger.records(),
  horizon_ms = machine.horizon_ms,
  number = 100,
  epochs: ReadonlyMap<KeyId, number> = new Map(),
): TestNode {
  return {
    signer,
    machine: newMachine({
      signers: [signer],
      epochs,
      horizon_ms,
      stored: { records: [...records], streams: [[`${signer.id}/0`, number]] },
    }),
  };
}

t.test('a restarted node lets nothing go because a peer says that it lacks it', async (t) => {
  const { nodes } = collected(2);
  const again = restarted(nodes[0]!);
  const { hash } = again.machine.ledger;
  const liar = nodes[1]!.signer.id;
  again.machine.handle({ kind: 'connected', peer: liar }, env(LATER));
  const lie = { kind: 'compare', splits: [{ prefix: '', parts: [] }], listings: [], wants: [] } as const;
  const body = encodeSync({ ...lie, horizon_ms: Number.MAX_SAFE_INTEGER });
  again.machine.handle({ kind: 'message', from: liar, body }, env(LATER));
  t.equal(again.machine.ledger.hash, hash);
});

t.test('a damaged disk is filled again, also when every other node has just restarted', async (t) => {
  const { nodes } = collected(2);
  const [a, b] = nodes as [TestNode, TestNode];
  const left = [...b.machine.ledger.records()].filter(({ key }) => key !== 'kept:1');
  const one = restarted(a);
  const other = restarted(b, left, HORIZON_UNKNOWN);
  for (let turn = 0; turn < 3; turn += 1) round([one, other], LATER + turn * 60_000);
  for (const { machine } of [one, other]) t.same(machine.ledger.get('tag', 'kept:1')?.body, TAG);
  t.equal(one.machine.ledger.hash, other.machine.ledger.hash);
});

t.test('an old disk brings nothing back to nodes that have just restarted', async (t) => {
  const { nodes, before } = collected(3);
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
  const old = restarted(c, before, 0, 0);
  const fresh = [restarted(a), restarted(b)];
  for (const node of fresh) exchange(old, node, LATER);
  for (let turn = 0; turn < 4; turn += 1) round([...fresh, old], LATER + turn * 60_000);
  for (const { machine } of [...fresh, old]) t.equal(machine.ledger.siblings('tag', 'gone:1').length, 0);
  t.equal(new Set([...fresh, old].map(({ machine }) => machine.ledger.hash)).size, 1);
});

t.test('an old disk that slept through a collection lets go of it at the next', async (t) => {
  const { nodes, before } = collected(3);
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
  const old = restarted(c, before, 0, 0);
  const all = [a, b, old];
  // Its peers open another round before it has looked at the last one.
  write(a.machine, a.signer.id, 'tag', 'other:1', null, LATER);
  everybody(all, LATER);
  const again = LATER + 2 * LEDGER_DEFAULTS.tombstone_ms;
  for (const { machine } of [a, b]) machine.handle({ kind: 'timer', token: 'collect' }, env(again));
  everybody(all, again);
  for (let turn = 0; turn < 4; turn += 1) round(all, again + turn * 60_000);
  for (const { machine } of all) t.equal(machine.ledger.siblings('tag', 'gone:1').length, 0);
  t.equal(new Set(all.map(({ machine }) => machine.ledger.hash)).size, 1);
});

t.test('a node in doubt that is restarted is in doubt still', async (t) => {
  const { nodes, before } = collected(3);
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
  const old = restarted(c, before, 0, 0);
  let told_ms = 0;
  const keep = (effects: ReturnType<LedgerMachine['handle']>) => {
    for (const effect of effects) if (effect.kind === 'horizon') told_ms = effect.horizon_ms;
  };
  // It hears the acknowledgements by gossip, agrees, and dies before any comparison.
  const acks = [...a.machine.ledger.records()].filter(({ kind }) => kind === 'ack');
  keep(old.machine.handle({ kind: 'introduce', envelopes: acks.map(({ bytes }) => bytes) }, env(LATER)));
  keep(old.machine.handle({ kind: 'timer', token: 'collect' }, env(LATER)));
  const again = restarted(old, old.machine.ledger.records(), told_ms);
  const all = [a, b, again];
  for (let turn = 0; turn < 4; turn += 1) round(all, LATER + turn * 60_000);
  for (const { machine } of all) t.equal(machine.ledger.siblings('tag', 'gone:1').length, 0);
  t.equal(new Set(all.map(({ machine }) => machine.ledger.hash)).size, 1);
});

t.test('what is written anew between acknowledgement and collection puts nobody in doubt', async (t) => {
  const nodes = cluster(2);
  const [a, b] = nodes as [TestNode, TestNode];
  for (const { machine, signer } of nodes) write(machine, signer.id, 'member', signer.id, { name: 'x' });
  write(a.machine, a.signer.id, 'tag', 'again:1', null);
  write(a.machine, a.signer.id, 'tag', 'gone:1', null);
  everybody(nodes, NOW);
  for (const { machine } of nodes) machine.handle({ kind: 'timer', token: 'collect' }, env(LATER));
  everybody(nodes, LATER);
  write(a.machine, a.signer.id, 'tag', 'again:1', TAG, LATER);
  everybody(nodes, LATER);
  const effects = b.machine.handle({ kind: 'timer', token: 'collect' }, env(LATER));
  t.ok(
    effects.some(({ kind }) => kind === 'horizon'),
    'the horizon is durable: nothing is in doubt',
  );
});

t.test('what a node wrote itself, and its disk has lost, comes back from before the horizon', async (t) => {
  const { nodes } = collected(3);
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
  const own = c.machine.ledger.get('member', c.signer.id)!;
  const left = [...c.machine.ledger.records()].filter((record) => record !== own);
  // Of the loss the disk says nothing, and each start writes under a higher epoch.
  const life = new Map([[c.signer.id, 5]]);
  const again = restarted(c, left, c.machine.horizon_ms, 0, life);
  everybody([a, b, again], LATER);
  t.ok(again.machine.ledger.has(own));
  t.equal(again.machine.ledger.hash, a.machine.ledger.hash);
});

t.test('what a node wrote in an epoch that it has left since, and all deleted, stays stale', async (t) => {
  const { nodes } = collected(2);
  const [first, b] = nodes as [TestNode, TestNode];
  const life = new Map([[first.signer.id, 5]]);
  const a = restarted(first, first.machine.ledger.records(), HORIZON_UNKNOWN, 100, life);
  const gone = write(a.machine, a.signer.id, 'tag', 'gone:2', TAG, LATER);
  const deletion = write(a.machine, a.signer.id, 'tag', 'gone:2', null, LATER + 1);
  everybody([a, b], LATER + 1);
  const later = LATER + 2 * LEDGER_DEFAULTS.tombstone_ms;
  const collect = ({ machine }: TestNode) => machine.handle({ kind: 'timer', token: 'collect' }, env(later));
  for (const node of [a, b]) collect(node);
  introduce(a.machine, b.machine.ledger.siblings('ack', b.signer.id), later);
  // It alone has collected, and takes in doubt what others still hold: its own, so it begins a new epoch.
  collect(a);
  t.same(a.machine.ledger.siblings('tag', 'gone:2'), []);
  const effects = introduce(a.machine, [deletion], later);
  t.ok(effects.some(({ kind }) => kind === 'epoch'));
  for (let turn = 0; turn < 2; turn += 1) round([a, b], later);
  write(b.machine, b.signer.id, 'tag', 'kept:2', TAG, later);
  everybody([a, b], later);
  t.same(a.machine.ledger.siblings('tag', 'gone:2'), []);
  t.same(rejections(introduce(a.machine, [gone], later)), ['stale']);
});

t.test(
  'own records that the disk does not know begin a doubt, whatever epoch this start writes under',
  async (t) => {
    const { nodes, before } = collected(3);
    const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
    const isOwn = ({ author }: LedgerRecord) => author === c.signer.id;
    const old = restarted(
      c,
      before.filter((record) => !isOwn(record)),
      0,
      0,
      new Map([[c.signer.id, 5]]),
    );
    const own = [...c.machine.ledger.records()].filter((record) => isOwn(record) && record.kind === 'member');
    const effects = old.machine.handle(
      { kind: 'introduce', envelopes: own.map(({ bytes }) => bytes) },
      env(LATER),
    );
    t.match(
      effects.filter(({ kind }) => kind === 'horizon'),
      [{ horizon_ms: HORIZON_UNKNOWN }],
    );
    for (let turn = 0; turn < 4; turn += 1) round([a, b, old], LATER + turn * 60_000);
    t.equal(new Set([a, b, old].map(({ machine }) => machine.ledger.hash)).size, 1);
    t.equal(old.machine.ledger.siblings('tag', 'gone:1').length, 0);
  },
);

/** One exchange, amid which `busy` writes before each message: never are the two equal. @returns what the first told its disk. */
function exchangeAmidWrites(one: TestNode, busy: TestNode, key: string): number[] {
  const horizons: number[] = [];
  const queue: { to: TestNode; body: Uint8Array }[] = [];
  let count = 0;
  const feed = (node: TestNode, event: LedgerEvent) => {
    for (const effect of node.machine.handle(event, env(LATER))) {
      if (effect.kind === 'send') queue.push({ to: node === one ? busy : one, body: effect.body });
      if (effect.kind === 'horizon' && node === one) horizons.push(effect.horizon_ms);
    }
  };
  feed(one, { kind: 'connected', peer: busy.signer.id });
  feed(busy, { kind: 'connected', peer: one.signer.id });
  for (let next = queue.shift(); next !== undefined && count < 200; next = queue.shift()) {
    write(busy.machine, busy.signer.id, 'tag', `${key}:${count++}`, TAG, LATER);
    if (one.machine.ledger.hash === busy.machine.ledger.hash) throw new Error('they are equal');
    const from = next.to === one ? busy.signer.id : one.signer.id;
    feed(next.to, { kind: 'message', from, body: next.body });
  }
  feed(one, { kind: 'disconnected', peer: busy.signer.id });
  feed(busy, { kind: 'disconnected', peer: one.signer.id });
  return horizons;
}

t.test('doubt ends while others write all the time', async (t) => {
  const { nodes, before } = collected(3);
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
  for (let number = 0; number < 300; number += 1)
    write(a.machine, a.signer.id, 'tag', `many:${number}`, TAG, LATER);
  exchange(a, b, LATER);
  const kept = b.machine.ledger.get('tag', 'kept:1')!;
  const old = restarted(
    c,
    before.filter(({ digest }) => digest !== kept.digest),
    HORIZON_UNKNOWN,
    0,
    new Map([[c.signer.id, 5]]),
  );
  const acks = [...b.machine.ledger.records()].filter(({ kind }) => kind === 'ack');
  old.machine.handle({ kind: 'introduce', envelopes: acks.map(({ bytes }) => bytes) }, env(LATER));
  old.machine.handle({ kind: 'timer', token: 'collect' }, env(LATER));
  t.equal(old.machine.horizon_ms, b.machine.horizon_ms);
  const horizons = [1, 2, 3].flatMap((turn) => exchangeAmidWrites(old, b, `busy${turn}`));
  t.same(horizons, [b.machine.horizon_ms], 'it is in doubt no more');
  t.equal(old.machine.ledger.siblings('tag', 'gone:1').length, 0);
  t.ok(old.machine.ledger.has(kept));
});

t.test('a node in doubt that has less than its peer vouches for nothing until it has as much', async (t) => {
  const { nodes } = collected(2);
  const [a, b] = nodes as [TestNode, TestNode];
  const empty = restarted(b, [], HORIZON_UNKNOWN);
  const acks = [...a.machine.ledger.records()].filter(({ kind }) => kind === 'ack' || kind === 'grant');
  empty.machine.handle({ kind: 'introduce', envelopes: acks.map(({ bytes }) => bytes) }, env(LATER));
  empty.machine.handle({ kind: 'timer', token: 'collect' }, env(LATER));
  t.equal(empty.machine.horizon_ms, a.machine.horizon_ms);
  a.machine.handle({ kind: 'connected', peer: b.signer.id }, env(LATER));
  empty.machine.handle({ kind: 'connected', peer: a.signer.id }, env(LATER));
  // The other shows what it has, and gives nothing yet.
  const { hash, size } = a.machine.ledger;
  const { horizon_ms } = a.machine;
  const tell = (message: Parameters<typeof encodeSync>[0]) =>
    empty.machine.handle({ kind: 'message', from: a.signer.id, body: encodeSync(message) }, env(LATER));
  tell({ kind: 'hello', hash, records: size, horizon_ms });
  const listing = { prefix: '', items: Array.from(a.machine.ledger.records(), itemOf) };
  const effects = tell({ kind: 'compare', splits: [], listings: [listing], wants: [], horizon_ms });
  t.notOk(effects.some(({ kind }) => kind === 'horizon'));
  exchange(a, empty, LATER);
  t.equal(empty.machine.ledger.hash, a.machine.ledger.hash);
});

t.test('a node in doubt makes nobody let go of anything: it tells no horizon', async (t) => {
  const { nodes, before } = collected(3);
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
  const hellos = ({ machine }: TestNode) =>
    machine
      .handle({ kind: 'connected', peer: 'z'.repeat(52) }, env(LATER))
      .flatMap((effect) => (effect.kind === 'send' ? [decodeSync(effect.body)] : []));
  t.match(hellos(a), [{ kind: 'hello', horizon_ms: a.machine.horizon_ms }]);
  t.ok(a.machine.horizon_ms > NOW);
  const old = restarted(c, before, 0, 0);
  // It hears of its own future, and of the round that the others have agreed on.
  for (let turn = 0; turn < 2; turn += 1) {
    const { body } = a.machine.ledger.get('ack', c.signer.id)!;
    t.ok(body);
    introduce(old.machine, [...a.machine.ledger.records()], LATER);
    old.machine.handle({ kind: 'timer', token: 'collect' }, env(LATER));
  }
  t.ok(old.machine.horizon_ms > NOW, 'it has gone on with them');
  t.match(hellos(old), [{ kind: 'hello', horizon_ms: 0 }]);
  t.ok(b);
});

t.test('when all are in doubt, the next round that all acknowledge makes an end of it', async (t) => {
  const { nodes } = collected(2);
  const [a, b] = nodes as [TestNode, TestNode];
  const both = [a, b].map((node) =>
    restarted(node, node.machine.ledger.records(), HORIZON_UNKNOWN, 100, new Map([[node.signer.id, 5]])),
  );
  const again = LATER + 3 * LEDGER_DEFAULTS.tombstone_ms;
  write(both[0]!.machine, a.signer.id, 'tag', 'next:1', null, LATER + 1);
  const told = new Map<LedgerMachine, number>();
  for (let turn = 0; turn < 5; turn += 1) {
    for (const { machine } of both)
      for (const effect of machine.handle({ kind: 'timer', token: 'collect' }, env(again + turn * 60_000)))
        if (effect.kind === 'horizon') told.set(machine, effect.horizon_ms);
    everybody(both, again + turn * 60_000);
  }
  for (const { machine } of both) t.equal(told.get(machine), machine.horizon_ms, 'and vouches again');
  for (const { machine } of both) t.ok(machine.horizon_ms > LATER);
  t.equal(both[0]!.machine.ledger.hash, both[1]!.machine.ledger.hash);
});

t.test('a disk that is put back after a round of all who were in doubt vouches for nothing', async (t) => {
  const nodes = cluster(3);
  const [a] = nodes as [TestNode];
  for (const { machine, signer } of nodes) write(machine, signer.id, 'member', signer.id, { name: 'x' });
  write(a.machine, a.signer.id, 'tag', 'gone:1', TAG);
  everybody(nodes, NOW);
  const before = [...nodes[2]!.machine.ledger.records()];
  write(a.machine, a.signer.id, 'tag', 'gone:1', null, NOW + 1);
  everybody(nodes, NOW + 1);
  const [b, c, d] = nodes.map((node) => {
    const epochs = new Map([[node.signer.id, 5]]);
    return restarted(node, node.machine.ledger.records(), HORIZON_UNKNOWN, 100, epochs);
  }) as [TestNode, TestNode, TestNode];
  const look = (of: readonly TestNode[]) => {
    for (const { machine } of of) machine.handle({ kind: 'timer', token: 'collect' }, env(LATER));
  };
  look([b, c, d]);
  everybody([b, c, d], LATER);
  look([b, c, d]);
  t.equal(b.machine.ledger.siblings('tag', 'gone:1').length, 0, 'it is collected');
  const old = restarted(d, before, 0, 0, new Map([[d.signer.id, 9]]));
  // What all had said before that comes first, and that they were in doubt is all that it knows of them.
  const acks = [...b.machine.ledger.records()].filter(({ kind }) => kind === 'ack');
  introduce(old.machine, acks, LATER);
  look([old]);
  for (let turn = 0; turn < 3; turn += 1) round([old, b, c], LATER + turn * 60_000);
  for (const { machine } of [b, c, old]) t.same(machine.ledger.siblings('tag', 'gone:1'), [], 'and stays so');
  t.equal(new Set([b, c, old].map(({ machine }) => machine.ledger.hash)).size, 1);
});

t.test(
  'a member that comes while a round is open acknowledges it as all do, and puts nobody in doubt',
  async (t) => {
    const { nodes } = collected(2);
    const [a] = nodes as [TestNode];
    const newcomer = newNode(testSigner(9));
    const { id } = newcomer.signer;
    write(a.machine, operator.id, 'grant', recordKey.grant(id, operator.id), memberGrant(id), LATER);
    const acts = [...a.machine.ledger.records()].filter(({ kind }) => kind === 'grant');
    introduce(newcomer.machine, acts, LATER);
    const all = [...nodes, newcomer];
    write(a.machine, a.signer.id, 'tag', 'other:1', null, LATER + 1);
    everybody(all, LATER + 1);
    const later = LATER + 2 * LEDGER_DEFAULTS.tombstone_ms;
    const told: number[] = [];
    const look = (of: readonly TestNode[]) => {
      for (const { machine } of of)
        for (const effect of machine.handle({ kind: 'timer', token: 'collect' }, env(later)))
          if (effect.kind === 'horizon' && machine !== newcomer.machine) told.push(effect.horizon_ms);
    };
    look(nodes);
    everybody(all, later);
    look([newcomer]);
    t.equal(newcomer.machine.ledger.tombstones_count, 1, 'it has not agreed yet');
    for (let turn = 0; turn < 3; turn += 1) {
      everybody(all, later);
      look(all);
    }
    t.same(new Set(told), new Set([newcomer.machine.horizon_ms]), 'and the others have no doubt');
    for (const { machine } of all) t.equal(machine.ledger.tombstones_count, 0);
  },
);

/** What a peer says that made one range of each of its records, and of nothing else. */
function partsOf({ machine }: TestNode) {
  return Array.from(machine.ledger.records(), ({ placeHigh, placeLow, words }) => ({
    prefix: [placeHigh, placeLow].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join(''),
    words,
    count: 1,
  }));
}

t.test('the answer that ends a doubt takes with it what the other side lacks', async (t) => {
  const { nodes, gone } = collected(2);
  const [a, b] = nodes as [TestNode, TestNode];
  const old = restarted(b, [...a.machine.ledger.records(), gone], HORIZON_UNKNOWN);
  old.machine.handle({ kind: 'timer', token: 'collect' }, env(LATER));
  old.machine.handle({ kind: 'connected', peer: a.signer.id }, env(LATER));
  const { horizon_ms } = a.machine;
  const splits = [{ prefix: '', parts: partsOf(a) }];
  const body = encodeSync({ kind: 'compare', splits, listings: [], wants: [], horizon_ms });
  const effects = old.machine.handle({ kind: 'message', from: a.signer.id, body }, env(LATER));
  t.match(effects, [{ kind: 'horizon', horizon_ms }]);
  t.equal(old.machine.ledger.siblings('tag', 'gone:1').length, 0);
  const sent = effects.flatMap((effect) => (effect.kind === 'send' ? [decodeSync(effect.body)] : []));
  t.same(sent, [{ kind: 'records', envelopes: [], last: true, more: false }], 'no record is given');
});

t.test('a worker ends no doubt, whatever it says, and makes nobody let go of anything', async (t) => {
  const { nodes, gone } = collected(2);
  const [a, b] = nodes as [TestNode, TestNode];
  const worker = testSigner(50).id;
  const admit = memberGrant(worker, { roles: ['member', 'worker'] });
  write(a.machine, operator.id, 'grant', recordKey.grant(worker, operator.id), admit, LATER);
  const horizon_ms = a.machine.horizon_ms;
  for (const lie of ['equal', 'whole', 'empty'] as const) {
    const old = restarted(b, [...a.machine.ledger.records(), gone], HORIZON_UNKNOWN);
    old.machine.handle({ kind: 'timer', token: 'collect' }, env(LATER));
    old.machine.handle({ kind: 'connected', peer: worker }, env(LATER));
    const { hash, size } = old.machine.ledger;
    const parts = lie === 'empty' ? [] : partsOf(old);
    const body = encodeSync(
      lie === 'equal'
        ? { kind: 'hello', hash, records: size, horizon_ms }
        : { kind: 'compare', splits: [{ prefix: '', parts }], listings: [], wants: [], horizon_ms },
    );
    const effects = old.machine.handle({ kind: 'message', from: worker, body }, env(LATER));
    t.notOk(
      effects.some(({ kind }) => kind === 'horizon'),
      `${lie}: it is in doubt still`,
    );
    t.equal(old.machine.ledger.hash, hash, `${lie}: and holds what it held`);
    old.machine.handle({ kind: 'disconnected', peer: worker }, env(LATER));
    exchange(a, old, LATER);
    t.equal(old.machine.ledger.siblings('tag', 'gone:1').length, 0, 'a deployer helps it out');
    t.equal(old.machine.ledger.hash, a.machine.ledger.hash);
  }
});
