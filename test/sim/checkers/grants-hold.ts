/**
 * No record is in a ledger, and none has an effect in a view, without a valid grant at its causal place: reckoned here
 * anew from genesis, the grants and the revocations in that ledger, by the words of DESIGN section 3: what a revoked key
 * wrote after its cut counts nowhere, and all else does. Every record also bears a signature of its author, and no stamp
 * of a future that nobody may believe.
 */
import { HLC_AHEAD_MS_MAX } from '../../../protocols/base/clock.ts';
import { type KeyId, shortId } from '../../../protocols/base/ids.ts';
import type { BodyOf, GrantBody, Role } from '../../../protocols/base/records.ts';
import { type LedgerRecord, verifyRecord } from '../../../protocols/ledger/record.ts';
import { STAMP_LATE_MS } from '../../../protocols/trust/cuts.ts';
import { deriveView } from '../../../protocols/view/derive.ts';
import { fastCrypto } from '../fast-crypto.ts';
import type { ShoalNode } from '../shoal-node.ts';
import { EPOCH_MS } from '../simulator.ts';
import type { Checker } from './checker.ts';

/** So many different sets of records are judged, and so many nodes on what they hold of a set. */
const SETS_MAX = 32;
const NODES_MAX = 64;
/** Which of these roles the author of a record needs, by its kind. Genesis, grants and revocations have their own rules. */
const NEEDED: Readonly<Record<string, readonly Role[]>> = {
  member: ['member'],
  verdict: ['member'],
  ack: ['member'],
  evidence: ['member'],
  alloc: ['worker'],
  image: ['deployer', 'operator'],
  tag: ['deployer', 'operator'],
  workload: ['deployer', 'operator'],
  intent: ['deployer', 'operator'],
};
const OWNED: ReadonlySet<string> = new Set(['member', 'verdict', 'ack', 'evidence', 'alloc', 'image']);
const JUDGED_OTHERWISE: ReadonlySet<string> = new Set(['genesis', 'grant', 'revoke']);
const OPERATOR_ROLES: readonly Role[] = ['operator', 'deployer', 'admitter'];

type Roles = ReadonlyMap<KeyId, ReadonlySet<Role>>;

/** What is left of a revoked key: its records up to this place, if they do not bear stamps of long after the revocation. */
interface Cut {
  readonly epoch: number;
  readonly last: number;
  readonly stamp_ms: number;
}

/** Operators of genesis, and subjects of grants that an operator signed, or the holder of a grant that admits. */
function granted(operators: readonly KeyId[], records: readonly LedgerRecord[]): Roles {
  const roles = new Map<KeyId, Set<Role>>(operators.map((id) => [id, new Set(OPERATOR_ROLES)]));
  const valid = new Map<string, GrantBody>();
  const grants = records.filter(({ kind }) => kind === 'grant');
  for (let before = -1; before < valid.size; ) {
    before = valid.size;
    for (const { author, digest, body } of grants) {
      const grant = body as GrantBody;
      const above = grant.parent === null ? undefined : valid.get(grant.parent);
      const isOperators = grant.parent === null && operators.includes(author);
      const isAdmitted =
        above?.subject === author && grant.roles.every((role) => above.admits.includes(role));
      if (!isOperators && !isAdmitted) continue;
      valid.set(digest, grant);
      const held = roles.get(grant.subject) ?? new Set();
      for (const role of grant.roles) held.add(role);
      roles.set(grant.subject, held);
    }
  }
  return roles;
}

/** Of each key that an operator or itself has revoked, the least that any of these revocations leaves. */
function cutsOf(operators: readonly KeyId[], records: readonly LedgerRecord[]): ReadonlyMap<KeyId, Cut> {
  const cuts = new Map<KeyId, Cut>();
  for (const { kind, author, hlc, body } of records) {
    if (kind !== 'revoke') continue;
    const { subject, epoch, last } = body as BodyOf<'revoke'>;
    if (!operators.includes(author) && author !== subject) continue;
    const other = cuts.get(subject) ?? { epoch, last, stamp_ms: hlc.ms };
    const isLess = epoch < other.epoch || (epoch === other.epoch && last < other.last);
    const stamp_ms = Math.min(hlc.ms, other.stamp_ms);
    cuts.set(subject, isLess ? { epoch, last, stamp_ms } : { ...other, stamp_ms });
  }
  return cuts;
}

