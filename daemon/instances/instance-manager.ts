/** All instances on this node: claims and releases of the scheduler, adoption after a restart, and who to ask for logs. */
import type { AllocationBody } from '../../protocols/base/records.ts';
import { type SlotName, slotName, type WorkloadSpec } from '../../protocols/base/workload.ts';
import { isSameInstance } from '../../scheduler/plan.ts';
import { attempt } from '../attempt.ts';
import type { ContainerInfo } from '../runtime/runtime.ts';
import { type FoundContainer, LABEL, readFound } from './container-plan.ts';
import { Instance, type InstanceComponents } from './instance.ts';

export interface Claim {
  readonly slot: SlotName;
  readonly spec: WorkloadSpec;
  readonly body: AllocationBody;
}

export class InstanceManager implements AsyncDisposable {
  readonly #init: InstanceComponents;
  readonly #instances = new Map<SlotName, Instance>();
  /** Containers of an earlier daemon that nothing wants, while what wants them may still come from other members. */
  #unclaimed: { readonly slot: SlotName; readonly container: ContainerInfo }[] = [];
  /** Work on a slot is done one thing after another: what is under way, with all that comes after it. */
  readonly #tails = new Map<SlotName, Promise<void>>();

  constructor(init: InstanceComponents) {
    this.#init = init;
  }

  get(slot: SlotName): Instance | undefined {
    return this.#instances.get(slot);
  }

  /**
   * Finds the containers that outlived the last daemon. Those that the ledger still wants go on, the others are
   * stopped and removed, and what was claimed without a container is started.
   * @param recorded this node's allocations that are not ended.
   * @param isPartial others may be missing among them: what none of them wants goes on until `removeUnclaimed`.
   */
  async adopt(
    recorded: readonly AllocationBody[],
    specOf: (body: AllocationBody) => WorkloadSpec | undefined,
    isPartial = false,
  ): Promise<void> {
    const { runtime, network, log } = this.#init;
    const wanted = new Map(
      recorded.map((body) => [slotName(body.namespace, body.workload, body.index), body]),
    );
    const kept = new Set<string>();
    for (const container of await runtime.list()) {
      const slot = container.labels[LABEL.slot] as SlotName | undefined;
      const body = slot && wanted.get(slot);
      if (slot && body && (await this.#readopt(slot, body, container))) {
        kept.add(container.id);
        wanted.delete(slot);
      } else if (slot && isPartial) {
        log('info', 'leaving a container that nothing wants as it is, for records are missing', {
          container: container.id,
        });
        kept.add(container.id);
        this.#unclaimed.push({ slot, container });
      } else {
        await this.#remove(container);
      }
    }
    await network.sweep(kept);
    for (const [slot, body] of wanted) {
      const spec = specOf(body);
      if (spec === undefined || body.phase === 'stopping') {
        await this.#init.record(slot, ended(body));
      } else {
        const anew = nextOf(body);
        await this.#init.record(slot, anew);
        this.claim({ slot, spec, body: anew });
      }
    }
  }

  /**
   * An allocation of an earlier life that this daemon did not know when it started: what `adopt` would have done. There is
   * an instance at once, if there is to be one.
   */
  recall(body: AllocationBody, spec: WorkloadSpec | undefined): void {
    const slot = slotName(body.namespace, body.workload, body.index);
    if (this.#instances.has(slot)) return;
    const found = this.#foundOf(slot).find((each) => isOf(each, body));
    if (found !== undefined) this.claim({ slot, spec: found.spec, body });
    else if (spec !== undefined && body.phase !== 'stopping') this.claim({ slot, spec, body: nextOf(body) });
    else {
      this.#after(slot, async () => {
        await this.#clear(slot);
        await this.#init.record(slot, ended(body));
      });
    }
  }

