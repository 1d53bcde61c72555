/**
 * Reads the payload of a record: by a cursor where it has the shape in which records are written, else by the decoder of
 * MessagePack, which then also says what is malformed. What the cursor accepts the decoder reads as the same, so which
 * of them it was is not to be seen (test/protocols/ledger/record-reader.test.ts).
 * Not here: the envelope around it (envelope.ts) and what a record is (record.ts).
 */
import type { Hlc } from '../base/clock.ts';
import { decodeInPlace } from '../base/codec.ts';
import { Cursor } from '../base/cursor.ts';
import { ShoalError } from '../base/errors.ts';
import { fromLatin1, type KeyId, keyIdFromPublicKey, toHex, toLatin1 } from '../base/ids.ts';
import { Interned } from '../base/interned.ts';
import { firstPart } from '../base/records.ts';
import { authorHash, keyHigh, keyLow, kindByte, placeHigh } from './place.ts';

export const RECORD_VERSION = 1;
/** Authors that ever wrote one key; beyond it a write is refused rather than the context cut. */
export const CONTEXT_ENTRIES_MAX = 256;
const KIND_LENGTH_MAX = 32;
const KEY_LENGTH_MAX = 512;
const HASH_BYTES = 32;
const FIELDS = 12;
/** One more than the highest epoch. */
export const EPOCH_END = 2 ** 32;

/** "Everything that `author` wrote to this key up to (epoch, seq) is known to, and replaced by, this record." */
export interface ContextEntry {
  readonly author: KeyId;
  readonly epoch: number;
  readonly seq: number;
}

/** What a payload says, its body aside, and what follows from that. */
export interface ReadPayload {
  readonly cluster: string;
  readonly author: KeyId;
  readonly authorHash: number;
  readonly epoch: number;
  readonly seq: number;
  readonly hlc: Hlc;
  readonly kind: string;
  readonly key: string;
  /** The first part of the key names the author. */
  readonly isOwn: boolean;
  readonly placeHigh: number;
  readonly placeLow: number;
  readonly generation: number;
  readonly context: readonly ContextEntry[];
  readonly isTombstone: boolean;
}

/**
 * Not a literal: where V8 has seen that what a literal makes often lives long, it makes all of it among the old ever
 * after, and what dies young costs most there. Of what a class makes it assumes nothing.
 */
class Stamp implements Hlc {
  readonly ms: number;
  readonly n: number;

  constructor(ms: number, n: number) {
    this.ms = ms;
    this.n = n;
  }
}

interface Author {
  readonly text: string;
  readonly id: KeyId;
  readonly hash: number;
}

/** Version, cluster and author: what each payload begins with. */
interface Head {
  readonly text: string;
  readonly cluster: string;
  readonly author: KeyId;
  readonly authorHash: number;
}

/** Kind and key, with their heads. */
interface Name {
  readonly text: string;
  readonly kind: string;
  readonly key: string;
  /** The first part of the key: the very text of an author's id, once one was compared with it, which is told fastest. */
  owner: string;
  readonly placeHigh: number;
  readonly placeLow: number;
}

const NO_CONTEXT: readonly ContextEntry[] = [];

const authors = new Interned<Author>(16_384, authorIn);
const heads = new Interned<Head>(16_384, headIn);
const names = new Interned<Name>(16_384, nameIn);

/** How `encode` writes an array of FIELDS that begins with RECORD_VERSION, and HASH_BYTES of binary. */
const HEAD_START = String.fromCharCode(0x90 | FIELDS, RECORD_VERSION);
const HASH_START = String.fromCharCode(0xc4, HASH_BYTES);
const HEAD_BYTES = HEAD_START.length + 2 * (HASH_START.length + HASH_BYTES);

function authorIn(text: string): Author {
  const id = keyIdFromPublicKey(fromLatin1(text));
  return { text, id, hash: authorHash(id) };
}

function headIn(text: string): Head | undefined {
  const cluster = HEAD_START.length + HASH_START.length;
  const author = cluster + HASH_BYTES + HASH_START.length;
  const isHead =
    text.startsWith(HEAD_START + HASH_START) && text.startsWith(HASH_START, author - HASH_START.length);
  if (!isHead) return undefined;
  const { id, hash } = authorIn(text.slice(author));
  return {
    text,
    cluster: toHex(fromLatin1(text.slice(cluster, cluster + HASH_BYTES))),
    author: id,
    authorHash: hash,
  };
}

function nameIn(text: string): Name | undefined {
  const bytes = fromLatin1(text);
  const cursor = new Cursor(bytes);
  const kind = textAt(bytes, cursor);
  const key = textAt(bytes, cursor);
  if (!isAscii(kind) || !isAscii(key)) return undefined;
  return {
    text,
    kind,
    key,
    owner: firstPart(key),
    placeHigh: placeHigh(kindByte(kind), keyHigh(key)),
    placeLow: keyLow(key),
  };
}

