/**
 * Values that are made from short texts of one unit a byte, found by those bytes: what comes again and again (authors,
 * kinds, keys) is neither decoded nor hashed again, and is one object in memory. A table of fixed size: what falls
 * on a taken slot takes it over, so whoever invents texts costs others a miss and nothing else.
 */
import { toLatin1 } from './ids.ts';

export interface Named {
  /** One unit a byte, so below 256. */
  readonly text: string;
}

export class Interned<Value extends Named> {
  readonly #slots: (Value | undefined)[];
  readonly #make: (text: string) => Value | undefined;

  /** @param slots_count a power of two. @param make is asked once for each new text; undefined is not kept. */
  constructor(slots_count: number, make: (text: string) => Value | undefined) {
    this.#slots = new Array<Value | undefined>(slots_count).fill(undefined);
    this.#make = make;
  }

  /** @param end past the last byte; within `bytes`. */
  at(bytes: Uint8Array, start: number, end: number): Value | undefined {
    const slot = slotOf(bytes, start, end) & (this.#slots.length - 1);
    const known = this.#slots[slot];
    if (known !== undefined && isText(known.text, bytes, start, end)) return known;
    const value = this.#make(toLatin1(bytes, start, end));
    if (value !== undefined) this.#slots[slot] = value;
    return value;
  }
}

function isText(text: string, bytes: Uint8Array, start: number, end: number): boolean {
  if (text.length !== end - start) return false;
  // From the end: ids are at the beginning of keys, and those that share a slot may share them.
  for (let at = text.length - 1; at >= 0; at -= 1)
    if (text.charCodeAt(at) !== bytes[start + at]) return false;
  return true;
}

/** The last eight bytes tell most texts apart. */
function slotOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = end - start;
  for (let at = Math.max(start, end - 8); at < end; at += 1) hash = Math.imul(hash, 31) + bytes[at]!;
  return hash ^ (hash >>> 15);
}
