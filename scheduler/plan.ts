/**
 * What should run where, as plain data: the state of every slot, and for those that need a node the order in
 * which nodes should take them, with a reason for each that cannot. `shoal plan`, `shoal why` and the machine
 * that acts (machine.ts) all read this. It decides nothing by clock or turn; it changes nothing.
 */
import { ShoalError } from '../protocols/base/errors.ts';
import type { AllocationBody } from '../protocols/base/records.ts';
import {
  type SlotName,
  type WorkloadName,
  type WorkloadSpec,
  workloadName,
} from '../protocols/base/workload.ts';
import type { ClusterView, WorkloadView } from '../protocols/view/view.ts';
import { type NodeRefusal, type Request, refusalOf, unmet } from './filter.ts';
import { addInstance, type Loads, nodeLoads, withoutInstance, workloadOf } from './load.ts';
import { bandsOf, type Candidate, compareCandidates, rendezvous } from './score.ts';
import { settle } from './settle.ts';
import {
  holdersOf,
  indexHolders,
  isCurrent,
  isFinished,
  isHealthy,
  matchesConstraints,
  mayStay,
  type Slot,
  type SlotHolders,
  slotsOf,
} from './slots.ts';

/** State to text. The text completes "slot <name> …". */
export const SLOT_STATES = {
  held: 'runs, or is being started',
  leaving: 'is empty as soon as its last instance has stopped',
  vacant: 'needs a node',
  outdated: 'runs an older revision and is replaced now',
  waiting: 'runs an older revision and waits until the slots before it are healthy in the new one',
  moving: 'is on a node that may not keep it, and is replaced elsewhere',
  finished: 'has ended, and its restart policy does not start it again',
  queued: 'is given a node as soon as other slots have theirs',
} as const;
export type SlotState = keyof typeof SLOT_STATES;

/** Slots that are given a node in one look: bounds the work of a view in which much is missing. */
export const PLACEMENTS_MAX = 256;

export interface SlotPlan {
  readonly slot: Slot;
  readonly workload: WorkloadName;
  readonly state: SlotState;
  /** The allocation that fills the slot now. */
  readonly kept: AllocationBody | null;
  /** Allocations of it that are over. */
  readonly ended: readonly AllocationBody[];
  /** Best first; empty unless the slot needs a node (vacant, outdated, moving). */
  readonly candidates: readonly Candidate[];
  readonly refusals: readonly NodeRefusal[];
}

/** The states in which a slot needs a node. */
export function needsNode({ state }: SlotPlan): boolean {
  return state === 'vacant' || state === 'outdated' || state === 'moving';
}

/** @param now milliseconds since the epoch; only for refusals that expire. @returns by workload name, then index. */
export function planCluster(view: ClusterView, now: number): SlotPlan[] {
  const look: Look = {
    view,
    now,
    loads: nodeLoads(view),
    holders: indexHolders(view),
    placements: 0,
  };
  const names = [...view.workloads.keys()].sort();
  return names.flatMap((name) => planWorkload(look, name, view.workloads.get(name)!));
}

/** Why a slot is where it is, or nowhere. @returns null when no workload has such a slot. */
export function explainSlot(view: ClusterView, now: number, slot: SlotName): SlotPlan | null {
  return planCluster(view, now).find((plan) => plan.slot.name === slot) ?? null;
}

/** What would happen to the slots of `spec` if it were submitted now. */
export function dryRun(view: ClusterView, now: number, spec: WorkloadSpec): SlotPlan[] {
  const name = workloadName(spec.namespace, spec.name);
  const before = view.workloads.get(name);
  const revision = 'f'.repeat(64);
  const workload: WorkloadView = {
    namespace: spec.namespace,
    name: spec.name,
    generation: (before?.generation ?? 0) + 1,
    revision,
    stopped: false,
    spec,
    author: view.self,
    written_ms: now,
    siblings: [],
  };
  const keeps = before !== undefined && isSameInstance(before.spec, spec);
  const allocations = view.allocations.map((allocation) =>
    keeps && workloadOf(allocation) === name && isCurrent(allocation, before)
      ? { ...allocation, revision, generation: workload.generation }
      : allocation,
  );
  const after = { ...view, allocations, workloads: new Map(view.workloads).set(name, workload) };
  return planCluster(after, now).filter((plan) => plan.workload === name);
}

/** A change of count or placement alone does not touch an instance that runs. */
export function isSameInstance(a: WorkloadSpec, b: WorkloadSpec): boolean {
  const instance = (spec: WorkloadSpec) => ({ ...spec, replicas: null, constraints: null });
  return isEqual(instance(a), instance(b));
}

/** Plain data, whatever the order of keys. */
function isEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const keys = Object.keys(a);
  return (
    Array.isArray(a) === Array.isArray(b) &&
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && isEqual(Reflect.get(a, key), Reflect.get(b, key)))
  );
}

/**
 * Whether no member could ever run an instance, were it empty: then the spec is refused when it is submitted.
 * @returns why each member cannot, or null when one can.
 */
