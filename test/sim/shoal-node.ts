/**
 * One simulated daemon: the real ledger, trust and membership cores with their real codecs, wired as the drivers do.
 * Its disk keeps what the ledger asked to persist, and nothing leaves the node before that is synced; everything
 * else dies with it.
 */
import { GuardDriver } from '../../daemon/drivers/guard-driver.ts';
import type { Signer } from '../../protocols/base/crypto.ts';
import { isShoalError } from '../../protocols/base/errors.ts';
import type { KeyId, NodeId } from '../../protocols/base/ids.ts';
import { type MemberBody, recordKey, type VerdictBody } from '../../protocols/base/records.ts';
import type { LedgerEffect } from '../../protocols/ledger/effects.ts';
import { type LedgerEvent, LedgerMachine } from '../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { startEpoch } from '../../protocols/ledger/start-epoch.ts';
import type { MembershipConfig } from '../../protocols/membership/config.ts';
import {
  createMembership,
  handle,
  type MembershipEvent,
  type MembershipState,
} from '../../protocols/membership/membership.ts';
import type { MemberStatus } from '../../protocols/view/view.ts';
import { type Chronicle, count } from './chronicle.ts';
import { fastCrypto } from './fast-crypto.ts';
import type { Cluster } from './found-cluster.ts';
import { sealLater } from './later-version.ts';
import type { SimHost, SimNode, Verdict } from './sim-node.ts';
import type { VirtualDisk } from './virtual-disk.ts';

/** Channels, and cores that have timers. */
export const LEDGER = 0;
export const MEMBER = 1;
const BOOT = 2;

/** As daemon/contacts.ts: how long a start waits for a first member, and then for what it has to tell. */
const FIRST_CONTACT_MS = 3000;
const FIRST_SYNC_MS = 300;
/** One transaction: from an SSD to an SD card. */
const SYNC_MS_MIN = 0.5;
const SYNC_MS_MAX = 3;

/** Timers of the ledger whose names have a number: no name is used twice. */
const COMES_ONCE = 'exchange/';

const NOTHING = { put: [], remove: [], streams: [] };
const DIGEST_BODY = { digest: `sha256:${'0'.repeat(64)}` };

/** What users write; a write of anything else is the node's own matter, and may be replaced at any time. */
const FOLLOWED: ReadonlySet<string> = new Set(['tag', 'novel', 'revoke']);

/** What a node is made of, besides its world. */
export interface ShoalInit {
  readonly cluster: Cluster;
  /** The node's own key first. */
  readonly signers: readonly [Signer, ...Signer[]];
  readonly member: MemberBody;
  readonly disk: VirtualDisk;
  readonly config: MembershipConfig;
  readonly chronicle: Chronicle;
  /** The first life goes on from the shared state as if it had always run, and has nothing to announce. */
  readonly isWarm: boolean;
  /** A key that all hosts of a later version write with, and its next number. */
  readonly later: { readonly signer: Signer; readonly next: () => number };
  /** Virtual time. */
  readonly now_ms: () => number;
}

export class ShoalNode implements SimNode {
  readonly ledger: LedgerMachine;
  readonly membership: MembershipState;
  readonly standing: GuardDriver;
  readonly #host: SimHost;
  readonly #init: ShoalInit;
  readonly #isPristine: boolean;
  readonly #peers = new Set<NodeId>();
  /** Of the ledger's timers, as far as they may still come: there are new names all day. */
  readonly #timerNames = new Map<number, string>();
  readonly #timerNumbers = new Map<string, number>();
  #timers_count = 0;
  #incarnation = 0;
  /** False until the own member record is written: nothing is written before it. */
  #isAnnounced = false;
  #isContacted = false;
  readonly #early: (() => void)[] = [];
  /** Effects that wait for the disk; null while nothing is unsynced. */
  #waiting: LedgerEffect[] | null = null;
  /** When the user asked for the write that is handled now. */
  #asked_ms = 0;

