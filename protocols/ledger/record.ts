/**
 * One signed record: its wire form, how it is made and how it is read. See docs in DESIGN section 2.
 *
 * payload   = msgpack [version, cluster 32 bytes, author 32 bytes, epoch, seq, hlc ms, hlc n, kind, key,
 *             generation, context, body]
 *
 * Not here: the envelope around it (envelope.ts), who may write what (protocols/trust) and merging (ledger.ts).
 */
import type { Hlc } from '../base/clock.ts';
import { decode, decodeInPlace, encode } from '../base/codec.ts';
import type { Crypto, Signer } from '../base/crypto.ts';
import { ShoalError } from '../base/errors.ts';
import { hash32 } from '../base/hash.ts';
import { fromHex, type KeyId, keyIdFromPublicKey, publicKeyFromKeyId, toHex } from '../base/ids.ts';
import { type Envelope, openEnvelope, SealChecker, sealEnvelopes } from './envelope.ts';

export const RECORD_VERSION = 1;
/** An envelope; the largest body is a workload spec. */
export const RECORD_BYTES_MAX = 128 * 1024;
/** Authors that ever wrote one key; beyond it a write is refused rather than the context cut. */
export const CONTEXT_ENTRIES_MAX = 256;
const KIND_LENGTH_MAX = 32;
const KEY_LENGTH_MAX = 512;
const HASH_BYTES = 32;
/** One more than the highest epoch. */
export const EPOCH_END = 2 ** 32;

/** One author's numbered writes since its disk was last replaced: `<author>/<epoch>`. */
export type StreamId = `${KeyId}/${number}`;

export function streamId(author: KeyId, epoch: number): StreamId {
  return `${author}/${epoch}`;
}

/** "Everything that `author` wrote to this key up to (epoch, seq) is known to, and replaced by, this record." */
export interface ContextEntry {
  readonly author: KeyId;
  readonly epoch: number;
  readonly seq: number;
}

export interface RecordHeader {
  /** Hex; 64 zeros for the genesis record only. */
  readonly cluster: string;
  readonly author: KeyId;
  readonly epoch: number;
  /** From 1, without gaps within an epoch. */
  readonly seq: number;
  readonly hlc: Hlc;
  readonly kind: string;
  readonly key: string;
  /** One more than the highest generation of this key that the author had seen. */
  readonly generation: number;
  readonly context: readonly ContextEntry[];
}

export type Words = readonly [number, number, number, number];

/** Immutable, and shared freely. */
export interface LedgerRecord extends RecordHeader {
  /** Hex SHA-256 of the payload: the record's name. */
  readonly digest: string;
  /** null is a tombstone, undefined what cannot be read. Decoded when it is first asked for. */
  readonly body: unknown;
  readonly isTombstone: boolean;
  /** The envelope as received or made. */
  readonly bytes: Uint8Array;
  /** The first half of the digest, as signed 32-bit integers. */
  readonly words: Words;
  /** Where its kind and key are in the ledger, as unsigned halves: the first byte is of the kind. */
  readonly placeHigh: number;
  readonly placeLow: number;
  /** Of its author, unsigned. */
  readonly authorHash: number;
}

export const NO_CLUSTER = '0'.repeat(HASH_BYTES * 2);

export interface Draft {
  readonly header: RecordHeader;
  /** Plain data; null deletes. */
  readonly body: unknown;
}

/** @throws ShoalError E_TOO_LARGE: none of them was made. */
export function sealRecords(drafts: readonly Draft[], signer: Signer, crypto: Crypto): LedgerRecord[] {
  const payloads = drafts.map(({ header, body }) => encodePayload(header, body));
  return sealEnvelopes(payloads, signer, crypto).map((bytes) => {
    if (bytes.byteLength > RECORD_BYTES_MAX) {
      throw new ShoalError(
        'E_TOO_LARGE',
        `a record of ${bytes.byteLength} bytes is over ${RECORD_BYTES_MAX}`,
      );
    }
    // Read back: what is kept here is what others and the next start will read, or it is not written at all.
    return openRecord(bytes, crypto);
  });
}

export function sealRecord(
  header: RecordHeader,
  body: unknown,
  signer: Signer,
  crypto: Crypto,
): LedgerRecord {
  return sealRecords([{ header, body }], signer, crypto)[0]!;
}

/** Where the records of a kind are: the first two digits of their places. */
export function kindPrefix(kind: string): string {
  return kindByte(kind).toString(16).padStart(2, '0');
}

export function authorHash(author: KeyId): number {
  return hash32(author, 3);
}

/** The place of a kind and key, as two unsigned halves. */
export function placeOf(kind: string, key: string): readonly [high: number, low: number] {
  return [((kindByte(kind) << 24) | (hash32(key, 1) & 0xffffff)) >>> 0, hash32(key, 2)];
}

/**
 * Reads an envelope and checks its shape, not its signature: that is `verifyRecord`, after the cheap refusals.
 * @throws ShoalError E_TOO_LARGE or E_MALFORMED.
 */
