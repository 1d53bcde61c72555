/**
 * One node: data directory, runtime, images, DNS and API, and its cluster once it has one. The composition root:
 * nothing global, no signal handlers; everything that touches the world can be handed in.
 */
import { createHash, randomInt } from 'node:crypto';
import path from 'node:path';
import { createImages } from '../images/image-service.ts';
import type { Images } from '../images/images.ts';
import { flattenLayers } from '../images/unpack/flatten-layers.ts';
import type { Signer } from '../protocols/base/crypto.ts';
import { isShoalError, ShoalError } from '../protocols/base/errors.ts';
import type { KeyId } from '../protocols/base/ids.ts';
import {
  type LedgerRecord,
  NO_CLUSTER,
  openRecord,
  streamId,
  verifyRecord,
} from '../protocols/ledger/record.ts';
import { createDoor, knock } from '../protocols/mesh/door.ts';
import { createLibp2pMesh } from '../protocols/mesh/libp2p-mesh.ts';
import { type JoinToken, parseToken } from '../protocols/trust/token.ts';
import { bodyOf } from '../protocols/view/bodies.ts';
import type { ClusterView } from '../protocols/view/view.ts';
import { encodeKnock, found, openWelcome, sealNodeGrant, type Welcome } from './admission.ts';
import { type ApiServer, createApiServer } from './api/server.ts';
import { type Clock, systemClock } from './clock.ts';
import { Cluster } from './cluster.ts';
import { checkOptions, type DaemonOptions, type Listen } from './config/options.ts';
import type { Contact } from './contacts.ts';
import { nodeCrypto, signerFromSeed } from './crypto.ts';
import { createDnsServer, type DnsServer } from './dns/dns-server.ts';
import { followSystemServers } from './dns/upstream.ts';
import { historyEntries } from './history/history-entry.ts';
import {
  assertBindable,
  HostAddress,
  type HostNetworkFacts,
  hostCapacity,
  hostName,
  multiaddr,
} from './host-facts.ts';
import { type Log, lineLog } from './log.ts';
import { canVxlan } from './network/can-vxlan.ts';
import { createHostNetwork } from './network/host-network.ts';
import type { Network } from './network/network.ts';
import { createVxlanNetwork } from './network/vxlan-network.ts';
import { NodeBackend } from './node-backend.ts';
import { chooseRuntime } from './runtime/choose-runtime.ts';
import type { Runtime } from './runtime/runtime.ts';
import { DataDirectory } from './store/data-directory.ts';
import { INCOMPLETE } from './store/salvage.ts';
import { packageVersion } from './version.ts';
import { imageHolders } from './view/image-lookup.ts';

const DNS_PORT = 53;
/** How long after the disk refused that it is tried again to take away what a failed change left. */
const CLEAR_RETRY_MS = 1_000;

/** What an embedder may bring instead of the real thing. */
export interface NodeComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly createMesh: typeof createLibp2pMesh;
  readonly createDoor: typeof createDoor;
  readonly knock: typeof knock;
  readonly runtime: Runtime;
  readonly hostFacts: HostNetworkFacts;
}

export class ShoalNode implements AsyncDisposable {
  readonly options: DaemonOptions;
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly started_ms: number;
  readonly backend: NodeBackend;
  readonly #given: Partial<NodeComponents>;
  readonly #signer: Signer;
  readonly #data: DataDirectory;
  readonly #host: HostAddress;
  #runtime!: Runtime;
  #images!: Images;
  #dns!: DnsServer;
  #overlay: true | string = 'not looked at yet';
  #api: ApiServer | undefined;
  #cluster: Cluster | undefined;
  /** Its cluster, while that is not up: what makes this node a member has to come from another. */
  #waiting: Cluster | undefined;
  readonly #failure = Promise.withResolvers<never>();
  #changing = false;
  readonly #stopping = new AbortController();
  /** Resolves when no change into a cluster is under way. */
  #changed: Promise<unknown> = Promise.resolve();
  /** What a change into a cluster has kept is on the disk, and it has not succeeded yet. */
  #hasLeftovers = false;
  #cancelClear: (() => void) | undefined;

