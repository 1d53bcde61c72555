/**
 * A node's life in its cluster: it owns mesh, door, ledger, membership, network, instances and scheduler, starts them
 * in order and joins what one says to what another needs. Not here: before there is a cluster (node.ts) and what
 * users ask for (node-backend.ts).
 */
import { setImmediate } from 'node:timers';
import { parseImageName } from '../images/core/image-name.ts';
import type { Images } from '../images/images.ts';
import type { Crypto, Signer } from '../protocols/base/crypto.ts';
import { isShoalError, ShoalError } from '../protocols/base/errors.ts';
import { type Digest, isDigest, type KeyId, type NodeId } from '../protocols/base/ids.ts';
import { type AllocationBody, type MemberBody, recordKey } from '../protocols/base/records.ts';
import { type Resources, type SlotName, slotName, workloadName } from '../protocols/base/workload.ts';
import { claimSubnet, subnetConflicts } from '../protocols/discovery/subnet.ts';
import { HORIZON_UNKNOWN } from '../protocols/ledger/horizon.ts';
import { LedgerMachine } from '../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../protocols/ledger/record.ts';
import { startEpoch } from '../protocols/ledger/start-epoch.ts';
import { LAN } from '../protocols/membership/config.ts';
import type { Door, DoorInit, Knock, Mesh, MeshInit } from '../protocols/mesh/mesh.ts';
import { bodyOf } from '../protocols/view/bodies.ts';
import { deriveView } from '../protocols/view/derive.ts';
import type { ClusterView } from '../protocols/view/view.ts';
import { isTerminalPhase } from '../scheduler/slots.ts';
import { admit, encodeWelcome, openKnock } from './admission.ts';
import { type Clock, pause } from './clock.ts';
import { ClusterTrust } from './cluster-trust.ts';
import { attempt, type DiskTrouble, LedgerDriver } from './drivers/ledger-driver.ts';
import { MembershipDriver } from './drivers/membership-driver.ts';
import { SchedulerDriver } from './drivers/scheduler-driver.ts';
import { StandingDriver } from './drivers/standing-driver.ts';
import { History } from './history/history.ts';
import { InstanceManager } from './instances/instance-manager.ts';
import { RemoteInstances } from './instances/remote-instances.ts';
import type { Log } from './log.ts';
import type { Network } from './network/network.ts';
import { Quarantine } from './quarantine.ts';
import type { Runtime } from './runtime/runtime.ts';
import type { StateStore } from './store/state-store.ts';
import { knownNames } from './trust/key-names.ts';
import { type ViewReader, ViewReaders } from './view-readers.ts';

/** How long a starting node waits to hear from a member before it writes anything: its disk may be an old one. */
const FIRST_CONTACT_MS = 3_000;
/** After the first contact: what the others have is on its way. */
const FIRST_SYNC_MS = 300;
/** How long a node whose disk lost the record that makes it a member waits for it to come from others. */
const RESEED_MS_MAX = 15_000;
const HOUSEKEEPING_MS = 5_000;
/** Multiaddrs in a member record. */
const ADDRESSES_MAX = 16;
/** An ended allocation of a workload that is gone is shown this long. */
const ENDED_KEPT_MS = 30_000;

/** What is not as it should be with this node, for its status. */
export interface ClusterProblems {
  readonly disk: DiskTrouble | null;
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
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly host: string;
  readonly capacity: Resources;
  readonly version: string;
  /** Multiaddrs. */
  readonly listen: readonly string[];
  readonly doorListen: readonly string[];
  readonly mdns: boolean;
  /** For files that are mounted into containers. */
  readonly mountDirectory: string;
  /** Where to dial first, besides the members that the ledger knows. */
  readonly contacts: Iterable<{ readonly id: NodeId; readonly addresses: readonly string[] }>;
  /** The gateway of the container network is known: DNS must answer there. */
  readonly onGateway: (address: string) => Promise<void>;
}

