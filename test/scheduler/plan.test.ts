import t from 'tap';
import { REPLICAS_MAX } from '../../protocols/base/workload.ts';
import {
  assertSatisfiable,
  dryRun,
  explainSlot,
  isSameInstance,
  PLACEMENTS_MAX,
  planCluster,
  unsatisfiable,
} from '../../scheduler/plan.ts';
import { aMember, anAllocation, aSpec, aView, aWorkload, MIB } from './fixtures.ts';

const NOW = 1_000_000;
const three = [aMember('a'), aMember('b'), aMember('c')];
const states = (view: ReturnType<typeof aView>) => planCluster(view, NOW).map(({ state }) => state);

t.test('three replicas are planned for three nodes', async (t) => {
  const view = aView({ members: three, workloads: [aWorkload(aSpec({ replicas: 3 }))] });
  const first = planCluster(view, NOW).map(({ candidates }) => candidates[0]?.node);
  t.same(first.sort(), ['a', 'b', 'c']);
});

t.test('the plan is the same on every node, whatever the order of members and workloads', async (t) => {
  const workloads = [aWorkload(aSpec({ name: 'x', replicas: 4 })), aWorkload(aSpec({ replicas: 3 }))];
  const allocations = [anAllocation('a', 0), anAllocation('b', 1, { phase: 'stopping' })];
  const one = planCluster(aView({ members: three, workloads, allocations }), NOW);
  const other = planCluster(
    aView({
      self: 'c',
      members: [...three].reverse(),
      workloads: [...workloads].reverse(),
      allocations: [...allocations].reverse(),
    }),
    NOW,
  );
  const essence = (plans: typeof one) =>
    plans.map(({ slot, state, candidates }) => ({ slot, state, candidates }));
  t.same(essence(one), essence(other));
});

t.test('slots of an older revision are replaced one by one, in order', async (t) => {
  const workloads = [aWorkload(aSpec({ replicas: 3 }), { generation: 2 })];
  const old = [0, 1, 2].map((index) => anAllocation(three[index]!.id, index));
  const view = (allocations: typeof old) => aView({ members: three, workloads, allocations });
  t.same(states(view(old)), ['outdated', 'waiting', 'waiting']);
  const fresh = anAllocation('a', 0, { generation: 2 });
  t.same(states(view([fresh, old[1]!, old[2]!])), ['held', 'outdated', 'waiting']);
  const starting = { ...fresh, phase: 'starting' as const, health: 'unknown' as const };
  t.same(states(view([starting, old[1]!, old[2]!])), ['held', 'waiting', 'waiting']);
  const sick = { ...old[2]!, health: 'unhealthy' as const };
  t.same(states(view([starting, old[1]!, sick])), ['held', 'waiting', 'outdated'], 'the sick need not wait');
});

t.test('a slot that fits nowhere does not hold up a roll; one that failed does', async (t) => {
  const members = [aMember('a', { capacity: { cpu_millis: 100, memory_bytes: 128 * MIB } })];
  const workloads = [aWorkload(aSpec({ replicas: 2 }), { generation: 2 })];
  const old = anAllocation('a', 1);
  t.same(states(aView({ members, workloads, allocations: [old] })), ['vacant', 'outdated']);
  const failed = anAllocation('a', 0, { generation: 2, phase: 'failed', until_ms: NOW + 1 });
  t.same(states(aView({ members, workloads, allocations: [failed, old] })), ['vacant', 'waiting']);
});

t.test('a slot is empty only when its last instance has stopped, unless that node is emptied', async (t) => {
  const workloads = [aWorkload(aSpec())];
  const allocations = [anAllocation('a', 0, { phase: 'stopping' })];
  t.same(states(aView({ members: three, workloads, allocations })), ['leaving']);
  const draining = [aMember('a', { intent: 'draining' }), aMember('b')];
  t.same(states(aView({ members: draining, workloads, allocations })), ['vacant']);
});