  private constructor(options: DaemonOptions, given: Partial<NodeComponents>) {
    this.options = checkOptions(options);
    this.#given = given;
    this.clock = given.clock ?? systemClock;
    this.log = given.log ?? lineLog((line) => process.stderr.write(line), options.logLevel);
    this.started_ms = this.clock.now();
    this.name = options.name ?? hostName();
    this.#host = new HostAddress(options, given.hostFacts);
    this.#data = new DataDirectory(path.resolve(options.data), nodeCrypto);
    this.#signer = signerFromSeed(this.#data.seed);
    this.backend = new NodeBackend(this);
    this.#failure.promise.catch(() => {});
  }

  /** Starts everything; a node that has a cluster comes up in it. @throws what its parts throw; nothing is left then. */
  static async start(options: DaemonOptions, given: Partial<NodeComponents> = {}): Promise<ShoalNode> {
    const node = new ShoalNode(options, given);
    try {
      await node.#start();
      return node;
    } catch (error) {
      await node[Symbol.asyncDispose]();
      throw error;
    }
  }

  get id(): string {
    return this.#signer.id;
  }
  get signer(): Signer {
    return this.#signer;
  }
  get runtime(): Runtime {
    return this.#runtime;
  }
  get images(): Images {
    return this.#images;
  }
  get dns(): DnsServer {
    return this.#dns;
  }
  get networkKind(): Network['kind'] {
    return this.#runtime.isolatesNetwork && this.#overlay === true ? 'vxlan' : 'host';
  }
  get cluster(): Cluster | undefined {
    return this.#cluster;
  }
  get waiting(): Cluster | undefined {
    return this.#waiting;
  }
  /** Rejects when what a start had to wait for has come, and what was left of it then failed. */
  get failed(): Promise<never> {
    return this.#failure.promise;
  }

