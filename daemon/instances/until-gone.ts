/** Containers that do not go at the first try are stopped again and again: what would run in their place waits. */
import { type Clock, pause } from '../clock.ts';

/** Between two tries: the first pause, and the last, each twice as long as the one before. */
const PAUSE_MS_MIN = 1_000;
const PAUSE_MS_MAX = 60_000;

/** @returns false when the signal aborts before they have gone. */
export async function untilGone(
  clock: Clock,
  signal: AbortSignal,
  areGone: () => Promise<boolean>,
): Promise<boolean> {
  for (let pause_ms = PAUSE_MS_MIN; ; pause_ms = Math.min(PAUSE_MS_MAX, pause_ms * 2)) {
    if (await areGone()) return true;
    await pause(clock, pause_ms, signal);
    if (signal.aborted) return false;
  }
}
