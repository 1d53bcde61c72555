/** What this host is and has: its address, its name, its capacity. Used where the options say nothing. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import { LABEL_PATTERN } from '../protocols/base/label.ts';
import type { Resources } from '../protocols/base/workload.ts';
import type { DaemonOptions, Listen } from './config/options.ts';
import { listenError } from './listen-error.ts';

/** Of the host's memory, what workloads may have; the rest is for the system and this daemon. */
const MEMORY_SHARE = 0.9;
/** Of the host while no other is known. */
const LOOPBACK = '127.0.0.1';
/** So often an address that is not there is looked for, for a minute, before one of any other interface takes its place. */
const LOOKS_MAX = 12;
const INTERFACES_DIRECTORY = '/sys/class/net';

/** An RFC 1123 label from the host's name. */
export function hostName(): string {
  const name = os
    .hostname()
    .split('.', 1)[0]!
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, '-');
  return new RegExp(LABEL_PATTERN).test(name) ? name : 'node';
}

type Interfaces = ReturnType<typeof os.networkInterfaces>;

/** What the kernel says; given by tests. */
export interface HostNetworkFacts {
  readonly interfaces: () => Interfaces;
  /** Names of interfaces with a default route. */
  readonly defaultRoutes: () => readonly string[];
  /** Whether an interface leads to containers, or to virtual machines, and to no other host. */
  readonly isForContainers: (name: string) => boolean;
}

const KERNEL: HostNetworkFacts = {
  interfaces: () => os.networkInterfaces(),
  defaultRoutes: defaultRouteInterfaces,
  isForContainers,
};

/**
 * The address that other hosts reach this one at: as given, as listened on, or that of the default route, which may
 * become another while the daemon runs. Without a default route it is where this host was before, or any other that is
 * not for containers, until there is one.
 */
export class HostAddress {
  readonly #facts: HostNetworkFacts;
  readonly #isFixed: boolean;
  #current: string;
  /** The interface that has it, or had it last; undefined: none has had it yet. */
  #interface: string | undefined;
  /** It came from a default route. */
  #isRouted = false;
  #looks = 0;
  /** The one that had it until it was gone for long, as when a cable is out: once it is back it has it again. */
  #left: string | undefined;

