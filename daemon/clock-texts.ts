/** What users are told of clocks that are wrong, and what to do about it. Pure. */
import { clockCode, HLC_AHEAD_MS_MAX } from '../protocols/base/clock.ts';
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
  /** Other members, the worst first; by the middle of all, or, where that is not known, by the clock of this host. */
  readonly wrong: readonly OtherClock[];
  readonly isMiddleKnown: boolean;
  /** Members that cannot be connected to, for their certificates are out of time by the clock of this host. */
  readonly untimely: readonly OtherClock[];
  /** Members besides this one. */
  readonly others_count: number;
}

export interface OtherClock {
  readonly name: string;
  /** Negative: behind. */
  readonly ahead_ms: number;
}

export function clockTexts(problems: ClockProblems): string[] {
  const { off_ms, refusal, wrong, isMiddleKnown, untimely, others_count } = problems;
  return [
    ...ownTexts(off_ms, refusal),
    ...untimelyTexts(untimely, others_count),
    ...wrong.slice(0, WRONG_TOLD_MAX).map((one) => wrongText(one, isMiddleKnown)),
  ];
}

function ownTexts(off_ms: number | null, refusal: StampRefusal | null): string[] {
  if (refusal !== null)
    return [`E_CLOCK_AHEAD: ${refusalText(refusal)}; changes that are asked of this node are refused`];
  if (off_ms === null) return [];
  const effect =
    off_ms > 0
      ? `beyond ${ACCEPTED_S} s no other takes what is written here`
      : `what others write is not taken here before this clock is within ${ACCEPTED_S} s of it`;
  return [
    `${clockCode(off_ms)}: the clock of this host is ${distance(off_ms)} those of the other members; ${effect}. Set it, with an NTP client`,
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

/** Where they are most of all it is this clock that is wrong, as far as can be told. */
function untimelyTexts(untimely: readonly OtherClock[], others_count: number): string[] {
  const [first] = [...untimely].sort((a, b) => Math.abs(b.ahead_ms) - Math.abs(a.ahead_ms));
  if (first === undefined) return [];
  const isOwn = 2 * untimely.length > others_count;
  const off_ms = isOwn ? -first.ahead_ms : first.ahead_ms;
  const named = untimely.slice(0, WRONG_TOLD_MAX).map(({ name }) => name);
  const more = untimely.length - named.length;
  const who = `${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
  const [certificates, theirs] =
    untimely.length === 1
      ? ['its certificate is', 'its clock is']
      : ['their certificates are', 'their clocks are'];
  const [whose, than] = isOwn
    ? ['the clock of this host is', 'those of the others']
    : [theirs, 'that of this host'];
  return [
    `${clockCode(off_ms)}: this host cannot connect to ${who}, for ${certificates} out of time by the clock of this host: it seems that ` +
      `${whose} ${distance(off_ms)} ${than}, or by more. Set it, with an NTP client`,
  ];
}

function wrongText({ name, ahead_ms }: OtherClock, isMiddleKnown: boolean): string {
  const what = isMiddleKnown
    ? 'those of the others; set it on that host'
    : 'that of this host, and no third was heard that could tell which is wrong; set it on that host, or on this one';
  return `${clockCode(ahead_ms)}: the clock of ${name} is ${distance(ahead_ms)} ${what}, with an NTP client`;
}

function distance(ahead_ms: number): string {
  return `${Math.round(Math.abs(ahead_ms) / 1000)} s ${ahead_ms > 0 ? 'ahead of' : 'behind'}`;
}
