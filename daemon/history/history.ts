/**
 * Questions about what this node has seen change: the latest changes that fit a filter, and each new one as it comes.
 * Keys are told by the names that they have now; those of nodes that are gone by the names that they had.
 */
import { type KeyId, shortId } from '../../protocols/base/ids.ts';
import { type ChangeInfo, HISTORY_LIMIT, type HistoryQuery } from '../api/trust-schemas.ts';
import { type Clock, pause } from '../clock.ts';
import type { StateStore } from '../store/state-store.ts';
import { isCalled } from '../view-answers.ts';
import type { HistoryEntry } from './history-entry.ts';

/** How often a follower looks for more. */
const FOLLOW_MS = 200;

export interface HistoryInit {
  readonly store: Pick<StateStore, 'history' | 'historyEnd'>;
  readonly clock: Clock;
  /** Who is who now; undefined for a key that nobody knows any more. */
  readonly names: () => (key: KeyId) => string | undefined;
}

export class History {
  readonly #init: HistoryInit;

  constructor(init: HistoryInit) {
    this.#init = init;
  }

  /** The latest that fit, by the stamps of their authors, the oldest of them first. */
  latest({ limit = HISTORY_LIMIT, ...filter }: HistoryQuery): ChangeInfo[] {
    const found: ChangeInfo[] = [];
    if (limit === 0) return found;
    const names = this.#init.names();
    for (const { entry } of this.#init.store.history({ latestFirst: true, since_ms: filter.since_ms ?? 0 })) {
      const change = told(entry, names);
      if (fits(change, filter)) found.push(change);
      if (found.length === limit) break;
    }
    return found.reverse();
  }

  /** The same, then each that comes, as it comes. Ends when `signal` aborts. */
  async *follow(query: HistoryQuery, signal: AbortSignal): AsyncGenerator<ChangeInfo, void, undefined> {
    const { store, clock } = this.#init;
    let after = store.historyEnd();
    yield* this.latest(query);
    while (!signal.aborted) {
      // Taken out of the store before it is handed on: whoever reads slowly must not hold a query open.
      const names = this.#init.names();
      const fresh = [...store.history({ latestFirst: false, after })];
      for (const { number, entry } of fresh) {
        after = number;
        const change = told(entry, names);
        if (fits(change, query)) yield change;
      }
      await pause(clock, FOLLOW_MS, signal);
    }
  }
}

function told(entry: HistoryEntry, names: ReturnType<HistoryInit['names']>): ChangeInfo {
  const { author, authorName, subject, subjectName, stamp, applied_ms, digest, ...rest } = entry;
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

function fits(change: ChangeInfo, { since_ms = 0, kind, key, by }: HistoryQuery): boolean {
  return (
    change.at_ms >= since_ms &&
    (kind === undefined || change.kind === kind) &&
    (by === undefined || isCalled(by, change.author, change.authorName)) &&
    (key === undefined ||
      change.key === key ||
      change.key.endsWith(`/${key}`) ||
      (change.subject !== null && isCalled(key, change.subject, change.subjectName ?? '')))
  );
}
