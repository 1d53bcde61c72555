/** Files that are made whole or not at all. What a crash leaves of them: crash.test.ts. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { createDurably, removeDurably, replaceDurably } from '../../../daemon/store/durable-file.ts';
import { memoryDirectory } from './memory-directory.ts';

t.test('a file that is there is not made again, and may be replaced or taken away', async (t) => {
  const directory = await memoryDirectory(t);
  const file = path.join(directory, 'key');
  // As an earlier try may have left it.
  writeFileSync(`${file}.new`, 'half');
  createDurably(file, 'one');
  t.throws(() => createDurably(file, 'two'), { code: 'EEXIST' });
  t.equal(readFileSync(file, 'utf8'), 'one');
  replaceDurably(file, 'three');
  t.equal(readFileSync(file, 'utf8'), 'three');
  t.same(readdirSync(directory), ['key'], 'no draft is left of any of them');
  removeDurably(file);
  removeDurably(file);
  t.same(readdirSync(directory), []);
});