t.test('an instance on a node that drains, or no longer matches, is moved', async (t) => {
  const allocations = [anAllocation('a', 0)];
  const draining = [aMember('a', { intent: 'draining' }), aMember('b')];
  const [moving] = planCluster(
    aView({ members: draining, workloads: [aWorkload(aSpec())], allocations }),
    NOW,
  );
  t.match(moving, { state: 'moving', candidates: [{ node: 'b' }], refusals: [{ reason: 'draining' }] });
  const zoned = [aWorkload(aSpec({ constraints: { zone: 'x' } }))];
  const members = [aMember('a'), aMember('b', { labels: { zone: 'x' } })];
  t.match(planCluster(aView({ members, workloads: zoned, allocations }), NOW), [
    { state: 'moving', candidates: [{ node: 'b' }], refusals: [{ reason: 'constraint' }] },
  ]);
});

t.test('what is being stopped takes up room until it has ended', async (t) => {
  const members = [aMember('a', { capacity: { cpu_millis: 100, memory_bytes: 128 * MIB } })];
  const workloads = [aWorkload(aSpec({ replicas: 1 }))];
  const plan = (phase: 'stopping' | 'stopped') => {
    const allocations = [anAllocation('a', 0, { workload: 'other', phase })];
    return planCluster(aView({ members, workloads, allocations }), NOW)[0];
  };
  t.match(plan('stopping'), { candidates: [], refusals: [{ reason: 'insufficient-cpu' }] });
  t.match(plan('stopped'), { candidates: [{ node: 'a' }], refusals: [] });
});

t.test('what has ended by itself is started again or not, as the restart policy says', async (t) => {
  const ended = { phase: 'stopped', exitCode: 0 } as const;
  const broken = { phase: 'failed', exitCode: 1, until_ms: NOW } as const;
  const released = { phase: 'stopped', exitCode: null } as const;
  const cases = [
    ['always', ended, 'vacant'],
    ['on-failure', ended, 'finished'],
    ['on-failure', broken, 'vacant'],
    ['on-failure', { ...ended, exitCode: 1 }, 'vacant'],
    ['never', ended, 'finished'],
    ['never', broken, 'finished'],
    ['never', { ...broken, exitCode: null }, 'vacant'],
    ['never', released, 'vacant'],
  ] as const;
  for (const [restart, over, state] of cases) {
    const workloads = [aWorkload(aSpec({ restart }))];
    const view = aView({ members: three, workloads, allocations: [anAllocation('a', 0, over)] });
    t.same(states(view), [state], `${restart}: ${over.phase} with ${over.exitCode}`);
  }
  const workloads = [aWorkload(aSpec({ restart: 'never' }), { generation: 2 })];
  const lost = [aMember('a', { status: 'failed' }), aMember('b')];
  const done = anAllocation('a', 0, { ...ended, generation: 2 });
  t.same(
    states(aView({ members: lost, workloads, allocations: [done] })),
    ['finished'],
    'on a lost member too',
  );
  t.same(states(aView({ members: lost, workloads, allocations: [anAllocation('a', 0, ended)] })), ['vacant']);
});

t.test('a better place alone moves nothing', async (t) => {
  const workloads = [aWorkload(aSpec({ replicas: 2 }))];
  const allocations = [anAllocation('a', 0), anAllocation('a', 1)];
  t.same(states(aView({ members: three, workloads, allocations })), ['held', 'held']);
});

t.test('no more slots are placed in one look than the cap', async (t) => {
  const vast = aMember('a', { capacity: { cpu_millis: 1e9, memory_bytes: 2 ** 50 } });
  const workloads = [aWorkload(aSpec({ replicas: REPLICAS_MAX }))];
  const all = states(aView({ members: [vast], workloads }));
  t.equal(all.filter((state) => state === 'vacant').length, PLACEMENTS_MAX);
  t.equal(all.filter((state) => state === 'queued').length, REPLICAS_MAX - PLACEMENTS_MAX);
  const none = states(aView({ members: [aMember('a', { worker: false })], workloads }));
  t.equal(none.filter((state) => state === 'queued').length, 0, 'what cannot be placed does not count');
});

