/** What must hold of a cluster of schedulers. They know the invariants and the truth, not how the machine works. */
import type { AllocationBody } from '../../protocols/base/records.ts';
import type { SlotName, WorkloadSpec } from '../../protocols/base/workload.ts';
import { isLivePhase, slotOf } from '../../scheduler/slots.ts';
import type { Cluster } from './cluster.ts';

/** At no moment does a node run or hold more than it has. */
export function checkCapacity(cluster: Cluster): void {
  const running = cluster.running();
  for (const { id, capacity } of cluster.init.members) {
    const own = running.filter(({ node }) => node === id);
    for (const resource of ['cpu_millis', 'memory_bytes'] as const) {
      const used = own.reduce((sum, { resources }) => sum + resources[resource], 0);
      if (used > capacity[resource]) {
        throw new Error(`at ${cluster.now}: ${id} has ${used} of ${capacity[resource]} ${resource} in use`);
      }
    }
  }
}

/** Each slot of the spec has exactly one live instance, of that generation and healthy, and nothing else runs. */
export function checkSettled(cluster: Cluster, spec: WorkloadSpec, generation: number): void {
  const running = cluster.running().filter(({ workload }) => workload === spec.name);
  const slots = new Map<SlotName, AllocationBody[]>();
  for (const allocation of running) {
    const slot = slotOf(allocation);
    slots.set(slot, [...(slots.get(slot) ?? []), allocation]);
  }
  for (let index = 0; index < spec.replicas; index++) {
    const holders = slots.get(`${spec.namespace}/${spec.name}/${index}`) ?? [];
    if (holders.length !== 1) {
      throw new Error(`slot ${index} has ${holders.length} instances: ${holders.map(({ node }) => node)}`);
    }
    const [holder] = holders;
    const isRight =
      holder && isLivePhase(holder.phase) && holder.health === 'healthy' && holder.generation === generation;
    if (!isRight) {
      throw new Error(`slot ${index} has ${holder?.phase} ${holder?.health} of ${holder?.generation}`);
    }
  }
  if (slots.size !== spec.replicas) throw new Error(`${slots.size} slots of ${spec.replicas} are filled`);
}

/** How many slots of the spec nobody serves just now. */
export function countUnavailable(cluster: Cluster, spec: WorkloadSpec): number {
  const served = new Set(
    cluster
      .running()
      .filter(
        ({ workload, phase, health }) =>
          workload === spec.name && phase === 'running' && health === 'healthy',
      )
      .map(({ index }) => index),
  );
  let unavailable = 0;
  for (let index = 0; index < spec.replicas; index++) if (!served.has(index)) unavailable++;
  return unavailable;
}

/** Instances of the spec on each node that has one. */
export function countByNode(cluster: Cluster, spec: WorkloadSpec): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { node, workload } of cluster.running()) {
    if (workload === spec.name) counts.set(node, (counts.get(node) ?? 0) + 1);
  }
  return counts;
}
