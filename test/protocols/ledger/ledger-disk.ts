/** A disk for tests of the ledger: it keeps what effects say is to be kept, and a machine starts from what is on it. */
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import type { LedgerEffect } from '../../../protocols/ledger/effects.ts';
import { type LedgerConfig, LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { type LedgerRecord, openRecord, type StreamId } from '../../../protocols/ledger/record.ts';
import { genesis } from './fixtures.ts';

export class LedgerDisk {
  readonly #records: Map<string, Uint8Array>;
  readonly #streams: Map<StreamId, number>;
  epoch: number;
  #horizon_ms: number;

  private constructor(
    records: Iterable<readonly [string, Uint8Array]>,
    streams: Iterable<readonly [StreamId, number]>,
    epoch: number,
    horizon_ms: number,
  ) {
    this.#records = new Map(records);
    this.#streams = new Map(streams);
    this.epoch = epoch;
    this.#horizon_ms = horizon_ms;
  }

  /** A new one, with what whoever let its node in has given it. */
  static with(records: Iterable<LedgerRecord>): LedgerDisk {
    const given = Array.from(records, ({ digest, bytes }) => [digest, bytes] as const);
    return new LedgerDisk(given, [], 0, 0);
  }

  /** As it is now; what is kept later is not on it. */
  image(): LedgerDisk {
    return new LedgerDisk(this.#records, this.#streams, this.epoch, this.#horizon_ms);
  }

  get horizon_ms(): number {
    return this.#horizon_ms;
  }

  keep(effect: LedgerEffect): void {
    if (effect.kind === 'persist') {
      for (const { digest } of effect.remove) this.#records.delete(digest);
      for (const { digest, bytes } of effect.put) this.#records.set(digest, bytes);
      for (const [stream, high] of effect.streams) this.#streams.set(stream, high);
    }
    if (effect.kind === 'epoch') this.epoch = effect.epoch;
    if (effect.kind === 'horizon') this.#horizon_ms = effect.horizon_ms;
  }

  records(): LedgerRecord[] {
    return Array.from(this.#records.values(), (bytes) => openRecord(bytes, nodeCrypto));
  }

  machine(signer: Signer, config: Partial<LedgerConfig>, records = this.records()): LedgerMachine {
    return new LedgerMachine({
      genesis,
      crypto: nodeCrypto,
      signers: [signer],
      config,
      epochs: new Map([[signer.id, this.epoch]]),
      horizon_ms: this.#horizon_ms,
      stored: { records, streams: this.#streams },
    });
  }

  /** Does it hold what is live, and nothing else? */
  isOf({ ledger }: LedgerMachine): boolean {
    const live = Array.from(ledger.records(), ({ digest }) => digest);
    return [...this.#records.keys()].sort().join() === live.sort().join();
  }
}
