/** One health check of one instance: true or false within its timeout, or no verdict. Not here: counting, and what follows from it. */
import http from 'node:http';
import net from 'node:net';
import { isShoalError } from '../../protocols/base/errors.ts';
import type { Health } from '../../protocols/base/workload.ts';

export interface HealthTarget {
  readonly address: string;
  /** The port to use where the check names none or names a container port that was mapped. */
  readonly port: number | undefined;
  readonly exec: (argv: readonly string[], signal: AbortSignal) => Promise<number>;
}

/** What the host has run out of, or its disk refuses: says nothing of the instance. errno(3) */
const HOST_FAULTS = new Set([
  ...['EAGAIN', 'EDQUOT', 'EIO', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'ENOSPC', 'EROFS'],
]);
/** The same where a program says it that the driver uses. A container at a limit of its own is none of them. */
const HOST_FAULT_WORDS =
  /no space left on device|disk quota exceeded|read-only file system|input\/output error|too many open files in system/i;

/** Whatever goes wrong is unhealthy. @throws what kept the check from being carried out, which is no verdict */
export async function checkHealth(
  health: Health,
  target: HealthTarget,
  signal: AbortSignal,
): Promise<boolean> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(health.timeout_ms)]);
  try {
    switch (health.kind) {
      case 'none':
        return true;
      case 'tcp':
        return await connects(target, limit);
      case 'http':
        return await answers(target, health.path ?? '/', limit);
      case 'exec':
        return (await target.exec(health.command ?? [], limit)) === 0;
    }
  } catch (error) {
    // In time nothing came of it, whatever the reason is.
    if (!limit.aborted && isHostFault(error)) throw error;
    return false;
  }
}

function isHostFault(error: unknown): boolean {
  const { code, cause, message } = error as NodeJS.ErrnoException;
  if (!isShoalError(error, 'E_RUNTIME_FAILED')) return HOST_FAULTS.has(code ?? '');
  return cause === undefined ? HOST_FAULT_WORDS.test(message) : isHostFault(cause);
}

function connects({ address, port }: HealthTarget, signal: AbortSignal): Promise<boolean> {
  if (port === undefined) return Promise.resolve(false);
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: address, port });
    const done = (healthy: boolean) => {
      signal.removeEventListener('abort', unhealthy);
      socket.destroy();
      resolve(healthy);
    };
    const unhealthy = () => done(false);
    signal.addEventListener('abort', unhealthy, { once: true });
    socket.once('connect', () => done(true));
    socket.once('error', (error) => {
      if (isHostFault(error)) reject(error);
      unhealthy();
    });
  });
}

/** Healthy: any status from 200 to 399. The body is not read. */
function answers({ address, port }: HealthTarget, path: string, signal: AbortSignal): Promise<boolean> {
  if (port === undefined) return Promise.resolve(false);
  return new Promise((resolve, reject) => {
    const request = http.get({ host: address, port, path, agent: false, signal }, (response) => {
      response.destroy();
      resolve((response.statusCode ?? 500) >= 200 && (response.statusCode ?? 500) < 400);
    });
    request.once('error', reject);
  });
}
