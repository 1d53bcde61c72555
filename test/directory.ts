/**
 * Directories of tests. Their names carry the pid of their process, so that a later run can take away what one that was
 * killed has left. Those of test hosts are in test/hosts.
 */
import { readdirSync, readlinkSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Test } from 'tap';

const PREFIX = `shoal-test-${pidNamespace()}-`;
const swept = new Set<string>();

/** Goes with its test. */
export async function directoryIn(parent: string, t: Test): Promise<string> {
  if (!swept.has(parent)) sweep(parent);
  swept.add(parent);
  const directory = await mkdtemp(path.join(parent, `${PREFIX}${process.pid}-`));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Takes away what is of processes that have ended. */
export function sweep(parent: string): void {
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(PREFIX) || isRunning(Number.parseInt(name.slice(PREFIX.length), 10))) continue;
    rmSync(path.join(parent, name), { recursive: true, force: true });
  }
}

/** Pids mean something within one pid namespace only, and several may share these places. */
function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
  } catch {
    return '0';
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
