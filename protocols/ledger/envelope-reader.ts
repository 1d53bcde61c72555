/**
 * How a node reads what others sent. All nodes read alike; one that shares its process with many others is given a
 * reader that remembers what it has read for them (test/sim). Not here: what is done with a record (intake.ts).
 */
import type { Crypto } from '../base/crypto.ts';
import type { SealChecker } from './envelope.ts';
import { type LedgerRecord, openRecord, verifyRecord } from './record.ts';
import { decodeGossip } from './sync.ts';

export interface EnvelopeReader {
  /** @throws as `decodeGossip`. */
  readonly envelopesOf: (gossip: Uint8Array) => readonly Uint8Array[];
  /** @throws as `openRecord`. */
  readonly open: (envelope: Uint8Array, crypto: Crypto) => LedgerRecord;
  readonly verify: (record: LedgerRecord, crypto: Crypto, seals: SealChecker) => boolean;
}

export const ENVELOPE_READER: EnvelopeReader = {
  envelopesOf: decodeGossip,
  open: openRecord,
  verify: verifyRecord,
};
