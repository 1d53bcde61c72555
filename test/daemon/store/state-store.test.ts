/** The durable state of a node: what was acknowledged stays, what is damaged is noticed, what fails changes nothing. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmdirSync } from 'node:fs';
import { mkdir, readdir, readFile, rmdir, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { STORE_FORMAT } from '../../../daemon/store/database.ts';
import { ASIDE_BYTES_MAX } from '../../../daemon/store/salvage.ts';
import { StateStore, type StoreBatch } from '../../../daemon/store/state-store.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { memoryDirectory } from './memory-directory.ts';
import { recordOf } from './records.ts';

const WRITER = path.join(import.meta.dirname, 'writer-process.ts');
const KILLS = 8;

t.setTimeout(300_000);

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
    const { records, streams } = store.load();
    t.equal(store.damage, null);
    const seq = Number(store.value('seq'));
    store.close();
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
  const file = path.join(await memoryDirectory(t), 'state.db');
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
  t.same(store.load(), { records: [], streams: [] });
  t.equal(store.value('name'), undefined);
});

/** Changes rows behind the store's back, as a failing disk would. */
function tamper(file: string, change: (database: DatabaseSync) => void): void {
  const database = new DatabaseSync(file);
  change(database);
  database.close();
}

const asides = async (file: string) =>
  (await readdir(path.dirname(file))).filter((name) => name.includes('.before-'));

t.test(
  'damaged rows are cut out, told and counted; the file is kept aside, and only the last one',
  async (t) => {
    const file = path.join(await memoryDirectory(t), 'state.db');
    const [a, b, c, d] = [recordOf(1, 'a'), recordOf(2, 'b'), recordOf(3, 'c'), recordOf(4, 'd')];
    const values: [string, string][] = [
      ['genesis', 'one'],
      ['epoch', '5'],
    ];
    const store = new StateStore(file, nodeCrypto);
    store.write({ put: [a, b, c, d], remove: [], streams: [['x/0', 3]], values });
    store.close();
    tamper(file, (raw) => {
      const damage = raw.prepare('UPDATE records SET envelope = ? WHERE digest = ?');
      const flipped = Uint8Array.from(b.bytes);
      flipped[80]! ^= 1;
      damage.run(flipped, Buffer.from(b.digest, 'hex'));
      damage.run(Buffer.from('garbage'), Buffer.from(c.digest, 'hex'));
      raw
        .prepare('UPDATE records SET digest = ? WHERE digest = ?')
        .run(Buffer.alloc(32, 7), Buffer.from(d.digest, 'hex'));
      raw.exec("UPDATE meta SET value = '4' WHERE name = 'epoch'");
    });

    const again = new StateStore(file, nodeCrypto);
    t.match(again.damage, { records_kept: 1, rows_lost: 4, parts_lost: 0 });
    t.same(digests(again), [a.digest]);
    t.same(again.load().streams, [], 'heights may miss what is lost');
    t.equal(again.value('genesis'), 'one');
    t.equal(again.value('epoch'), undefined, 'another value than was written is none');
    t.ok(again.isIncomplete);
    t.same(await asides(file), [path.basename(again.damage!.aside!)]);
    again.write({ ...nothing, put: [b], streams: [['x/0', 3]] });
    again.close();

    const third = new StateStore(file, nodeCrypto);
    t.equal(third.damage, null, 'told once');
    t.ok(third.isIncomplete, 'until somebody says that all has come');
    third.setComplete();
    t.notOk(third.isIncomplete);
    t.same(digests(third), [a.digest, b.digest].sort(), 'fetched again');
    third.close();
    tamper(file, (raw) => raw.exec("UPDATE streams SET high = 2 WHERE stream = 'x/0'"));
    await writeFile(`${file}.before-2001`, 'older');
    const fourth = new StateStore(file, nodeCrypto);
    t.match(fourth.damage, { records_kept: 2, rows_lost: 1 });
    t.same(await asides(file), [path.basename(fourth.damage!.aside!)]);
    fourth.close();
  },
);

