/**
 * The scheduler of one node: views and timers in, claims and releases of this node's own out. No node decides for
 * another. Every node computes the same plan; the one ranked k acts k·δ later if nobody has by then, and when two
 * act all the same, settle.ts lets every node keep the same one.
 *
 * The driver's side: it feeds every new view and every timer that is due, carries the effects out in order, and
 * for each claim soon writes an allocation record, be it one that says `refused` or `failed`.
 */
import type { Env } from '../protocols/base/clock.ts';
import type { NodeId } from '../protocols/base/ids.ts';
import type { AllocationBody } from '../protocols/base/records.ts';
import type { Resources, SlotName, WorkloadName, WorkloadSpec } from '../protocols/base/workload.ts';
import type { ClusterView, WorkloadView } from '../protocols/view/view.ts';
import type { Refusal } from './filter.ts';
import {
  admits,
  type Holding,
  type Journal,
  type KnownSpecs,
  nextAttempt,
  overlayJournal,
  syncJournal,
} from './journal.ts';
import { workloadOf } from './load.ts';
import { isSameInstance, needsNode, planCluster, type SlotPlan } from './plan.ts';
import { settle } from './settle.ts';
import { holdersOf, indexHolders, isHealthy, mayStay, type Slot, slotsOf } from './slots.ts';

/** Reason to text. The text completes "released <slot>: …". */
export const RELEASES = {
  removed: 'its workload was removed',
  stopped: 'its workload was stopped',
  'scaled-down': 'its workload has fewer instances now',
  'no-longer-here': 'its workload no longer belongs on this node',
  replaced: 'another node runs it, healthy',
  lost: 'another node claimed it first',
  rolling: 'it makes room for its own next revision',
} as const;
export type ReleaseReason = keyof typeof RELEASES;

export interface SchedulerConfig {
  /** δ: how much later the node of the next rank acts. About twice the time that a record takes to reach all. */
  readonly turn_ms: number;
}

export const SCHEDULER_DEFAULTS: SchedulerConfig = { turn_ms: 300 };

/** What a disk that has lost records does not tell, while others may bring it again. */
export interface Missing {
  /** They are not in the view for that, and nobody may have removed them. */
  readonly workloads: ReadonlySet<WorkloadName>;
  /** In these something is left of which nothing tells: nothing is begun there. */
  readonly slots: ReadonlySet<SlotName>;
  /** What is left so takes this of the node. */
  readonly resources: Resources;
}

const NOTHING_MISSING: Missing = {
  workloads: new Set(),
  slots: new Set(),
  resources: { cpu_millis: 0, memory_bytes: 0 },
};

export type SchedulerEvent =
  | { readonly kind: 'view'; readonly view: ClusterView; readonly missing?: Missing }
  /** A token that is not the latest is stale and ignored. */
  | { readonly kind: 'timer'; readonly token: number };

export type SchedulerEffect =
  /** Start it: pull, create, run, and write `allocation` as it goes, first of all as it stands here. */
  | {
      readonly kind: 'claim';
      readonly slot: SlotName;
      readonly spec: WorkloadSpec;
      readonly allocation: AllocationBody;
    }
  /** Stop the instance of this attempt, in good order, and write its phases to the end. */
  | {
      readonly kind: 'release';
      readonly slot: SlotName;
      readonly attempt: number;
      readonly reason: ReleaseReason;
    }
  /** What runs is what the new revision asks for as well: write the record with these, and touch nothing else. */
  | {
      readonly kind: 'renew';
      readonly slot: SlotName;
      readonly attempt: number;
      readonly generation: number;
      readonly revision: string;
      readonly spec: WorkloadSpec;
    }
  /** Feed a timer event with this token at that time; it replaces any before it. */
  | { readonly kind: 'schedule'; readonly token: number; readonly at_ms: number }
  /** A slot needs a node and none can take it: told once, and again when the reasons change. */
  | {
      readonly kind: 'notify';
      readonly slot: SlotName;
      readonly refusals: Readonly<Partial<Record<Refusal, number>>>;
    };

/** How long a slot has been in need of a node, for the same cause. */
interface Need {
  readonly cause: string;
  readonly since_ms: number;
  readonly told: string;
}

/** Owned by `handle`, which changes it in place; nobody else should. */
export interface SchedulerState {
  readonly self: NodeId;
  readonly config: SchedulerConfig;
  readonly journal: Journal;
  readonly known: KnownSpecs;
  missing: Missing;
  needs: ReadonlyMap<SlotName, Need>;
  view: ClusterView | null;
  token: number;
  wake_ms: number | null;
}

/**
 * @param known what the runtime found running, by slot: without it, an instance from before a restart is
 * replaced when its workload is merely scaled.
 */
