/** How much a node in doubt keeps in mind of what it has seen in parts. What it sees of ledgers is in reconcile.test.ts. */
import t from 'tap';
import { Cover, OPEN_MAX, SHOWN_MAX, SPANS_MAX } from '../../../protocols/ledger/cover.ts';
import type { Prefix } from '../../../protocols/ledger/record-trie.ts';
import { type Item, LISTED_MAX } from '../../../protocols/ledger/sync.ts';

function digest(number: number): string {
  return number.toString(16).padStart(16, '0');
}

/** Shows what has digests from one to the other, all of it too new to be missed. */
function show(cover: Cover, prefix: Prefix, first: number, last: number): void {
  const item = (number: number): Item => ({ digest: digest(number), placeLow: 0, ms: 1, n: 0 });
  const items = new Array<Item>(LISTED_MAX).fill(item(first));
  items[LISTED_MAX - 1] = item(last);
  cover.listed({ prefix, items }, []);
}

function divided(count: number): { cover: Cover; prefixes: readonly Prefix[] } {
  const cover = new Cover(0);
  const prefixes = Array.from({ length: count }, (_, at) => at.toString(16).padStart(4, '0'));
  cover.divided(
    '',
    prefixes.map((prefix) => ({ prefix, words: [0, 0, 0, 0], count: 1 })),
  );
  return { cover, prefixes };
}

t.test('a range is seen once its parts go all the way round, in whatever order', async (t) => {
  const { cover, prefixes } = divided(1);
  const [prefix] = prefixes as [Prefix];
  for (const [first, last] of [
    [10, 20],
    [30, 2],
    [15, 31],
  ] as const) {
    show(cover, prefix, first, last);
    t.notOk(cover.isWhole);
  }
  show(cover, prefix, 1, 10);
  t.ok(cover.isWhole);
});

t.test('of more parts that do not touch than are kept the range begins anew', async (t) => {
  const { cover, prefixes } = divided(1);
  const [prefix] = prefixes as [Prefix];
  const end = 10 * (SPANS_MAX + 1);
  for (let at = 0; at < end; at += 10) show(cover, prefix, at, at + 5);
  for (let at = 0; at < end; at += 10) show(cover, prefix, at + 5, at + 10);
  show(cover, prefix, end, 0);
  t.notOk(cover.isWhole, 'the first are forgotten');
  show(cover, prefix, 0, end);
  t.ok(cover.isWhole);
});

t.test('of more ranges that were seen in part than are kept the oldest begins anew', async (t) => {
  const { cover, prefixes } = divided(SHOWN_MAX + 1);
  for (const prefix of prefixes) show(cover, prefix, 20, 10);
  for (const prefix of prefixes.toReversed()) show(cover, prefix, 5, 25);
  t.notOk(cover.isWhole);
  show(cover, prefixes[0]!, 20, 10);
  t.ok(cover.isWhole);
});

t.test('of more ranges than are kept in mind the comparison begins anew', async (t) => {
  for (const count of [OPEN_MAX, OPEN_MAX + 1]) {
    const { cover, prefixes } = divided(count);
    for (const prefix of prefixes) cover.settled(prefix);
    t.equal(cover.isWhole, count <= OPEN_MAX);
    cover.divided('', []);
    t.ok(cover.isWhole, 'the other side shows again what all of its ranges are');
  }
});
