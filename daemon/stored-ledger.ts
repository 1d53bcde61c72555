/** The ledger of a node as its disk has it, opened for a new life: under an epoch that no life before it had. */

import { randomInt } from 'node:crypto';
import type { Crypto, Signer } from '../protocols/base/crypto.ts';
import { ShoalError } from '../protocols/base/errors.ts';
import type { KeyId } from '../protocols/base/ids.ts';
import { HORIZON_UNKNOWN } from '../protocols/ledger/horizon.ts';
import { LedgerMachine } from '../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../protocols/ledger/record.ts';
import { startEpoch } from '../protocols/ledger/start-epoch.ts';
import { attempt } from './attempt.ts';
import type { Log } from './log.ts';
import type { StateStore } from './store/state-store.ts';

export interface StoredLedgerInit {
  readonly store: StateStore;
  readonly crypto: Crypto;
  readonly log: Log;
  readonly genesis: LedgerRecord;
  readonly signer: Signer;
  readonly started_ms: number;
}

/** @throws E_DATA_CORRUPT when nothing that is stored makes this node a member, and nothing was found lost. */
export function openStoredLedger(init: StoredLedgerInit): { machine: LedgerMachine; epoch: number } {
  const { store, crypto, log, genesis, signer, started_ms } = init;
  const stored = store.load();
  const epochName = `epoch/${signer.id}`;
  const before = store.value(epochName);
  const epoch = startEpoch(before === undefined ? undefined : Number(before), started_ms, stored.records);
  const machine = new LedgerMachine({
    genesis,
    crypto,
    signers: [signer],
    stored,
    secret: randomInt(2 ** 32),
    epochs: new Map([[signer.id, epoch]]),
    horizon_ms: store.isIncomplete ? HORIZON_UNKNOWN : Number(store.value('horizon') ?? 0),
  });
  // One that was revoked, or whose grant has ended, starts all the same: to say so, and to ask.
  if (!isKnown(machine, signer.id) && !store.isIncomplete) {
    const message = 'the record that makes this node a member is not in state.db; nothing was changed';
    throw new ShoalError('E_DATA_CORRUPT', message);
  }
  const values: [string, string][] = [[epochName, String(epoch)]];
  if (store.isIncomplete) values.push(['horizon', String(HORIZON_UNKNOWN)]);
  // A disk that refuses keeps no node from its start: the next one begins later, and so under a higher number.
  void attempt(log, 'keeping the new epoch', async () =>
    store.write({ put: [], remove: [], streams: [], values }),
  );
  return { machine, epoch };
}

/** Does any grant name the key, whatever has become of it? */
export function isKnown({ authority }: LedgerMachine, key: KeyId): boolean {
  return authority.depth(key) < Number.POSITIVE_INFINITY;
}
