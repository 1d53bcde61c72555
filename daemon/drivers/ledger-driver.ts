/**
 * Drives the ledger's core: feeds it events, makes its writes durable before anything leaves the node, then carries
 * the other effects out in order. Effects of one turn of the event loop share one transaction (group commit).
 */
import { setImmediate } from 'node:timers';
import { isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import type { KeyId, NodeId } from '../../protocols/base/ids.ts';
import { BATCH_RECORDS_MAX } from '../../protocols/ledger/envelope.ts';
import {
  gossipVerdict,
  type LedgerEffect,
  type LedgerEvent,
  type LedgerMachine,
  type Write,
} from '../../protocols/ledger/machine.ts';
import type { LedgerRecord, StreamId } from '../../protocols/ledger/record.ts';
import type { Mesh } from '../../protocols/mesh/mesh.ts';
import type { Clock } from '../clock.ts';
import { type HistoryEntry, historyEntries } from '../history/history-entry.ts';
import type { Log } from '../log.ts';
import type { StateStore } from '../store/state-store.ts';
import type { StandingDriver } from './standing-driver.ts';

export const LEDGER_CHANNEL = 'ledger';
/** Effects waiting for the disk; beyond it events from peers are dropped, and anti-entropy brings them again. */
export const EFFECTS_MAX = 65_536;
/** How long after a failed write, such as on a full disk, it is tried again. */
const RETRY_MS = 1_000;

export interface LedgerDriverInit {
  readonly machine: LedgerMachine;
  readonly store: StateStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Told what each peer's messages turned out to hold. */
  readonly standing: Pick<StandingDriver, 'charge' | 'judge'>;
  readonly onChanged: (records: readonly LedgerRecord[]) => void;
}

interface Answer {
  resolve(record: LedgerRecord): void;
  reject(error: unknown): void;
}

interface QueuedWrite extends Answer {
  readonly author: KeyId;
  readonly write: Write;
}

export class LedgerDriver implements AsyncDisposable {
  readonly machine: LedgerMachine;
  readonly #init: LedgerDriverInit;
  #mesh: Mesh | undefined;
  #effects: LedgerEffect[] = [];
  readonly #writes = new Map<LedgerRecord, Answer>();
  #queue: QueuedWrite[] = [];
  readonly #timers = new Map<string, () => void>();
  #draining = false;
  #stopped = false;

  constructor(init: LedgerDriverInit) {
    this.#init = init;
    this.machine = init.machine;
  }

  /** Binds it to the mesh and begins anti-entropy. */
  start(mesh: Mesh): void {
    this.#mesh = mesh;
    mesh.on('connected', (peer) => this.#dispatch({ kind: 'connected', peer }));
    mesh.on('disconnected', (peer) => this.#dispatch({ kind: 'disconnected', peer }));
    mesh.handlePublished((from, body) => {
      const verdict = gossipVerdict(this.#fromPeer({ kind: 'gossip', from, body }));
      if (verdict === 'ignore') this.#init.standing.charge(from, 'repeats', 1);
      return verdict;
    });
    mesh.on('message', (from, channel, body) => {
      if (channel === LEDGER_CHANNEL) this.#onMessage(from, body);
    });
    this.#dispatch({ kind: 'start' });
    for (const peer of mesh.peers()) this.#dispatch({ kind: 'connected', peer });
  }

  /**
   * Resolves once the record is durable here. @param body null deletes.
   * @throws E_NOT_ALLOWED, E_TOO_LARGE: nothing was changed. E_DISK_FULL: it may still be written when space is back.
   */
  write(author: KeyId, recordKind: string, key: string, body: unknown): Promise<LedgerRecord> {
    return new Promise((resolve, reject) => {
      if (this.#stopped)
        return reject(new ShoalError('E_CANCELLED', 'the daemon is stopping; nothing was changed'));
      this.#queue.push({ author, write: { recordKind, key, body }, resolve, reject });
      this.#wake();
    });
  }

  /** Writes of one turn share a signature, which all who take them in check once. */
  #seal(): void {
    const queue = this.#queue;
    this.#queue = [];
    let batch: QueuedWrite[] = [];
    const keys = new Set<string>();
    for (const each of queue) {
      const key = `${each.write.recordKind}/${each.write.key}`;
      // Two writes of one key are two generations: the second must see the first.
      const fits = batch.length < BATCH_RECORDS_MAX && batch[0]?.author === each.author && !keys.has(key);
      if (!fits && batch.length > 0) {
        this.#sealBatch(batch);
        batch = [];
        keys.clear();
      }
      batch.push(each);
      keys.add(key);
    }
    if (batch.length > 0) this.#sealBatch(batch);
  }

  #sealBatch(batch: readonly QueuedWrite[]): void {
    try {
      const effects = this.#handle({
        kind: 'writes',
        author: batch[0]!.author,
        writes: batch.map(({ write }) => write),
      });
      const written = effects.flatMap((effect) => (effect.kind === 'written' ? [effect.record] : []));
      for (const [at, record] of written.entries()) this.#writes.set(record, batch[at]!);
      this.#effects.push(...effects);
    } catch (error) {
      // One that is refused must not take the others with it.
      if (batch.length === 1) batch[0]!.reject(error);
      else for (const write of batch) this.#sealBatch([write]);
    }
  }

  /**
   * Takes in records from outside the mesh and gossips them. Resolves once they are durable here.
   * @returns why the first of them was refused, if any. @throws E_BUSY while the disk refuses.
   */
  async introduce(envelopes: readonly Uint8Array[]): Promise<string | undefined> {
    const effects = this.#handle({ kind: 'introduce', envelopes });
    this.#enqueue(effects);
    this.#drain();
    if (this.#effects.length > 0)
      throw new ShoalError('E_BUSY', 'the record could not be written to disk yet');
    return effects.find((effect) => effect.kind === 'rejected')?.reason;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#drain();
    this.#stopped = true;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    for (const write of [...this.#writes.values(), ...this.#queue])
      write.reject(new ShoalError('E_CANCELLED', 'the daemon stopped'));
    this.#writes.clear();
    this.#queue = [];
  }

  #onMessage(from: NodeId, body: Uint8Array): void {
    const effects = this.#fromPeer({ kind: 'message', from, body });
    let answer_bytes = 0;
    for (const effect of effects) if (effect.kind === 'send') answer_bytes += effect.body.byteLength;
    if (answer_bytes > 0) this.#init.standing.charge(from, 'answers', answer_bytes);
    // It asked for nothing and told nothing new: the end of an exchange, or one that has no end.
    else if (!effects.some(isNews)) this.#init.standing.charge(from, 'repeats', 1);
  }

  /**
   * What a peer sends must not end the daemon, not even by a defect of the core.
   * @returns what came of it, which is on its way already.
   */
  #fromPeer(event: Extract<LedgerEvent, { kind: 'gossip' | 'message' }>): readonly LedgerEffect[] {
    if (this.#stopped || this.#effects.length >= EFFECTS_MAX) return [];
    try {
      const effects = this.#handle(event);
      this.#enqueue(effects);
      this.#init.standing.judge(event.from, effects);
      return effects;
    } catch (error) {
      this.#init.log('warn', 'a message of a peer could not be handled and was dropped: a defect', {
        from: event.from,
        error: error instanceof Error ? error.stack : String(error),
      });
      return [];
    }
  }

  #dispatch(event: LedgerEvent): void {
    if (!this.#stopped) this.#enqueue(this.#handle(event));
  }

  #handle(event: LedgerEvent): LedgerEffect[] {
    const { clock } = this.#init;
    return this.machine.handle(event, { now: clock.now(), random: () => clock.random() });
  }

  #enqueue(effects: readonly LedgerEffect[]): void {
    for (const effect of effects) this.#effects.push(effect);
    if (this.#effects.length > 0) this.#wake();
  }

  #wake(): void {
    if (this.#draining) return;
    this.#draining = true;
    setImmediate(() => this.#drain());
  }

  #drain(): void {
    this.#draining = false;
    if (this.#stopped) return;
    this.#seal();
    const effects = this.#effects;
    if (!this.#persist(effects)) return;
    this.#effects = [];
    const changed: LedgerRecord[] = [];
    let anyChange = false;
    for (const effect of effects) {
      if (effect.kind === 'changed') {
        changed.push(...effect.records);
        anyChange = true;
      } else {
        this.#carryOut(effect);
      }
    }
    if (anyChange) this.#init.onChanged(changed);
  }

  /** @returns false when the disk refused: the effects stay queued and are tried again. */
  #persist(effects: readonly LedgerEffect[]): boolean {
    // By what came last: a record that went and came back within one turn is live.
    const put = new Map<string, LedgerRecord>();
    const remove = new Map<string, LedgerRecord>();
    const streams = new Map<StreamId, number>();
    const values: [string, string][] = [];
    const history: HistoryEntry[] = [];
    for (const effect of effects) {
      if (effect.kind === 'persist') {
        for (const record of effect.remove) {
          put.delete(record.digest);
          remove.set(record.digest, record);
        }
        for (const record of effect.put) {
          remove.delete(record.digest);
          put.set(record.digest, record);
        }
        const now = this.#init.clock.now();
        history.push(...historyEntries(effect.put, effect.remove, this.machine.ledger, now));
        for (const [stream, high] of effect.streams) streams.set(stream, high);
      } else if (effect.kind === 'epoch') {
        values.push([`epoch/${effect.author}`, String(effect.epoch)]);
      } else if (effect.kind === 'horizon') {
        values.push(['horizon', String(effect.horizon_ms)]);
      }
    }
    if (put.size + remove.size + streams.size + values.length === 0) return true;
    try {
      const batch = { put: [...put.values()], remove: [...remove.values()] };
      this.#init.store.write({ ...batch, streams, values, history });
      return true;
    } catch (error) {
      this.#init.log('warn', 'the ledger cannot be written; it is tried again', { error: String(error) });
      for (const write of this.#writes.values()) write.reject(error);
      this.#writes.clear();
      this.#timer('retry', RETRY_MS, () => this.#drain());
      return false;
    }
  }

  #carryOut(effect: LedgerEffect): void {
    const { log, clock } = this.#init;
    switch (effect.kind) {
      case 'publish':
        this.#mesh?.publish(effect.body).catch((error: unknown) => {
          log('debug', 'a gossip went to nobody; anti-entropy brings it', { error: String(error) });
        });
        break;
      case 'send':
        this.#mesh?.send(effect.to, LEDGER_CHANNEL, effect.body);
        break;
      case 'schedule': {
        const { token } = effect;
        this.#timer(token, effect.at_ms - clock.now(), () => this.#dispatch({ kind: 'timer', token }));
        break;
      }
      case 'written':
        this.#writes.get(effect.record)?.resolve(effect.record);
        this.#writes.delete(effect.record);
        break;
      case 'rejected':
        log('debug', 'a record was not taken', {
          reason: effect.reason,
          from: effect.from,
          author: effect.author,
        });
        break;
      case 'equivocation':
        log('warn', 'an author signed two records with one number: its key was copied or it lies', {
          author: effect.author,
          records: effect.records.map((record) => record.digest),
        });
        break;
      case 'epoch':
        log('warn', 'this disk was older than the ledger; writing goes on in a new epoch', {
          epoch: effect.epoch,
        });
        break;
      case 'horizon':
      case 'persist':
      case 'changed':
        break;
    }
  }

  #timer(token: string, delay_ms: number, action: () => void): void {
    this.#timers.get(token)?.();
    const cancel = this.#init.clock.after(delay_ms, () => {
      this.#timers.delete(token);
      action();
    });
    this.#timers.set(token, cancel);
  }
}

function isNews(effect: LedgerEffect): boolean {
  return effect.kind === 'changed';
}

/** Writes that may fail without harm to anybody but their own next try. */
export async function attempt(log: Log, what: string, action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    if (!isShoalError(error, 'E_CANCELLED')) log('warn', `${what} failed`, { error: String(error) });
    return false;
  }
}
