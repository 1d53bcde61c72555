import t from 'tap';
import type { AllocationBody } from '../../protocols/base/records.ts';
import { RETRY_MS_MIN } from '../../scheduler/filter.ts';
import {
  createScheduler,
  handle,
  type Missing,
  promised,
  SCHEDULER_DEFAULTS,
} from '../../scheduler/machine.ts';
import { planCluster } from '../../scheduler/plan.ts';
import {
  aMember,
  anAllocation,
  aSpec,
  aView,
  aWorkload,
  MIB,
  revisionOf,
  type ViewParts,
} from './fixtures.ts';

const NOW = 1_000_000;
const { turn_ms } = SCHEDULER_DEFAULTS;
const three = [aMember('a'), aMember('b'), aMember('c')];

/** A machine of node a, fed by hand. */
function aMachine(known?: ReadonlyMap<`${string}/${string}/${number}`, ReturnType<typeof aSpec>>) {
  const state = createScheduler('a', SCHEDULER_DEFAULTS, known);
  return {
    state,
    see: (parts: ViewParts, now = NOW) =>
      handle(state, { kind: 'view', view: aView({ self: 'a', ...parts }) }, { now }),
    wake: (token: number, now: number) => handle(state, { kind: 'timer', token }, { now }),
  };
}

/** The index of a slot of `web` for which node a has this rank on three equal nodes. */
function slotOfRank(rank: number): string {
  for (let at = 0; at < 100; at++) {
    const spec = aSpec({ name: `web-${at}` });
    const [plan] = planCluster(aView({ members: three, workloads: [aWorkload(spec)] }), NOW);
    if (plan?.candidates[rank]?.node === 'a') return spec.name;
  }
  throw new Error('no such name');
}

function missing(changes: Partial<Missing>): Missing {
  return {
    workloads: new Set(),
    slots: new Set(),
    resources: { cpu_millis: 0, memory_bytes: 0 },
    ...changes,
  };
}

const kinds = (effects: ReturnType<typeof handle>) => effects.map(({ kind }) => kind);

t.test(
  'what runs for a workload whose record is missing is released once that is known to be gone',
  async (t) => {
    const { state } = aMachine();
    const view = aView({ self: 'a', members: [aMember('a')], allocations: [anAllocation('a', 0)] });
    const see = (missing?: Missing) =>
      handle(state, { kind: 'view', view, ...(missing && { missing }) }, { now: NOW });
    t.same(see(missing({ workloads: new Set(['default/web'] as const) })), []);
    t.equal(promised(state).length, 1, 'and it counts');
    t.match(see(), [{ kind: 'release', slot: 'default/web/0', reason: 'removed' }]);
  },
);

t.test('nothing is begun beside what is left in a slot, nor in the room that it takes', async (t) => {
  const spec = aSpec({ name: slotOfRank(0) });
  const view = aView({ self: 'a', members: [aMember('a')], workloads: [aWorkload(spec)] });
  const see = (missing?: Missing) => {
    const { state } = aMachine();
    return kinds(handle(state, { kind: 'view', view, ...(missing && { missing }) }, { now: NOW }));
  };
  const { capacity } = aMember('a');
  t.same(see(missing({ slots: new Set([`default/${spec.name}/0`] as const) })), []);
  t.same(see(missing({ slots: new Set(['default/other/0'] as const) })), ['claim']);
  t.same(see(missing({ resources: capacity })), []);
  const memory_bytes = capacity.memory_bytes - spec.resources.memory_bytes;
  t.same(see(missing({ resources: { cpu_millis: 0, memory_bytes } })), ['claim']);
  t.same(see(), ['claim']);
});

t.test('the first in rank claims at once, with a whole record', async (t) => {
  const machine = aMachine();
  const spec = aSpec({ name: slotOfRank(0) });
  const effects = machine.see({ members: three, workloads: [aWorkload(spec)] });
  t.match(effects, [
    {
      kind: 'claim',
      slot: `default/${spec.name}/0`,
      spec,
      allocation: {
        node: 'a',
        phase: 'claimed',
        attempt: 1,
        generation: 1,
        revision: revisionOf(1),
        since_ms: NOW,
      },
    },
  ]);
  t.equal(promised(machine.state).length, 1);
});

