/** The data directory of a node: its keys are made once, never overwritten, and never readable by others. */
import { chmod, chown, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { DataDirectory } from '../../../daemon/store/data-directory.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';

t.test('a new directory gets a key of its own, which stays', async (t) => {
  const place = path.join(await temporaryDirectory(t), 'deep', 'data');
  const first = new DataDirectory(place, nodeCrypto);
  const { seed } = first;
  const operator = first.operatorKey();
  t.same(first.operatorKey(), operator);
  first[Symbol.dispose]();
  const again = new DataDirectory(place, nodeCrypto);
  t.same(again.seed, seed);
  t.same(again.operatorKey(), operator);
  t.notSame(seed, operator);
  again[Symbol.dispose]();
  t.equal((await stat(place)).mode & 0o777, 0o700);
  for (const name of ['node.key', 'operator.key']) {
    t.equal((await stat(path.join(place, name))).mode & 0o777, 0o600, name);
  }
});

t.test('a damaged key is told and kept, and the lock is given back', async (t) => {
  const place = await temporaryDirectory(t);
  const file = path.join(place, 'node.key');
  for (const text of ['', 'no key\n', `${'a'.repeat(63)}\n`, `${'G'.repeat(64)}\n`]) {
    await writeFile(file, text);
    t.throws(() => new DataDirectory(place, nodeCrypto), {
      code: 'E_DATA_CORRUPT',
      message: /node\.key.*identity/,
    });
    t.equal(await readFile(file, 'utf8'), text);
  }
  await writeFile(file, `${'ab'.repeat(32)}\n`);
  const directory = new DataDirectory(place, nodeCrypto);
  t.teardown(() => directory[Symbol.dispose]());
  t.same(directory.seed, new Uint8Array(32).fill(0xab));
  const locked = { code: 'E_DATA_LOCKED', message: `another daemon uses the data directory ${place}` };
  t.throws(() => new DataDirectory(place, nodeCrypto), locked, 'one at a time');
});

t.test('a file that is no database is mended beside a key, and left alone where there is none', async (t) => {
  const place = await temporaryDirectory(t);
  const file = path.join(place, 'state.db');
  const text = 'the book-keeping of somebody else'.repeat(300);
  await writeFile(file, text);
  t.throws(() => new DataDirectory(place, nodeCrypto), { code: 'E_DATA_CORRUPT' });
  t.equal(await readFile(file, 'utf8'), text);
  await writeFile(path.join(place, 'node.key'), `${'ab'.repeat(32)}\n`);
  const directory = new DataDirectory(place, nodeCrypto);
  t.teardown(() => directory[Symbol.dispose]());
  t.ok(directory.store.damage?.aside);
});

t.test('a key that is gone from beside its cluster is told, and no other is made in its place', async (t) => {
  const place = await temporaryDirectory(t);
  const first = new DataDirectory(place, nodeCrypto);
  first.store.write({ put: [], remove: [], streams: [], values: [['genesis', 'of some cluster']] });
  first[Symbol.dispose]();
  await rm(path.join(place, 'node.key'));
  for (let start = 0; start < 2; start += 1)
    t.throws(() => new DataDirectory(place, nodeCrypto), {
      code: 'E_DATA_CORRUPT',
      message: /node\.key is gone.*identity/,
    });
  t.notOk((await readdir(place)).includes('node.key'));

  // A start that was cut short before there was a cluster leaves a database without one.
  const fresh = await temporaryDirectory(t);
  new DataDirectory(fresh, nodeCrypto)[Symbol.dispose]();
  await rm(path.join(fresh, 'node.key'));
  new DataDirectory(fresh, nodeCrypto)[Symbol.dispose]();
  t.ok((await readdir(fresh)).includes('node.key'));
});

t.test('a key that others may read is told and closed to them', async (t) => {
  const place = await temporaryDirectory(t);
  const first = new DataDirectory(place, nodeCrypto);
  first.operatorKey();
  t.same(first.openKeys, []);
  first[Symbol.dispose]();
  const file = path.join(place, 'node.key');
  for (const mode of [0o644, 0o640, 0o606]) {
    await chmod(file, mode);
    const again = new DataDirectory(place, nodeCrypto);
    t.same(again.openKeys, [{ file, isClosed: true }], mode.toString(8));
    again[Symbol.dispose]();
    t.equal((await stat(file)).mode & 0o777, 0o600);
  }
});

t.test('a directory of something else is left as it is', async (t) => {
  const place = await temporaryDirectory(t);
  const file = path.join(place, 'theirs');
  await writeFile(file, 'x');
  await chmod(place, 0o755);
  t.throws(() => new DataDirectory(place, nodeCrypto), { code: 'E_DATA_DENIED', message: /theirs/ });
  t.equal((await stat(place)).mode & 0o777, 0o755);
  t.same(await readdir(place), ['theirs']);
  await rm(file);
  // As the root of a file system that was made for it.
  await mkdir(path.join(place, 'lost+found'));
  await mkdir(path.join(place, 'images'));
  new DataDirectory(place, nodeCrypto)[Symbol.dispose]();
  t.equal((await stat(place)).mode & 0o777, 0o700);
  await writeFile(file, 'x');
  new DataDirectory(place, nodeCrypto)[Symbol.dispose]();
});

t.test('a directory that others have lent is used', async (t) => {
  const skip = process.getuid?.() !== 0 && 'needs root: gives the directory away';
  t.test('as a volume of a group', { skip }, async (t) => {
    const place = await temporaryDirectory(t);
    await chmod(path.dirname(place), 0o755);
    await chown(place, 0, 4242);
    const open = () => {
      process.setegid!(4242);
      process.seteuid!(4242);
      try {
        return new DataDirectory(place, nodeCrypto);
      } finally {
        process.seteuid!(0);
        process.setegid!(0);
      }
    };
    await chmod(place, 0o2777);
    t.throws(open, { code: 'E_DATA_DENIED' }, 'not where all may look');
    await chmod(place, 0o2770);
    open()[Symbol.dispose]();
    t.equal((await stat(path.join(place, 'node.key'))).mode & 0o777, 0o600);
  });
});

t.test('a lock that is damaged is told as that', async (t) => {
  const place = await temporaryDirectory(t);
  new DataDirectory(place, nodeCrypto)[Symbol.dispose]();
  await writeFile(path.join(place, 'state.db.lock'), 'x'.repeat(5000));
  t.throws(() => new DataDirectory(place, nodeCrypto), {
    code: 'E_DATA_CORRUPT',
    message: /state\.db\.lock.*removed/,
  });
});

t.test('an operator key that cannot be kept is told', async (t) => {
  const place = path.join(await temporaryDirectory(t), 'data');
  const directory = new DataDirectory(place, nodeCrypto);
  t.teardown(() => directory[Symbol.dispose]());
  await rm(place, { recursive: true });
  t.throws(() => directory.operatorKey(), { code: 'E_DATA_DENIED' });
});

t.test('a place that cannot be a directory is told', async (t) => {
  const parent = await temporaryDirectory(t);
  const file = path.join(parent, 'file');
  await writeFile(file, 'x');
  t.throws(() => new DataDirectory(file, nodeCrypto), { code: 'E_DATA_DENIED', message: /file/ });
  t.throws(() => new DataDirectory(path.join(file, 'data'), nodeCrypto), { code: 'E_DATA_DENIED' });
  t.equal(await readFile(file, 'utf8'), 'x');
});

t.test(
  'a place where nothing can be made is told at once',
  { skip: process.platform !== 'linux' && 'needs /proc' },
  async (t) => {
    for (const place of ['/proc/shoal', '/proc/shoal/data'])
      t.throws(() => new DataDirectory(place, nodeCrypto), {
        code: 'E_DATA_DENIED',
        message: /\/proc\/shoal/,
      });
  },
);