t.test('a slot can be explained, and one that does not exist cannot', async (t) => {
  const view = aView({ members: [aMember('a', { intent: 'cordoned' })], workloads: [aWorkload(aSpec())] });
  t.match(explainSlot(view, NOW, 'default/web/0'), { state: 'vacant', refusals: [{ reason: 'cordoned' }] });
  t.equal(explainSlot(view, NOW, 'default/web/1'), null);
});

t.test('a dry run shows new slots, and leaves alone what a new count does not touch', async (t) => {
  t.match(dryRun(aView({ members: three }), NOW, aSpec()), [{ state: 'vacant' }]);
  const workloads = [aWorkload(aSpec())];
  const view = aView({ members: three, workloads, allocations: [anAllocation('a', 0)] });
  const run = (over: Parameters<typeof aSpec>[0]) => dryRun(view, NOW, aSpec(over)).map(({ state }) => state);
  t.same(run({ replicas: 2 }), ['held', 'vacant']);
  t.same(run({ replicas: 1, command: ['x'] }), ['outdated']);
  t.same(
    planCluster(view, NOW).map(({ state }) => state),
    ['held'],
    'the view is as before',
  );
});

t.test('only the count and the constraints leave an instance the same', async (t) => {
  const spec = aSpec({ env: { A: '1', B: '2' } });
  t.ok(isSameInstance(spec, aSpec({ env: { B: '2', A: '1' }, replicas: 9, constraints: { zone: 'x' } })));
  t.notOk(isSameInstance(spec, aSpec({ env: { A: '1', B: '3' } })));
  t.notOk(isSameInstance(spec, aSpec({ env: { A: '1' } })));
  t.notOk(isSameInstance(aSpec({ command: ['a', 'b'] }), aSpec({ command: ['b', 'a'] })));
});

t.test('a spec is unsatisfiable when no member could run it even if it were empty', async (t) => {
  const members = [
    aMember('a'),
    aMember('b', { labels: { zone: 'x' }, status: 'failed', intent: 'draining' }),
  ];
  const full = [anAllocation('b', 0, { resources: members[0]!.capacity })];
  const view = aView({ members, allocations: full });
  t.equal(unsatisfiable(view, aSpec()), null);
  t.equal(unsatisfiable(view, aSpec({ constraints: { zone: 'x' } })), null, 'it may come back, empty');
  t.match(unsatisfiable(view, aSpec({ constraints: { zone: 'y' } })), [
    { name: 'host-a', reason: 'constraint', detail: 'zone=y' },
    { reason: 'constraint' },
  ]);
  const greedy = aSpec({ resources: { cpu_millis: 8000, memory_bytes: MIB } });
  t.match(unsatisfiable(view, greedy), [{ reason: 'insufficient-cpu' }, { reason: 'insufficient-cpu' }]);
  const large = aSpec({ resources: { cpu_millis: 1, memory_bytes: 2 ** 40 } });
  t.match(unsatisfiable(view, large), [{ reason: 'insufficient-memory' }, { reason: 'insufficient-memory' }]);
  t.match(unsatisfiable(aView({ members: [aMember('a', { worker: false })] }), aSpec()), [
    { reason: 'not-worker' },
  ]);
});

t.test('the error of an unsatisfiable spec is one line that names a few nodes', async (t) => {
  const members = Array.from({ length: 9 }, (_, at) => aMember(`n${at}`));
  const spec = aSpec({ resources: { cpu_millis: 8000, memory_bytes: MIB } });
  t.throws(() => assertSatisfiable(aView({ members }), spec), {
    code: 'E_UNSATISFIABLE',
    message: /^no node could ever run default\/web: host-n0: insufficient-cpu \(4000 of 8000.*, and 6 more$/,
  });
  t.doesNotThrow(() => assertSatisfiable(aView({ members }), aSpec()));
});
