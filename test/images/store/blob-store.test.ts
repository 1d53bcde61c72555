import { spawnSync } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { BlobStore } from '../../../images/store/blob-store.ts';
import { digestOf, isRoot, temporary } from '../fixtures.ts';

async function* chunks(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}
const bytes = Buffer.from('some bytes');
const expected = { digest: digestOf(bytes), size: bytes.byteLength };

t.test('what was put can be read, and is there after a restart', async (t) => {
  const root = await temporary(t);
  const store = await BlobStore.open(root);
  t.same(await store.put(chunks(bytes), expected), { ...expected, created: true });
  t.same(await store.put(chunks(bytes)), { ...expected, created: false });
  const again = await BlobStore.open(root);
  t.same(Buffer.from(await again.read(expected.digest, 100)), bytes);
  t.same(await again.list(), [expected.digest]);
  await t.rejects(again.read(expected.digest, 3), { code: 'E_TOO_LARGE' });
  await again.remove(expected.digest);
  await t.rejects(again.read(expected.digest, 100), { code: 'E_NOT_FOUND' });
});

t.test('wrong bytes are refused and nothing is kept', async (t) => {
  const store = await BlobStore.open(await temporary(t));
  const cases = [chunks(Buffer.from('some bytez')), chunks(bytes, bytes), chunks(bytes.subarray(1))];
  for (const source of cases) await t.rejects(store.put(source, expected), { code: 'E_BLOB_CORRUPT' });
  const file = join(store.temporary, 'file');
  await writeFile(file, 'other');
  await t.rejects(store.adopt(file, expected), { code: 'E_BLOB_CORRUPT' });
  t.same(await readdir(store.temporary), []);
  t.same(await store.list(), []);
});

t.test('a source that fails leaves nothing, and a full disk is called that', async (t) => {
  const store = await BlobStore.open(await temporary(t));
  const failing = async function* (code: string) {
    yield bytes;
    throw Object.assign(new Error(code), { code });
  };
  await t.rejects(store.put(failing('EIO')), { code: 'EIO' });
  await t.rejects(store.put(failing('ENOSPC')), { code: 'E_DISK_FULL' });
  t.same(await readdir(store.temporary), []);
});

t.test('what was being written when the process died is gone after the next start', async (t) => {
  const root = await temporary(t);
  const store = await BlobStore.open(root);
  await writeFile(join(store.temporary, 'half'), 'half');
  await BlobStore.open(root);
  t.same(await readdir(store.temporary), []);
});

t.test('writers of one blob at the same time all succeed', async (t) => {
  const store = await BlobStore.open(await temporary(t));
  await Promise.all(Array.from({ length: 10 }, () => store.put(chunks(bytes), expected)));
  t.same(await store.list(), [expected.digest]);
  t.same(await readdir(store.temporary), []);
});

t.test(
  'a really full disk',
  { skip: isRoot ? false : 'mounting a small file system needs root' },
  async (t) => {
    const root = join(await temporary(t), 'small');
    await mkdir(root);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', root]).status === 0;
    if (!mounted) return void t.pass('this host forbids mounting');
    try {
      const store = await BlobStore.open(root);
      await t.rejects(store.put(chunks(Buffer.alloc(4 << 20))), { code: 'E_DISK_FULL' });
      t.same(await readdir(store.temporary), []);
    } finally {
      spawnSync('umount', [root]);
    }
  },
);