  /**
   * Begins a cluster with this node as its first. @param seniors operator keys before the one kept here; who has them
   * keeps them elsewhere. @param threshold how many operators it takes to appoint or revoke one.
   * @throws E_ALREADY_CLUSTER, E_PORT_IN_USE; no half state is left.
   */
  init(name: string, seniors: readonly KeyId[] = [], threshold = 1): Promise<Cluster> {
    return this.#change(async () => {
      const operator = signerFromSeed(this.#data.operatorKey());
      const founding = found({
        name,
        operator,
        seniors,
        threshold,
        node: this.id,
        crypto: nodeCrypto,
        now: this.clock.now(),
      });
      this.#keep(
        founding.genesis,
        [founding.grant],
        [[streamId(operator.id, 0), 2]],
        [],
        [['founding', toBase64(founding.grant.bytes)]],
      );
      return { genesis: founding.genesis, grants: [founding.grant], members: [] };
    });
  }

  /**
   * Joins with a token; a node whose grant has ended joins its own cluster anew, and stays who it was.
   * @throws E_ALREADY_CLUSTER, E_REVOKED, E_TOKEN_*, E_CLOCK_*, E_UNREACHABLE, E_PORT_IN_USE; no half state is left.
   */
  async join(text: string): Promise<Cluster> {
    const token = parseToken(text);
    const known = this.#cluster ?? this.#waiting;
    if (known !== undefined && known.id !== token.cluster) {
      const message = 'this host is in another cluster than that of the token; nothing was changed';
      throw new ShoalError('E_DATA_OTHER_CLUSTER', message);
    }
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      await waiting.welcome(await this.#knock(token));
      await waiting.up;
      return waiting;
    }
    if (this.#cluster !== undefined) return await this.#rejoin(this.#cluster, token);
    return this.#change(async () => {
      const welcome = await this.#knock(token);
      // What is left of an earlier life is what other members may tell of: it is not ended before they have.
      const isLeft = (await this.#runtime.list()).length > 0;
      const lost: [string, string][] = isLeft ? [[INCOMPLETE, 'since state.db was gone']] : [];
      this.#keep(welcome.genesis, welcome.grants, [], welcome.members, lost);
      return welcome;
    });
  }

  /** @throws E_ALREADY_CLUSTER, E_REVOKED, E_TOKEN_*, E_UNREACHABLE */
  async #rejoin(cluster: Cluster, token: JoinToken): Promise<Cluster> {
    const { state, reason } = cluster.trust.standing();
    const because = reason === null ? '' : ` (${reason})`;
    if (state === 'revoked')
      throw new ShoalError('E_REVOKED', `this node was revoked${because}; nothing was changed`);
    // Where its disk has lost records, others may bring what makes it a member.
    if (state === 'evicted' && cluster.problems.missing === null)
      throw new ShoalError(
        'E_REVOKED',
        `the grant of this node does not stand any more${because}; nothing was changed`,
      );
    // Whoever let it in may be gone before others have heard of it: they refuse it, and another door may let it in anew.
    const isLonely = state === 'member' && cluster.peers.length === 0 && cluster.view.members.size > 1;
    if (state !== 'expired' && !isLonely)
      throw new ShoalError(
        'E_ALREADY_CLUSTER',
        `this host is in this cluster already${because}; nothing was changed`,
      );
    if (this.#changing) throw new ShoalError('E_ALREADY_CLUSTER', 'this host is joining right now');
    this.#changing = true;
    try {
      await cluster.welcome(await this.#knock(token));
    } finally {
      this.#changing = false;
    }
    this.log('info', 'this node has joined its cluster anew', { node: this.id, before: state });
    return cluster;
  }

  /** With a token that names doors. @throws E_TOKEN_*, E_CLOCK_*, E_UNREACHABLE */
  async #knock(token: JoinToken): Promise<Welcome> {
    const now = this.clock.now();
    if (now > token.notAfter_ms) {
      const [end, here] = [token.notAfter_ms, now].map((time_ms) => new Date(time_ms).toISOString());
      throw new ShoalError('E_TOKEN_EXPIRED', `the token ended at ${end}, and it is ${here} on this host`);
    }
    const tokenKey = signerFromSeed(token.seed);
    const grant = sealNodeGrant(token, tokenKey, this.id, nodeCrypto, now);
    const ask = this.#given.knock ?? knock;
    const { signal } = this.#stopping;
    const answer = await ask({ seed: this.#data.seed, addresses: token.doors, signal }, encodeKnock(grant));
    return openWelcome(answer, token, this.id, nodeCrypto);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#api?.close();
    // It ends soon now, and takes away what it has begun.
    await this.#changed;
    this.#cancelClear?.();
    await (this.#cluster ?? this.#waiting)?.[Symbol.asyncDispose]();
    await this.#dns?.[Symbol.asyncDispose]();
    await this.#images?.[Symbol.asyncDispose]();
    await this.#runtime?.[Symbol.asyncDispose]();
    this.#data[Symbol.dispose]();
  }

  async #start(): Promise<void> {
    const genesis = this.#storedGenesis();
    // Before anything that may fail: no later start finds it again.
    this.#tellDamage(genesis !== undefined);
    for (const { file, isClosed } of this.#data.openKeys) {
      const now = isClosed ? 'it has mode 600 now' : `run \`chmod 600 ${file}\` as its owner`;
      this.log('warn', `others than its owner were allowed to use the key in ${file}; ${now}`, {
        next: 'if somebody may have copied it, revoke it: docs/how-to/trust.md',
      });
    }
    this.#runtime = this.#given.runtime ?? (await this.#createRuntime());
    this.#overlay = this.#runtime.isolatesNetwork
      ? await canVxlan()
      : 'the driver shares the network of the host';
    this.#images = await createImages({
      directory: this.#data.sub('images'),
      holders: (image) => (this.#cluster === undefined ? [] : imageHolders(this.#cluster.view, image)),
      log: this.log,
    });
    const upstream = this.options.upstream?.map(serverAddress);
    const noView = genesis === undefined ? emptyView(this.id) : null;
    this.#dns = createDnsServer({
      view: () => this.#cluster?.view ?? noView,
      listen: this.options.dns.map(serverAddress),
      upstream: upstream === undefined ? followSystemServers(() => this.clock.now()) : () => upstream,
      log: this.log,
      random: () => randomInt(2 ** 32) / 2 ** 32,
      onBroken: (read) => this.#cluster?.distrust('DNS', read),
    });
    for (const failure of await this.#dns.start()) throw failure;
    if (genesis !== undefined) await this.#enter({ genesis, grants: [], members: this.#storedContacts() });
    // One without a cluster listens once it has one: what would be in its way then is told now.
    else await assertBindable([this.options.listen, this.options.door]);
    this.#api = await createApiServer({ backend: this.backend, socket: this.options.socket, log: this.log });
  }

  /** Where members were: also a node that never met anybody, or whose ledger is damaged, knows whom to dial. */
  #storedContacts(): Contact[] {
    try {
      return JSON.parse(this.#data.store.value('contacts') ?? '[]') as Contact[];
    } catch (error) {
      // Who has met others does without.
      if (isShoalError(error, 'E_DATA_CORRUPT')) return [];
      throw error;
    }
  }

  /** The grant by which this node is a member, if it began the cluster: nobody else may be there to bring it again. */
  #storedFounding(): LedgerRecord | undefined {
    const text = this.#data.store.value('founding');
    return text === undefined ? undefined : openRecord(fromBase64(text), nodeCrypto);
  }

  /** What cluster this node is in. @throws E_DATA_CORRUPT */
  #storedGenesis(): LedgerRecord | undefined {
    const { store } = this.#data;
    const text = store.value('genesis');
    if (text === undefined) {
      // The value is lost with a part of the file; the record may be in another.
      const { records } = store.load();
      const record = records.find(isGenesis);
      if (record !== undefined) this.#keepFound(record);
      else if (records.length > 0) {
        const message = 'state.db holds records of a cluster, and not the one that says of which';
        this.log('warn', message, { records: records.length });
      }
      return record;
    }
    try {
      const record = openRecord(fromBase64(text), nodeCrypto);
      if (verifyRecord(record, nodeCrypto)) return record;
    } catch (error) {
      if (!isShoalError(error)) throw error;
    }
    throw new ShoalError('E_DATA_CORRUPT', 'the genesis record in state.db is damaged');
  }

  /** For the starts after this one. What a disk that refuses lacks is found again by the next. */
  #keepFound(genesis: LedgerRecord): void {
    const values = [genesisValue(genesis)];
    try {
      this.#data.store.write({ put: [], remove: [], streams: [], values });
    } catch (error) {
      if (!isShoalError(error)) throw error;
      this.log('warn', 'keeping of which cluster this node is failed', { error: String(error) });
    }
  }

  /** Says what this start found lost, or one before it that may not have come to say so, and what to do about it. */
  #tellDamage(hasCluster: boolean): void {
    const { store, isEmptied } = this.#data;
    const { damage } = store;
    if (damage === null && !isEmptied && !store.isIncomplete) return;
    const what =
      damage !== null
        ? 'state.db was damaged'
        : isEmptied
          ? 'state.db was gone'
          : 'state.db was found damaged before, and not all has come again';
    const next = hasCluster
      ? 'what is missing comes from other members, as far as they have it'
      : 'its cluster is not known here any more: join again with a token; the node keeps its id';
    this.log('warn', `${what}; ${next}`, { ...damage });
  }

  async #createRuntime(): Promise<Runtime> {
    const directory = this.#data.sub('containers');
    const instance = createHash('sha256').update(this.id).digest('hex').slice(0, 8);
    const init = { directory, instance, log: this.log, flatten: flattenLayers };
    return await chooseRuntime(init, this.options.driver);
  }

  #change(prepare: () => Promise<Welcome>): Promise<Cluster> {
    const change = this.#enterBy(prepare);
    this.#changed = Promise.allSettled([this.#changed, change]);
    return change;
  }

  async #enterBy(prepare: () => Promise<Welcome>): Promise<Cluster> {
    if (this.#changing)
      throw new ShoalError('E_ALREADY_CLUSTER', 'this host is being put into a cluster right now');
    if (this.#hasLeftovers) this.#clear();
    if (this.#cluster !== undefined || this.#data.store.value('genesis') !== undefined) {
      throw new ShoalError('E_ALREADY_CLUSTER', 'this host is in a cluster already; nothing was changed');
    }
    this.#changing = true;
    try {
      await assertBindable([this.options.listen, this.options.door]);
      const cluster = await this.#enter(await prepare());
      this.#hasLeftovers = false;
      return cluster;
    } catch (error) {
      if (this.#hasLeftovers) this.#clearLater();
      throw error;
    } finally {
      this.#changing = false;
    }
  }

  /** What a change that failed has left must not be there at the next start: a disk that refuses is tried again. */
  #clearLater(): void {
    try {
      this.#clear();
    } catch (error) {
      if (!isShoalError(error)) throw error;
      this.log('warn', 'what a failed change left cannot be taken away yet', { error: String(error) });
      this.#cancelClear?.();
      this.#cancelClear = this.clock.after(CLEAR_RETRY_MS, () => {
        if (this.#hasLeftovers && !this.#changing) this.#clearLater();
      });
    }
  }

  /** @throws E_DISK_FULL and the like */
  #clear(): void {
    this.#data.store.clear();
    this.#hasLeftovers = false;
  }

  #keep(
    genesis: LedgerRecord,
    grants: readonly LedgerRecord[],
    streams: [`${string}/${number}`, number][],
    contacts: readonly Contact[] = [],
    more: readonly [name: string, value: string][] = [],
  ): void {
    if (this.#stopping.signal.aborted)
      throw new ShoalError('E_CANCELLED', 'the daemon is stopping; nothing was changed');
    const values = [genesisValue(genesis), ['contacts', JSON.stringify(contacts)] as const, ...more];
    const put = [genesis, ...grants];
    // There is no ledger yet, and nothing that these could stand beside.
    const history = historyEntries(put, [], { siblings: () => [] }, this.clock.now());
    this.#data.store.write({ put, remove: [], streams, values, history });
    this.#hasLeftovers = true;
  }

  async #enter(welcome: Welcome): Promise<Cluster> {
    const { options, clock, log } = this;
    const cluster = new Cluster(
      {
        store: this.#data.store,
        crypto: nodeCrypto,
        clock,
        log,
        runtime: this.#runtime,
        images: this.#images,
        createMesh: this.#given.createMesh ?? createLibp2pMesh,
        createDoor: this.#given.createDoor ?? createDoor,
        knock: this.#given.knock ?? knock,
        createNetwork: (range) => this.#createNetwork(range),
      },
      {
        seed: this.#data.seed,
        signer: this.#signer,
        operator: this.#operator(welcome.genesis),
        genesis: welcome.genesis,
        founding: this.#storedFounding(),
        name: this.name,
        labels: options.labels,
        host: this.#host,
        capacity: hostCapacity(options.capacity),
        version: packageVersion(),
        listen: [multiaddr(options.listen)],
        doorListen: [multiaddr(options.door)],
        mdns: options.mdns,
        mountDirectory: this.#data.sub('network'),
        contacts: welcome.members,
        onGateway: (host) => this.#answerOn({ host, port: DNS_PORT }),
      },
    );
    try {
      await cluster.start(this.#stopping.signal);
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    if (cluster.lack === null) this.#cluster = cluster;
    else this.#awaitUp(cluster);
    return cluster;
  }

  #awaitUp(cluster: Cluster): void {
    this.#waiting = cluster;
    cluster.up.then(
      () => {
        this.#cluster = cluster;
        this.#waiting = undefined;
      },
      (error: unknown) => {
        if (!isShoalError(error, 'E_CANCELLED'))
          this.log('warn', 'this node could not come up', { error: String(error) });
        this.#failure.reject(error);
      },
    );
  }

  /** The operator's key on this host, when it is one of this cluster: an older try may have left another. */
  #operator(genesis: LedgerRecord): Signer | undefined {
    const seed = this.#data.keptOperatorKey();
    const signer = seed && signerFromSeed(seed);
    return signer && bodyOf('genesis', genesis)?.operators.includes(signer.id) ? signer : undefined;
  }

  #createNetwork(range: string): Network {
    if (this.networkKind === 'vxlan') {
      return createVxlanNetwork({ instance: this.id, host: this.#host.current, range, log: this.log });
    }
    if (this.#runtime.isolatesNetwork)
      this.log('warn', 'containers share the network of the host', { reason: this.#overlay });
    return createHostNetwork({ host: this.#host.current });
  }

  async #answerOn(address: Listen): Promise<void> {
    try {
      await this.#dns.listenOn(serverAddress(address));
    } catch (error) {
      if (!isShoalError(error)) throw error;
      this.log('warn', 'containers have no DNS server', { error: String(error) });
    }
  }
}

function isGenesis(record: LedgerRecord): boolean {
  return (
    record.cluster === NO_CLUSTER &&
    bodyOf('genesis', record) !== undefined &&
    verifyRecord(record, nodeCrypto)
  );
}

/** The value by which a start knows its cluster. */
function genesisValue(genesis: LedgerRecord): [name: string, value: string] {
  return ['genesis', toBase64(genesis.bytes)];
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'base64'));
}

function serverAddress({ host, port }: Listen): { address: string; port: number } {
  return { address: host, port };
}

function emptyView(self: string): ClusterView {
  return {
    self,
    members: new Map(),
    workloads: new Map(),
    allocations: [],
    images: new Map(),
    tags: new Map(),
  };
}
