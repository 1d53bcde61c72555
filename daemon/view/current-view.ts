/**
 * The view of this node, kept as its ledger changes: derived anew one turn after a change, once for all changes of that
 * turn, and handed to the parts that read it whole. A record at which a part throws ends in quarantine. Not here: how a
 * view is derived (protocols/view/derive.ts) and what is done about one (cluster.ts).
 */
import { setImmediate } from 'node:timers';
import type { NodeId } from '../../protocols/base/ids.ts';
import type { LedgerMachine } from '../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { deriveView } from '../../protocols/view/derive.ts';
import type { ClusterView, MemberStatus } from '../../protocols/view/view.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { StateStore } from '../store/state-store.ts';
import { Quarantine } from './quarantine.ts';
import { type ViewReader, ViewReaders } from './view-readers.ts';

export interface CurrentViewInit {
  readonly self: NodeId;
  readonly machine: LedgerMachine;
  readonly store: StateStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly status: (member: NodeId) => MemberStatus;
  /** Who is to be given a view that has just been derived. @param kinds of records that changed. */
  readonly readers: (
    view: ClusterView,
    before: ClusterView,
    kinds: ReadonlySet<string>,
  ) => Readonly<Record<string, ViewReader>>;
  /** Nothing is derived any more once it aborts. */
  readonly stopping: AbortSignal;
}

export class CurrentView {
  readonly quarantine: Quarantine;
  readonly #init: CurrentViewInit;
  readonly #readers: ViewReaders;
  #dirty = new Set<string>();
  #view: ClusterView;
  #isRefreshing = false;

  constructor(init: CurrentViewInit) {
    this.#init = init;
    const { machine, store, log } = init;
    this.quarantine = new Quarantine({ store, log, onHeld: ({ kind }) => this.touch(kind) });
    this.quarantine.prune(new Set(Array.from(machine.ledger.records(), ({ digest }) => digest)));
    this.#readers = new ViewReaders({
      quarantine: this.quarantine,
      log,
      records: () => machine.ledger.records(),
      without: (records) => this.#derive(undefined, new Set(), records),
    });
    this.#view = this.#derive(undefined, new Set());
  }

  get view(): ClusterView {
    return this.#view;
  }

  /** A part that reads views when it is asked has thrown: what is at fault is found. */
  distrust(name: string, reader: ViewReader): void {
    this.#readers.offer(this.#view, name, reader);
  }

  changed(records: readonly LedgerRecord[]): void {
    this.#readers.changed(records);
    for (const { kind } of records) this.touch(kind);
  }

  /** What is derived from records of this kind may have changed. One refresh for all changes of a turn. */
  touch(kind: string): void {
    this.#dirty.add(kind);
    if (this.#isRefreshing) return;
    this.#isRefreshing = true;
    setImmediate(() => {
      this.#isRefreshing = false;
      if (!this.#init.stopping.aborted) this.#refresh();
    });
  }

  #refresh(): void {
    const kinds = this.#dirty;
    this.#dirty = new Set();
    const before = this.#view;
    this.#view = this.#derive(before, kinds);
    this.#readers.hand(this.#view, this.#init.readers(this.#view, before, kinds));
  }

  /** @param without records to leave out besides those in quarantine. */
  #derive(
    before: ClusterView | undefined,
    dirty: ReadonlySet<string>,
    without?: ReadonlySet<LedgerRecord>,
  ): ClusterView {
    const { machine, self, status, clock } = this.#init;
    const { ledger, authority } = machine;
    const quarantine = {
      has: (record: LedgerRecord) => without?.has(record) === true || this.quarantine.has(record),
      strike: (record: LedgerRecord, where: string, error: unknown) => {
        this.quarantine.strike(record, where, error);
        // It is derived again without it, or once more with it.
        this.touch(record.kind);
      },
    };
    return deriveView({ ledger, authority, self, status, now: clock.now(), quarantine }, before, dirty);
  }
}
