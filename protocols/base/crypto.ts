/**
 * The cryptography that the cores use, as an interface: hashing and Ed25519, all synchronous.
 * The one implementation over node:crypto is `daemon/crypto.ts`; the simulator may share work through its own.
 */
import type { KeyId } from './ids.ts';

/** Views that are made when they are asked for: most of what is checked in a simulation, or twice, needs none. */
export interface Signed {
  readonly author: KeyId;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Crypto {
  /** @returns 32 bytes. */
  sha256(bytes: Uint8Array): Uint8Array;
  /** The same as latin1 text, one unit a byte: much cheaper where it is only compared. */
  sha256Text(bytes: Uint8Array): string;
  /** Ed25519 (RFC 8032). @returns false on any mismatch or malformed input; it never throws. */
  verify(signed: Signed): boolean;
}

/** Holds one private key. */
export interface Signer {
  readonly id: KeyId;
  /** Ed25519 (RFC 8032). @returns 64 bytes. */
  sign(message: Uint8Array): Uint8Array;
}