  constructor({ host, listen }: Pick<DaemonOptions, 'host' | 'listen'>, facts = KERNEL) {
    this.#facts = facts;
    const fixed = host ?? (isWildcard(listen.host) ? null : listen.host);
    this.#isFixed = fixed !== null;
    this.#current = fixed ?? LOOPBACK;
    if (fixed !== null) return;
    const interfaces = facts.interfaces();
    this.#isRouted = this.#take(interfaces, facts.defaultRoutes());
    if (!this.#isRouted) this.#takeAny(interfaces);
  }

  get current(): string {
    return this.#current;
  }

  /** To be called before the address is used. @param last where this host was reached before. */
  begin(last: string): void {
    if (this.#isFixed || this.#isRouted || !net.isIP(last) || last === LOOPBACK) return;
    const holder = holderOf(this.#facts.interfaces(), last);
    if (holder !== undefined && this.#facts.isForContainers(holder)) return;
    this.#current = last;
    this.#interface = holder;
  }

  /**
   * Looks whether this host still has it. While it has none in its place, as when a cable is out, the old one stays; that
   * of another interface takes its place at once by a default route, and without one after a while.
   * @returns whether it is another one from now on.
   */
  look(): boolean {
    if (this.#isFixed) return false;
    const before = this.#current;
    const interfaces = this.#facts.interfaces();
    const holder = holderOf(interfaces, before);
    if (holder !== undefined) this.#looks = 0;
    if (holder !== undefined && this.#isRouted) return false;
    this.#interface = holder ?? this.#interface;
    const routed = this.#facts.defaultRoutes();
    if (holder !== undefined && routed.includes(holder)) this.#isRouted = true;
    else if (this.#take(interfaces, routed)) this.#isRouted = true;
    else if (this.#left !== undefined && this.#take(interfaces, [this.#left])) this.#left = undefined;
    else if (holder === undefined) this.#replace(interfaces);
    return this.#current !== before;
  }

  /** It is gone, or was never there, and there is no default route. */
  #replace(interfaces: Interfaces): void {
    const last = this.#interface;
    if (last === undefined || !this.#take(interfaces, [last])) {
      this.#looks += 1;
      if (this.#looks < LOOKS_MAX || !this.#takeAny(interfaces)) return;
      this.#left = last;
    }
    this.#isRouted = false;
  }

  #takeAny(interfaces: Interfaces): boolean {
    const names = Object.keys(interfaces).filter((name) => !this.#facts.isForContainers(name));
    return this.#take(interfaces, names);
  }

  #take(interfaces: Interfaces, names: readonly string[]): boolean {
    for (const name of names) {
      const found = interfaces[name]?.find(({ internal, family }) => !internal && family === 'IPv4');
      if (found === undefined) continue;
      this.#interface = name;
      this.#current = found.address;
      return true;
    }
    return false;
  }
}

export function hostCapacity(given: DaemonOptions['capacity']): Resources {
  return {
    cpu_millis: given.cpu_millis ?? os.availableParallelism() * 1000,
    memory_bytes: given.memory_bytes ?? Math.floor(os.totalmem() * MEMORY_SHARE),
  };
}

export function multiaddr({ host, port }: Listen): string {
  return `/${net.isIPv6(host) ? 'ip6' : 'ip4'}/${host}/tcp/${port}`;
}

/**
 * @throws E_PORT_IN_USE, E_PORT_DENIED, E_ADDRESS_NOT_HERE, E_NETWORK_FAILED when they cannot all be listened on at a
 * time. A port 0 is not looked at.
 */
export async function assertBindable(listeners: readonly Listen[]): Promise<void> {
  await using held = new AsyncDisposableStack();
  for (const { host, port } of listeners.filter((each) => each.port !== 0)) {
    const server = net.createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(listenError('the mesh', host, port, error)));
      server.listen({ host, port, exclusive: true }, resolve);
    });
    held.use(server);
  }
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** The interface by which this host has an address; none for one that means something else on every host. */
function holderOf(interfaces: Interfaces, address: string): string | undefined {
  return Object.keys(interfaces).find((name) =>
    interfaces[name]?.some((found) => !found.internal && found.address === address),
  );
}

/**
 * The end of a VXLAN, the host's end of a veth pair as container engines name it, or a bridge with no hardware behind.
 * Source: Linux, Documentation/ABI/testing/sysfs-class-net.
 */
function isForContainers(name: string): boolean {
  if (name.startsWith('veth')) return true;
  try {
    const facts = readFileSync(`${INTERFACES_DIRECTORY}/${name}/uevent`, 'utf8');
    const [, type] = /^DEVTYPE=(.*)$/m.exec(facts) ?? [];
    return type === 'vxlan' || (type === 'bridge' && !hasHardware(name));
  } catch {
    return false;
  }
}

/** Of its own, or below, as a bridge over a bond has. */
function hasHardware(name: string): boolean {
  const directory = `${INTERFACES_DIRECTORY}/${name}`;
  if (existsSync(`${directory}/device`)) return true;
  const lower = readdirSync(directory).filter((entry) => entry.startsWith('lower_'));
  return lower.some((entry) => hasHardware(entry.slice('lower_'.length)));
}

/** Source: proc(5), /proc/net/route; destination 00000000 is the default route. */
function defaultRouteInterfaces(): string[] {
  try {
    const rows = readFileSync('/proc/net/route', 'utf8').trim().split('\n').slice(1);
    return rows
      .map((row) => row.split('\t'))
      .filter((row) => row[1] === '00000000')
      .map((row) => row[0]!);
  } catch {
    return [];
  }
}
