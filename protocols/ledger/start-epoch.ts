/**
 * The epoch of a life of this node: under which numbers it writes from a start to its end. The time of the start, so
 * that two lives hardly ever share one: not when the disk is an older one, a restored snapshot or damaged, not when it
 * could not be written, and not when nobody can be asked. Epochs are 32 bits: seconds last until 2106.
 */
import type { LedgerRecord } from './record.ts';
import { EPOCH_END } from './record-reader.ts';

/** By so much what is on disk may be ahead of the clock: clocks differ. */
const BEHIND_MS = 1000;
/** Few enough for a node that starts again and again, for years, by a clock that is never right. */
const LOTS = 1024;

/**
 * @param before of the last life that this disk knows of, if any. @param now milliseconds; a clock without a battery
 * begins anew after a power cut, so the stamps of the records that are on disk count as well. But what is on it is the same
 * in each life that begins with this very disk, when it is put back as it was: where the clock is behind that, the lives are
 * told apart by lot. A clock that goes on from a time that this same disk has kept is as old as the disk, and nothing tells.
 * @param random from 0 up to 1.
 */
export function startEpoch(
  before: number | undefined,
  now: number,
  records: Iterable<LedgerRecord>,
  random: () => number,
): number {
  let latest_ms = now;
  for (const { hlc } of records) latest_ms = Math.max(latest_ms, hlc.ms);
  const least = Math.max((before ?? 0) + 1, Math.floor(latest_ms / 1000));
  return least > Math.floor((now + BEHIND_MS) / 1000)
    ? epochAfter(least - 1, random)
    : Math.min(least, EPOCH_END - 1);
}

/** One after what others know of a former life, or may: each life that is told of it takes another, most likely. */
export function epochAfter(former: number, random: () => number, lots = LOTS): number {
  return Math.min(former + 1 + Math.floor(random() * lots), EPOCH_END - 1);
}
