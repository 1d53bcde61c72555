/** Three hosts without root: loopback addresses of their own, ports that are free, and the `process` driver. */
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import type { Place } from './place.ts';

interface Ports {
  readonly mesh: number;
  readonly door: number;
  readonly dns: number;
}

function addressOf(host: number): string {
  return `127.0.0.${10 + host}`;
}

/** @returns ports that could be bound just now, all different. */
async function freePorts(address: string, count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(0, address, resolve);
      });
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** A port that is free on the addresses of all hosts. */
export async function commonPort(hosts_count: number): Promise<number> {
  for (;;) {
    const [port = 0] = await freePorts(addressOf(1), 1);
    const tries = Array.from({ length: hosts_count }, async (_, at) => {
      const server = createServer();
      return await new Promise<boolean>((resolve) => {
        server.once('error', () => resolve(false));
        server.listen(port, addressOf(at + 1), () => server.close(() => resolve(true)));
      });
    });
    if ((await Promise.all(tries)).every(Boolean)) return port;
  }
}

/** @throws Error when the loopback addresses cannot be listened on. */
export async function createLoopbackPlace(hosts_count: number): Promise<Place> {
  const ports: Ports[] = [];
  for (let host = 1; host <= hosts_count; host++) {
    const [mesh = 0, door = 0, dns = 0] = await freePorts(addressOf(host), 3);
    ports.push({ mesh, door, dns });
  }
  const of = (host: number): Ports => {
    const found = ports[host - 1];
    if (!found) throw new RangeError(`no host ${host}`);
    return found;
  };
  return {
    kind: 'embedded',
    about: 'loopback addresses, plain processes without isolation',
    address: addressOf,
    dns: (host) => ({ address: addressOf(host), port: of(host).dns }),
    daemonFlags(host) {
      const { mesh, door, dns } = of(host);
      const on = (port: number) => `${addressOf(host)}:${port}`;
      return ['--driver', 'process', '--listen', on(mesh), '--door', on(door), '--dns', on(dns)];
    },
    spawn: (_host, [program = '', ...argv], options) => spawn(program, argv, options),
    holds: () => false,
    sweep: async () => {},
    remains: () => [],
    [Symbol.asyncDispose]: async () => {},
  };
}