export function createScheduler(
  self: NodeId,
  config: SchedulerConfig = SCHEDULER_DEFAULTS,
  known: KnownSpecs = new Map(),
): SchedulerState {
  if (!(config.turn_ms > 0)) throw new RangeError('turn_ms must be positive');
  const journal: Journal = new Map();
  const needs = new Map<SlotName, Need>();
  return {
    self,
    config,
    journal,
    known,
    missing: NOTHING_MISSING,
    needs,
    view: null,
    token: 0,
    wake_ms: null,
  };
}

/** @param env `now` in milliseconds since the epoch; `random` is not used. */
export function handle(
  state: SchedulerState,
  event: SchedulerEvent,
  env: Pick<Env, 'now'>,
): SchedulerEffect[] {
  if (event.kind === 'view') {
    state.view = event.view;
    state.missing = event.missing ?? NOTHING_MISSING;
  } else if (event.token === state.token) state.wake_ms = null;
  else return [];
  const { view } = state;
  if (!view?.members.has(state.self)) return [];
  if (view.self !== state.self) throw new RangeError('the view of another node');

  syncJournal(state.journal, view, state.known);
  const effects: SchedulerEffect[] = [];
  releaseUnwanted(state, view, effects);
  renew(state, view, effects);
  releaseLosers(state, overlayJournal(view, state.journal), effects);
  fill(state, overlayJournal(view, state.journal), env.now, effects);
  return effects;
}

/** Holdings that still count: those told to stop are only waited for. */
function held(state: SchedulerState): Holding[] {
  return [...state.journal.values()].filter(({ leaving }) => !leaving);
}

function release(
  state: SchedulerState,
  holding: Holding,
  reason: ReleaseReason,
  effects: SchedulerEffect[],
): void {
  state.journal.set(holding.slot, { ...holding, leaving: true });
  effects.push({ kind: 'release', slot: holding.slot, attempt: holding.allocation.attempt, reason });
}

/** Scaling or another constraint makes a new revision of the workload, but not of what already runs. */
function renew(state: SchedulerState, view: ClusterView, effects: SchedulerEffect[]): void {
  const self = view.members.get(state.self)!;
  for (const holding of held(state)) {
    const { allocation, spec, slot } = holding;
    const workload = view.workloads.get(workloadOf(allocation));
    if (!workload || workload.revision === allocation.revision || !spec) continue;
    if (!isSameInstance(spec, workload.spec) || !mayStay(self, workload.spec)) continue;
    const { generation, revision } = workload;
    const renewed = { ...allocation, generation, revision };
    state.journal.set(slot, { ...holding, allocation: renewed, spec: workload.spec });
    const { attempt } = allocation;
    effects.push({ kind: 'renew', slot, attempt, generation, revision, spec: workload.spec });
  }
}

function releaseUnwanted(state: SchedulerState, view: ClusterView, effects: SchedulerEffect[]): void {
  const wanted = new Map<WorkloadName, ReadonlySet<SlotName>>();
  for (const holding of held(state)) {
    const name = workloadOf(holding.allocation);
    if (state.missing.workloads.has(name)) continue;
    const workload = view.workloads.get(name);
    const slots = wanted.get(name) ?? ownSlots(view, workload);
    wanted.set(name, slots);
    if (!slots.has(holding.slot)) release(state, holding, unwantedReason(workload), effects);
  }
}

/** The slots of a workload that this node may fill at all. */
function ownSlots(view: ClusterView, workload: WorkloadView | undefined): ReadonlySet<SlotName> {
  if (!workload) return new Set();
  const isOwn = ({ home }: Slot): boolean => home === null || home === view.self;
  return new Set(
    slotsOf(view, workload)
      .filter(isOwn)
      .map(({ name }) => name),
  );
}

function unwantedReason(workload: WorkloadView | undefined): ReleaseReason {
  if (!workload) return 'removed';
  if (workload.stopped) return 'stopped';
  return workload.spec.kind === 'daemon' ? 'no-longer-here' : 'scaled-down';
}

/**
 * Make before break: what serves goes on until this node sees the winner healthy. What does not serve stops as soon
 * as the winner is known and not under suspicion.
 */
function releaseLosers(state: SchedulerState, view: ClusterView, effects: SchedulerEffect[]): void {
  const holders = indexHolders(view);
  for (const holding of held(state)) {
    const workload = view.workloads.get(workloadOf(holding.allocation));
    if (!workload) continue;
    const winner = settle(view, workload, holdersOf(holders, holding.slot).live);
    if (!winner || winner.node === state.self) continue;
    if (view.members.get(winner.node)?.status !== 'alive') continue;
    if (isHealthy(winner)) release(state, holding, 'replaced', effects);
    else if (!isHealthy(holding.allocation)) {
      release(state, holding, 'lost', effects);
    }
  }
}

