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

/** A hybrid logical clock stamp: wall milliseconds, then a counter for events within one. */
export interface Hlc {
  readonly ms: number;
  readonly n: number;
}

/** A stamp further ahead of our clock than this is not accepted. */
export const HLC_AHEAD_MS_MAX = 60_000;
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

/** The clock after seeing `seen`; a stamp too far ahead leaves it as it was. */
export function hlcSeen(last: Hlc, seen: Hlc, now: number): Hlc {
  if (seen.ms > now + HLC_AHEAD_MS_MAX) return last;
  return hlcCompare(seen, last) > 0 ? seen : last;
}
