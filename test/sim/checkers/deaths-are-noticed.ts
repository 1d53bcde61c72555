/** A member that dies is failed in every view within a bound. */
import { shortId } from '../../../protocols/base/ids.ts';
import type { Checker, Run } from './checker.ts';

/** A whole host that goes silent, in a mild world; a process whose connections close is noticed sooner. */
const NOTICED_MS_MAX = 5000;

/** @returns how long after each death the last living node held the member as failed; null when one never did. */
export function noticed_ms({ world, story, living }: Run): { member: string; ms: number | null }[] {
  return [...story.dead].map(([member, dead_ms]) => {
    const last = new Map<string, number>();
    for (const { at_ms, node, fact } of world.facts) {
      if (fact.kind !== 'status' || fact.member !== member || !living.has(node)) continue;
      if (fact.status === 'failed') last.set(node, at_ms - dead_ms);
    }
    return { member, ms: last.size < living.size ? null : Math.round(Math.max(...last.values())) };
  });
}

export const deathsAreNoticed: Checker = (run) =>
  noticed_ms(run)
    .filter(({ ms }) => ms === null || ms > NOTICED_MS_MAX)
    .map(({ member, ms }) => `the death of ${shortId(member)} was known to all after ${ms ?? 'no'} ms`);
