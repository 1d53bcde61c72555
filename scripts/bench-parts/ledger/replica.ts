/** What the `ledger` benchmark measures: a replica that takes binary updates which another one has written. */

/**
 * How messages come: `one` update in each, as by gossip; a `batch`, as by a repair; or a batch that was written at once,
 * which the ledger can put under one `seal`.
 */
export type Grouping = 'one' | 'batch' | 'seal';

export interface Replica {
  /** Takes all messages, in order. The time that this and the reading take is what is measured. */
  apply(): void;
  /** Asked after `apply` for all that is live: nobody is fast by doing nothing. */
  read(key: string): string | undefined;
}

/** A fresh replica each time; the messages were written once, before. */
export type MakeReplica = () => Replica;

/** @returns the groups of a list, each of `size`, the last one perhaps smaller. */
export function inGroups<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, at) =>
    list.slice(at * size, (at + 1) * size),
  );
}
