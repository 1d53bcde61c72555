/** What honest members write reaches all of them in time, whatever some members do, and those are found out. */
import { shortId } from '../../../protocols/base/ids.ts';
import type { Checker } from './checker.ts';

/** With nobody else's help: the time of one anti-entropy, and some. */
const APPLIED_MS_MAX = 10_000;
/** Attacks that leave a trace in what honest nodes refuse. */
const REFUSED: ReadonlySet<string> = new Set(['forge', 'malformed', 'grants', 'stamps']);
/** Attacks that no honest program could commit by mistake: they end in a ban. */
const BANNED: ReadonlySet<string> = new Set(['forge', 'malformed']);

export const harmIsContained: Checker = ({ chronicle, stage, living, attack }) => {
  if (attack === undefined) return [];
  const violations: string[] = [];
  for (const { writer, at_ms, last_ms, applied_count } of chronicle.acknowledged.values()) {
    if (stage.byzantine.includes(writer)) continue;
    if (applied_count < living.size || last_ms - at_ms > APPLIED_MS_MAX)
      violations.push(
        `a record of ${shortId(writer)} was on ${applied_count} nodes after ${Math.round(last_ms - at_ms)} ms`,
      );
  }
  if (REFUSED.has(attack) && chronicle.rejected.size === 0) violations.push('nothing was refused');
  if (BANNED.has(attack) && !chronicle.bans.some(({ peer }) => stage.byzantine.includes(peer)))
    violations.push('nobody was banned');
  if (attack === 'equivocate' && !stage.byzantine.some((id) => chronicle.equivocators.has(id)))
    violations.push('two records for one number were not noticed');
  return violations;
};
