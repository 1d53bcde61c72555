/** Hosts whose node has lost what says what runs on them, for the tests of that. */
import path from 'node:path';
import type { Test } from 'tap';
import type { Log } from '../../../daemon/log.ts';
import type { ShoalNode } from '../../../daemon/node.ts';
import { damage } from './disk-damage.ts';
import { eventually } from './eventually.ts';
import { IMAGE, MemoryCluster, running } from './memory-cluster.ts';

export const hash = (node: ShoalNode) => node.cluster!.ledger.machine.ledger.hash;

export function listening(messages: string[]): Log {
  return (_level, message) => void messages.push(message);
}

/** Containers of a host that run. */
export async function containersOf(cluster: MemoryCluster, host: string): Promise<string[]> {
  const all = await cluster.runtimeOf(host).list();
  return all.filter(({ state }) => state === 'running').map(({ id }) => id);
}

export async function isHealthy(node: ShoalNode, workload: string): Promise<boolean> {
  return (await running(node.backend, workload)).some(({ health }) => health === 'healthy');
}

/** Two nodes, of which b alone may run these, and does. @returns a container for each. */
export async function twoNodes(t: Test, ...workloads: string[]) {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = (await cluster.grow('a', 'b')) as [ShoalNode, ShoalNode];
  for (const name of workloads) await a.backend.run({ name, image: IMAGE, constraints: { name: 'b' } });
  for (const name of workloads) await eventually(`${name} is healthy`, () => isHealthy(a, name));
  await eventually('both have the same', () => hash(a) === hash(b));
  return { cluster, a, b, containers: (await containersOf(cluster, 'b')).sort() };
}

/** Ends like any other: it has an instance, and its end is told. */
export async function remove(cluster: MemoryCluster, node: ShoalNode, name: string): Promise<void> {
  await node.backend.remove({ namespace: 'default', name });
  await eventually(`${name} has ended`, async () => {
    const containers = await containersOf(cluster, 'b');
    return !containers.some((id) => id.startsWith(`${name}-`));
  });
  await eventually(`nothing holds the slot of ${name}`, async () => {
    const left = await node.backend.allocations({ namespace: 'default', workload: name });
    return left.every(({ phase }) => phase === 'stopped');
  });
}

/** Damages what tells of these on b. */
export function forget(cluster: MemoryCluster, kind: string, ...workloads: string[]): number {
  const isOf = (key: string) => workloads.some((name) => `${key}/`.includes(`default/${name}/`));
  return damage(path.join(cluster.directory, 'b'), (record) => record.kind === kind && isOf(record.key));
}