export class Cluster implements AsyncDisposable {
  readonly self: NodeId;
  readonly ledger: LedgerDriver;
  readonly membership: MembershipDriver;
  readonly standing: StandingDriver;
  readonly instances: InstanceManager;
  readonly remote: RemoteInstances;
  readonly trust: ClusterTrust;
  readonly network: Network;
  readonly history: History;
  readonly #components: ClusterComponents;
  readonly #init: ClusterInit;
  readonly #dirty = new Set<string>();
  readonly #contacts: Map<NodeId, readonly string[]>;
  readonly #stopping = new AbortController();
  readonly #quarantine: Quarantine;
  readonly #readers: ViewReaders;
  readonly #started_ms: number;
  readonly #epoch: number;
  #view: ClusterView;
  #mesh: Mesh | undefined;
  #door: Door | undefined;
  #scheduler: SchedulerDriver | undefined;
  #incarnation = 0;
  #subnet: string | null = null;
  #refreshing = false;
  #renumbering = false;
  /** What membership wants written before this node has heard from the others; undefined once it has. */
  #early: (() => void)[] | undefined = [];
  #copy: readonly string[] | null = null;
  /** Records that this disk once held may be missing. */
  #isReseeding: boolean;

  constructor(components: ClusterComponents, init: ClusterInit) {
    this.#components = components;
    this.#init = init;
    this.self = init.signer.id;
    this.#contacts = new Map(Array.from(init.contacts, ({ id, addresses }) => [id, addresses]));
    const { store, crypto, clock, log } = components;
    this.#started_ms = clock.now();
    const stored = store.load();
    const epochName = `epoch/${this.self}`;
    const before = store.value(epochName);
    this.#epoch = startEpoch(
      before === undefined ? undefined : Number(before),
      this.#started_ms,
      stored.records,
    );
    const machine = new LedgerMachine({
      genesis: init.genesis,
      crypto,
      signers: [init.signer],
      stored,
      epochs: new Map([[this.self, this.#epoch]]),
      horizon_ms: store.isIncomplete ? HORIZON_UNKNOWN : Number(store.value('horizon') ?? 0),
    });
    this.#isReseeding = store.isIncomplete;
    // One that was revoked, or whose grant has ended, starts all the same: to say so, and to ask.
    if (!isKnown(machine, this.self) && !this.#isReseeding)
      throw new ShoalError('E_DATA_CORRUPT', 'the record that makes this node a member is not in state.db');
    const values: [string, string][] = [[epochName, String(this.#epoch)]];
    if (this.#isReseeding) values.push(['horizon', String(HORIZON_UNKNOWN)]);
    // A disk that refuses keeps no node from its start: the next one begins later, and so under a higher number.
    void attempt(log, 'keeping the new epoch', async () =>
      store.write({ put: [], remove: [], streams: [], values }),
    );
    this.#quarantine = new Quarantine({ store, log, onHeld: ({ kind }) => this.#touch(kind) });
    this.#quarantine.prune(new Set(Array.from(machine.ledger.records(), ({ digest }) => digest)));
    this.#readers = new ViewReaders({
      quarantine: this.#quarantine,
      log,
      records: () => machine.ledger.records(),
      without: (records) => this.#derive(undefined, new Set(), records),
    });
    this.standing = new StandingDriver({ self: this.self, clock, log });
    this.ledger = new LedgerDriver({
      machine,
      store,
      clock,
      log,
      standing: this.standing,
      onChanged: (records) => this.#changed(records),
    });
    this.membership = new MembershipDriver({
      self: this.self,
      clock,
      log,
      standing: this.standing,
      addressesOf: (member) => this.#addressesOf(member),
      writeVerdict: (body) =>
        this.#whenAnnounced(() =>
          this.#write('a verdict', 'verdict', recordKey.verdict(this.self, body.subject), body),
        ),
      refute: (incarnation) => this.#tellMember(incarnation),
      onStatus: () => this.#touch('verdict'),
    });
    this.trust = new ClusterTrust({
      self: this.self,
      genesis: init.genesis,
      ledger: this.ledger,
      crypto,
      clock,
      log,
      operator: init.operator,
      members: () => this.#view.members,
      peers: () => this.#mesh?.peers() ?? [],
      knock: (addresses, body) =>
        components.knock({ seed: init.seed, addresses, signal: this.#stopping.signal }, body),
    });
    this.network = components.createNetwork(bodyOf('genesis', init.genesis)!.range);
    this.instances = new InstanceManager({
      runtime: components.runtime,
      network: this.network,
      images: components.images,
      clock,
      log,
      nodeName: init.name,
      directory: init.mountDirectory,
      findImage: (name) => this.findImage(name),
      hasSource: (image) => this.holders(image).length > 0,
      record: async (slot, body) => {
        await this.ledger.write(this.self, 'alloc', recordKey.alloc(this.self, slot), body);
      },
    });
    this.remote = new RemoteInstances({
      self: this.self,
      instances: this.instances,
      runtime: components.runtime,
      images: components.images,
      mayExec: (node) => this.ledger.machine.authority.mayDeploy(node, clock.now()),
    });
    this.history = new History({
      store,
      clock,
      names: () => knownNames(this.#view, machine, clock.now()),
    });
    this.#view = this.#derive(undefined, new Set());
  }

  get view(): ClusterView {
    return this.#view;
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
      quarantined: this.#quarantine.size,
      copy: this.#copy,
    };
  }

  /** A part that reads views when it is asked has thrown: what is at fault is found. */
  distrust(name: string, reader: ViewReader): void {
    this.#readers.offer(this.#view, name, reader);
  }

  get subnet(): string | null {
    return this.#subnet;
  }

  get addresses(): { readonly mesh: string[]; readonly doors: string[] } {
    return {
      mesh: this.#announced(this.#mesh?.addresses() ?? []),
      doors: this.#announced(this.#door?.addresses() ?? []),
    };
  }

  /** @throws E_PORT_IN_USE, E_NETWORK_FAILED; dispose it then. */
  async start(): Promise<void> {
    const { log, createMesh, createDoor, images, clock } = this.#components;
    const { seed, listen, doorListen, mdns } = this.#init;
    this.#mesh = await createMesh({
      seed,
      cluster: this.id,
      listen,
      mdns,
      log,
      isMember: (peer) => this.#isAdmitted(peer) && !this.standing.isBanned(peer),
      guard: this.standing,
      isFullMesh: () => this.#view.members.size <= LAN.meshMembers_max,
    });
    this.standing.start(this.#mesh);
    this.#door = await createDoor({
      seed,
      listen: doorListen,
      log,
      onKnock: (from, body) => this.#onKnock(from, body),
    });
    this.#mesh.on('discovered', (peer, addresses) => this.#onDiscovered(peer, addresses));
    images.attach(this.#mesh);
    this.remote.attach(this.#mesh);
    this.ledger.start(this.#mesh);
    this.#feedMembership();
    this.membership.start(this.#mesh);
    await this.#firstContact();
    if (!isKnown(this.ledger.machine, this.self)) {
      const message =
        'the record that makes this node a member is lost with a part of state.db, and no member brought it ' +
        'again; nothing else was lost. Start it when a member can be reached';
      throw new ShoalError('E_DATA_CORRUPT', message);
    }

    const before = this.#view.members.get(this.self);
    // The epoch of this life: above what an older disk's node ever called itself.
    this.#incarnation = Math.max(this.#incarnation, before?.incarnation ?? 0, this.#epoch) + 1;
    await this.#startNetwork(before?.subnet ?? null);
    // Before others take this node for alive again, its allocations must say what is left of them.
    await this.#adopt();
    this.trust.notice();
    // A node that was sent away comes up all the same, so that its users are told why it does nothing.
    if (['member', 'expired'].includes(this.trust.standing().state))
      await this.ledger.write(this.self, 'member', recordKey.member(this.self), this.#memberBody());
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const write of early) write();
    this.#scheduler = new SchedulerDriver({ self: this.self, instances: this.instances, clock, log });
    this.#touch('member');
    this.#housekeep();
    log('info', 'this node is up', {
      node: this.self,
      name: this.#init.name,
      cluster: this.id,
      subnet: this.#subnet,
    });
  }

  /** The image that a name or digest means now. */
  findImage(
    name: string,
  ): { digest: Digest; body: ReturnType<ClusterView['images']['get']> & {} } | undefined {
    let digest: Digest | undefined;
    if (isDigest(name)) {
      digest = name;
    } else {
      try {
        digest = this.#view.tags.get(parseImageName(name));
      } catch (error) {
        if (isShoalError(error)) return undefined;
        throw error;
      }
    }
    const body = digest && this.#view.images.get(digest);
    return digest && body && { digest, body };
  }

  /** Members that may have an image's blobs: those that run it, then those that imported it. */
  holders(image: Digest): NodeId[] {
    const holders = new Set<KeyId>(this.#view.images.get(image)?.authors ?? []);
    for (const allocation of this.#view.allocations) {
      if (allocation.phase !== 'running') continue;
      const workload = this.#view.workloads.get(workloadName(allocation.namespace, allocation.workload));
      if (workload && this.findImage(workload.spec.image)?.digest === image) holders.add(allocation.node);
    }
    holders.delete(this.self);
    return [...holders].filter((holder) => this.#view.members.get(holder)?.status === 'alive');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#scheduler?.[Symbol.dispose]();
    await this.instances[Symbol.asyncDispose]();
    this.membership[Symbol.dispose]();
    await this.#door?.[Symbol.asyncDispose]();
    await this.ledger[Symbol.asyncDispose]();
    await this.#mesh?.[Symbol.asyncDispose]();
    await this.network[Symbol.asyncDispose]();
  }

  async #firstContact(): Promise<void> {
    const mesh = this.#mesh!;
    const { clock, log } = this.#components;
    const { authority } = this.ledger.machine;
    if (this.#isReseeding) this.#recallContacts();
    for (const [peer, addresses] of this.#contacts) {
      if (peer !== this.self) void attempt(log, 'dialling a member', () => mesh.connect(peer, addresses));
    }
    const others = [...this.#view.members.keys()].filter((id) => id !== this.self);
    if (others.length === 0 && this.#contacts.size === 0) return;
    const isMember = authority.isMember(this.self);
    const deadline = clock.now() + (isMember ? FIRST_CONTACT_MS : RESEED_MS_MAX);
    const isLacking = () => mesh.peers().length === 0 || !authority.isMember(this.self);
    while (isLacking() && clock.now() < deadline && !this.#stopping.signal.aborted)
      await pause(clock, 20, this.#stopping.signal);
    if (mesh.peers().length > 0) await pause(clock, FIRST_SYNC_MS, this.#stopping.signal);
  }

  /** What this disk had lost has come by now: the members are those that have grants, and no others. */
  #endReseeding(): void {
    const { log, store } = this.#components;
    this.#isReseeding = false;
    void attempt(log, 'keeping that this disk is whole', async () => store.setComplete());
    log('info', 'what this disk had lost has come from other members');
    this.#disconnectStrangers();
  }

  /** Where the members were, whether or not what makes them members is still on this disk. */
  #recallContacts(): void {
    for (const [id, [record]] of this.ledger.machine.ledger.ofKind('member')) {
      const member = record && bodyOf('member', record);
      if (member && record.author === id && id !== this.self && !this.#contacts.has(id))
        this.#contacts.set(id, member.addresses);
    }
  }

  /** While grants may be missing on this disk, whoever it holds a member record of may bring them again. */
  #isRemembered(peer: NodeId): boolean {
    const { ledger } = this.ledger.machine;
    if (!this.#isReseeding || ledger.get('revoke', peer) !== undefined) return false;
    return ledger.get('member', peer)?.author === peer;
  }

  async #startNetwork(before: string | null): Promise<void> {
    const { range } = bodyOf('genesis', this.#init.genesis)!;
    if (this.network.kind === 'vxlan') {
      const others = [...this.#view.members.values()].filter(({ id }) => id !== this.self);
      const taken = new Set(others.flatMap(({ subnet }) => (subnet === null ? [] : [subnet])));
      this.#subnet = before !== null && !taken.has(before) ? before : claimSubnet(range, taken, this.self);
      if (this.#subnet === null) throw new ShoalError('E_NETWORK_FAILED', `no subnet of ${range} is free`);
    }
    await this.network.start(this.#subnet);
    if (this.network.gateway !== null) await this.#init.onGateway(this.network.gateway);
  }

  async #adopt(): Promise<void> {
    const own = this.#view.allocations.filter(
      ({ node, phase }) => node === this.self && !isTerminalPhase(phase),
    );
    await this.instances.adopt(
      own,
      ({ namespace, workload }) => this.#view.workloads.get(workloadName(namespace, workload))?.spec,
    );
  }

  #memberBody(): MemberBody {
    const { name, host, labels, capacity, version } = this.#init;
    return {
      name,
      incarnation: this.#incarnation,
      addresses: this.#announced(this.#mesh!.addresses()),
      doors: this.#announced(this.#door!.addresses()),
      host,
      labels: { ...labels },
      capacity,
      subnet: this.#subnet,
      driver: this.#components.runtime.driver,
      version,
    };
  }

  /** What others may dial: the host's own address first, and none that means something else on another host. */
  #announced(addresses: readonly string[]): string[] {
    const { host } = this.#init;
    const own = addresses.filter((address) => address.split('/')[2] === host);
    if (own.length > 0) return own.slice(0, ADDRESSES_MAX);
    const foreign = addresses.filter((address) => !/^\/ip[46]\/(?:127\.|::1\/)/.test(address));
    return (foreign.length > 0 ? foreign : addresses).slice(0, ADDRESSES_MAX);
  }

  #tellMember(incarnation: number): void {
    this.#incarnation = Math.max(this.#incarnation, incarnation);
    // The first member record, which is to come, refutes as well.
    if (this.#early !== undefined) return;
    this.#write('the member record', 'member', recordKey.member(this.self), this.#memberBody());
  }

  #whenAnnounced(write: () => void): void {
    if (this.#early === undefined) write();
    else this.#early.push(write);
  }

  #write(what: string, kind: string, key: string, body: unknown): void {
    void attempt(this.#components.log, `writing ${what}`, () =>
      this.ledger.write(this.self, kind, key, body),
    );
  }

  #addressesOf(member: NodeId): readonly string[] {
    return [
      ...new Set([
        ...(this.#view.members.get(member)?.addresses ?? []),
        ...(this.#contacts.get(member) ?? []),
      ]),
    ];
  }

  #onDiscovered(peer: NodeId, addresses: readonly string[]): void {
    const mesh = this.#mesh!;
    if (!this.#isMember(peer) || mesh.peers().includes(peer)) return;
    this.#contacts.set(peer, addresses);
    mesh.connect(peer, addresses).catch(() => {});
  }

  async #onKnock(from: NodeId, body: Uint8Array): Promise<Uint8Array> {
    const { crypto, clock, log } = this.#components;
    const { authority } = this.ledger.machine;
    const record = openKnock(body, crypto);
    if (record === undefined) return await this.trust.answerAppeal(from);
    const grant = admit({ from, record, cluster: this.id, authority, crypto, now: clock.now() });
    if (grant !== undefined) {
      const refused = await this.ledger.introduce([grant.bytes]);
      if (refused !== undefined)
        throw new ShoalError('E_TOKEN_REFUSED', `the grant was not taken: ${refused}`);
      log('info', 'let a host in', { node: from });
    }
    const members = [...this.#view.members.values()]
      .filter(({ status, id }) => status === 'alive' && id !== from)
      .map(({ id, addresses }) => ({ id, addresses }));
    // This member first: it knows the newcomer already.
    members.sort((a, b) => Number(b.id === this.self) - Number(a.id === this.self));
    const grants = this.trust.records(
      from,
      members.map(({ id }) => id),
    );
    return encodeWelcome({ genesis: this.#init.genesis, grants, members });
  }

  #changed(records: readonly LedgerRecord[]): void {
    this.#readers.changed(records);
    for (const record of records) {
      this.#touch(record.kind);
      this.#feedMember(record);
      this.#feedVerdict(record);
      if (record.author === this.self && record.hlc.ms > this.#started_ms && !this.ledger.isOwn(record))
        this.#onCopy(record);
    }
    if (!records.some(({ kind }) => kind === 'revoke' || kind === 'grant')) return;
    this.#disconnectStrangers();
    this.trust.notice();
  }

  #isMember(key: KeyId): boolean {
    return this.ledger.machine.authority.isMember(key, this.#components.clock.now());
  }

  /** Members, and those who may be: a node that lost grants must hear of them from somebody. */
  #isAdmitted(peer: NodeId): boolean {
    return this.#isMember(peer) || this.#isRemembered(peer);
  }

  #disconnectStrangers(): void {
    for (const peer of this.#mesh?.peers() ?? [])
      if (!this.#isAdmitted(peer)) void this.#mesh!.disconnect(peer);
  }

  /** Grants end by the clock: nobody tells of it. */
  #expireMembers(): void {
    this.#disconnectStrangers();
    if ([...this.#view.members.keys()].some((id) => !this.#isMember(id))) this.#touch('grant');
  }

  /** Verdicts that were on disk: membership begins where it left off. */
  #feedMembership(): void {
    this.membership.members(this.#view.members.values());
    for (const [, [record]] of this.ledger.machine.ledger.ofKind('verdict'))
      if (record !== undefined) this.#feedVerdict(record);
  }

  /** One member's record changed: membership learns of it at once, and of nobody else. A throw is tried once more. */
  #feedMember({ kind, author }: LedgerRecord): void {
    if (kind !== 'member') return;
    const { ledger, authority } = this.ledger.machine;
    const record = ledger.get('member', recordKey.member(author));
    const body = record && authority.counts(record) ? bodyOf('member', record) : undefined;
    if (record === undefined || body === undefined || !authority.roles(author).has('member')) {
      this.membership.removed(author);
      return;
    }
    for (let attempt = 0; attempt < 2 && !this.#quarantine.has(record); attempt += 1) {
      try {
        this.membership.member(author, body.incarnation);
        return;
      } catch (error) {
        this.#quarantine.strike(record, 'membership', error);
      }
    }
  }

  #feedVerdict(record: LedgerRecord): void {
    if (this.#quarantine.has(record)) return;
    try {
      const verdict = bodyOf('verdict', record);
      if (verdict !== undefined) this.membership.verdict(record.author, verdict);
    } catch (error) {
      this.#quarantine.strike(record, 'membership', error);
    }
  }

  /** Somebody else writes with this node's key, now: a cloned disk runs twice. Only people can end that. */
  #onCopy(record: LedgerRecord): void {
    const body = bodyOf('member', record);
    const addresses = body?.addresses ?? [];
    const isFirst = this.#copy === null;
    if (!isFirst && addresses.length === 0) return;
    this.#copy = addresses;
    if (!isFirst) return;
    this.#components.log('warn', "another daemon runs with this node's key: stop one of them", {
      node: this.self,
      here: this.addresses.mesh,
      there: addresses,
    });
    // The other one shall know too, and where this one is.
    this.#tellMember(Math.max(this.#incarnation, body?.incarnation ?? 0) + 1);
  }

  /** One refresh for all changes of a turn. */
  #touch(kind: string): void {
    this.#dirty.add(kind);
    if (this.#refreshing) return;
    this.#refreshing = true;
    setImmediate(() => {
      this.#refreshing = false;
      if (!this.#stopping.signal.aborted) this.#refresh();
    });
  }

  #refresh(): void {
    const dirty = new Set(this.#dirty);
    this.#dirty.clear();
    const before = this.#view;
    this.#view = this.#derive(before, dirty);
    this.#readers.hand(this.#view, {
      // Who is a member at all follows from grants; new incarnations were told as they came.
      ...((dirty.has('grant') || dirty.has('revoke')) && {
        membership: ({ members }) => this.membership.members(members.values()),
      }),
      ...(this.#view.members !== before.members && { 'the network': () => this.#linkPeers() }),
      scheduler: (view) => this.#scheduler?.view(view),
    });
  }

  /** @param without records to leave out besides those in quarantine. */
  #derive(
    before: ClusterView | undefined,
    dirty: ReadonlySet<string>,
    without?: ReadonlySet<LedgerRecord>,
  ): ClusterView {
    const { ledger, authority } = this.ledger.machine;
    const quarantine = {
      has: (record: LedgerRecord) => without?.has(record) === true || this.#quarantine.has(record),
      strike: (record: LedgerRecord, where: string, error: unknown) => {
        this.#quarantine.strike(record, where, error);
        // It is derived again without it, or once more with it.
        this.#touch(record.kind);
      },
    };
    return deriveView(
      {
        ledger,
        authority,
        self: this.self,
        status: (id) => this.membership.status(id),
        now: this.#components.clock.now(),
        quarantine,
      },
      before,
      dirty,
    );
  }

  #linkPeers(): void {
    if (this.network.kind !== 'vxlan' || this.#subnet === null || this.#renumbering) return;
    const members = [...this.#view.members.values()];
    if (this.#scheduler !== undefined && subnetConflicts(members).includes(this.self)) {
      void attempt(this.#components.log, 'renumbering', () => this.#renumber());
      return;
    }
    const peers = members
      .filter(({ id }) => id !== this.self)
      .map(({ id, host, subnet }) => ({ id, host, subnet }));
    void attempt(this.#components.log, 'linking hosts', () => this.network.setPeers(peers));
  }

  /** Another node has our subnet and the better claim: all instances here get new addresses. */
  async #renumber(): Promise<void> {
    this.#renumbering = true;
    try {
      this.#components.log('warn', 'another node has the same subnet: this one renumbers', {
        subnet: this.#subnet,
      });
      await this.#startNetwork(null);
      this.#tellMember(this.#incarnation);
      this.instances.restartAll('the host has a new subnet');
      this.#touch('member');
    } catch (error) {
      // Such as: none is free. Trying again at once would be a loop without a pause.
      this.#components.clock.after(HOUSEKEEPING_MS, () => this.#touch('member'));
      throw error;
    } finally {
      this.#renumbering = false;
    }
  }

  /** Ended grants, and ended allocations of workloads that are gone: their records and logs go as well. */
  #housekeep(): void {
    const { clock, log } = this.#components;
    clock.after(HOUSEKEEPING_MS, () => {
      if (this.#stopping.signal.aborted) return;
      this.#expireMembers();
      void attempt(log, 'looking after grants', () => this.trust.tick());
      if (this.#isReseeding && this.#mesh!.peers().length > 0) this.#endReseeding();
      for (const allocation of this.#view.allocations) {
        const gone = !this.#view.workloads.has(workloadName(allocation.namespace, allocation.workload));
        const old = clock.now() - allocation.since_ms > ENDED_KEPT_MS;
        if (allocation.node !== this.self || !gone || !old || !isTerminalPhase(allocation.phase)) continue;
        void attempt(log, 'forgetting an ended allocation', () => this.#forget(allocation));
      }
      this.#housekeep();
    });
  }

  async #forget({ namespace, workload, index }: AllocationBody): Promise<void> {
    const slot: SlotName = slotName(namespace, workload, index);
    await this.instances.forget(slot);
    // The workload may be back meanwhile, and the slot filled anew.
    if (this.instances.get(slot) !== undefined) return;
    await this.ledger.write(this.self, 'alloc', recordKey.alloc(this.self, slot), null);
  }
}

/** Does any grant name the key, whatever has become of it? */
function isKnown({ authority }: LedgerMachine, key: KeyId): boolean {
  return authority.depth(key) < Number.POSITIVE_INFINITY;
}
