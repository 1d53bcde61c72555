/** The durable state of a node: what was acknowledged stays, what is damaged is noticed, what fails changes nothing. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { STORE_FORMAT, StateStore, type StoreBatch } from '../../../daemon/store/state-store.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { recordOf } from './records.ts';

const WRITER = path.join(import.meta.dirname, 'writer-process.ts');
const KILLS = 8;

const nothing: StoreBatch = { put: [], remove: [], streams: [] };
const digests = (store: StateStore) =>
  store
    .load()
    .records.map(({ digest }) => digest)
    .sort();

t.test('what was acknowledged survives a kill at any moment, and each transaction is whole', async (t) => {
  const file = path.join(await temporaryDirectory(t), 'state.db');
  const acknowledged = new Map<number, string>();
  let latest = '';
  for (let round = 0; round < KILLS; round += 1) {
    const first = acknowledged.size === 0 ? 1 : Math.max(...acknowledged.keys()) + 2;
    const child = spawn(process.execPath, [WRITER, file, String(first)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
    const closed = once(child, 'close');
    await once(child.stdout, 'data', { signal: AbortSignal.timeout(20_000) });
    await sleep(Math.random() * 60);
    child.kill('SIGKILL');
    await closed;
    // The last line may be cut; its write was acknowledged to nobody.
    for (const line of output.split('\n').slice(0, -1)) {
      const [seq, kept, last] = line.split(' ');
      acknowledged.set(Number(seq), kept!);
      latest = last!;
    }
    const store = new StateStore(file, nodeCrypto);
    const { records, streams, damaged } = store.load();
    const seq = Number(store.value('seq'));
    store.close();
    t.same(damaged, []);
    const have = new Set(records.map(({ digest }) => digest));
    t.ok(
      [...acknowledged.values()].every((digest) => have.has(digest)),
      `round ${round}: nothing is lost`,
    );
    t.same(streams, [['writer/0', seq]], 'height and value are of one transaction');
    t.ok(seq >= Math.max(...acknowledged.keys()));
    const heads = records.filter(({ key }) => key === 'latest');
    t.equal(heads.length, 1, 'put and remove are of one transaction');
    t.equal(heads[0]!.seq, seq + 1_000_000);
    if (acknowledged.has(seq)) t.equal(heads[0]!.digest, latest);
  }
  t.ok(acknowledged.size >= KILLS, `${acknowledged.size} writes were acknowledged`);
});

t.test('a store keeps records, heights and values, and forgets what is removed', async (t) => {
  const file = path.join(await temporaryDirectory(t), 'state.db');
  const [a, b] = [recordOf(1, 'a'), recordOf(2, 'b')];
  {
    const store = new StateStore(file, nodeCrypto);
    store.write({ put: [a, b], remove: [], streams: [['x/0', 2]], values: [['name', 'one']] });
    store.write({ ...nothing, remove: [a], streams: [['x/0', 3]], values: [['name', 'two']] });
    store.write({ ...nothing, put: [b] });
    store.close();
    store.close();
  }
  const store = new StateStore(file, nodeCrypto);
  t.teardown(() => store.close());
  t.same(digests(store), [b.digest]);
  t.same(store.load().streams, [['x/0', 3]]);
  t.equal(store.value('name'), 'two');
  t.equal(store.value('nothing'), undefined);
  t.same(Buffer.from(store.load().records[0]!.bytes), Buffer.from(b.bytes), 'verbatim');
  store.clear();
  t.same(store.load(), { records: [], streams: [], damaged: [] });
  t.equal(store.value('name'), undefined);
});

t.test(
  'one damaged record is left out and named; heights are not trusted; it can be forgotten',
  async (t) => {
    const file = path.join(await temporaryDirectory(t), 'state.db');
    const [a, b, c] = [recordOf(1, 'a'), recordOf(2, 'b'), recordOf(3, 'c')];
    const store = new StateStore(file, nodeCrypto);
    store.write({ put: [a, b, c], remove: [], streams: [['x/0', 3]], values: [['name', 'one']] });
    store.close();
    const raw = new DatabaseSync(file);
    const damage = raw.prepare('UPDATE records SET envelope = ? WHERE digest = ?');
    const flipped = Uint8Array.from(b.bytes);
    flipped[80]! ^= 1;
    damage.run(flipped, Buffer.from(b.digest, 'hex'));
    damage.run(Buffer.from('garbage'), Buffer.from(c.digest, 'hex'));
    raw.close();

    const again = new StateStore(file, nodeCrypto);
    t.teardown(() => again.close());
    const loaded = again.load();
    t.same(
      loaded.records.map(({ digest }) => digest),
      [a.digest],
    );
    t.same([...loaded.damaged].sort(), [b.digest, c.digest].sort());
    t.same(loaded.streams, []);
    again.forget(loaded.damaged, [['epoch', '1']]);
    t.same(again.load(), { ...loaded, damaged: [] }, 'told once');
    t.equal(again.value('epoch'), '1');
    t.equal(again.value('name'), 'one');
    again.write({ ...nothing, put: [b], streams: [['x/0', 3]] });
    t.same(digests(again), [a.digest, b.digest].sort(), 'fetched again');
    t.same(again.load().streams, [['x/0', 3]]);
  },
);

t.test('a damaged page is told as damage, wherever it is', async (t) => {
  const directory = await temporaryDirectory(t);
  const file = path.join(directory, 'state.db');
  const store = new StateStore(file, nodeCrypto);
  for (let seq = 1; seq <= 40; seq += 1) store.write({ ...nothing, put: [recordOf(seq, `k${seq}`, 2000)] });
  store.close();
  const { size } = await stat(file);
  const whole = await readFile(file);
  let noticed = 0;
  for (let page = 0; page < size / 4096; page += 1) {
    const handle = await open(file, 'r+');
    await handle.write(Buffer.alloc(4096, 0xa5), 0, 4096, page * 4096);
    await handle.close();
    let damaged: StateStore | undefined;
    try {
      damaged = new StateStore(file, nodeCrypto);
      damaged.value('genesis');
      noticed += damaged.load().damaged.length > 0 ? 1 : 0;
    } catch (error) {
      if ((error as { code?: string }).code !== 'E_DATA_CORRUPT') throw error;
      noticed += 1;
    } finally {
      damaged?.close();
    }
    await writeFile(file, whole);
  }
  t.ok(noticed > 10, `${noticed} of ${size / 4096} pages: any other failure would have been thrown here`);
  await writeFile(file, 'this is no database at all, but a text of some length'.repeat(100));
  t.throws(() => new StateStore(file, nodeCrypto), { code: 'E_DATA_CORRUPT' });
  await writeFile(file, whole.subarray(0, size / 2));
  t.throws(
    () => {
      const half = new StateStore(file, nodeCrypto);
      try {
        half.load();
      } finally {
        half.close();
      }
    },
    { code: 'E_DATA_CORRUPT' },
    'cut in half',
  );
});

t.test('a store of a newer format is refused and left as it is; so is one that is in use', async (t) => {
  const file = path.join(await temporaryDirectory(t), 'state.db');
  const store = new StateStore(file, nodeCrypto);
  store.write({ ...nothing, put: [recordOf(1, 'a')] });
  t.throws(() => new StateStore(file, nodeCrypto), { code: 'E_DATA_LOCKED' });
  t.equal(digests(store).length, 1, 'its owner goes on');
  store.close();
  const raw = new DatabaseSync(file);
  raw.exec(`PRAGMA user_version = ${STORE_FORMAT + 1}`);
  raw.close();
  t.throws(() => new StateStore(file, nodeCrypto), { code: 'E_DATA_NEWER', exit: 7 });
  const after = new DatabaseSync(file);
  t.match(after.prepare('PRAGMA user_version').get(), { user_version: STORE_FORMAT + 1 });
  after.exec(`PRAGMA user_version = ${STORE_FORMAT}`);
  after.close();
  const back = new StateStore(file, nodeCrypto);
  t.equal(digests(back).length, 1);
  back.close();
});
