/** How trust changes at a node that is not there: a ledger's machine, a clock that stands, and nobody to ask. */
import { systemClock } from '../../../daemon/clock.ts';
import type { Cluster } from '../../../daemon/cluster.ts';
import { ClusterTrust, type ClusterTrustInit } from '../../../daemon/cluster-trust.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { LedgerDriver } from '../../../daemon/drivers/ledger-driver.ts';
import { TrustDesk } from '../../../daemon/trust/trust-desk.ts';
import type { MemberBody } from '../../../protocols/base/records.ts';
import type { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { NOW, write } from '../../protocols/ledger/fixtures.ts';

type Given = Pick<ClusterTrustInit, 'self' | 'genesis'> & Partial<Omit<ClusterTrustInit, 'ledger' | 'clock'>>;

/**
 * @param introduce what becomes of records that others brought. Default: nothing. @param write the same of those that it
 * writes. Default: all are taken. @param now milliseconds.
 */
export function trustOf(
  machine: LedgerMachine,
  given: Given,
  {
    introduce = async () => undefined,
    write: writeOwn,
    now = () => NOW,
  }: { introduce?: LedgerDriver['introduce']; write?: LedgerDriver['write']; now?: () => number } = {},
): ClusterTrust {
  return new ClusterTrust({
    ledger: {
      machine,
      introduce,
      write:
        writeOwn ??
        (async (...record: Parameters<LedgerDriver['write']>) => write(machine, ...record, now())),
    } as unknown as LedgerDriver,
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

/** What users ask about trust at such a node. @param members of which it knows. */
export function deskOf(
  machine: LedgerMachine,
  trust: ClusterTrust,
  self: string,
  now = NOW,
  members: readonly { readonly id: string; readonly name: string }[] = [],
): TrustDesk {
  const view = { self, members: new Map(members.map((member) => [member.id, member])) };
  const addresses = { doors: [] };
  const cluster = { id: machine.cluster, self, addresses, remembered: [], ledger: { machine }, trust, view };
  return new TrustDesk(cluster as unknown as Cluster, now);
}

/** What a host tells of itself once it is up. */
export function memberFacts(name: string): MemberBody {
  return {
    ...{ name, incarnation: 1, addresses: [], doors: [], host: '192.0.2.1', labels: {} },
    capacity: { cpu_millis: 1000, memory_bytes: 1 << 30 },
    ...{ subnet: null, driver: 'memory', version: '1' },
  };
}
