/** Processes of this machine, from /proc: which belong to a host of the demo, and what they cost. */
import { readdirSync, readFileSync } from 'node:fs';
import { readProcess } from '../../daemon/runtime/proc.ts';

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** @returns living processes that `isRoot` says yes to, and all that descend from them; never this one. */
export function processTrees(isRoot: (pid: number, commandLine: string) => boolean): number[] {
  const children = new Map<number, number[]>();
  const roots: number[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const { state, parent } = stateOf(pid);
    if (!state || state === 'Z' || state === 'X') continue;
    children.set(parent, [...(children.get(parent) ?? []), pid]);
    if (isRoot(pid, read(`/proc/${pid}/cmdline`).replaceAll('\0', ' '))) roots.push(pid);
  }
  const found = new Set<number>();
  const open = roots;
  for (let pid = open.pop(); pid !== undefined; pid = open.pop()) {
    if (found.has(pid) || pid === process.pid) continue;
    found.add(pid);
    open.push(...(children.get(pid) ?? []));
  }
  return [...found];
}

/** @returns 0 for a process that is gone. */
export function parentOf(pid: number): number {
  return stateOf(pid).parent;
}

/** Source: proc(5), /proc/pid/stat. The name in parentheses may hold anything. */
function stateOf(pid: number): { state: string | undefined; parent: number } {
  const stat = read(`/proc/${pid}/stat`);
  const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state, parent: Number(parent ?? 0) };
}

export function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
}

/** Proportional set size, bytes. Source: Documentation/filesystems/proc.rst, smaps_rollup. */
export function proportionalBytes(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) * 1024;
}

/** CPU time so far, milliseconds. */
export function cpuMilliseconds(pid: number): number {
  return (readProcess(pid)?.cpu_ns ?? 0) / 1e6;
}