/** Was it written after its author was cut off? */
export function isCutOff({ epoch, seq, hlc }: LedgerRecord, cut: Cut | undefined): boolean {
  if (cut === undefined) return false;
  const isAfter = epoch > cut.epoch || (epoch === cut.epoch && seq > cut.last);
  return isAfter || hlc.ms > cut.stamp_ms + STAMP_LATE_MS;
}

function mayWrite(roles: Roles, { author, kind, key }: LedgerRecord): boolean {
  const isOwn = key.split('/')[0] === author;
  if (OWNED.has(kind) && !isOwn) return false;
  const ofUnknown: readonly Role[] = isOwn ? ['member', 'deployer', 'operator'] : ['deployer', 'operator'];
  const needed = NEEDED[kind] ?? ofUnknown;
  return needed.some((role) => roles.get(author)?.has(role));
}

/** What follows from a set of records, wherever it is held. */
interface Judgement {
  readonly flaws: readonly string[];
  readonly roles: Roles;
  readonly cuts: ReadonlyMap<KeyId, Cut>;
  /** Whether each of them counts, by digest; not of those that are judged otherwise. */
  readonly counts: ReadonlyMap<string, boolean>;
}

function whatOf({ kind, key, author }: LedgerRecord): string {
  return `${kind}/${key.slice(0, 20)} of ${shortId(author)}`;
}

function judge(records: readonly LedgerRecord[], operators: readonly KeyId[], now: number): Judgement {
  const flaws: string[] = [];
  const roles = granted(operators, records);
  const cuts = cutsOf(operators, records);
  const counts = new Map<string, boolean>();
  for (const record of records) {
    const { author, kind, key, hlc, digest } = record;
    const what = whatOf(record);
    if (!verifyRecord(record, fastCrypto)) flaws.push(`${what} is not signed by its author`);
    if (hlc.ms > now + HLC_AHEAD_MS_MAX) flaws.push(`${what} is of the future`);
    if (!roles.has(author)) flaws.push(`${what} is there without a grant`);
    else if (JUDGED_OTHERWISE.has(kind)) {
      // Anybody may give up a key of its own.
      const isTheirs = operators.includes(author) || key.startsWith(`${author}/`);
      if (kind === 'revoke' && !isTheirs) flaws.push(`${what} is not its author's to revoke`);
    } else if (!mayWrite(roles, record)) flaws.push(`${what} is not its author's to write`);
    else counts.set(digest, !isCutOff(record, cuts.get(author)));
  }
  return { flaws, roles, cuts, counts };
}

/** What this node makes of the records, which came to it in an order of its own. */
function flawsOf(node: ShoalNode, { roles, cuts, counts }: Judgement, now: number): string[] {
  const flaws: string[] = [];
  const { ledger, authority } = node.ledger;
  for (const record of ledger.records()) {
    const isRight = counts.get(record.digest);
    if (isRight !== undefined && authority.counts(record) !== isRight)
      flaws.push(`${whatOf(record)} ${isRight ? 'does not count' : 'counts after the cut of its author'}`);
  }
  const source = { ledger, authority, self: '', status: () => 'alive' as const, now };
  const view = deriveView(source, undefined, new Set());
  for (const id of view.members.keys()) {
    if (cuts.has(id)) flaws.push(`${shortId(id)} is revoked and a member in the view`);
    if (!roles.has(id)) flaws.push(`${shortId(id)} is a member in the view without a grant`);
  }
  for (const [name, digest] of view.tags) {
    const isGranted = ledger
      .siblings('tag', name)
      .some(
        (record) => counts.get(record.digest) && (record.body as BodyOf<'tag'> | null)?.digest === digest,
      );
    if (!isGranted) flaws.push(`the tag ${name} is in the view, and nobody who may has written it`);
  }
  return flaws;
}

export const grantsHold: Checker = ({ cluster, living, world }) => {
  const violations: string[] = [];
  const judgements = new Map<string, Judgement>();
  const now = EPOCH_MS + world.now_ms;
  let nodes_count = 0;
  for (const [id, node] of living) {
    const { hash } = node.ledger.ledger;
    let judgement = judgements.get(hash);
    if (judgement === undefined) {
      if (judgements.size === SETS_MAX) continue;
      judgement = judge([...node.ledger.ledger.records()], [cluster.operator.id], now);
      judgements.set(hash, judgement);
      for (const flaw of judgement.flaws) violations.push(`${shortId(id)}: ${flaw}`);
    }
    if (nodes_count === NODES_MAX) continue;
    nodes_count += 1;
    for (const flaw of flawsOf(node, judgement, now)) violations.push(`${shortId(id)}: ${flaw}`);
  }
  return violations;
};
