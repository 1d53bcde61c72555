/**
 * A node's life in its cluster: it owns mesh, door, ledger, membership, network, instances and scheduler, starts them
 * in order and joins what one says to what another needs. Not here: before there is a cluster (node.ts) and what
 * users ask for (node-backend.ts).
 */
import type { Images } from '../images/images.ts';
import type { Crypto, Signer } from '../protocols/base/crypto.ts';
import { ShoalError } from '../protocols/base/errors.ts';
import type { NodeId } from '../protocols/base/ids.ts';
import {
  type AllocationBody,
  type MemberBody,
  recordKey,
  type VerdictBody,
} from '../protocols/base/records.ts';
import type { Resources } from '../protocols/base/workload.ts';
import type { WrongClock } from '../protocols/clocks/clock-offsets.ts';
import type { LedgerRecord } from '../protocols/ledger/record.ts';
import { MEMBERSHIP_DEFAULTS } from '../protocols/membership/config.ts';
import type { Door, DoorInit, Knock, Mesh, MeshInit } from '../protocols/mesh/mesh.ts';
import { bodyOf } from '../protocols/view/bodies.ts';
import type { ClusterView } from '../protocols/view/view.ts';
import { workloadOf } from '../scheduler/load.ts';
import { isTerminalPhase, slotOf } from '../scheduler/slots.ts';
import { admit, encodeWelcome, openKnock, WELCOME_MEMBERS_MAX, type Welcome } from './admission.ts';
import { attempt } from './attempt.ts';
import type { Clock } from './clock.ts';
import { type ClockProblems, refusalText } from './clock-texts.ts';
import { ClusterTrust } from './cluster-trust.ts';
import { type Contact, Contacts, type Named } from './contacts.ts';
import { ClockDriver } from './drivers/clock-driver.ts';
import { GuardDriver } from './drivers/guard-driver.ts';
import { type ClockTrouble, type DiskTrouble, LedgerDriver } from './drivers/ledger-driver.ts';
import { MembershipDriver } from './drivers/membership-driver.ts';
import { MembershipFeed } from './drivers/membership-feed.ts';
import { SchedulerDriver } from './drivers/scheduler-driver.ts';
import { counting } from './history/counting.ts';
import { History } from './history/history.ts';
import type { HostAddress } from './host-facts.ts';
import { InstanceManager } from './instances/instance-manager.ts';
import { RemoteInstances } from './instances/remote-instances.ts';
import type { Log } from './log.ts';
import type { Network } from './network/network.ts';
import { OwnSubnet } from './network/own-subnet.ts';
import { announcedAddresses, isAt, OwnMember } from './own-member.ts';
import { OwnSlots } from './own-slots.ts';
import type { Runtime } from './runtime/runtime.ts';
import type { StateStore } from './store/state-store.ts';
import { isKnown, openStoredLedger } from './stored-ledger.ts';
import { isNamed, knownNames } from './trust/key-names.ts';
import { CurrentView } from './view/current-view.ts';
import { findImage, imageHolders } from './view/image-lookup.ts';
import type { ViewReader } from './view/view-readers.ts';
import { nodeName } from './view-answers.ts';

const HOUSEKEEPING_MS = 5_000;
/** How long a status tells that the clock was ahead. */
const CLOCK_TOLD_MS = 86_400_000;
/** An ended allocation of a workload that is gone is shown this long. */
const ENDED_KEPT_MS = 30_000;
/** Verdicts that wait until this node is a member again; the oldest goes first. */
const UNHEARD_MAX = 1_024;

export interface MissingRecords {
  /** Members that are remembered, and may bring them again. */
  readonly remembered: readonly Named[];
  /** Containers that run on here, and of which nothing tells, or not what they are for. */
  readonly unclaimed: number;
}

/** What is not as it should be with this node, for its status. */
export interface ClusterProblems {
  readonly disk: DiskTrouble | null;
  /** It was far ahead, and what was written by it was written anew; told for a day. */
  readonly clock: ClockTrouble | null;
  /** How the clock of this host compares with those of others now. */
  readonly clocks: ClockProblems;
  /** This disk has lost records; null: it has not, or all has come that others had. */
  readonly missing: MissingRecords | null;
  /** Records that are kept and shown nowhere: they make this version of shoal throw. */
  readonly quarantined: number;
  /** Another daemon that runs with this node's key, by the addresses that it tells. */
  readonly copy: readonly string[] | null;
}

