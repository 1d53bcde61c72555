/**
 * Our daemons on test hosts. What a daemon holds of the others is asked over its API: at once when its database was
 * written, which every record does that it takes, and every 50 ms besides. So its times come out later than they were,
 * by some milliseconds up to that, and never earlier.
 */
import { type FSWatcher, watch } from 'node:fs';
import { get, Agent as HttpAgent } from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeInfo } from '../../../daemon/api/schemas.ts';
import { type ShoalHost, ShoalHosts, whyNot } from '../../../test/hosts/shoal-hosts.ts';
import { processTrees } from '../../demo-parts/processes.ts';
import { type HostCluster, hostNumbers, type Sight } from './host-cluster.ts';

/** Between two questions when nothing was written. */
const ASK_MS = 50;
/** From a database that was written to the view that follows from it. */
const DERIVE_MS = 2;

/** Why our daemons cannot run on test hosts here; null when they can. */
export async function shoalWhyNot(): Promise<string | null> {
  return (await whyNot()) || null;
}

export async function createShoalCluster(hosts_count: number): Promise<HostCluster> {
  return new ShoalCluster(await ShoalHosts.create(hosts_count));
}

/** Asks one daemon for its members over one connection that is kept. */
class Observer implements Disposable {
  readonly #host: ShoalHost;
  readonly #connection = new HttpAgent({ keepAlive: true, maxSockets: 1 });
  readonly #wakers = new Set<() => void>();
  readonly #watcher: FSWatcher;

  constructor(host: ShoalHost) {
    this.#host = host;
    this.#watcher = watch(path.join(host.directory, 'data'), (_, file) => {
      if (file === 'state.db-wal') for (const wake of [...this.#wakers]) wake();
    });
    this.#watcher.on('error', () => {});
  }

  async until(wanted: (nodes: readonly NodeInfo[]) => boolean, signal: AbortSignal): Promise<number> {
    for (;;) {
      const nodes = await this.#nodes(signal);
      if (nodes !== undefined && wanted(nodes)) return performance.now();
      await this.#pause(signal);
    }
  }

  /** As `until`, for what cannot be so yet: a question now would only be in the way. */
  async soon(wanted: (nodes: readonly NodeInfo[]) => boolean, signal: AbortSignal): Promise<number> {
    await this.#pause(signal);
    return await this.until(wanted, signal);
  }

  [Symbol.dispose](): void {
    this.#watcher.close();
    this.#connection.destroy();
  }

  /** @returns undefined when the daemon does not answer. */
  #nodes(signal: AbortSignal): Promise<NodeInfo[] | undefined> {
    return new Promise((resolve, reject) => {
      const options = { socketPath: this.#host.socket, path: '/v1/nodes', headers: { host: 'localhost' } };
      const request = get({ ...options, agent: this.#connection, signal }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () => resolve(response.statusCode === 200 ? JSON.parse(text) : undefined));
        response.on('error', () => resolve(undefined));
      });
      request.on('error', () => (signal.aborted ? reject(signal.reason) : resolve(undefined)));
    });
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const wake = () => woken.abort();
    this.#wakers.add(wake);
    try {
      await sleep(ASK_MS, undefined, { signal: AbortSignal.any([signal, woken.signal]) });
    } catch {
      signal.throwIfAborted();
      await sleep(DERIVE_MS);
    } finally {
      this.#wakers.delete(wake);
    }
  }
}

class ShoalCluster implements HostCluster {
  readonly name = 'shoal';
  readonly #hosts: ShoalHosts;
  readonly #numbers: readonly number[];
  readonly #observers = new Map<number, Observer>();

  constructor(hosts: ShoalHosts) {
    this.#hosts = hosts;
    this.#numbers = hostNumbers(hosts.net.count);
  }

  get net() {
    return this.#hosts.net;
  }

  async start(numbers: readonly number[]): Promise<void> {
    await this.#hosts.startDaemons(numbers);
    for (const number of numbers) {
      this.#observers.get(number)?.[Symbol.dispose]();
      this.#observers.set(number, new Observer(this.#hosts.host(number)));
    }
  }

  async form(): Promise<void> {
    const [first, ...others] = this.#numbers.map((number) => this.#hosts.host(number).api);
    await first!.init({});
    const { token } = await first!.createToken({ uses: others.length });
    await Promise.all(others.map((api) => api.join({ token })));
  }

  async sees(observer: number, wanted: (sight: Sight) => boolean, signal: AbortSignal): Promise<number> {
    return await this.#observer(observer).until((nodes) => wanted(sightOf(nodes)), signal);
  }

  /** Its own intent: an `intent` record, durable before the answer. Asked for when the request is sent. */
  async write(from: number, signal: AbortSignal): Promise<{ asked_ms: number; known_ms: number }> {
    const { api, name } = this.#hosts.host(from);
    const before = (await api.nodes({ signal })).find((node) => node.name === name)?.intent;
    const intent = before === 'active' ? 'cordoned' : 'active';
    const known = (nodes: readonly NodeInfo[]) =>
      nodes.some((node) => node.name === name && node.intent === intent);
    const asked_ms = performance.now();
    const others = this.#numbers.filter((number) => number !== from);
    const [, ...times_ms] = await Promise.all([
      api.setIntent(name, intent, { signal }),
      ...others.map((number) => this.#observer(number).soon(known, signal)),
    ]);
    return { asked_ms, known_ms: Math.max(...(times_ms as number[])) };
  }

  async revoke(victim: number, signal: AbortSignal): Promise<number> {
    const [first] = this.#numbers.map((number) => this.#hosts.host(number));
    const asked_ms = performance.now();
    await first!.api.revokeNode(this.#hosts.host(victim).name, { reason: 'a benchmark' }, { signal });
    return asked_ms;
  }

  kill(number: number): number {
    this.#hosts.host(number).daemon?.kill('SIGKILL');
    return performance.now();
  }

  processes(number: number): readonly number[] {
    const pid = this.#hosts.host(number).daemon?.pid;
    return processTrees((candidate) => candidate === pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const observer of this.#observers.values()) observer[Symbol.dispose]();
    await this.#hosts[Symbol.asyncDispose]();
  }

  #observer(number: number): Observer {
    const observer = this.#observers.get(number);
    if (observer === undefined) throw new RangeError(`no daemon on host ${number}`);
    return observer;
  }
}

function sightOf(nodes: readonly NodeInfo[]): Sight {
  return new Map(
    nodes
      .filter(({ name, status }) => /^host\d+$/.test(name) && status !== 'suspect')
      .map(({ name, status }) => [Number(name.slice('host'.length)), status as 'alive' | 'failed']),
  );
}
