import t from 'tap';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { Prng } from './prng.ts';
import { VirtualDisk } from './virtual-disk.ts';

const record = (digest: string) => ({ digest, kind: 'tag' }) as LedgerRecord;
const put = (...digests: string[]) => ({ put: digests.map(record), remove: [], streams: [] });
const held = (disk: VirtualDisk) => Array.from(disk.load().records, ({ digest }) => digest).sort();

function diskOf(...digests: string[]) {
  return new VirtualDisk(new Map(digests.map((digest) => [digest, record(digest)])));
}

t.test('what was synced is there, and what a crash found under way is a beginning of it', async (t) => {
  const outcomes = new Set<string>();
  for (let seed = 0; seed < 50; seed += 1) {
    const disk = diskOf('a');
    disk.stage(put('b'));
    disk.sync();
    for (const digest of ['c', 'd']) disk.stage(put(digest));
    disk.crash(new Prng(`crash ${seed}`));
    outcomes.add(held(disk).join(''));
  }
  t.same([...outcomes].sort(), ['ab', 'abc', 'abcd']);
});

t.test('what all began with is shared, and each takes away for itself', async (t) => {
  const base = new Map([['a', record('a')]]);
  const [one, other] = [new VirtualDisk(base), new VirtualDisk(base)];
  one!.stage({ put: [], remove: [record('a')], streams: [] });
  one!.sync();
  t.same(held(one!), []);
  t.same(held(other!), ['a']);
  t.ok(other!.load().isPristine);
  t.notOk(one!.load().isPristine);
});

t.test('damaged records are gone, named once, and with them the heights and the epoch', async (t) => {
  const disk = diskOf('a', 'b', 'c');
  disk.stage({ ...put(), streams: [['author/0', 3]] });
  disk.sync();
  t.equal([...disk.load().streams].length, 1);
  const lost = disk.damage(new Prng('damage'), 1, ({ digest }) => digest !== 'a');
  t.notOk(disk.holds(lost[0]!));
  const { damaged, streams, epoch } = disk.load();
  t.equal(damaged.length, 1);
  t.equal([...streams].length, 0);
  t.equal(epoch, 1);
  t.equal(held(disk).length, 2);
  t.ok(held(disk).includes('a'));
  t.same(disk.load().damaged, []);
});

t.test('an old image brings the old content back', async (t) => {
  const disk = diskOf('a');
  disk.stage(put('b'));
  disk.sync();
  const image = disk.snapshot();
  disk.stage({ ...put('c'), epoch: 3 });
  disk.sync();
  t.same(disk.restore(image), ['c']);
  t.same(held(disk), ['a', 'b']);
  t.equal(disk.load().epoch, 0);
});

t.test('a disk that is gone tells what it alone may have held', async (t) => {
  const disk = diskOf('a');
  disk.stage(put('b'));
  disk.sync();
  disk.stage(put('c'));
  t.same(disk.wipe(), ['b'], 'not what it began with, as all did, nor what was never synced');
  t.notOk(disk.holds('b'));
});