  /** No record is missing any more: takes away what still nothing wants. */
  removeUnclaimed(): void {
    for (const { slot } of this.#unclaimed) this.#after(slot, () => this.#clear(slot));
  }

  /** @returns false when the container is of another attempt, or cannot be taken up: a new one will do. */
  async #readopt(slot: SlotName, body: AllocationBody, container: ContainerInfo): Promise<boolean> {
    const { log } = this.#init;
    try {
      const found = readFound(container);
      if (!isOf(found, body)) return false;
      const instance = new Instance(this.#init, slot, found.spec, body);
      this.#instances.set(slot, instance);
      await instance.adopt(found);
    } catch (error) {
      this.#instances.delete(slot);
      log('warn', 'an instance could not be taken up again', { slot, error: String(error) });
      return false;
    }
    log('info', 'found an instance again', { slot, container: container.id, state: container.state });
    return true;
  }

  /** Starts an instance, after the one before it has gone from the slot. */
  claim(claim: Claim): void {
    const { slot, spec, body } = claim;
    const before = this.#instances.get(slot);
    const instance = new Instance(this.#init, slot, spec, body);
    this.#instances.set(slot, instance);
    before?.release('replaced');
    this.#after(slot, async () => {
      await before?.gone();
      await before?.forget();
      if (!(await this.#takeUp(instance))) instance.start();
    });
  }

  /** The container of an earlier daemon in this slot, if it is what the instance would start; others go. */
  async #takeUp(instance: Instance): Promise<boolean> {
    const { slot, body, spec } = instance;
    const found = this.#foundOf(slot).find((each) => isOf(each, body) || serves(each, body, spec));
    await this.#clear(slot, found?.id);
    if (found === undefined) return false;
    const { log } = this.#init;
    const isTaken = await attempt(log, 'taking up an instance again', () => instance.adopt(found));
    if (isTaken) log('info', 'found an instance again', { slot, container: found.id });
    return isTaken;
  }

  #foundOf(slot: SlotName): FoundContainer[] {
    return this.#unclaimed.flatMap((each) => {
      if (each.slot !== slot) return [];
      try {
        return [readFound(each.container)];
      } catch {
        return [];
      }
    });
  }

  /** Takes the containers away that nothing has claimed in this slot, but this one. */
  async #clear(slot: SlotName, kept?: string): Promise<void> {
    const unclaimed = this.#unclaimed.filter((each) => each.slot === slot);
    this.#unclaimed = this.#unclaimed.filter((each) => each.slot !== slot);
    for (const { container } of unclaimed) {
      if (container.id === kept) continue;
      await this.#remove(container);
      await this.#init.network.detach(container.id).catch(() => {});
    }
  }

  async #remove({ id }: ContainerInfo): Promise<void> {
    const { runtime, log } = this.#init;
    log('info', 'removing a container that nothing wants', { container: id });
    await runtime.stop(id, { grace_ms: 2_000 }).catch(() => {});
    await runtime.remove(id).catch((error: unknown) => {
      log('warn', 'a container could not be removed', { container: id, error: String(error) });
    });
  }

  /** The running instance serves a newer revision as it is. */
  renew(slot: SlotName, revision: Pick<AllocationBody, 'generation' | 'revision'>, spec: WorkloadSpec): void {
    void this.#instances.get(slot)?.renew(revision, spec);
  }

  /** Stops the instance of a slot, takes it away and records its end. */
  release(slot: SlotName, reason: string): void {
    const instance = this.#instances.get(slot);
    if (instance === undefined || instance.released) return;
    instance.release(reason);
    this.#after(slot, async () => {
      await instance.gone();
      if (this.#instances.get(slot) === instance) this.#instances.delete(slot);
      await instance.forget();
    });
  }

  /** Each starts anew, one attempt further. */
  restartAll(reason: string): void {
    for (const [slot, instance] of this.#instances) {
      if (instance.ended || instance.released) continue;
      const { body, spec } = instance;
      this.release(slot, reason);
      this.claim({ slot, spec, body: { ...body, attempt: body.attempt + 1, phase: 'claimed', reason } });
    }
  }

  /** Takes away what an instance that ended by itself has left: its container and log. */
  async forget(slot: SlotName): Promise<void> {
    const instance = this.#instances.get(slot);
    if (instance === undefined || !instance.ended) return;
    this.#instances.delete(slot);
    await instance.forget();
  }

  /** Lets all go; containers stay as they are. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#instances.values()].map((instance) => instance.detach()));
    this.#instances.clear();
  }

  #after(slot: SlotName, work: () => Promise<void>): void {
    const tail = (this.#tails.get(slot) ?? Promise.resolve()).then(work).catch((error: unknown) => {
      this.#init.log('warn', 'a slot could not be changed', { slot, error: String(error) });
    });
    this.#tails.set(slot, tail);
    void tail.then(() => {
      if (this.#tails.get(slot) === tail) this.#tails.delete(slot);
    });
  }
}

/** Is it that which the record tells of? */
function isOf(found: FoundContainer, { phase, attempt }: AllocationBody): boolean {
  return phase === 'running' && found.attempt === attempt;
}

/** Is it as good as one that is started now? It says of itself where it is, and is no earlier attempt. */
function serves(found: FoundContainer, body: AllocationBody, spec: WorkloadSpec): boolean {
  const { isRunning, attempt, address, ports } = found;
  const isReached = address !== undefined && ports !== undefined;
  return isRunning && isReached && attempt >= body.attempt && isSameInstance(found.spec, spec);
}

function nextOf(body: AllocationBody): AllocationBody {
  return { ...body, attempt: body.attempt + 1, phase: 'claimed', health: 'unknown' };
}

function ended(body: AllocationBody): AllocationBody {
  return { ...body, phase: 'stopped', health: 'unhealthy', reason: 'its daemon was restarted' };
}
