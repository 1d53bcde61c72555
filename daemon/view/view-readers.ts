/**
 * Hands each view to the parts that read it whole, such as the scheduler. When one throws, the records at which it
 * throws are found by leaving changed ones out, and get a strike; the part is then given the view without them. So
 * one record costs itself, and not the node. Not here: what is derived record by record (protocols/view/derive.ts).
 */
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import type { ClusterView } from '../../protocols/view/view.ts';
import type { Log } from '../log.ts';
import type { Quarantine } from './quarantine.ts';

/** Changed records that are remembered; beyond it any live record is suspected. */
export const SUSPECTS_MAX = 1_024;
/** Views that are tried for one throw. One culprit among a million costs 40. */
export const TRIES_MAX = 128;

export interface ViewReadersInit {
  readonly quarantine: Quarantine;
  readonly log: Log;
  readonly records: () => Iterable<LedgerRecord>;
  /** The view as it would be without these records. */
  readonly without: (records: ReadonlySet<LedgerRecord>) => ClusterView;
}

export type ViewReader = (view: ClusterView) => void;

export class ViewReaders {
  readonly #init: ViewReadersInit;
  /** Changed since all readers last took a view; undefined: any record, for none has been taken yet. */
  #suspects: Set<LedgerRecord> | undefined;

  constructor(init: ViewReadersInit) {
    this.#init = init;
  }

  changed(records: readonly LedgerRecord[]): void {
    for (const record of records) this.#suspects?.add(record);
    if ((this.#suspects?.size ?? 0) > SUSPECTS_MAX) this.#suspects = undefined;
  }

  /** Gives the view to each reader, by its name. Never throws. */
  hand(view: ClusterView, readers: Readonly<Record<string, ViewReader>>): void {
    let isTaken = true;
    for (const [name, reader] of Object.entries(readers)) isTaken = this.offer(view, name, reader) && isTaken;
    if (isTaken) this.#suspects = new Set();
  }

  /** @returns whether it took the whole view. */
  offer(view: ClusterView, name: string, reader: ViewReader): boolean {
    const error = thrown(reader, view);
    if (error === undefined) return true;
    const suspects = [...(this.#suspects ?? this.#init.records())];
    let tries = 0;
    const passes = (without: ReadonlySet<LedgerRecord>) => {
      tries += 1;
      return tries <= TRIES_MAX && thrown(reader, this.#init.without(without)) === undefined;
    };
    const found = passes(new Set(suspects)) ? findCulprits(suspects, passes) : [];
    // A search that was broken off has named whatever was left.
    const culprits = tries <= TRIES_MAX ? found : [];
    if (culprits.length === 0) {
      this.#init.log('warn', `${name} throws at the view, whatever record is left out: a defect`, {
        error: error.error instanceof Error ? error.error.stack : String(error.error),
      });
      return false;
    }
    // What it was given last was a trial.
    thrown(reader, this.#init.without(new Set(culprits)));
    for (const culprit of culprits) this.#init.quarantine.strike(culprit, name, error.error);
    return false;
  }
}

/**
 * The fewest of `suspects` that must be left out for `passes`, by halving: all of a half that can stay, stays.
 * Without any of the suspects it passes, says the caller. Cost: about 2 log2(n) trials for each culprit.
 */
export function findCulprits<T>(suspects: readonly T[], passes: (without: ReadonlySet<T>) => boolean): T[] {
  const search = (among: readonly T[], others: readonly T[]): T[] => {
    if (among.length === 0 || passes(new Set(others))) return [];
    if (among.length === 1) return [...among];
    const half = among.length >> 1;
    const [first, second] = [among.slice(0, half), among.slice(half)];
    const ofFirst = search(first, [...others, ...second]);
    return [...ofFirst, ...search(second, [...others, ...ofFirst])];
  };
  return search(suspects, []);
}

function thrown(reader: ViewReader, view: ClusterView): { readonly error: unknown } | undefined {
  try {
    reader(view);
    return undefined;
  } catch (error) {
    return { error };
  }
}
