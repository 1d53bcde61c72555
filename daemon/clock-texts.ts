/** What users are told of clocks that are wrong, and what to do about it. Pure. */
import { HLC_AHEAD_MS_MAX } from '../protocols/base/clock.ts';
import type { StampRefusal } from './drivers/clock-driver.ts';

/** Members in one answer: where many clocks are wrong, the worst show what is to be done. */
const WRONG_TOLD_MAX = 3;
const ACCEPTED_S = HLC_AHEAD_MS_MAX / 1000;

/** The clocks of a cluster, as one node sees them. */
export interface ClockProblems {
  /** By how much the clock of this host is ahead of most others, negative: behind; null: it is right, or not known. */
  readonly off_ms: number | null;
  /** Why what is asked of this node is refused; null: it is not. */
  readonly refusal: StampRefusal | null;
  /** Other members, the worst first. */
  readonly wrong: readonly { readonly name: string; readonly ahead_ms: number }[];
}

export function clockTexts({ off_ms, refusal, wrong }: ClockProblems): string[] {
  return [...ownTexts(off_ms, refusal), ...wrong.slice(0, WRONG_TOLD_MAX).map(wrongText)];
}

function ownTexts(off_ms: number | null, refusal: StampRefusal | null): string[] {
  if (refusal !== null)
    return [`E_CLOCK_AHEAD: ${refusalText(refusal)}; changes that are asked of this node are refused`];
  if (off_ms === null) return [];
  const code = off_ms > 0 ? 'E_CLOCK_AHEAD' : 'E_CLOCK_BEHIND';
  const effect =
    off_ms > 0
      ? `beyond ${ACCEPTED_S} s no other takes what is written here`
      : `what others write is not taken here before this clock is within ${ACCEPTED_S} s of it`;
  return [
    `${code}: the clock of this host is ${distance(off_ms)} those of the other members; ${effect}. Set it, with an NTP client`,
  ];
}

/** Why other members take nothing that a node writes now. @param host whose it is. */
export function refusalText({ lead_ms, until_ms }: StampRefusal, host = 'this host'): string {
  if (lead_ms > HLC_AHEAD_MS_MAX)
    return (
      `the clock of ${host} is ${distance(lead_ms)} those of the other members, and they take nothing from more than ` +
      `${ACCEPTED_S} s ahead: set it, with an NTP client`
    );
  const until = new Date(until_ms).toISOString();
  return (
    `the clock of ${host} was ahead, and so is what it writes, for stamps only grow: the other members take that from ` +
    `${until} on`
  );
}

function wrongText({ name, ahead_ms }: { readonly name: string; readonly ahead_ms: number }): string {
  const code = ahead_ms > 0 ? 'E_CLOCK_AHEAD' : 'E_CLOCK_BEHIND';
  return `${code}: the clock of ${name} is ${distance(ahead_ms)} those of the others; set it on that host, with an NTP client`;
}

function distance(ahead_ms: number): string {
  return `${Math.round(Math.abs(ahead_ms) / 1000)} s ${ahead_ms > 0 ? 'ahead of' : 'behind'}`;
}
