/**
 * One slot on this node, from claim to end: fetch the image, attach the network, start, watch over, start again,
 * stop. Each step is told to the ledger by `record`. Not here: whether this node should hold the slot (scheduler).
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Images, ReadyImage } from '../../images/images.ts';
import { isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import type { Digest } from '../../protocols/base/ids.ts';
import type { AllocationBody, ImageBody } from '../../protocols/base/records.ts';
import type { SlotName, WorkloadSpec } from '../../protocols/base/workload.ts';
import { type Clock, pause } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Attachment, Network } from '../network/network.ts';
import type { ExitStatus, Mount, Runtime } from '../runtime/runtime.ts';
import { assignPorts } from './assign-ports.ts';
import { containerId, type FoundContainer, planContainer } from './container-plan.ts';
import { checkHealth } from './health-check.ts';
import { untilGone } from './until-gone.ts';

/** Between two starts of an instance that ends by itself: doubled each time, back to the first after a good run. */
export const RESTART_MS_MIN = 250;
export const RESTART_MS_MAX = 30_000;
/** Quick ends in a row after which the node gives the slot up, and another may try. */
export const RESTARTS_MAX = 5;
/** An instance that ran this long is not in a crash loop. */
export const GOOD_RUN_MS = 10_000;
/** Where the spec has no health check, an instance is healthy when it has stayed up this long. */
export const STEADY_MS = 500;
/** Failed checks in a row, as a multiple of `retries`, after which an unhealthy instance is started anew. */
const UNHEALTHY_RESTART_FACTOR = 5;
/** Longer, the record would fit no schema, and the instance be seen by nobody. */
const REASON_LENGTH_MAX = 512;
/** How long a claim waits for the image's record to arrive by gossip. */
const IMAGE_RECORD_WAIT_MS = 15_000;

export interface InstanceComponents {
  readonly runtime: Runtime;
  readonly network: Network;
  readonly images: Images;
  readonly clock: Clock;
  readonly log: Log;
  readonly nodeName: string;
  /** For files that are mounted into containers. */
  readonly directory: string;
  readonly findImage: (name: string) => { readonly digest: Digest; readonly body: ImageBody } | undefined;
  /** Whether another member that has the image can be asked now. */
  readonly hasSource: (image: Digest) => boolean;
  readonly record: (slot: SlotName, body: AllocationBody) => Promise<void>;
  /** A container that has ended could not be removed. */
  readonly onRemains: (container: string, error: unknown) => void;
}

export class Instance {
  readonly slot: SlotName;
  readonly #components: InstanceComponents;
  readonly #release = new AbortController();
  /** The daemon goes away; the container stays. */
  readonly #detach = new AbortController();
  #spec: WorkloadSpec;
  #body: AllocationBody;
  #container: string | undefined;
  #run: Promise<void> | undefined;
  #releaseReason = '';
  #started_ms = 0;

  constructor(components: InstanceComponents, slot: SlotName, spec: WorkloadSpec, body: AllocationBody) {
    this.#components = components;
    this.slot = slot;
    this.#spec = spec;
    this.#body = body;
  }

  get spec(): WorkloadSpec {
    return this.#spec;
  }

  get body(): AllocationBody {
    return this.#body;
  }

  /** The container of the latest attempt: exited ones keep their log until the slot is filled anew. */
  get container(): string | undefined {
    return this.#container;
  }

  get ended(): boolean {
    return this.#body.phase === 'stopped' || this.#body.phase === 'failed';
  }

  get released(): boolean {
    return this.#release.signal.aborted;
  }

  start(): void {
    this.#run = this.#live(false);
  }

