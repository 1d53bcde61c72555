/** Records of this node's slots against what runs there: what the scheduler is shown, and what it is told is missing. */
import t from 'tap';
import { OwnSlots } from '../../daemon/own-slots.ts';
import type { AllocationBody } from '../../protocols/base/records.ts';
import type { SlotName, WorkloadName } from '../../protocols/base/workload.ts';
import { aMember, anAllocation, aSpec, aView, aWorkload } from '../scheduler/fixtures.ts';

const SLOT = 'default/web/0';
const other = anAllocation('b', 1);

interface Given {
  readonly allocations: readonly AllocationBody[];
  /** What runs. */
  readonly instance?: AllocationBody;
  /** Whether `recall` settles. */
  readonly settles?: boolean;
  /** Whether this life has written the records. */
  readonly isOwn?: boolean;
  readonly isPartial?: boolean;
  readonly isReseeding?: boolean;
  /** Workloads of which somebody has said something that counts. */
  readonly told?: readonly WorkloadName[];
  readonly unclaimed?: readonly SlotName[];
}

function stage(given: Given) {
  const { allocations, instance, settles = true, isPartial = false, isReseeding = isPartial } = given;
  const retold: SlotName[] = [];
  const recalled: AllocationBody[] = [];
  const records = new Map(allocations.map((each) => [`${each.node}/default/web/${each.index}`, {}]));
  let now = 0;
  const slots = new OwnSlots({
    self: 'a',
    clock: { now: () => now },
    ledger: {
      isOwn: () => given.isOwn ?? false,
      machine: {
        ledger: {
          get: (_kind: string, key: string) => records.get(key),
          siblings: (_kind: string, name: WorkloadName) => (given.told?.includes(name) ? [{}] : []),
        },
        authority: { counts: () => true },
      },
    } as never,
    instances: {
      get: () => instance && { body: instance },
      retell: (slot: SlotName) => retold.push(slot),
      recall: (body: AllocationBody) => {
        recalled.push(body);
        return settles;
      },
      unclaimed: () => ({
        slots: new Set(given.unclaimed),
        resources: { cpu_millis: 1, memory_bytes: 2 },
      }),
      unclaimedCount: given.unclaimed?.length ?? 0,
    } as never,
    isReseeding: () => isReseeding,
    isPartial: () => isPartial,
  });
  const workloads = given.told === undefined ? [] : [aWorkload(aSpec({ name: 'web' }))];
  const view = aView({
    self: 'a',
    members: [aMember('a'), aMember('b')],
    workloads,
    allocations: [...allocations],
  });
  return { slots, view, retold, recalled, pass: (ms: number) => (now += ms) };
}

t.test('a record that stands over what this life has written is shown as what is so', async (t) => {
  const instance = anAllocation('a', 0, { attempt: 1, health: 'healthy' });
  const late = anAllocation('a', 0, { attempt: 9, phase: 'stopped' });
  const { slots, view, retold, recalled, pass } = stage({ allocations: [late, other], instance });
  for (let looks = 0; looks < 3; looks += 1) {
    const seen = slots.settle(view);
    t.match(seen.view.allocations, [{ node: 'a', attempt: 1, phase: 'running' }, { node: 'b' }]);
    t.equal(seen.missing, undefined);
  }
  t.same(retold, [SLOT], 'and is said again, once');
  pass(300_000);
  slots.settle(view);
  t.same(retold, [SLOT, SLOT], 'or after a while, for another daemon may have the same key');
  t.same(recalled, []);
});

t.test('the end of what makes way is shown as what takes its place', async (t) => {
  const instance = anAllocation('a', 0, { attempt: 2, phase: 'claimed' });
  const allocations = [anAllocation('a', 0, { attempt: 1, phase: 'stopped' }), other];
  const { slots, view, retold } = stage({ allocations, instance, isOwn: true });
  t.match(slots.settle(view).view.allocations, [{ node: 'a', attempt: 2, phase: 'claimed' }, { node: 'b' }]);
  t.same(retold, []);
  const same = stage({ allocations: [instance, other], instance, isOwn: true });
  t.equal(same.slots.settle(same.view).view, same.view);
});

t.test('a slot that is not settled is not shown, and nothing is begun in it', async (t) => {
  for (const isPartial of [true, false]) {
    const { slots, view, recalled } = stage({
      allocations: [anAllocation('a', 0), other],
      settles: false,
      isPartial,
      isReseeding: true,
      unclaimed: ['default/x/0'],
    });
    const { view: seen, missing } = slots.settle(view);
    t.same(seen.allocations, [other]);
    // Where nobody can tell what is left in a slot, what is known is begun there.
    t.same(missing?.slots, new Set(isPartial ? ['default/x/0', SLOT] : [SLOT]));
    t.match(missing?.resources, { memory_bytes: 2 });
    slots.settle(view);
    t.equal(recalled.length, 2, 'it is tried again');
  }
});

t.test('a settled record is settled once, and a view without any is handed on as it is', async (t) => {
  const { slots, view, recalled } = stage({
    allocations: [anAllocation('a', 0), other],
    told: ['default/web'],
  });
  t.equal(slots.settle(view).view, view);
  t.equal(slots.settle(view).view, view);
  t.equal(recalled.length, 1);
});

t.test('what is placed here of a workload that is missing is not released for that', async (t) => {
  const allocations = [anAllocation('a', 0)];
  for (const isPartial of [true, false]) {
    const lost = stage({ allocations, isPartial, isReseeding: true });
    t.same(lost.slots.settle(lost.view).missing?.workloads, new Set(['default/web']));
    t.equal(lost.slots.left(lost.view), 1);
    t.equal(lost.slots.mayCome('default/web'), isPartial);
    const told = stage({ allocations, isPartial, isReseeding: true, told: ['default/web'] });
    t.same(told.slots.settle(told.view).missing?.workloads, new Set());
    t.equal(told.slots.left(told.view), 0);
  }
});
