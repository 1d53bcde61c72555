/**
 * The records of keys that may do less than before, in lots of which all are let in or none: who has an admitter's key can
 * give and take back a role of another key as often as it likes, and what that key may write all the same is not to be
 * looked at each time. Not here: what a lot is (trust/lot.ts).
 */
import type { KeyId } from '../base/ids.ts';
import { lotOf } from '../trust/lot.ts';
import type { Ledger } from './ledger.ts';
import type { LedgerRecord } from './record.ts';

/** By digest. */
type Lot = Map<string, LedgerRecord>;

export class Lots {
  /** Authors whose lots are known; the oldest goes first. */
  static readonly AUTHORS_MAX = 1024;
  readonly #ledger: Ledger;
  readonly #byAuthor = new Map<KeyId, Map<string, Lot>>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
    ledger.watch({
      added: (record) => {
        const lots = this.#byAuthor.get(record.author);
        if (lots !== undefined) put(lots, record);
      },
      removed: (record) => {
        const lots = this.#byAuthor.get(record.author);
        if (lots !== undefined) takeOut(lots, record);
      },
    });
  }

  /** Those of one author. O(its records) when it is asked for the first time. */
  of(author: KeyId): Iterable<ReadonlyMap<string, LedgerRecord>> {
    let lots = this.#byAuthor.get(author);
    if (lots === undefined) {
      lots = new Map();
      for (const record of this.#ledger.recordsOf(author)) put(lots, record);
      this.#byAuthor.set(author, lots);
      if (this.#byAuthor.size > Lots.AUTHORS_MAX) this.#byAuthor.delete(this.#byAuthor.keys().next().value!);
    }
    return lots.values();
  }
}

function put(lots: Map<string, Lot>, record: LedgerRecord): void {
  const name = lotOf(record);
  if (name === undefined) return;
  const lot = lots.get(name);
  if (lot === undefined) lots.set(name, new Map([[record.digest, record]]));
  else lot.set(record.digest, record);
}

function takeOut(lots: Map<string, Lot>, record: LedgerRecord): void {
  const name = lotOf(record);
  const lot = name === undefined ? undefined : lots.get(name);
  if (lot?.delete(record.digest) && lot.size === 0) lots.delete(name!);
}