function textAt(bytes: Uint8Array, cursor: Cursor): string {
  const length = cursor.text();
  cursor.pass(length);
  return toLatin1(bytes, cursor.at - length, cursor.at);
}

type Fields = { -readonly [Field in keyof ReadPayload]: ReadPayload[Field] };

function noFields(): Fields {
  return {
    cluster: '',
    author: '',
    authorHash: 0,
    epoch: 0,
    seq: 0,
    hlc: new Stamp(0, 0),
    kind: '',
    key: '',
    isOwn: false,
    placeHigh: 0,
    placeLow: 0,
    generation: 0,
    context: NO_CONTEXT,
    isTombstone: false,
  };
}

const last = noFields();

/** @returns what is good until the next one is read: all of it is copied to a record. @throws ShoalError E_MALFORMED. */
export function readPayload(bytes: Uint8Array, start: number, end: number, cursor: Cursor): ReadPayload {
  cursor.enter(start, end);
  return readByCursor(bytes, cursor, last) ?? readByDecoder(bytes.subarray(start, end));
}

/** @returns `into`, or undefined for what it does not understand. */
export function readByCursor(bytes: Uint8Array, cursor: Cursor, into = noFields()): ReadPayload | undefined {
  if (!cursor.passBytes(HEAD_BYTES)) return undefined;
  const head = heads.at(bytes, cursor.at - HEAD_BYTES, cursor.at);
  if (head === undefined) return undefined;
  const epoch = cursor.count();
  const seq = cursor.count();
  const ms = cursor.count();
  const n = cursor.count();
  if (epoch < 0 || epoch >= EPOCH_END || seq <= 0 || ms < 0 || n < 0) return undefined;
  const start = cursor.at;
  if (!cursor.passText(KIND_LENGTH_MAX) || !cursor.passText(KEY_LENGTH_MAX)) return undefined;
  const name = names.at(bytes, start, cursor.at);
  if (name === undefined) return undefined;
  const generation = cursor.count();
  if (generation < 0) return undefined;
  const context = contextAt(bytes, cursor);
  if (context === undefined) return undefined;
  const isTombstone = cursor.isNull();
  if (!cursor.passValue() || !cursor.isAtEnd) return undefined;
  into.cluster = head.cluster;
  into.author = head.author;
  into.authorHash = head.authorHash;
  into.epoch = epoch;
  into.seq = seq;
  into.hlc = new Stamp(ms, n);
  into.kind = name.kind;
  into.key = name.key;
  into.isOwn = isOwner(head.author, name);
  into.placeHigh = name.placeHigh;
  into.placeLow = name.placeLow;
  into.generation = generation;
  into.context = context;
  into.isTombstone = isTombstone;
  return into;
}

/** @throws ShoalError E_MALFORMED. */
export function readByDecoder(payload: Uint8Array): ReadPayload {
  const fields = decodeInPlace(payload, payload.byteLength);
  if (!Array.isArray(fields) || fields.length < FIELDS || fields[0] !== RECORD_VERSION) {
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
  const id = keyIdFromPublicKey(author);
  return {
    cluster: toHex(cluster),
    author: id,
    authorHash: authorHash(id),
    epoch,
    seq,
    hlc: new Stamp(ms, n),
    kind,
    key,
    isOwn: firstPart(key) === id,
    placeHigh: placeHigh(kindByte(kind), keyHigh(key)),
    placeLow: keyLow(key),
    generation,
    context: context.length === 0 ? NO_CONTEXT : context.map(openContextEntry),
    isTombstone: body == null,
  };
}

function isOwner(author: KeyId, name: Name): boolean {
  if (name.owner !== author) return false;
  name.owner = author;
  return true;
}

function contextAt(bytes: Uint8Array, cursor: Cursor): readonly ContextEntry[] | undefined {
  const length = cursor.array();
  if (length === 0) return NO_CONTEXT;
  if (length < 0 || length > CONTEXT_ENTRIES_MAX) return undefined;
  const context: ContextEntry[] = [];
  for (let at = 0; at < length; at += 1) {
    if (cursor.array() !== 3 || !cursor.passBinary(HASH_BYTES)) return undefined;
    const author = authors.at(bytes, cursor.at - HASH_BYTES, cursor.at)!.id;
    const epoch = cursor.count();
    const seq = cursor.count();
    if (epoch < 0 || seq < 0) return undefined;
    context.push({ author, epoch, seq });
  }
  return context;
}

function openContextEntry(entry: unknown): ContextEntry {
  if (!Array.isArray(entry) || !isBytes(entry[0], HASH_BYTES) || !isCount(entry[1]) || !isCount(entry[2])) {
    throw malformed('bad context');
  }
  return { author: keyIdFromPublicKey(entry[0]), epoch: entry[1], seq: entry[2] };
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) if (text.charCodeAt(at) >= 0x80) return false;
  return true;
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

export function malformed(what: string): ShoalError {
  return new ShoalError('E_MALFORMED', `a record was dropped: ${what}`);
}
