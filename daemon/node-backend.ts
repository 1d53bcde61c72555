/**
 * What users ask of a node, answered: the Backend of the HTTP API, and of an embedder. Not here: what is made of a view
 * or of the trust for an answer (view-answers.ts, status-answer.ts, watch-answer.ts, trust/trust-desk.ts).
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ImportedImage } from '../images/images.ts';
import { ShoalError } from '../protocols/base/errors.ts';
import { type Digest, isDigest, publicKeyFromKeyId } from '../protocols/base/ids.ts';
import { recordKey, type WorkloadBody } from '../protocols/base/records.ts';
import { workloadName } from '../protocols/base/workload.ts';
import type { LedgerRecord } from '../protocols/ledger/record.ts';
import { assertSatisfiable } from '../scheduler/plan.ts';
import { isPresent, isTerminalPhase } from '../scheduler/slots.ts';
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
  Joined,
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
  Appointment,
  AppointRequest,
  ChangeInfo,
  ClusterInfo,
  GrantInfo,
  HistoryQuery,
  ListQuery,
  OperatorInfo,
  RemoveNodeRequest,
  RevocationInfo,
  RevocationPlan,
  RevokeNodeRequest,
  RevokeOperatorRequest,
  RevokeTokenRequest,
  TokenInfo,
} from './api/trust-schemas.ts';
import type { BackendNode } from './backend-node.ts';
import { pause } from './clock.ts';
import type { Cluster } from './cluster.ts';
import { clusterInfo } from './cluster-info.ts';
import { nodeStatus } from './status-answer.ts';
import { copiedKeys } from './trust/copied-keys.ts';
import { flaggedKeys } from './trust/flagged-keys.ts';
import { listed } from './trust/grant-answers.ts';
import { namesakesText } from './trust/namesakes.ts';
import { TrustDesk } from './trust/trust-desk.ts';
import { packageVersion } from './version.ts';
import { findImage } from './view/image-lookup.ts';
import {
  allocationInfo,
  compare,
  type DoubtfulKeys,
  findInstance,
  findMember,
  findWorkload,
  nodeInfo,
  tagConflicts,
  workloadInfo,
} from './view-answers.ts';
import { watchEvent } from './watch-answer.ts';

/** Shortest time between two lines of a watch. */
const WATCH_INTERVAL_MS = 150;
const DEFAULT_CLUSTER_NAME = 'shoal';

export class NodeBackend implements Backend {
  readonly #node: BackendNode;

  constructor(node: BackendNode) {
    this.#node = node;
  }

  async version(): Promise<Version> {
    return { version: packageVersion(), api: 'v1', runtime: process.version };
  }

