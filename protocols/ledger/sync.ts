/**
 * Messages of the ledger between two nodes, and their wire form: msgpack arrays with a version first.
 *
 *   hello   [2, 'h', hash 16, records, horizon ms]     "this is what I have"; answered when the hash differs
 *           [2, 'h', …, settled ms, hash 16]           and "this was the hash of what has stamps up to then"; who does
 *                                                      not know these two fields passes over them
 *   compare [2, 'c', splits, listings, wants, horizon ms]   each list may be empty:
 *             split   [prefix, [[prefix, words 16, count]…]]   "my range is made of these, and of nothing else"
 *             listing [prefix, items 20 bytes each]            "my range holds these records"
 *             want    [prefix, digests 8 bytes each]           "give me these of that range"
 *   records [2, 'r', [envelope…], last, more]          `last` of this turn; `more`: there would have been more
 *   gossip  [2, 'g', [envelope…]]                      new records, published to all
 *
 * A range is the records whose place begins with `prefix`, hex digits. An item is 8 bytes of digest, 4 of the low half
 * of the place, and the stamp: 6 bytes of milliseconds and 2 of the counter.
 * Source: Meyer, "Range-Based Set Reconciliation" (2023). Pure. Which message follows which is reconcile.ts.
 */
import { decode, encode } from '../base/codec.ts';
import { Cursor } from '../base/cursor.ts';
import { ShoalError } from '../base/errors.ts';
import { fromHex, toHex } from '../base/ids.ts';
import { type LedgerRecord, RECORD_BYTES_MAX, type Words } from './record.ts';
import { PREFIX_LENGTH_MAX, type Prefix } from './record-trie.ts';

export const SYNC_VERSION = 2;
/** One message; a longer repair is several. */
export const SYNC_BYTES_MAX = 1 << 20;
/** Envelopes are put into a message until it would pass this. */
export const CHUNK_BYTES = 256 * 1024;
/** Of each kind in one message. */
export const COMPARISONS_MAX = 1024;
/** In one split. */
export const PARTS_MAX = 64;
/** Records in one listing or want. */
export const LISTED_MAX = 4096;
const ENVELOPES_MAX = 16_384;
const ITEM_BYTES = 20;
const SHORT_DIGEST_BYTES = 8;
const GOSSIP = 'g'.charCodeAt(0);

/** The first half of a digest's hex text. */
export type ShortDigest = string;

export interface Part {
  readonly prefix: Prefix;
  readonly words: Words;
  readonly count: number;
}

export interface Split {
  readonly prefix: Prefix;
  readonly parts: readonly Part[];
}

export interface Item {
  readonly digest: ShortDigest;
  /** Unsigned. */
  readonly placeLow: number;
  readonly ms: number;
  readonly n: number;
}

export interface Listing {
  readonly prefix: Prefix;
  readonly items: readonly Item[];
}

/** As long as it may be, a listing shows what has digests from its first to its last, round in a ring, and not all. */
export function isPart({ items }: Listing): boolean {
  return items.length >= LISTED_MAX;
}

/** Whether a listing would hold the record, if its author had it. */
export function isShown(listing: Listing, digest: ShortDigest): boolean {
  if (!isPart(listing)) return true;
  const { items } = listing;
  const first = items[0]!.digest;
  const last = items[items.length - 1]!.digest;
  return first <= last ? digest >= first && digest <= last : digest >= first || digest <= last;
}

export interface Want {
  readonly prefix: Prefix;
  readonly digests: readonly ShortDigest[];
}

export interface Compare {
  readonly kind: 'compare';
  readonly splits: readonly Split[];
  readonly listings: readonly Listing[];
  readonly wants: readonly Want[];
  readonly horizon_ms: number;
}

export type SyncMessage =
  | {
      readonly kind: 'hello';
      readonly hash: string;
      readonly records: number;
      /** The sender has collected tombstones up to this stamp. */
      readonly horizon_ms: number;
      /** Left out when nothing has a later stamp. */
      readonly settled?: { readonly upTo_ms: number; readonly hash: string };
    }
  | Compare
  | {
      readonly kind: 'records';
      readonly envelopes: readonly Uint8Array[];
      readonly last: boolean;
      readonly more: boolean;
    };

