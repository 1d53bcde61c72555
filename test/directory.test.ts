/** What a test that was killed leaves is taken away by a later one, and nothing of those that run. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t from 'tap';
import { directoryIn, sweep } from './directory.ts';

t.test('directories of processes that have ended are swept, and no others', async (t) => {
  const parent = await directoryIn(tmpdir(), t);
  const own = path.basename(parent);
  const { pid } = spawnSync(process.execPath, ['--version']);
  const stale = own.replace(`-${process.pid}-`, `-${pid}-`);
  t.not(stale, own);
  for (const name of [own, stale, 'shoal-test-other', 'x']) mkdirSync(path.join(parent, name));
  sweep(parent);
  t.same(readdirSync(parent).sort(), [own, 'shoal-test-other', 'x'].sort());
});
