/** The cluster as a whole, in the terms of the API. Pure: reads a ledger and a view, changes nothing. */
import type { KeyId } from '../protocols/base/ids.ts';
import { ROLES } from '../protocols/base/records.ts';
import { isGrowOnly, type Ledger } from '../protocols/ledger/ledger.ts';
import type { LedgerRecord } from '../protocols/ledger/record.ts';
import type { Authority } from '../protocols/trust/authority.ts';
import { bodyOf } from '../protocols/view/bodies.ts';
import type { ClusterView } from '../protocols/view/view.ts';
import type { ClusterInfo } from './api/trust-schemas.ts';
import { operatorInfos, revocationSummaries } from './trust/grant-answers.ts';
import type { KeyNames } from './trust/key-names.ts';
import { compare, memberCounts } from './view-answers.ts';

interface ClusterInfoSource {
  readonly genesis: LedgerRecord;
  readonly ledger: Ledger;
  readonly authority: Authority;
  readonly view: ClusterView;
  /** Deletions before it are collected; 0: none was yet. */
  readonly horizon_ms: number;
  /** Is what this node's disk holds from before that in doubt? */
  readonly isInDoubt: boolean;
  /** Who has still to acknowledge what is to be collected next. */
  readonly awaiting: readonly KeyId[];
  /** Keys that were used twice, and who proved it. */
  readonly flagged: ReadonlyMap<KeyId, readonly KeyId[]>;
  /** Members that this node is connected to. */
  readonly peers: number;
  readonly nameOf: KeyNames;
}

export function clusterInfo(source: ClusterInfoSource): ClusterInfo {
  const { genesis, ledger, authority, view, peers, nameOf } = source;
  const trust = { authority, names: nameOf };
  const { name, range } = bodyOf('genesis', genesis)!;
  const kinds = recordKinds(ledger);
  const sum = (field: 'records' | 'bytes') => kinds.reduce((total, kind) => total + kind[field], 0);
  return {
    id: genesis.digest,
    name,
    created_ms: genesis.hlc.ms,
    range,
    operators: operatorInfos(trust),
    threshold: authority.threshold,
    ...revocationSummaries(trust),
    members: memberCounts(view.members.values()),
    roles: memberRoles(source),
    flagged: flags(source),
    ledger: {
      hash: ledger.hash,
      records: sum('records'),
      bytes: sum('bytes'),
      horizon_ms: source.horizon_ms,
      isInDoubt: source.isInDoubt,
      awaiting: source.awaiting.map((key) => ({ key, name: nameOf(key) })),
      kinds,
    },
    peers,
    versions: memberVersions(view),
  };
}

function memberRoles({ view, authority }: ClusterInfoSource): ClusterInfo['roles'] {
  const roles = [...view.members.keys()].map((member) => authority.roles(member));
  return ROLES.map((role) => ({ role, members: roles.filter((of) => of.has(role)).length })).filter(
    ({ members }) => members > 0,
  );
}

function memberVersions(view: ClusterView): ClusterInfo['versions'] {
  const versions = new Map<string, number>();
  for (const { version } of view.members.values()) versions.set(version, (versions.get(version) ?? 0) + 1);
  return [...versions]
    .map(([version, members]) => ({ version, members }))
    .sort((a, b) => compare(a.version, b.version));
}

function recordKinds(ledger: Ledger): ClusterInfo['ledger']['kinds'] {
  const kinds = new Map<string, { records: number; deleted: number; bytes: number; conflicts: number }>();
  for (const { kind, isTombstone, bytes } of ledger.records()) {
    const count = kinds.get(kind) ?? { records: 0, deleted: 0, bytes: 0, conflicts: 0 };
    kinds.set(kind, count);
    count.records += 1;
    count.bytes += bytes.byteLength;
    if (isTombstone) count.deleted += 1;
  }
  for (const [kind, count] of kinds) {
    // Grants and revocations stand beside one another; that is no conflict.
    if (isGrowOnly(kind)) continue;
    for (const [, siblings] of ledger.ofKind(kind)) if (siblings.length > 1) count.conflicts += 1;
  }
  return [...kinds].map(([kind, count]) => ({ kind, ...count })).sort((a, b) => compare(a.kind, b.kind));
}

function flags({ flagged, nameOf }: ClusterInfoSource): ClusterInfo['flagged'] {
  return [...flagged].map(([key, by]) => ({
    key,
    name: nameOf(key),
    by: [...by].sort(compare).map((accuser) => ({ key: accuser, name: nameOf(accuser) })),
  }));
}
