import t from 'tap';
import { claimSubnet, isSubnetOf, parseRange, subnetConflicts } from '../../../protocols/discovery/subnet.ts';
import fc from '../../laws.ts';

const RANGE = '10.210.0.0/16';

t.test('a claim is a free /24 of the range, and always the same', async () => {
  fc.assert(
    fc.property(fc.string(), fc.array(fc.nat(255), { maxLength: 255 }), (self, numbers) => {
      const taken = new Set(numbers.map((number) => `10.210.${number}.0/24`));
      const subnet = claimSubnet(RANGE, taken, self);
      if (subnet === null) return taken.size === 256;
      return (
        !taken.has(subnet) &&
        isSubnetOf(parseRange(RANGE), subnet) &&
        subnet === claimSubnet(RANGE, taken, self)
      );
    }),
  );
});

t.test('a full range gives null', async (t) => {
  t.equal(claimSubnet('10.1.2.0/24', new Set(['10.1.2.0/24']), 'a'), null);
  t.equal(claimSubnet('10.1.2.0/24', new Set(), 'a'), '10.1.2.0/24');
  t.equal(claimSubnet('200.0.0.0/8', new Set(), 'a')?.startsWith('200.'), true);
});

t.test('nodes spread over the range', async (t) => {
  const claims = Array.from({ length: 100 }, (_, at) => claimSubnet(RANGE, new Set(), `12D3KooWNode${at}`));
  t.ok(new Set(claims).size > 65, String(new Set(claims).size));
});

t.test('of one subnet all but the smallest id renumber, in any order of looking', async (t) => {
  const claims = [
    { id: 'b', subnet: '10.210.1.0/24' },
    { id: 'c', subnet: '10.210.1.0/24' },
    { id: 'a', subnet: '10.210.1.0/24' },
    { id: 'd', subnet: '10.210.2.0/24' },
    { id: 'e', subnet: null },
    { id: 'f', subnet: null },
  ];
  t.same(subnetConflicts(claims), ['b', 'c']);
  fc.assert(
    fc.property(fc.shuffledSubarray(claims, { minLength: claims.length }), (shuffled) => {
      t.same(subnetConflicts(shuffled), ['b', 'c']);
    }),
  );
});

t.test('what is no range is refused', async (t) => {
  for (const range of [
    '',
    '10.0.0.0',
    '10.0.0.0/7',
    '10.0.0.0/25',
    '10.0.1.0/16',
    '10.0.0/16',
    'fd00::/16',
    '10.0.0.0/16/1',
  ])
    t.throws(() => parseRange(range), { code: 'E_BAD_INPUT' }, range);
});
