/**
 * Real daemons in network namespaces. All processes of a machine share its clock, so daemons are not asked while
 * something is measured: the stamps of records and the times at which they were taken in are in each daemon's history,
 * which is read afterwards, and what they hold of one another is in their logs.
 */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { ShoalHosts } from '../../test/hosts/shoal-hosts.ts';
import { cpuOf, trafficOf } from '../bench-parts/hosts/cost.ts';
import { hostNumbers, within } from '../bench-parts/hosts/host-cluster.ts';
import { processTrees } from '../demo-parts/processes.ts';
import { type CalibratedCluster, WRITE_PAUSE_MS, WRITES_SETTLE_MS } from './cluster.ts';
import { StatusLog } from './status-log.ts';

/** Between two looks at the logs. It is no part of what is measured. */
const LOOK_MS = 50;
const FORM_LOOK_MS = 500;
/** After the last host has joined: first probes, and records of the join, are over. */
const SETTLE_MS = 6_000;
/** Of each packet: nothing of the kind is simulated. */
const ETHERNET_BYTES = 14;
/** Past these something is wrong and not slow. */
const FORM_MS_MAX = 180_000;
const HELD_MS_MAX = 60_000;
const WRITTEN_MS_MAX = 30_000;

export class RealCluster implements CalibratedCluster {
  readonly nodes_count: number;
  readonly #hosts: ShoalHosts;
  readonly #signal: AbortSignal;
  readonly #logs = new Map<number, StatusLog>();
  readonly #isCordoned = new Set<number>();

  /** @throws Error when the machine refuses, or the cluster does not come about; nothing is left then. */
  static async create(nodes_count: number, signal: AbortSignal): Promise<RealCluster> {
    const hosts = await ShoalHosts.create(nodes_count);
    const cluster = new RealCluster(hosts, signal);
    try {
      await cluster.#form();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]().catch(() => {});
      throw error;
    }
  }

  private constructor(hosts: ShoalHosts, signal: AbortSignal) {
    this.#hosts = hosts;
    this.#signal = signal;
    this.nodes_count = hosts.net.count;
  }

  now_ms(): number {
    return Date.now();
  }

  async pass(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#signal });
  }