export function encodeSync(message: SyncMessage): Uint8Array {
  switch (message.kind) {
    case 'hello': {
      const { hash, records, horizon_ms, settled } = message;
      const more = settled === undefined ? [] : [settled.upTo_ms, fromHex(settled.hash)];
      return encode([SYNC_VERSION, 'h', fromHex(hash), records, horizon_ms, ...more]);
    }
    case 'compare':
      return encode([
        SYNC_VERSION,
        'c',
        message.splits.map(({ prefix, parts }) => [
          prefix,
          parts.map((part) => [part.prefix, encodeWords(part.words), part.count]),
        ]),
        message.listings.map(({ prefix, items }) => [prefix, encodeItems(items)]),
        message.wants.map(({ prefix, digests }) => [prefix, fromHex(digests.join(''))]),
        message.horizon_ms,
      ]);
    case 'records':
      return encode([SYNC_VERSION, 'r', message.envelopes, message.last, message.more]);
  }
}

/** Is it of a version that this one does not know yet? Every message is a short array that begins with its version. */
export function isLaterVersion(bytes: Uint8Array): boolean {
  if (bytes.length < 2) return false;
  const head = bytes[0]!;
  const version = bytes[1]!;
  return head >> 4 === 0x9 && version > SYNC_VERSION && version < 0x80;
}

/** @throws ShoalError E_TOO_LARGE or E_MALFORMED. */
export function decodeSync(bytes: Uint8Array): SyncMessage {
  const fields = decode(bytes, SYNC_BYTES_MAX);
  if (!Array.isArray(fields) || fields[0] !== SYNC_VERSION) throw malformed();
  const [, kind, a, b, c, d, e] = fields as unknown[];
  switch (kind) {
    case 'h':
      return {
        kind: 'hello',
        hash: toHex(bin(a, 16)),
        records: count(b),
        horizon_ms: count(c),
        ...(d === undefined ? {} : { settled: { upTo_ms: count(d), hash: toHex(bin(e, 16)) } }),
      };
    case 'c':
      return {
        kind: 'compare',
        splits: apart(list(a, COMPARISONS_MAX).map(decodeSplit)),
        listings: apart(
          list(b, COMPARISONS_MAX).map((listing) => {
            const [prefix, items] = list(listing, 2);
            return { prefix: prefixOf(prefix), items: decodeItems(items) };
          }),
        ),
        wants: apart(
          list(c, COMPARISONS_MAX).map((want) => {
            const [prefix, digests] = list(want, 2);
            const text = toHex(bins(digests, SHORT_DIGEST_BYTES));
            return { prefix: prefixOf(prefix), digests: text.match(/.{16}/g) ?? [] };
          }),
        ),
        horizon_ms: count(d),
      };
    case 'r':
      return {
        kind: 'records',
        envelopes: list(a, ENVELOPES_MAX).map(envelope),
        last: b === true,
        more: c === true,
      };
    default:
      throw malformed();
  }
}

export function encodeGossip(envelopes: readonly Uint8Array[]): Uint8Array {
  return encode([SYNC_VERSION, 'g', envelopes]);
}

/** @returns views into `bytes`. @throws ShoalError E_TOO_LARGE or E_MALFORMED. */
export function decodeGossip(bytes: Uint8Array): readonly Uint8Array[] {
  const quick = readGossip(bytes);
  if (quick !== undefined) return quick;
  const fields = decode(bytes, SYNC_BYTES_MAX);
  if (!Array.isArray(fields) || fields[0] !== SYNC_VERSION || fields[1] !== 'g') throw malformed();
  return list(fields[2], ENVELOPES_MAX).map(envelope);
}

/** Of the gossip that is being read. */
const cursor = new Cursor(new Uint8Array(0));

/** As `encodeGossip` makes it; undefined for what else may be right. */
function readGossip(bytes: Uint8Array): Uint8Array[] | undefined {
  if (bytes.byteLength > SYNC_BYTES_MAX) return undefined;
  cursor.begin(bytes);
  if (cursor.array() !== 3 || cursor.count() !== SYNC_VERSION || cursor.text() !== 1) return undefined;
  if (bytes[cursor.at] !== GOSSIP) return undefined;
  cursor.pass(1);
  const count = cursor.array();
  if (count < 0 || count > ENVELOPES_MAX) return undefined;
  const envelopes: Uint8Array[] = [];
  for (let at = 0; at < count; at += 1) {
    const length = cursor.binary();
    if (length < 0 || length > RECORD_BYTES_MAX) return undefined;
    const envelope = bytes.subarray(cursor.at, cursor.at + length);
    cursor.pass(length);
    if (count === 1) return cursor.isAtEnd ? [envelope] : undefined;
    envelopes.push(envelope);
  }
  return cursor.isAtEnd ? envelopes : undefined;
}

