/**
 * Evidence of equivocation: two records that one author signed with one number. It proves itself, whoever shows it, so
 * every node flags the author alike. Key: `<accuser>/<accused>`; body: both envelopes.
 */
import type { Crypto } from '../base/crypto.ts';
import type { KeyId, NodeId } from '../base/ids.ts';
import type { EvidenceBody } from '../base/records.ts';
import type { SealChecker } from './envelope.ts';
import type { Ledger } from './ledger.ts';
import { type LedgerRecord, openRecord, RECORD_BYTES_MAX, verifyRecord } from './record.ts';

/** Both envelopes must fit into one record; larger pairs are told in the log only. */
export const EVIDENCE_BYTES_MAX = RECORD_BYTES_MAX - 4096;

export interface Pair {
  readonly first: LedgerRecord;
  readonly second: LedgerRecord;
}

export function evidenceKey(accuser: NodeId, accused: KeyId): string {
  return `${accuser}/${accused}`;
}

export function evidenceBody({ first, second }: Pair): EvidenceBody {
  return { first: first.bytes, second: second.bytes };
}

/** Does the record prove what its key says? */
export function isProof(record: LedgerRecord, cluster: string, crypto: Crypto, seals: SealChecker): boolean {
  const body = record.body as Partial<EvidenceBody> | null | undefined;
  if (!(body?.first instanceof Uint8Array) || !(body.second instanceof Uint8Array)) return false;
  try {
    const first = openRecord(body.first, crypto);
    const second = openRecord(body.second, crypto);
    const { author, epoch, seq } = first;
    return (
      record.key === evidenceKey(record.author, author) &&
      author === second.author &&
      epoch === second.epoch &&
      seq === second.seq &&
      first.digest !== second.digest &&
      first.cluster === cluster &&
      second.cluster === cluster &&
      verifyRecord(first, crypto, seals) &&
      verifyRecord(second, crypto, seals)
    );
  } catch {
    return false;
  }
}

/** Authors that have equivocated, and who says so. */
export function flagged(ledger: Ledger): Map<KeyId, NodeId[]> {
  const accused = new Map<KeyId, NodeId[]>();
  for (const [key, [record]] of ledger.ofKind('evidence')) {
    if (record === undefined || record.isTombstone) continue;
    const author = key.slice(key.indexOf('/') + 1);
    accused.set(author, [...(accused.get(author) ?? []), record.author]);
  }
  return accused;
}
