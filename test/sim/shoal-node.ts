/**
 * One simulated daemon: the real ledger, trust and membership cores with their real codecs, wired as a driver does.
 * Its disk keeps what the ledger asked to persist; everything else dies with it.
 */
import type { Signer } from '../../protocols/base/crypto.ts';
import { isShoalError } from '../../protocols/base/errors.ts';
import type { NodeId } from '../../protocols/base/ids.ts';
import { type MemberBody, recordKey, type VerdictBody } from '../../protocols/base/records.ts';
import {
  type LedgerEffect,
  type LedgerEvent,
  LedgerMachine,
  sealGenesis,
} from '../../protocols/ledger/machine.ts';
import type { LedgerRecord, StreamId } from '../../protocols/ledger/record.ts';
import type { MembershipConfig } from '../../protocols/membership/config.ts';
import {
  createMembership,
  handle,
  type MembershipEvent,
  type MembershipState,
} from '../../protocols/membership/membership.ts';
import { Roster } from '../../protocols/membership/roster.ts';
import { fastCrypto, fastSigner } from './fast-crypto.ts';
import { RecentRosters } from './recent-rosters.ts';
import type { SimEvent, SimHost, SimNode, SimNodeFactory } from './sim-node.ts';

export interface ShoalDisk {
  readonly genesis: LedgerRecord;
  readonly signer: Signer;
  readonly records: Map<string, LedgerRecord>;
  readonly streams: Map<StreamId, number>;
  epoch: number;
}

const LEDGER = 'ledger';
const MEMBER = 'member';

export class ShoalNode implements SimNode {
  readonly ledger: LedgerMachine;
  readonly membership: MembershipState;
  readonly #host: SimHost;
  readonly #disk: ShoalDisk;

  constructor(host: SimHost, disk: ShoalDisk, config: MembershipConfig, nobody: Roster) {
    this.#host = host;
    this.#disk = disk;
    this.ledger = new LedgerMachine({
      genesis: disk.genesis,
      crypto: fastCrypto,
      signers: [disk.signer],
      epochs: new Map([[host.id, disk.epoch]]),
      stored: { records: disk.records.values(), streams: disk.streams },
    });
    this.membership = createMembership(config, host.id, this.#env(), nobody);
  }

  handle(event: SimEvent): void {
    switch (event.kind) {
      case 'start':
        this.#start();
        break;
      case 'connected':
      case 'disconnected':
        this.#feedLedger({ kind: event.kind, peer: event.peer });
        this.#feedMembership({ kind: event.kind, peer: event.peer });
        break;
      case 'published':
        this.#feedLedger({ kind: 'gossip', from: event.from, body: event.body });
        break;
      case 'message':
        if (event.channel === LEDGER)
          this.#feedLedger({ kind: 'message', from: event.from, body: event.body });
        if (event.channel === MEMBER)
          this.#feedMembership({ kind: 'message', from: event.from, body: event.body });
        break;
      case 'timer': {
        const [core, token] = event.token.split(':') as [string, string];
        if (core === LEDGER) this.#feedLedger({ kind: 'timer', token });
        else this.#feedMembership({ kind: 'timer', token: Number(token) });
        break;
      }
      case 'command':
        this.#write('tag', event.name, { digest: `sha256:${'0'.repeat(64)}` });
        break;
    }
  }

  #env() {
    return { now: this.#host.now(), random: this.#host.random };
  }

  /** A new life is a new incarnation. */
  #start(): void {
    this.#feedLedger({ kind: 'start' });
    const own = this.ledger.ledger.get('member', this.#host.id)?.body as MemberBody | undefined;
    this.#writeMember((own?.incarnation ?? 0) + 1);
    this.#tell([...this.ledger.ledger.records()]);
    this.#feedMembership({ kind: 'start' });
  }

  #writeMember(incarnation: number): void {
    const body = this.ledger.ledger.get('member', this.#host.id)?.body as MemberBody;
    this.#write('member', recordKey.member(this.#host.id), { ...body, incarnation });
  }

  #write(recordKind: string, key: string, body: unknown): void {
    try {
      this.#feedLedger({ kind: 'write', author: this.#host.id, recordKind, key, body });
    } catch (error) {
      if (!isShoalError(error)) throw error;
      this.#host.report({ kind: 'rejected', reason: error.code });
    }
  }

  #feedLedger(event: LedgerEvent): void {
    for (const effect of this.ledger.handle(event, this.#env())) this.#carryOut(effect);
  }

  #carryOut(effect: LedgerEffect): void {
    const disk = this.#disk;
    switch (effect.kind) {
      case 'persist':
        for (const record of effect.remove) disk.records.delete(record.digest);
        for (const record of effect.put) disk.records.set(record.digest, record);
        for (const [stream, high] of effect.streams) disk.streams.set(stream, high);
        break;
      case 'epoch':
        disk.epoch = effect.epoch;
        break;
      case 'publish':
        this.#host.publish(effect.body);
        break;
      case 'send':
        this.#host.send(effect.to, LEDGER, effect.body);
        break;
      case 'schedule':
        this.#host.schedule(`${LEDGER}:${effect.token}`, effect.at_ms);
        break;
      case 'changed':
        this.#tell(effect.records);
        break;
      case 'written':
        if (effect.record.kind === 'tag')
          this.#host.report({ kind: 'acknowledged', digest: effect.record.digest });
        break;
      case 'rejected':
        this.#host.report({ kind: 'rejected', reason: effect.reason });
        break;
      case 'equivocation':
        this.#host.report({ kind: 'rejected', reason: 'equivocation' });
        break;
    }
  }

