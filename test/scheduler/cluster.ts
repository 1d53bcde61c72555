/**
 * A small cluster of schedulers on virtual time: every node runs the real machine against its own copy of the
 * records, which reach it late and out of order; a pretend runtime starts and stops what the machine says.
 * Seeded and single-threaded: one seed, one run. Not here: what must hold (checkers.ts), and the ledger.
 */
import type { AllocationBody, Intent } from '../../protocols/base/records.ts';
import {
  type SlotName,
  type WorkloadName,
  type WorkloadSpec,
  workloadName,
} from '../../protocols/base/workload.ts';
import type { MemberStatus, MemberView, WorkloadView } from '../../protocols/view/view.ts';
import {
  createScheduler,
  handle,
  type SchedulerEffect,
  type SchedulerState,
} from '../../scheduler/machine.ts';
import { isTerminalPhase, slotOf } from '../../scheduler/slots.ts';
import { aView, aWorkload } from './fixtures.ts';

export interface ClusterInit {
  readonly seed: number;
  readonly members: readonly MemberView[];
  readonly turn_ms?: number;
  /** The longest that a record takes to another node. */
  readonly delay_ms_max?: number;
  /** Whether an attempt starts; default: all do. */
  readonly starts?: (allocation: AllocationBody, spec: WorkloadSpec) => boolean;
}

interface Stored<T> {
  readonly value: T;
  readonly version: number;
}

interface Node {
  readonly id: string;
  scheduler: SchedulerState;
  up: boolean;
  readonly allocations: Map<string, Stored<AllocationBody>>;
  readonly workloads: Map<WorkloadName, Stored<WorkloadView | null>>;
  readonly intents: Map<string, Stored<Intent>>;
  readonly statuses: Map<string, MemberStatus>;
}

interface Due {
  readonly at_ms: number;
  readonly order: number;
  readonly run: () => void;
}

const DETECT_MS = 2000;
/** The cap of one run: what needs more steps does not settle. */
const STEPS_MAX = 200_000;

export class Cluster {
  now = 1_000_000;
  /** Effects but timers, of all nodes, since the start. */
  readonly log: { readonly at_ms: number; readonly node: string; readonly effect: SchedulerEffect }[] = [];
  /** Called after every step. */
  onStep: () => void = () => {};
  readonly init: ClusterInit;
  readonly #nodes = new Map<string, Node>();
  #queue: Due[] = [];
  #order = 0;
  #version = 0;
  #random: number;
  #side: (id: string) => number = () => 0;

