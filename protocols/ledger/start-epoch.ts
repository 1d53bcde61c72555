/**
 * The epoch of a life of this node: under which numbers it writes from a start to its end. The time of the start, so
 * that no two lives share one: not when the disk is an older one, a restored snapshot or damaged, not when it could
 * not be written, and not when nobody can be asked. Epochs are 32 bits: seconds last until 2106.
 */
import type { LedgerRecord } from './record.ts';
import { EPOCH_END } from './record-reader.ts';

/**
 * @param before of the last life that this disk knows of, if any. @param now milliseconds; a clock without a battery
 * begins anew after a power cut, so the stamps of the records that are on disk count as well.
 */
export function startEpoch(before: number | undefined, now: number, records: Iterable<LedgerRecord>): number {
  let latest_ms = now;
  for (const { hlc } of records) latest_ms = Math.max(latest_ms, hlc.ms);
  return Math.min(Math.max((before ?? 0) + 1, Math.floor(latest_ms / 1000)), EPOCH_END - 1);
}