  /** Hands on to membership what concerns it. */
  #tell(records: readonly LedgerRecord[]): void {
    // Grants say who is a member at all; else one record tells of one member.
    if (records.some(({ kind }) => kind === 'grant' || kind === 'revoke')) {
      this.#feedMembership({ kind: 'members', members: this.#members() });
    }
    for (const { kind, author } of records) if (kind === 'member') this.#tellMember(author);
    for (const record of records) {
      if (record.kind !== 'verdict' || record.body === null) continue;
      this.#feedMembership({ kind: 'verdict', watcher: record.author, ...(record.body as VerdictBody) });
    }
  }

  #tellMember(id: NodeId): void {
    const incarnation = this.#incarnationOf(id);
    if (incarnation === undefined) this.#feedMembership({ kind: 'removed', id });
    else this.#feedMembership({ kind: 'member', id, incarnation });
  }

  /** Undefined when it is no member. */
  #incarnationOf(id: NodeId): number | undefined {
    const body = this.ledger.ledger.get('member', id)?.body as MemberBody | undefined;
    return this.ledger.authority.isMember(id) ? body?.incarnation : undefined;
  }

  *#members(): IterableIterator<[NodeId, number]> {
    for (const [id] of this.ledger.ledger.ofKind('member')) {
      const incarnation = this.#incarnationOf(id);
      if (incarnation !== undefined) yield [id, incarnation];
    }
  }

  #feedMembership(event: MembershipEvent): void {
    for (const effect of handle(this.membership, event, this.#env())) {
      switch (effect.kind) {
        case 'send':
          this.#host.send(effect.to, MEMBER, effect.body);
          break;
        case 'schedule':
          this.#host.schedule(`${MEMBER}:${effect.token}`, effect.at_ms);
          break;
        case 'connect':
          this.#host.connect(effect.peer);
          break;
        case 'disconnect':
          this.#host.disconnect(effect.peer);
          break;
        case 'verdict': {
          const { subject, incarnation, verdict } = effect;
          this.#write('verdict', recordKey.verdict(this.#host.id, subject), {
            subject,
            incarnation,
            verdict,
          });
          break;
        }
        case 'refute':
          this.#host.report({ kind: 'refute', incarnation: effect.incarnation });
          this.#writeMember(effect.incarnation);
          break;
        case 'status':
          this.#host.report({ kind: 'status', member: effect.member, status: effect.status });
          break;
        case 'isolated':
          this.#host.report({ kind: 'isolated', isolated: effect.isolated });
          break;
      }
    }
  }
}

export function shoalNodes(config: MembershipConfig): SimNodeFactory<ShoalNode, ShoalDisk> {
  // Nodes that know the same members share one roster.
  const nobody = Roster.empty(new RecentRosters());
  return (host, disk) => new ShoalNode(host, disk, config, nobody);
}

/** The disks of a cluster where everybody has joined and knows everybody. @returns by node, in order of their numbers. */
export function foundCluster(nodes_count: number, now: number): Map<NodeId, ShoalDisk> {
  const operator = fastSigner('operator');
  const signers = Array.from({ length: nodes_count }, (_, at) => fastSigner(`node ${at}`));
  const body = { name: 'sim', operators: [operator.id], range: '10.210.0.0/16', nonce: '0'.repeat(32) };
  const genesis = sealGenesis(body, operator, fastCrypto, now);
  const machine = new LedgerMachine({ genesis, crypto: fastCrypto, signers: [operator, ...signers] });
  const records = new Map<string, LedgerRecord>();
  const streams = new Map<StreamId, number>();
  const write = (author: NodeId, recordKind: string, key: string, recordBody: unknown) => {
    const event: LedgerEvent = { kind: 'write', author, recordKind, key, body: recordBody };
    for (const effect of machine.handle(event, { now, random: () => 0 })) {
      if (effect.kind !== 'persist') continue;
      for (const record of effect.put) records.set(record.digest, record);
      for (const [stream, high] of effect.streams) streams.set(stream, high);
    }
  };
  for (const { id } of signers) {
    write(operator.id, 'grant', recordKey.grant(id, operator.id), {
      subject: id,
      roles: ['member', 'worker', 'deployer'],
      admits: [],
      parent: null,
      notAfter_ms: null,
      uses: null,
    });
  }
  for (const [at, { id }] of signers.entries()) write(id, 'member', recordKey.member(id), memberBody(at));
  return new Map(
    signers.map((signer) => [
      signer.id,
      { genesis, signer, records: new Map(records), streams: new Map(streams), epoch: 0 },
    ]),
  );
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
