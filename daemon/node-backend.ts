/** What users ask of a node, answered: the Backend of the HTTP API, and of an embedder. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Images, ImportedImage } from '../images/images.ts';
import { ShoalError } from '../protocols/base/errors.ts';
import { type Digest, isDigest, type NodeId, publicKeyFromKeyId, shortId } from '../protocols/base/ids.ts';
import { recordKey, type WorkloadBody } from '../protocols/base/records.ts';
import { workloadName } from '../protocols/base/workload.ts';
import type { LedgerRecord } from '../protocols/ledger/record.ts';
import { REFUSALS } from '../scheduler/filter.ts';
import { assertSatisfiable, needsNode, planCluster } from '../scheduler/plan.ts';
import { indexHolders, isLivePhase, isPresent, isTerminalPhase } from '../scheduler/slots.ts';
import { parseSpec } from '../scheduler/spec.ts';
import type { Backend, ExecIo, InstanceRef, LogsOptions, WorkloadRef } from './api/backend.ts';
import type {
  AllocationFilter,
  AllocationInfo,
  BuildRequest,
  Cluster as ClusterId,
  ImageInfo,
  Imported,
  ImportRequest,
  InitRequest,
  IntentRequest,
  JoinRequest,
  LogEvent,
  NodeInfo,
  Status,
  Token,
  TokenRequest,
  Version,
  WatchEvent,
  WorkloadInfo,
} from './api/schemas.ts';
import type {
  AppointRequest,
  ChangeInfo,
  ClusterInfo,
  GrantInfo,
  HistoryQuery,
  ListQuery,
  OperatorInfo,
  RemoveNodeRequest,
  RevocationInfo,
  RevokeNodeRequest,
  RevokeOperatorRequest,
  RevokeTokenRequest,
  TokenInfo,
} from './api/trust-schemas.ts';
import { type Clock, pause } from './clock.ts';
import type { Cluster } from './cluster.ts';
import { clusterInfo } from './cluster-info.ts';
import type { DnsServer } from './dns/dns-server.ts';
import type { Network } from './network/network.ts';
import type { Runtime } from './runtime/runtime.ts';
import { TrustDesk } from './trust/trust-desk.ts';
import { packageVersion } from './version.ts';
import { findImage } from './view/image-lookup.ts';
import {
  allocationInfo,
  compare,
  findInstance,
  findMember,
  findWorkload,
  nodeInfo,
  nodeName,
  tagConflicts,
  workloadInfo,
} from './view-answers.ts';

/** Shortest time between two lines of a watch. */
const WATCH_INTERVAL_MS = 150;
const DEFAULT_CLUSTER_NAME = 'shoal';
/** Before there is a cluster nobody is let in. */
const NO_COUNTERS = { offences: {}, refused: {}, bans: 0 };

/** The node that it speaks for; `ShoalNode` is one. */
export interface BackendNode {
  readonly id: NodeId;
  readonly name: string;
  readonly started_ms: number;
  readonly clock: Clock;
  readonly runtime: Runtime;
  readonly images: Images;
  readonly dns: DnsServer;
  readonly networkKind: Network['kind'];
  readonly cluster: Cluster | undefined;
  init(name: string, seniors: readonly string[], threshold: number): Promise<Cluster>;
  join(token: string): Promise<Cluster>;
}

export class NodeBackend implements Backend {
  readonly #node: BackendNode;

  constructor(node: BackendNode) {
    this.#node = node;
  }

  async version(): Promise<Version> {
    return { version: packageVersion(), api: 'v1', runtime: process.version };
  }

