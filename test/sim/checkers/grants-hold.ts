/**
 * No record is in a ledger, and none has an effect in a view, without a valid grant at its causal place: reckoned here
 * anew from genesis, the grants and the revocations in that ledger, by the words of DESIGN section 3. Every record
 * also bears a signature of its author, and no stamp of a future that nobody may believe.
 */
import { HLC_AHEAD_MS_MAX } from '../../../protocols/base/clock.ts';
import { type KeyId, shortId } from '../../../protocols/base/ids.ts';
import type { BodyOf, GrantBody } from '../../../protocols/base/records.ts';
import { type LedgerRecord, verifyRecord } from '../../../protocols/ledger/record.ts';
import { deriveView } from '../../../protocols/view/derive.ts';
import { fastCrypto } from '../fast-crypto.ts';
import type { ShoalNode } from '../shoal-node.ts';
import { EPOCH_MS } from '../simulator.ts';
import type { Checker } from './checker.ts';

/** Views are derived on this many nodes; ledgers of one hash give one view. */
const VIEWS_MAX = 32;
const OWNED: ReadonlySet<string> = new Set(['member', 'verdict', 'alloc', 'image']);

/** Operators of genesis, and subjects of grants that an operator signed, or the holder of a grant that admits. */
function granted(operators: readonly KeyId[], records: readonly LedgerRecord[]): ReadonlySet<KeyId> {
  const keys = new Set(operators);
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
      keys.add(grant.subject);
    }
  }
  return keys;
}

function flawsOf(node: ShoalNode, operators: readonly KeyId[], now: number): string[] {
  const flaws: string[] = [];
  const records = [...node.ledger.ledger.records()];
  const keys = granted(operators, records);
  for (const record of records) {
    const { author, kind, key, hlc } = record;
    const what = `${kind}/${key.slice(0, 20)} of ${shortId(author)}`;
    if (!keys.has(author)) flaws.push(`${what} is there without a grant`);
    if (!verifyRecord(record, fastCrypto)) flaws.push(`${what} is not signed by its author`);
    if (OWNED.has(kind) && key.split('/')[0] !== author) flaws.push(`${what} is not its author's to write`);
    // Anybody may give up a key of its own.
    const isTheirs = operators.includes(author) || key.startsWith(`${author}/`);
    if (kind === 'revoke' && !isTheirs) flaws.push(`${what} is not its author's to revoke`);
    if (hlc.ms > now + HLC_AHEAD_MS_MAX) flaws.push(`${what} is of the future`);
  }
  const { ledger, authority } = node.ledger;
  const source = { ledger, authority, self: '', status: () => 'alive' as const, now };
  const view = deriveView(source, undefined, new Set());
  for (const { kind, body } of records) {
    if (kind !== 'revoke') continue;
    const { subject } = body as BodyOf<'revoke'>;
    if (view.members.has(subject)) flaws.push(`${shortId(subject)} is revoked and a member in the view`);
  }
  for (const id of view.members.keys()) {
    if (!keys.has(id)) flaws.push(`${shortId(id)} is a member in the view without a grant`);
  }
  for (const name of view.tags.keys()) {
    const isGranted = ledger.siblings('tag', name).some((record) => keys.has(record.author));
    if (!isGranted) flaws.push(`the tag ${name} is in the view without a grant`);
  }
  return flaws;
}

export const grantsHold: Checker = ({ cluster, living, world }) => {
  const violations: string[] = [];
  const seen = new Set<string>();
  const now = EPOCH_MS + world.now_ms;
  for (const [id, node] of living) {
    if (seen.size >= VIEWS_MAX || seen.has(node.ledger.ledger.hash)) continue;
    seen.add(node.ledger.ledger.hash);
    for (const flaw of flawsOf(node, [cluster.operator.id], now)) violations.push(`${shortId(id)}: ${flaw}`);
  }
  return violations;
};
