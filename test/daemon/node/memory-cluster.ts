/**
 * Whole nodes in this process: real composition, store, images, ledger, membership and scheduler; mesh, door and
 * runtime in memory, so that pairs can be cut and nodes killed. Everything is taken away after the test.
 */

import path from 'node:path';
import type { Test } from 'tap';
import type { Backend } from '../../../daemon/api/backend.ts';
import type { AllocationInfo } from '../../../daemon/api/schemas.ts';
import { type Clock, systemClock } from '../../../daemon/clock.ts';
import type { DaemonOptions } from '../../../daemon/config/options.ts';
import { signerFromSeed } from '../../../daemon/crypto.ts';
import type { HostNetworkFacts } from '../../../daemon/host-facts.ts';
import { type Log, silentLog } from '../../../daemon/log.ts';
import { type NodeComponents, ShoalNode } from '../../../daemon/node.ts';
import { createMemoryRuntime, MemoryHost } from '../../../daemon/runtime/memory-runtime.ts';
import type { Runtime } from '../../../daemon/runtime/runtime.ts';
import { isShoalError, ShoalError } from '../../../protocols/base/errors.ts';
import type { NodeId } from '../../../protocols/base/ids.ts';
import { MemoryNetwork } from '../../../protocols/mesh/memory-mesh.ts';
import type { Door, DoorInit, Knock } from '../../../protocols/mesh/mesh.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { eventually } from './eventually.ts';

/** An image of one small file; what it runs is for the memory driver. */
export const IMAGE = 'app:1';

