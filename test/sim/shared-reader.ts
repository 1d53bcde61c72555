/**
 * Reads for all nodes of a simulation: the same bytes are decoded, opened and checked once, and nodes share the
 * record. Bounded: what is forgotten is read again by whoever comes to it, and costs time and memory only. Only what
 * follows from the bytes alone is shared: never whether a node takes the record, and never a refusal.
 */
import { ENVELOPE_READER, type EnvelopeReader } from '../../protocols/ledger/envelope-reader.ts';
import { Recent } from './recent.ts';

const MESSAGES_MAX = 8192;
const RECORDS_MAX = 32_768;

export function createSharedReader(): EnvelopeReader {
  /** By identity: all copies of a published message have one body. */
  const messages = new Recent<Uint8Array, readonly Uint8Array[]>(MESSAGES_MAX);
  const opened = new Recent<Uint8Array, ReturnType<EnvelopeReader['open']>>(RECORDS_MAX);
  /** By content: each repair has copies of its own. */
  const known = new Recent<string, ReturnType<EnvelopeReader['open']>>(RECORDS_MAX);
  const verified = new WeakSet<ReturnType<EnvelopeReader['open']>>();
  return {
    envelopesOf: (gossip) => messages.of(gossip, () => ENVELOPE_READER.envelopesOf(gossip)),
    open: (envelope, crypto) =>
      opened.of(envelope, () => {
        const text = Buffer.from(envelope.buffer, envelope.byteOffset, envelope.byteLength).toString(
          'latin1',
        );
        return known.of(text, () => ENVELOPE_READER.open(envelope, crypto));
      }),
    verify: (record, crypto, seals) => {
      if (verified.has(record)) return true;
      if (!ENVELOPE_READER.verify(record, crypto, seals)) return false;
      verified.add(record);
      return true;
    },
  };
}
