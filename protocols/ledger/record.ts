/**
 * One signed record: its wire form, how it is made and how it is read. See docs in DESIGN section 2.
 *
 * payload   = msgpack [version, cluster 32 bytes, author 32 bytes, epoch, seq, hlc ms, hlc n, kind, key,
 *             generation, context, body]
 *
 * Not here: the envelope around it (envelope.ts), who may write what (protocols/trust) and merging (ledger.ts).
 */
import type { Hlc } from '../base/clock.ts';
import { decode, encode } from '../base/codec.ts';
import type { Crypto, Signed, Signer } from '../base/crypto.ts';
import { Cursor } from '../base/cursor.ts';
import { ShoalError } from '../base/errors.ts';
import { fromHex, fromLatin1, type KeyId, publicKeyFromKeyId, toHex, toLatin1 } from '../base/ids.ts';
import { keptBytes } from '../base/kept-bytes.ts';
import {
  type Envelope,
  isSameSeal,
  openEnvelope,
  payloadStart,
  SealChecker,
  type Sealed,
  sealEnvelopes,
  signatureStart,
} from './envelope.ts';
import {
  type ContextEntry,
  malformed,
  RECORD_VERSION,
  type ReadPayload,
  readPayload,
} from './record-reader.ts';

/** An envelope; the largest body is a workload spec. */
export const RECORD_BYTES_MAX = 128 * 1024;
const HASH_BYTES = 32;
/** One author's numbered writes since its disk was last replaced: `<author>/<epoch>`. */
export type StreamId = `${KeyId}/${number}`;

