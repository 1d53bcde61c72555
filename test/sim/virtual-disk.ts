/**
 * A node's disk as daemon/store presents it: transactions that are wholly there or not at all, durable once synced;
 * a crash keeps some of those that were under way, in order; damaged records are found at load and named. What all
 * disks began with is shared between them. Not here: how long a sync takes (shoal-node.ts).
 */
import { HORIZON_UNKNOWN } from '../../protocols/ledger/horizon.ts';
import type { LedgerRecord, StreamId } from '../../protocols/ledger/record.ts';
import type { Prng } from './prng.ts';

export interface Transaction {
  readonly put: readonly LedgerRecord[];
  readonly remove: readonly LedgerRecord[];
  readonly streams: readonly (readonly [StreamId, number])[];
  /** The node's own epoch, and the horizon of collection, when they change. */
  readonly epoch?: number;
  readonly horizon_ms?: number;
}

/** Everything that is on it. */
export interface Content {
  /** What was put (a record) or taken away (null) since the beginning. */
  readonly changes: Map<string, LedgerRecord | null>;
  readonly streams: Map<StreamId, number>;
  readonly epoch: number;
  readonly horizon_ms: number;
}

export interface Loaded {
  readonly records: Iterable<LedgerRecord>;
  readonly streams: Iterable<readonly [StreamId, number]>;
  readonly epoch: number;
  readonly horizon_ms: number;
  /** Digests of records that could not be read: they are gone. */
  readonly damaged: readonly string[];
  /** True when nothing was written to this disk since the cluster began. */
  readonly isPristine: boolean;
}

export class VirtualDisk {
  readonly #base: ReadonlyMap<string, LedgerRecord>;
  #changes = new Map<string, LedgerRecord | null>();
  #streams = new Map<StreamId, number>();
  #epoch = 0;
  #horizon_ms = 0;
  #damaged: string[] = [];
  /** Transactions that are not synced. */
  #staged: Transaction[] = [];

  constructor(base: ReadonlyMap<string, LedgerRecord>) {
    this.#base = base;
  }

  stage(transaction: Transaction): void {
    this.#staged.push(transaction);
  }

  sync(): void {
    for (const transaction of this.#staged) this.#apply(transaction);
    this.#staged = [];
  }

  /** Those that were under way: the first of them may have come through. */
  crash(prng: Prng): void {
    this.#staged.length = Math.floor(prng.next() * (this.#staged.length + 1));
    this.sync();
  }

  /** What `load` gives is as good as new: damage is told once. */
  load(): Loaded {
    const damaged = this.#damaged;
    this.#damaged = [];
    if (damaged.length > 0) this.#epoch += 1;
    return {
      records: this.#records(),
      streams: this.#streams,
      epoch: this.#epoch,
      horizon_ms: this.#horizon_ms,
      damaged,
      isPristine: this.#changes.size === 0 && this.#streams.size === 0,
    };
  }

  holds(digest: string): boolean {
    const change = this.#changes.get(digest);
    return change === undefined ? this.#base.has(digest) : change !== null;
  }

  /**
   * Makes some records unreadable; with them the heights of streams are lost, as in daemon/store, and the disk is in
   * doubt.
   * @returns their digests.
   */
  damage(prng: Prng, count: number, accept: (record: LedgerRecord) => boolean): readonly string[] {
    const digests: string[] = [];
    for (const record of this.#records()) if (accept(record)) digests.push(record.digest);
    this.#damaged = prng.sample(digests, count);
    for (const digest of this.#damaged) this.#take(digest);
    if (this.#damaged.length > 0) {
      this.#streams = new Map();
      this.#horizon_ms = HORIZON_UNKNOWN;
    }
    return this.#damaged;
  }

  snapshot(): Content {
    return {
      changes: new Map(this.#changes),
      streams: new Map(this.#streams),
      epoch: this.#epoch,
      horizon_ms: this.#horizon_ms,
    };
  }

  /** As somebody who copies an old image of a virtual machine back. @returns digests of what was there before it. */
  restore({ changes, streams, epoch, horizon_ms }: Content): readonly string[] {
    const before = [...this.#changes.keys()].filter((digest) => this.holds(digest));
    this.#changes = new Map(changes);
    this.#streams = new Map(streams);
    this.#epoch = epoch;
    this.#horizon_ms = horizon_ms;
    this.#staged = [];
    this.#damaged = [];
    return before.filter((digest) => !this.holds(digest));
  }

  /** It is gone for good. @returns digests of what had been put there. */
  wipe(): readonly string[] {
    const before = [...this.#changes.keys()].filter((digest) => this.holds(digest));
    for (const digest of before) this.#changes.set(digest, null);
    this.#staged = [];
    return before;
  }

  *#records(): IterableIterator<LedgerRecord> {
    for (const [digest, record] of this.#base) if (!this.#changes.has(digest)) yield record;
    for (const record of this.#changes.values()) if (record !== null) yield record;
  }

  #apply({ put, remove, streams, epoch, horizon_ms }: Transaction): void {
    for (const { digest } of remove) this.#take(digest);
    for (const record of put) {
      if (this.#base.has(record.digest)) this.#changes.delete(record.digest);
      else this.#changes.set(record.digest, record);
    }
    for (const [stream, high] of streams) this.#streams.set(stream, high);
    if (epoch !== undefined) this.#epoch = epoch;
    if (horizon_ms !== undefined) this.#horizon_ms = horizon_ms;
  }

  #take(digest: string): void {
    if (this.#base.has(digest)) this.#changes.set(digest, null);
    else this.#changes.delete(digest);
  }
}