export function unsatisfiable(view: ClusterView, spec: WorkloadSpec): NodeRefusal[] | null {
  const refusals: NodeRefusal[] = [];
  for (const member of view.members.values()) {
    const refuse = (reason: NodeRefusal['reason'], detail: string | null) =>
      refusals.push({ node: member.id, name: member.name, reason, detail, until_ms: null });
    const { cpu_millis, memory_bytes } = member.capacity;
    if (!member.worker) refuse('not-worker', null);
    else if (!matchesConstraints(member, spec.constraints)) refuse('constraint', unmet(member, spec));
    else if (spec.resources.cpu_millis > cpu_millis) {
      refuse('insufficient-cpu', `${cpu_millis} of ${spec.resources.cpu_millis} millicores in all`);
    } else if (spec.resources.memory_bytes > memory_bytes) {
      refuse('insufficient-memory', `${memory_bytes} of ${spec.resources.memory_bytes} bytes in all`);
    } else return null;
  }
  return refusals;
}

/** Nodes that an error line names; the rest are in its detail. */
const NAMED_MAX = 3;

/** @throws ShoalError E_UNSATISFIABLE with the reason of each node. */
export function assertSatisfiable(view: ClusterView, spec: WorkloadSpec): void {
  const refusals = unsatisfiable(view, spec);
  if (!refusals) return;
  const named = refusals
    .slice(0, NAMED_MAX)
    .map(({ name, reason, detail }) => `${name}: ${reason}${detail ? ` (${detail})` : ''}`);
  const more = refusals.length > NAMED_MAX ? `, and ${refusals.length - NAMED_MAX} more` : '';
  throw new ShoalError(
    'E_UNSATISFIABLE',
    `no node could ever run ${workloadName(spec.namespace, spec.name)}: ${named.join(', ') || 'there are none'}${more}`,
    { detail: { refusals } },
  );
}

interface Look {
  readonly view: ClusterView;
  readonly now: number;
  /** Grows by what the plan hands out. */
  readonly loads: Loads;
  readonly holders: ReturnType<typeof indexHolders>;
  placements: number;
}

function planWorkload(look: Look, name: WorkloadName, workload: WorkloadView): SlotPlan[] {
  // Rolling: a slot may be replaced when those before it are healthy in the new revision.
  let mayRoll = true;
  return slotsOf(look.view, workload).map((slot) => {
    const holders = holdersOf(look.holders, slot.name);
    const kept = settle(look.view, workload, holders.live);
    const state = stateOf(look, workload, holders, kept, mayRoll);
    const plan = place(look, name, workload, slot, holders, kept, state);
    const isDone = state === 'finished' || (kept !== null && isCurrent(kept, workload) && isHealthy(kept));
    mayRoll &&= isDone || isHopeless(plan);
    return plan;
  });
}

/**
 * No node can take it for want of room or a match: it must not hold up the roll for ever. One where the new
 * revision was tried and failed must: that is what rolling one by one is for.
 */
function isHopeless({ state, candidates, refusals }: SlotPlan): boolean {
  const isPassing = ({ reason }: NodeRefusal): boolean => reason === 'refused' || reason === 'still-leaving';
  return state === 'vacant' && candidates.length === 0 && !refusals.some(isPassing);
}

function stateOf(
  look: Look,
  workload: WorkloadView,
  holders: SlotHolders,
  kept: AllocationBody | null,
  mayRoll: boolean,
): SlotState {
  const stays = ({ node }: AllocationBody): boolean => {
    const member = look.view.members.get(node);
    return member !== undefined && mayStay(member, workload.spec);
  };
  if (kept === null) {
    const isOver = (ended: AllocationBody) => isCurrent(ended, workload) && isFinished(ended, workload.spec);
    if (holders.ended.some(isOver)) return 'finished';
    // Its node is likely to take the slot again in place; a node that is being emptied is not.
    return holders.leaving.some(stays) ? 'leaving' : 'vacant';
  }
  if (!isCurrent(kept, workload)) {
    // What does not serve has nothing to lose.
    return mayRoll || !isHealthy(kept) ? 'outdated' : 'waiting';
  }
  return stays(kept) ? 'held' : 'moving';
}

function place(
  look: Look,
  name: WorkloadName,
  workload: WorkloadView,
  slot: Slot,
  holders: SlotHolders,
  kept: AllocationBody | null,
  state: SlotState,
): SlotPlan {
  const { ended } = holders;
  const plan: SlotPlan = { slot, workload: name, state, kept, ended, candidates: [], refusals: [] };
  if (!needsNode(plan)) return plan;
  if (look.placements >= PLACEMENTS_MAX) return { ...plan, state: 'queued' };
  const { view, now } = look;
  const { spec, revision } = workload;
  const request: Request = { view, now, spec, revision, slot, holders };
  const candidates: Candidate[] = [];
  const refusals: NodeRefusal[] = [];
  for (const member of view.members.values()) {
    const isIncumbent = kept?.node === member.id;
    const busy = look.loads.get(member.id)!;
    const load = isIncumbent ? withoutInstance(busy, name, kept.resources) : busy;
    const refusal = refusalOf(request, member, load);
    if (refusal) refusals.push(refusal);
    else {
      const bands = bandsOf(member, load, name, spec, isIncumbent);
      const weight = rendezvous(member.id, slot.name, member.capacity);
      candidates.push({ node: member.id, name: member.name, bands, weight });
    }
  }
  candidates.sort(compareCandidates);
  const [best] = candidates;
  if (best) {
    look.placements++;
    if (best.node !== kept?.node) addInstance(look.loads.get(best.node)!, name, spec.resources);
  }
  return { ...plan, candidates, refusals };
}
