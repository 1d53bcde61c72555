import t from 'tap';
import {
  daemonIndexes,
  holdersOf,
  indexHolders,
  isHealthy,
  matchesConstraints,
  slotsOf,
} from '../../scheduler/slots.ts';
import { aMember, anAllocation, aSpec, aView, aWorkload } from './fixtures.ts';

t.test('a service has the slots 0 to n-1, a stopped one has none', async (t) => {
  const view = aView({ members: [aMember('a')] });
  const names = (stopped: boolean) =>
    slotsOf(view, aWorkload(aSpec({ replicas: 2 }), { stopped })).map(({ name }) => name);
  t.same(names(false), ['default/web/0', 'default/web/1']);
  t.same(names(true), []);
});

t.test('a daemon has one slot for each worker that matches and is not drained', async (t) => {
  const members = [
    aMember('a', { labels: { zone: 'x' } }),
    aMember('b', { labels: { zone: 'y' } }),
    aMember('c', { labels: { zone: 'x' }, worker: false }),
    aMember('d', { labels: { zone: 'x' }, intent: 'draining' }),
    aMember('e', { labels: { zone: 'x' }, intent: 'cordoned' }),
    aMember('f', { labels: { zone: 'x' }, status: 'failed' }),
  ];
  const workload = aWorkload(aSpec({ kind: 'daemon', constraints: { zone: 'x' } }));
  const homes = slotsOf(aView({ members }), workload).map(({ home }) => home);
  t.same(homes.sort(), ['a', 'e', 'f']);
});

t.test("a node's daemon index does not change as others come and go", async (t) => {
  const ids = Array.from({ length: 50 }, (_, at) => `node-${at}`);
  const all = daemonIndexes(aView({ members: ids.map((id) => aMember(id)) }));
  const half = daemonIndexes(aView({ members: ids.slice(25).map((id) => aMember(id)) }));
  t.equal(new Set(all.values()).size, ids.length, 'no two nodes share one');
  for (const [id, index] of half) t.equal(index, all.get(id));
});

t.test('constraints compare labels, and name is the name of the node', async (t) => {
  const member = aMember('a', { name: 'shop-1', labels: { zone: 'x' } });
  t.ok(matchesConstraints(member, {}));
  t.ok(matchesConstraints(member, { zone: 'x', name: 'shop-1' }));
  t.notOk(matchesConstraints(member, { zone: 'x', name: 'shop-2' }));
  t.notOk(matchesConstraints(member, { gpu: 'yes' }));
  t.notOk(matchesConstraints(member, { toString: 'x' }));
});

t.test(
  'only allocations from claimed to running fill a slot, and only on members that are there',
  async (t) => {
    const members = [aMember('a'), aMember('b', { status: 'suspect' }), aMember('c', { status: 'failed' })];
    const allocations = [
      anAllocation('a', 0, { phase: 'stopping' }),
      anAllocation('b', 0, { phase: 'claimed', generation: 7 }),
      anAllocation('c', 0),
      anAllocation('gone', 0),
      anAllocation('a', 1, { phase: 'failed' }),
    ];
    const holders = indexHolders(aView({ members, allocations }));
    const zero = holdersOf(holders, 'default/web/0');
    t.same(
      zero.live.map(({ node }) => node),
      ['b'],
    );
    t.same(
      zero.leaving.map(({ node }) => node),
      ['a'],
    );
    t.equal(holdersOf(holders, 'default/web/1').ended.length, 1);
    t.same(holdersOf(holders, 'default/web/2'), { live: [], leaving: [], ended: [] });
  },
);

t.test('a node counts itself as there, whatever others say', async (t) => {
  const view = aView({ members: [aMember('a', { status: 'failed' })], allocations: [anAllocation('a', 0)] });
  t.equal(holdersOf(indexHolders(view), 'default/web/0').live.length, 1);
});

t.test('healthy is what runs and says so', async (t) => {
  t.ok(isHealthy(anAllocation('a', 0)));
  t.notOk(isHealthy(anAllocation('a', 0, { health: 'unknown' })));
  t.notOk(isHealthy(anAllocation('a', 0, { health: 'unhealthy' })));
  t.notOk(isHealthy(anAllocation('a', 0, { phase: 'starting' })));
});
