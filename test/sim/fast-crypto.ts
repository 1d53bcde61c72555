/**
 * Keys and signatures for the simulator: real SHA-256, and signatures that only an honest program respects (a hash of
 * public key and message). Fast; it protects nothing. Byzantine members need more than this.
 */
import { createHash } from 'node:crypto';
import type { Crypto, Signer } from '../../protocols/base/crypto.ts';
import { type KeyId, keyIdFromPublicKey } from '../../protocols/base/ids.ts';

const SIGNATURE_BYTES = 64;

function sha256(...parts: (Uint8Array | string)[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

function signatureOf(key: KeyId, message: Uint8Array): Uint8Array {
  const signature = new Uint8Array(SIGNATURE_BYTES);
  signature.set(sha256(key, message));
  return signature;
}

export const fastCrypto: Crypto = {
  sha256: (bytes) => sha256(bytes),
  verify: (key, message, signature) => Buffer.compare(signatureOf(key, message), signature) === 0,
};

export function fastSigner(name: string): Signer {
  const id = keyIdFromPublicKey(sha256('simulated key ', name));
  return { id, sign: (message) => signatureOf(id, message) };
}
