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

/** The address that other hosts reach this one at: as given, as listened on, or that of the default route. */
export function hostAddress({ host, listen }: Pick<DaemonOptions, 'host' | 'listen'>): string {
  if (host !== null) return host;
  if (!isWildcard(listen.host)) return listen.host;
  const interfaces = os.networkInterfaces();
  const names = [...defaultRouteInterfaces(), ...Object.keys(interfaces)];
  for (const name of names) {
    const address = interfaces[name]?.find(({ internal, family }) => !internal && family === 'IPv4');
    if (address !== undefined) return address.address;
  }
  return '127.0.0.1';
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