export interface ClusterComponents {
  readonly store: StateStore;
  readonly crypto: Crypto;
  readonly clock: Clock;
  readonly log: Log;
  readonly runtime: Runtime;
  readonly images: Images;
  readonly createMesh: (init: MeshInit) => Promise<Mesh>;
  readonly createDoor: (init: DoorInit) => Promise<Door>;
  readonly knock: Knock;
  readonly createNetwork: (range: string) => Network;
}

export interface ClusterInit {
  readonly seed: Uint8Array;
  readonly signer: Signer;
  /** An operator's key that is kept on this host; undefined: none. */
  readonly operator: Signer | undefined;
  readonly genesis: LedgerRecord;
  /** The grant by which this node is a member; undefined: others let it in. */
  readonly founding: LedgerRecord | undefined;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly host: HostAddress;
  readonly capacity: Resources;
  readonly version: string;
  /** Multiaddrs. */
  readonly listen: readonly string[];
  readonly doorListen: readonly string[];
  readonly mdns: boolean;
  /** For files that are mounted into containers. */
  readonly mountDirectory: string;
  /** Where to dial first, besides the members that the ledger knows. */
  readonly contacts: Iterable<Contact>;
  /** The gateway of the container network is known: DNS must answer there. */
  readonly onGateway: (address: string) => Promise<void>;
}

export class Cluster implements AsyncDisposable {
  readonly self: NodeId;
  readonly ledger: LedgerDriver;
  readonly membership: MembershipDriver;
  /** Keeps peers that misbehave at bay. How this node itself stands, `trust` says. */
  readonly guard: GuardDriver;
  /** How the clock of this host compares with those of others. */
  readonly clocks: ClockDriver;
  readonly instances: InstanceManager;
  readonly remote: RemoteInstances;
  readonly trust: ClusterTrust;
  readonly network: Network;
  readonly history: History;
  readonly #components: ClusterComponents;
  readonly #init: ClusterInit;
  readonly #stopping = new AbortController();
  readonly #contacts: Contacts;
  readonly #member: OwnMember;
  readonly #subnet: OwnSubnet;
  readonly #current: CurrentView;
  readonly #feed: MembershipFeed;
  /** The last verdict on each subject of which nobody would have heard. */
  readonly #unheard = new Map<NodeId, VerdictBody>();
  readonly #slots: OwnSlots;
  /** The address of this host that the container network uses. */
  #followed: string;
  /** Where the mesh listens, as the member record says. */
  #told: readonly string[] = [];
  /** What makes this node a member is not in its ledger: it writes nothing, and is not up. */
  #isWaiting: boolean;
  #up: Promise<void> = Promise.resolve();
  #mesh: Mesh | undefined;
  #door: Door | undefined;
  #scheduler: SchedulerDriver | undefined;

