/** The copy of what leads a node back into its cluster: used when state.db has lost that, and not otherwise. */
import { mkdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t, { type Test } from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { StateStore } from '../../../daemon/store/state-store.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';

const KEPT: [string, string][] = [
  ['genesis', 'one'],
  ['contacts', '[]'],
  ['epoch/me', '7'],
];
const nothing = { put: [], remove: [], streams: [] };

/** Where a node of a cluster keeps its state, and keeps it no more. */
async function stopped(t: Test, values = KEPT): Promise<string> {
  const file = path.join(await temporaryDirectory(t), 'state.db');
  const store = new StateStore(file, nodeCrypto);
  store.write({ ...nothing, values: [...values, ['other', 'x']] });
  store.close();
  return file;
}

function look(t: Test, file: string): { values: (string | undefined)[]; isIncomplete: boolean } {
  const store = new StateStore(file, nodeCrypto);
  t.teardown(() => store.close());
  const values = [...KEPT.map(([name]) => name), 'other'].map((name) => store.value(name));
  const { isIncomplete } = store;
  store.close();
  return { values, isIncomplete };
}

function change(file: string, sql: string): void {
  const database = new DatabaseSync(file);
  database.exec(sql);
  database.close();
}

t.test('a database that is gone has the values again, and is known to have lost the rest', async (t) => {
  const file = await stopped(t);
  await rm(file);
  const found = { values: ['one', '[]', '7', undefined], isIncomplete: true };
  t.same(look(t, file), found);
  await rm(`${file}.spare`);
  t.same(look(t, file), found, 'they are in the database again');
});

t.test('what the database tells itself is what counts', async (t) => {
  const file = await stopped(t);
  change(file, "DELETE FROM meta WHERE name = 'contacts'");
  t.same(look(t, file), { values: ['one', undefined, '7', 'x'], isIncomplete: false }, 'nothing is damaged');
  change(file, "UPDATE meta SET value = '8' WHERE name = 'epoch/me'");
  t.same(look(t, file), { values: ['one', '[]', '7', 'x'], isIncomplete: true }, 'a row was');
});

t.test('an epoch that was given is not given again, and where others are is not forgotten', async (t) => {
  const values = (store: StateStore) => ['epoch/me', 'contacts'].map((name) => store.value(name));
  const file = await stopped(t);
  const older = await readFile(file);
  const store = new StateStore(file, nodeCrypto);
  store.write({
    ...nothing,
    values: [
      ['epoch/me', '8'],
      ['contacts', '["b"]'],
    ],
  });
  store.close();
  await writeFile(file, older);
  const restored = new StateStore(file, nodeCrypto);
  t.same(values(restored), ['8', '["b"]'], 'an older copy of a database that is whole');
  t.ok(restored.isIncomplete, 'the life that had that epoch may have written more');
  restored.write({ ...nothing, values: [['contacts', '["b"]']] });
  restored.close();
  await writeFile(file, older);
  change(file, "UPDATE meta SET value = 'y' WHERE name = 'other'");
  const damaged = new StateStore(file, nodeCrypto);
  t.teardown(() => damaged.close());
  t.same(values(damaged), ['8', '["b"]'], 'one that has lost something');
});

t.test('a copy that is of another cluster, damaged or too large is as good as none', async (t) => {
  const none = { values: [undefined, undefined, undefined, undefined], isIncomplete: false };
  for (const text of ['', 'x', `${'0'.repeat(16)}\n[["genesis","one"]]\n`, 'x'.repeat(2 << 20)]) {
    const file = await stopped(t);
    await rm(file);
    await writeFile(`${file}.spare`, text);
    t.same(look(t, file), none, text.slice(0, 20));
  }
  const [file, other] = [await stopped(t), await stopped(t, [['genesis', 'two'], ...KEPT.slice(1)])];
  await writeFile(`${file}.spare`, await readFile(`${other}.spare`));
  change(file, "UPDATE meta SET value = '8' WHERE name = 'epoch/me'");
  t.same(look(t, file).values, ['one', '[]', undefined, 'x']);
  // It is written anew with the next of these values, and not with others.
  const store = new StateStore(file, nodeCrypto);
  t.teardown(() => store.close());
  store.write({ ...nothing, values: [['other', 'y']] });
  t.match(await readFile(`${file}.spare`, 'utf8'), /"two"/);
  store.write({ ...nothing, values: [['epoch/me', '9']] });
  store.close();
  t.match(await readFile(`${file}.spare`, 'utf8'), /"one".*"9"/);
});

t.test('a disk that does not take the copy keeps nothing from being written', async (t) => {
  const file = await stopped(t);
  await rm(`${file}.spare`);
  await mkdir(`${file}.spare`);
  const store = new StateStore(file, nodeCrypto);
  t.teardown(() => store.close());
  store.write({ ...nothing, values: [['epoch/me', '8']] });
  t.equal(store.value('epoch/me'), '8');
  t.throws(() => store.clear(), { code: 'E_DISK_FAILED' }, 'but what is to be forgotten must be');
  t.equal(store.value('genesis'), 'one');
  await rmdir(`${file}.spare`);
  store.write({ ...nothing, values: [['epoch/me', '9']] });
  store.clear();
  store.close();
  t.same(look(t, file).values, [undefined, undefined, undefined, undefined]);
  await rm(file);
  t.same(look(t, file).values, [undefined, undefined, undefined, undefined]);
});
