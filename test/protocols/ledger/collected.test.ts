/** What is remembered of collected deletions is bounded. */
import t from 'tap';
import { Collected } from '../../../protocols/ledger/collected.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';

function tombstone(key: string, generation: number, kind = 'tag'): LedgerRecord {
  return { kind, key, generation } as LedgerRecord;
}

t.test('of each key the highest generation is remembered', async (t) => {
  const collected = new Collected();
  t.equal(collected.generationOf('tag', 'app:1'), 0);
  for (const generation of [2, 7, 3]) collected.add(tombstone('app:1', generation));
  // A kind of another version may hold any sign.
  for (const [kind, key] of [
    ['tag/app', '1'],
    ['tag","app:1', ''],
    ['tagapp:1', ''],
    ['', 'tagapp:1'],
  ] as const)
    collected.add(tombstone(key, 9, kind));
  t.equal(collected.generationOf('tag', 'app:1'), 7);
  t.equal(collected.generationOf('workload', 'app:1'), 0);
});

t.test('of keys those are remembered of which a deletion was collected last', async (t) => {
  const collected = new Collected();
  for (const key of ['first', 'second', 'first']) collected.add(tombstone(key, 1));
  for (let at = 1; at < Collected.KEYS_MAX; at += 1) collected.add(tombstone(`more:${at}`, 1));
  t.equal(collected.generationOf('tag', 'second'), 0);
  t.equal(collected.generationOf('tag', 'first'), 1);
  collected.add(tombstone('one:more', 1));
  t.equal(collected.generationOf('tag', 'first'), 0);
});
