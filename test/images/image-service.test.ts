import { createHash, randomBytes } from 'node:crypto';
import { open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { createImages, type ImagesTuning } from '../../images/image-service.ts';
import type { Images } from '../../images/images.ts';
import { SWARM_TUNING } from '../../images/swarm/tuning.ts';
import type { Digest, NodeId } from '../../protocols/base/ids.ts';
import { bigImage, layoutFiles, type MadeImage, makeImage, temporary, writeFiles } from './fixtures.ts';
import { MemoryNetwork } from './memory-network.ts';

const TUNING: Partial<ImagesTuning> = {
  swarm: {
    ...SWARM_TUNING,
    look_ms: 50,
    backoff_ms: 50,
    backoff_ms_max: 400,
    searchPause_ms: 200,
    noProgress_ms: 20_000,
  },
};
const IMPATIENT: Partial<ImagesTuning> = {
  swarm: { ...SWARM_TUNING, look_ms: 20, backoff_ms: 20, backoff_ms_max: 100, noProgress_ms: 300 },
};

interface Host {
  readonly id: NodeId;
  readonly directory: string;
  readonly images: Images;
}

/** Hosts of one test; they are closed with it. */
class Hosts {
  readonly network = new MemoryNetwork();
  readonly #t: Tap;
  /** Whom the ledger names for every image. */
  holders: NodeId[] = [];

  constructor(t: Tap) {
    this.#t = t;
  }

  async start(id: NodeId, tuning = TUNING, kept?: string): Promise<Host> {
    const directory = kept ?? (await temporary(this.#t));
    const images = await createImages(
      { directory, holders: () => this.holders, log: () => undefined },
      tuning,
    );
    this.#t.teardown(async () => images[Symbol.asyncDispose]());
    images.attach(this.network.join(id));
    return { id, directory, images };
  }

  async importInto(host: Host, image: MadeImage) {
    const layout = await writeFiles(await temporary(this.#t), layoutFiles([{ image }]));
    const [imported] = await host.images.import(layout, { name: 'app' });
    return imported!;
  }
}
type Tap = { teardown(fn: () => Promise<void>): void };

async function fileHash(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

async function corrupt(directory: string, digest: Digest, at: number, bytes: number): Promise<void> {
  const file = await open(join(directory, 'blobs', 'sha256', digest.slice(7)), 'r+');
  await file.write(randomBytes(bytes), 0, bytes, at);
  await file.close();
}

t.test('an image moves from one host to another and is unpacked there', async (t) => {
  const hosts = new Hosts(t);
  const a = await hosts.start('a');
  const b = await hosts.start('b');
  const made = await bigImage(6 << 20, 2);
  const imported = await hosts.importInto(a, made);
  hosts.holders = ['a'];
  const ready = await b.images.ensure(imported.digest, imported.body);
  t.equal(ready.digest, made.digest);
  t.same(ready.config.command, ['/bin/app']);
  t.equal(ready.lowerDirs.length, 2);
  for (const [at, lower] of ready.lowerDirs.entries()) {
    const there = await fileHash(join(lower, `data-${at}`));
    const here = await fileHash(
      join(a.directory, 'layers', imported.body.layers[at]!.digest.slice(7), 'fs', `data-${at}`),
    );
    t.equal(there, here);
  }
  t.same(await b.images.local(), [made.digest]);
  const progress = b.images.progress(made.digest);
  t.equal(progress.length, 4);
  t.ok(progress.every((blob) => blob.phase === 'ready' && blob.done === blob.size));
  t.ok(progress.every((blob) => (blob.sources.a ?? 0) >= blob.size));
  t.ok((b.images.traffic().received.a ?? 0) >= 6 << 20);
  t.ok((a.images.traffic().sent.b ?? 0) >= 6 << 20);
  t.same(await readdir(join(b.directory, 'partial')), []);
});

t.test('a host without an address in the ledger is found by provider records', async (t) => {
  const hosts = new Hosts(t);
  const a = await hosts.start('a');
  const b = await hosts.start('b');
  const imported = await hosts.importInto(a, await bigImage(1 << 20));
  await b.images.ensure(imported.digest, imported.body);
  t.ok(await b.images.has(imported.digest));
});

t.test('getters serve one another', async (t) => {
  const hosts = new Hosts(t);
  const a = await hosts.start('a');
  const getters = [await hosts.start('b'), await hosts.start('c'), await hosts.start('d')];
  const imported = await hosts.importInto(a, await bigImage(16 << 20));
  hosts.holders = ['a', 'b', 'c', 'd'];
  // A slow seeder: on a fast one each getter has asked it for everything before others have anything to give.
  hosts.network.rates.set('a', 8 << 10);
  await Promise.all(getters.map((getter) => getter.images.ensure(imported.digest, imported.body)));
  const between = getters.flatMap((getter) =>
    Object.entries(getter.images.traffic().received)
      .filter(([peer]) => peer !== 'a')
      .map(([, bytes]) => bytes),
  );
  t.ok(between.reduce((sum, bytes) => sum + bytes, 0) > 0, 'some bytes came from other getters');
});

t.test('a holder that sends wrong bytes is dropped, and the blob still comes right', async (t) => {
  const hosts = new Hosts(t);
  const honest = await hosts.start('honest');
  const liar = await hosts.start('liar');
  const getter = await hosts.start('getter');
  const made = await bigImage(8 << 20);
  const imported = await hosts.importInto(honest, made);
  await hosts.importInto(liar, made);
  const layer = imported.body.layers[0]!.digest;
  await corrupt(liar.directory, layer, 0, 8 << 20);
  hosts.holders = ['liar', 'honest'];
  const ready = await getter.images.ensure(imported.digest, imported.body);
  t.equal(await fileHash(join(getter.directory, 'blobs', 'sha256', layer.slice(7))), layer.slice(7));
  t.equal((await stat(join(ready.lowerDirs[0]!, 'data-0'))).size, 8 << 20);
});

t.test('with a liar as the only holder there is no source', async (t) => {
  const hosts = new Hosts(t);
  const liar = await hosts.start('liar');
  const getter = await hosts.start('getter', {
    swarm: { ...IMPATIENT.swarm!, noProgress_ms: 1000 },
  });
  const imported = await hosts.importInto(liar, await bigImage(2 << 20));
  await corrupt(liar.directory, imported.body.layers[0]!.digest, 0, 2 << 20);
  hosts.holders = ['liar'];
  await t.rejects(getter.images.ensure(imported.digest, imported.body), { code: 'E_NO_SOURCE' });
  t.notOk(await getter.images.has(imported.digest));
});

t.test('a wrong small blob is refused and got from another holder', async (t) => {
  const hosts = new Hosts(t);
  const honest = await hosts.start('honest');
  const liar = await hosts.start('liar');
  const getter = await hosts.start('getter');
  const made = await makeImage([[{ path: 'a', content: 'a' }]]);
  const imported = await hosts.importInto(honest, made);
  await hosts.importInto(liar, made);
  await corrupt(liar.directory, imported.body.config.digest, 0, imported.body.config.size);
  hosts.holders = ['liar', 'honest'];
  await getter.images.ensure(imported.digest, imported.body);
  const config = getter.images
    .progress(imported.digest)
    .find((blob) => blob.digest === imported.body.config.digest);
  t.same(config?.sources, { honest: imported.body.config.size });
});

t.test('a holder dies midway and another one finishes', async (t) => {
  const hosts = new Hosts(t);
  const a = await hosts.start('a');
  const b = await hosts.start('b');
  const getter = await hosts.start('getter');
  const made = await bigImage(12 << 20);
  const imported = await hosts.importInto(a, made);
  await hosts.importInto(b, made);
  hosts.holders = ['a', 'b'];
  let killed = false;
  hosts.network.onBytes = (from, total) => {
    if (from !== 'a' || total < 2 << 20 || killed) return;
    killed = true;
    hosts.network.kill('a');
  };
  await getter.images.ensure(imported.digest, imported.body);
  t.ok(killed);
  t.ok((getter.images.traffic().received.b ?? 0) > 0);
});

t.test('a fetch goes on where it was after a restart', async (t) => {
  const hosts = new Hosts(t);
  const a = await hosts.start('a');
  const imported = await hosts.importInto(a, await bigImage(16 << 20));
  hosts.holders = ['a'];
  const before = await hosts.start('getter');
  const stop = new AbortController();
  hosts.network.onBytes = (from, total) => {
    if (from === 'a' && total > 8 << 20) stop.abort();
  };
  await t.rejects(before.images.ensure(imported.digest, imported.body, { signal: stop.signal }), {
    code: 'E_CANCELLED',
  });
  await before.images[Symbol.asyncDispose]();
  hosts.network.kill('getter');
  hosts.network.onBytes = () => undefined;
  t.same(await readdir(join(before.directory, 'blobs', 'sha256')).then((names) => names.length), 2);
  const sent = a.images.traffic().sent.getter ?? 0;
  const after = await hosts.start('getter', TUNING, before.directory);
  await after.images.ensure(imported.digest, imported.body);
  const again = (a.images.traffic().sent.getter ?? 0) - sent;
  t.ok(again < 14 << 20, `${again} bytes were sent again`);
  t.ok(await after.images.has(imported.digest));
});

t.test('an image that is here is still here after a restart, and needs nobody', async (t) => {
  const hosts = new Hosts(t);
  const a = await hosts.start('a');
  const imported = await hosts.importInto(a, await bigImage(1 << 20));
  await a.images[Symbol.asyncDispose]();
  const again = await createImages({ directory: a.directory, holders: () => [], log: () => undefined });
  t.teardown(async () => again[Symbol.asyncDispose]());
  t.same(await again.local(), [imported.digest]);
  const ready = await again.ensure(imported.digest, imported.body);
  t.equal(ready.lowerDirs.length, 1);
  t.ok(again.progress(imported.digest).every((blob) => blob.phase === 'ready'));
});

t.test('concurrent calls for one image share the work', async (t) => {
  const hosts = new Hosts(t);
  const a = await hosts.start('a');
  const b = await hosts.start('b');
  const imported = await hosts.importInto(a, await bigImage(1 << 20));
  hosts.holders = ['a'];
  const calls = Array.from({ length: 8 }, () => b.images.ensure(imported.digest, imported.body));
  await Promise.all(calls);
  t.ok((b.images.traffic().received.a ?? 0) < 2 << 20, 'it travelled once');
});

t.test('one of two callers may give up without harm to the other', async (t) => {
  const hosts = new Hosts(t);
  const a = await hosts.start('a');
  const b = await hosts.start('b');
  const imported = await hosts.importInto(a, await bigImage(1 << 20));
  hosts.holders = ['a'];
  const stop = new AbortController();
  const first = b.images.ensure(imported.digest, imported.body, { signal: stop.signal });
  const second = b.images.ensure(imported.digest, imported.body);
  stop.abort();
  await t.rejects(first, { code: 'E_CANCELLED' });
  await second;
  t.ok(await b.images.has(imported.digest));
});

t.test('without a holder the fetch ends with E_NO_SOURCE', async (t) => {
  const hosts = new Hosts(t);
  const a = await hosts.start('a');
  const b = await hosts.start('b', IMPATIENT);
  const imported = await hosts.importInto(a, await bigImage(1 << 20));
  hosts.network.kill('a');
  hosts.holders = ['a', 'nobody'];
  await t.rejects(b.images.ensure(imported.digest, imported.body), { code: 'E_NO_SOURCE' });
  t.notOk(await b.images.has(imported.digest));
});

t.test('a host in no cluster has no source', async (t) => {
  const hosts = new Hosts(t);
  const a = await hosts.start('a');
  const imported = await hosts.importInto(a, await bigImage(1 << 20));
  const alone = await createImages({
    directory: await temporary(t),
    holders: () => ['a'],
    log: () => undefined,
  });
  t.teardown(async () => alone[Symbol.asyncDispose]());
  await t.rejects(alone.ensure(imported.digest, imported.body), { code: 'E_NO_SOURCE' });
});

t.test('a record that does not match its manifest is refused', async (t) => {
  const hosts = new Hosts(t);
  const a = await hosts.start('a');
  const b = await hosts.start('b');
  const imported = await hosts.importInto(a, await makeImage([[{ path: 'a' }], [{ path: 'b' }]]));
  hosts.holders = ['a'];
  const body = { ...imported.body, layers: imported.body.layers.slice(0, 1) };
  await t.rejects(b.images.ensure(imported.digest, body), { code: 'E_IMAGE_INVALID' });
});

t.test('a record with a wrong infohash gives no source and stores nothing', async (t) => {
  const hosts = new Hosts(t);
  const a = await hosts.start('a');
  const b = await hosts.start('b', IMPATIENT);
  const imported = await hosts.importInto(a, await bigImage(1 << 20));
  hosts.holders = ['a'];
  const [layer] = imported.body.layers;
  const body = { ...imported.body, layers: [{ ...layer!, infohash: '0'.repeat(40) }] };
  await t.rejects(b.images.ensure(imported.digest, body), { code: 'E_NO_SOURCE' });
  t.notOk(await b.images.has(imported.digest));
});

t.test('an idle torrent is closed, and opened again when somebody asks', async (t) => {
  const hosts = new Hosts(t);
  const quick = { swarm: { ...TUNING.swarm!, seedIdle_ms: 100 } };
  const a = await hosts.start('a', quick);
  const imported = await hosts.importInto(a, await bigImage(1 << 20));
  hosts.holders = ['a'];
  const b = await hosts.start('b', quick);
  await b.images.ensure(imported.digest, imported.body);
  const streams = hosts.network.members.get('a')!.streams;
  while (streams.size > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  await b.images[Symbol.asyncDispose]();
  hosts.network.kill('b');
  await rm(b.directory, { recursive: true });
  const c = await hosts.start('c', quick);
  await c.images.ensure(imported.digest, imported.body);
  t.ok(await c.images.has(imported.digest));
});