/** Takes the slots whose turn is this node's, and sets one timer for the next that may become so. */
function fill(state: SchedulerState, view: ClusterView, now: number, effects: SchedulerEffect[]): void {
  const needs = new Map<SlotName, Need>();
  let wake_ms: number | null = null;
  const plans = planCluster(view, now);
  // These may be found current by their holders: until then the plan holds places for them that others may need.
  const unsettled = new Set(plans.flatMap(({ state, workload }) => (state === 'outdated' ? [workload] : [])));
  for (const plan of plans) {
    if (!needsNode(plan)) continue;
    const workload = view.workloads.get(plan.workload)!;
    const need = needOf(state, plan, workload, now);
    needs.set(plan.slot.name, notify(plan, need, effects));
    const due_ms = dueAt(state, plan, need, workload, unsettled.has(plan.workload));
    if (due_ms === null) continue;
    if (due_ms > now) wake_ms = Math.min(wake_ms ?? due_ms, due_ms);
    else act(state, view, plan, workload, now, effects);
  }
  state.needs = needs;
  if (wake_ms === state.wake_ms) return;
  state.wake_ms = wake_ms;
  state.token++;
  if (wake_ms !== null) effects.push({ kind: 'schedule', token: state.token, at_ms: wake_ms });
}

function needOf(state: SchedulerState, plan: SlotPlan, workload: WorkloadView, now: number): Need {
  // Turns begin when there is somebody to take one, or all would act at once when a shortage ends.
  const isHopeless = plan.candidates.length === 0;
  const cause = [plan.state, workload.revision, plan.kept?.node, isHopeless].join();
  const before = state.needs.get(plan.slot.name);
  return before?.cause === cause ? before : { cause, since_ms: now, told: '' };
}

/** @returns the need, with what was told of it. */
function notify(plan: SlotPlan, need: Need, effects: SchedulerEffect[]): Need {
  const counts: Partial<Record<Refusal, number>> = {};
  if (plan.candidates.length === 0) {
    for (const { reason } of plan.refusals) counts[reason] = (counts[reason] ?? 0) + 1;
  }
  const told = Object.keys(counts).sort().join();
  if (told !== '' && told !== need.told) {
    effects.push({ kind: 'notify', slot: plan.slot.name, refusals: counts });
  }
  return { ...need, told };
}

/**
 * When this node's turn comes, in milliseconds since the epoch; null when it does not. All wait one turn more where
 * news may be on its way: a slot that still serves may be found current by its holder (`renew`), which also frees
 * the place that was meant for its next instance; one that was stopped in good order was stopped for a cause, such
 * as a removal, that its holder knew first.
 */
function dueAt(
  state: SchedulerState,
  plan: SlotPlan,
  need: Need,
  workload: WorkloadView,
  isUnsettled: boolean,
): number | null {
  const rank = plan.candidates.findIndex(({ node }) => node === state.self);
  if (rank === -1) {
    return plan.refusals.find(({ node }) => node === state.self)?.until_ms ?? null;
  }
  const wasStopped = plan.ended.some(
    ({ phase, node, generation }) =>
      phase === 'stopped' && node !== state.self && generation >= workload.generation,
  );
  const turns = plan.kept || wasStopped || isUnsettled ? rank + 1 : rank;
  return need.since_ms + turns * state.config.turn_ms;
}

function act(
  state: SchedulerState,
  view: ClusterView,
  plan: SlotPlan,
  workload: WorkloadView,
  now: number,
  effects: SchedulerEffect[],
): void {
  const { slot } = plan;
  const { missing } = state;
  if (missing.slots.has(slot.name)) return;
  const holding = state.journal.get(slot.name);
  if (holding) {
    // No other could take it over: a node has one record of a slot, so its old instance goes before the new comes.
    if (plan.kept?.node === state.self) release(state, holding, 'rolling', effects);
    return;
  }
  const { spec, generation, revision } = workload;
  if (!admits(state.journal, view.members.get(state.self)!, [spec.resources, missing.resources])) return;
  const allocation: AllocationBody = {
    node: state.self,
    namespace: workload.namespace,
    workload: workload.name,
    index: slot.index,
    generation,
    revision,
    attempt: nextAttempt(view, state.journal, slot.name),
    phase: 'claimed',
    health: 'unknown',
    address: null,
    ports: {},
    resources: spec.resources,
    since_ms: now,
    until_ms: null,
    reason: null,
    exitCode: null,
    restarts: 0,
  };
  state.journal.set(slot.name, { slot: slot.name, allocation, spec, leaving: false });
  effects.push({ kind: 'claim', slot: slot.name, spec, allocation });
}

/** What this node has promised and not seen the end of: for `shoal node`, metrics and checkers. */
export function promised(state: SchedulerState): AllocationBody[] {
  return [...state.journal.values()].map(({ allocation }) => allocation);
}
