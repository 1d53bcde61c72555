/** What this host is and has: its address, its name, its capacity. Used where the options say nothing. */
import { readFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import { ShoalError } from '../protocols/base/errors.ts';
import { LABEL_PATTERN, type Resources } from '../protocols/base/workload.ts';
import type { DaemonOptions, Listen } from './config/options.ts';

/** Of the host's memory, what workloads may have; the rest is for the system and this daemon. */
const MEMORY_SHARE = 0.9;

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
}

/**
 * The address that other hosts reach this one at: as given, as listened on, or that of the default route, which may
 * become another while the daemon runs.
 */
export class HostAddress {
  readonly #facts: HostNetworkFacts;
  readonly #isFixed: boolean;
  #current: string;
  /** The interface that has it; undefined: not looked for, or none. */
  #interface: string | undefined;

  constructor(
    { host, listen }: Pick<DaemonOptions, 'host' | 'listen'>,
    facts: HostNetworkFacts = {
      interfaces: () => os.networkInterfaces(),
      defaultRoutes: defaultRouteInterfaces,
    },
  ) {
    this.#facts = facts;
    const fixed = host ?? (isWildcard(listen.host) ? null : listen.host);
    this.#isFixed = fixed !== null;
    this.#current = fixed ?? '127.0.0.1';
    if (fixed !== null) return;
    const interfaces = facts.interfaces();
    this.#take(interfaces, [...facts.defaultRoutes(), ...Object.keys(interfaces)]);
  }

  get current(): string {
    return this.#current;
  }

  /**
   * Looks whether this host still has it. While it has none in its place, as when a cable is out, the old one stays.
   * @returns whether it is another one from now on.
   */
  look(): boolean {
    if (this.#isFixed) return false;
    const interfaces = this.#facts.interfaces();
    const all = Object.values(interfaces).flatMap((addresses) => addresses ?? []);
    const isThere = all.some(({ address }) => address === this.#current);
    if (isThere && this.#interface !== undefined) return false;
    const before = this.#interface === undefined ? [] : [this.#interface];
    return this.#take(interfaces, [...this.#facts.defaultRoutes(), ...before]);
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

/** @throws E_PORT_IN_USE, E_NETWORK_FAILED when one of them cannot be listened on. */
export async function assertBindable(listeners: readonly Listen[]): Promise<void> {
  for (const { host, port } of listeners) {
    if (port === 0) continue;
    await new Promise<void>((resolve, reject) => {
      const server = net.createServer();
      server.once('error', (error: NodeJS.ErrnoException) => {
        const code = error.code === 'EADDRINUSE' ? 'E_PORT_IN_USE' : 'E_NETWORK_FAILED';
        reject(
          new ShoalError(
            code,
            `cannot listen on ${host} port ${port}: ${error.message}; nothing was changed`,
          ),
        );
      });
      server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()));
    });
  }
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
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
