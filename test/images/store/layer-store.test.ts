import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { LayerStore } from '../../../images/store/layer-store.ts';
import { digestOf, temporary } from '../fixtures.ts';

const layer = digestOf(Buffer.from('layer'));
const fill = async (directory: string) => {
  await mkdir(join(directory, 'fs'));
  await writeFile(join(directory, 'fs', 'a'), 'a');
};

t.test('an installed layer is there after a restart, half-made ones are not', async (t) => {
  const root = await temporary(t);
  const store = await LayerStore.open(root);
  t.ok(await store.install(layer, fill));
  t.notOk(await store.install(layer, fill), 'it was there');
  await mkdir(join(root, 'layers', '.new-half'));
  const again = await LayerStore.open(root);
  t.ok(await again.has(layer));
  t.same(await readdir(again.path(layer)), ['a']);
  t.equal((await readdir(join(root, 'layers'))).length, 1);
  await again.remove(layer);
  t.notOk(await again.has(layer));
});

t.test('a failure keeps nothing; installers at the same time agree', async (t) => {
  const root = await temporary(t);
  const store = await LayerStore.open(root);
  const failing = async (directory: string) => {
    await fill(directory);
    throw new Error('no');
  };
  await t.rejects(store.install(layer, failing));
  t.same(await readdir(join(root, 'layers')), []);
  const created = await Promise.all([1, 2, 3].map(() => store.install(layer, fill)));
  t.equal(created.filter(Boolean).length, 1);
  t.equal((await readdir(join(root, 'layers'))).length, 1);
});
