/** What the demo runs as a service, and how its image comes to host 1: redis where there are containers, else HTTP. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import type { Protocol } from './client.ts';
import type { DemoHosts } from './demo-hosts.ts';

/** Bump the number when make-image.sh makes something else. */
const REDIS_LAYOUT = 'redis-7-v1';
/** Enough to be shared in pieces. */
const PAYLOAD_BYTES = 24_000_000;

export interface Subject {
  /** Name of the workload. */
  readonly name: string;
  readonly image: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** Brings the image to host 1, and to no other. @returns what was done, for people. */
  publish(hosts: DemoHosts): Promise<string>;
}

/** Where made images are kept from run to run: $XDG_CACHE_HOME, else ~/.cache. */
function cacheDirectory(): string {
  return path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'shoal-demo');
}

function layoutDirectory(): string {
  return path.join(cacheDirectory(), REDIS_LAYOUT);
}

export function hasRedisLayout(): boolean {
  return existsSync(path.join(layoutDirectory(), 'index.json'));
}

/** Makes the redis image, or finds that of a former run. @returns the directory of its OCI layout. */
export async function redisLayout(signal: AbortSignal): Promise<string> {
  const target = layoutDirectory();
  const script = path.join(import.meta.dirname, '..', 'make-image.sh');
  const child = spawn(script, [target], { stdio: ['ignore', 'inherit', 'inherit'] });
  // It takes away its half-made image itself.
  const end = () => child.kill('SIGTERM');
  signal.addEventListener('abort', end, { once: true });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  signal.removeEventListener('abort', end);
  signal.throwIfAborted();
  if (code !== 0)
    throw new Error(
      `scripts/make-image.sh ended with ${code}; what it said is above (--embedded goes without it)`,
    );
  return target;
}

export function redisSubject(layout: string): Subject {
  return {
    name: 'redis',
    image: 'redis:7',
    protocol: 'redis',
    port: 6379,
    async publish(hosts) {
      await hosts.shoal(hosts.host(1), ['image', 'import', layout, '--name', 'redis:7']);
      return `redis:7 of Debian packages, imported as an OCI layout from ${layout}`;
    },
  };
}

/** @param port free on the addresses of all hosts. */
export function httpSubject(port: number): Subject {
  return {
    name: 'web',
    image: 'web:1',
    protocol: 'http',
    port,
    async publish(hosts) {
      const directory = path.join(hosts.host(1).directory, 'web');
      mkdirSync(path.join(directory, 'app'), { recursive: true });
      cpSync(path.join(import.meta.dirname, 'http-server'), path.join(directory, 'app'), { recursive: true });
      writeFileSync(path.join(directory, 'app', 'payload'), randomBytes(PAYLOAD_BYTES));
      const flags = [
        '--name',
        'web:1',
        '--workdir',
        '/app',
        '--entrypoint',
        'node',
        '--command',
        'server.mjs',
      ];
      await hosts.shoal(hosts.host(1), ['image', 'build', directory, ...flags]);
      return 'web:1, a small HTTP server and a payload of 24 MB, built with `shoal image build`';
    },
  };
}