  constructor(init: ClusterInit) {
    this.init = init;
    this.#random = init.seed | 0 || 1;
    for (const { id } of init.members) {
      this.#nodes.set(id, {
        id,
        scheduler: this.#createScheduler(id),
        up: true,
        allocations: new Map(),
        workloads: new Map(),
        intents: new Map(),
        statuses: new Map(),
      });
    }
  }

  /** What really is there, by node: the truth that no node sees. A node that is down runs nothing. */
  running(): AllocationBody[] {
    return [...this.#nodes.values()]
      .filter(({ up }) => up)
      .flatMap((node) =>
        [...node.allocations.values()].map(({ value }) => value).filter((a) => a.node === node.id),
      )
      .filter(({ phase }) => !isTerminalPhase(phase));
  }

  journal(id: string): SchedulerState['journal'] {
    return this.#node(id).scheduler.journal;
  }

  submit(
    spec: WorkloadSpec,
    generation: number,
    over: Partial<WorkloadView> = {},
    at = this.#someone(),
  ): void {
    this.#writeWorkload(
      aWorkload(spec, { generation, ...over }),
      workloadName(spec.namespace, spec.name),
      at,
    );
  }

  remove(name: WorkloadName, at = this.#someone()): void {
    this.#writeWorkload(null, name, at);
  }

  setIntent(subject: string, intent: Intent, at = this.#someone()): void {
    const stored = { value: intent, version: ++this.#version };
    this.#spread(at, (node) => put(node.intents, subject, stored));
  }

  /** The node and all that it ran are gone; the others find out. */
  kill(id: string): void {
    const node = this.#node(id);
    node.up = false;
    for (const other of this.#nodes.values()) this.#detect(other, id, 'failed');
  }

  /** It comes back empty-handed, and says so. */
  restart(id: string): void {
    const node = this.#node(id);
    node.up = true;
    node.scheduler = this.#createScheduler(id);
    for (const [key, { value, version }] of node.allocations) {
      if (value.node !== id || isTerminalPhase(value.phase)) continue;
      node.allocations.set(key, { value: { ...value, phase: 'stopped' }, version: version + 1000 });
    }
    this.#exchange();
    for (const other of this.#nodes.values()) this.#detect(other, id, 'alive');
  }

  /** Cuts the cluster in two: those that `isLeft` and the others hear nothing of one another. */
  partition(isLeft: (id: string) => boolean): void {
    this.#side = (id) => (isLeft(id) ? 0 : 1);
    this.#verdicts();
  }

  heal(): void {
    this.#side = () => 0;
    this.#exchange();
    this.#verdicts();
  }

  /** Runs until nothing is left to do or `for_ms` of virtual time are over. */
  run(for_ms: number): void {
    const end_ms = this.now + for_ms;
    for (let steps = 0; this.#queue.length > 0 && this.#queue[0]!.at_ms <= end_ms; steps++) {
      if (steps > STEPS_MAX) throw new Error('the cluster does not come to rest');
      const due = this.#queue.shift()!;
      this.now = due.at_ms;
      due.run();
      this.onStep();
    }
    this.now = end_ms;
  }

  #createScheduler(id: string): SchedulerState {
    return createScheduler(id, { turn_ms: this.init.turn_ms ?? 300 });
  }

  #node(id: string): Node {
    const node = this.#nodes.get(id);
    if (!node) throw new RangeError(`no node ${id}`);
    return node;
  }

  #someone(): string {
    const up = [...this.#nodes.values()].filter((node) => node.up);
    return up[this.#between(0, up.length - 1)]!.id;
  }

  /** xorshift32 (Marsaglia 2003). */
  #between(low: number, high: number): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    return low + ((x >>> 0) % (high - low + 1));
  }

  #after(delay_ms: number, run: () => void): void {
    const due: Due = { at_ms: this.now + delay_ms, order: this.#order++, run };
    let at = this.#queue.length;
    while (at > 0 && this.#queue[at - 1]!.at_ms > due.at_ms) at--;
    this.#queue.splice(at, 0, due);
  }

  /** At once on the node where it is written; later, and each on its own, on those that can hear it. */
  #spread(from: string, apply: (node: Node) => void): void {
    for (const node of this.#nodes.values()) {
      const delay_ms = node.id === from ? 0 : this.#between(1, this.init.delay_ms_max ?? 100);
      this.#after(delay_ms, () => {
        if (!node.up || this.#side(node.id) !== this.#side(from)) return;
        apply(node);
        this.#look(node);
      });
    }
  }

  /** Anti-entropy: everybody gets what anybody on its side has. */
  #exchange(): void {
    for (const from of this.#nodes.values()) {
      if (!from.up) continue;
      const allocations = [...from.allocations];
      const workloads = [...from.workloads];
      const intents = [...from.intents];
      this.#spread(from.id, (node) => {
        for (const [key, stored] of allocations) put(node.allocations, key, stored);
        for (const [key, stored] of workloads) put(node.workloads, key, stored);
        for (const [key, stored] of intents) put(node.intents, key, stored);
      });
    }
  }

  #verdicts(): void {
    for (const node of this.#nodes.values()) {
      for (const other of this.#nodes.values()) {
        if (node.id === other.id) continue;
        const isHeard = other.up && this.#side(node.id) === this.#side(other.id);
        this.#detect(node, other.id, isHeard ? 'alive' : 'failed');
      }
    }
  }

  #detect(node: Node, subject: string, status: MemberStatus): void {
    const set = (to: MemberStatus) => () => {
      if (!node.up) return;
      node.statuses.set(subject, to);
      this.#look(node);
    };
    if (status === 'failed') this.#after(this.#between(1, DETECT_MS / 2), set('suspect'));
    this.#after(DETECT_MS / 2 + this.#between(1, DETECT_MS / 2), set(status));
  }

  #writeWorkload(value: WorkloadView | null, name: WorkloadName, at: string): void {
    const stored = { value, version: ++this.#version };
    this.#spread(at, (node) => put(node.workloads, name, stored));
  }

  #writeAllocation(node: Node, allocation: AllocationBody): void {
    const key = `${node.id}/${slotOf(allocation)}`;
    const stored = { value: allocation, version: ++this.#version };
    // The node's own record is there before anything else happens on it.
    put(node.allocations, key, stored);
    this.#spread(node.id, (other) => put(other.allocations, key, stored));
  }

  #look(node: Node): void {
    const members = this.init.members.map((member) => ({
      ...member,
      status: node.statuses.get(member.id) ?? 'alive',
      intent: node.intents.get(member.id)?.value ?? member.intent,
    }));
    const workloads = [...node.workloads.values()].flatMap(({ value }) => (value ? [value] : []));
    const allocations = [...node.allocations.values()].map(({ value }) => value);
    const view = aView({ self: node.id, members, workloads, allocations });
    this.#carryOut(node, handle(node.scheduler, { kind: 'view', view }, { now: this.now }));
  }

  #carryOut(node: Node, effects: readonly SchedulerEffect[]): void {
    const { scheduler } = node;
    for (const effect of effects) {
      if (effect.kind === 'schedule') {
        this.#after(effect.at_ms - this.now, () => {
          if (!node.up || node.scheduler !== scheduler) return;
          this.#carryOut(node, handle(scheduler, { kind: 'timer', token: effect.token }, { now: this.now }));
        });
        continue;
      }
      this.log.push({ at_ms: this.now, node: node.id, effect });
      if (effect.kind === 'claim') this.#start(node, effect.allocation, effect.spec);
      if (effect.kind === 'release') this.#stop(node, effect.slot, effect.attempt);
      if (effect.kind === 'renew') {
        const { generation, revision } = effect;
        this.#change(node, effect.slot, effect.attempt, () => true, { generation, revision });
      }
    }
  }

  #start(node: Node, allocation: AllocationBody, spec: WorkloadSpec): void {
    const slot = slotOf(allocation);
    const { attempt } = allocation;
    this.#writeAllocation(node, allocation);
    const isUp = (a: AllocationBody) => !isTerminalPhase(a.phase) && a.phase !== 'stopping';
    const start_ms = this.#between(50, 500);
    this.#after(start_ms, () => {
      if (this.init.starts?.(allocation, spec) ?? true) {
        // Where the spec has no check, the runner writes healthy with running.
        const health = spec.health.kind === 'none' ? 'healthy' : 'unknown';
        this.#change(node, slot, attempt, isUp, { phase: 'running', health });
      } else {
        this.#change(node, slot, attempt, isUp, { phase: 'failed', reason: 'it exits at once' });
      }
    });
    const healthy_ms = start_ms + this.#between(10, 500);
    this.#after(healthy_ms, () => this.#change(node, slot, attempt, isUp, { health: 'healthy' }));
  }

  #stop(node: Node, slot: SlotName, attempt: number): void {
    const isUp = (a: AllocationBody) => !isTerminalPhase(a.phase);
    this.#change(node, slot, attempt, isUp, { phase: 'stopping' });
    this.#after(this.#between(10, 400), () => this.#change(node, slot, attempt, isUp, { phase: 'stopped' }));
  }

  #change(
    node: Node,
    slot: SlotName,
    attempt: number,
    when: (allocation: AllocationBody) => boolean,
    change: Partial<AllocationBody>,
  ): void {
    const now = node.allocations.get(`${node.id}/${slot}`)?.value;
    if (!node.up || !now || now.attempt !== attempt || !when(now)) return;
    this.#writeAllocation(node, { ...now, ...change });
  }
}

function put<K, T>(store: Map<K, Stored<T>>, key: K, stored: Stored<T>): void {
  const before = store.get(key);
  if (!before || before.version < stored.version) store.set(key, stored);
}
