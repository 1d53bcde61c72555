/**
 * One signed record: its wire form, how it is made and how it is read. See docs in DESIGN section 2.
 *
 * envelope  = msgpack [payload bytes, signature 64 bytes]
 * payload   = msgpack [version, cluster 32 bytes, author 32 bytes, epoch, seq, hlc ms, hlc n, kind, key,
 *             generation, context, body]
 *
 * The signature covers the payload bytes as they are; they are kept and relayed verbatim. Not here: who may write
 * what (protocols/trust) and merging (ledger.ts).
 */
import type { Hlc } from '../base/clock.ts';
import { decode, encode } from '../base/codec.ts';
import type { Crypto, Signer } from '../base/crypto.ts';
import { ShoalError } from '../base/errors.ts';
import { fromHex, type KeyId, keyIdFromPublicKey, publicKeyFromKeyId, toHex } from '../base/ids.ts';

export const RECORD_VERSION = 1;
/** An envelope; the largest body is a workload spec. */
export const RECORD_BYTES_MAX = 128 * 1024;
/** Authors that ever wrote one key; beyond it a write is refused rather than the context cut. */
export const CONTEXT_ENTRIES_MAX = 256;
const KIND_LENGTH_MAX = 32;
const KEY_LENGTH_MAX = 512;
const SIGNATURE_BYTES = 64;
const HASH_BYTES = 32;
/** One more than the highest epoch. */
export const EPOCH_END = 2 ** 32;

/** One author's numbered writes since its disk was last replaced: `<author>/<epoch>`. */
export type StreamId = `${KeyId}/${number}`;

export function streamId(author: KeyId, epoch: number): StreamId {
  return `${author}/${epoch}`;
}

/** The parts of what `streamId` made. */
export function streamParts(stream: StreamId): { readonly author: KeyId; readonly epoch: number } {
  const slash = stream.lastIndexOf('/');
  return { author: stream.slice(0, slash), epoch: Number(stream.slice(slash + 1)) };
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

/** Immutable, and shared freely. */
export interface LedgerRecord extends RecordHeader {
  /** Hex SHA-256 of the payload: the record's name. */
  readonly digest: string;
  /** null is a tombstone. */
  readonly body: unknown;
  /** The envelope as received or made. */
  readonly bytes: Uint8Array;
}

export const NO_CLUSTER = '0'.repeat(HASH_BYTES * 2);

export function sealRecord(
  header: RecordHeader,
  body: unknown,
  signer: Signer,
  crypto: Crypto,
): LedgerRecord {
  const payload = encode([
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
  const bytes = encode([payload, signer.sign(payload)]);
  if (bytes.byteLength > RECORD_BYTES_MAX) {
    throw new ShoalError('E_TOO_LARGE', `a record of ${bytes.byteLength} bytes is over ${RECORD_BYTES_MAX}`);
  }
  return { ...header, body, bytes, digest: toHex(crypto.sha256(payload)) };
}

/**
 * Reads an envelope and checks its shape, not its signature: that is `verifyRecord`, after the cheap refusals.
 * @throws ShoalError E_TOO_LARGE or E_MALFORMED.
 */
export function openRecord(bytes: Uint8Array, crypto: Crypto): LedgerRecord {
  const [payload] = envelopeParts(bytes);
  const fields = decode(payload, RECORD_BYTES_MAX);
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
  return {
    cluster: toHex(cluster),
    author: keyIdFromPublicKey(author),
    epoch,
    seq,
    hlc: { ms, n },
    kind,
    key,
    generation,
    context: context.map(openContextEntry),
    body: body ?? null,
    bytes,
    digest: toHex(crypto.sha256(payload)),
  };
}

export function verifyRecord(record: LedgerRecord, crypto: Crypto): boolean {
  const [payload, signature] = envelopeParts(record.bytes);
  return crypto.verify(record.author, payload, signature);
}

function envelopeParts(bytes: Uint8Array): [payload: Uint8Array, signature: Uint8Array] {
  const envelope = decode(bytes, RECORD_BYTES_MAX);
  if (!Array.isArray(envelope) || envelope.length !== 2) throw malformed('not an envelope');
  const [payload, signature] = envelope as unknown[];
  if (!(payload instanceof Uint8Array) || !isBytes(signature, SIGNATURE_BYTES))
    throw malformed('not an envelope');
  return [payload, signature];
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
