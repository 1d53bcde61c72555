/**
 * What the kernel says of processes, from /proc (Linux only; proc(5)). A process is named by its pid and its start
 * time, so that a reused pid is never taken for the old one. A zombie counts as dead: whoever should reap it may be
 * slow.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks per second in /proc/<pid>/stat; fixed at 100 on every architecture of Linux (USER_HZ). */
const NS_PER_TICK = 1e7;

export interface ProcessStat {
  readonly pid: number;
  readonly state: string;
  readonly group: number;
  readonly session: number;
  readonly cpu_ns: number;
  /** Clock ticks since boot. */
  readonly startTime: string;
}

export function readProcess(pid: number): ProcessStat | null {
  try {
    return parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return null;
  }
}

/** Needs no descriptor. Another user's process is none of ours. */
function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** @param text The line of /proc/<pid>/stat. */
export function parseProcessStat(text: string): ProcessStat {
  // The name in parentheses may hold anything, so the fields are counted from the last parenthesis.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    pid: Number.parseInt(text, 10),
    state: fields[0] ?? 'X',
    group: Number(fields[2]),
    session: Number(fields[3]),
    cpu_ns: (Number(fields[11]) + Number(fields[12])) * NS_PER_TICK,
    startTime: fields[19] ?? '',
  };
}

/**
 * Whether this very process runs; without a start time any process of that pid counts, and so it does where /proc
 * cannot be read now.
 */
export function isAlive(pid: number, startTime: string | null): boolean {
  const stat = readProcess(pid);
  // Descriptors may have run out, which ends no process.
  if (!stat) return isThere(pid);
  if (stat.state === 'Z' || stat.state === 'X') return false;
  return startTime === null || stat.startTime === startTime;
}

/** All living processes of a session. */
export function processesOfSession(session: number): ProcessStat[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readProcess(Number(name)))
    .filter((stat) => stat !== null)
    .filter((stat) => stat.session === session && stat.state !== 'Z' && stat.state !== 'X');
}

/** Resident memory of a process, bytes; 0 for one that has ended. */
export function residentBytes(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Differs after each boot of the host. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}
