/**
 * MessagePack, the only encoding on the wire and in the ledger. The one importer of msgpackr.
 *
 * Shared structures are off: bytes must not depend on what was encoded before. MessagePack is not canonical,
 * so signed bytes are kept and relayed verbatim and never made again from a decoded value.
 */
import { Packr } from 'msgpackr';
import { ShoalError } from './errors.ts';

// Bytes are copied out: a small record must not keep the whole message that brought it in memory.
const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  int64AsType: 'number',
  copyBuffers: true,
});
// What is read in place is looked at and dropped.
const reader = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });
/** Levels of arrays and maps within one another. */
const DEPTH_MAX = 64;

/**
 * Encodes plain data; keys keep their insertion order. None may be `__proto__`: so that it is no object's prototype, msgpackr
 * reads it as another name. @returns a copy that the caller owns.
 */
export function encode(value: unknown): Uint8Array {
  return new Uint8Array(packr.pack(value));
}

/**
 * @param bytes_max the largest message that the caller is willing to look at.
 * @throws ShoalError E_TOO_LARGE or E_MALFORMED. Nothing was changed.
 */
export function decode(bytes: Uint8Array, bytes_max: number): unknown {
  if (bytes.byteLength > bytes_max) {
    throw new ShoalError(
      'E_TOO_LARGE',
      `a message of ${bytes.byteLength} bytes is over the limit of ${bytes_max}`,
    );
  }
  let value: unknown;
  try {
    value = packr.unpack(bytes);
  } catch (cause) {
    throw new ShoalError('E_MALFORMED', 'the bytes are not MessagePack', { cause });
  }
  assertPlain(value);
  return value;
}

/**
 * For hot paths whose caller checks the type of every field that it uses: the bytes in the result are views into
 * `bytes`, and what is not looked at may be anything. @returns undefined for what is too large or no MessagePack.
 */
export function decodeInPlace(bytes: Uint8Array, bytes_max: number): unknown {
  if (bytes.byteLength > bytes_max) return undefined;
  try {
    return reader.unpack(bytes);
  } catch {
    return undefined;
  }
}

/**
 * What msgpackr's extensions can make, nobody here sends: dates, expressions, big numbers, references and rings.
 * They would go on to places that expect JSON.
 */
function assertPlain(value: unknown): void {
  const seen = new Set<object>();
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    const below: unknown[] = [];
    for (const item of level) {
      if (typeof item === 'bigint') throw notPlain();
      if (typeof item !== 'object' || item === null || item instanceof Uint8Array) continue;
      const plain = Array.isArray(item) || Object.getPrototypeOf(item) === Object.prototype;
      if (!plain || depth >= DEPTH_MAX || seen.has(item)) throw notPlain();
      seen.add(item);
      for (const inner of Object.values(item)) below.push(inner);
    }
    level = below;
  }
}

function notPlain(): ShoalError {
  return new ShoalError('E_MALFORMED', 'the bytes are MessagePack, but not plain data');
}