t.test(
  'one damaged page, wherever it is: all that other pages hold is kept, and nothing else is read',
  async (t) => {
    const file = path.join(await memoryDirectory(t), 'state.db');
    const store = new StateStore(file, nodeCrypto);
    const written = Array.from({ length: 120 }, (_, n) => recordOf(n + 1, `k${n}`, n % 2 === 0 ? 200 : 3000));
    for (const record of written) store.write({ ...nothing, put: [record], values: [['genesis', 'one']] });
    store.close();
    const whole = await readFile(file);
    const pages = whole.byteLength / 4096;
    const known = new Set(written.map(({ digest }) => digest));
    let noticed = 0;
    let fewest = written.length;
    for (let page = 0; page < pages; page += 1) {
      const bytes = Buffer.from(whole);
      bytes.fill(0xa5, page * 4096, (page + 1) * 4096);
      await writeFile(file, bytes);
      const damaged = new StateStore(file, nodeCrypto);
      if (damaged.damage !== null) noticed += 1;
      const have = digests(damaged);
      t.ok(have.every((digest) => known.has(digest)));
      t.ok([undefined, 'one'].includes(damaged.value('genesis')));
      // The page that names the others takes all of them with it.
      if (page !== 2) fewest = Math.min(fewest, have.length);
      damaged.close();
    }
    t.equal(noticed, pages, 'each page is of use, and none is damaged in silence');
    t.ok(fewest > written.length / 4, `at least ${fewest} of ${written.length} records were kept each time`);
  },
);

t.test(
  'damage of a page that holds nothing now is found at a start too, before something is put there',
  async (t) => {
    const file = path.join(await memoryDirectory(t), 'state.db');
    const store = new StateStore(file, nodeCrypto);
    const gone = Array.from({ length: 60 }, (_, n) => recordOf(n + 1, `k${n}`, 3000));
    const kept = recordOf(100, 'kept');
    store.write({ ...nothing, put: [...gone, kept] });
    store.write({ ...nothing, remove: gone });
    store.close();
    const bytes = await readFile(file);
    // The first page of the list of free pages, by the header (SQLite file format, section 1.3).
    const trunk = bytes.readUInt32BE(32);
    t.ok(trunk > 0);
    bytes.fill(0xa5, (trunk - 1) * 4096, trunk * 4096);
    await writeFile(file, bytes);
    const again = new StateStore(file, nodeCrypto);
    t.teardown(() => again.close());
    t.match(again.damage, { records_kept: 1 });
    again.write({ ...nothing, put: gone });
    t.equal(digests(again).length, 61);
  },
);

t.test('what is no database at all is kept aside, and an empty one takes its place', async (t) => {
  const file = path.join(await memoryDirectory(t), 'state.db');
  const garbage = 'this is no database at all, but a text of some length'.repeat(200);
  await writeFile(file, garbage);
  const store = new StateStore(file, nodeCrypto);
  t.match(store.damage, { records_kept: 0 });
  t.same(store.load(), { records: [], streams: [] });
  t.ok(store.isIncomplete);
  store.write({ ...nothing, put: [recordOf(1, 'a')] });
  t.equal((await stat(store.damage!.aside!)).size, garbage.length);
  store.close();
});

t.test('of a file that is kept aside no more than its cap is kept', async (t) => {
  const file = path.join(await memoryDirectory(t), 'state.db');
  await writeFile(file, 'no database');
  // It takes no space: nothing was written there.
  await truncate(file, ASIDE_BYTES_MAX + 4096);
  const store = new StateStore(file, nodeCrypto);
  t.teardown(() => store.close());
  t.equal((await stat(store.damage!.aside!)).size, ASIDE_BYTES_MAX);
});

t.test('a file of format 1 is rewritten with all that it holds', async (t) => {
  const file = path.join(await memoryDirectory(t), 'state.db');
  const [a, b] = [recordOf(1, 'a'), recordOf(2, 'b')];
  tamper(file, (raw) => {
    raw.exec(`CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE records (digest BLOB PRIMARY KEY, envelope BLOB NOT NULL) WITHOUT ROWID;
      CREATE TABLE streams (stream TEXT PRIMARY KEY, high INTEGER NOT NULL) WITHOUT ROWID;
      PRAGMA user_version = 1;
      INSERT INTO meta VALUES ('genesis', 'one');
      INSERT INTO streams VALUES ('x/0', 2);`);
    const put = raw.prepare('INSERT INTO records VALUES (?, ?)');
    for (const { digest, bytes } of [a, b]) put.run(Buffer.from(digest, 'hex'), bytes);
  });
  const store = new StateStore(file, nodeCrypto);
  t.teardown(() => store.close());
  t.equal(store.damage, null);
  t.notOk(store.isIncomplete);
  t.equal(store.value('genesis'), 'one');
  t.same(digests(store), [a.digest, b.digest].sort());
  t.same(store.load().streams, [['x/0', 2]]);
});

