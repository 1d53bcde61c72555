import { lstat, mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import t from 'tap';
import { LAYER_LIMITS } from '../../../images/core/layer-rules.ts';
import { flattenLayers } from '../../../images/unpack/flatten-layers.ts';
import { unpackLayer } from '../../../images/unpack/unpack-layer.ts';
import { digestOf, type Entry, isRoot, tarOf, temporary } from '../fixtures.ts';

type Tap = { teardown(fn: () => Promise<void>): void };

/** @returns the directory with `fs` and `whiteouts.json`. */
async function unpack(
  t: Tap,
  entries: readonly Entry[] | Buffer,
  options: {
    limits?: Partial<typeof LAYER_LIMITS>;
    compression?: 'gzip' | 'zstd' | 'none';
    diffId?: string;
  } = {},
): Promise<string> {
  const root = await temporary(t);
  const tar = Buffer.isBuffer(entries) ? entries : await tarOf(entries);
  const compression = options.compression ?? 'gzip';
  const blob = compression === 'none' ? tar : compression === 'gzip' ? gzipSync(tar) : zstdCompressSync(tar);
  await writeFile(join(root, 'blob'), blob);
  const directory = join(root, 'layer');
  await mkdir(directory);
  await unpackLayer({
    blob: join(root, 'blob'),
    digest: digestOf(blob),
    compression,
    diffId: (options.diffId as `sha256:${string}`) ?? digestOf(tar),
    directory,
    limits: { ...LAYER_LIMITS, ...options.limits },
  });
  return directory;
}

t.test('a layer becomes a directory', async (t) => {
  for (const compression of ['none', 'gzip', 'zstd'] as const) {
    const layer = await unpack(
      t,
      [
        { path: './', type: 'directory' },
        { path: 'bin/', type: 'directory' },
        { path: 'bin/app', content: 'hello', mode: 0o4755 },
        { path: 'bin/same', type: 'link', link: 'bin/app' },
        { path: 'bin/sh', type: 'symlink', link: '/bin/app' },
        { path: `${'long/'.repeat(30)}${'ü'.repeat(60)}`, content: 'deep' },
      ],
      { compression },
    );
    const fs = join(layer, 'fs');
    t.equal(await readFile(join(fs, 'bin/app'), 'utf8'), 'hello');
    t.equal((await lstat(join(fs, 'bin/app'))).mode & 0o7777, 0o4755);
    t.equal((await lstat(join(fs, 'bin/app'))).nlink, 2);
    t.equal(await readlink(join(fs, 'bin/sh')), '/bin/app');
    t.equal(await readFile(join(fs, `${'long/'.repeat(30)}${'ü'.repeat(60)}`), 'utf8'), 'deep');
    t.same(JSON.parse(await readFile(join(layer, 'whiteouts.json'), 'utf8')), { removed: [], opaque: [] });
  }
});

t.test('hostile layers write nothing outside and are refused', async (t) => {
  const cases: [string, Entry[] | Buffer][] = [
    ['climbs', [{ path: '../../escaped', content: 'x' }]],
    ['absolute', [{ path: '/escaped', content: 'x' }]],
    [
      'through a symlink',
      [
        { path: 'a', type: 'symlink', link: '..' },
        { path: 'a/escaped', content: 'x' },
      ],
    ],
    ['hard link out', [{ path: 'a', type: 'link', link: '../../../etc/passwd' }]],
    [
      'below a file',
      [
        { path: 'a', content: 'x' },
        { path: 'a/b', content: 'x' },
      ],
    ],
    ['no tar', Buffer.alloc(4096, 'x')],
    ['cut off', (await tarOf([{ path: 'a', content: 'x'.repeat(5000) }])).subarray(0, 1024)],
  ];
  for (const [name, entries] of cases) {
    await t.rejects(unpack(t, entries), { code: 'E_LAYER_HOSTILE' }, name);
  }
});

t.test('bombs are refused by size, ratio and count', async (t) => {
  const zeros = { path: 'zeros', content: Buffer.alloc(8 << 20) };
  await t.rejects(unpack(t, [zeros], { limits: { unpacked_bytes_max: 1 << 20 } }), {
    code: 'E_LAYER_HOSTILE',
  });
  await t.rejects(unpack(t, [zeros], { limits: { ratioFree_bytes: 1 << 20, ratio_max: 100 } }), {
    code: 'E_LAYER_HOSTILE',
  });
  await t.rejects(unpack(t, [{ path: 'a' }, { path: 'b' }], { limits: { entries_max: 1 } }), {
    code: 'E_LAYER_HOSTILE',
  });
});

t.test('a layer that is not what the config says is corrupt', async (t) => {
  await t.rejects(unpack(t, [{ path: 'a' }], { diffId: digestOf(Buffer.from('else')) }), {
    code: 'E_BLOB_CORRUPT',
  });
});

t.test(
  'whiteouts become device nodes',
  { skip: isRoot ? false : 'making device nodes needs root' },
  async (t) => {
    const layer = await unpack(t, [{ path: 'd/', type: 'directory' }, { path: 'd/.wh.gone' }]);
    const gone = await lstat(join(layer, 'fs/d/gone'));
    t.ok(gone.isCharacterDevice());
    t.equal(gone.rdev, 0);
  },
);

t.test('layers are flattened with their whiteouts', async (t) => {
  const base = await unpack(t, [
    { path: 'etc/', type: 'directory' },
    { path: 'etc/kept', content: 'kept' },
    { path: 'etc/gone', content: 'gone' },
    { path: 'opaque/', type: 'directory' },
    { path: 'opaque/old', content: 'old' },
    { path: 'out', type: 'symlink', link: '/tmp' },
    { path: 'changed', content: 'before' },
  ]);
  const upper = await unpack(t, [
    { path: 'etc/', type: 'directory', mode: 0o700 },
    { path: 'etc/.wh.gone' },
    { path: 'opaque/', type: 'directory' },
    { path: 'opaque/.wh..wh..opq' },
    { path: 'opaque/new', content: 'new' },
    { path: 'out/', type: 'directory' },
    { path: 'out/inside', content: 'inside' },
    { path: 'changed', content: 'after' },
  ]);
  const root = join(await temporary(t), 'root');
  await flattenLayers([join(base, 'fs'), join(upper, 'fs')], root);
  t.same((await readdir(root)).sort(), ['changed', 'etc', 'opaque', 'out']);
  t.same(await readdir(join(root, 'etc')), ['kept']);
  t.equal((await lstat(join(root, 'etc'))).mode & 0o777, 0o700);
  t.same(await readdir(join(root, 'opaque')), ['new']);
  t.ok((await lstat(join(root, 'out'))).isDirectory(), 'a directory took the place of the symlink');
  t.equal(await readFile(join(root, 'changed'), 'utf8'), 'after');
  await writeFile(join(root, 'changed'), 'by a program');
  t.equal(await readFile(join(upper, 'fs/changed'), 'utf8'), 'after', 'the layer is not touched');
  await t.rejects(flattenLayers([], root), { code: 'E_EXISTS' });
});
