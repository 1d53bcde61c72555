/**
 * Records whose author's grant has not come yet, and which that author signed: a false signature is the doing of who
 * brings it, and would be found when somebody else brings the grant. Anti-entropy brings again what had no room here.
 */
import type { Crypto } from '../base/crypto.ts';
import type { KeyId } from '../base/ids.ts';
import { readGrant } from '../trust/acts.ts';
import { keepRecord, type LedgerRecord } from './record.ts';

export interface PendingConfig {
  /** Beyond either the oldest go. */
  readonly pending_records_max: number;
  /** Of envelopes. */
  readonly pending_bytes_max: number;
}

export const PENDING_DEFAULTS: PendingConfig = { pending_records_max: 2_048, pending_bytes_max: 8 << 20 };

/** A key of which no grant is known, or the digest of a grant. */
export type Awaited = KeyId | string;

interface Waiting {
  /** Of its envelope: one with a false signature must not pass for the true one. */
  readonly name: string;
  readonly record: LedgerRecord;
  /** In the order in which they came. */
  readonly number: number;
}

export class PendingRecords {
  readonly #config: PendingConfig;
  readonly #crypto: Crypto;
  readonly #records = new Map<string, Waiting>();
  /** By what may end their wait: a grant that comes is no reason to look at all. */
  readonly #byAwaited = new Map<Awaited, Set<Waiting>>();
  #number = 0;
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
    this.#number += 1;
    const added = { name, record, number: this.#number };
    this.#records.set(name, added);
    for (const awaited of awaitedBy(record)) {
      const others = this.#byAwaited.get(awaited);
      if (others === undefined) this.#byAwaited.set(awaited, new Set([added]));
      else others.add(added);
    }
    this.#bytes += record.bytes.byteLength;
    const { pending_records_max, pending_bytes_max } = this.#config;
    for (const oldest of this.#records.values()) {
      if (this.#records.size <= pending_records_max && this.#bytes <= pending_bytes_max) break;
      this.#remove(oldest);
    }
  }

  /** Of those that wait for any of these, those that need wait no longer, the oldest first. */
  take(come: readonly Awaited[], isReady: (record: LedgerRecord) => boolean): LedgerRecord[] {
    const ready = new Set<Waiting>();
    for (const awaited of come)
      for (const waiting of this.#byAwaited.get(awaited) ?? [])
        if (isReady(waiting.record)) ready.add(waiting);
    for (const waiting of ready) this.#remove(waiting);
    return [...ready].sort((a, b) => a.number - b.number).map(({ record }) => record);
  }

  #remove(waiting: Waiting): void {
    const { name, record } = waiting;
    this.#records.delete(name);
    this.#bytes -= record.bytes.byteLength;
    for (const awaited of awaitedBy(record)) {
      const others = this.#byAwaited.get(awaited);
      if (others?.delete(waiting) && others.size === 0) this.#byAwaited.delete(awaited);
    }
  }

  #nameOf(record: LedgerRecord): string {
    return this.#crypto.sha256Text(record.bytes);
  }
}

/** A grant that hangs on others waits for those (trust/gate.ts); all else waits for any grant of its author. */
export function awaitedBy(record: LedgerRecord): Awaited[] {
  const { parent = null, renews } = readGrant(record)?.body ?? {};
  return [parent ?? record.author, ...(renews === undefined ? [] : [renews])];
}
