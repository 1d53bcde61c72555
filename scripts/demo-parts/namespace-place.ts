/**
 * Three hosts as root: network namespaces with addresses of their own on one bridge, and real containers. What shoal
 * names in the kernel by a node's id (network namespaces, cgroups) is found here again by the same rule.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import path from 'node:path';
import { networkNames } from '../../daemon/network/plan.ts';
import { runCommand } from '../../daemon/network/run-command.ts';
import { readCgroupMounts, removeCgroupSoon } from '../../daemon/runtime/cgroup.ts';
import { TestHosts } from '../../test/hosts/harness.ts';
import type { Place } from './place.ts';
import { processTrees } from './processes.ts';

const NETNS_DIRECTORY = '/run/netns';
const DNS_PORT = 53;

function hash(node: string, length: number): string {
  return createHash('sha256').update(node).digest('hex').slice(0, length);
}

function netnsNames(): string[] {
  return existsSync(NETNS_DIRECTORY) ? readdirSync(NETNS_DIRECTORY) : [];
}

/** @returns '' for a process that is gone. */
function networkOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return '';
  }
}

/** Of all containers of a node. */
function cgroupOf(node: string): string {
  return `/shoal-${hash(node, 8)}`;
}

/** Container namespaces of these nodes, by name. */
function netnsOf(nodes: readonly string[]): string[] {
  const prefixes = nodes.map((node) => networkNames(hash(node, 6)).netnsPrefix);
  return netnsNames().filter((name) => prefixes.some((prefix) => name.startsWith(prefix)));
}

/** Deepest first, as they must be removed. Paths below a hierarchy's mount point. */
function cgroupsOf(nodes: readonly string[]): string[] {
  const found = new Set<string>();
  for (const mount of readCgroupMounts().all) {
    for (const node of nodes) {
      const top = cgroupOf(node);
      if (!existsSync(path.join(mount, top))) continue;
      const below = readdirSync(path.join(mount, top), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => path.join(entry.parentPath, entry.name).slice(mount.length));
      for (const cgroup of [top, ...below]) found.add(cgroup);
    }
  }
  return [...found].sort((a, b) => b.length - a.length);
}

/** Takes away what the dead daemons of these node ids have left in the kernel. */
export async function sweepNodes(nodes: readonly string[]): Promise<void> {
  for (const name of netnsOf(nodes)) await runCommand(['ip', 'netns', 'del', name]);
  const mounts = readCgroupMounts();
  for (const cgroup of cgroupsOf(nodes)) await removeCgroupSoon(mounts, cgroup);
}

/** @throws Error when the machine refuses namespaces. */
export async function createNamespacePlace(hosts_count: number): Promise<Place> {
  return namespacePlace(await TestHosts.create(hosts_count));
}

/** The place takes the hosts over: it disposes of them. */
export function namespacePlace(hosts: TestHosts): Place {
  const numbers = Array.from({ length: hosts.count }, (_, at) => at + 1);
  // Those of the hosts, and of the switch between them.
  const prefix = path.basename(hosts.netns(1)).replace(/1$/, '');
  /** Those in a host's namespace while it is there: its number is given to the next namespace of anybody. */
  const inside = (host: number): ((pid: number) => boolean) => {
    const inode = numbers.includes(host)
      ? statSync(hosts.netns(host), { throwIfNoEntry: false })?.ino
      : undefined;
    return (pid) => inode !== undefined && networkOf(pid) === `net:[${inode}]`;
  };
  /** By host, what was in its namespace when that was to go. */
  let left: readonly ReadonlySet<number>[] = [];
  return {
    kind: 'containers',
    about: 'network namespaces on one bridge, real containers',
    address: (host) => hosts.address(host),
    dns: (host) => ({ address: hosts.address(host), port: DNS_PORT }),
    daemonFlags: (host) => {
      const address = hosts.address(host);
      return ['--driver', 'oci', '--listen', `${address}:4747`, '--dns', `${address}:${DNS_PORT}`];
    },
    spawn: (host, argv, options) => hosts.spawn(host, argv, options),
    holds(host, node, pid) {
      try {
        if (inside(host)(pid) || left[host - 1]?.has(pid)) return true;
        // Containers are in namespaces of their own.
        return node !== '' && readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`${cgroupOf(node)}/`);
      } catch {
        return false;
      }
    },
    sweep: sweepNodes,
    remains: (nodes, withPlace) => [
      ...[
        ...netnsOf(nodes),
        ...(withPlace ? netnsNames().filter((name) => name.startsWith(prefix)) : []),
      ].map((name) => `network namespace ${name}`),
      ...cgroupsOf(nodes).map((cgroup) => `cgroup ${cgroup}`),
    ],
    async [Symbol.asyncDispose]() {
      left = numbers.map((host) => new Set([...(left[host - 1] ?? []), ...processTrees(inside(host))]));
      await hosts[Symbol.asyncDispose]();
    },
  };
}
