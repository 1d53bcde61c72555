/** All instances on this node: claims and releases of the scheduler, adoption after a restart, and who to ask for logs. */
import { isShoalError } from '../../protocols/base/errors.ts';
import type { AllocationBody } from '../../protocols/base/records.ts';
import type { Resources, SlotName, WorkloadSpec } from '../../protocols/base/workload.ts';
import { isSameInstance } from '../../scheduler/plan.ts';
import { slotOf } from '../../scheduler/slots.ts';
import { attempt } from '../attempt.ts';
import type { ContainerId, ContainerInfo } from '../runtime/runtime.ts';
import { type FoundContainer, idStart, LABEL, readFound } from './container-plan.ts';
import { Instance, type InstanceComponents } from './instance.ts';
import { untilGone } from './until-gone.ts';

/** Containers that have ended and could not be removed, of which it is known. */
const REMAINS_MAX = 1_024;
/** Of a container of which nobody knows what it was. */
const UNKNOWN_GRACE_MS = 2_000;

export interface Claim {
  readonly slot: SlotName;
  readonly spec: WorkloadSpec;
  readonly body: AllocationBody;
}

export class InstanceManager implements AsyncDisposable {
  readonly #init: InstanceComponents;
  /** Containers that have ended and could not be removed yet. */
  readonly #remains = new Set<ContainerId>();
  readonly #stopping = new AbortController();
  readonly #instances = new Map<SlotName, Instance>();
  /** Others have taken their slots, and wait for them to go. */
  readonly #leaving = new Set<Instance>();
  /** Containers of an earlier daemon that nothing wants, while what wants them may still come from other members. */
  #unclaimed: { readonly slot: SlotName; readonly container: ContainerInfo }[] = [];
  /** Work on a slot is done one thing after another: what is under way, with all that comes after it. */
  readonly #tails = new Map<SlotName, Promise<void>>();

  constructor(init: Omit<InstanceComponents, 'onRemains'>) {
    this.#init = { ...init, onRemains: (container, error) => this.#keepRemains(container, error) };
  }

  get(slot: SlotName): Instance | undefined {
    return this.#instances.get(slot);
  }

