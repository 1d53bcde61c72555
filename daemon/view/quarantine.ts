/**
 * Records that made a part of this daemon throw twice: a defect of ours or a poison of theirs. They are kept in the
 * ledger and passed on, but no view shows them, on this node, until they are replaced. Known by their digests, on
 * disk too, so that a restart does not stumble over them again. Whose fault a throw was, view-readers.ts finds out.
 */
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import type { Log } from '../log.ts';
import type { StateStore } from '../store/state-store.ts';

/** Throws before a record is put into quarantine. */
const STRIKES = 2;
/** Held at once, and records with a first strike that are remembered; the oldest go first beyond it. */
export const QUARANTINE_MAX = 1_024;
const REASON_LENGTH_MAX = 256;
const PREFIX = 'quarantine/';

export interface QuarantineInit {
  readonly store: StateStore;
  readonly log: Log;
  /** A record has become held: what shows it must be derived again. */
  readonly onHeld: (record: LedgerRecord) => void;
}

export class Quarantine {
  readonly #init: QuarantineInit;
  readonly #held: Set<string>;
  readonly #struck = new Map<string, number>();

  constructor(init: QuarantineInit) {
    this.#init = init;
    this.#held = new Set(init.store.names(PREFIX).map((name) => name.slice(PREFIX.length)));
  }

  get size(): number {
    return this.#held.size;
  }

  has({ digest }: Pick<LedgerRecord, 'digest'>): boolean {
    return this.#held.has(digest);
  }

  /** A part of the daemon threw at this record. @param where which part, for whoever reads the log. */
  strike(record: LedgerRecord, where: string, error: unknown): void {
    const { digest, kind, key, author } = record;
    if (this.#held.has(digest)) return;
    const strikes = (this.#struck.get(digest) ?? 0) + 1;
    const reason = `${where}: ${error instanceof Error ? error.message : String(error)}`;
    this.#init.log('warn', strikes < STRIKES ? 'a record made this node throw' : 'a record is quarantined', {
      digest,
      kind,
      key,
      author,
      reason,
      stack: error instanceof Error ? error.stack : undefined,
    });
    this.#struck.delete(digest);
    if (strikes < STRIKES) {
      this.#struck.set(digest, strikes);
      dropOldest(this.#struck, () => {});
      return;
    }
    this.#held.add(digest);
    dropOldest(this.#held, (oldest) => this.#forget([oldest]));
    this.#keep(() =>
      this.#init.store.write({
        put: [],
        remove: [],
        streams: [],
        values: [[PREFIX + digest, reason.slice(0, REASON_LENGTH_MAX)]],
      }),
    );
    this.#init.onHeld(record);
  }

  /** Forgets those that have been replaced. @param live digests of all live records. */
  prune(live: ReadonlySet<string>): void {
    const gone = [...this.#held].filter((digest) => !live.has(digest));
    for (const digest of gone) this.#held.delete(digest);
    this.#forget(gone);
  }

  #forget(digests: readonly string[]): void {
    if (digests.length > 0)
      this.#keep(() => this.#init.store.remove(digests.map((digest) => PREFIX + digest)));
  }

  /** A disk that refuses costs two more throws after the next start. */
  #keep(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#init.log('debug', 'the quarantine could not be kept', { error: String(error) });
    }
  }
}

function dropOldest(
  held: { readonly size: number; keys(): IterableIterator<string>; delete(key: string): boolean },
  dropped: (digest: string) => void,
): void {
  for (const oldest of held.keys()) {
    if (held.size <= QUARANTINE_MAX) return;
    held.delete(oldest);
    dropped(oldest);
  }
}