t.test('a claim is not repeated while its record is on its way', async (t) => {
  const machine = aMachine();
  const parts = { members: three, workloads: [aWorkload(aSpec({ name: slotOfRank(0) }))] };
  t.same(kinds(machine.see(parts)), ['claim']);
  t.same(machine.see(parts, NOW + 60_000), []);
});

t.test('the node of rank k acts k turns later, and a stale timer is ignored', async (t) => {
  const machine = aMachine();
  const parts = { members: three, workloads: [aWorkload(aSpec({ name: slotOfRank(2) }))] };
  const [timer] = machine.see(parts);
  t.match(timer, { kind: 'schedule', at_ms: NOW + 2 * turn_ms });
  t.same(machine.see(parts, NOW + 1), [], 'the timer stands');
  const { token } = timer as { token: number };
  t.same(machine.wake(token - 1, NOW + 2 * turn_ms), [], 'stale');
  t.same(kinds(machine.wake(token, NOW + turn_ms)), ['schedule'], 'too early');
  t.same(kinds(machine.wake(token + 1, NOW + 2 * turn_ms)), ['claim']);
});

t.test('nothing is done when somebody was first', async (t) => {
  const machine = aMachine();
  const spec = aSpec({ name: slotOfRank(1) });
  const parts = { members: three, workloads: [aWorkload(spec)] };
  const [timer] = machine.see(parts);
  const allocations = [anAllocation('b', 0, { workload: spec.name, phase: 'claimed' })];
  t.same(machine.see({ ...parts, allocations }), []);
  t.same(machine.wake((timer as { token: number }).token, NOW + turn_ms), []);
});

t.test('a node claims no more than it has, counting what is still stopping', async (t) => {
  const capacity = { cpu_millis: 250, memory_bytes: 4096 * MIB };
  const members = [aMember('a', { capacity })];
  const machine = aMachine();
  const workloads = [aWorkload(aSpec({ replicas: 3 }))];
  const first = machine.see({ members, workloads });
  t.same(kinds(first), ['claim', 'claim', 'notify']);
  t.match(first[2], { refusals: { 'insufficient-cpu': 1 } });
  const stopping = anAllocation('a', 0, { phase: 'stopping' });
  const running = anAllocation('a', 1);
  t.same(machine.see({ members, workloads, allocations: [stopping, running] }), []);
  const stopped = { ...stopping, phase: 'stopped' as const };
  const next = machine.see({ members, workloads, allocations: [stopped, running] });
  t.match(next, [{ kind: 'claim', slot: 'default/web/0', allocation: { attempt: 2 } }]);
});

t.test('a shortage is told once, and again when its reasons change', async (t) => {
  const machine = aMachine();
  const workloads = [aWorkload(aSpec({ constraints: { zone: 'x' } }))];
  const told = (members: typeof three) => machine.see({ members, workloads });
  t.match(told(three), [{ kind: 'notify', slot: 'default/web/0', refusals: { constraint: 3 } }]);
  t.same(told(three), []);
  t.match(told([aMember('a', { worker: false })]), [{ kind: 'notify', refusals: { 'not-worker': 1 } }]);
});

t.test('what is no longer wanted is released, with the reason', async (t) => {
  const allocations = [anAllocation('a', 1)];
  const cases: [string, ViewParts['workloads']][] = [
    ['removed', []],
    ['stopped', [aWorkload(aSpec(), { generation: 2, stopped: true })]],
    ['scaled-down', [aWorkload(aSpec(), { generation: 2 })]],
    ['no-longer-here', [aWorkload(aSpec({ kind: 'daemon' }), { generation: 2 })]],
  ];
  for (const [reason, workloads = []] of cases) {
    const machine = aMachine();
    machine.see({
      members: three,
      workloads: [aWorkload(aSpec({ replicas: 2 }))],
      allocations: [anAllocation('b', 0), ...allocations],
    });
    const parts = { members: three, workloads, allocations };
    const releases = machine.see(parts).filter(({ kind }) => kind === 'release');
    t.match(releases, [{ slot: 'default/web/1', attempt: 1, reason }], reason);
    const again = machine.see(parts).filter(({ kind }) => kind === 'release');
    t.same(again, [], `${reason}: told once`);
  }
});

