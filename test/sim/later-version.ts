/** Records as a later version of shoal may write them: a header with a field more, and a body too. */
import { encode } from '../../protocols/base/codec.ts';
import type { Signer } from '../../protocols/base/crypto.ts';
import { fromHex, publicKeyFromKeyId } from '../../protocols/base/ids.ts';
import { sealEnvelopes } from '../../protocols/ledger/envelope.ts';
import { RECORD_VERSION } from '../../protocols/ledger/record-reader.ts';
import { fastCrypto } from './fast-crypto.ts';

/** @returns one envelope; see protocols/ledger/record.ts for its fields. */
export function sealLater(
  cluster: string,
  signer: Signer,
  seq: number,
  now: number,
  key: string,
  body: unknown,
): Uint8Array[] {
  const payload = encode([
    RECORD_VERSION,
    fromHex(cluster),
    publicKeyFromKeyId(signer.id),
    0,
    seq,
    now,
    0,
    'tag',
    key,
    1,
    [],
    body,
    { later: ['field', 1] },
  ]);
  return sealEnvelopes([payload], signer, fastCrypto);
}