  constructor(host: SimHost, init: ShoalInit) {
    this.#host = host;
    this.#init = init;
    const { cluster, signers, disk, config } = init;
    const { epoch, horizon_ms, records, streams, isPristine } = disk.load();
    const { ledger, authority } = cluster.machine;
    const stored = isPristine ? [] : [...records];
    const lifeEpoch = startEpoch(epoch, host.now(), stored, host.random);
    disk.stage({ ...NOTHING, epoch: lifeEpoch });
    this.ledger = new LedgerMachine({
      genesis: cluster.genesis,
      crypto: fastCrypto,
      reader: cluster.reader,
      signers,
      epochs: new Map([[host.id, lifeEpoch]]),
      horizon_ms,
      // What all begin with is merged once, and shared.
      stored: { records: stored, streams },
      ...(isPristine ? { prepared: { ledger: ledger.fork(), authority: authority.fork() } } : {}),
    });
    this.membership = createMembership(config, host.id, this.#env(), cluster.roster.emptied());
    this.standing = new GuardDriver({ self: host.id, clock: host, log: () => undefined });
    this.standing.start({ disconnect: async (peer) => this.#ban(peer) });
    this.#isPristine = isPristine;
  }

  get isAnnounced(): boolean {
    return this.#isAnnounced;
  }

  start(): void {
    this.#feedLedger({ kind: 'start' });
    const members = this.#isPristine ? this.#init.cluster.roster : this.#members();
    this.#feedMembership({ kind: 'members', members });
    for (const [, [record]] of this.ledger.ledger.ofKind('verdict')) if (record) this.#tellVerdict(record);
    this.#feedMembership({ kind: 'start' });
    if (this.#init.isWarm && this.#host.life === 1) {
      this.#isAnnounced = true;
      this.#incarnation = this.#init.member.incarnation;
    } else {
      this.#host.schedule(BOOT, 0, this.#host.now() + FIRST_CONTACT_MS);
    }
  }

  connected(peer: NodeId): void {
    this.#peers.add(peer);
    if (!this.#isContacted) {
      this.#isContacted = true;
      this.#host.schedule(BOOT, 0, this.#host.now() + FIRST_SYNC_MS);
    }
    this.#feedLedger({ kind: 'connected', peer });
    this.#feedMembership({ kind: 'connected', peer });
  }

  disconnected(peer: NodeId): void {
    this.#peers.delete(peer);
    this.#feedLedger({ kind: 'disconnected', peer });
    this.#feedMembership({ kind: 'disconnected', peer });
  }

  hears(from: NodeId, bytes: number): boolean {
    return this.standing.admit(from, 'message', bytes);
  }

  /** What is charged is as in daemon/drivers. */
  message(from: NodeId, channel: number, body: Uint8Array): void {
    if (channel === MEMBER) {
      const { malformed_count } = this.membership.counters;
      this.#feedMembership({ kind: 'message', from, body });
      if (this.membership.counters.malformed_count > malformed_count)
        this.standing.charge(from, 'repeats', 1);
      return;
    }
    this.#feedMembership({ kind: 'heard', peer: from });
    if (channel !== LEDGER) return;
    const effects = this.#feedLedger({ kind: 'message', from, body });
    this.standing.judge(from, effects);
    let answer_bytes = 0;
    for (const effect of effects) if (effect.kind === 'send') answer_bytes += effect.body.byteLength;
    if (answer_bytes > 0) this.standing.charge(from, 'answers', answer_bytes);
    else if (!effects.some(({ kind }) => kind === 'changed')) this.standing.charge(from, 'repeats', 1);
  }

  published(from: NodeId, body: Uint8Array): Verdict {
    const effects = this.#feedLedger({ kind: 'gossip', from, body });
    this.standing.judge(from, effects);
    return this.standing.verdict(from, body.byteLength, effects);
  }

  timer(core: number, token: number): void {
    if (core === MEMBER) {
      this.#feedMembership({ kind: 'timer', token });
    } else if (core === LEDGER) this.#feedLedger({ kind: 'timer', token: this.#timerNamed(token) });
    else this.#announce();
  }

  admits(peer: NodeId): boolean {
    return this.#isMember(peer) && !this.standing.isBanned(peer);
  }

  #isMember(id: NodeId): boolean {
    return this.ledger.authority.isMember(id, this.#host.now());
  }

  #ban(peer: NodeId): void {
    const { chronicle, now_ms } = this.#init;
    const { offences } = this.standing.counters;
    chronicle.banned({ at_ms: now_ms(), node: this.#host.id, peer, offences });
    this.#host.disconnect(peer);
  }

  /** `tag:<name>`, `delete:<name>` of such a tag, `revoke:<node>`, `novel:<name>` and `header:<name>`: a kind and a header of a later version. */
  command(name: string): void {
    const [what, ...rest] = name.split(':') as [string, ...string[]];
    const key = rest.join(':');
    if (!this.#isAnnounced) {
      this.#early.push(() => this.command(name));
      return;
    }
    if (what === 'tag') this.#write('tag', key, DIGEST_BODY);
    else if (what === 'delete') this.#delete(key);
    else if (what === 'novel') this.#write('novel', `${this.#host.id}/${key}`, { novelty: key, nested: [1] });
    else if (what === 'header') this.#introduceLater(key);
    else if (what === 'revoke') this.#revoke(key);
    else throw new Error(`no command ${name}`);
  }

  protected get host(): SimHost {
    return this.#host;
  }

  protected get init(): ShoalInit {
    return this.#init;
  }

  #env() {
    return { now: this.#host.now(), random: this.#host.random };
  }

  /** Once it has heard from somebody, or nobody is there: a new life is a new incarnation. */
  #announce(): void {
    if (this.#isAnnounced) return;
    this.#isAnnounced = true;
    const own = this.ledger.ledger.get('member', this.#host.id)?.body as MemberBody | undefined;
    this.#writeMember(Math.max(this.#incarnation, own?.incarnation ?? 0) + 1);
    for (const write of this.#early.splice(0)) write();
  }

  #writeMember(incarnation: number): void {
    this.#incarnation = Math.max(this.#incarnation, incarnation);
    if (!this.#isAnnounced) return;
    const body = { ...this.#init.member, incarnation: this.#incarnation };
    this.#write('member', recordKey.member(this.#host.id), body);
  }

  /** By an operator's key that this host holds. Its records until now count. */
  #revoke(subject: NodeId): void {
    const operator = this.#init.signers[1];
    if (operator === undefined) throw new Error('this node holds no key of an operator');
    let epoch = 0;
    let last = 0;
    for (const record of this.ledger.ledger.records()) {
      if (record.author !== subject || record.epoch < epoch) continue;
      last = record.epoch > epoch ? record.seq : Math.max(last, record.seq);
      epoch = record.epoch;
    }
    const key = recordKey.revoke(subject, operator.id);
    this.#write('revoke', key, { subject, epoch, last, reason: 'simulated' }, operator.id);
  }

  /** Only what this node knows of. */
  #delete(key: string): void {
    const record = this.ledger.ledger.get('tag', key);
    if (record === undefined || record.isTombstone) return;
    this.#write('tag', key, null);
  }

  #introduceLater(key: string): void {
    const { signer, next } = this.#init.later;
    const body = { ...DIGEST_BODY, later: true };
    const envelopes = sealLater(this.ledger.cluster, signer, next(), this.#host.now(), key, body);
    this.#feedLedger({ kind: 'introduce', envelopes });
  }

  #write(recordKind: string, key: string, body: unknown, author: KeyId = this.#host.id): void {
    this.#asked_ms = this.#init.now_ms();
    try {
      this.#feedLedger({ kind: 'write', author, recordKind, key, body });
    } catch (error) {
      if (!isShoalError(error)) throw error;
      count(this.#init.chronicle.refused, error.code);
    }
  }

  #feedLedger(event: LedgerEvent): readonly LedgerEffect[] {
    const effects = this.ledger.handle(event, this.#env());
    for (const effect of effects) {
      if (effect.kind === 'persist' || effect.kind === 'epoch' || effect.kind === 'horizon')
        this.#stage(effect);
      else if (effect.kind === 'written') this.#followWrite(effect.record);
      if (this.#waiting !== null) this.#waiting.push(effect);
      else this.#carryOut(effect);
    }
    return effects;
  }

  #stage(effect: LedgerEffect & { kind: 'persist' | 'epoch' | 'horizon' }): void {
    const { disk } = this.#init;
    if (effect.kind === 'persist') disk.stage(effect);
    else if (effect.kind === 'horizon') disk.stage({ ...NOTHING, horizon_ms: effect.horizon_ms });
    else if (effect.author === this.#host.id) disk.stage({ ...NOTHING, epoch: effect.epoch });
    if (this.#waiting !== null) return;
    this.#waiting = [];
    const sync_ms = SYNC_MS_MIN + this.#host.random() * (SYNC_MS_MAX - SYNC_MS_MIN);
    this.#host.block(sync_ms, () => {
      disk.sync();
      const waiting = this.#waiting ?? [];
      this.#waiting = null;
      for (const effect of waiting) this.#carryOut(effect);
    });
  }

  /** Measured from the moment that a user asked; it is acknowledged only when `written` is carried out. */
  #followWrite(record: LedgerRecord): void {
    this.#asked.set(record.digest, this.#asked_ms);
  }

  readonly #asked = new Map<string, number>();

  #carryOut(effect: LedgerEffect): void {
    const { chronicle, now_ms } = this.#init;
    switch (effect.kind) {
      case 'publish':
        this.#host.publish(effect.body);
        break;
      case 'send':
        this.#host.send(effect.to, LEDGER, effect.body);
        break;
      case 'schedule':
        this.#host.schedule(LEDGER, this.#timerNumber(effect.token), effect.at_ms);
        break;
      case 'changed':
        for (const record of effect.records) chronicle.applied(now_ms(), this.#host.id, record);
        this.#tell(effect.records);
        break;
      case 'written': {
        const { digest, kind, key, isTombstone } = effect.record;
        const asked_ms = this.#asked.get(digest) ?? now_ms();
        this.#asked.delete(digest);
        if (isTombstone) chronicle.deleted({ key, at_ms: asked_ms, writer: this.#host.id, digest });
        else if (FOLLOWED.has(kind)) chronicle.written(effect.record, asked_ms, this.#host.id);
        break;
      }
      case 'rejected':
        count(chronicle.rejected, effect.reason);
        break;
      case 'equivocation':
        chronicle.equivocation(effect.author);
        break;
      case 'horizon':
        if (effect.horizon_ms > 0) chronicle.counts.collections += 1;
        break;
      case 'persist':
      case 'epoch':
        break;
    }
  }

  #timerNumber(name: string): number {
    let number = this.#timerNumbers.get(name);
    if (number === undefined) {
      number = this.#timers_count;
      this.#timers_count += 1;
      this.#timerNames.set(number, name);
      this.#timerNumbers.set(name, number);
    }
    return number;
  }

  #timerNamed(number: number): string {
    const name = this.#timerNames.get(number)!;
    if (name.startsWith(COMES_ONCE)) {
      this.#timerNames.delete(number);
      this.#timerNumbers.delete(name);
    }
    return name;
  }

  /** Hands on to membership what concerns it. */
  #tell(records: readonly LedgerRecord[]): void {
    if (records.some(({ kind }) => kind === 'grant' || kind === 'revoke')) {
      // Grants say who is a member at all; else one record tells of one member.
      this.#feedMembership({ kind: 'members', members: this.#members() });
      for (const peer of this.#peers) if (!this.#isMember(peer)) this.#host.disconnect(peer);
    }
    for (const { kind, author } of records) if (kind === 'member') this.#tellMember(author);
    for (const record of records) this.#tellVerdict(record);
  }

  #tellVerdict(record: LedgerRecord): void {
    if (record.kind !== 'verdict' || record.body === null) return;
    this.#feedMembership({ kind: 'verdict', watcher: record.author, ...(record.body as VerdictBody) });
  }

  #recallVerdict(watcher: NodeId, subject: NodeId): void {
    const record = this.ledger.ledger.get('verdict', recordKey.verdict(watcher, subject));
    if (record !== undefined) this.#tellVerdict(record);
  }

  #tellMember(id: NodeId): void {
    const incarnation = this.#incarnationOf(id);
    if (incarnation === undefined) this.#feedMembership({ kind: 'removed', id });
    else this.#feedMembership({ kind: 'member', id, incarnation });
  }

  /** Undefined when it is no member. */
  #incarnationOf(id: NodeId): number | undefined {
    const body = this.ledger.ledger.get('member', id)?.body as MemberBody | undefined;
    return this.#isMember(id) ? body?.incarnation : undefined;
  }

  *#members(): IterableIterator<[NodeId, number]> {
    for (const [id] of this.ledger.ledger.ofKind('member')) {
      const incarnation = this.#incarnationOf(id);
      if (incarnation !== undefined) yield [id, incarnation];
    }
  }