t.test('a file that is found damaged while it is used is begun anew with what is known', async (t) => {
  const file = path.join(await memoryDirectory(t), 'state.db');
  const store = new StateStore(file, nodeCrypto);
  const [a, b] = [recordOf(1, 'a'), recordOf(2, 'b')];
  store.write({ ...nothing, put: [a, b], values: [['genesis', 'one']] });
  const aside = store.replace([a]);
  t.ok((await stat(aside)).isFile());
  t.same(digests(store), [a.digest]);
  store.write({ ...nothing, put: [b] });
  t.throws(() => new StateStore(file, nodeCrypto), { code: 'E_DATA_LOCKED' }, 'the new file is locked too');
  store.close();
  const again = new StateStore(file, nodeCrypto);
  t.equal(again.damage, null);
  t.equal(again.value('genesis'), 'one');
  t.same(digests(again), [a.digest, b.digest].sort());
  again.close();
});

t.test('a replacement keeps the values and heights that the damaged file gives back no more', async (t) => {
  const file = path.join(await temporaryDirectory(t), 'state.db');
  const a = recordOf(1, 'a');
  const values: [string, string][] = [
    ['genesis', 'one'],
    ['horizon', '5'],
    ['gone', 'soon'],
  ];
  new StateStore(file, nodeCrypto).close();
  const store = new StateStore(file, nodeCrypto);
  t.teardown(() => store.close());
  store.write({ ...nothing, put: [a], streams: [['x/0', 1]], values });
  store.write({ ...nothing, streams: [['x/0', 2]], values: [['horizon', '6']] });
  store.remove(['gone']);
  t.throws(() => store.write({ ...nothing, values: [['genesis', null as unknown as string]] }));
  const { prepare } = DatabaseSync.prototype;
  t.teardown(() => {
    DatabaseSync.prototype.prepare = prepare;
  });
  DatabaseSync.prototype.prepare = function (this: DatabaseSync, sql: string) {
    if (/FROM (meta|streams) +ORDER/.test(sql))
      throw Object.assign(new Error('database disk image is malformed'), { errcode: 11 });
    return prepare.call(this, sql);
  };
  store.replace([a]);
  DatabaseSync.prototype.prepare = prepare;
  store.close();
  const again = new StateStore(file, nodeCrypto);
  t.teardown(() => again.close());
  t.equal(again.damage, null);
  t.notOk(again.isIncomplete, 'nothing is lost');
  t.same(digests(again), [a.digest]);
  t.same(again.load().streams, [['x/0', 2]]);
  t.equal(again.value('genesis'), 'one');
  t.equal(again.value('horizon'), '6');
  t.equal(again.value('gone'), undefined);
});

t.test('a replacement that the disk breaks off undoes no later write, and can be begun again', async (t) => {
  const file = path.join(await memoryDirectory(t), 'state.db');
  const store = new StateStore(file, nodeCrypto);
  const [a, b, c] = [recordOf(1, 'a'), recordOf(2, 'b'), recordOf(3, 'c')];
  store.write({ ...nothing, put: [a, b], values: [['genesis', 'one']] });
  // Nothing but a file is taken away there.
  await mkdir(`${file}-journal`);
  t.throws(() => store.replace([a, b]));
  await rmdir(`${file}-journal`);
  t.throws(() => store.write({ ...nothing, put: [c] }), { code: 'E_DATA_CORRUPT' });
  store.replace([a]);
  store.write({ ...nothing, put: [c] });
  t.same(digests(store), [a.digest, c.digest].sort());
  store.close();
  const again = new StateStore(file, nodeCrypto);
  t.equal(again.damage, null);
  t.equal(again.value('genesis'), 'one');
  t.same(digests(again), [a.digest, c.digest].sort(), 'what was written is there after a start');
  again.close();
});

t.test('a second daemon leaves a replacement that was broken off to the one that runs', async (t) => {
  const file = path.join(await temporaryDirectory(t), 'state.db');
  const store = new StateStore(file, nodeCrypto);
  t.teardown(() => store.close());
  const [a, b] = [recordOf(1, 'a'), recordOf(2, 'b')];
  store.write({ ...nothing, put: [a] });
  await mkdir(`${file}-journal`);
  t.throws(() => store.replace([a]));
  await rmdir(`${file}-journal`);
  t.ok((await readdir(path.dirname(file))).includes('state.db.whole'));
  t.throws(() => new StateStore(file, nodeCrypto), { code: 'E_DATA_LOCKED' });
  t.ok((await readdir(path.dirname(file))).includes('state.db.whole'), 'it is left as it is');
  store.replace([a]);
  t.throws(() => new StateStore(file, nodeCrypto), { code: 'E_DATA_LOCKED' });
  store.write({ ...nothing, put: [b] });
  store.close();
  const again = new StateStore(file, nodeCrypto);
  t.teardown(() => again.close());
  t.same(digests(again), [a.digest, b.digest].sort());
});

