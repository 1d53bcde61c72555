/** What agents cost: memory, CPU and traffic, from /proc. Counters only; what is made of them is in the benchmarks. */
import { readFileSync } from 'node:fs';
import { cpuMilliseconds, proportionalBytes } from '../../demo-parts/processes.ts';

export interface Traffic {
  readonly received_bytes: number;
  readonly received_packets: number;
  readonly sent_bytes: number;
}

/** Of the network namespace that this process is in, on all links but loopback. Source: proc(5), /proc/net/dev. */
export function trafficOf(pid: number): Traffic {
  const total = { received_bytes: 0, received_packets: 0, sent_bytes: 0 };
  for (const line of readFileSync(`/proc/${pid}/net/dev`, 'utf8').split('\n').slice(2)) {
    const [name, rest] = line.split(':');
    // Container networks are carried by this one too: they would count twice.
    if (name?.trim() !== 'eth0') continue;
    const fields = rest!.trim().split(/\s+/).map(Number);
    total.received_bytes += fields[0]!;
    total.received_packets += fields[1]!;
    total.sent_bytes += fields[8]!;
  }
  return total;
}

export function cpuOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + cpuMilliseconds(pid), 0);
}

/** Proportional set size: pages that several processes share count by parts. Many agents on one machine flatter each. */
export function proportionalOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + proportionalBytes(pid), 0);
}

/**
 * What the proportional set size would be if each process were alone on its machine: all of its resident pages.
 * Source: proc(5), /proc/pid/status.
 */
export function residentOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return sum + Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
  }, 0);
}