t.test('a loser that serves stops when it sees the winner healthy, and not before', async (t) => {
  const workloads = [aWorkload(aSpec())];
  const own = anAllocation('a', 0, { since_ms: 2 });
  const see = (winner: Partial<AllocationBody>, status: 'alive' | 'suspect' = 'alive') =>
    aMachine().see({
      members: [aMember('a'), aMember('b', { status })],
      workloads,
      allocations: [own, anAllocation('b', 0, { since_ms: 1, ...winner })],
    });
  t.same(see({ phase: 'starting', health: 'unknown' }), []);
  t.same(see({ health: 'unhealthy' }), []);
  t.same(see({}, 'suspect'), []);
  t.match(see({}), [{ kind: 'release', slot: 'default/web/0', reason: 'replaced' }]);
});

t.test('a loser that does not serve yet stops at once, unless the winner is under suspicion', async (t) => {
  const own = anAllocation('a', 0, { since_ms: 2, phase: 'claimed', health: 'unknown' });
  const winner = anAllocation('b', 0, { since_ms: 1, phase: 'claimed', health: 'unknown' });
  const see = (status: 'alive' | 'suspect') =>
    aMachine().see({
      members: [aMember('a'), aMember('b', { status })],
      workloads: [aWorkload(aSpec())],
      allocations: [own, winner],
    });
  t.match(see('alive'), [{ kind: 'release', reason: 'lost' }]);
  t.same(see('suspect'), []);
});

t.test('a new count renews what runs; a new command rolls it', async (t) => {
  const alone = [aMember('a')];
  const allocations = [anAllocation('a', 0)];
  const start = () => {
    const machine = aMachine();
    t.same(machine.see({ members: alone, workloads: [aWorkload(aSpec())], allocations }), []);
    return machine;
  };
  const scaled = start();
  const wider = [aWorkload(aSpec({ replicas: 2 }), { generation: 2 })];
  t.match(scaled.see({ members: alone, workloads: wider, allocations }), [
    { kind: 'renew', slot: 'default/web/0', attempt: 1, generation: 2, revision: revisionOf(2) },
    { kind: 'claim', slot: 'default/web/1', allocation: { generation: 2 } },
  ]);
  t.same(scaled.see({ members: alone, workloads: wider, allocations }), [], 'the record may be on its way');

  const rolled = start();
  const changed = [aWorkload(aSpec({ command: ['x'] }), { generation: 2 })];
  const [timer] = rolled.see({ members: alone, workloads: changed, allocations });
  t.match(timer, { kind: 'schedule', at_ms: NOW + turn_ms });
  t.match(rolled.wake((timer as { token: number }).token, NOW + turn_ms), [
    { kind: 'release', slot: 'default/web/0', reason: 'rolling' },
  ]);
  const stopped = [{ ...allocations[0]!, phase: 'stopped' as const }];
  t.match(rolled.see({ members: alone, workloads: changed, allocations: stopped }, NOW + 1000), [
    { kind: 'claim', allocation: { generation: 2, attempt: 2 } },
  ]);
});

t.test('after a restart, what the runtime found again is renewed; what nobody knows is rolled', async (t) => {
  const parts = {
    members: [aMember('a')],
    workloads: [aWorkload(aSpec({ replicas: 1, constraints: { name: 'host-a' } }), { generation: 2 })],
    allocations: [anAllocation('a', 0)],
  };
  t.same(kinds(aMachine(new Map([['default/web/0', aSpec()]])).see(parts)), ['renew']);
  t.same(kinds(aMachine().see(parts)), ['schedule']);
});

t.test('a node that failed at a slot tries again when its own delay is over', async (t) => {
  const machine = aMachine();
  const parts = {
    members: [aMember('a')],
    workloads: [aWorkload(aSpec())],
    allocations: [anAllocation('a', 0, { phase: 'failed', since_ms: NOW, attempt: 1 })],
  };
  const effects = machine.see(parts);
  t.match(effects, [
    { kind: 'notify', refusals: { refused: 1 } },
    { kind: 'schedule', at_ms: NOW + RETRY_MS_MIN },
  ]);
  const { token } = effects[1] as { token: number };
  t.match(machine.wake(token, NOW + RETRY_MS_MIN), [{ kind: 'claim', allocation: { attempt: 2 } }]);
});

