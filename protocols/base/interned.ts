/**
 * Values that are made from short texts of one unit a byte, found by those bytes: what comes again and again (authors,
 * kinds, keys) is neither decoded nor hashed again, and is one object in memory. A table of fixed size: what falls
 * on a taken slot takes it over, so whoever invents texts costs others a miss and nothing else.
 */
import { toLatin1 } from './ids.ts';

/** What is kept of each text: its length in one byte, then its bytes. Nearly all are short enough. */
const KEPT_BYTES = 128;
const LENGTH_MAX = KEPT_BYTES - 1;
/** In place of the length of one that is longer, of which no bytes are kept. */
const LONG = KEPT_BYTES;
const ENTRIES_FIRST = 64;
/** Looked at one by one for a slot. */
const TAIL_BYTES = 8;

export class Interned<Value extends { readonly text: string }> {
  /** The number of the entry in each slot; 0 for none. */
  readonly #slots: Uint16Array;
  readonly #entries: (Value | undefined)[] = [undefined];
  /**
   * What each entry was made from, KEPT_BYTES apart: compared faster than text, without a look at the entry. They lie
   * close together, for every record that comes is looked up here.
   */
  #kept = new Uint8Array(ENTRIES_FIRST * KEPT_BYTES);
  readonly #make: (text: string) => Value | undefined;
  /** The entry that was found last: most often it is asked for again. */
  #last = 0;

  /**
   * @param slots_count a power of two, at most 2 ** 15. @param make is asked once for each new text, which the value
   * must have as its own; undefined is not kept.
   */
  constructor(slots_count: number, make: (text: string) => Value | undefined) {
    this.#slots = new Uint16Array(slots_count);
    this.#make = make;
  }

  /** @param end past the last byte; within `bytes`. */
  at(bytes: Uint8Array, start: number, end: number): Value | undefined {
    const last = this.#last;
    if (last !== 0 && this.#isFrom(last, bytes, start, end)) return this.#entries[last];
    const slot = slotOf(bytes, start, end) & (this.#slots.length - 1);
    const entry = this.#slots[slot]!;
    if (entry === 0 || !this.#isFrom(entry, bytes, start, end)) return this.#made(bytes, start, end, slot);
    this.#last = entry;
    return this.#entries[entry];
  }

  #isFrom(entry: number, bytes: Uint8Array, start: number, end: number): boolean {
    const kept = this.#kept;
    const from = entry * KEPT_BYTES;
    const length = end - start;
    if (length > LENGTH_MAX)
      return kept[from] === LONG && this.#entries[entry]!.text === toLatin1(bytes, start, end);
    if (kept[from] !== length) return false;
    // From the end: ids are at the beginning of keys, and those that share a slot may share them.
    for (let at = length; at > 0; at -= 1) if (kept[from + at] !== bytes[start + at - 1]) return false;
    return true;
  }

  #made(bytes: Uint8Array, start: number, end: number, slot: number): Value | undefined {
    const value = this.#make(toLatin1(bytes, start, end));
    if (value === undefined) return undefined;
    let entry = this.#slots[slot]!;
    if (entry === 0) {
      entry = this.#entries.length;
      this.#slots[slot] = entry;
    }
    this.#entries[entry] = value;
    this.#keep(entry, bytes.subarray(start, end));
    return value;
  }

  #keep(entry: number, bytes: Uint8Array): void {
    const at = entry * KEPT_BYTES;
    if (at >= this.#kept.length) {
      const before = this.#kept;
      this.#kept = new Uint8Array(2 * before.length);
      this.#kept.set(before);
    }
    this.#kept[at] = Math.min(bytes.length, LONG);
    if (bytes.length <= LENGTH_MAX) this.#kept.set(bytes, at + 1);
  }
}

/**
 * The last eight bytes, and some of those before them: keys of many authors may end alike, as those of what they run do,
 * and those of one author alike but for the kind.
 */
function slotOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = end - start;
  const tail = Math.max(start, end - TAIL_BYTES);
  const stride = 1 + ((end - start) >> 3);
  for (let at = start + 1; at < tail; at += stride) hash = Math.imul(hash, 31) + bytes[at]!;
  for (let at = tail; at < end; at += 1) hash = Math.imul(hash, 31) + bytes[at]!;
  return hash ^ (hash >>> 15);
}
