/**
 * Messages of anti-entropy between two nodes, and their wire form: msgpack arrays with a version first.
 *
 *   hello   [1, 'h', hash, records]                  "this is what I have"; answered only when the hash differs
 *   vector  [1, 'v', hash, [[author, epoch, high]…], back]
 *                                                     "I have seen this"; `back`: answer with yours as well
 *   records [1, 'r', [[author, epoch, from, to]…], [envelope…]]
 *           all live records of each stream with sequences in (from, to]: what is not there was replaced
 *   digests [1, 'd', [digest…]]                       sent when vectors are equal and hashes are not
 *
 * Pure. Which message follows which is machine.ts.
 */
import { decode, encode } from '../base/codec.ts';
import { ShoalError } from '../base/errors.ts';
import { fromHex, type KeyId, keyIdFromPublicKey, publicKeyFromKeyId, toHex } from '../base/ids.ts';
import { EPOCH_END, RECORD_BYTES_MAX } from './record.ts';

export const SYNC_VERSION = 1;
/** One message; a longer repair is several. */
export const SYNC_BYTES_MAX = 1 << 20;
/** Envelopes are put into a message until it would pass this. */
export const CHUNK_BYTES = 256 * 1024;
/** Streams in one vector message. */
export const VECTOR_ENTRIES_MAX = 12_000;
export const DIGESTS_MAX = 24_000;

export interface Range {
  readonly author: KeyId;
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
}

export type SyncMessage =
  | { readonly kind: 'hello'; readonly hash: string; readonly records: number }
  | {
      readonly kind: 'vector';
      readonly hash: string;
      readonly entries: readonly { readonly author: KeyId; readonly epoch: number; readonly high: number }[];
      readonly back: boolean;
    }
  | { readonly kind: 'records'; readonly ranges: readonly Range[]; readonly envelopes: readonly Uint8Array[] }
  | { readonly kind: 'digests'; readonly digests: readonly string[] };

export function encodeSync(message: SyncMessage): Uint8Array {
  switch (message.kind) {
    case 'hello':
      return encode([SYNC_VERSION, 'h', fromHex(message.hash), message.records]);
    case 'vector':
      return encode([
        SYNC_VERSION,
        'v',
        fromHex(message.hash),
        message.entries.map(({ author, epoch, high }) => [publicKeyFromKeyId(author), epoch, high]),
        message.back,
      ]);
    case 'records':
      return encode([
        SYNC_VERSION,
        'r',
        message.ranges.map(({ author, epoch, from, to }) => [publicKeyFromKeyId(author), epoch, from, to]),
        message.envelopes,
      ]);
    case 'digests':
      return encode([SYNC_VERSION, 'd', message.digests.map(fromHex)]);
  }
}

/** @throws ShoalError E_TOO_LARGE or E_MALFORMED. */
export function decodeSync(bytes: Uint8Array): SyncMessage {
  const fields = decode(bytes, SYNC_BYTES_MAX);
  if (!Array.isArray(fields) || fields[0] !== SYNC_VERSION) throw malformed();
  const [, kind, a, b, c] = fields as unknown[];
  switch (kind) {
    case 'h':
      return { kind: 'hello', hash: hex(a), records: count(b) };
    case 'v':
      return {
        kind: 'vector',
        hash: hex(a),
        entries: list(b, VECTOR_ENTRIES_MAX).map((entry) => {
          const [author, epoch, high] = list(entry, 3);
          return { author: keyId(author), epoch: epochOf(epoch), high: count(high) };
        }),
        back: c === true,
      };
    case 'r':
      return {
        kind: 'records',
        ranges: list(a, VECTOR_ENTRIES_MAX).map((entry) => {
          const [author, epoch, from, to] = list(entry, 4);
          return { author: keyId(author), epoch: epochOf(epoch), from: count(from), to: count(to) };
        }),
        envelopes: list(b, VECTOR_ENTRIES_MAX).map((envelope) => {
          if (!(envelope instanceof Uint8Array) || envelope.byteLength > RECORD_BYTES_MAX) throw malformed();
          return envelope;
        }),
      };
    case 'd':
      return { kind: 'digests', digests: list(a, DIGESTS_MAX).map(hex) };
    default:
      throw malformed();
  }
}

/** Gossip: new envelopes, [1, 'g', [envelope…]]. */
export function encodeGossip(envelopes: readonly Uint8Array[]): Uint8Array {
  return encode([SYNC_VERSION, 'g', envelopes]);
}

/** @throws ShoalError E_TOO_LARGE or E_MALFORMED. */
export function decodeGossip(bytes: Uint8Array): readonly Uint8Array[] {
  const fields = decode(bytes, SYNC_BYTES_MAX);
  if (!Array.isArray(fields) || fields[0] !== SYNC_VERSION || fields[1] !== 'g') throw malformed();
  return list(fields[2], VECTOR_ENTRIES_MAX).map((envelope) => {
    if (!(envelope instanceof Uint8Array) || envelope.byteLength > RECORD_BYTES_MAX) throw malformed();
    return envelope;
  });
}

function list(value: unknown, length_max: number): unknown[] {
  if (!Array.isArray(value) || value.length > length_max) throw malformed();
  return value;
}

function count(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw malformed();
  return value;
}

function epochOf(value: unknown): number {
  const epoch = count(value);
  if (epoch >= EPOCH_END) throw malformed();
  return epoch;
}

function hash(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array) || value.byteLength !== 32) throw malformed();
  return value;
}

function hex(value: unknown): string {
  return toHex(hash(value));
}

function keyId(value: unknown): KeyId {
  return keyIdFromPublicKey(hash(value));
}

function malformed(): ShoalError {
  return new ShoalError('E_MALFORMED', 'a ledger message was dropped: unknown shape');
}
