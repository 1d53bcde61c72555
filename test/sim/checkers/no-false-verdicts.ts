/** Under mild faults no living member is ever failed in any view. Under hard ones only the end is judged (views-converge). */
import { shortId } from '../../../protocols/base/ids.ts';
import type { Checker } from './checker.ts';

export const noFalseVerdicts: Checker = ({ world, story }) => {
  if (!story.isMild) return [];
  const violations: string[] = [];
  for (const { at_ms, node, fact } of world.facts) {
    if (fact.kind !== 'status' || fact.status !== 'failed') continue;
    if (at_ms < (story.dead.get(fact.member) ?? Number.POSITIVE_INFINITY)) {
      violations.push(`${shortId(node)} held ${shortId(fact.member)} as failed at ${Math.round(at_ms)} ms`);
    }
  }
  return violations;
};
