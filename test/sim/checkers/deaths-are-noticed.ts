/**
 * A member that dies is failed in every view within the bound that the scenario states, or, in that of one that is paused
 * when it ends, as soon as it goes on.
 */
import { type NodeId, shortId } from '../../../protocols/base/ids.ts';
import type { Checker, Run } from './checker.ts';

/** What waited for one that was paused it takes in one after the other. */
const TAKEN_IN_MS = 500;

/** How long after the death of a member each living node held it as failed that did. */
type Learned = ReadonlyMap<NodeId, number>;

/** @returns how long after each death the last living node held the member as failed; null when one never did. */
export function noticed_ms(run: Run): { member: NodeId; ms: number | null; learned_ms: Learned }[] {
  return [...run.stage.dead.keys()].map((member) => {
    const learned_ms = learned(run, member);
    const latest_ms = [...learned_ms.values()].reduce((latest, ms) => Math.max(latest, ms), 0);
    return { member, ms: learned_ms.size < run.living.size ? null : Math.round(latest_ms), learned_ms };
  });
}

function learned({ stage, chronicle, living }: Run, member: NodeId): Learned {
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
    .filter(({ member, learned_ms }) => isLate(run, member, learned_ms))
    .map(({ member, ms }) => `the death of ${shortId(member)} was known to all after ${ms ?? 'no'} ms`);

function isLate({ stage, story, living }: Run, member: NodeId, learned_ms: Learned): boolean {
  const dead_ms = stage.dead.get(member)!;
  const end_ms = dead_ms + story.noticed_ms_max;
  return [...living.keys()].some((node) => {
    const ms = learned_ms.get(node);
    const awake_ms = stage.awakeFrom_ms(node, end_ms);
    return ms === undefined || dead_ms + ms > (awake_ms > end_ms ? awake_ms + TAKEN_IN_MS : end_ms);
  });
}