t.test(
  'a new file that cannot be opened at once does not keep the store from its work for ever',
  async (t) => {
    const file = path.join(await memoryDirectory(t), 'state.db');
    const store = new StateStore(file, nodeCrypto);
    const [a, b, c] = [recordOf(1, 'a'), recordOf(2, 'b'), recordOf(3, 'c')];
    store.write({ ...nothing, put: [a, b], values: [['genesis', 'one']] });
    const { close } = DatabaseSync.prototype;
    let closed_count = 0;
    DatabaseSync.prototype.close = function (this: DatabaseSync) {
      close.call(this);
      closed_count += 1;
      // The draft is closed first, then the old file: what stands where the new one's log belongs keeps it from opening.
      if (closed_count === 2) mkdirSync(`${file}-wal`);
    };
    t.teardown(() => {
      DatabaseSync.prototype.close = close;
    });
    t.throws(() => store.replace([a]));
    DatabaseSync.prototype.close = close;
    rmdirSync(`${file}-wal`);
    t.throws(() => store.write({ ...nothing, put: [c] }), { code: 'E_DATA_CORRUPT' });
    store.replace([a]);
    store.write({ ...nothing, put: [c] });
    t.same(digests(store), [a.digest, c.digest].sort());
    t.equal(store.value('genesis'), 'one');
    store.close();
  },
);

t.test(
  'a log with a bad place in it is cut there, and that is told; one that a crash cut is not',
  async (t) => {
    const directory = await memoryDirectory(t);
    const file = path.join(directory, 'state.db');
    const store = new StateStore(file, nodeCrypto);
    for (let seq = 1; seq <= 20; seq += 1) store.write({ ...nothing, put: [recordOf(seq, `k${seq}`)] });
    const [base, log] = [await readFile(file), await readFile(`${file}-wal`)];
    store.close();
    const open = async (name: string, change: (log: Buffer) => Buffer) => {
      const copy = path.join(directory, name);
      await writeFile(copy, base);
      await writeFile(`${copy}-wal`, change(Buffer.from(log)));
      const opened = new StateStore(copy, nodeCrypto);
      t.teardown(() => opened.close());
      return opened;
    };
    const whole = await open('whole', (bytes) => bytes);
    t.equal(whole.damage, null);
    t.equal(digests(whole).length, 20);
    const torn = await open('torn', (bytes) => bytes.subarray(0, bytes.byteLength - 1000));
    t.equal(torn.damage, null);
    t.notOk(torn.isIncomplete);
    const bad = await open('bad', (bytes) => {
      bytes[Math.floor(bytes.byteLength / 2)]! ^= 4;
      return bytes;
    });
    t.ok(bad.damage!.writes_lost > 5, `${bad.damage!.writes_lost} writes are lost`);
    t.equal(bad.damage!.aside, null);
    t.ok(bad.isIncomplete);
    t.ok(digests(bad).length > 5 && digests(bad).length < 20);
    const commits: number[] = [];
    const frame_bytes = 24 + 4096;
    for (let at = 32; at + frame_bytes <= log.byteLength; at += frame_bytes)
      if (log.readUInt32BE(at + 4) !== 0) commits.push(at);
    for (const [name, from_end, lost] of [
      ['last', 1, null],
      ['last but one', 2, 2],
    ] as const) {
      const cut = await open(name, (bytes) => {
        bytes[commits.at(-from_end)! + 100]! ^= 4;
        return bytes;
      });
      t.equal(cut.damage?.writes_lost ?? null, lost, `${name}: of one it may be that the crash cut it`);
      t.equal(digests(cut).length, 20 - from_end);
    }
    for (const bytes_count of [16, 100]) {
      const headless = await open(`headless-${bytes_count}`, (bytes) => bytes.fill(0, 0, bytes_count));
      t.ok(headless.damage!.writes_lost > 15, 'also where the first frame is as bad');
    }
  },
);

