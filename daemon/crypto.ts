/** Ed25519 and SHA-256 for the cores, over node:crypto. */
import { createPrivateKey, createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto';
import type { Crypto, Signer } from '../protocols/base/crypto.ts';
import { type KeyId, keyIdFromPublicKey, publicKeyFromKeyId } from '../protocols/base/ids.ts';

/** DER around a raw key. Source: RFC 8410, sections 4 and 7. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
/** Parsed public keys kept; the oldest goes first. */
const KEYS_MAX = 16_384;

const keys = new Map<KeyId, KeyObject>();

export const nodeCrypto: Crypto = {
  sha256: (bytes) => hash('sha256', bytes, 'buffer'),
  sha256Text: (bytes) => hash('sha256', bytes, 'binary'),
  verify({ author, message, signature }) {
    try {
      return verify(null, message, publicKey(author), signature);
    } catch {
      return false;
    }
  },
};

/** @param seed 32 bytes, the private key of RFC 8032. */
export function signerFromSeed(seed: Uint8Array): Signer {
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return {
    id: keyIdFromPublicKey(new Uint8Array(spki.subarray(SPKI_PREFIX.length))),
    sign: (message) => new Uint8Array(sign(null, message, key)),
  };
}

function publicKey(id: KeyId): KeyObject {
  let key = keys.get(id);
  if (key === undefined) {
    const der = Buffer.concat([SPKI_PREFIX, publicKeyFromKeyId(id)]);
    key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    if (keys.size >= KEYS_MAX) {
      for (const oldest of keys.keys()) {
        keys.delete(oldest);
        break;
      }
    }
    keys.set(id, key);
  }
  return key;
}
