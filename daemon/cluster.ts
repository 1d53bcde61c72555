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
import { HORIZON_UNKNOWN, LedgerMachine } from '../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../protocols/ledger/record.ts';
import { LAN } from '../protocols/membership/config.ts';
import type { Door, DoorInit, Knock, Mesh, MeshInit } from '../protocols/mesh/mesh.ts';
import { bodyOf } from '../protocols/view/bodies.ts';
import { deriveView } from '../protocols/view/derive.ts';
import type { ClusterView } from '../protocols/view/view.ts';
import { isTerminalPhase } from '../scheduler/slots.ts';
import { admit, encodeWelcome, openKnock } from './admission.ts';
import { type Clock, pause } from './clock.ts';
import { ClusterTrust } from './cluster-trust.ts';
import { attempt, LedgerDriver } from './drivers/ledger-driver.ts';
import { MembershipDriver } from './drivers/membership-driver.ts';
import { SchedulerDriver } from './drivers/scheduler-driver.ts';
import { StandingDriver } from './drivers/standing-driver.ts';
import { History } from './history/history.ts';
import { InstanceManager } from './instances/instance-manager.ts';
import { RemoteInstances } from './instances/remote-instances.ts';
import type { Log } from './log.ts';
import type { Network } from './network/network.ts';
import type { Runtime } from './runtime/runtime.ts';
import type { StateStore } from './store/state-store.ts';
import { knownNames } from './trust/key-names.ts';

/** How long a starting node waits to hear from a member before it writes anything: its disk may be an old one. */
const FIRST_CONTACT_MS = 3_000;
/** After the first contact: what the others have is on its way. */
const FIRST_SYNC_MS = 300;
const HOUSEKEEPING_MS = 5_000;
/** Multiaddrs in a member record. */
const ADDRESSES_MAX = 16;
/** An ended allocation of a workload that is gone is shown this long. */
const ENDED_KEPT_MS = 30_000;

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

  constructor(components: ClusterComponents, init: ClusterInit) {
    this.#components = components;
    this.#init = init;
    this.self = init.signer.id;
    this.#contacts = new Map(Array.from(init.contacts, ({ id, addresses }) => [id, addresses]));
    const { store, crypto, clock, log } = components;
    const stored = store.load();
    let epoch = Number(store.value(`epoch/${this.self}`) ?? 0);
    // How far our own writes went is not known when records are damaged: no number may be given twice.
    if (stored.damaged.length > 0) epoch += 1;
    const machine = new LedgerMachine({
      genesis: init.genesis,
      crypto,
      signers: [init.signer],
      stored,
      epochs: new Map([[this.self, epoch]]),
      horizon_ms: stored.damaged.length > 0 ? HORIZON_UNKNOWN : Number(store.value('horizon') ?? 0),
    });
    if (stored.damaged.length > 0) {
      if (!machine.authority.isMember(this.self))
        throw new ShoalError('E_DATA_CORRUPT', 'the record that makes this node a member is damaged');
      log('warn', 'damaged records were left out; peers have them', { digests: stored.damaged });
      store.forget(stored.damaged, [
        [`epoch/${this.self}`, String(epoch)],
        ['horizon', String(HORIZON_UNKNOWN)],
      ]);
    }
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
      isMember: (peer) => this.#isMember(peer) && !this.standing.isBanned(peer),
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

    const before = this.#view.members.get(this.self);
    this.#incarnation = Math.max(this.#incarnation, before?.incarnation ?? 0) + 1;
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
    for (const [peer, addresses] of this.#contacts) {
      if (peer !== this.self) void attempt(log, 'dialling a member', () => mesh.connect(peer, addresses));
    }
    const others = [...this.#view.members.keys()].filter((id) => id !== this.self);
    if (others.length === 0 && this.#contacts.size === 0) return;
    const deadline = clock.now() + FIRST_CONTACT_MS;
    while (mesh.peers().length === 0 && clock.now() < deadline) await pause(clock, 20, this.#stopping.signal);
    if (mesh.peers().length > 0) await pause(clock, FIRST_SYNC_MS, this.#stopping.signal);
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
    for (const record of records) {
      this.#touch(record.kind);
      if (record.kind === 'member') this.#feedMember(record.author);
      const verdict = bodyOf('verdict', record);
      if (verdict !== undefined) this.membership.verdict(record.author, verdict);
    }
    if (!records.some(({ kind }) => kind === 'revoke' || kind === 'grant')) return;
    this.#disconnectStrangers();
    this.trust.notice();
  }

  #isMember(key: KeyId): boolean {
    return this.ledger.machine.authority.isMember(key, this.#components.clock.now());
  }

  #disconnectStrangers(): void {
    for (const peer of this.#mesh?.peers() ?? [])
      if (!this.#isMember(peer)) void this.#mesh!.disconnect(peer);
  }

  /** Grants end by the clock: nobody tells of it. */
  #expireMembers(): void {
    this.#disconnectStrangers();
    if ([...this.#view.members.keys()].some((id) => !this.#isMember(id))) this.#touch('grant');
  }

  /** Verdicts that were on disk: membership begins where it left off. */
  #feedMembership(): void {
    this.membership.members(this.#view.members.values());
    for (const [, [record]] of this.ledger.machine.ledger.ofKind('verdict')) {
      const verdict = record && bodyOf('verdict', record);
      if (record && verdict) this.membership.verdict(record.author, verdict);
    }
  }

  /** One member's record changed: membership learns of it at once, and of nobody else. */
  #feedMember(id: NodeId): void {
    const { ledger, authority } = this.ledger.machine;
    const record = ledger.get('member', recordKey.member(id));
    const body = record && authority.counts(record) ? bodyOf('member', record) : undefined;
    if (body === undefined || !authority.roles(id).has('member')) this.membership.removed(id);
    else this.membership.member(id, body.incarnation);
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
    // Who is a member at all follows from grants; new incarnations were told as they came.
    if (dirty.has('grant') || dirty.has('revoke')) this.membership.members(this.#view.members.values());
    if (this.#view.members !== before.members) this.#linkPeers();
    this.#scheduler?.view(this.#view);
  }

  #derive(before: ClusterView | undefined, dirty: ReadonlySet<string>): ClusterView {
    const { ledger, authority } = this.ledger.machine;
    return deriveView(
      {
        ledger,
        authority,
        self: this.self,
        status: (id) => this.membership.status(id),
        now: this.#components.clock.now(),
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
