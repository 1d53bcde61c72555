/**
 * The datagrams of membership on the mesh channel `member`: small msgpack arrays that open with a version.
 * Any may be lost, doubled or late. Not here: verdicts and refutations, which are ledger records.
 */
import { decodeInPlace, encode } from '../base/codec.ts';
import { Cursor } from '../base/cursor.ts';
import type { NodeId } from '../base/ids.ts';
import { MEMBERSHIP_LIMITS } from './config.ts';

const MEMBER_WIRE_VERSION = 1;

/** `suspected`: the incarnation that the sender doubts, so that the member can refute; null: no doubt. */
export type Message =
  | { readonly type: 'ping'; readonly seq: number; readonly suspected: number | null }
  | { readonly type: 'ack'; readonly seq: number; readonly incarnation: number }
  /** Please ping `subject` for me. */
  | {
      readonly type: 'request';
      readonly seq: number;
      readonly subject: NodeId;
      readonly suspected: number | null;
    }
  /** `subject` answered me. */
  | {
      readonly type: 'relayed';
      readonly seq: number;
      readonly subject: NodeId;
      readonly incarnation: number;
    }
  /** I am here, `subject` did not answer me. Lifeguard: tells a slow prober from a dead subject. */
  | { readonly type: 'nack'; readonly seq: number; readonly subject: NodeId }
  /** I doubt `subject`; `closed`: its connection to me closed. */
  | {
      readonly type: 'suspect';
      readonly subject: NodeId;
      readonly incarnation: number;
      readonly closed?: true;
    }
  /** I live, and you hear so again within `next_ms`. To those who watch me. */
  | { readonly type: 'beat'; readonly incarnation: number; readonly next_ms: number };

/** One that a node does not know is dropped: such as a beat before there were beats. It asks then, and is answered. */
const TYPES = ['ping', 'ack', 'request', 'relayed', 'nack', 'suspect', 'beat'] as const;

export function encodeMessage(message: Message): Uint8Array {
  const head = [MEMBER_WIRE_VERSION, TYPES.indexOf(message.type)];
  switch (message.type) {
    case 'ping':
      return encode([...head, message.seq, message.suspected]);
    case 'ack':
      return encode([...head, message.seq, message.incarnation]);
    case 'request':
      return encode([...head, message.seq, message.subject, message.suspected]);
    case 'relayed':
      return encode([...head, message.seq, message.subject, message.incarnation]);
    case 'nack':
      return encode([...head, message.seq, message.subject]);
    case 'suspect':
      return encode([...head, message.subject, message.incarnation, ...(message.closed ? [true] : [])]);
    case 'beat':
      return encode([...head, message.incarnation, message.next_ms]);
  }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isCountOrNull = (value: unknown): value is number | null => value === null || isCount(value);
const isNodeId = (value: unknown): value is NodeId =>
  typeof value === 'string' && value.length > 0 && value.length <= MEMBERSHIP_LIMITS.nodeId_length_max;

/** Most messages, read where they lie: those that name nobody. @returns undefined for all others. */
function decodeNumbers(body: Uint8Array): Message | undefined {
  const cursor = new Cursor(body);
  if (cursor.array() !== 4 || cursor.count() !== MEMBER_WIRE_VERSION) return undefined;
  const type = TYPES[cursor.count()];
  const a = cursor.count();
  if (a < 0) return undefined;
  if (type === 'ping' && cursor.isNull()) {
    cursor.pass(1);
    return cursor.isAtEnd ? { type, seq: a, suspected: null } : undefined;
  }
  const b = cursor.count();
  if (b < 0 || !cursor.isAtEnd) return undefined;
  if (type === 'beat') return { type, incarnation: a, next_ms: b };
  if (type === 'ack') return { type, seq: a, incarnation: b };
  return undefined;
}

/** @returns null for anything that is not a message of this version; later fields are ignored. Never throws. */
export function decodeMessage(body: Uint8Array): Message | null {
  return decodeNumbers(body) ?? decodeAny(body);
}

function decodeAny(body: Uint8Array): Message | null {
  const fields = decodeInPlace(body, MEMBERSHIP_LIMITS.message_bytes_max);
  if (!Array.isArray(fields) || fields[0] !== MEMBER_WIRE_VERSION || !isCount(fields[1])) return null;
  const [, tag, a, b, c] = fields as [unknown, number, unknown, unknown, unknown];
  switch (TYPES[tag]) {
    case 'ping':
      return isCount(a) && isCountOrNull(b) ? { type: 'ping', seq: a, suspected: b } : null;
    case 'ack':
      return isCount(a) && isCount(b) ? { type: 'ack', seq: a, incarnation: b } : null;
    case 'request':
      return isCount(a) && isNodeId(b) && isCountOrNull(c)
        ? { type: 'request', seq: a, subject: b, suspected: c }
        : null;
    case 'relayed':
      return isCount(a) && isNodeId(b) && isCount(c)
        ? { type: 'relayed', seq: a, subject: b, incarnation: c }
        : null;
    case 'nack':
      return isCount(a) && isNodeId(b) ? { type: 'nack', seq: a, subject: b } : null;
    case 'suspect':
      return isNodeId(a) && isCount(b)
        ? { type: 'suspect', subject: a, incarnation: b, ...(c === true ? { closed: true } : {}) }
        : null;
    case 'beat':
      return isCount(a) && isCount(b) ? { type: 'beat', incarnation: a, next_ms: b } : null;
    default:
      return null;
  }
}
