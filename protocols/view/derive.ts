/** Derives the view from the ledger, one kind at a time: only kinds with changed records are derived again. */
import type { Digest, NodeId } from '../base/ids.ts';
import {
  type AllocationBody,
  type ImageBody,
  type Intent,
  type RecordKind,
  recordKey,
} from '../base/records.ts';
import { slotName, type WorkloadName, workloadName } from '../base/workload.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { LedgerRecord } from '../ledger/record.ts';
import type { Authority } from '../trust/authority.ts';
import { bodyOf } from './bodies.ts';
import type { ClusterView, MemberStatus, MemberView, WorkloadView } from './view.ts';

export interface ViewSource {
  readonly ledger: Ledger;
  readonly authority: Authority;
  readonly self: NodeId;
  /** As membership holds it now. */
  readonly status: (member: NodeId) => MemberStatus;
  /** Milliseconds: members whose grant has ended by then are left out. */
  readonly now: number;
  /** Records that are shown nowhere, and whoever is told that one made this throw. Without it a throw is the caller's. */
  readonly quarantine?: RecordQuarantine;
}

/** What becomes of a record that makes a reader throw: one record costs itself, and not the view. */
export interface RecordQuarantine {
  has(record: LedgerRecord): boolean;
  strike(record: LedgerRecord, where: string, error: unknown): void;
}

/** @param dirty kinds whose records changed since `before`; `member` also when a status changed. */
export function deriveView(
  source: ViewSource,
  before: ClusterView | undefined,
  dirty: ReadonlySet<string>,
): ClusterView {
  // A grant or a revocation may change what counts everywhere.
  const all = before === undefined || dirty.has('grant') || dirty.has('revoke');
  const changed = (...kinds: RecordKind[]) => all || kinds.some((kind) => dirty.has(kind));
  const kept = all ? undefined : before;
  return {
    self: source.self,
    members: kept && !changed('member', 'intent', 'verdict') ? kept.members : deriveMembers(source),
    workloads: kept && !changed('workload') ? kept.workloads : deriveWorkloads(source),
    allocations: kept && !changed('alloc') ? kept.allocations : deriveAllocations(source),
    images: kept && !changed('image') ? kept.images : deriveImages(source),
    tags: kept && !changed('tag') ? kept.tags : deriveTags(source),
  };
}

/** Calls `take` with the winner of each key and its siblings. It must change nothing before all that may throw. */
function eachWinner(
  source: ViewSource,
  kind: RecordKind,
  take: (key: string, winner: LedgerRecord, others: readonly LedgerRecord[]) => void,
): void {
  const { ledger, authority, quarantine } = source;
  for (const [key, siblings] of ledger.ofKind(kind)) {
    const counting = siblings.filter((record) => authority.counts(record) && !quarantine?.has(record));
    const winner = counting[0];
    if (winner === undefined || winner.body === null) continue;
    try {
      take(key, winner, counting.slice(1));
    } catch (error) {
      if (quarantine === undefined) throw error;
      quarantine.strike(winner, `the view of ${kind}`, error);
    }
  }
}

function deriveMembers(source: ViewSource): Map<NodeId, MemberView> {
  const intents = new Map<NodeId, Intent>();
  eachWinner(source, 'intent', (node, record) => {
    const body = bodyOf('intent', record);
    if (body !== undefined) intents.set(node, body.intent);
  });
  const members = new Map<NodeId, MemberView>();
  eachWinner(source, 'member', (id, record) => {
    const body = bodyOf('member', record);
    const roles = source.authority.roles(id, source.now);
    if (body === undefined || !roles.has('member')) return;
    members.set(id, {
      ...body,
      labels: { ...body.labels, name: body.name },
      id,
      status: source.status(id),
      intent: intents.get(id) ?? 'active',
      worker: roles.has('worker'),
    });
  });
  return members;
}

function deriveWorkloads(source: ViewSource): Map<WorkloadName, WorkloadView> {
  const workloads = new Map<WorkloadName, WorkloadView>();
  eachWinner(source, 'workload', (key, record, others) => {
    const body = bodyOf('workload', record);
    if (body === undefined || key !== workloadName(body.spec.namespace, body.spec.name)) return;
    workloads.set(key as WorkloadName, {
      namespace: body.spec.namespace,
      name: body.spec.name,
      generation: record.generation,
      revision: record.digest,
      stopped: body.stopped,
      spec: body.spec,
      author: record.author,
      written_ms: record.hlc.ms,
      siblings: others.map((other) => ({
        author: other.author,
        generation: other.generation,
        revision: other.digest,
        written_ms: other.hlc.ms,
        body: bodyOf('workload', other) ?? null,
      })),
    });
  });
  return workloads;
}

function deriveAllocations(source: ViewSource): AllocationBody[] {
  const allocations: AllocationBody[] = [];
  eachWinner(source, 'alloc', (key, record) => {
    const body = bodyOf('alloc', record);
    // What a host that is no member any more ran up to then would count: but it is gone, and so is what it ran.
    if (body?.node !== record.author || !source.authority.isMember(record.author)) return;
    if (key === recordKey.alloc(record.author, slotName(body.namespace, body.workload, body.index)))
      allocations.push(body);
  });
  return allocations;
}

function deriveImages(source: ViewSource): ClusterView['images'] {
  const images = new Map<Digest, ImageBody & { author: NodeId; authors: NodeId[] }>();
  eachWinner(source, 'image', (key, record) => {
    const body = bodyOf('image', record);
    if (body === undefined || key !== recordKey.image(record.author, body.manifest.digest)) return;
    const { digest } = body.manifest;
    const known = images.get(digest);
    const authors = [...(known?.authors ?? []), record.author].sort();
    // Content-addressed: should the records differ all the same, the smaller author's stands for all.
    images.set(
      digest,
      authors[0] === record.author || !known
        ? { ...body, author: record.author, authors }
        : { ...known, authors },
    );
  });
  return images;
}

function deriveTags(source: ViewSource): Map<string, Digest> {
  const tags = new Map<string, Digest>();
  eachWinner(source, 'tag', (name, record) => {
    const body = bodyOf('tag', record);
    if (body !== undefined) tags.set(name, body.digest);
  });
  return tags;
}