  received_bytes(): number[] {
    return this.#hosts.all.map(({ daemon }) => {
      const { received_bytes, received_packets } = trafficOf(daemon!.pid!);
      return received_bytes - received_packets * ETHERNET_BYTES;
    });
  }

  /** What is written is the intent of the writer's own node. Stamps are whole milliseconds. */
  async write(writers: readonly number[]): Promise<number[]> {
    const since_ms = this.now_ms();
    for (const writer of writers) {
      const { api, name } = this.#hosts.host(writer);
      const intent = this.#isCordoned.delete(writer) ? 'active' : 'cordoned';
      if (intent === 'cordoned') this.#isCordoned.add(writer);
      await api.setIntent(name, intent, { signal: this.#signal });
      await this.pass(WRITE_PAUSE_MS);
    }
    await this.pass(WRITES_SETTLE_MS);
    return await within('all records are on all nodes', WRITTEN_MS_MAX, this.#signal, async (limit) => {
      for (;;) {
        const times_ms = await this.#written(since_ms, writers.length, limit);
        if (times_ms !== undefined) return times_ms;
        await sleep(1000, undefined, { signal: limit });
      }
    });
  }

  kill(host: number): void {
    this.#hosts.host(host).daemon!.kill('SIGKILL');
  }

  async restart(host: number): Promise<void> {
    await this.#hosts.endDaemon(host, 'SIGKILL');
    this.#logs.get(host)!.reset();
    await this.#start([host]);
    const all = hostNumbers(this.nodes_count);
    await this.held(all, all, 'alive');
  }

  isolate(host: number): void {
    this.#hosts.net.isolate(host);
  }

  rejoin(host: number): void {
    this.#hosts.net.rejoin(host);
  }

  async held(
    observers: readonly number[],
    subjects: readonly number[],
    status: 'alive' | 'failed',
  ): Promise<number> {
    const what = `all hold ${subjects.map((host) => `host${host}`).join(', ')} as ${status}`;
    return await within(what, HELD_MS_MAX, this.#signal, async (limit) => {
      for (;;) {
        const since_ms = this.#heldSince_ms(observers, subjects, status);
        if (since_ms !== undefined) return since_ms;
        await sleep(LOOK_MS, undefined, { signal: limit });
      }
    });
  }

  /** Of all daemons so far, milliseconds. */
  cpu_ms(): number {
    const pids = new Set(this.#hosts.all.map(({ daemon }) => daemon?.pid));
    return cpuOf(processTrees((pid) => pids.has(pid)));
  }

  /** Of the path from one host to another and back, as their kernels see it: milliseconds; undefined when they do not say. */
  async roundTrip_ms(): Promise<number | undefined> {
    const { stdout } = await this.#hosts.net.exec(1, ['ss', '-tin', 'state', 'established']);
    const times = Array.from(stdout.matchAll(/ minrtt:([\d.]+)/g), ([, ms]) => Number(ms));
    return times.toSorted((a, b) => a - b)[times.length >> 1];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const log of this.#logs.values()) log[Symbol.dispose]();
    this.#logs.clear();
    await this.#hosts[Symbol.asyncDispose]();
  }

  /** As many at a time as there are cores: more would take longer, and time out. */
  async #form(): Promise<void> {
    const all = hostNumbers(this.nodes_count);
    for (const hosts of batches(all)) await this.#start(hosts);
    const [first, ...others] = this.#hosts.all;
    await first!.api.init({}, { signal: this.#signal });
    const { token } = await first!.api.createToken({ uses: others.length }, { signal: this.#signal });
    for (const batch of batches(others))
      await Promise.all(batch.map(({ api }) => api.join({ token }, { signal: this.#signal })));
    await within('all see all', FORM_MS_MAX, this.#signal, (limit) => this.#seenByAll(limit));
    for (const { number, log } of this.#hosts.all) this.#logs.set(number, new StatusLog(log));
    await this.pass(SETTLE_MS);
    await this.held(all, all, 'alive');
  }

  async #start(hosts: readonly number[]): Promise<void> {
    this.#signal.throwIfAborted();
    await this.#hosts.startDaemons(hosts, ['--driver', 'process', '--no-mdns', '--log-level', 'debug']);
  }

  async #seenByAll(signal: AbortSignal): Promise<void> {
    for (const { api } of this.#hosts.all) {
      while ((await api.status({ signal })).members.alive < this.nodes_count)
        await sleep(FORM_LOOK_MS, undefined, { signal });
    }
  }

  /** @returns undefined while some node lacks some record. */
  async #written(since_ms: number, count: number, signal: AbortSignal): Promise<number[] | undefined> {
    const records = new Map<string, { at_ms: number; seen_count: number; last_ms: number }>();
    for (const { api } of this.#hosts.all) {
      for (const { revision, at_ms, seen_ms } of await api.history(
        { kind: 'intent', since_ms },
        { signal },
      )) {
        const known = records.get(revision) ?? { at_ms, seen_count: 0, last_ms: at_ms };
        const last_ms = Math.max(known.last_ms, seen_ms);
        records.set(revision, { at_ms, seen_count: known.seen_count + 1, last_ms });
      }
    }
    const whole = [...records.values()].filter(({ seen_count }) => seen_count === this.nodes_count);
    return whole.length < count ? undefined : whole.map(({ at_ms, last_ms }) => last_ms - at_ms);
  }

  #heldSince_ms(
    observers: readonly number[],
    subjects: readonly number[],
    status: string,
  ): number | undefined {
    let since_ms = 0;
    for (const observer of observers) {
      const log = this.#logs.get(observer)!;
      log.read();
      for (const subject of subjects) {
        if (subject === observer) continue;
        const sight = log.sight(this.#hosts.host(subject).node) ?? { status: 'alive', since_ms: 0 };
        if (sight.status !== status) return undefined;
        since_ms = Math.max(since_ms, sight.since_ms);
      }
    }
    return since_ms;
  }
}

function batches<T>(list: readonly T[]): T[][] {
  const size = availableParallelism();
  return Array.from({ length: Math.ceil(list.length / size) }, (_, at) =>
    list.slice(at * size, (at + 1) * size),
  );
}
