/**
 * What the records say of this node's own slots, made one with what runs here: after a start, and when records of an
 * earlier life come from others. A disk that has lost records knows less than others will tell, so the scheduler is told
 * what it must neither end nor begin for that. Not here: containers (instances/) and what is to run (scheduler/).
 */
import type { NodeId } from '../protocols/base/ids.ts';
import { type AllocationBody, recordKey } from '../protocols/base/records.ts';
import { type SlotName, type WorkloadName, workloadName } from '../protocols/base/workload.ts';
import type { LedgerRecord } from '../protocols/ledger/record.ts';
import type { ClusterView } from '../protocols/view/view.ts';
import { workloadOf } from '../scheduler/load.ts';
import type { Missing } from '../scheduler/machine.ts';
import { isTerminalPhase, slotOf } from '../scheduler/slots.ts';
import type { Clock } from './clock.ts';
import type { LedgerDriver } from './drivers/ledger-driver.ts';
import type { InstanceManager } from './instances/instance-manager.ts';

/** Between two times that it is said again what is so in a slot, against another record of it. */
const RETELL_MS = 300_000;
/** Slots of which it is known when that was; the oldest goes first. */
const RETOLD_MAX = 4_096;

export interface OwnSlotsInit {
  readonly self: NodeId;
  readonly clock: Pick<Clock, 'now'>;
  readonly ledger: LedgerDriver;
  readonly instances: InstanceManager;
  /** This disk has lost records. */
  readonly isReseeding: () => boolean;
  /** And somebody may still bring them. */
  readonly isPartial: () => boolean;
}

/** What the scheduler goes by. */
export interface OwnView {
  readonly view: ClusterView;
  /** undefined: nothing is. */
  readonly missing: Missing | undefined;
}

export class OwnSlots {
  readonly #init: OwnSlotsInit;
  /** Of earlier lives, and settled: there is an instance, or the end was told. */
  readonly #settled = new WeakSet<LedgerRecord>();
  /** When it was said again last what is so in a slot. */
  readonly #retold_ms = new Map<SlotName, number>();

  constructor(init: OwnSlotsInit) {
    this.#init = init;
  }

  /** Takes up what outlived the last daemon, before others take this node for alive again. */
  async adopt(view: ClusterView): Promise<void> {
    const { instances, isReseeding } = this.#init;
    const live = this.#of(view).filter(({ phase }) => !isTerminalPhase(phase));
    const records = new Map(live.map((allocation) => [slotOf(allocation), this.#recordOf(allocation)]));
    const left = await instances.adopt(
      live,
      (allocation) => view.workloads.get(workloadOf(allocation))?.spec,
      isReseeding(),
    );
    for (const [slot, record] of records)
      if (record !== undefined && !left.has(slot)) this.#settled.add(record);
  }

  /**
   * Allocations of an earlier life that this disk had lost, or never had, and that others have brought: the scheduler goes
   * by them, so there must be what they tell of. It sees none of which that is not so, and in place of those that by their
   * stamps stand over what this life has written it sees what is so.
   */
  settle(view: ClusterView): OwnView {
    const { self, ledger, instances, isReseeding, isPartial } = this.#init;
    const hidden = new Set<SlotName>();
    const instead = new Map<SlotName, AllocationBody>();
    const own = view.members.has(self) ? this.#of(view) : [];
    for (const allocation of own) {
      const slot = slotOf(allocation);
      const record = this.#recordOf(allocation);
      const instance = instances.get(slot);
      // The end of one that makes way for the next: nothing is to be begun for it.
      if (instance !== undefined && instance.body.attempt > allocation.attempt)
        instead.set(slot, instance.body);
      // What this life has written it has an instance for, or had one whose end it could not write.
      if (record === undefined || ledger.isOwn(record) || this.#settled.has(record)) continue;
      if (instance !== undefined) {
        instead.set(slot, instance.body);
        this.#retell(slot);
        continue;
      }
      if (isTerminalPhase(allocation.phase)) continue;
      const spec = view.workloads.get(workloadOf(allocation))?.spec;
      if (instances.recall(allocation, spec, isPartial())) this.#settled.add(record);
      else hidden.add(slot);
    }
    const seen = (allocation: AllocationBody): AllocationBody[] => {
      if (allocation.node !== self) return [allocation];
      const slot = slotOf(allocation);
      return hidden.has(slot) ? [] : [{ ...allocation, ...instead.get(slot) }];
    };
    const isSame = hidden.size + instead.size === 0;
    const given = isSame ? view : { ...view, allocations: view.allocations.flatMap(seen) };
    return { view: given, missing: isReseeding() ? this.#missing(view, hidden) : undefined };
  }

  /** Containers and instances of which a record is missing here that nobody may be there to bring again. */
  left(view: ClusterView): number {
    const unwanted = this.#of(view).filter(
      (allocation) => !isTerminalPhase(allocation.phase) && this.#isLost(workloadOf(allocation)),
    );
    return this.#init.instances.unclaimedCount + unwanted.length;
  }

  /** Another daemon with this key would answer each time. */
  #retell(slot: SlotName): void {
    const now = this.#init.clock.now();
    if (Math.abs(now - (this.#retold_ms.get(slot) ?? Number.NEGATIVE_INFINITY)) < RETELL_MS) return;
    this.#retold_ms.delete(slot);
    for (const [oldest] of this.#retold_ms)
      if (this.#retold_ms.size >= RETOLD_MAX) this.#retold_ms.delete(oldest);
    this.#retold_ms.set(slot, now);
    this.#init.instances.retell(slot);
  }

  /** May somebody still tell of this workload, of which nobody has? */
  mayCome(name: WorkloadName): boolean {
    return this.#init.isPartial() && this.#isLost(name);
  }

  /** Has nobody said anything of this workload, whose word counts by the grants that are here? */
  #isLost(name: WorkloadName): boolean {
    const { ledger, authority } = this.#init.ledger.machine;
    // What was removed has left a tombstone.
    return !ledger.siblings('workload', name).some((record) => authority.counts(record));
  }

  /** What may still come is in the view as little as what was removed: the scheduler must know one from the other. */
  #missing(view: ClusterView, hidden: ReadonlySet<SlotName>): Missing {
    const { instances, isPartial } = this.#init;
    const own = this.#of(view);
    const workloads = new Set(own.map(workloadOf).filter((name) => this.#isLost(name)));
    const attempts = new Map(own.map((allocation) => [slotOf(allocation), allocation.attempt]));
    const { slots, resources } = instances.unclaimed((slot) => {
      const [namespace = '', workload = ''] = slot.split('/');
      const spec = view.workloads.get(workloadName(namespace, workload))?.spec;
      return spec && { spec, attempt: (attempts.get(slot) ?? 0) + 1 };
    });
    // Where nobody can tell what is left there, what is known is begun.
    const held = isPartial() ? [...slots, ...hidden] : hidden;
    return { workloads, slots: new Set(held), resources };
  }

  #of(view: ClusterView): ClusterView['allocations'] {
    return view.allocations.filter(({ node }) => node === this.#init.self);
  }

  #recordOf(allocation: AllocationBody): LedgerRecord | undefined {
    const { self, ledger } = this.#init;
    return ledger.machine.ledger.get('alloc', recordKey.alloc(self, slotOf(allocation)));
  }
}