t.test(
  'that a log was damaged is known while the disk refuses, and kept when it takes a write',
  async (t) => {
    const directory = await temporaryDirectory(t);
    const model = path.join(directory, 'model.db');
    const store = new StateStore(model, nodeCrypto);
    for (let seq = 1; seq <= 20; seq += 1) store.write({ ...nothing, put: [recordOf(seq, `k${seq}`)] });
    const [base, log] = [await readFile(model), await readFile(`${model}-wal`)];
    store.close();
    log[Math.floor(log.byteLength / 2)]! ^= 4;
    const { exec } = DatabaseSync.prototype;
    t.teardown(() => {
      DatabaseSync.prototype.exec = exec;
    });
    /** Opens a copy on a disk that is full until `exec` is put back. */
    const openFull = async (name: string) => {
      const file = path.join(directory, name);
      await writeFile(file, base);
      await writeFile(`${file}-wal`, log);
      DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string) {
        if (sql === 'BEGIN IMMEDIATE')
          throw Object.assign(new Error('database or disk is full'), { errcode: 13 });
        exec.call(this, sql);
      };
      const opened = new StateStore(file, nodeCrypto);
      t.teardown(() => opened.close());
      t.ok(opened.isIncomplete, name);
      t.throws(() => opened.write(nothing), { code: 'E_DISK_FULL' });
      t.ok(opened.isIncomplete, `${name}: still`);
      DatabaseSync.prototype.exec = exec;
      return { file, opened };
    };
    for (const way of ['written', 'replaced', 'whole', 'cleared', 'left']) {
      const { file, opened } = await openFull(way);
      if (way === 'written') opened.write({ ...nothing, put: [recordOf(21, 'k21')] });
      if (way === 'replaced') opened.replace([recordOf(1, 'k1')]);
      if (way === 'whole') opened.setComplete();
      if (way === 'cleared') opened.clear();
      const isMarked = way !== 'whole' && way !== 'cleared';
      t.equal(opened.isIncomplete, isMarked, way);
      if (!isMarked) opened.write(nothing);
      // Which folds the log in, and takes away what is bad in it.
      opened.close();
      const again = new StateStore(file, nodeCrypto);
      t.teardown(() => again.close());
      if (way === 'left') t.ok(again.damage!.writes_lost > 0, 'told once more, for nothing could be kept');
      else t.equal(again.damage, null);
      t.equal(again.isIncomplete, isMarked, `${way}: at the next start`);
    }
  },
);

t.test('a note of a loss says nothing of a file that is new', async (t) => {
  const file = path.join(await memoryDirectory(t), 'state.db');
  await writeFile(`${file}.lost`, '');
  const store = new StateStore(file, nodeCrypto);
  t.equal(store.damage, null);
  t.notOk(store.isIncomplete);
  store.close();
  t.notOk((await readdir(path.dirname(file))).includes('state.db.lost'));
});

t.test('a loss in the log that has been told is not found again after a kill', async (t) => {
  const directory = await memoryDirectory(t);
  let file = path.join(directory, 'life-0.db');
  let store = new StateStore(file, nodeCrypto);
  t.teardown(() => store.close());
  for (let seq = 1; seq <= 20; seq += 1) store.write({ ...nothing, put: [recordOf(seq, `k${seq}`)] });
  /** Ends a life as a kill does, and begins the next with what is left. */
  const restart = async (life: number, change: (log: Buffer) => void = () => {}) => {
    const [base, log] = [await readFile(file), await readFile(`${file}-wal`)];
    store.close();
    change(log);
    file = path.join(directory, `life-${life}.db`);
    await writeFile(file, base);
    await writeFile(`${file}-wal`, log);
    store = new StateStore(file, nodeCrypto);
  };
  await restart(1, (log) => {
    log[Math.floor(log.byteLength / 2)]! ^= 4;
  });
  t.ok(store.damage!.writes_lost > 5);
  const kept = digests(store).length;
  t.ok(store.isIncomplete);
  await restart(2);
  t.equal(store.damage, null, 'told once');
  t.ok(store.isIncomplete, 'and kept');
  t.same(
    (await readdir(directory)).filter((name) => name.endsWith('.lost')),
    [],
  );
  store.setComplete();
  for (let life = 3; life <= 5; life += 1) {
    store.write({ ...nothing, put: [recordOf(20 + life, `k${20 + life}`)] });
    await restart(life);
    t.equal(store.damage, null, `life ${life}`);
    t.notOk(store.isIncomplete);
  }
  t.equal(digests(store).length, kept + 3);
});

t.test('a store of a newer format is refused and left as it is; so is one that is in use', async (t) => {
  const file = path.join(await memoryDirectory(t), 'state.db');
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