  #noteStatus(member: NodeId, status: MemberStatus): void {
    const { chronicle, now_ms } = this.#init;
    const verdicts = this.membership.members.get(member)?.verdicts;
    chronicle.status(now_ms(), this.#host.id, member, status, verdicts);
  }

  #feedMembership(event: MembershipEvent): void {
    const { chronicle } = this.#init;
    for (const effect of handle(this.membership, event, this.#env())) {
      switch (effect.kind) {
        case 'send':
          this.#host.send(effect.to, MEMBER, effect.body);
          break;
        case 'schedule':
          this.#host.schedule(MEMBER, effect.token, effect.at_ms, this.membership.timers.get(effect.token));
          break;
        case 'connect':
          this.#host.connect(effect.peer);
          break;
        case 'disconnect':
          this.#host.disconnect(effect.peer);
          break;
        case 'verdict': {
          const { subject, incarnation, verdict } = effect;
          if (verdict === 'failed') chronicle.accused(this.#host.id, subject, incarnation);
          const write = () =>
            this.#write('verdict', recordKey.verdict(this.#host.id, subject), {
              subject,
              incarnation,
              verdict,
            });
          if (this.#isAnnounced) write();
          else this.#early.push(write);
          break;
        }
        case 'refute':
          chronicle.counts.refutations += 1;
          this.#writeMember(effect.incarnation);
          break;
        case 'status':
          this.#noteStatus(effect.member, effect.status);
          break;
        case 'recall':
          for (const watcher of effect.watchers) this.#recallVerdict(watcher, effect.member);
          for (const subject of effect.subjects) this.#recallVerdict(effect.member, subject);
          break;
        case 'isolated':
          if (effect.isolated) chronicle.counts.isolations += 1;
          break;
      }
    }
  }
}