export class MemoryCluster {
  readonly network = new MemoryNetwork();
  readonly directory: string;
  /** How far the clocks of all daemons are ahead of the host's: to let time go by between two moments. */
  ahead_ms = 0;
  /** How far the clock of each host is ahead of that, by its name. */
  readonly clocks_ms = new Map<string, number>();
  /** Set: what the kernel says of the hosts' addresses, which their daemons are then not told. */
  hostFacts: HostNetworkFacts | undefined;
  readonly #doors = new Map<string, DoorInit>();
  readonly #hosts = new Map<string, MemoryHost>();
  readonly #running = new Map<string, ShoalNode>();
  readonly #doorPorts = new Map<NodeId, number>();

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async create(t: Test): Promise<MemoryCluster> {
    const cluster = new MemoryCluster(await temporaryDirectory(t));
    // Clocks of daemons keep no process alive, and there is no socket here that would while a node starts.
    const alive = setInterval(() => {}, 1000);
    t.teardown(async () => {
      await Promise.all([...cluster.#running.keys()].map((name) => cluster.stop(name)));
      clearInterval(alive);
    });
    return cluster;
  }

  /** The same name again is the same host: data directory and containers are as they were left. */
  async start(
    name: string,
    given: Partial<DaemonOptions> = {},
    log: Log = silentLog,
    components: Partial<NodeComponents> = {},
  ): Promise<ShoalNode> {
    const options: DaemonOptions = {
      data: path.join(this.directory, name),
      socket: path.join(this.directory, `${name}.sock`),
      listen: { host: this.hostFacts === undefined ? '127.0.0.1' : '0.0.0.0', port: 0 },
      door: { host: '127.0.0.1', port: 0 },
      dns: [],
      name,
      labels: {},
      driver: 'process',
      host: null,
      capacity: { cpu_millis: 4000, memory_bytes: 4 * 2 ** 30 },
      upstream: [],
      mdns: false,
      logLevel: 'warn',
      ...given,
    };
    const node = await ShoalNode.start(options, {
      log,
      clock: this.#clockOf(name),
      runtime: this.runtimeOf(name),
      // The same address after every start, as real hosts have.
      createMesh: async (init) => {
        const mesh = await this.network.createMesh({ ...init, listen: [`/memory/${name}`] });
        const { hostFacts } = this;
        return hostFacts === undefined
          ? mesh
          : Object.assign(mesh, { addresses: () => listeningAt(hostFacts) });
      },
      createDoor: (init) => this.#createDoor(init),
      knock: this.#knock,
      ...(this.hostFacts !== undefined && { hostFacts: this.hostFacts }),
      ...components,
    });
    this.#running.set(name, node);
    return node;
  }

  #clockOf(name: string): Clock {
    const ahead_ms = () => this.ahead_ms + (this.clocks_ms.get(name) ?? 0);
    return { ...systemClock, now: () => systemClock.now() + ahead_ms() };
  }

  /** A driver that sees the containers of a host, as its daemon does. */
  runtimeOf(name: string): Runtime {
    const host = this.#hosts.get(name) ?? new MemoryHost();
    this.#hosts.set(name, host);
    return onTheHostsNetwork(createMemoryRuntime({ time: systemClock, host }));
  }

  /** Ends the daemon; its containers go on. */
  async stop(name: string): Promise<void> {
    const node = this.#running.get(name);
    this.#running.delete(name);
    await node?.[Symbol.asyncDispose]();
  }

  /** One node that began the cluster and those that joined it, all knowing each other, with an image. */
  async grow(...names: [string, ...string[]]): Promise<ShoalNode[]> {
    const [first, ...others] = names;
    const node = await this.start(first);
    await node.backend.init({});
    const nodes = [node];
    for (const name of others) {
      const joined = await this.start(name);
      const { token } = await node.backend.createToken({});
      await joined.backend.join({ token });
      nodes.push(joined);
    }
    for (const one of nodes) {
      await eventually(`${one.name} sees all members`, async () => {
        const members = await one.backend.nodes();
        return members.length === names.length && members.every(({ status }) => status === 'alive');
      });
    }
    await node.backend.buildImage(
      { directory: import.meta.dirname, name: IMAGE, entrypoint: ['run-forever'] },
      { signal: AbortSignal.timeout(20_000) },
    );
    for (const one of nodes) {
      await eventually(`${one.name} knows the image by its name`, async () => {
        const [image] = await one.backend.images();
        return image?.names.includes(IMAGE) === true;
      });
    }
    return nodes;
  }

  /** Every node of one side loses every node of the other. */
  cut(left: readonly ShoalNode[], right: readonly ShoalNode[]): void {
    for (const a of left) for (const b of right) this.network.cut(a.id, b.id);
  }

  heal(left: readonly ShoalNode[], right: readonly ShoalNode[]): void {
    for (const a of left) for (const b of right) this.network.heal(a.id, b.id);
  }

  async #createDoor(init: DoorInit): Promise<Door> {
    const { id } = signerFromSeed(init.seed);
    // The same port after every start, as real hosts have.
    const port = this.#doorPorts.get(id) ?? this.#doorPorts.size + 1;
    this.#doorPorts.set(id, port);
    const address = `/ip4/127.0.0.1/tcp/${port}/p2p/${id}`;
    this.#doors.set(address, init);
    return {
      addresses: () => [address],
      [Symbol.asyncDispose]: async () => void this.#doors.delete(address),
    };
  }

  readonly #knock: Knock = async ({ seed, addresses }, body) => {
    let last: unknown = new ShoalError('E_UNREACHABLE', 'nobody answers');
    for (const address of addresses) {
      try {
        const answer = this.#doors
          .get(address)
          ?.onKnock(signerFromSeed(seed).id, body, AbortSignal.timeout(10_000));
        if (answer !== undefined) return await answer;
      } catch (error) {
        if (!isShoalError(error, 'E_BUSY') && !isShoalError(error, 'E_TOKEN_UNKNOWN')) throw error;
        last = error;
      }
    }
    throw last;
  };
}

/** The memory driver could have networks of its own; nothing here may touch those of the host. */
function onTheHostsNetwork(runtime: Runtime): Runtime {
  return Object.assign(runtime, { isolatesNetwork: false });
}

/** As a mesh tells it that listens on 0.0.0.0. */
function listeningAt({ interfaces }: HostNetworkFacts): string[] {
  return Object.values(interfaces()).flatMap(
    (addresses) => addresses?.map(({ address }) => `/ip4/${address}/tcp/4747`) ?? [],
  );
}

/** Live instances of a workload as `node` sees them, by slot. */
export async function running(backend: Backend, workload: string): Promise<AllocationInfo[]> {
  const all = await backend.allocations({ namespace: 'default', workload });
  return all.filter(({ phase, nodeStatus }) => phase === 'running' && nodeStatus !== 'failed');
}
