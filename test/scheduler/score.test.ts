import t from 'tap';
import { hashPair, hashText, toUnit } from '../../scheduler/hash.ts';
import { bandsOf, type Candidate, compareCandidates, rendezvous } from '../../scheduler/score.ts';
import fc from '../laws.ts';
import { aMember, aSpec, IMAGE, MIB } from './fixtures.ts';

const NAME = 'default/web';
const SIZE = { cpu_millis: 4000, memory_bytes: 4096 * MIB };
const empty = () => ({
  cpu_millis: 0,
  memory_bytes: 0,
  instances: new Map<`${string}/${string}`, number>(),
  images: new Set<string>(),
});

t.test('the hash of a text never changes: placement depends on it across releases', async (t) => {
  t.same(hashText('shoal'), { high: 1863431349, low: 4162483872 });
  t.same(hashPair(hashText('a'), hashText('b')), { high: 3216100341, low: 3258836617 });
});

t.test('the order of a pair matters, and units lie strictly between 0 and 1', async () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      const unit = toUnit(hashPair(hashText(a), hashText(b)));
      const swapped = toUnit(hashPair(hashText(b), hashText(a)));
      return unit > 0 && unit < 1 && (a === b || unit !== swapped);
    }),
  );
});

t.test('similar names hash evenly', async (t) => {
  const buckets = new Array<number>(16).fill(0);
  const seen = new Set<number>();
  for (let at = 0; at < 16_000; at++) {
    const unit = toUnit(hashText(`default/web/${at}`));
    buckets[Math.floor(unit * 16)]!++;
    seen.add(unit);
  }
  t.equal(seen.size, 16_000, 'no collision');
  for (const count of buckets) t.ok(count > 850 && count < 1150, `${count} of 1000`);
});

t.test('ties fall to nodes in proportion to their size', async (t) => {
  const sizes: [string, number][] = [
    ['a', 1000],
    ['b', 1000],
    ['c', 2000],
    ['d', 4000],
  ];
  const wins = new Map<string, number>();
  for (let at = 0; at < 8000; at++) {
    const ranked = sizes
      .map(([id, cpu_millis]) => ({
        id,
        weight: rendezvous(id, `default/web/${at}`, { ...SIZE, cpu_millis }),
      }))
      .sort((a, b) => b.weight - a.weight);
    const { id } = ranked[0]!;
    wins.set(id, (wins.get(id) ?? 0) + 1);
  }
  for (const [id, size] of sizes) {
    const got = wins.get(id)!;
    t.ok(Math.abs(got - size) < 200, `${id} won ${got} of about ${size}`);
  }
});

t.test('when a node goes, only its own slots move', async (t) => {
  const ids = Array.from({ length: 10 }, (_, at) => `node-${at}`);
  const winner = (from: string[], at: number) =>
    from
      .map((id) => ({ id, weight: rendezvous(id, `default/web/${at}`, SIZE) }))
      .reduce((a, b) => (a.weight > b.weight ? a : b)).id;
  for (let at = 0; at < 200; at++) {
    const before = winner(ids, at);
    if (before !== 'node-3')
      t.equal(
        winner(
          ids.filter((id) => id !== 'node-3'),
          at,
        ),
        before,
      );
  }
});

t.test('bands say how many there are, how full it gets, and whether the image is there', async (t) => {
  const member = aMember('a');
  const spec = aSpec({ resources: { cpu_millis: 1000, memory_bytes: 128 * MIB } });
  t.same(bandsOf(member, empty(), NAME, spec, false), { spread: 0, incumbent: 0, fullness: 1, image: 1 });
  const busy = {
    ...empty(),
    cpu_millis: 3000,
    instances: new Map([[NAME, 2]] as const),
    images: new Set([IMAGE]),
  };
  t.same(bandsOf(member, busy, NAME, spec, true), { spread: 2, incumbent: 1, fullness: 3, image: 0 });
});

t.test('candidates compare by spread, incumbency, fullness, image, weight, id: in that order', async (t) => {
  const candidate = (node: string, [spread, incumbent, fullness, image, weight]: number[]): Candidate => ({
    node,
    name: node,
    bands: { spread: spread!, incumbent: incumbent!, fullness: fullness!, image: image! },
    weight: weight!,
  });
  const ordered = [
    candidate('h', [0, 0, 3, 1, 1]),
    candidate('g', [0, 1, 0, 1, 1]),
    candidate('f', [1, 0, 0, 1, 9]),
    candidate('e', [1, 0, 1, 0, 5]),
    candidate('c', [1, 0, 1, 1, 5]),
    candidate('d', [1, 0, 1, 1, 4]),
    candidate('x', [1, 0, 1, 1, 4]),
  ];
  t.same([...ordered].reverse().sort(compareCandidates), ordered);
});
