/** The ledger of a node as its disk has it, opened for a new life: under an epoch that no life before it had. */

import { randomInt } from 'node:crypto';
import type { Crypto, Signer } from '../protocols/base/crypto.ts';
import { ShoalError } from '../protocols/base/errors.ts';
import type { KeyId } from '../protocols/base/ids.ts';
import { HORIZON_UNKNOWN } from '../protocols/ledger/horizon.ts';
import { LedgerMachine } from '../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../protocols/ledger/record.ts';
import { epochAfter, startEpoch } from '../protocols/ledger/start-epoch.ts';
import { readGrant } from '../protocols/trust/acts.ts';
import type { Log } from './log.ts';
import type { StateStore } from './store/state-store.ts';

export interface StoredLedgerInit {
  readonly store: StateStore;
  readonly crypto: Crypto;
  readonly log: Log;
  readonly genesis: LedgerRecord;
  readonly signer: Signer;
  readonly started_ms: number;
  /** In [0, 1). */
  readonly random: () => number;
}

export interface StoredLedger {
  readonly machine: LedgerMachine;
  readonly epoch: number;
  /** Values that the disk did not take, to be written once it does. */
  readonly unkept: readonly (readonly [name: string, value: string])[];
  /** Nothing is lost, and the grant of this node is gone: others are kept in its place. It was told so, and says so. */
  readonly isDisplaced: boolean;
}

/** Where an epoch cannot be kept, this life takes one of so many by lot. */
const LOTS = 65_536;

/** @throws E_DATA_CORRUPT when nothing that is stored has ever made this node a member, and nothing was found lost. */
export function openStoredLedger(init: StoredLedgerInit): StoredLedger {
  const { store, crypto, log, genesis, signer, started_ms, random } = init;
  const stored = store.load();
  const epochName = `epoch/${signer.id}`;
  let before = Number(store.value(epochName) ?? -1);
  // What a life wrote whose epoch could not be kept.
  for (const { author, epoch } of stored.records) if (author === signer.id) before = Math.max(before, epoch);
  if (before < 0 && !store.isIncomplete && !stored.records.some((record) => isGrantOf(record, signer.id))) {
    const message =
      'the record that makes this node a member is not in state.db; its records were left as they are';
    throw new ShoalError('E_DATA_CORRUPT', message);
  }
  const next = startEpoch(before < 0 ? undefined : before, started_ms, stored.records, random);
  const valuesOf = (epoch: number): [string, string][] => [
    [epochName, String(epoch)],
    ...(store.isIncomplete ? [['horizon', String(HORIZON_UNKNOWN)] as [string, string]] : []),
  ];
  const isKept = keep(store, valuesOf(next), log);
  // The life before may have been as old, by a clock without a battery, and could not keep its epoch either.
  const epoch = isKept ? next : epochAfter(next, random, LOTS);
  const machine = new LedgerMachine({
    genesis,
    crypto,
    signers: [signer],
    stored,
    secret: randomInt(2 ** 32),
    epochs: new Map([[signer.id, epoch]]),
    horizon_ms: store.isIncomplete ? HORIZON_UNKNOWN : Number(store.value('horizon') ?? 0),
  });
  // One that was revoked or displaced, or whose grant has ended, starts all the same: to say so, and to ask.
  const isDisplaced = !isKnown(machine, signer.id) && !store.isIncomplete;
  return { machine, epoch, unkept: isKept ? [] : valuesOf(epoch), isDisplaced };
}

/** A disk that refuses keeps no node from its start. @returns whether it took them. */
function keep(store: StateStore, values: readonly (readonly [string, string])[], log: Log): boolean {
  try {
    store.write({ put: [], remove: [], streams: [], values });
    return true;
  } catch (error) {
    log('warn', 'keeping the new epoch failed', { error: String(error) });
    return false;
  }
}

function isGrantOf(record: LedgerRecord, key: KeyId): boolean {
  return record.kind === 'grant' && readGrant(record)?.body.subject === key;
}

/** Does any grant name the key, whatever has become of it? */
export function isKnown({ authority }: LedgerMachine, key: KeyId): boolean {
  return authority.depth(key) < Number.POSITIVE_INFINITY;
}