  /**
   * Finds the containers that outlived the last daemon. Those that the ledger still wants go on, the others are
   * stopped and removed, and what was claimed without a container is started.
   * @param recorded this node's allocations that are not ended.
   * @param isPartial others may be missing among them, and these may be old: what none of them tells of goes on until
   * `removeUnclaimed`, and nothing is begun beside it.
   * @returns slots that it left as they are for that: `recall` settles them.
   */
  async adopt(
    recorded: readonly AllocationBody[],
    specOf: (body: AllocationBody) => WorkloadSpec | undefined,
    isPartial = false,
  ): Promise<ReadonlySet<SlotName>> {
    const { runtime, network, log } = this.#init;
    const wanted = new Map(recorded.map((body) => [slotOf(body), body]));
    const kept = new Set<string>();
    /** They are what is wanted, and cannot be taken up. */
    const broken = new Set<SlotName>();
    for (const container of await runtime.list()) {
      const slot = container.labels[LABEL.slot] as SlotName | undefined;
      const found = readFound(container);
      const body = slot && wanted.get(slot);
      const isWanted = found !== undefined && body !== undefined && isOf(found, body);
      if (slot === undefined) {
        await this.#remove(container);
        continue;
      }
      kept.add(container.id);
      if (isWanted && (await this.#readopt(slot, body, found))) {
        wanted.delete(slot);
        continue;
      }
      this.#unclaimed.push({ slot, container });
      if (isWanted) broken.add(slot);
      else if (isPartial)
        log('info', 'leaving a container that nothing wants as it is, for records are missing', {
          container: container.id,
        });
      // Not waited for: a container may take an hour to stop, and this node is not there before this is done.
      else if (body === undefined) void this.#after(slot, () => this.#clear(slot));
    }
    for (const id of runtime.left()) {
      kept.add(id);
      const slot = [...wanted.keys()].find((each) => id.startsWith(idStart(each)));
      // Nothing is begun beside it. It cannot be stopped either, before it can be read again.
      if (slot !== undefined) this.#unclaimed.push({ slot, container: unreadable(id) });
    }
    await network.sweep(kept);
    const left = new Set<SlotName>();
    for (const [slot, body] of wanted) {
      const spec = specOf(body);
      // The record of its last start may be one that the disk did not take, or that the end of the daemon came before.
      if ((isPartial || !broken.has(slot)) && this.#claimFound(slot, body, spec)) continue;
      if (isPartial && this.#isLeft(slot)) {
        left.add(slot);
      } else if (spec === undefined || body.phase === 'stopping') {
        await this.#endLeft(slot, body);
      } else {
        const anew = nextOf(body);
        await attempt(log, 'telling that an instance begins anew', () => this.#init.record(slot, anew));
        this.claim({ slot, spec, body: anew });
      }
    }
    return left;
  }

  /**
   * An allocation of an earlier life that this daemon did not know when it started, or that it left: what `adopt` would
   * have done. There is an instance at once, if there is to be one.
   * @returns whether that is settled; it is not while `isPartial` and other records may tell what is left in the slot.
   */
  recall(body: AllocationBody, spec: WorkloadSpec | undefined, isPartial: boolean): boolean {
    const slot = slotOf(body);
    if (this.#instances.has(slot) || this.#claimFound(slot, body, spec)) return true;
    if (isPartial && (spec === undefined || this.#isLeft(slot))) return false;
    if (spec !== undefined && body.phase !== 'stopping') this.claim({ slot, spec, body: nextOf(body) });
    else void this.#endLeft(slot, body);
    return true;
  }

  /** Writes again what is so in a slot. */
  retell(slot: SlotName): void {
    const instance = this.#instances.get(slot);
    if (instance !== undefined) void instance.renew(instance.body, instance.spec);
  }

  /** Once what is left in the slot is gone. Resolves at once when that is to be waited for. */
  async #endLeft(slot: SlotName, body: AllocationBody): Promise<void> {
    const isLeft = this.#isLeft(slot) || this.#tails.has(slot);
    const done = this.#after(slot, async () => {
      if (await this.#empty(slot)) await this.#init.record(slot, ended(body));
    });
    if (!isLeft) await done;
  }

  #keepRemains(container: ContainerId, error: unknown): void {
    this.#init.log('warn', 'a container could not be removed', { container, error: String(error) });
    // The next daemon finds what is too many.
    if (this.#remains.size < REMAINS_MAX) this.#remains.add(container);
  }

  /** Tries once more what has ended and could not be removed. To be called again and again. */
  async removeRemains(): Promise<void> {
    for (const id of [...this.#remains]) {
      const isGone = await this.#init.runtime.remove(id).then(
        () => true,
        (error: unknown) => isShoalError(error, 'E_NOT_FOUND'),
      );
      if (isGone) this.#remains.delete(id);
    }
  }

  /** No record is missing any more: takes away what still nothing wants. To be called again and again. */
  removeUnclaimed(): void {
    for (const { slot } of this.#unclaimed)
      if (!this.#tails.has(slot)) void this.#after(slot, () => this.#clear(slot));
  }

  /** Containers that nothing wants and that run, or did when they were found. */
  get unclaimedCount(): number {
    return this.#unclaimed.filter(({ container }) => container.state === 'running').length;
  }

  /**
   * What is left of which no record tells: what it takes of the host, and the slots in which nothing may be begun for it.
   * @param wantedIn what would be begun in a slot, as which attempt.
   */
  unclaimed(
    wantedIn: (slot: SlotName) => { readonly spec: WorkloadSpec; readonly attempt: number } | undefined,
  ): { readonly slots: ReadonlySet<SlotName>; readonly resources: Resources } {
    const slots = new Set<SlotName>();
    let [cpu_millis, memory_bytes] = [0, 0];
    for (const { slot } of this.#unclaimed) {
      if (slots.has(slot)) continue;
      const found = this.#foundIn(slot);
      const wanted = wantedIn(slot);
      // That one will be taken up.
      if (wanted !== undefined && found.some((each) => serves(each, wanted.attempt, wanted.spec))) continue;
      slots.add(slot);
      for (const { isRunning, spec } of found) {
        if (!isRunning) continue;
        cpu_millis += spec.resources.cpu_millis;
        memory_bytes += spec.resources.memory_bytes;
      }
    }
    return { slots, resources: { cpu_millis, memory_bytes } };
  }

  /** @returns false when it cannot be taken up: a new one will do. */
  async #readopt(slot: SlotName, body: AllocationBody, found: FoundContainer): Promise<boolean> {
    const { log } = this.#init;
    try {
      const instance = new Instance(this.#init, slot, found.spec, body);
      this.#instances.set(slot, instance);
      await instance.adopt(found);
    } catch (error) {
      this.#instances.delete(slot);
      log('warn', 'an instance could not be taken up again', { slot, error: String(error) });
      return false;
    }
    log('info', 'found an instance again', { slot, container: found.id, isRunning: found.isRunning });
    return true;
  }

  #isLeft(slot: SlotName): boolean {
    return this.#unclaimedIn(slot).length > 0;
  }

  /** @returns whether there is a container in the slot of which the record tells, or that is as good. */
  #claimFound(slot: SlotName, body: AllocationBody, spec: WorkloadSpec | undefined): boolean {
    const all = this.#foundIn(slot);
    const found = all.find((each) => isOf(each, body));
    if (found !== undefined) this.claim({ slot, spec: found.spec, body });
    else if (
      spec !== undefined &&
      body.phase !== 'stopping' &&
      all.some((each) => serves(each, body.attempt, spec))
    )
      this.claim({ slot, spec, body: { ...body, phase: 'claimed' } });
    else return false;
    return true;
  }

  /** Starts an instance, after the one before it has gone from the slot. */
  claim(claim: Claim): void {
    const { slot, spec, body } = claim;
    const before = this.#instances.get(slot);
    const instance = new Instance(this.#init, slot, spec, body);
    this.#instances.set(slot, instance);
    before?.release('replaced');
    if (before !== undefined) this.#leaving.add(before);
    void this.#after(slot, async () => {
      if (before !== undefined && !(await this.#outlast(before))) return;
      const isTaken = await this.#takeUp(instance);
      if (isTaken === false) instance.start();
    });
  }

  /**
   * The container of an earlier daemon in this slot, if it is what the instance would start; others go.
   * @returns whether it was; undefined when this daemon goes before the others have.
   */
  async #takeUp(instance: Instance): Promise<boolean | undefined> {
    const { slot, body, spec } = instance;
    const all = this.#foundIn(slot);
    const found = all.find((each) => isOf(each, body)) ?? best(all, body.attempt, spec);
    if (!(await this.#empty(slot, found?.id))) return undefined;
    if (found === undefined) return false;
    const { log } = this.#init;
    const isTaken = await attempt(log, 'taking up an instance again', () => instance.adopt(found));
    if (isTaken) log('info', 'found an instance again', { slot, container: found.id });
    return isTaken;
  }

  #unclaimedIn(slot: SlotName): ContainerInfo[] {
    return this.#unclaimed.filter((each) => each.slot === slot).map(({ container }) => container);
  }

  #foundIn(slot: SlotName): FoundContainer[] {
    return this.#unclaimedIn(slot)
      .map(readFound)
      .filter((found) => found !== undefined);
  }

  /** Takes the containers away that nothing has claimed in this slot, but this one. What stays is tried again. */
  async #clear(slot: SlotName, kept?: string): Promise<void> {
    for (const container of this.#unclaimedIn(slot)) {
      // What is going is nobody's to take up.
      this.#unclaimed = this.#unclaimed.filter((each) => each.container !== container);
      if (container.id === kept) continue;
      if (await this.#remove(container)) await this.#init.network.detach(container.id).catch(() => {});
      else this.#unclaimed.push({ slot, container });
    }
  }

  /** The same, until none is left. @returns false when this daemon goes before. */
  async #empty(slot: SlotName, kept?: string): Promise<boolean> {
    return await untilGone(this.#init.clock, this.#stopping.signal, async () => {
      await this.#clear(slot, kept);
      return !this.#isLeft(slot);
    });
  }

  /** @returns whether it runs no more. */
  async #remove(container: ContainerInfo): Promise<boolean> {
    const { runtime, log } = this.#init;
    const { id } = container;
    if (runtime.left().includes(id)) return false;
    log('info', 'removing a container that nothing wants', { container: id });
    const grace_ms = readFound(container)?.spec.stop_grace_ms ?? UNKNOWN_GRACE_MS;
    const isStopped = await attempt(log, 'stopping a container', () => runtime.stop(id, { grace_ms }));
    if (isStopped) await runtime.remove(id).catch((error: unknown) => this.#keepRemains(id, error));
    return isStopped;
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
    void this.#after(slot, async () => {
      if (!(await this.#outlast(instance))) return;
      if (this.#instances.get(slot) === instance) this.#instances.delete(slot);
    });
  }

  /** @returns whether a released instance has gone, and all that it left; false when this daemon goes before. */
  async #outlast(instance: Instance): Promise<boolean> {
    await instance.gone();
    const isGone = await instance.removeUntilGone();
    this.#leaving.delete(instance);
    return isGone;
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

  /** Takes away what an instance that ended by itself has left: its container and log. One that stays is there still. */
  async forget(slot: SlotName): Promise<void> {
    const instance = this.#instances.get(slot);
    if (instance === undefined || !instance.ended || (await instance.removeContainer()) !== undefined) return;
    if (this.#instances.get(slot) === instance) this.#instances.delete(slot);
  }

  /** Lets all go; containers stay as they are. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    const all = new Set([...this.#instances.values(), ...this.#leaving]);
    await Promise.all([...all].map((instance) => instance.detach()));
    this.#instances.clear();
  }

  /** Resolves when it is done, or has failed. */
  #after(slot: SlotName, work: () => Promise<void>): Promise<void> {
    const tail = (this.#tails.get(slot) ?? Promise.resolve()).then(work).catch((error: unknown) => {
      this.#init.log('warn', 'a slot could not be changed', { slot, error: String(error) });
    });
    this.#tails.set(slot, tail);
    void tail.then(() => {
      if (this.#tails.get(slot) === tail) this.#tails.delete(slot);
    });
    return tail;
  }
}

/** One of which nothing is known but that it may run. */
function unreadable(id: ContainerId): ContainerInfo {
  return { id, labels: {}, state: 'running', pid: null, started_ms: null, exit: null };
}

/** Is it that which the record tells of? */
function isOf(found: FoundContainer, { phase, attempt }: AllocationBody): boolean {
  return phase === 'running' && found.attempt === attempt && (found.isRunning || found.hasEnded);
}

function best(
  all: readonly FoundContainer[],
  attempt: number,
  spec: WorkloadSpec,
): FoundContainer | undefined {
  const good = all.filter((each) => serves(each, attempt, spec));
  return good.find(({ isRunning }) => isRunning) ?? good[0];
}

/**
 * Is it as good as one that is started now, and no earlier attempt? It says of itself where it is. What ran to its end,
 * and is not to run again for that, has done what a new one would do.
 */
function serves(found: FoundContainer, attempt: number, spec: WorkloadSpec): boolean {
  const isReached = found.address !== undefined && found.ports !== undefined;
  const isGood = found.isRunning ? isReached : found.hasEnded && spec.restart !== 'always';
  return isGood && found.attempt >= attempt && isSameInstance(found.spec, spec);
}

function nextOf(body: AllocationBody): AllocationBody {
  return { ...body, attempt: body.attempt + 1, phase: 'claimed', health: 'unknown' };
}

function ended(body: AllocationBody): AllocationBody {
  return { ...body, phase: 'stopped', health: 'unhealthy', reason: 'its daemon was restarted' };
}
