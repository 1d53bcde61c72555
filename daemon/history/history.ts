/**
 * Questions about what this node has seen change: the latest changes that fit a filter, and each new one as it comes.
 * Keys are told by the names that they have now; those of nodes that are gone by the names that they had.
 */
import { ShoalError } from '../../protocols/base/errors.ts';
import { type KeyId, shortId } from '../../protocols/base/ids.ts';
import { type ChangeInfo, HISTORY_LIMIT, type HistoryQuery } from '../api/trust-schemas.ts';
import { type Clock, pause } from '../clock.ts';
import type { StateStore } from '../store/state-store.ts';
import { isCalled } from '../view-answers.ts';
import type { Counting } from './counting.ts';
import type { HistoryEntry } from './history-entry.ts';

/** How often a follower looks for more. */
const FOLLOW_MS = 200;

export interface HistoryInit {
  readonly store: Pick<StateStore, 'history' | 'historyEnd' | 'historyLost_ms'>;
  readonly clock: Clock;
  /** Who is who now; undefined for a key that nobody knows any more. */
  readonly names: () => (key: KeyId) => string | undefined;
  /** Does anybody bear this name or id now, or did whose member record is still there? */
  readonly isNamed: (text: string) => boolean;
  /** What counts now. */
  readonly counting: () => Counting;
}

export class History {
  readonly #init: HistoryInit;

  constructor(init: HistoryInit) {
    this.#init = init;
  }

  /** Before it lines were lost here; null: none was. */
  get lost_ms(): number | null {
    return this.#init.store.historyLost_ms;
  }

  /** The latest that fit, the oldest of them first. @throws E_NOT_FOUND when `by` is nobody. */
  latest({ limit = HISTORY_LIMIT, ...filter }: HistoryQuery): ChangeInfo[] {
    const found: ChangeInfo[] = [];
    if (limit === 0) return found;
    const tell = this.#teller(filter);
    for (const { entry } of this.#init.store.history({ latestFirst: true, since_ms: filter.since_ms ?? 0 })) {
      const change = tell(entry);
      if (change !== undefined) found.push(change);
      if (found.length === limit) break;
    }
    if (found.length === 0) this.#checkAuthor(filter.by);
    return found.reverse();
  }

  /** The same, then each that comes, as it comes. Ends when `signal` aborts. @throws E_NOT_FOUND at once, as `latest`. */
  follow(query: HistoryQuery, signal: AbortSignal): AsyncGenerator<ChangeInfo, void, undefined> {
    this.#checkAuthor(query.by);
    return this.#follow(query, signal);
  }

  async *#follow(query: HistoryQuery, signal: AbortSignal): AsyncGenerator<ChangeInfo, void, undefined> {
    const { store, clock } = this.#init;
    let after = store.historyEnd();
    yield* this.latest(query);
    while (!signal.aborted) {
      // Taken out of the store before it is handed on: whoever reads slowly must not hold a query open.
      const tell = this.#teller(query);
      const fresh = [...store.history({ latestFirst: false, after })];
      for (const { number, entry } of fresh) {
        after = number;
        const change = tell(entry);
        if (change !== undefined) yield change;
      }
      await pause(clock, FOLLOW_MS, signal);
    }
  }

  /** A misspelt name must not look like one who has changed nothing. */
  #checkAuthor(by: string | undefined): void {
    const { isNamed, store, names } = this.#init;
    if (by === undefined || isNamed(by)) return;
    const nameOf = names();
    for (const { entry } of store.history({ latestFirst: false, after: 0 })) {
      const { author, authorName } = told(entry, nameOf);
      if (isCalled(by, author, authorName)) return;
    }
    throw new ShoalError('E_NOT_FOUND', `no node and no operator is called ${by}, and no line is by one`);
  }

  /** @returns undefined for what does not fit. */
  #teller(filter: HistoryQuery): (entry: HistoryEntry) => ChangeInfo | undefined {
    const [names, counts] = [this.#init.names(), this.#init.counting()];
    return (entry) => {
      const change = told(entry, names);
      return fits(change, filter) ? { ...change, counts: counts(entry) } : undefined;
    };
  }
}

type Told = Omit<ChangeInfo, 'counts'>;

function told(entry: HistoryEntry, names: ReturnType<HistoryInit['names']>): Told {
  const { author, authorName, subject, subjectName, stamp, applied_ms, digest, epoch, seq, ...rest } = entry;
  return {
    ...rest,
    at_ms: stamp.ms,
    seen_ms: applied_ms,
    author,
    authorName: names(author) ?? authorName ?? shortId(author),
    subject,
    subjectName: subject === null ? null : (names(subject) ?? subjectName ?? shortId(subject)),
    revision: digest,
  };
}

function fits(change: Told, { since_ms = 0, kind, key, by }: HistoryQuery): boolean {
  return (
    // An author may set its own time back, and not that of this node.
    Math.max(change.at_ms, change.seen_ms) >= since_ms &&
    (kind === undefined || change.kind === kind) &&
    (by === undefined || isCalled(by, change.author, change.authorName)) &&
    (key === undefined ||
      change.key === key ||
      change.key.endsWith(`/${key}`) ||
      (change.subject !== null && isCalled(key, change.subject, change.subjectName ?? '')))
  );
}