export function openRecord(bytes: Uint8Array, crypto: Crypto): LedgerRecord {
  if (bytes.byteLength > RECORD_BYTES_MAX)
    throw new ShoalError('E_TOO_LARGE', `a record of ${bytes.byteLength} bytes is over ${RECORD_BYTES_MAX}`);
  const { payload } = envelopeOf(bytes);
  const fields = decodeInPlace(payload, RECORD_BYTES_MAX);
  if (!Array.isArray(fields) || fields.length < 12 || fields[0] !== RECORD_VERSION) {
    throw malformed('unknown record version or shape');
  }
  const [, cluster, author, epoch, seq, ms, n, kind, key, generation, context, body] = fields as unknown[];
  if (!isBytes(cluster, HASH_BYTES) || !isBytes(author, HASH_BYTES)) throw malformed('bad cluster or author');
  if (
    !isCount(epoch) ||
    epoch >= EPOCH_END ||
    !isCount(seq) ||
    seq === 0 ||
    !isCount(ms) ||
    !isCount(n) ||
    !isCount(generation)
  ) {
    throw malformed('bad number');
  }
  if (!isText(kind, KIND_LENGTH_MAX) || !isText(key, KEY_LENGTH_MAX)) throw malformed('bad kind or key');
  if (!Array.isArray(context) || context.length > CONTEXT_ENTRIES_MAX) throw malformed('bad context');
  return new OpenedRecord(
    {
      cluster: toHex(cluster),
      author: keyIdFromPublicKey(author),
      epoch,
      seq,
      hlc: { ms, n },
      kind,
      key,
      generation,
      context: context.length === 0 ? NO_CONTEXT : context.map(openContextEntry),
    },
    bytes,
    crypto.sha256(payload),
    body == null,
  );
}

/** @param seals remembers batches whose signature held; whoever checks many records keeps one. */
export function verifyRecord(
  record: LedgerRecord,
  crypto: Crypto,
  seals: SealChecker = new SealChecker(crypto),
): boolean {
  return seals.holds(record.author, envelopeOf(record.bytes), record.digest);
}

const NO_CONTEXT: readonly ContextEntry[] = [];
const UNREAD = Symbol('unread');

class OpenedRecord implements LedgerRecord {
  readonly cluster: string;
  readonly author: KeyId;
  readonly epoch: number;
  readonly seq: number;
  readonly hlc: Hlc;
  readonly kind: string;
  readonly key: string;
  readonly generation: number;
  readonly context: readonly ContextEntry[];
  readonly digest: string;
  readonly isTombstone: boolean;
  readonly bytes: Uint8Array;
  readonly words: Words;
  readonly placeHigh: number;
  readonly placeLow: number;
  readonly authorHash: number;
  #body: unknown;

  constructor(header: RecordHeader, bytes: Uint8Array, digest: Uint8Array, isTombstone: boolean) {
    this.cluster = header.cluster;
    this.author = header.author;
    this.epoch = header.epoch;
    this.seq = header.seq;
    this.hlc = header.hlc;
    this.kind = header.kind;
    this.key = header.key;
    this.generation = header.generation;
    this.context = header.context;
    this.digest = toHex(digest);
    this.isTombstone = isTombstone;
    this.bytes = bytes;
    this.words = [word(digest, 0), word(digest, 4), word(digest, 8), word(digest, 12)];
    [this.placeHigh, this.placeLow] = placeOf(header.kind, header.key);
    this.authorHash = authorHash(header.author);
    this.#body = isTombstone ? null : UNREAD;
  }

  get body(): unknown {
    if (this.#body === UNREAD) this.#body = bodyIn(this.bytes);
    return this.#body;
  }
}

function bodyIn(bytes: Uint8Array): unknown {
  try {
    return (decode(envelopeOf(bytes).payload, RECORD_BYTES_MAX) as unknown[])[11];
  } catch {
    return undefined;
  }
}

function encodePayload(header: RecordHeader, body: unknown): Uint8Array {
  return encode([
    RECORD_VERSION,
    fromHex(header.cluster),
    publicKeyFromKeyId(header.author),
    header.epoch,
    header.seq,
    header.hlc.ms,
    header.hlc.n,
    header.kind,
    header.key,
    header.generation,
    header.context.map((entry) => [publicKeyFromKeyId(entry.author), entry.epoch, entry.seq]),
    body,
  ]);
}

/** Kinds are few, names that peers invent are not. */
const kindBytes = new Map<string, number>();
const KIND_BYTES_MAX = 1024;

function kindByte(kind: string): number {
  let byte = kindBytes.get(kind);
  if (byte === undefined) {
    byte = hash32(kind, 0) & 0xff;
    if (kindBytes.size < KIND_BYTES_MAX) kindBytes.set(kind, byte);
  }
  return byte;
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

function envelopeOf(bytes: Uint8Array): Envelope {
  const envelope = openEnvelope(bytes, RECORD_BYTES_MAX);
  if (envelope === undefined) throw malformed('not an envelope');
  return envelope;
}

function openContextEntry(entry: unknown): ContextEntry {
  if (!Array.isArray(entry) || !isBytes(entry[0], HASH_BYTES) || !isCount(entry[1]) || !isCount(entry[2])) {
    throw malformed('bad context');
  }
  return { author: keyIdFromPublicKey(entry[0]), epoch: entry[1], seq: entry[2] };
}

function isBytes(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.byteLength === length;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isText(value: unknown, length_max: number): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= length_max;
}

function malformed(what: string): ShoalError {
  return new ShoalError('E_MALFORMED', `a record was dropped: ${what}`);
}
