/** What a checker is: an invariant over a finished run. It knows what must hold and nothing of how the cores do it. */
import type { NodeId } from '../../../protocols/base/ids.ts';
import type { Attack } from '../byzantine-node.ts';
import type { Chronicle } from '../chronicle.ts';
import type { Cluster } from '../found-cluster.ts';
import type { Peaks } from '../peaks.ts';
import type { Story } from '../scenarios.ts';
import type { ShoalNode } from '../shoal-node.ts';
import type { Simulator } from '../simulator.ts';
import type { Stage } from '../stage.ts';

export interface Run {
  readonly cluster: Cluster;
  readonly world: Simulator<ShoalNode>;
  readonly stage: Stage;
  readonly story: Story;
  readonly chronicle: Chronicle;
  /** The most that any node kept at any time. */
  readonly peaks: Peaks;
  /** Honest members that run at the end and were not revoked. */
  readonly living: ReadonlyMap<NodeId, ShoalNode>;
  /** What some members do that do not keep to the rules; undefined when all do. */
  readonly attack: Attack | undefined;
  /** From the last fault until views were whole and ledgers equal; null when they never were. */
  readonly converged_ms: number | null;
}

/** @returns one sentence for each violation; none when the invariant holds. */
export type Checker = (run: Run) => readonly string[];
