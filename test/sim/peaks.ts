/**
 * The most that any node has kept of what has a cap, of all times that somebody looked: cheap enough to look at all nodes
 * of a large cluster once a virtual second. Not here: the caps (checkers/bounds-hold.ts).
 */
import type { NodeId } from '../../protocols/base/ids.ts';
import type { ShoalNode } from './shoal-node.ts';

export const PEAKS = [
  'timers',
  'relays',
  'redials',
  'waiting verdicts',
  'verdicts of one member',
  'records without a grant',
  'bytes without a grant',
] as const;
export type Peak = (typeof PEAKS)[number];

interface Most {
  value: number;
  /** The node that had so many; empty when none had any. */
  node: NodeId;
}

export class Peaks {
  readonly of: Readonly<Record<Peak, Most>> = Object.fromEntries(
    PEAKS.map((peak) => [peak, { value: 0, node: '' }]),
  ) as Record<Peak, Most>;

  look(id: NodeId, { membership, ledger }: ShoalNode): void {
    this.#note('timers', id, membership.timers.size);
    this.#note('relays', id, membership.relays.size);
    this.#note('redials', id, membership.redialling.size);
    this.#note('waiting verdicts', id, membership.pending.length);
    this.#note('records without a grant', id, ledger.pending.records);
    this.#note('bytes without a grant', id, ledger.pending.bytes);
    // Verdicts on others are few, and no member has many without being doubted.
    for (const member of membership.doubted)
      this.#note('verdicts of one member', id, membership.members.get(member)?.verdicts.size ?? 0);
  }

  /** The same, and the verdicts of all members: for the end of a run. */
  lookClosely(id: NodeId, node: ShoalNode): void {
    this.look(id, node);
    for (const { verdicts } of node.membership.members.values())
      this.#note('verdicts of one member', id, verdicts.size);
  }

  #note(peak: Peak, node: NodeId, value: number): void {
    const most = this.of[peak];
    if (value <= most.value) return;
    most.value = value;
    most.node = node;
  }
}
