/**
 * The view: the ledger as the rest of the daemon reads it. Plain snapshots; readers never write.
 * Deriving it from the ledger is `derive.ts` beside this file.
 */
import type { Digest, KeyId, NodeId } from '../base/ids.ts';
import type { AllocationBody, ImageBody, Intent, MemberBody, WorkloadBody } from '../base/records.ts';
import type { WorkloadName, WorkloadSpec } from '../base/workload.ts';

/**
 * alive; suspect (this node has doubts of its own, nothing agreed); failed (the watchers that can be heard agree);
 * removed (its grant is revoked).
 */
export type MemberStatus = 'alive' | 'suspect' | 'failed';

export interface MemberView extends MemberBody {
  readonly id: NodeId;
  readonly status: MemberStatus;
  readonly intent: Intent;
  /** May run workloads: its grant has the role `worker`. */
  readonly worker: boolean;
}

export interface WorkloadView {
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  /** Digest of the winning record, hex: what an allocation names as its revision. */
  readonly revision: string;
  readonly stopped: boolean;
  readonly spec: WorkloadSpec;
  readonly author: KeyId;
  readonly written_ms: number;
  /** Concurrent writes that lost, shown until somebody writes again. */
  readonly siblings: readonly {
    readonly author: KeyId;
    readonly generation: number;
    readonly revision: string;
    readonly written_ms: number;
    /** Null when it deletes the workload. */
    readonly body: WorkloadBody | null;
  }[];
}

export interface ClusterView {
  readonly self: NodeId;
  readonly members: ReadonlyMap<NodeId, MemberView>;
  readonly workloads: ReadonlyMap<WorkloadName, WorkloadView>;
  /** Every allocation record, those of failed members and terminal ones too. */
  readonly allocations: readonly AllocationBody[];
  /** `authors`: the members that imported it. */
  readonly images: ReadonlyMap<
    Digest,
    ImageBody & { readonly author: KeyId; readonly authors: readonly KeyId[] }
  >;
  readonly tags: ReadonlyMap<string, Digest>;
}