  async status(): Promise<Status> {
    const node = this.#node;
    const { cluster } = node;
    const members = { alive: 0, suspect: 0, failed: 0 };
    for (const { status } of cluster?.view.members.values() ?? []) members[status] += 1;
    const { received, sent } = node.images.traffic();
    const transfers = (bytes: Readonly<Record<NodeId, number>>) =>
      Object.entries(bytes).map(([id, count]) => ({ node: id, nodeName: this.#nameOf(id), bytes: count }));
    return {
      version: packageVersion(),
      cluster: cluster === undefined ? null : this.#clusterId(cluster),
      node: node.id,
      nodeName: node.name,
      driver: node.runtime.driver,
      network: node.networkKind,
      addresses: cluster?.addresses.mesh ?? [],
      doors: cluster?.addresses.doors ?? [],
      dns: node.dns
        .addresses()
        .map(({ address, port }) => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`)),
      subnet: cluster?.subnet ?? null,
      standing: cluster?.trust.standing() ?? null,
      pid: process.pid,
      started_ms: node.started_ms,
      members,
      guard: this.#guard(cluster),
      problems: cluster === undefined ? [] : problemsOf(cluster),
      traffic: { received: transfers(received), sent: transfers(sent) },
    };
  }

  #guard(cluster: Cluster | undefined): Status['guard'] {
    const { offences, refused, bans } = cluster?.guard.counters ?? NO_COUNTERS;
    const peers = (cluster?.guard.reports() ?? []).map((report) => ({
      node: report.peer,
      nodeName: this.#nameOf(report.peer),
      standing: report.standing,
      bans: report.bans,
      until_ms: report.until_ms,
    }));
    return { peers, offences, refused, bans };
  }

  async init({ name, recovery = [], threshold = 1 }: InitRequest): Promise<ClusterId> {
    // Whatever is no key must not become an operator that nobody is.
    for (const key of recovery) publicKeyFromKeyId(key);
    const operators = new Set(recovery).size + 1;
    if (threshold > operators) {
      const message = `a threshold of ${threshold} needs as many operator keys, and there are ${operators}; nothing was changed`;
      throw new ShoalError('E_BAD_INPUT', message, { detail: { field: 'threshold' } });
    }
    return this.#entered(await this.#node.init(name ?? DEFAULT_CLUSTER_NAME, recovery, threshold));
  }

  async join({ token }: JoinRequest): Promise<ClusterId> {
    return this.#entered(await this.#node.join(token));
  }

  async createToken(request: TokenRequest): Promise<Token> {
    return await this.#seen(this.#trust().createToken(request));
  }

  async clusterInfo(): Promise<ClusterInfo> {
    const cluster = this.#cluster();
    const { genesis, ledger, view, peers } = cluster;
    const { ledger: records, authority, horizon_ms } = ledger.machine;
    const nameOf = this.#trust().names;
    return clusterInfo({
      genesis,
      ledger: records,
      authority,
      horizon_ms,
      view,
      peers: peers.length,
      nameOf,
    });
  }

  async history(query: HistoryQuery): Promise<ChangeInfo[]> {
    return this.#cluster().history.latest(query);
  }

  watchHistory(query: HistoryQuery, { signal }: { signal: AbortSignal }): AsyncIterable<ChangeInfo> {
    return this.#cluster().history.follow(query, signal);
  }

  async grants(query: ListQuery): Promise<GrantInfo[]> {
    return this.#trust().grants(query);
  }

  async tokens(query: ListQuery): Promise<TokenInfo[]> {
    return this.#trust().tokens(query);
  }

  async revokeToken(token: string, request: RevokeTokenRequest): Promise<TokenInfo> {
    return await this.#seen(this.#trust().revokeToken(token, request));
  }

  async revokeNode(node: string, request: RevokeNodeRequest): Promise<RevocationInfo> {
    return await this.#seen(this.#trust().revokeNode(node, request));
  }

  async removeNode(node: string, request: RemoveNodeRequest): Promise<RevocationInfo> {
    return await this.#seen(this.#trust().removeNode(node, request));
  }

  async operators(): Promise<OperatorInfo[]> {
    return this.#trust().operators();
  }

  async appoint(request: AppointRequest): Promise<OperatorInfo[]> {
    return await this.#seen(this.#trust().appoint(request));
  }

  async revokeOperator(operator: string, request: RevokeOperatorRequest): Promise<RevocationInfo> {
    return await this.#seen(this.#trust().revokeOperator(operator, request));
  }

  async nodes(): Promise<NodeInfo[]> {
    const { view } = this.#cluster();
    return [...view.members.values()]
      .map((member) => nodeInfo(view, member))
      .sort((a, b) => compare(a.name, b.name));
  }

  async setIntent(node: string, { intent }: IntentRequest): Promise<NodeInfo> {
    const cluster = this.#cluster();
    const member = findMember(cluster.view, node);
    await this.#write(cluster, 'intent', member.id, { intent });
    return nodeInfo(cluster.view, { ...member, intent });
  }

  async run(input: unknown): Promise<WorkloadInfo> {
    const cluster = this.#cluster();
    const spec = parseSpec(input);
    assertSatisfiable(cluster.view, spec);
    if (findImage(cluster.view, spec.image) === undefined) {
      throw new ShoalError('E_IMAGE_UNKNOWN', `no host has an image ${spec.image}; nothing was changed`);
    }
    return await this.#writeWorkload(cluster, { stopped: false, spec });
  }

  async workloads(): Promise<WorkloadInfo[]> {
    const { view } = this.#cluster();
    return [...view.workloads.values()]
      .map((workload) => workloadInfo(view, workload))
      .sort((a, b) => compare(workloadName(a.namespace, a.name), workloadName(b.namespace, b.name)));
  }

  async workload(ref: WorkloadRef): Promise<WorkloadInfo> {
    const { view } = this.#cluster();
    return workloadInfo(view, findWorkload(view, ref));
  }

  async scale(ref: WorkloadRef, replicas: number): Promise<WorkloadInfo> {
    const cluster = this.#cluster();
    const { spec } = findWorkload(cluster.view, ref);
    if (spec.kind !== 'service')
      throw new ShoalError('E_BAD_INPUT', `${spec.name} runs once on every node: it has no replicas`);
    return await this.#writeWorkload(cluster, { stopped: false, spec: { ...spec, replicas } });
  }

  async stop(ref: WorkloadRef): Promise<WorkloadInfo> {
    const cluster = this.#cluster();
    const { spec } = findWorkload(cluster.view, ref);
    return await this.#writeWorkload(cluster, { stopped: true, spec });
  }

  async remove(ref: WorkloadRef): Promise<void> {
    const cluster = this.#cluster();
    findWorkload(cluster.view, ref);
    await this.#write(cluster, 'workload', workloadName(ref.namespace, ref.name), null);
  }

  async allocations(filter: AllocationFilter): Promise<AllocationInfo[]> {
    const { view } = this.#cluster();
    const node = filter.node === undefined ? undefined : findMember(view, filter.node).id;
    return view.allocations
      .filter(
        (allocation) =>
          (filter.namespace === undefined || allocation.namespace === filter.namespace) &&
          (filter.workload === undefined || allocation.workload === filter.workload) &&
          (node === undefined || allocation.node === node) &&
          (filter.all === true || (!isTerminalPhase(allocation.phase) && isPresent(view, allocation))),
      )
      .map((allocation) => allocationInfo(view, allocation))
      .sort((a, b) => compare(a.slot, b.slot) || compare(a.nodeName, b.nodeName));
  }

  async *watch(ref: WorkloadRef, { signal }: { signal: AbortSignal }): AsyncIterable<WatchEvent> {
    const cluster = this.#cluster();
    findWorkload(cluster.view, ref);
    let last = '';
    while (!signal.aborted) {
      const event = await this.#watchEvent(cluster, ref);
      if (event === undefined) return;
      const text = JSON.stringify({ ...event, at_ms: 0 });
      if (text !== last) yield event;
      last = text;
      await pause(this.#node.clock, WATCH_INTERVAL_MS, signal);
    }
  }

  async *logs(ref: InstanceRef, { follow, tail, signal }: LogsOptions): AsyncIterable<LogEvent> {
    const cluster = this.#cluster();
    const { node, slot } = findInstance(cluster.view, ref, () => true);
    yield* cluster.remote.logs(node, slot, { follow, signal, ...(tail === undefined ? {} : { tail }) });
  }

  async exec(ref: InstanceRef, argv: readonly string[], io: ExecIo): Promise<{ code: number }> {
    const cluster = this.#cluster();
    const { node, slot } = findInstance(cluster.view, ref, ({ phase }) => phase === 'running');
    return { code: await cluster.remote.exec(node, slot, argv, io) };
  }

  async importImage({ path, name }: ImportRequest, { signal }: { signal: AbortSignal }): Promise<Imported[]> {
    const cluster = this.#cluster();
    const imported = await this.#node.images.import(path, {
      signal,
      ...(name === undefined ? {} : { name }),
    });
    return await Promise.all(imported.map((image) => this.#announce(cluster, image)));
  }

  async buildImage({ base, ...request }: BuildRequest, options: { signal: AbortSignal }): Promise<Imported> {
    const cluster = this.#cluster();
    const on = base === undefined ? {} : { base: this.#imageDigest(cluster, base) };
    return await this.#announce(
      cluster,
      await this.#node.images.build({ ...definedOnly(request), ...on }, options),
    );
  }

  async images(): Promise<ImageInfo[]> {
    const { view, ledger } = this.#cluster();
    const conflicts = tagConflicts(view, ledger.machine);
    const here = new Set(await this.#node.images.local());
    const names = new Map<Digest, string[]>();
    for (const [name, digest] of view.tags) names.set(digest, [...(names.get(digest) ?? []), name]);
    return [...view.images]
      .map(([digest, body]) => ({
        digest,
        names: (names.get(digest) ?? []).sort(),
        size: body.layers.reduce((sum, { size }) => sum + size, 0),
        platform: body.platform,
        layers: body.layers.map(({ digest: layer, size, infohash }) => ({ digest: layer, size, infohash })),
        author: body.author,
        here: here.has(digest),
        conflicts: conflicts
          .filter((conflict) => conflict.digest === digest)
          .map(({ name, winner, siblings }) => ({ name, winner, siblings })),
      }))
      .sort((a, b) => compare(a.names[0] ?? a.digest, b.names[0] ?? b.digest));
  }

  #cluster(): Cluster {
    const { cluster } = this.#node;
    if (cluster === undefined) throw new ShoalError('E_NO_CLUSTER', 'this node is in no cluster yet');
    return cluster;
  }

  #trust(): TrustDesk {
    return new TrustDesk(this.#cluster(), this.#node.clock.now());
  }

  /** As of `#write`: what is asked next builds on it. */
  async #seen<T>(change: Promise<T>): Promise<T> {
    const done = await change;
    await nextTurn();
    return done;
  }

  /**
   * Resolves when the record is durable and the view shows it, which is derived one turn after the write: what is
   * asked of this node next builds on it.
   */
  #write(cluster: Cluster, kind: string, key: string, body: unknown): Promise<LedgerRecord> {
    return this.#seen(cluster.ledger.write(this.#node.id, kind, key, body));
  }

  async #entered(cluster: Cluster): Promise<ClusterId> {
    await nextTurn();
    return this.#clusterId(cluster);
  }

  #clusterId(cluster: Cluster): ClusterId {
    return { id: cluster.id, name: cluster.name, node: this.#node.id, nodeName: this.#node.name };
  }

  #nameOf(id: NodeId): string {
    const { cluster } = this.#node;
    return cluster === undefined ? shortId(id) : nodeName(cluster.view, id);
  }

  /** The view may not show the write yet: the answer is made from the record itself. */
  async #writeWorkload(cluster: Cluster, body: WorkloadBody): Promise<WorkloadInfo> {
    const { namespace, name } = body.spec;
    const record = await this.#write(cluster, 'workload', workloadName(namespace, name), body);
    return workloadInfo(cluster.view, {
      namespace,
      name,
      generation: record.generation,
      revision: record.digest,
      stopped: body.stopped,
      spec: body.spec,
      author: record.author,
      written_ms: record.hlc.ms,
      siblings: [],
    });
  }

  async #announce(cluster: Cluster, image: ImportedImage): Promise<Imported> {
    // In one turn, so that the image and its names travel together.
    await Promise.all([
      this.#write(cluster, 'image', recordKey.image(this.#node.id, image.digest), image.body),
      ...image.names.map((name) => this.#write(cluster, 'tag', name, { digest: image.digest })),
    ]);
    const { layers } = image.body;
    return {
      digest: image.digest,
      names: [...image.names],
      size: layers.reduce((sum, { size }) => sum + size, 0),
      layers: layers.length,
      bytes: image.bytes,
    };
  }

  #imageDigest(cluster: Cluster, name: string): Digest {
    const found = findImage(cluster.view, name);
    if (found === undefined && !isDigest(name))
      throw new ShoalError('E_IMAGE_UNKNOWN', `no host has an image ${name}`);
    return found?.digest ?? (name as Digest);
  }

