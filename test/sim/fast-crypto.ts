/**
 * Keys, hashes and signatures for the simulator: a signature is a quick hash of public key and message, so that
 * whoever does not call a signer of that key has none that passes. Fast; it protects nothing outside a simulation,
 * where nobody searches for collisions.
 */
import type { Crypto, Signer } from '../../protocols/base/crypto.ts';
import { type KeyId, keyIdFromPublicKey, toLatin1 } from '../../protocols/base/ids.ts';
import { FastHash } from './fast-hash.ts';

const SIGNATURE_BYTES = 64;
const HASH_WORDS = 8;
const SIGNED = 1;
const HASHED = 2;

/** Seeds of signatures by key: the ids are long texts, and there are as many as nodes. */
const seeds = new Map<KeyId, number>();

function seedOf(key: KeyId): number {
  let seed = seeds.get(key);
  if (seed === undefined) {
    const words = new Uint32Array(1);
    new FastHash(SIGNED).text(key).spread(words);
    seed = words[0]!;
    seeds.set(key, seed);
  }
  return seed;
}

const scratch = new Uint32Array(SIGNATURE_BYTES / 4);
const scratchBytes = new Uint8Array(scratch.buffer);

function hashed(seed: number, bytes: Uint8Array): Uint8Array {
  const words = new Uint32Array(HASH_WORDS);
  new FastHash(seed).bytes(bytes).spread(words);
  return new Uint8Array(words.buffer);
}

export const fastCrypto: Crypto = {
  sha256: (bytes) => hashed(HASHED, bytes),
  sha256Text: (bytes) => toLatin1(hashed(HASHED, bytes)),
  verify({ author, message, signature }) {
    new FastHash(seedOf(author)).bytes(message).spread(scratch);
    for (let at = 0; at < SIGNATURE_BYTES; at += 1) if (signature[at] !== scratchBytes[at]) return false;
    return signature.byteLength === SIGNATURE_BYTES;
  },
};

export function fastSigner(name: string): Signer {
  const id = keyIdFromPublicKey(hashed(SIGNED, new TextEncoder().encode(name)));
  return {
    id,
    sign(message) {
      new FastHash(seedOf(id)).bytes(message).spread(scratch);
      return Uint8Array.from(scratchBytes);
    },
  };
}
