/** Every record whose write was acknowledged is in the ledger of every living node at the end. */
import { shortId } from '../../../protocols/base/ids.ts';
import type { Checker } from './checker.ts';

export const recordsSurvive: Checker = ({ world, living }) => {
  const violations: string[] = [];
  const held = [...living].map(([id, { ledger }]) => {
    return { id, digests: new Set(Array.from(ledger.ledger.records(), ({ digest }) => digest)) };
  });
  for (const { node: writer, fact } of world.facts) {
    if (fact.kind !== 'acknowledged') continue;
    for (const { id, digests } of held) {
      if (!digests.has(fact.digest)) {
        violations.push(`${shortId(id)} lacks a record that ${shortId(writer)} acknowledged`);
      }
    }
  }
  return violations;
};
