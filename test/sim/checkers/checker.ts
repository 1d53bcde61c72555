/** What a checker is: an invariant over a finished run. It knows what must hold and nothing of how the cores do it. */
import type { NodeId } from '../../../protocols/base/ids.ts';
import type { Story } from '../scenarios.ts';
import type { ShoalDisk, ShoalNode } from '../shoal-node.ts';
import type { Simulator } from '../simulator.ts';

export interface Run {
  readonly world: Simulator<ShoalNode, ShoalDisk>;
  readonly story: Story;
  /** Nodes that run at the end. */
  readonly living: ReadonlyMap<NodeId, ShoalNode>;
}

/** @returns one sentence for each violation; none when the invariant holds. */
export type Checker = (run: Run) => string[];
