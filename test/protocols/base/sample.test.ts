import t from 'tap';
import { fromLot, sample } from '../../../protocols/base/sample.ts';
import fc from '../../laws.ts';
import { Prng } from '../../sim/prng.ts';

t.test('some are taken, each once, and the list stays as it is', async (t) => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer()), fc.nat(20), fc.string(), (items, count, seed) => {
      const before = [...items];
      const taken = sample(items, count, new Prng(seed).next);
      return (
        taken.length === Math.min(count, items.length) &&
        new Set(taken).size === taken.length &&
        taken.every((item) => items.includes(item)) &&
        items.every((item, at) => item === before[at])
      );
    }),
  );
  t.pass();
});

t.test('each is taken as often as any other, at each place', async (t) => {
  const { next } = new Prng('even');
  const counts = Array.from({ length: 2 }, () => [0, 0, 0, 0, 0]);
  for (let round = 0; round < 50_000; round += 1)
    for (const [place, item] of sample(new Set([0, 1, 2, 3, 4]), 2, next).entries())
      counts[place]![item]! += 1;
  for (const place of counts) for (const count of place) t.ok(count > 9500 && count < 10_500, `${count}`);
});

t.test('from a place by lot all come once, round in a ring', async (t) => {
  t.same(fromLot([1, 2, 3, 4], 0), [1, 2, 3, 4]);
  t.same(fromLot([1, 2, 3, 4], 0.6), [3, 4, 1, 2]);
  t.same(fromLot([1, 2, 3, 4], 0.999), [4, 1, 2, 3]);
  t.same(fromLot([], 0.5), []);
});
