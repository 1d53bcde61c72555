/**
 * Time for the cores: what a handler is given, and hybrid logical clocks.
 * Source: Kulkarni et al., "Logical Physical Clocks" (2014). Nothing durable is ordered by the wall clock alone.
 */

/** What every pure handler gets besides its event. */
export interface Env {
  /** Milliseconds since the Unix epoch, from the injected clock. */
  readonly now: number;
  /** Uniform in [0, 1), from the injected source. */
  readonly random: () => number;
}

/** The last moment that a Date can be. Source: ECMA-262, section 21.4.1.1. */
export const TIME_MS_MAX = 8.64e15;

/** A hybrid logical clock stamp: wall milliseconds, then a counter for events within one. */
export interface Hlc {
  readonly ms: number;
  readonly n: number;
}

/** A stamp further ahead of our clock than this is not accepted. */
export const HLC_AHEAD_MS_MAX = 60_000;
/**
 * Others' stamps are followed no further ahead of our clock: any member may stamp as far ahead as is accepted, and what bore
 * the next stamp would be refused by all whose clocks are a moment behind ours. The rest up to HLC_AHEAD_MS_MAX is left for
 * clocks that differ, and it must be no more than STAMP_LATE_MS (trust/cuts.ts): by so much what was accepted may be later than
 * our next stamp, and a revocation shall leave what its author has seen.
 */
export const HLC_FOLLOWED_MS_MAX = 10_000;
/** The counter's cap: beyond it the stamp moves to the next millisecond. */
const COUNTER_MAX = 0xffff;

export function hlcCompare(a: Hlc, b: Hlc): number {
  return a.ms - b.ms || a.n - b.n;
}

/** The stamp of the next local event. */
export function hlcNext(last: Hlc, now: number): Hlc {
  if (now > last.ms) return { ms: now, n: 0 };
  return last.n < COUNTER_MAX ? { ms: last.ms, n: last.n + 1 } : { ms: last.ms + 1, n: 0 };
}

/** The clock after seeing `seen`: at least that, but no further ahead than it is followed; what is not accepted changes nothing. */
export function hlcSeen(last: Hlc, seen: Hlc, now: number): Hlc {
  if (seen.ms > now + HLC_AHEAD_MS_MAX) return last;
  const end_ms = now + HLC_FOLLOWED_MS_MAX;
  return hlcLater(last, seen.ms > end_ms ? { ms: end_ms, n: 0 } : seen);
}

export function hlcLater(one: Hlc, other: Hlc): Hlc {
  return hlcCompare(other, one) > 0 ? other : one;
}

/** What is wrong with a clock that is ahead by so much, or behind where that is negative. */
export function clockCode(ahead_ms: number): 'E_CLOCK_AHEAD' | 'E_CLOCK_BEHIND' {
  return ahead_ms > 0 ? 'E_CLOCK_AHEAD' : 'E_CLOCK_BEHIND';
}
