/** The start of a simulated cluster: keys, genesis, grants and member records of all, built once and shared by all. */
import type { Signer } from '../../protocols/base/crypto.ts';
import type { NodeId } from '../../protocols/base/ids.ts';
import { type MemberBody, recordKey } from '../../protocols/base/records.ts';
import { type LedgerEvent, LedgerMachine, sealGenesis } from '../../protocols/ledger/machine.ts';
import type { LedgerRecord, StreamId } from '../../protocols/ledger/record.ts';
import { fastCrypto, fastSigner } from './fast-crypto.ts';

export interface Cluster {
  readonly genesis: LedgerRecord;
  readonly operator: Signer;
  /** A key without a host that may deploy: whoever speaks a later version of the wire form with it. */
  readonly visitor: Signer;
  /** In order of their numbers. */
  readonly signers: ReadonlyMap<NodeId, Signer>;
  readonly members: ReadonlyMap<NodeId, MemberBody>;
  readonly records: ReadonlyMap<string, LedgerRecord>;
  readonly streams: ReadonlyMap<StreamId, number>;
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
  const streams = new Map<StreamId, number>();
  const write = (author: NodeId, recordKind: string, key: string, recordBody: unknown) => {
    const event: LedgerEvent = { kind: 'write', author, recordKind, key, body: recordBody };
    for (const effect of machine.handle(event, { now, random: () => 0 })) {
      if (effect.kind !== 'persist') continue;
      for (const [stream, high] of effect.streams) streams.set(stream, high);
    }
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
  for (const [id, member] of [...members].slice(0, nodes_count - newcomers_count)) {
    write(id, 'member', recordKey.member(id), member);
  }
  return {
    genesis,
    operator,
    visitor,
    signers: new Map(signers.map((signer) => [signer.id, signer])),
    members,
    records: new Map(Array.from(machine.ledger.records(), (record) => [record.digest, record])),
    streams,
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