  constructor(components: ClusterComponents, init: ClusterInit) {
    this.#components = components;
    this.#init = init;
    this.self = init.signer.id;
    const { self } = this;
    const { store, crypto, clock, log } = components;
    const { genesis, signer } = init;
    const started_ms = clock.now();
    const random = () => clock.random();
    const stored = openStoredLedger({ store, crypto, log, genesis, signer, started_ms, random });
    const { machine, epoch } = stored;
    const recorded = machine.ledger.get('member', self);
    const last = recorded && bodyOf('member', recorded)?.host;
    if (last !== undefined) init.host.begin(last);
    this.#followed = init.host.current;
    this.#isWaiting = !isKnown(machine, self) && !stored.isDisplaced;
    const members = () => this.view.members;
    this.guard = new GuardDriver({ self, clock, log });
    this.ledger = new LedgerDriver({
      machine,
      store,
      clock,
      log,
      guard: this.guard,
      unkept: stored.unkept,
      onChanged: (records) => this.#changed(records),
      // Only a disk that lost something waits for it: it takes a look at each short message.
      ...(store.isIncomplete && { onCompared: (peer) => this.#contacts.compared(peer) }),
    });
    this.clocks = new ClockDriver({
      clock,
      log,
      others_count: () => this.#others_count,
      stamped_ms: () => machine.stamped_ms,
    });
    this.#contacts = new Contacts({ self, machine, store, clock, log, welcomed: init.contacts, members });
    this.#member = new OwnMember({
      self,
      started_ms,
      epoch,
      ledger: this.ledger,
      clock,
      log,
      facts: () => this.#memberFacts(),
    });
    this.membership = new MembershipDriver({
      self,
      clock,
      log,
      guard: this.guard,
      addressesOf: (member) => this.#contacts.addressesOf(member),
      writeVerdict: (body) => {
        if (this.#isWaiting) this.#hold(body);
        else this.#member.whenAnnounced(() => this.#writeVerdict(body));
      },
      refute: (incarnation) => this.#member.tell(incarnation),
      recall: (watcher, subject) => this.#feed.recall(watcher, subject),
      onStatus: () => this.#current.touch('verdict'),
    });
    this.#current = new CurrentView({
      self,
      machine,
      store,
      clock,
      log,
      status: (member) => this.membership.status(member),
      readers: (view, before, kinds) => this.#readers(view, before, kinds),
      stopping: this.#stopping.signal,
    });
    const { quarantine } = this.#current;
    this.#feed = new MembershipFeed({ machine, membership: this.membership, quarantine });
    this.trust = new ClusterTrust({
      self,
      genesis,
      ledger: this.ledger,
      crypto,
      clock,
      log,
      operator: init.operator,
      isPartial: () => this.#isPartial,
      members,
      unlisted: () => this.#contacts.unlisted(),
      peers: () => this.peers,
      knock: (addresses, body) =>
        components.knock({ seed: init.seed, addresses, signal: this.#stopping.signal }, body),
    });
    const { range } = bodyOf('genesis', genesis)!;
    this.network = components.createNetwork(range);
    this.#subnet = new OwnSubnet({
      self,
      range,
      network: this.network,
      store,
      clock,
      log,
      members,
      onGateway: init.onGateway,
      onMoved: () => {
        this.#member.tell();
        this.instances.restartAll('the host has a new subnet or address');
        this.#current.touch('member');
      },
      onRetry: () => this.#current.touch('member'),
    });
    this.instances = new InstanceManager({
      runtime: components.runtime,
      network: this.network,
      images: components.images,
      clock,
      log,
      nodeName: init.name,
      directory: init.mountDirectory,
      findImage: (name) => findImage(this.view, name),
      hasSource: (image) => imageHolders(this.view, image).length > 0,
      record: async (slot, body) => {
        await this.ledger.write(self, 'alloc', recordKey.alloc(self, slot), body);
      },
    });
    this.#slots = new OwnSlots({
      self,
      clock,
      ledger: this.ledger,
      instances: this.instances,
      isReseeding: () => this.#contacts.isReseeding,
      isPartial: () => this.#isPartial,
    });
    this.remote = new RemoteInstances({
      self,
      instances: this.instances,
      runtime: components.runtime,
      images: components.images,
      mayExec: (node) => machine.authority.mayDeploy(node, clock.now()),
      clock,
    });
    this.history = new History({
      store,
      clock,
      names: () => knownNames(this.view, machine, clock.now()),
      isNamed: (text) => isNamed(text, this.view, machine, clock.now()),
      counting: () => counting(machine.ledger, machine.authority),
    });
  }

  get view(): ClusterView {
    return this.#current.view;
  }

  get id(): string {
    return this.ledger.machine.cluster;
  }

  get genesis(): LedgerRecord {
    return this.#init.genesis;
  }

  /** Members that this node is connected to. */
  get peers(): readonly NodeId[] {
    return this.#mesh?.peers() ?? [];
  }

  get name(): string {
    return bodyOf('genesis', this.#init.genesis)!.name;
  }

  get problems(): ClusterProblems {
    return {
      disk: this.ledger.trouble ?? null,
      clock: this.#clockTrouble(),
      clocks: this.#clockProblems(),
      missing: this.#contacts.isReseeding
        ? { remembered: this.remembered, unclaimed: this.#slots.left(this.view) }
        : null,
      quarantined: this.#current.quarantine.size,
      copy: this.#member.copy,
    };
  }

  /**
   * @param host whose clock it is, for whom it is told; this host when nothing is said. @param left what state it leaves.
   * @throws E_CLOCK_AHEAD when the others say that they would not take what this node writes now.
   */
  async assertClock(host?: string, left = 'nothing was changed'): Promise<void> {
    const refusal = await this.clocks.lookAtRefusal();
    if (refusal !== null) throw new ShoalError('E_CLOCK_AHEAD', `${refusalText(refusal, host)}; ${left}`);
  }

  /** Members that may bring again what this disk has lost: not all of them need be in the view. */
  get remembered(): readonly Named[] {
    return this.#contacts.isReseeding ? this.#contacts.remembered : [];
  }

  #clockProblems(): ClockProblems {
    const { off_ms, refusal, wrong, isMiddleKnown, untimely } = this.clocks;
    const named = ({ peer, ahead_ms }: WrongClock) => ({ name: nodeName(this.view, peer), ahead_ms });
    return {
      off_ms,
      refusal,
      wrong: wrong.map(named),
      isMiddleKnown,
      untimely: untimely.map(named),
      others_count: this.#others_count,
    };
  }

  get #others_count(): number {
    return this.view.members.size - Number(this.view.members.has(this.self));
  }

  #clockTrouble(): ClockTrouble | null {
    const { clockTrouble } = this.ledger;
    const isRecent =
      clockTrouble !== undefined && this.#components.clock.now() - clockTrouble.mended_ms < CLOCK_TOLD_MS;
    return isRecent ? clockTrouble : null;
  }

  /** A part that reads views when it is asked has thrown: what is at fault is found. */
  distrust(name: string, reader: ViewReader): void {
    this.#current.distrust(name, reader);
  }

  get subnet(): string | null {
    return this.#subnet.subnet;
  }

  get addresses(): { readonly mesh: string[]; readonly doors: string[] } {
    const { current } = this.#init.host;
    return {
      mesh: announcedAddresses(this.#mesh?.addresses() ?? [], current),
      doors: announcedAddresses(this.#door?.addresses() ?? [], current),
    };
  }

  /**
   * Resolves when it is up, or when that waits for a member to bring what makes this node one: `up` tells when it is.
   * @throws E_PORT_IN_USE, E_PORT_DENIED, E_ADDRESS_NOT_HERE, E_NETWORK_FAILED, E_CANCELLED once `signal` aborts;
   * dispose it then.
   */
  async start(signal?: AbortSignal): Promise<void> {
    signal?.addEventListener('abort', () => this.#stopping.abort(), { once: true });
    await this.#open();
    await this.#recallFounding();
    await this.#contacts.meet(this.#mesh!, this.#stopping.signal);
    if (this.#stopping.signal.aborted) throw new ShoalError('E_CANCELLED', 'the daemon stopped');
    if (!this.#isWaiting || isKnown(this.ledger.machine, this.self)) return await this.#rise();
    this.#components.log('warn', this.lack!, { code: 'E_DATA_CORRUPT' });
    this.#up = this.#riseLate();
    this.#up.catch(() => {});
  }

  /** Resolves when it is up. @throws what `start` does, and E_CANCELLED when it was disposed before. */
  get up(): Promise<void> {
    return this.#up;
  }

  /** What this node waits for before it is up; null when it waits for nothing. */
  get lack(): string | null {
    if (!this.#isWaiting) return null;
    const remembered = this.#contacts.remembered.length;
    return (
      'the record that makes this node a member is lost with a part of state.db, and nothing is started here before a ' +
      'member has brought it again: ' +
      (remembered === 0
        ? 'none is remembered here, so '
        : `${remembered} that are remembered are dialled, or `) +
      'run `shoal join` with a token of this cluster' +
      (remembered === 0 && this.#init.operator !== undefined
        ? '; if this was its only member, stop the daemon, move state.db and state.db.spare away, start it, and begin anew with `shoal init`: keys and images stay'
        : '')
    );
  }

  /** While it waits, or its grant has ended: what a member told who was knocked at with a token. @throws E_TOKEN_REFUSED */
  async welcome({ grants, members }: Welcome): Promise<void> {
    for (const member of members) this.#contacts.add(member);
    const refused = await this.ledger.introduce(grants.map(({ bytes }) => bytes));
    if (!isKnown(this.ledger.machine, this.self))
      throw new ShoalError('E_TOKEN_REFUSED', `the answer of the member was not taken: ${refused}`);
    // One that waits may learn of a grant that has ended: then it asks on.
    if (this.#isWaiting || this.trust.standing().state === 'member') return;
    throw new ShoalError(
      'E_TOKEN_REFUSED',
      refused === undefined
        ? 'the member that answered holds this node for a member still, for its clock is behind the clock here; the token was not used. Set the clocks of both hosts'
        : `the answer of the member was not taken: ${refused}`,
    );
  }

  /** The first node waits for nobody to bring that again: there may be nobody else. */
  async #recallFounding(): Promise<void> {
    const { founding } = this.#init;
    if (founding === undefined || isKnown(this.ledger.machine, this.self)) return;
    await attempt(this.#components.log, 'taking up the grant of the first node', () =>
      this.ledger.introduce([founding.bytes]),
    );
  }

  async #riseLate(): Promise<void> {
    const { log } = this.#components;
    await this.#contacts.outwait(this.#mesh!, this.#stopping.signal, async (members) => {
      // The disk may have refused it.
      await this.#recallFounding();
      await attempt(log, 'asking how this node stands', () => this.trust.ask(members));
    });
    if (this.#stopping.signal.aborted) throw new ShoalError('E_CANCELLED', 'the daemon stopped');
    await this.#rise();
  }

  async #rise(): Promise<void> {
    const { log, clock } = this.#components;
    this.#isWaiting = false;
    const before = this.view.members.get(this.self);
    this.#member.rise(before?.incarnation ?? 0);
    await this.#subnet.start(before?.subnet ?? null);
    // Before others take this node for alive again, its allocations must say what is left of them.
    await this.#slots.adopt(this.view);
    await this.#noticeTrust();
    // A node that was sent away comes up all the same, so that its users are told why it does nothing.
    await this.#member.announce(['member', 'expired'].includes(this.trust.standing().state));
    this.#scheduler = new SchedulerDriver({ self: this.self, instances: this.instances, clock, log });
    this.#current.touch('member');
    this.#housekeep();
    log('info', 'this node is up', {
      node: this.self,
      name: this.#init.name,
      cluster: this.id,
      subnet: this.subnet,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#up.catch(() => {});
    this.#scheduler?.[Symbol.dispose]();
    await this.instances[Symbol.asyncDispose]();
    this.membership[Symbol.dispose]();
    this.clocks[Symbol.dispose]();
    await this.#door?.[Symbol.asyncDispose]();
    await this.ledger[Symbol.asyncDispose]();
    await this.#mesh?.[Symbol.asyncDispose]();
    await this.network[Symbol.asyncDispose]();
  }

  /** Mesh and door, and all that speaks over the mesh. */
  async #open(): Promise<void> {
    const { log, createMesh, createDoor, images } = this.#components;
    const { seed, listen, doorListen, mdns } = this.#init;
    const mesh = await createMesh({
      seed,
      cluster: this.id,
      listen,
      mdns,
      log,
      isMember: (peer) => this.#contacts.isAdmitted(peer) && !this.guard.isBanned(peer),
      guard: this.guard,
      isFullMesh: () => this.view.members.size <= MEMBERSHIP_DEFAULTS.meshMembers_max,
    });
    this.#mesh = mesh;
    this.guard.start(mesh);
    this.#door = await createDoor({
      seed,
      listen: doorListen,
      log,
      onKnock: (from, body) => this.#onKnock(from, body),
    });
    mesh.on('discovered', (peer, addresses) => this.#contacts.discovered(mesh, peer, addresses));
    images.attach(mesh);
    this.remote.attach(mesh);
    this.ledger.start(mesh);
    this.clocks.start(mesh);
    this.#feed.start(this.view.members.values());
    this.membership.start(mesh);
  }

  #memberFacts(): Omit<MemberBody, 'incarnation' | 'copy'> {
    const { name, host, labels, capacity, version } = this.#init;
    const { mesh, doors } = this.addresses;
    this.#told = mesh;
    return {
      name,
      addresses: mesh,
      doors,
      host: host.current,
      labels: { ...labels },
      capacity,
      subnet: this.subnet,
      driver: this.#components.runtime.driver,
      version,
    };
  }

  #writeVerdict(body: VerdictBody): void {
    // Whoever was revoked or has expired watches on, for its own view, but nobody listens until it is back.
    if (this.trust.standing().state !== 'member') {
      this.#hold(body);
      return;
    }
    this.#unheard.delete(body.subject);
    const key = recordKey.verdict(this.self, body.subject);
    void attempt(this.#components.log, 'writing a verdict', () =>
      this.ledger.write(this.self, 'verdict', key, body),
    );
  }

  #hold(body: VerdictBody): void {
    this.#unheard.delete(body.subject);
    for (const [oldest] of this.#unheard) if (this.#unheard.size >= UNHEARD_MAX) this.#unheard.delete(oldest);
    this.#unheard.set(body.subject, body);
  }

  /** What membership has said once it does not say again. */
  #writeUnheard(): void {
    if (this.#unheard.size === 0 || this.trust.standing().state !== 'member') return;
    for (const body of [...this.#unheard.values()]) {
      const known = this.view.members.get(body.subject)?.incarnation ?? 0;
      if (known > body.incarnation) this.#unheard.delete(body.subject);
      else this.#writeVerdict(body);
    }
  }

  async #onKnock(from: NodeId, body: Uint8Array): Promise<Uint8Array> {
    const { crypto, clock, log } = this.#components;
    const { authority } = this.ledger.machine;
    // What it would write might be what it has forgotten that it wrote.
    if (this.#isWaiting) throw new ShoalError('E_BUSY', 'this member is not up yet; ask another');
    const brought = openKnock(body, crypto);
    if (brought.kind === 'appeal') return await this.trust.answerAppeal(from, brought);
    // No member would hear of whom it lets in.
    if (this.trust.standing().state !== 'member')
      throw new ShoalError('E_BUSY', `${this.#init.name} is no member itself any more; ask another`);
    const record = brought.grant;
    // What a member whose clock is ahead takes in and writes of a newcomer, others may not take for long.
    if (!authority.isMember(from, clock.now()))
      await this.assertClock(this.#init.name, 'the token was not used. Another member may let this host in');
    const grant = admit({ from, record, cluster: this.id, authority, crypto, now: clock.now() });
    if (grant !== undefined) {
      const refused = await this.ledger.introduce([grant.bytes]);
      if (refused === 'from-the-future') {
        const ahead_s = Math.round((grant.hlc.ms - clock.now()) / 1000);
        const message = `the clock of the host that asks is ${ahead_s} s ahead of that of ${this.#init.name}; the token was not used`;
        throw new ShoalError('E_CLOCK_AHEAD', message);
      }
      if (refused !== undefined)
        throw new ShoalError('E_TOKEN_REFUSED', `the grant was not taken: ${refused}`);
      log('info', 'let a host in', { node: from });
    }
    const members = [...this.view.members.values()]
      .filter(({ status, id }) => status === 'alive' && id !== from)
      .map(({ id, addresses }) => ({ id, addresses }))
      // This member first: it knows the newcomer already.
      .sort((a, b) => Number(b.id === this.self) - Number(a.id === this.self))
      .slice(0, WELCOME_MEMBERS_MAX);
    const grants = this.trust.records(
      from,
      members.map(({ id }) => id),
    );
    return encodeWelcome({ genesis: this.#init.genesis, grants, members });
  }

  #changed(records: readonly LedgerRecord[]): void {
    this.#current.changed(records);
    this.#feed.changed(records);
    this.#member.changed(records);
    if (!records.some(({ kind }) => kind === 'revoke' || kind === 'grant')) return;
    this.#disconnectStrangers();
    if (this.#isWaiting) return;
    void this.#noticeTrust();
    this.#writeUnheard();
  }

  /** What it reads was written by others: a defect there must not end the daemon, and each start after that. */
  #noticeTrust(): Promise<boolean> {
    return attempt(this.#components.log, 'telling how this node stands', async () => this.trust.notice());
  }

  #disconnectStrangers(): void {
    for (const peer of this.peers) if (!this.#contacts.isAdmitted(peer)) void this.#mesh!.disconnect(peer);
  }

  /** Who reads a new view whole. */
  #readers(view: ClusterView, before: ClusterView, kinds: ReadonlySet<string>): Record<string, ViewReader> {
    return {
      // Who is a member at all follows from grants; new incarnations were told as they came.
      ...((kinds.has('grant') || kinds.has('revoke')) && {
        membership: ({ members }) => this.membership.members(members.values()),
      }),
      ...(view.members !== before.members && {
        'the network': ({ members }) => this.#subnet.link(members, this.#scheduler !== undefined),
      }),
      scheduler: (given) => this.#schedule(given),
    };
  }

  #schedule(all: ClusterView): void {
    if (this.#scheduler === undefined) return;
    const { view, missing } = this.#slots.settle(all);
    this.#scheduler.view(view, missing);
  }

  /** Records that this disk has lost may still come from somebody. */
  get #isPartial(): boolean {
    return this.#contacts.isReseeding && this.#contacts.remembered.length > 0;
  }

  /** Ended grants, and ended allocations of workloads that are gone: their records and logs go as well. */
  #housekeep(): void {
    const { clock, log } = this.#components;
    clock.after(HOUSEKEEPING_MS, () => {
      if (this.#stopping.signal.aborted) return;
      this.#followGrants();
      this.#writeUnheard();
      this.#contacts.seek(this.#mesh!);
      this.#contacts.keep();
      this.#member.tick();
      void attempt(log, 'following the address of this host', () => this.#followHost());
      void attempt(log, 'looking after grants', () => this.trust.tick());
      if (!this.#contacts.isReseeding) this.instances.removeUnclaimed();
      void attempt(log, 'removing what has ended', () => this.instances.removeRemains());
      // What came and is not on the disk, the next start would miss without knowing.
      if (this.ledger.isKept && this.#contacts.endReseeding(this.#slots.left(this.view) > 0)) {
        this.#disconnectStrangers();
        // Workloads that are still missing are gone.
        this.#current.touch('workload');
      }
      for (const allocation of this.view.allocations) {
        const name = workloadOf(allocation);
        const old = clock.now() - allocation.since_ms > ENDED_KEPT_MS;
        const over = isTerminalPhase(allocation.phase) && !this.view.workloads.has(name) && old;
        if (allocation.node !== this.self || !over || this.#slots.mayCome(name)) continue;
        void attempt(log, 'forgetting an ended allocation', () => this.#forget(allocation));
      }
      this.#housekeep();
    });
  }

  /** DHCP, or a cable in another network, gave this host a new address: the others must learn it. */
  async #followHost(): Promise<void> {
    const { host } = this.#init;
    if (host.look()) {
      this.#components.log('info', 'this host has a new address', {
        before: this.#followed,
        now: host.current,
      });
      this.#member.tell();
    } else if (this.#isMistold) this.#member.tell();
    if (host.current === this.#followed) return;
    await this.#subnet.follow(host.current);
    this.#followed = host.current;
  }

  /** What was told while the link was down names no address of this host; now there is one. */
  get #isMistold(): boolean {
    const { current } = this.#init.host;
    const isOwn = (address: string) => isAt(address, current);
    return this.#told.length > 0 && !this.#told.some(isOwn) && this.addresses.mesh.some(isOwn);
  }

  /** Grants end by the clock, and hold again by one that was set back: nobody tells of it. */
  #followGrants(): void {
    this.#disconnectStrangers();
    const { authority, ledger } = this.ledger.machine;
    const { members } = this.view;
    const now = this.#components.clock.now();
    const isShown = (record: LedgerRecord) =>
      authority.counts(record) &&
      !this.#current.quarantine.has(record) &&
      bodyOf('member', record) !== undefined;
    for (const [id, siblings] of ledger.ofKind('member')) {
      const isMember = authority.isMember(id, now);
      if (isMember === members.has(id) || (isMember && !siblings.some(isShown))) continue;
      this.#current.touch('grant');
      return;
    }
  }

  async #forget(allocation: AllocationBody): Promise<void> {
    const slot = slotOf(allocation);
    await this.instances.forget(slot);
    // The workload may be back meanwhile, and the slot filled anew.
    if (this.instances.get(slot) !== undefined) return;
    await this.ledger.write(this.self, 'alloc', recordKey.alloc(this.self, slot), null);
  }
}
