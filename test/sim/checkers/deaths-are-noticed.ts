/**
 * A member that dies is failed in every view within the bound that the scenario states, or, in that of one that is paused
 * when it ends, as soon as it goes on.
 */
import { type NodeId, shortId } from '../../../protocols/base/ids.ts';
import type { Checker, Run } from './checker.ts';

/** What waited for one that was paused it takes in one after the other. */
const TAKEN_IN_MS = 500;

/** @returns how long after each death the last living node held the member as failed; null when one never did. */
export function noticed_ms(run: Run): { member: NodeId; ms: number | null }[] {
  return [...run.stage.dead.keys()].map((member) => {
    const learned = learned_ms(run, member);
    const latest_ms = [...learned.values()].reduce((latest, ms) => Math.max(latest, ms), 0);
    return { member, ms: learned.size < run.living.size ? null : Math.round(latest_ms) };
  });
}

/** How long after the death of a member each living node held it as failed that did. */
function learned_ms({ stage, chronicle, living }: Run, member: NodeId): ReadonlyMap<NodeId, number> {
  const dead_ms = stage.dead.get(member)!;
  const last = new Map<NodeId, number>();
  // Whoever did not take it back: that all hold it as failed at the end is for views-converge to say.
  for (const node of stage.failedBefore.get(member) ?? []) if (living.has(node)) last.set(node, 0);
  for (const failed of chronicle.deaths) {
    if (failed.member === member && living.has(failed.node)) last.set(failed.node, failed.at_ms - dead_ms);
  }
  return last;
}

export const deathsAreNoticed: Checker = (run) =>
  noticed_ms(run)
    .filter(({ member }) => isLate(run, member))
    .map(({ member, ms }) => `the death of ${shortId(member)} was known to all after ${ms ?? 'no'} ms`);

function isLate(run: Run, member: NodeId): boolean {
  const { stage, story, living } = run;
  const dead_ms = stage.dead.get(member)!;
  const end_ms = dead_ms + story.noticed_ms_max;
  const learned = learned_ms(run, member);
  return [...living.keys()].some((node) => {
    const ms = learned.get(node);
    const awake_ms = stage.awakeFrom_ms(node, end_ms);
    return ms === undefined || dead_ms + ms > (awake_ms > end_ms ? awake_ms + TAKEN_IN_MS : end_ms);
  });
}
