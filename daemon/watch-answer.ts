/** What there is to see of one workload at a moment: its instances, the image on its way, and what waits for a node. */
import type { NodeId } from '../protocols/base/ids.ts';
import { workloadName } from '../protocols/base/workload.ts';
import { REFUSALS } from '../scheduler/filter.ts';
import { needsNode, planCluster } from '../scheduler/plan.ts';
import { indexHolders, isLivePhase } from '../scheduler/slots.ts';
import type { WorkloadRef } from './api/backend.ts';
import type { WatchEvent } from './api/schemas.ts';
import type { Cluster } from './cluster.ts';
import { findImage } from './view/image-lookup.ts';
import { allocationInfo, nodeName, workloadInfo } from './view-answers.ts';

/** @param now milliseconds. @returns undefined when there is no such workload any more. */
export async function watchEvent(
  cluster: Cluster,
  ref: WorkloadRef,
  now: number,
): Promise<WatchEvent | undefined> {
  const { view } = cluster;
  const nameOf = (node: NodeId) => nodeName(view, node);
  const workload = view.workloads.get(workloadName(ref.namespace, ref.name));
  if (workload === undefined) return undefined;
  const allocations = view.allocations.filter(
    (body) => body.namespace === ref.namespace && body.workload === ref.name,
  );
  const holders = indexHolders({ ...view, allocations });
  const shown = [...holders.values()].flatMap(({ live, leaving, ended }) => {
    const present = [...live, ...leaving];
    return present.length > 0 ? present : [...ended].sort((a, b) => b.since_ms - a.since_ms).slice(0, 1);
  });
  const image = findImage(cluster.view, workload.spec.image);
  const nodes = [...new Set(shown.filter(({ phase }) => isLivePhase(phase)).map(({ node }) => node))];
  const images = await Promise.all(
    nodes.map(async (node) => ({
      node,
      nodeName: nameOf(node),
      layers: (image === undefined ? [] : await cluster.remote.progress(node, image.digest)).map((layer) => ({
        ...layer,
        sources: Object.entries(layer.sources).map(([id, bytes]) => ({
          node: id,
          nodeName: nameOf(id),
          bytes,
        })),
      })),
    })),
  );
  const waiting = [...planCluster(view, now)]
    .filter(
      (plan) =>
        plan.workload === workloadName(ref.namespace, ref.name) &&
        needsNode(plan) &&
        plan.candidates.length === 0,
    )
    .map(({ slot, refusals }) => ({
      index: slot.index,
      reasons: refusals.map(
        ({ name, reason, detail }) => `${name}: ${REFUSALS[reason]}${detail ? ` (${detail})` : ''}`,
      ),
    }));
  return {
    at_ms: now,
    workload: workloadInfo(view, workload),
    allocations: shown.map((allocation) => allocationInfo(view, allocation)),
    images,
    waiting,
  };
}
