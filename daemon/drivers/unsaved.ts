/**
 * What the disk lacks of the ledger, folded together: a record that came and went since leaves no trace. So it never
 * holds more than the live records and those that are on disk, however long the disk refuses.
 */
import type { LedgerEffect } from '../../protocols/ledger/effects.ts';
import type { LedgerRecord, StreamId } from '../../protocols/ledger/record.ts';
import { HISTORY_ENTRIES_MAX, type HistoryEntry } from '../history/history-entry.ts';
import type { StoreBatch } from '../store/state-store.ts';

export class Unsaved {
  readonly #put = new Map<string, LedgerRecord>();
  /** On disk, and live no more. */
  readonly #removed = new Map<string, LedgerRecord>();
  readonly #streams = new Map<StreamId, number>();
  readonly #values: Map<string, string>;
  readonly #history: HistoryEntry[] = [];

  /** @param values that it begins with. */
  constructor(values: Iterable<readonly [name: string, value: string]> = []) {
    this.#values = new Map(values);
  }

  get isEmpty(): boolean {
    return this.#put.size + this.#removed.size + this.#streams.size + this.#values.size === 0;
  }

  /** Records and names that wait. */
  get size(): number {
    return this.#put.size + this.#removed.size + this.#streams.size + this.#values.size;
  }

  add(effect: LedgerEffect): void {
    if (effect.kind === 'epoch') this.#values.set(`epoch/${effect.author}`, String(effect.epoch));
    if (effect.kind === 'horizon') this.#values.set('horizon', String(effect.horizon_ms));
    if (effect.kind !== 'persist') return;
    for (const record of effect.put) {
      // What is back while its removal waited is on disk still.
      if (!this.#removed.delete(record.digest)) this.#put.set(record.digest, record);
    }
    for (const record of effect.remove) {
      if (!this.#put.delete(record.digest)) this.#removed.set(record.digest, record);
    }
    for (const [stream, high] of effect.streams) this.#streams.set(stream, high);
  }

  /** Beyond as many lines as the disk would keep the oldest are forgotten. */
  addHistory(entries: readonly HistoryEntry[]): void {
    this.#history.push(...entries);
    if (this.#history.length > HISTORY_ENTRIES_MAX)
      this.#history.splice(0, this.#history.length - HISTORY_ENTRIES_MAX);
  }

  batch(): StoreBatch {
    return {
      put: [...this.#put.values()],
      remove: [...this.#removed.values()],
      streams: this.#streams,
      values: this.#values,
      history: this.#history,
    };
  }

  /** The disk has the live records now, and no others. */
  replaced(): void {
    this.#put.clear();
    this.#removed.clear();
  }

  /** All of it is on disk now. */
  clear(): void {
    for (const part of [this.#put, this.#removed, this.#streams, this.#values]) part.clear();
    this.#history.length = 0;
  }
}
