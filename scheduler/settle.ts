/**
 * Which of several live instances of one slot is kept. Every node that holds the same records picks the same one,
 * so that nobody has to be asked. Not here: when a loser may stop (machine.ts: it sees the winner healthy first).
 */
import type { AllocationBody } from '../protocols/base/records.ts';
import type { ClusterView, WorkloadView } from '../protocols/view/view.ts';
import { rendezvous } from './score.ts';
import { isCurrent, isHealthy, mayStay, slotOf } from './slots.ts';

/**
 * Order: the winning revision, then the newer generation, then a node that may keep it, then the original
 * (the earlier claim), then healthy, then the earlier claim again, then rendezvous rank, then node id.
 *
 * The winning revision goes before the generation because of concurrent writes with equal generations, and of a
 * name that was removed and made anew. A node that may not keep it (draining, say) goes behind, or its replacement
 * would lose to it for ever. `keep_original`
 * (whose instance stays when a member that was given up comes back) is so far the only policy, which leaves "healthy" and the second
 * "earlier" to ties; they stand here as the policies to come need them.
 */
export function compareHolders(view: ClusterView, workload: WorkloadView) {
  const may = ({ node }: AllocationBody): boolean => {
    const member = view.members.get(node);
    return member !== undefined && mayStay(member, workload.spec);
  };
  const weight = (allocation: AllocationBody): number => {
    const member = view.members.get(allocation.node);
    return member ? rendezvous(member.id, slotOf(allocation), member.capacity) : 0;
  };
  const first = (a: boolean, b: boolean): number => Number(b) - Number(a);
  return (a: AllocationBody, b: AllocationBody): number =>
    first(isCurrent(a, workload), isCurrent(b, workload)) ||
    b.generation - a.generation ||
    first(may(a), may(b)) ||
    a.since_ms - b.since_ms ||
    first(isHealthy(a), isHealthy(b)) ||
    weight(b) - weight(a) ||
    (a.node < b.node ? -1 : a.node > b.node ? 1 : 0);
}

/** @param live allocations of one slot, none of them failed or leaving. @returns the one that is kept. */
export function settle(
  view: ClusterView,
  workload: WorkloadView,
  live: readonly AllocationBody[],
): AllocationBody | null {
  if (live.length < 2) return live[0] ?? null;
  const compare = compareHolders(view, workload);
  return live.reduce((best, other) => (compare(other, best) < 0 ? other : best));
}
