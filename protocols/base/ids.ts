/**
 * Identities and content addresses: who wrote something, and what bytes are meant.
 * Not here: making keys (a shell's job) and libp2p's own PeerId objects (protocols/mesh).
 */
import { base58btc } from 'multiformats/bases/base58';
import { ShoalError } from './errors.ts';

/**
 * The identity of a key: libp2p's text form of an Ed25519 public key (an identity multihash of the protobuf
 * `PublicKey`, in base58btc, "12D3Koo…"). The key can be read back from it, so no table of keys is needed.
 * Nodes, operators and join tokens all have one. Source: libp2p peer-ids specification.
 */
export type KeyId = string;
/** The KeyId of a host. It is also its libp2p peer id. */
export type NodeId = KeyId;
/** `sha256:` and 64 lower-case hex digits. Source: OCI image specification, descriptor, digests. */
export type Digest = `sha256:${string}`;

/** multihash identity (0x00), 36 bytes, protobuf PublicKey { Type: Ed25519 (1), Data: 32 bytes }. */
const ED25519_PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20);
const PUBLIC_KEY_BYTES = 32;

/** Ids by the latin1 text of their keys: base58 costs more than all else of reading a record. The oldest goes first. */
const known = new Map<string, KeyId>();
const KNOWN_MAX = 65_536;

/** @param publicKey 32 bytes, raw Ed25519. @throws RangeError on any other length (a programmer's error). */
export function keyIdFromPublicKey(publicKey: Uint8Array): KeyId {
  if (publicKey.byteLength !== PUBLIC_KEY_BYTES) throw new RangeError('an Ed25519 public key has 32 bytes');
  const text = toLatin1(publicKey);
  let id = known.get(text);
  if (id === undefined) {
    id = encodeKeyId(publicKey);
    known.set(text, id);
    if (known.size > KNOWN_MAX) known.delete(known.keys().next().value!);
  }
  return id;
}

function encodeKeyId(publicKey: Uint8Array): KeyId {
  const bytes = new Uint8Array(ED25519_PREFIX.length + PUBLIC_KEY_BYTES);
  bytes.set(ED25519_PREFIX);
  bytes.set(publicKey, ED25519_PREFIX.length);
  return base58btc.baseEncode(bytes);
}

/** @returns the raw 32 bytes. @throws ShoalError E_BAD_KEY_ID when `id` is not the KeyId of an Ed25519 key. */
export function publicKeyFromKeyId(id: KeyId): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = id.length <= 64 ? base58btc.baseDecode(id) : new Uint8Array();
  } catch {
    bytes = new Uint8Array();
  }
  const wellFormed =
    bytes.byteLength === ED25519_PREFIX.length + PUBLIC_KEY_BYTES &&
    ED25519_PREFIX.every((byte, at) => bytes[at] === byte);
  if (!wellFormed)
    throw new ShoalError('E_BAD_KEY_ID', `"${id.slice(0, 64)}" is not the id of an Ed25519 key`);
  return bytes.subarray(ED25519_PREFIX.length);
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** Bytes, or those from `start` to `end`, as text of the same length: a key for tables. */
export function toLatin1(bytes: Uint8Array, start = 0, end = bytes.byteLength): string {
  return Buffer.prototype.latin1Slice.call(bytes, start, end);
}

export function fromLatin1(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'latin1'));
}

export function fromHex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

/** The last eight characters: what a person compares in a table. */
export function shortId(id: KeyId): string {
  return id.slice(-8);
}
