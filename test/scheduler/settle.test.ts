import t from 'tap';
import type { AllocationBody } from '../../protocols/base/records.ts';
import { rendezvous } from '../../scheduler/score.ts';
import { settle } from '../../scheduler/settle.ts';
import fc from '../laws.ts';
import { aMember, anAllocation, aSpec, aView, aWorkload, revisionOf } from './fixtures.ts';

const members = [aMember('a'), aMember('b'), aMember('c'), aMember('d', { intent: 'draining' })];
const workload = aWorkload(aSpec(), { generation: 2 });
const view = aView({ members, workloads: [workload] });
const current = (node: string, over: Partial<AllocationBody> = {}) =>
  anAllocation(node, 0, { generation: 2, since_ms: 100, ...over });

t.test('each rule decides what the rules before it leave open', async (t) => {
  const cases: [string, AllocationBody, AllocationBody][] = [
    [
      'the winning revision before a higher generation of another',
      current('a'),
      current('b', { generation: 9, revision: revisionOf(9), since_ms: 1 }),
    ],
    [
      'the newer generation, even if it only begins',
      current('a', { phase: 'claimed', health: 'unknown' }),
      current('b', { generation: 1, revision: revisionOf(1), since_ms: 1 }),
    ],
    ['a node that may keep it before one that drains', current('a'), current('d', { since_ms: 1 })],
    [
      'the original, even unhealthy',
      current('a', { since_ms: 1, health: 'unhealthy' }),
      current('b', { since_ms: 2 }),
    ],
    ['the healthy one of two that began at once', current('b'), current('a', { health: 'unhealthy' })],
  ];
  for (const [rule, winner, loser] of cases) {
    t.equal(settle(view, workload, [winner, loser]), winner, rule);
    t.equal(settle(view, workload, [loser, winner]), winner, `${rule}, in the other order`);
  }
});

t.test('rendezvous rank breaks a tie of everything else', async (t) => {
  const weight = (id: string) => rendezvous(id, 'default/web/0', members[0]!.capacity);
  const best = ['a', 'b', 'c'].reduce((x, y) => (weight(x) > weight(y) ? x : y));
  t.equal(settle(view, workload, [current('a'), current('b'), current('c')])?.node, best);
});

t.test('nobody is kept where nobody is', async (t) => {
  t.equal(settle(view, workload, []), null);
});

t.test('the same allocations have the same winner in any order, and on any node', async () => {
  const allocation = fc.record({
    node: fc.constantFrom('a', 'b', 'c', 'd', 'unknown'),
    generation: fc.constantFrom(1, 2, 3),
    since_ms: fc.constantFrom(1, 2),
    health: fc.constantFrom('healthy' as const, 'unhealthy' as const),
    phase: fc.constantFrom('claimed' as const, 'running' as const),
  });
  const several = fc.uniqueArray(allocation, { minLength: 1, maxLength: 5, selector: ({ node }) => node });
  fc.assert(
    fc.property(
      several.chain((list) =>
        fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
      ),
      fc.constantFrom('a', 'b', 'c', 'd'),
      ([list, shuffled], self) => {
        const build = (parts: typeof list) => parts.map((part) => anAllocation(part.node, 0, part));
        const elsewhere = { ...view, self };
        return (
          settle(view, workload, build(list))?.node === settle(elsewhere, workload, build(shuffled))?.node
        );
      },
    ),
  );
});