export function shortDigest(record: LedgerRecord): ShortDigest {
  return record.digest.slice(0, 2 * SHORT_DIGEST_BYTES);
}

export function itemOf(record: LedgerRecord): Item {
  const { placeLow, hlc } = record;
  return { digest: shortDigest(record), placeLow: placeLow >>> 0, ms: hlc.ms, n: hlc.n };
}

function encodeWords(words: Words): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < 4; at += 1) view.setInt32(at * 4, words[at]!);
  return bytes;
}

function encodeItems(items: readonly Item[]): Uint8Array {
  const bytes = new Uint8Array(items.length * ITEM_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [at, { digest, placeLow, ms, n }] of items.entries()) {
    const start = at * ITEM_BYTES;
    view.setUint32(start, Number.parseInt(digest.slice(0, 8), 16));
    view.setUint32(start + 4, Number.parseInt(digest.slice(8), 16));
    view.setUint32(start + 8, placeLow);
    view.setUint32(start + 12, Math.floor(ms / 2 ** 16));
    view.setUint16(start + 16, ms % 2 ** 16);
    view.setUint16(start + 18, Math.min(n, 0xffff));
  }
  return bytes;
}

function decodeItems(value: unknown): Item[] {
  const bytes = bins(value, ITEM_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const items: Item[] = [];
  for (let start = 0; start < bytes.byteLength; start += ITEM_BYTES) {
    items.push({
      digest: toHex(bytes.subarray(start, start + SHORT_DIGEST_BYTES)),
      placeLow: view.getUint32(start + 8),
      ms: view.getUint32(start + 12) * 2 ** 16 + view.getUint16(start + 16),
      n: view.getUint16(start + 18),
    });
  }
  return items;
}

function decodeSplit(value: unknown): Split {
  const [prefix, parts] = list(value, 2);
  const split = { prefix: prefixOf(prefix), parts: apart(list(parts, PARTS_MAX).map(decodePart)) };
  if (!split.parts.every((part) => part.prefix.startsWith(split.prefix))) throw malformed();
  return split;
}

/** Ranges that do not overlap: else one short message would have every record looked at a thousand times. */
function apart<T extends { readonly prefix: Prefix }>(ranges: T[]): T[] {
  const prefixes = ranges.map(({ prefix }) => prefix).sort();
  for (let at = 1; at < prefixes.length; at += 1)
    if (prefixes[at]!.startsWith(prefixes[at - 1]!)) throw malformed();
  return ranges;
}

function decodePart(value: unknown): Part {
  const [prefix, words, records] = list(value, 3);
  const bytes = bin(words, 16);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    prefix: prefixOf(prefix),
    words: [view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12)],
    count: count(records),
  };
}

function list(value: unknown, length_max: number): unknown[] {
  if (!Array.isArray(value) || value.length > length_max) throw malformed();
  return value;
}

function count(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw malformed();
  return value;
}

function prefixOf(value: unknown): Prefix {
  if (typeof value !== 'string' || value.length > PREFIX_LENGTH_MAX || !/^[0-9a-f]*$/.test(value))
    throw malformed();
  return value;
}

function bin(value: unknown, length: number): Uint8Array {
  if (!(value instanceof Uint8Array) || value.byteLength !== length) throw malformed();
  return value;
}

/** Many of one length, one after another. */
function bins(value: unknown, length: number): Uint8Array {
  if (!(value instanceof Uint8Array) || value.byteLength % length !== 0) throw malformed();
  if (value.byteLength > length * LISTED_MAX) throw malformed();
  return value;
}

function envelope(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array) || value.byteLength > RECORD_BYTES_MAX) throw malformed();
  return value;
}

function malformed(): ShoalError {
  return new ShoalError('E_MALFORMED', 'a ledger message was dropped: unknown shape');
}