  async status(): Promise<Status> {
    // What it says of the clock shall be so now.
    await this.#node.cluster?.clocks.lookAtRefusal();
    return nodeStatus(this.#node);
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

  async join({ token }: JoinRequest): Promise<Joined> {
    const hadEnded = this.#node.cluster?.trust.standing().state === 'expired';
    const cluster = await this.#node.join(token);
    const entered = await this.#entered(cluster);
    return { ...entered, notes: joinNotes(cluster, this.#node.name, hadEnded) };
  }

  async createToken(request: TokenRequest): Promise<Token> {
    const trust = await this.#giving();
    return await this.#seen(trust.createToken(request));
  }

  async clusterInfo(): Promise<ClusterInfo> {
    const cluster = this.#cluster();
    const { genesis, ledger, view, peers } = cluster;
    const { ledger: records, authority, horizon_ms, isInDoubt } = ledger.machine;
    const nameOf = this.#trust().names;
    return clusterInfo({
      genesis,
      ledger: records,
      authority,
      horizon_ms,
      isInDoubt,
      flagged: flaggedKeys(ledger.machine),
      awaiting: ledger.machine.unacknowledged(this.#node.clock.now()),
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
    return listed(this.#trust().grants(query));
  }

  async tokens(query: ListQuery): Promise<TokenInfo[]> {
    return listed(this.#trust().tokens(query));
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

  async appoint(request: AppointRequest): Promise<Appointment> {
    const trust = await this.#giving();
    return await this.#seen(trust.appoint(request));
  }

  async revokeOperator(operator: string, request: RevokeOperatorRequest): Promise<RevocationInfo> {
    return await this.#seen(this.#trust().revokeOperator(operator, request));
  }

  async planRevokeToken(token: string, request: RevokeTokenRequest): Promise<RevocationPlan> {
    return this.#trust().planRevokeToken(token, request);
  }

  async planRevokeOperator(operator: string, request: RevokeOperatorRequest): Promise<RevocationPlan> {
    return this.#trust().planRevokeOperator(operator, request);
  }

  async planRevokeNode(node: string, request: RevokeNodeRequest): Promise<RevocationPlan> {
    return this.#trust().planRevokeNode(node, request);
  }

  async nodes(): Promise<NodeInfo[]> {
    const cluster = this.#cluster();
    const { view } = cluster;
    const doubtful = doubtfulKeys(cluster);
    return [...view.members.values()]
      .map((member) => nodeInfo(view, member, doubtful))
      .sort((a, b) => compare(a.name, b.name));
  }

  async setIntent(node: string, { intent }: IntentRequest): Promise<NodeInfo> {
    const cluster = await this.#writable();
    const member = findMember(cluster.view, node);
    await this.#write(cluster, 'intent', member.id, { intent });
    return nodeInfo(cluster.view, { ...member, intent }, doubtfulKeys(cluster));
  }

  async run(input: unknown): Promise<WorkloadInfo> {
    const cluster = await this.#writable();
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
    const cluster = await this.#writable();
    const { spec } = findWorkload(cluster.view, ref);
    if (spec.kind !== 'service')
      throw new ShoalError('E_BAD_INPUT', `${spec.name} runs once on every node: it has no replicas`);
    return await this.#writeWorkload(cluster, { stopped: false, spec: { ...spec, replicas } });
  }

  async stop(ref: WorkloadRef): Promise<WorkloadInfo> {
    const cluster = await this.#writable();
    const { spec } = findWorkload(cluster.view, ref);
    return await this.#writeWorkload(cluster, { stopped: true, spec });
  }

  async remove(ref: WorkloadRef): Promise<void> {
    const cluster = await this.#writable();
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
      const event = await watchEvent(cluster, ref, this.#node.clock.now());
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
    const cluster = await this.#writable();
    const imported = await this.#node.images.import(path, {
      signal,
      ...(name === undefined ? {} : { name }),
    });
    return await Promise.all(imported.map((image) => this.#announce(cluster, image)));
  }

  async buildImage({ base, ...request }: BuildRequest, options: { signal: AbortSignal }): Promise<Imported> {
    const cluster = await this.#writable();
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
        size: layersSize(body.layers),
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
    const { cluster, waiting } = this.#node;
    if (cluster !== undefined) return cluster;
    if (waiting === undefined) throw new ShoalError('E_NO_CLUSTER', 'this node is in no cluster yet');
    throw new ShoalError(
      'E_UNREACHABLE',
      `${waiting.lack ?? 'this node is not up yet'}; nothing was changed`,
    );
  }

  /** @throws E_NO_CLUSTER, E_NOT_ALLOWED or E_CLOCK_AHEAD when what this node wrote now would count nowhere. */
  async #writable(): Promise<Cluster> {
    const cluster = this.#cluster();
    cluster.trust.assertInForce();
    await cluster.assertClock();
    return cluster;
  }

  /**
   * To give rights. To take them no clock is looked at: whoever is to lose them could keep that off with a false time.
   * @throws E_NO_CLUSTER, E_CLOCK_AHEAD
   */
  async #giving(): Promise<TrustDesk> {
    await this.#cluster().assertClock();
    return this.#trust();
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
      size: layersSize(layers),
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
}

/** @param hadEnded it was in this cluster before, until its grant ended. */
function joinNotes({ trust, view, self }: Cluster, name: string, hadEnded: boolean): string[] {
  const notes: string[] = [];
  if (hadEnded) {
    const { until_ms } = trust.standing();
    const end = until_ms === null ? '' : `, until ${new Date(until_ms).toISOString()}`;
    notes.push(
      `the grant of this node had ended; it is a member again, with the key and the data that it had${end}`,
    );
  }
  // Its own record may not be in the view yet.
  const others = [...view.members.values()].filter((member) => member.id !== self && member.name === name);
  const living = others.filter(({ status }) => status !== 'failed').map(({ id }) => id);
  if (living.length > 0) notes.push(namesakesText(name, [self, ...living]));
  return notes;
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

function definedOnly<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as Defined<T>;
}

function layersSize(layers: readonly { readonly size: number }[]): number {
  return layers.reduce((sum, { size }) => sum + size, 0);
}

function doubtfulKeys({ view, self, ledger, problems }: Cluster): DoubtfulKeys {
  return { flagged: flaggedKeys(ledger.machine), copied: copiedKeys(view.members, self, problems.copy) };
}
