import { spawnSync } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { createImages } from '../../../images/image-service.ts';
import type { Digest } from '../../../protocols/base/ids.ts';
import {
  blobFile,
  digestOf,
  layoutFiles,
  makeImage,
  PLATFORM,
  tarOf,
  temporary,
  writeFiles,
  writeTar,
} from '../fixtures.ts';

type Tap = { teardown(fn: () => Promise<void>): void };

async function service(t: Tap) {
  const directory = await temporary(t);
  const images = await createImages({ directory, holders: () => [], log: () => undefined });
  t.teardown(async () => images[Symbol.asyncDispose]());
  const blobs = () => readdir(join(directory, 'blobs', 'sha256'));
  const layers = () => readdir(join(directory, 'layers'));
  return { directory, images, blobs, layers };
}
const OTHER = PLATFORM === 'linux/s390x' ? 'linux/amd64' : 'linux/s390x';
const name = { 'org.opencontainers.image.ref.name': 'redis-7' };

t.test('an OCI layout is imported from a directory and from a tar, with the same digest', async (t) => {
  const { images, blobs } = await service(t);
  const image = await makeImage([[{ path: 'a', content: 'a' }], [{ path: 'b', content: 'b' }]]);
  const files = layoutFiles([{ image, annotations: name }]);
  const [first] = await images.import(await writeFiles(await temporary(t), files), {});
  t.equal(first?.digest, image.digest);
  t.same(first?.names, ['redis-7:latest']);
  t.equal(first?.body.platform, PLATFORM);
  t.ok((first?.bytes ?? 0) > 0);
  const [second] = await images.import(await writeTar(join(await temporary(t), 'x.tar'), files), {
    name: 'redis:8',
  });
  t.equal(second?.digest, image.digest);
  t.same(second?.names, ['redis:8']);
  t.equal(second?.bytes, 0);
  t.equal((await blobs()).length, 4);
  t.same(await images.local(), [image.digest]);
  const ready = await images.ensure(image.digest, first!.body);
  t.equal(await readFile(join(ready.lowerDirs[1]!, 'b'), 'utf8'), 'b');
});

t.test('of an index for several platforms this one is taken', async (t) => {
  const { images } = await service(t);
  const image = await makeImage([[{ path: 'a' }]]);
  const other = await makeImage([[{ path: 'b' }]], { platform: OTHER });
  const [os, architecture] = PLATFORM.split('/') as [string, string];
  const nested = layoutFiles([
    { image: other, platform: { os, architecture: OTHER.split('/')[1]! } },
    { image, platform: { os, architecture } },
  ]);
  const index = nested.get('index.json')!;
  nested.set(blobFile(index), index);
  const descriptor = {
    mediaType: 'application/vnd.oci.image.index.v1+json',
    digest: digestOf(index),
    size: index.byteLength,
    annotations: { 'io.containerd.image.name': 'docker.io/library/app:1' },
  };
  nested.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [descriptor] })));
  const [imported] = await images.import(await writeFiles(await temporary(t), nested), {});
  t.equal(imported?.digest, image.digest);
  t.same(imported?.names, ['app:1']);
});

t.test('an archive of an old docker save is converted, the same way each time', async (t) => {
  const image = await makeImage([[{ path: 'a', content: 'a' }], [{ path: 'b', content: 'b' }]]);
  const hex = digestOf(image.config).slice(7);
  const manifest = [
    { Config: `${hex}.json`, RepoTags: ['app:2'], Layers: ['one/layer.tar', 'two/layer.tar'] },
  ];
  const files = new Map<string, Buffer>([
    [`${hex}.json`, image.config],
    ['one/layer.tar', image.layers[0]!.tar],
    ['two/layer.tar', image.layers[1]!.tar],
    ['manifest.json', Buffer.from(JSON.stringify(manifest))],
  ]);
  const digests = new Set<Digest>();
  for (const packed of [false, true]) {
    const { images } = await service(t);
    const tar = await tarOf([...files].map(([path, content]) => ({ path, content })));
    const path = join(await temporary(t), 'saved.tar');
    await writeFile(path, packed ? gzipSync(tar) : tar);
    const [imported] = await images.import(path, {});
    digests.add(imported!.digest);
    t.same(imported?.names, ['app:2']);
    t.same(
      imported?.body.layers.map((layer) => layer.mediaType),
      Array(2).fill('application/vnd.oci.image.layer.v1.tar'),
    );
    const ready = await images.ensure(imported!.digest, imported!.body);
    t.equal(await readFile(join(ready.lowerDirs[0]!, 'a'), 'utf8'), 'a');
  }
  t.equal(digests.size, 1);
});