t.test('the record of an earlier attempt says nothing about a newer claim', async (t) => {
  const machine = aMachine();
  const parts = {
    members: [aMember('a')],
    workloads: [aWorkload(aSpec())],
    allocations: [anAllocation('a', 0, { phase: 'stopped', attempt: 4 })],
  };
  t.match(machine.see(parts), [{ kind: 'claim', allocation: { attempt: 5 } }]);
  t.same(machine.see(parts), []);
  t.equal(promised(machine.state).length, 1);
});

t.test('a restart by the runner, counted as an attempt, leaves a holding what it is', async (t) => {
  const machine = aMachine();
  const members = [aMember('a')];
  const allocations = [anAllocation('a', 0)];
  machine.see({ members, workloads: [aWorkload(aSpec())], allocations });
  const restarted = [anAllocation('a', 0, { attempt: 2, phase: 'starting' })];
  const workloads = [aWorkload(aSpec({ replicas: 0 }), { generation: 2 })];
  t.match(machine.see({ members, workloads, allocations: restarted }), [{ kind: 'release', attempt: 2 }]);
  const again = [anAllocation('a', 0, { attempt: 3, phase: 'starting' })];
  t.same(machine.see({ members, workloads, allocations: again }), [], 'it is still told to stop');

  const renewing = aMachine();
  renewing.see({ members, workloads: [aWorkload(aSpec())], allocations });
  const wider = [aWorkload(aSpec({ constraints: { name: 'host-a' } }), { generation: 2 })];
  t.match(renewing.see({ members, workloads: wider, allocations: restarted }), [
    { kind: 'renew', attempt: 2 },
  ]);
});

t.test('turns begin anew when a shortage ends, or all would act at once', async (t) => {
  const machine = aMachine();
  const workloads = [aWorkload(aSpec({ name: slotOfRank(1) }))];
  const cordoned = three.map((member) => ({ ...member, intent: 'cordoned' as const }));
  t.same(kinds(machine.see({ members: cordoned, workloads })), ['notify']);
  const later = NOW + 60_000;
  t.match(machine.see({ members: three, workloads }, later), [{ kind: 'schedule', at_ms: later + turn_ms }]);
});

t.test('a slot that was stopped in good order elsewhere waits a turn for the reason to arrive', async (t) => {
  const spec = aSpec({ name: slotOfRank(0) });
  const effects = aMachine().see({
    members: three,
    workloads: [aWorkload(spec)],
    allocations: [anAllocation('b', 0, { workload: spec.name, phase: 'stopped' })],
  });
  t.match(effects, [{ kind: 'schedule', at_ms: NOW + turn_ms }]);
});

t.test('a node on its own keeps what it has and takes what the lost ones had', async (t) => {
  const lost = [aMember('a', { status: 'failed' }), aMember('b', { status: 'failed' })];
  const effects = aMachine().see({
    members: lost,
    workloads: [aWorkload(aSpec({ replicas: 2 }))],
    allocations: [anAllocation('a', 0), anAllocation('b', 1)],
  });
  t.match(effects, [{ kind: 'claim', slot: 'default/web/1' }]);
  t.equal(effects.length, 1);
});

t.test('a node that is not a member, or not a worker, does nothing', async (t) => {
  const workloads = [aWorkload(aSpec())];
  t.same(aMachine().see({ members: [aMember('b')], workloads }), []);
  t.same(aMachine().see({ members: [aMember('a', { worker: false }), aMember('b')], workloads }), []);
});

t.test("another node's view and a turn of no length are programmer's errors", async (t) => {
  const state = createScheduler('a');
  const view = aView({ self: 'b', members: three });
  t.throws(() => handle(state, { kind: 'view', view }, { now: NOW }), RangeError);
  t.throws(() => createScheduler('a', { turn_ms: 0 }), RangeError);
});
