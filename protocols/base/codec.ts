/**
 * MessagePack, the only encoding on the wire and in the ledger. The one importer of msgpackr.
 *
 * Shared structures are off: bytes must not depend on what was encoded before. MessagePack is not canonical,
 * so signed bytes are kept and relayed verbatim and never made again from a decoded value.
 */
import { Packr } from 'msgpackr';
import { ShoalError } from './errors.ts';

const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });

/** Encodes plain data; keys keep their insertion order. @returns a copy that the caller owns. */
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
  try {
    return packr.unpack(bytes);
  } catch (cause) {
    throw new ShoalError('E_MALFORMED', 'the bytes are not MessagePack', { cause });
  }
}
