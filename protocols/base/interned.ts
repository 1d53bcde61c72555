/**
 * Values that are made from short texts of one unit a byte, found by those bytes: what comes again and again (authors,
 * kinds, keys) is neither decoded nor hashed again, and is one object in memory. A table of fixed size: what falls
 * on a taken slot takes it over, so whoever invents texts costs others a miss and nothing else.
 */
import { toLatin1 } from './ids.ts';

/** Of a slot that nothing has taken. */
const NOTHING = new Uint8Array(0);

export class Interned<Value extends object> {
  readonly #slots: (Value | undefined)[];
  /** What each was made from: compared faster than text. */
  readonly #sources: Uint8Array[];
  readonly #make: (text: string) => Value | undefined;

  /** @param slots_count a power of two. @param make is asked once for each new text; undefined is not kept. */
  constructor(slots_count: number, make: (text: string) => Value | undefined) {
    this.#slots = new Array<Value | undefined>(slots_count).fill(undefined);
    this.#sources = new Array<Uint8Array>(slots_count).fill(NOTHING);
    this.#make = make;
  }

  /** @param end past the last byte; within `bytes`. */
  at(bytes: Uint8Array, start: number, end: number): Value | undefined {
    const slot = slotOf(bytes, start, end) & (this.#slots.length - 1);
    const known = this.#slots[slot];
    if (known !== undefined && isSame(this.#sources[slot]!, bytes, start, end)) return known;
    const value = this.#make(toLatin1(bytes, start, end));
    if (value !== undefined) {
      this.#slots[slot] = value;
      // A copy also of a Buffer, whose own `slice` is none.
      this.#sources[slot] = new Uint8Array(bytes.subarray(start, end));
    }
    return value;
  }
}

function isSame(source: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (source.length !== end - start) return false;
  // From the end: ids are at the beginning of keys, and those that share a slot may share them.
  for (let at = source.length - 1; at >= 0; at -= 1) if (source[at] !== bytes[start + at]) return false;
  return true;
}

/** The last eight bytes tell most texts apart. */
function slotOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = end - start;
  for (let at = Math.max(start, end - 8); at < end; at += 1) hash = Math.imul(hash, 31) + bytes[at]!;
  return hash ^ (hash >>> 15);
}
