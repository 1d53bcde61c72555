/**
 * Reads MessagePack where it lies, without making what nobody asks for: heads, numbers, lengths, and values that are
 * only passed over. For hot paths, in front of `decode`: it understands what `encode` makes of plain data, and says of
 * everything else that it does not, never that it is wrong. What it accepts, `decode` reads as the same
 * (test/protocols/base/cursor.test.ts). Every step is checked against the end; -1 and false mean "not understood", and
 * then where it stands means nothing.
 */

/** Levels of arrays and maps within one another that are passed over. */
const DEPTH_MAX = 16;

const float = new DataView(new ArrayBuffer(8));

export class Cursor {
  #bytes: Uint8Array;
  #end: number;
  /** Of the next byte. */
  at: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.at = start;
    this.#end = end;
  }

  /** Begins anew, with other bytes: a cursor that is used again and again costs nothing. */
  begin(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.at = 0;
    this.#end = bytes.length;
  }

  get isAtEnd(): boolean {
    return this.at === this.#end;
  }

  /** Goes on with a part of the same bytes. */
  enter(start: number, end: number): void {
    this.at = start;
    this.#end = end;
  }

  /** @returns how many items follow. */
  array(): number {
    const head = this.#byte();
    if (head >= 0x90 && head < 0xa0) return head & 0x0f;
    return head === 0xdc ? this.#big(2) : head === 0xdd ? this.#big(4) : -1;
  }

  /** @returns a whole number from 0 to MAX_SAFE_INTEGER. */
  count(): number {
    const head = this.#byte();
    if (head < 0x80) return head;
    switch (head) {
      case 0xcc:
        return this.#big(1);
      case 0xcd:
        return this.#big(2);
      case 0xce:
        return this.#big(4);
      case 0xcb:
        return this.#wholeFloat();
      default:
        return -1;
    }
  }

  /** @returns the length of the bytes that follow, all of which are there. */
  binary(): number {
    const head = this.#byte();
    return this.#length(head === 0xc4 ? 1 : head === 0xc5 ? 2 : head === 0xc6 ? 4 : -1);
  }

  /** @returns the length in bytes of the text that follows, all of which is there; it may be no UTF-8. */
  text(): number {
    const head = this.#byte();
    if (head >= 0xa0 && head < 0xc0) return this.#within(head & 0x1f);
    return this.#length(head === 0xd9 ? 1 : head === 0xda ? 2 : head === 0xdb ? 4 : -1);
  }

  /** Passes over bytes whose length has been told. */
  pass(length: number): void {
    this.at += length;
  }

  /** Passes over so many bytes of whatever is there, if they are. */
  passBytes(length: number): boolean {
    return this.#passed(length);
  }

  /** Passes over a text that is not empty, of at most `length_max` bytes. */
  passText(length_max: number): boolean {
    const length = this.text();
    if (length <= 0 || length > length_max) return false;
    this.at += length;
    return true;
  }

  /** Passes over `length` bytes, if that many are there as binary. */
  passBinary(length: number): boolean {
    if (this.binary() !== length) return false;
    this.at += length;
    return true;
  }

  isNull(): boolean {
    return this.#bytes[this.at] === 0xc0 && this.at < this.#end;
  }

  /** Passes over one value of plain data. */
  passValue(depth = 0): boolean {
    const head = this.#byte();
    if (head < 0) return false;
    // Small numbers of either sign, null, false, true.
    if (head < 0x80 || head >= 0xe0 || head === 0xc0 || head === 0xc2 || head === 0xc3) return true;
    if (head < 0xa0)
      return head < 0x90 ? this.#passMap(head & 0x0f, depth) : this.#passArray(head & 0x0f, depth);
    if (head < 0xc0) return this.#passed(head & 0x1f);
    switch (head) {
      case 0xc4:
      case 0xd9:
        return this.#passed(this.#big(1));
      case 0xc5:
      case 0xda:
        return this.#passed(this.#big(2));
      case 0xc6:
      case 0xdb:
        return this.#passed(this.#big(4));
      case 0xcc:
      case 0xd0:
        return this.#passed(1);
      case 0xcd:
      case 0xd1:
        return this.#passed(2);
      case 0xce:
      case 0xd2:
        return this.#passed(4);
      case 0xcb:
        return this.#passed(8);
      case 0xdc:
        return this.#passArray(this.#big(2), depth);
      case 0xde:
        return this.#passMap(this.#big(2), depth);
      default:
        return false;
    }
  }

  #passArray(length: number, depth: number): boolean {
    if (length < 0 || depth >= DEPTH_MAX) return false;
    for (let at = 0; at < length; at += 1) if (!this.passValue(depth + 1)) return false;
    return true;
  }

  /** Keys of other types than text are for others to judge. */
  #passMap(length: number, depth: number): boolean {
    if (length < 0 || depth >= DEPTH_MAX) return false;
    for (let at = 0; at < length; at += 1)
      if (!this.#passed(this.text()) || !this.passValue(depth + 1)) return false;
    return true;
  }

  #passed(length: number): boolean {
    if (this.#within(length) < 0) return false;
    this.at += length;
    return true;
  }

  #byte(): number {
    if (this.at >= this.#end) return -1;
    const byte = this.#bytes[this.at]!;
    this.at += 1;
    return byte;
  }

  /** An unsigned number of 1, 2 or 4 bytes. */
  #big(size: number): number {
    const at = this.at;
    if (size > this.#end - at) return -1;
    this.at += size;
    const bytes = this.#bytes;
    if (size === 1) return bytes[at]!;
    if (size === 2) return (bytes[at]! << 8) | bytes[at + 1]!;
    return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
  }

  /** Whole numbers from 2 ** 32 are encoded as floats. */
  #wholeFloat(): number {
    const high = this.#big(4);
    const low = this.#big(4);
    if (high < 0 || low < 0) return -1;
    float.setUint32(0, high);
    float.setUint32(4, low);
    const value = float.getFloat64(0);
    return high < 0x8000_0000 && Number.isSafeInteger(value) ? value : -1;
  }

  #length(size: number): number {
    return size < 0 ? -1 : this.#within(this.#big(size));
  }

  #within(length: number): number {
    return length <= this.#end - this.at ? length : -1;
  }
}
