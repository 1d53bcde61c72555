/** Under which epoch a life begins: one that no other life has, also where the disk keeps nothing. */
import path from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../daemon/clock.ts';
import { nodeCrypto } from '../../daemon/crypto.ts';
import { LedgerDriver } from '../../daemon/drivers/ledger-driver.ts';
import { silentLog } from '../../daemon/log.ts';
import { StateStore } from '../../daemon/store/state-store.ts';
import { openStoredLedger } from '../../daemon/stored-ledger.ts';
import { ShoalError } from '../../protocols/base/errors.ts';
import { MemoryNetwork } from '../../protocols/mesh/memory-mesh.ts';
import { cluster, genesis, NOW, type TestNode, testSigner, write } from '../protocols/ledger/fixtures.ts';
import { temporaryDirectory } from './api/api-fixture.ts';
import { eventually } from './node/eventually.ts';

const NOW_S = NOW / 1000;

async function storeOf(t: Test, { machine }: TestNode): Promise<StateStore> {
  const store = new StateStore(path.join(await temporaryDirectory(t), 'state.db'), nodeCrypto);
  t.teardown(() => store.close());
  store.write({ put: [...machine.ledger.records()], remove: [], streams: [] });
  return store;
}

function open(store: StateStore, { signer }: TestNode, random = 0) {
  return openStoredLedger({
    store,
    crypto: nodeCrypto,
    log: silentLog,
    genesis,
    signer,
    started_ms: NOW,
    random: () => random,
  });
}

/** @returns what lets the disk write again. */
function refuseWrites(store: StateStore): () => void {
  const { write } = store;
  store.write = () => {
    throw new ShoalError('E_DISK_FULL', 'full');
  };
  return () => {
    store.write = write;
  };
}

t.test('lives that begin at one time have epochs of their own where the disk keeps them', async (t) => {
  const [node] = cluster(1) as [TestNode];
  const store = await storeOf(t, node);
  const first = open(store, node);
  const second = open(store, node);
  t.ok(first.epoch >= NOW_S);
  t.equal(second.epoch, first.epoch + 1);
  t.same(second.unkept, []);
});

t.test('where the disk keeps none, each takes one by lot, and keeps it once it can', async (t) => {
  const [node] = cluster(1) as [TestNode];
  const store = await storeOf(t, node);
  const kept = open(store, node).epoch;
  const takeWrites = refuseWrites(store);
  const lives = [0, 0.5, 1 - 2 ** -32].map((random) => open(store, node, random));
  t.same(
    lives.map(({ epoch }) => epoch - kept),
    [2, 32_770, 65_537],
  );
  const { machine, epoch, unkept } = lives[1]!;
  const driver = new LedgerDriver({
    machine,
    store,
    unkept,
    clock: systemClock,
    log: silentLog,
    guard: { charge: () => undefined, judge: () => undefined, verdict: () => 'ignore' },
    onChanged: () => undefined,
  });
  t.teardown(() => driver[Symbol.asyncDispose]());
  const mesh = await new MemoryNetwork().createMesh({
    seed: new Uint8Array(32).fill(1),
    cluster: genesis.digest,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    isMember: () => true,
    mdns: false,
    log: silentLog,
  });
  t.teardown(() => mesh[Symbol.asyncDispose]());
  driver.start(mesh);
  await eventually('the trouble is known', () => driver.trouble !== undefined);
  takeWrites();
  // Nothing else keeps this process alive.
  const alive = setInterval(() => {}, 1000);
  await eventually('it is over', () => driver.trouble === undefined);
  clearInterval(alive);
  t.equal(store.value(`epoch/${node.signer.id}`), String(epoch));
});

t.test('what is on disk of a life whose epoch was not kept counts', async (t) => {
  const [node] = cluster(1) as [TestNode];
  const store = await storeOf(t, node);
  const takeWrites = refuseWrites(store);
  const { machine, epoch } = open(store, node, 0.9);
  takeWrites();
  const record = write(machine, node.signer.id, 'intent', node.signer.id, { intent: 'cordoned' });
  t.equal(record.epoch, epoch);
  store.write({ put: [record], remove: [], streams: [] });
  t.equal(open(store, node).epoch, epoch + 1, 'though it is ahead of the time');
});

t.test('a key that no grant names opens nothing', async (t) => {
  const [node] = cluster(1) as [TestNode];
  const store = await storeOf(t, node);
  for (const time of ['first', 'second'])
    t.throws(() => open(store, { ...node, signer: testSigner(50) }), { code: 'E_DATA_CORRUPT' }, time);
});

t.test('one that was a member here, and whose grant has gone since, opens all the same', async (t) => {
  const [node] = cluster(2) as [TestNode];
  const store = await storeOf(t, node);
  t.notOk(open(store, node).isDisplaced);
  const { records } = store.load();
  const own = records.filter(({ kind, key }) => kind === 'grant' && key.startsWith(node.signer.id));
  t.ok(own.length > 0);
  store.write({ put: [], remove: own, streams: [] });
  t.ok(open(store, node).isDisplaced);
});
