/** The start of a simulated cluster: keys, genesis, grants and member records of all, built once and shared by all. */
import type { Signer } from '../../protocols/base/crypto.ts';
import type { NodeId } from '../../protocols/base/ids.ts';
import { type MemberBody, recordKey } from '../../protocols/base/records.ts';
import type { EnvelopeReader } from '../../protocols/ledger/envelope-reader.ts';
import { type LedgerEvent, LedgerMachine, sealGenesis } from '../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { Roster } from '../../protocols/membership/roster.ts';
import { fastCrypto, fastSigner } from './fast-crypto.ts';
import { RecentRosters } from './recent-rosters.ts';
import { createSharedReader } from './shared-reader.ts';

export interface Cluster {
  readonly genesis: LedgerRecord;
  readonly operator: Signer;
  /** A key without a host that may deploy: whoever speaks a later version of the wire form with it. */
  readonly visitor: Signer;
  /** In order of their numbers. */
  readonly signers: ReadonlyMap<NodeId, Signer>;
  readonly members: ReadonlyMap<NodeId, MemberBody>;
  readonly records: ReadonlyMap<string, LedgerRecord>;
  /** Its ledger and authority hold those records; nodes take forks of them. */
  readonly machine: LedgerMachine;
  /** All members that have a record. */
  readonly roster: Roster;
  /** Of all nodes. */
  readonly reader: EnvelopeReader;
}

/** @param newcomers_count how many of the last have a grant and no member record yet: they are to join. */
export function foundCluster(nodes_count: number, newcomers_count: number, now: number): Cluster {
  const operator = fastSigner('operator');
  const visitor = fastSigner('visitor');
  const signers = Array.from({ length: nodes_count }, (_, at) => fastSigner(`node ${at}`));
  const body = { name: 'sim', operators: [operator.id], range: '10.210.0.0/16', nonce: '0'.repeat(32) };
  const genesis = sealGenesis(body, operator, fastCrypto, now);
  const machine = new LedgerMachine({
    genesis,
    crypto: fastCrypto,
    signers: [operator, visitor, ...signers],
  });
  const write = (author: NodeId, recordKind: string, key: string, recordBody: unknown) => {
    const event: LedgerEvent = { kind: 'write', author, recordKind, key, body: recordBody };
    machine.handle(event, { now, random: () => 0 });
  };
  const grant = (subject: NodeId, roles: readonly string[]) =>
    write(operator.id, 'grant', recordKey.grant(subject, operator.id), {
      subject,
      roles,
      admits: [],
      parent: null,
      notAfter_ms: null,
      uses: null,
    });
  grant(visitor.id, ['deployer']);
  for (const { id } of signers) grant(id, ['member', 'worker', 'deployer']);
  const members = new Map(signers.map(({ id }, at) => [id, memberBody(at)]));
  const present = [...members].slice(0, nodes_count - newcomers_count);
  for (const [id, member] of present) write(id, 'member', recordKey.member(id), member);
  const roster = Roster.empty(new RecentRosters());
  return {
    genesis,
    operator,
    visitor,
    signers: new Map(signers.map((signer) => [signer.id, signer])),
    members,
    records: new Map(Array.from(machine.ledger.records(), (record) => [record.digest, record])),
    machine,
    roster: roster.withAll(present.map(([id, { incarnation }]) => [id, incarnation])),
    reader: createSharedReader(),
  };
}

function memberBody(at: number): MemberBody {
  return {
    name: `node-${at}`,
    incarnation: 1,
    addresses: [],
    doors: [],
    host: '192.0.2.1',
    labels: {},
    capacity: { cpu_millis: 1000, memory_bytes: 2 ** 30 },
    subnet: null,
    driver: 'memory',
    version: '0',
  };
}
