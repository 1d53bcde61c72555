/**
 * Records whose author's grant has not come yet, and which that author signed: a false signature is the doing of who
 * brings it, and would be found when somebody else brings the grant. Anti-entropy brings again what had no room here.
 */
import type { Crypto } from '../base/crypto.ts';
import { keepRecord, type LedgerRecord } from './record.ts';

export interface PendingConfig {
  /** Beyond either the oldest go. */
  readonly pending_records_max: number;
  /** Of envelopes. */
  readonly pending_bytes_max: number;
}

export const PENDING_DEFAULTS: PendingConfig = { pending_records_max: 2_048, pending_bytes_max: 8 << 20 };

export class PendingRecords {
  readonly #config: PendingConfig;
  readonly #crypto: Crypto;
  /** By envelope: one with a false signature must not pass for the true one. */
  readonly #records = new Map<string, LedgerRecord>();
  #bytes = 0;

  constructor(config: PendingConfig, crypto: Crypto) {
    this.#config = config;
    this.#crypto = crypto;
  }

  get size(): { readonly records: number; readonly bytes: number } {
    return { records: this.#records.size, bytes: this.#bytes };
  }

  has(record: LedgerRecord): boolean {
    return this.#records.has(this.#nameOf(record));
  }

  /** @param record is signed. */
  add(record: LedgerRecord): void {
    const name = this.#nameOf(record);
    if (this.#records.has(name)) return;
    keepRecord(record);
    this.#records.set(name, record);
    this.#bytes += record.bytes.byteLength;
    const { pending_records_max, pending_bytes_max } = this.#config;
    for (const [oldest, { bytes }] of this.#records) {
      if (this.#records.size <= pending_records_max && this.#bytes <= pending_bytes_max) break;
      this.#records.delete(oldest);
      this.#bytes -= bytes.byteLength;
    }
  }

  /** Those that need wait no longer, the oldest first. */
  take(isReady: (record: LedgerRecord) => boolean): LedgerRecord[] {
    const ready: LedgerRecord[] = [];
    for (const [name, record] of this.#records) {
      if (!isReady(record)) continue;
      ready.push(record);
      this.#records.delete(name);
      this.#bytes -= record.bytes.byteLength;
    }
    return ready;
  }

  #nameOf(record: LedgerRecord): string {
    return this.#crypto.sha256Text(record.bytes);
  }
}