  /**
   * Takes up a container that outlived an earlier daemon. Resolves when the record says where it is, and no longer calls
   * one healthy that ended meanwhile: nobody may stop a replacement for it. @throws E_NETWORK_FAILED
   */
  async adopt(found: FoundContainer): Promise<void> {
    const { id, attempt } = found;
    this.#container = id;
    this.#started_ms = this.#body.since_ms;
    const attachment = await this.#components.network.attach(id);
    const { address = this.#body.address, ports = this.#body.ports } = found;
    if (!found.isRunning) {
      await this.#tell({ attempt, health: 'unhealthy', reason: 'it ended while its daemon was away' });
    } else if (attachment.address !== address) {
      throw new ShoalError('E_NETWORK_FAILED', 'its container was started with another address');
    } else if (this.#body.phase !== 'running') {
      await this.#tell({ attempt, address, ports, phase: 'running', reason: null, exitCode: null });
    }
    this.#run = this.#live(true);
  }

  /** Another revision that asks for the same: only the record changes. */
  async renew(revision: Pick<AllocationBody, 'generation' | 'revision'>, spec: WorkloadSpec): Promise<void> {
    this.#spec = spec;
    await this.#tell({ generation: revision.generation, revision: revision.revision });
  }

  /** Begins to stop it and to take it away; the first reason stays. One that was not started yet never will be. */
  release(reason: string): void {
    if (this.released) return;
    this.#releaseReason = reason;
    this.#release.abort();
  }

  /** Resolves when a released instance has ended and its end is recorded. */
  async gone(): Promise<void> {
    await this.#run;
  }

  /** Lets go without touching the container. */
  async detach(): Promise<void> {
    this.#detach.abort();
    await this.#run;
  }

  get #signal(): AbortSignal {
    return AbortSignal.any([this.#release.signal, this.#detach.signal]);
  }

  async #live(adopted: boolean): Promise<void> {
    let quickEnds = 0;
    let running = adopted;
    while (!this.#signal.aborted) {
      let failure: string;
      try {
        if (!running) await this.#startContainer();
        running = false;
        const exit = await this.#supervise();
        if (this.#detach.signal.aborted) return;
        if (this.#release.signal.aborted) break;
        if (exit === 'unhealthy') {
          failure = 'its health checks kept failing';
        } else {
          failure = exit.oom
            ? 'it was killed: out of memory'
            : `it exited with ${exit.code ?? 'an unknown code'}`;
          const done =
            this.spec.restart === 'never' || (this.spec.restart === 'on-failure' && exit.code === 0);
          if (done) return await this.#end(exit.code === 0 ? 'stopped' : 'failed', failure, exit.code);
          if (exit.at_ms - this.#started_ms >= GOOD_RUN_MS) quickEnds = 0;
          this.#body = { ...this.#body, exitCode: exit.code };
        }
      } catch (error) {
        if (this.#detach.signal.aborted) return;
        if (this.#release.signal.aborted) break;
        failure = error instanceof Error ? error.message : String(error);
        this.#components.log('warn', 'an instance failed', { slot: this.slot, error: failure });
        if (isShoalError(error) && isFinal(error)) return await this.#end('failed', failure, null);
      }
      quickEnds += 1;
      if (quickEnds > RESTARTS_MAX)
        return await this.#end('failed', `given up after ${RESTARTS_MAX} restarts: ${failure}`);
      const wait_ms = Math.min(RESTART_MS_MAX, RESTART_MS_MIN * 2 ** (quickEnds - 1));
      this.#nextAttempt();
      await this.#tell({ health: 'unhealthy', reason: failure });
      await pause(this.#components.clock, wait_ms, this.#signal);
    }
    if (this.#release.signal.aborted && !this.#detach.signal.aborted) await this.#stop();
  }

  #nextAttempt(): void {
    const { attempt, restarts } = this.#body;
    this.#body = {
      ...this.#body,
      attempt: attempt + 1,
      restarts: restarts + 1,
      phase: 'claimed',
      since_ms: this.#components.clock.now(),
    };
  }

  async #startContainer(): Promise<void> {
    const { runtime, network, nodeName } = this.#components;
    if (!(await this.removeUntilGone(this.#signal)))
      throw new ShoalError('E_CANCELLED', 'it is wanted no more');
    await this.#tell({ phase: 'pulling', health: 'unknown' });
    const image = await this.#image();
    await this.#tell({ phase: 'starting', reason: null });
    const id = containerId(this.slot, this.#body.attempt);
    this.#container = id;
    const attachment = await network.attach(id);
    const ports = await assignPorts(this.spec.ports, attachment);
    const plan = planContainer({
      slot: this.slot,
      index: this.#body.index,
      attempt: this.#body.attempt,
      spec: this.spec,
      image,
      attachment,
      ports,
      nodeName,
      mounts: this.#mounts(id, attachment),
    });
    await runtime.create(plan);
    await runtime.start(id);
    this.#started_ms = this.#components.clock.now();
    await this.#tell({
      phase: 'running',
      health: 'unknown',
      address: attachment.address,
      ports,
      reason: null,
      exitCode: null,
    });
  }

  async #image(): Promise<ReadyImage> {
    const { clock, findImage, hasSource, images } = this.#components;
    const deadline = clock.now() + IMAGE_RECORD_WAIT_MS;
    for (;;) {
      const found = findImage(this.spec.image);
      if (found !== undefined) {
        const missing = !(await images.has(found.digest));
        if (missing && !hasSource(found.digest))
          await this.#tell({ reason: 'no host that has the image is alive' });
        return await images.ensure(found.digest, found.body, { signal: this.#signal });
      }
      if (clock.now() > deadline || this.#signal.aborted) {
        throw new ShoalError(
          'E_IMAGE_UNKNOWN',
          `no record of the image ${this.spec.image} has reached this node`,
        );
      }
      await pause(clock, 200, this.#signal);
    }
  }

  /** Until the container ends, is released, is let go, or its health checks have failed for long. */
  async #supervise(): Promise<ExitStatus | 'unhealthy'> {
    const id = this.#container!;
    const { runtime } = this.#components;
    const over = new AbortController();
    const signal = AbortSignal.any([this.#signal, over.signal]);
    try {
      return await Promise.race([runtime.wait(id, { signal }), this.#watchHealth(id, signal)]);
    } finally {
      over.abort();
    }
  }

  async #watchHealth(id: string, signal: AbortSignal): Promise<'unhealthy'> {
    const { health } = this.spec;
    const { clock, runtime } = this.#components;
    const [first] = this.spec.ports;
    const named =
      health.port === undefined ? first : this.spec.ports.find(({ port }) => port === health.port);
    let failures = 0;
    let isCarriedOut = true;
    if (health.kind === 'none') {
      await pause(clock, STEADY_MS, signal);
      if (!signal.aborted) await this.#tell({ health: 'healthy' });
      return await never();
    }
    while (!signal.aborted) {
      const healthy = await checkHealth(
        health,
        {
          address: this.#body.address ?? '127.0.0.1',
          port: (named && this.#body.ports[named.name]) ?? health.port,
          exec: async (argv, limit) =>
            (await runtime.exec(id, argv, { onOutput: () => {}, signal: limit })).code,
        },
        signal,
      ).catch((error: Error) => error);
      if (signal.aborted) break;
      if (healthy instanceof Error) {
        // A host whose disk is full must not stop what runs well for it.
        if (isCarriedOut)
          this.#components.log('warn', 'a health check could not be carried out', {
            ...{ slot: this.slot, error: healthy.message },
          });
      } else {
        failures = healthy ? 0 : failures + 1;
        const verdict = healthy ? 'healthy' : failures >= health.retries ? 'unhealthy' : this.#body.health;
        if (verdict !== this.#body.health) await this.#tell({ health: verdict });
        if (failures >= health.retries * UNHEALTHY_RESTART_FACTOR) return 'unhealthy';
      }
      isCarriedOut = !(healthy instanceof Error);
      // Until it is healthy for the first time, look often: a start is not delayed by the interval.
      await pause(
        clock,
        this.#body.health === 'unknown' && isCarriedOut
          ? Math.min(100, health.interval_ms)
          : health.interval_ms,
        signal,
      );
    }
    return await never();
  }

  async #stop(): Promise<void> {
    await this.#tell({ phase: 'stopping', reason: this.#releaseReason });
    if (await this.removeUntilGone()) await this.#end('stopped', this.#releaseReason);
  }

  async #end(
    phase: 'stopped' | 'failed',
    reason: string,
    exitCode: number | null = this.#body.exitCode,
  ): Promise<void> {
    await this.#tell({ phase, health: 'unhealthy', reason, exitCode });
    if (this.#container !== undefined) await this.#components.network.detach(this.#container).catch(() => {});
  }

  /**
   * Stops the container of the latest attempt, if there is one, and removes it with its log. What has ended and cannot be
   * removed is in nobody's way.
   * @returns undefined: none runs any more; else why it does.
   */
  async removeContainer(): Promise<string | undefined> {
    const id = this.#container;
    if (id === undefined) return undefined;
    const { runtime, network, log, onRemains } = this.#components;
    const stopped = runtime.stop(id, { grace_ms: this.spec.stop_grace_ms }).then(
      () => undefined,
      (error: unknown) => (isShoalError(error, 'E_NOT_FOUND') ? undefined : String(error)),
    );
    // The end of a daemon waits for no container.
    const over = new AbortController();
    const why = await Promise.race([stopped, aborted(this.#detach.signal, over.signal)]);
    over.abort();
    if (why !== undefined) {
      if (!this.#detach.signal.aborted) log('warn', 'a container cannot be stopped', { id, error: why });
      return why;
    }
    try {
      await runtime.remove(id);
    } catch (error) {
      if (!isShoalError(error, 'E_NOT_FOUND')) onRemains(id, error);
    }
    await network.detach(id).catch((error: unknown) => {
      log('warn', 'a container could not be taken off the network', { id, error: String(error) });
    });
    if (this.#container === id) this.#container = undefined;
    return undefined;
  }

  /** Tries until none runs. @returns false when the signal aborts before. */
  async removeUntilGone(signal: AbortSignal = this.#detach.signal): Promise<boolean> {
    return await untilGone(this.#components.clock, signal, async () => {
      const why = await this.removeContainer();
      if (why !== undefined && !this.ended && !signal.aborted)
        await this.#tell({ health: 'unhealthy', reason: `its container cannot be stopped: ${why}` });
      return why === undefined;
    });
  }

  /** DNS and names inside the container, where its network differs from the host's. */
  #mounts(id: string, attachment: Attachment): Mount[] {
    if (attachment.netns === null) return [];
    const directory = path.join(this.#components.directory, id);
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    const host = `${this.spec.name}-${this.#body.index}`.slice(0, 63);
    const files: Record<string, string> = {
      hosts: `127.0.0.1 localhost\n::1 localhost\n${attachment.address} ${host}\n`,
      ...(attachment.resolver === null
        ? {}
        : {
            'resolv.conf': `nameserver ${attachment.resolver}\nsearch ${this.spec.namespace}.internal internal\noptions ndots:1\n`,
          }),
    };
    return Object.entries(files).map(([name, text]) => {
      const source = path.join(directory, name);
      writeFileSync(source, text, { mode: 0o644 });
      return { source, destination: `/etc/${name}`, readonly: true };
    });
  }

  async #tell(change: Partial<AllocationBody>): Promise<void> {
    const body = { ...this.#body, ...change };
    this.#body = { ...body, reason: body.reason?.slice(0, REASON_LENGTH_MAX) ?? null };
    const { record, log } = this.#components;
    try {
      await record(this.slot, this.#body);
    } catch (error) {
      log('warn', 'the state of an instance could not be recorded', {
        slot: this.slot,
        error: String(error),
      });
    }
  }
}

/** Resolves when `signal` aborts. @param over when nobody listens any more. */
function aborted(signal: AbortSignal, over: AbortSignal): Promise<string> {
  return new Promise((resolve) => {
    const end = () => resolve('the daemon stopped');
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true, signal: over });
  });
}

/** The other side of a race ends it. */
function never(): Promise<never> {
  return new Promise(() => {});
}

/** Trying again here cannot help. */
function isFinal(error: ShoalError): boolean {
  return ['E_BAD_SPEC', 'E_COMMAND_NOT_FOUND', 'E_LAYER_HOSTILE', 'E_IMAGE_UNKNOWN', 'E_DISK_FULL'].includes(
    error.code,
  );
}
