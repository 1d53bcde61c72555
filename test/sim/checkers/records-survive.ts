/**
 * Every record whose write was acknowledged by an honest member is in the ledger of every living node at the end,
 * unless the only disk that held it lost it, or somebody deleted it: a deletion that nobody acknowledged and nobody knows
 * of takes nothing away.
 */
import { shortId } from '../../../protocols/base/ids.ts';
import type { Checker } from './checker.ts';

export const recordsSurvive: Checker = ({ chronicle, living, stage }) => {
  const violations: string[] = [];
  const held = new Map([...living].map(([id, { ledger }]) => [id, ledger.ledger.hash]));
  const sets = new Map<string, ReadonlySet<string>>();
  // Ledgers of one hash hold one set: that this is so is for ledgers-agree to say.
  for (const [id, { ledger }] of living) {
    const hash = held.get(id)!;
    if (!sets.has(hash)) sets.set(hash, new Set(Array.from(ledger.ledger.records(), ({ digest }) => digest)));
  }
  for (const [digest, { writer, at_ms, kind, key }] of chronicle.acknowledged) {
    const isVoid = stage.byzantine.includes(writer) || (stage.revoked.get(writer) ?? at_ms + 1) <= at_ms;
    if (isVoid || stage.lost.has(digest)) continue;
    if (kind === 'tag' && chronicle.buried.has(key)) continue;
    for (const [id, hash] of held) {
      if (!sets.get(hash)!.has(digest))
        violations.push(`${shortId(id)} lacks a record that ${shortId(writer)} acknowledged`);
    }
  }
  return violations;
};
