/** A member that dies is failed in every view within the bound that the scenario states. */
import { shortId } from '../../../protocols/base/ids.ts';
import type { Checker, Run } from './checker.ts';

/** @returns how long after each death the last living node held the member as failed; null when one never did. */
export function noticed_ms({ stage, chronicle, living }: Run): { member: string; ms: number | null }[] {
  return [...stage.dead].map(([member, dead_ms]) => {
    const last = new Map<string, number>();
    // Whoever did not take it back: that all hold it as failed at the end is for views-converge to say.
    for (const node of stage.failedBefore.get(member) ?? []) if (living.has(node)) last.set(node, 0);
    for (const failed of chronicle.deaths) {
      if (failed.member === member && living.has(failed.node)) last.set(failed.node, failed.at_ms - dead_ms);
    }
    const latest_ms = [...last.values()].reduce((latest, ms) => Math.max(latest, ms), 0);
    return { member, ms: last.size < living.size ? null : Math.round(latest_ms) };
  });
}

export const deathsAreNoticed: Checker = (run) =>
  noticed_ms(run)
    .filter(({ ms }) => ms === null || ms > run.story.noticed_ms_max)
    .map(({ member, ms }) => `the death of ${shortId(member)} was known to all after ${ms ?? 'no'} ms`);
