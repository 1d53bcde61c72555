/**
 * Where the cgroups of containers are and what they say, on v1, v2 and hybrid hosts. Limits are not set here: the OCI
 * runtime does that from its config. Source: kernel Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
 */
import { existsSync, readFileSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import type { ContainerStats } from './runtime.ts';

const V1_CONTROLLERS = new Set(['cpu', 'cpuacct', 'memory', 'pids', 'freezer', 'blkio', 'cpuset', 'devices']);
const REMOVE_TRIES_MS = [0, 5, 20, 50, 100];

export interface CgroupMounts {
  /** Mount point per v1 controller. */
  readonly v1: ReadonlyMap<string, string>;
  readonly v2: string | null;
  /** All mount points, for removing. */
  readonly all: readonly string[];
}

/** @param mountinfo The text of /proc/self/mountinfo. */
export function parseCgroupMounts(mountinfo: string): CgroupMounts {
  const v1 = new Map<string, string>();
  const all = new Set<string>();
  let v2: string | null = null;
  for (const line of mountinfo.split('\n')) {
    const [left, right] = line.split(' - ', 2);
    const target = left?.split(' ')[4];
    const [type, , options] = right?.split(' ') ?? [];
    if (target === undefined || (type !== 'cgroup' && type !== 'cgroup2')) continue;
    all.add(target);
    if (type === 'cgroup2') v2 ??= target;
    else
      for (const option of options?.split(',') ?? [])
        if (V1_CONTROLLERS.has(option) && !v1.has(option)) v1.set(option, target);
  }
  return { v1, v2, all: [...all] };
}

export function readCgroupMounts(): CgroupMounts {
  return parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'));
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

/** The number after `key` in a flat keyed file. */
function field(text: string | null, key: string): number | null {
  const match = new RegExp(`^${key} (\\d+)$`, 'm').exec(text ?? '');
  return match ? Number(match[1]) : null;
}

/** @param cgroup Such as `/shoal-a/web`. Null when there is no such cgroup. */
export function cgroupStats(mounts: CgroupMounts, cgroup: string): ContainerStats | null {
  const inV1 = (controller: string, file: string): string | null => {
    const mount = mounts.v1.get(controller);
    return mount === undefined ? null : read(path.join(mount, cgroup, file));
  };
  const inV2 = (file: string): string | null =>
    mounts.v2 === null ? null : read(path.join(mounts.v2, cgroup, file));
  const cpuV1 = inV1('cpuacct', 'cpuacct.usage');
  const cpuV2_us = field(inV2('cpu.stat'), 'usage_usec');
  const usage = inV1('memory', 'memory.usage_in_bytes') ?? inV2('memory.current');
  const cache = mounts.v1.has('memory')
    ? field(inV1('memory', 'memory.stat'), 'total_inactive_file')
    : field(inV2('memory.stat'), 'inactive_file');
  const pids = inV1('pids', 'pids.current') ?? inV2('pids.current');
  if (cpuV1 === null && cpuV2_us === null && usage === null) return null;
  return {
    cpu_ns: cpuV1 === null ? (cpuV2_us ?? 0) * 1000 : Number(cpuV1),
    // Without cache that the kernel can take back at will.
    memory_bytes: Math.max(0, Number(usage ?? 0) - (cache ?? 0)),
    pids: Number(pids ?? 0),
  };
}

/** How many processes of the cgroup the kernel has killed for want of memory; 0 when it cannot be known. */
export function cgroupOomKills(mounts: CgroupMounts, cgroup: string): number {
  const v1 = mounts.v1.get('memory');
  if (v1 !== undefined) return field(read(path.join(v1, cgroup, 'memory.oom_control')), 'oom_kill') ?? 0;
  return mounts.v2 === null
    ? 0
    : (field(read(path.join(mounts.v2, cgroup, 'memory.events')), 'oom_kill') ?? 0);
}

/** Whether memory and swap can be limited together: v1 without swap accounting refuses. */
export function limitsSwap(mounts: CgroupMounts): boolean {
  const v1 = mounts.v1.get('memory');
  return v1 === undefined || existsSync(path.join(v1, 'memory.memsw.limit_in_bytes'));
}

/** Removes a cgroup from every hierarchy where it is empty; synchronous, so that nothing can come in between. */
export function removeCgroup(mounts: CgroupMounts, cgroup: string): boolean {
  let gone = true;
  for (const mount of mounts.all)
    try {
      rmdirSync(path.join(mount, cgroup));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') gone = false;
    }
  return gone;
}

/** As `removeCgroup`, tried again for a moment: the kernel may still be letting go of the last process. */
export async function removeCgroupSoon(mounts: CgroupMounts, cgroup: string): Promise<boolean> {
  for (const pause_ms of REMOVE_TRIES_MS) {
    if (pause_ms > 0) await new Promise((resolve) => setTimeout(resolve, pause_ms));
    if (removeCgroup(mounts, cgroup)) return true;
  }
  return false;
}