export function streamId(author: KeyId, epoch: number): StreamId {
  return `${author}/${epoch}`;
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
  /** Hex SHA-256 of the payload: the record's name. Made when it is first asked for. */
  readonly digest: string;
  /** null is a tombstone, undefined what cannot be read. Decoded when it is first asked for. */
  readonly body: unknown;
  readonly isTombstone: boolean;
  /** The envelope as received or made. */
  readonly bytes: Uint8Array;
  /** Of the payload: unlike the envelope's, it follows from the digest, and so is the same on every node. */
  readonly payload_bytes: number;
  /** The first half of the digest, as signed 32-bit integers. */
  readonly words: Words;
  /** The first part of its key names its author. */
  readonly isOwn: boolean;
  /** Where its kind and key are in the ledger, as signed halves: the first byte is of the kind. */
  readonly placeHigh: number;
  readonly placeLow: number;
  /** Of its author, signed. */
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
    const record = openRecord(bytes, crypto);
    keepRecord(record);
    return record;
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

/** Of the record that is being opened. */
const cursor = new Cursor(new Uint8Array(0));

/**
 * Reads an envelope and checks its shape, not its signature: that is `verifyRecord`, after the cheap refusals.
 * @throws ShoalError E_TOO_LARGE or E_MALFORMED.
 */
export function openRecord(bytes: Uint8Array, crypto: Crypto): LedgerRecord {
  if (bytes.byteLength > RECORD_BYTES_MAX)
    throw new ShoalError('E_TOO_LARGE', `a record of ${bytes.byteLength} bytes is over ${RECORD_BYTES_MAX}`);
  cursor.begin(bytes);
  let start = payloadStart(cursor);
  let end = cursor.at;
  if (start < 0) {
    const { payload } = envelopeOf(bytes);
    start = payload.byteOffset - bytes.byteOffset;
    end = start + payload.byteLength;
  }
  const read = readPayload(bytes, start, end, cursor);
  return new OpenedRecord(read, bytes, start, end - start, crypto);
}

/**
 * Moves a record that is kept out of the message that brought it, which it would keep in memory. It stays the same
 * record with the same bytes.
 */
export function keepRecord(record: LedgerRecord): void {
  if (record instanceof OpenedRecord) record.keep();
}

/** @param seals remembers batches whose signature held; whoever checks many records keeps one. */
export function verifyRecord(
  record: LedgerRecord,
  crypto: Crypto,
  seals: SealChecker = new SealChecker(crypto),
): boolean {
  if (record instanceof OpenedRecord) return seals.holds(record);
  const { author, bytes, digest } = record;
  const envelope = envelopeOf(bytes);
  return seals.holds({ author, alone: undefined, envelope, digestText: toLatin1(fromHex(digest)) });
}

/** Do two records have one name? Told by their payloads while that costs less than to make the name. */
export function isSameRecord(a: LedgerRecord, b: LedgerRecord): boolean {
  if (a === b) return true;
  if (a instanceof OpenedRecord && b instanceof OpenedRecord) return a.hasPayloadOf(b);
  return a.digest === b.digest;
}

/** Of two records with one name: are they signed alike? The same envelope can be written in several ways, by anybody. */
export function isSealedAlike(a: LedgerRecord, b: LedgerRecord): boolean {
  return Buffer.compare(a.bytes, b.bytes) === 0 || isSameSeal(envelopeOf(a.bytes), envelopeOf(b.bytes));
}

const UNREAD = Symbol('unread');

/** Its fields are declared and not defined: to define them first would cost as much as to set them. */
class OpenedRecord implements LedgerRecord, Sealed, Signed {
  declare readonly cluster: string;
  declare readonly author: KeyId;
  declare readonly epoch: number;
  declare readonly seq: number;
  declare readonly hlc: Hlc;
  declare readonly kind: string;
  declare readonly key: string;
  declare readonly isOwn: boolean;
  declare readonly generation: number;
  declare readonly context: readonly ContextEntry[];
  declare readonly isTombstone: boolean;
  declare bytes: Uint8Array;
  declare readonly payload_bytes: number;
  declare readonly placeHigh: number;
  declare readonly placeLow: number;
  declare readonly authorHash: number;
  readonly #crypto: Crypto;
  /** Where the payload is in `bytes`. */
  readonly #start: number;
  #digestText: string | undefined;
  #digest: string | undefined;
  #body: unknown;

  constructor(read: ReadPayload, bytes: Uint8Array, start: number, payload_bytes: number, crypto: Crypto) {
    this.cluster = read.cluster;
    this.author = read.author;
    this.epoch = read.epoch;
    this.seq = read.seq;
    this.hlc = read.hlc;
    this.kind = read.kind;
    this.key = read.key;
    this.isOwn = read.isOwn;
    this.generation = read.generation;
    this.context = read.context;
    this.isTombstone = read.isTombstone;
    this.bytes = bytes;
    this.payload_bytes = payload_bytes;
    this.placeHigh = read.placeHigh;
    this.placeLow = read.placeLow;
    this.authorHash = read.authorHash;
    this.#crypto = crypto;
    this.#start = start;
    this.#digestText = undefined;
    this.#digest = undefined;
    this.#body = read.isTombstone ? null : UNREAD;
  }

  /** As latin1. Made when it is first asked for: a record that is soon replaced may never need its name. */
  get digestText(): string {
    this.#digestText ??= this.#crypto.sha256Text(this.payload);
    return this.#digestText;
  }

  get digest(): string {
    this.#digest ??= toHex(fromLatin1(this.digestText));
    return this.#digest;
  }

  get words(): Words {
    const digest = this.digestText;
    return [word(digest, 0), word(digest, 4), word(digest, 8), word(digest, 12)];
  }

  get envelope(): Envelope {
    return envelopeOf(this.bytes);
  }

  get alone(): Signed | undefined {
    return this.#signatureStart < 0 ? undefined : this;
  }

  get message(): Uint8Array {
    return this.payload;
  }

  /** Where it is signed alone. */
  get signature(): Uint8Array {
    return this.bytes.subarray(this.#signatureStart);
  }

  get #signatureStart(): number {
    return signatureStart(this.bytes, this.#start + this.payload_bytes);
  }

  get payload(): Uint8Array {
    return this.bytes.subarray(this.#start, this.#start + this.payload_bytes);
  }

  hasPayloadOf(other: OpenedRecord): boolean {
    if (this.payload_bytes !== other.payload_bytes) return false;
    return Buffer.compare(this.payload, other.payload) === 0;
  }

  keep(): void {
    this.bytes = keptBytes(this.bytes);
  }

  get body(): unknown {
    if (this.#body === UNREAD) this.#body = bodyIn(this.payload);
    return this.#body;
  }
}

function bodyIn(payload: Uint8Array): unknown {
  try {
    return (decode(payload, RECORD_BYTES_MAX) as unknown[])[11];
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

function word(digest: string, at: number): number {
  return (
    (digest.charCodeAt(at) << 24) |
    (digest.charCodeAt(at + 1) << 16) |
    (digest.charCodeAt(at + 2) << 8) |
    digest.charCodeAt(at + 3)
  );
}

function envelopeOf(bytes: Uint8Array): Envelope {
  const envelope = openEnvelope(bytes, RECORD_BYTES_MAX);
  if (envelope === undefined) throw malformed('not an envelope');
  return envelope;
}