  async #watchEvent(cluster: Cluster, ref: WorkloadRef): Promise<WatchEvent | undefined> {
    const { view } = cluster;
    const workload = view.workloads.get(workloadName(ref.namespace, ref.name));
    if (workload === undefined) return undefined;
    const allocations = view.allocations.filter(
      (body) => body.namespace === ref.namespace && body.workload === ref.name,
    );
    const holders = indexHolders({ ...view, allocations });
    const shown = [...holders.values()].flatMap(({ live, leaving, ended }) => {
      const present = [...live, ...leaving];
      return present.length > 0 ? present : [...ended].sort((a, b) => b.since_ms - a.since_ms).slice(0, 1);
    });
    const image = findImage(cluster.view, workload.spec.image);
    const nodes = [...new Set(shown.filter(({ phase }) => isLivePhase(phase)).map(({ node }) => node))];
    const images = await Promise.all(
      nodes.map(async (node) => ({
        node,
        nodeName: this.#nameOf(node),
        layers: (image === undefined ? [] : await cluster.remote.progress(node, image.digest)).map(
          (layer) => ({
            ...layer,
            sources: Object.entries(layer.sources).map(([id, bytes]) => ({
              node: id,
              nodeName: this.#nameOf(id),
              bytes,
            })),
          }),
        ),
      })),
    );
    const now = this.#node.clock.now();
    const waiting = [...planCluster(view, now)]
      .filter(
        (plan) =>
          plan.workload === workloadName(ref.namespace, ref.name) &&
          needsNode(plan) &&
          plan.candidates.length === 0,
      )
      .map(({ slot, refusals }) => ({
        index: slot.index,
        reasons: refusals.map(
          ({ name, reason, detail }) => `${name}: ${REFUSALS[reason]}${detail ? ` (${detail})` : ''}`,
        ),
      }));
    return {
      at_ms: now,
      workload: workloadInfo(view, workload),
      allocations: shown.map((allocation) => allocationInfo(view, allocation)),
      images,
      waiting,
    };
  }
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

function definedOnly<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as Defined<T>;
}

function problemsOf(cluster: Cluster): Status['problems'] {
  const { disk, quarantined, copy } = cluster.problems;
  const problems: Status['problems'] = [];
  if (disk !== null) {
    const message = `${disk.code}: ${disk.reason}; new writes are refused, all else goes on`;
    problems.push({ kind: 'disk', message });
  }
  if (quarantined > 0) {
    const message = `${quarantined} records make this version of shoal fail and are shown nowhere; see its log`;
    problems.push({ kind: 'quarantine', message });
  }
  if (copy !== null) {
    const where = copy.join(' ') || 'an address that it has not told';
    const message = `another daemon runs with this node's key, at ${where}: stop one of the two`;
    problems.push({ kind: 'copied-key', message: message.slice(0, 1024) });
  }
  return problems;
}
