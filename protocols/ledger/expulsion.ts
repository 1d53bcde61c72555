/**
 * Taking out of the ledger what is one too many, and with it whatever nothing else lets in. It is a list that grows while
 * it is walked, and what follows is asked once for many: whoever has the key of one admitter can make chains of thousands
 * of grants that fall with one. Not here: what is one too many (quota.ts, trust/gate.ts).
 */
import type { KeyId } from '../base/ids.ts';
import type { Authority } from '../trust/authority.ts';
import { isGrowOnly, type Ledger } from './ledger.ts';
import type { Lots } from './lots.ts';
import type { Quota } from './quota.ts';
import type { LedgerRecord } from './record.ts';

export interface ExpulsionParts {
  readonly ledger: Ledger;
  readonly authority: Authority;
  readonly quota: Quota;
  readonly lots: Lots;
}

const NONE: readonly LedgerRecord[] = [];

export class Expulsion {
  readonly #parts: ExpulsionParts;
  readonly #gone: LedgerRecord[] = [];
  /** Keys that may do less than before. */
  readonly #weakened = new Set<KeyId>();
  /** Grants that somebody kept who does so no more. */
  readonly #unkept = new Set<LedgerRecord>();

  private constructor(parts: ExpulsionParts) {
    this.#parts = parts;
  }

  /** @returns all that went, and is live no more. */
  static expel(parts: ExpulsionParts, records: readonly LedgerRecord[]): readonly LedgerRecord[] {
    const expulsion = new Expulsion(parts);
    // What hangs on what goes comes first: it is the cheapest to find, and leaves the least to look at.
    for (let going = records; going.length > 0; ) {
      going = expulsion.#take(going);
      if (going.length === 0) going = expulsion.#refused();
      if (going.length === 0) going = expulsion.#leftOver();
    }
    return expulsion.#gone;
  }

  /** @returns grants that must go too. */
  #take(going: readonly LedgerRecord[]): readonly LedgerRecord[] {
    const { ledger, authority, quota } = this.#parts;
    const acts: LedgerRecord[] = [];
    for (const record of going) {
      const gone = ledger.remove(record);
      if (gone === undefined) continue;
      this.#gone.push(gone);
      if (isGrowOnly(gone.kind)) acts.push(gone);
    }
    if (acts.length === 0) return NONE;
    const { unfounded, weakened, unkept } = authority.removeAll(acts);
    quota.unkept(unkept);
    for (const key of weakened) this.#weakened.add(key);
    for (const grant of unkept) this.#unkept.add(grant);
    return unfounded;
  }

  /** What may be in the ledger no more, of keys that may do less. */
  #refused(): LedgerRecord[] {
    const { lots, authority } = this.#parts;
    const refused: LedgerRecord[] = [];
    for (const key of this.#weakened)
      for (const lot of lots.of(key)) {
        const [first] = lot.values();
        if (first === undefined || authority.admission(first) === 'yes') continue;
        // Most likely none is: a damaged disk may have lost what one of them needs besides.
        for (const record of lot.values()) if (authority.admission(record) !== 'yes') refused.push(record);
      }
    this.#weakened.clear();
    return refused;
  }

  #leftOver(): LedgerRecord[] {
    const { ledger, authority } = this.#parts;
    const leftOver: LedgerRecord[] = [];
    for (const grant of this.#unkept)
      if (ledger.has(grant)) for (const surplus of authority.surplus(grant)) leftOver.push(surplus);
    this.#unkept.clear();
    return leftOver;
  }
}
