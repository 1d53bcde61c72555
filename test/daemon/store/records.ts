/** Signed records for tests of the store. */
import { nodeCrypto, signerFromSeed } from '../../../daemon/crypto.ts';
import { type LedgerRecord, sealRecord } from '../../../protocols/ledger/record.ts';

const signer = signerFromSeed(new Uint8Array(32).fill(5));

/** @param bytes how large its body is. */
export function recordOf(seq: number, key: string, bytes = 64): LedgerRecord {
  const header = {
    cluster: 'ab'.repeat(32),
    author: signer.id,
    epoch: 0,
    seq,
    hlc: { ms: 1_700_000_000_000 + seq, n: 0 },
    kind: 'config',
    key,
    generation: 1,
    context: [],
  };
  return sealRecord(header, 'x'.repeat(bytes), signer, nodeCrypto);
}