t.test('a failed import says why and keeps nothing', async (t) => {
  const { images, directory, blobs, layers } = await service(t);
  const good = await makeImage([[{ path: 'a', content: 'a' }]]);
  const hostile = await makeImage([[{ path: 'a' }], [{ path: '../x', content: 'x' }]]);
  const files = layoutFiles([{ image: good }]);
  const wrong = new Map(files);
  wrong.set(blobFile(good.layers[0]!.blob), Buffer.from(good.layers[0]!.blob).fill(1, 10, 11));
  const lacking = new Map(files);
  lacking.delete(blobFile(good.layers[0]!.blob));
  const cases: [string, string, ReadonlyMap<string, Buffer>, string | undefined][] = [
    ['wrong bytes', 'E_BLOB_CORRUPT', wrong, 'app'],
    ['a missing blob', 'E_IMAGE_INVALID', lacking, 'app'],
    ['a hostile layer', 'E_LAYER_HOSTILE', layoutFiles([{ image: hostile }]), 'app'],
    ['an empty directory', 'E_IMAGE_INVALID', new Map(), 'app'],
    ['no name', 'E_BAD_INPUT', files, undefined],
    [
      'one name for two',
      'E_BAD_INPUT',
      layoutFiles([{ image: good }, { image: await makeImage([[]]) }]),
      'app',
    ],
  ];
  for (const [what, code, source, given] of cases) {
    const path = await writeFiles(await temporary(t), source);
    await t.rejects(images.import(path, given === undefined ? {} : { name: given }), { code }, what);
    t.same(await blobs(), [], `${what}: no blob`);
    t.same(await layers(), [], `${what}: no layer`);
  }
  const text = join(await temporary(t), 'text');
  await writeFile(text, 'this is no image');
  await t.rejects(images.import(text, { name: 'app' }), { code: 'E_IMAGE_INVALID' });
  await t.rejects(images.import(join(text, 'none'), { name: 'app' }), { code: 'E_IMAGE_INVALID' });
  t.same(await readdir(join(directory, 'tmp')), []);
  t.same(await images.local(), []);
});

t.test('a failed import takes nothing away from an image that is here', async (t) => {
  const { images } = await service(t);
  const shared = [{ path: 'shared', content: 'shared' }];
  const good = await makeImage([shared]);
  await images.import(await writeFiles(await temporary(t), layoutFiles([{ image: good }])), { name: 'good' });
  const bad = await makeImage([shared, [{ path: '/x' }]]);
  const path = await writeFiles(await temporary(t), layoutFiles([{ image: bad }]));
  await t.rejects(images.import(path, { name: 'bad' }), { code: 'E_LAYER_HOSTILE' });
  t.ok(await images.has(good.digest));
});

t.test('a build of the same tree is the same image, and stands on its base', async (t) => {
  const digests = new Set<Digest>();
  for (const time of [1, 1000]) {
    const { images } = await service(t);
    const base = await images.build({
      directory: await tree(t, time),
      name: 'base',
      command: ['/app'],
      env: { A: '1' },
    });
    digests.add(base.digest);
    const top = await images.build({
      directory: await tree(t, time),
      name: 'top:2',
      base: base.digest,
      entrypoint: ['/bin/sh'],
      env: { B: '2' },
      ports: [80],
    });
    t.same(top.names, ['top:2']);
    const ready = await images.ensure(top.digest, top.body);
    t.equal(ready.lowerDirs.length, 2);
    t.match(ready.config, { entrypoint: ['/bin/sh'], command: [], exposedPorts: ['80/tcp'] });
    t.ok(ready.config.env.includes('A=1') && ready.config.env.includes('B=2'));
    t.equal(await readFile(join(ready.lowerDirs[0]!, 'bin/app'), 'utf8'), 'app');
  }
  t.equal(digests.size, 1);
});

t.test('a build refuses what no layer may hold', async (t) => {
  const { images, blobs } = await service(t);
  const directory = await tree(t, 1);
  const none: Digest = `sha256:${'0'.repeat(64)}`;
  await t.rejects(images.build({ directory, name: 'a', base: none }), { code: 'E_IMAGE_UNKNOWN' });
  await t.rejects(images.build({ directory: join(directory, 'none'), name: 'a' }), {
    code: 'E_IMAGE_INVALID',
  });
  t.equal(spawnSync('mkfifo', [join(directory, 'fifo')]).status, 0);
  await t.rejects(images.build({ directory, name: 'a' }), { code: 'E_IMAGE_INVALID' });
  t.same(await blobs(), []);
});

async function tree(t: Tap, time_s: number): Promise<string> {
  const directory = await temporary(t);
  await mkdir(join(directory, 'bin'));
  await writeFile(join(directory, 'bin/app'), 'app');
  await chmod(join(directory, 'bin/app'), 0o755);
  await symlink('app', join(directory, 'bin/link'));
  await utimes(join(directory, 'bin/app'), time_s, time_s);
  return directory;
}
