/**
 * Drives the ledger's core: feeds it events, makes its writes durable before anything leaves the node, then carries
 * the other effects out in order. Effects of one turn of the event loop share one transaction (group commit).
 *
 * While the disk refuses (full, read-only, failing) the node goes on with what it knows: records of others are taken
 * and passed on, and what this node says of itself and of other members goes out, for no number of this life is ever
 * given by another (protocols/ledger/start-epoch.ts). Nothing that is asked of it is acknowledged: that is refused by name before
 * anything is changed. What the disk lacks is written as soon as it takes it again.
 */
import { setImmediate } from 'node:timers';
import { type ErrorCode, isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import type { KeyId, NodeId } from '../../protocols/base/ids.ts';
import type { LedgerEffect } from '../../protocols/ledger/effects.ts';
import { BATCH_RECORDS_MAX } from '../../protocols/ledger/envelope.ts';
import {
  COLLECT_TIMER,
  type LedgerEvent,
  type LedgerMachine,
  type Write,
} from '../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { decodeSync, isLaterVersion, type SyncMessage } from '../../protocols/ledger/sync.ts';
import type { Mesh } from '../../protocols/mesh/mesh.ts';
import type { Clock } from '../clock.ts';
import { historyEntries } from '../history/history-entry.ts';
import type { Log } from '../log.ts';
import type { StateStore } from '../store/state-store.ts';
import type { GuardDriver } from './guard-driver.ts';
import { Unsaved } from './unsaved.ts';

export const LEDGER_CHANNEL = 'ledger';
/** Effects of one turn; beyond it events from peers are dropped, and anti-entropy brings them again. */
export const EFFECTS_MAX = 65_536;
/**
 * How long after a failed write, such as on a full disk, it is tried again: longer where the try itself takes long, for
 * nothing else is done meanwhile.
 */
const RETRY_MS = 1_000;
const RETRY_MS_MAX = 60_000;
/** A try gets no more than this part of the time. */
const RETRY_PART = 10;
/** How long acknowledgements of deletions wait while the disk refuses. */
const WITHHELD_MS = 60_000;
/** A greeting has two digests and two numbers. */
const HELLO_BYTES_MAX = 128;
/**
 * What a node says of itself and of others as of now. It is true while the node runs and said anew when it starts, so
 * it is also said when it cannot be kept: a member that cannot refute would be held for dead.
 */
const FACTS: ReadonlySet<string> = new Set(['member', 'verdict', 'alloc']);
/** What a user is told while the disk refuses, by why it does. */
const TROUBLES: Partial<Record<ErrorCode, string>> = {
  E_DISK_FULL: 'the disk of the data directory is full',
  E_DATA_DENIED: 'the data directory cannot be written, such as on a file system that became read-only',
  E_DATA_CORRUPT: 'state.db is damaged and could not be replaced',
};

export interface LedgerDriverInit {
  readonly machine: LedgerMachine;
  readonly store: StateStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Told what each peer's messages turned out to hold; says what of it is passed on. */
  readonly guard: Pick<GuardDriver, 'charge' | 'judge' | 'verdict'>;
  /** Values that the disk has not taken yet. */
  readonly unkept?: Iterable<readonly [name: string, value: string]>;
  readonly onChanged: (records: readonly LedgerRecord[]) => void;
  /** A comparison with a peer has come to its end: what it could give that was missing here is here. */
  readonly onCompared?: (peer: NodeId) => void;
}

/** Why the disk refuses, and since when. */
export interface DiskTrouble {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly since_ms: number;
}

/** By how much the clock was ahead, and when that was mended. */
export interface ClockTrouble {
  readonly ahead_ms: number;
  readonly mended_ms: number;
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
  readonly #unsaved: Unsaved;
  #trouble: DiskTrouble | undefined;
  #clockTrouble: ClockTrouble | undefined;
  readonly #own = new WeakSet<LedgerRecord>();
  readonly #writes = new Map<LedgerRecord, Answer>();
  #queue: QueuedWrite[] = [];
  readonly #timers = new Map<string, () => void>();
  #draining = false;
  #stopped = false;

  constructor(init: LedgerDriverInit) {
    this.#init = init;
    this.machine = init.machine;
    this.#unsaved = new Unsaved(init.unkept);
  }

  /** All that is here is on the disk. */
  get isKept(): boolean {
    return this.#trouble === undefined && this.#unsaved.isEmpty && this.#effects.length === 0;
  }

  /** Set while the disk refuses. */
  get trouble(): DiskTrouble | undefined {
    return this.#trouble;
  }

  /** Set once this life has written anew what was stamped by a clock far ahead. */
  get clockTrouble(): ClockTrouble | undefined {
    return this.#clockTrouble;
  }

  /** This process wrote it. */
  isOwn(record: LedgerRecord): boolean {
    return this.#own.has(record);
  }

  /** Binds it to the mesh and begins anti-entropy. */
  start(mesh: Mesh): void {
    this.#mesh = mesh;
    mesh.on('connected', (peer) => this.#dispatch({ kind: 'connected', peer }));
    mesh.on('disconnected', (peer) => this.#dispatch({ kind: 'disconnected', peer }));
    mesh.handlePublished((from, body) => {
      const effects = this.#fromPeer({ kind: 'gossip', from, body });
      return this.#init.guard.verdict(from, body.byteLength, effects);
    });
    mesh.on('message', (from, channel, body) => {
      if (channel === LEDGER_CHANNEL) this.#onMessage(from, body);
    });
    this.#dispatch({ kind: 'start' });
    // What it began with waits for no event.
    if (!this.#unsaved.isEmpty) this.#wake();
    for (const peer of mesh.peers()) this.#dispatch({ kind: 'connected', peer });
  }

  /**
   * Resolves once the record is durable here; what the node says of itself and other members also while the disk
   * refuses. @param body null deletes.
   * @throws E_NOT_ALLOWED, E_TOO_LARGE, E_DISK_FULL, E_DISK_FAILED, E_DATA_DENIED, E_DATA_CORRUPT: the message says
   * whether anything was changed.
   */
  write(author: KeyId, recordKind: string, key: string, body: unknown): Promise<LedgerRecord> {
    return new Promise((resolve, reject) => {
      if (this.#stopped) return reject(stopping());
      if (this.#trouble !== undefined && !FACTS.has(recordKind))
        return reject(refusal(this.#trouble, 'nothing was changed'));
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
   * @param now_ms it is at least as late as this; absent: as late as the clock says.
   * @returns why the first of them was refused, if any. @throws as `write` does, while the disk refuses and once it stops.
   */
  async introduce(
    envelopes: readonly Uint8Array[],
    now_ms = this.#init.clock.now(),
  ): Promise<string | undefined> {
    if (this.#stopped) throw stopping();
    if (this.#trouble !== undefined) throw refusal(this.#trouble, 'nothing was changed');
    const effects = this.#handle({ kind: 'introduce', envelopes, now_ms });
    this.#enqueue(effects);
    this.#drain();
    if (this.#trouble !== undefined) throw refusal(this.#trouble, UNKEPT);
    const refused = effects.filter((effect) => effect.kind === 'rejected');
    return refused.find(({ hasWaited }) => !hasWaited)?.reason;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#drain();
    // Once more: there may be room again since the last try.
    if (this.#trouble !== undefined && !this.#stopped) this.#save();
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
    if (this.#init.onCompared !== undefined && this.#endsComparison(from, body, effects))
      this.#init.onCompared(from);
    let answer_bytes = 0;
    for (const effect of effects) if (effect.kind === 'send') answer_bytes += effect.body.byteLength;
    if (answer_bytes > 0) this.#init.guard.charge(from, 'answers', answer_bytes);
    // It asked for nothing and told nothing new: the end of an exchange, or one that has no end.
    else if (!effects.some(({ kind }) => kind === 'changed')) this.#init.guard.charge(from, 'repeats', 1);
  }

  /**
   * Equal ledgers do, and so do those that differ in what is on its way alone: at the end of a repair a greeting is
   * answered with another then. A peer that is busy is silent, or says that it gives nothing.
   */
  #endsComparison(from: NodeId, body: Uint8Array, effects: readonly LedgerEffect[]): boolean {
    const hello = helloOf(body);
    if (hello === undefined) return false;
    return (
      hello.hash === this.machine.ledger.hash ||
      effects.some((effect) => effect.kind === 'send' && effect.to === from && helloOf(effect.body))
    );
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
      this.#init.guard.judge(event.from, effects);
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
    if (this.#stopped) return;
    if (event.kind === 'timer' && event.token === COLLECT_TIMER && this.#trouble !== undefined) {
      this.#timer(COLLECT_TIMER, WITHHELD_MS, () => this.#dispatch(event));
      return;
    }
    try {
      this.#enqueue(this.#handle(event));
    } catch (error) {
      // Nobody waits for an answer, and the node can do without what was refused.
      if (!isShoalError(error)) throw error;
      this.#init.log('warn', 'the ledger could not do what was due', {
        event: event.kind,
        error: String(error),
      });
    }
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
    this.#effects = [];
    const now = this.#init.clock.now();
    for (const effect of effects) {
      this.#unsaved.add(effect);
      if (effect.kind === 'persist')
        this.#unsaved.addHistory(historyEntries(effect.put, effect.remove, this.machine.ledger, now));
    }
    // While the disk refuses, the timer alone tries again.
    if (this.#trouble === undefined) this.#save();
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

  /** Writes what the disk lacks, or sees to it that it is tried again. */
  #save(): void {
    // In trouble also an empty write shows that the disk takes it again.
    if (this.#unsaved.isEmpty && this.#trouble === undefined) return;
    const { log, clock } = this.#init;
    const began_ms = clock.now();
    try {
      this.#writeUnsaved();
    } catch (error) {
      if (this.#trouble === undefined) {
        const code = isShoalError(error) ? error.code : 'E_DISK_FAILED';
        const reason = TROUBLES[code] ?? 'the disk of the data directory fails';
        this.#trouble = { code, reason, since_ms: clock.now() };
        log('warn', 'the ledger cannot be written: new writes are refused, the rest goes on', {
          code,
          error: String(error),
        });
      }
      // What waits to be folded in is in the ledger already, and so it would be in a new file.
      const pause_ms = (clock.now() - began_ms) * RETRY_PART;
      this.#timer('retry', Math.min(Math.max(RETRY_MS, pause_ms), RETRY_MS_MAX), () => {
        this.#drain();
        this.#save();
      });
      return;
    }
    if (this.#trouble === undefined) return;
    this.#trouble = undefined;
    log('info', 'the ledger is written again: new writes are taken');
  }

  /** A file that turns out damaged is begun anew: all that was in it is known here. */
  #writeUnsaved(): void {
    const { store, log } = this.#init;
    try {
      store.write(this.#unsaved.batch());
    } catch (error) {
      if (!isShoalError(error, 'E_DATA_CORRUPT')) throw error;
      const aside = store.replace([...this.machine.ledger.records()]);
      this.#unsaved.replaced();
      log('warn', 'state.db was damaged and has been written anew from memory', { aside });
      store.write(this.#unsaved.batch());
    }
    this.#unsaved.clear();
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
      case 'written': {
        // Also what nobody asked for: acknowledgements, evidence.
        this.#own.add(effect.record);
        const write = this.#writes.get(effect.record);
        this.#writes.delete(effect.record);
        if (this.#trouble === undefined || FACTS.has(effect.record.kind)) write?.resolve(effect.record);
        else write?.reject(refusal(this.#trouble, UNKEPT));
        break;
      }
      case 'clock':
        this.#clockTrouble = { ahead_ms: effect.ahead_ms, mended_ms: clock.now() };
        log('warn', 'the clock of this host was far ahead; what this node wrote by it is written anew', {
          ahead_s: Math.round(effect.ahead_ms / 1000),
          records: effect.records_count,
        });
        break;
      case 'unsaid':
        log('warn', 'this node could not say what it had to', {
          code: effect.error.code,
          kinds: effect.what,
          error: String(effect.error),
        });
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
        log(
          'warn',
          'this disk was older than the ledger, another daemon has its key, or the clock was ahead: a new epoch begins',
          {
            epoch: effect.epoch,
          },
        );
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

function helloOf(body: Uint8Array): Extract<SyncMessage, { kind: 'hello' }> | undefined {
  if (body.byteLength > HELLO_BYTES_MAX || isLaterVersion(body)) return undefined;
  try {
    const message = decodeSync(body);
    return message.kind === 'hello' ? message : undefined;
  } catch (error) {
    if (isShoalError(error)) return undefined;
    throw error;
  }
}

/** Of the write that met the refusal first: others may have it, and this node does until it ends. */
const UNKEPT =
  'the change is not kept by this node yet: it takes effect, unless the daemon ends before the disk takes it';

function stopping(): ShoalError {
  return new ShoalError('E_CANCELLED', 'the daemon is stopping; nothing was changed');
}

function refusal({ code, reason }: DiskTrouble, state: string): ShoalError {
  return new ShoalError(code, `${reason}; ${state}`);
}
