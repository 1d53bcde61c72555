/** All instances on this node: claims and releases of the scheduler, adoption after a restart, and who to ask for logs. */
import type { AllocationBody } from '../../protocols/base/records.ts';
import { type SlotName, slotName, type WorkloadSpec } from '../../protocols/base/workload.ts';
import type { ContainerInfo } from '../runtime/runtime.ts';
import { LABEL } from './container-plan.ts';
import { Instance, type InstanceComponents } from './instance.ts';

export interface Claim {
  readonly slot: SlotName;
  readonly spec: WorkloadSpec;
  readonly body: AllocationBody;
}

export class InstanceManager implements AsyncDisposable {
  readonly #init: InstanceComponents;
  readonly #instances = new Map<SlotName, Instance>();
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
   */
  async adopt(
    recorded: readonly AllocationBody[],
    specOf: (body: AllocationBody) => WorkloadSpec | undefined,
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
      } else {
        log('info', 'removing a container that nothing wants', { container: container.id });
        await runtime.stop(container.id, { grace_ms: 2_000 }).catch(() => {});
        await runtime.remove(container.id).catch((error: unknown) => {
          log('warn', 'a container could not be removed', { container: container.id, error: String(error) });
        });
      }
    }
    await network.sweep(kept);
    for (const [slot, body] of wanted) {
      const spec = specOf(body);
      if (spec === undefined || body.phase === 'stopping') {
        await this.#init.record(slot, {
          ...body,
          phase: 'stopped',
          health: 'unhealthy',
          reason: 'its daemon was restarted',
        });
      } else {
        const anew = { ...body, attempt: body.attempt + 1, phase: 'claimed', health: 'unknown' } as const;
        await this.#init.record(slot, anew);
        this.claim({ slot, spec, body: anew });
      }
    }
  }

  /** @returns false when the container is of another attempt, or cannot be taken up: a new one will do. */
  async #readopt(slot: SlotName, body: AllocationBody, container: ContainerInfo): Promise<boolean> {
    const { network, log } = this.#init;
    if (body.phase !== 'running' || String(body.attempt) !== container.labels[LABEL.attempt]) return false;
    try {
      const spec = JSON.parse(container.labels[LABEL.spec] ?? '') as WorkloadSpec;
      await network.attach(container.id);
      const instance = new Instance(this.#init, slot, spec, body);
      this.#instances.set(slot, instance);
      await instance.adopt(container.id, container.state === 'running');
    } catch (error) {
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
      instance.start();
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

  /** What runs here, by slot: the scheduler compares it with what a newer revision asks for. */
  specs(): Map<SlotName, WorkloadSpec> {
    return new Map([...this.#instances].map(([slot, instance]) => [slot, instance.spec]));
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
