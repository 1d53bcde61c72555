/** How trust changes at a node that is not there: a ledger's machine, a clock that stands, and nobody to ask. */
import { systemClock } from '../../../daemon/clock.ts';
import { ClusterTrust, type ClusterTrustInit } from '../../../daemon/cluster-trust.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { LedgerDriver } from '../../../daemon/drivers/ledger-driver.ts';
import type { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { NOW } from '../../protocols/ledger/fixtures.ts';

type Given = Pick<ClusterTrustInit, 'self' | 'genesis'> & Partial<Omit<ClusterTrustInit, 'ledger' | 'clock'>>;

/** @param introduce what becomes of records that others brought. Default: nothing. @param now milliseconds. */
export function trustOf(
  machine: LedgerMachine,
  given: Given,
  {
    introduce = async () => undefined,
    now = () => NOW,
  }: { introduce?: LedgerDriver['introduce']; now?: () => number } = {},
): ClusterTrust {
  return new ClusterTrust({
    ledger: { machine, introduce } as unknown as LedgerDriver,
    crypto: nodeCrypto,
    clock: { ...systemClock, now },
    log: () => {},
    operator: undefined,
    isPartial: () => false,
    members: () => new Map(),
    unlisted: () => [],
    peers: () => [],
    knock: async () => new Uint8Array(),
    ...given,
  });
}
