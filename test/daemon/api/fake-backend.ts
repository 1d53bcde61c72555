/**
 * A Backend with a little memory and no daemon: what tests of the API and the CLI talk to.
 * It keeps workloads in a map; instances run at once unless a test replaces a method.
 */
import type { Backend, InstanceRef, WorkloadRef } from '../../../daemon/api/backend.ts';
import type {
  AllocationInfo,
  ImageInfo,
  LogEvent,
  NodeInfo,
  WatchEvent,
  WorkloadInfo,
} from '../../../daemon/api/schemas.ts';
import type { ChangeInfo } from '../../../daemon/api/trust-schemas.ts';
import { ShoalError } from '../../../protocols/base/errors.ts';
import { SPEC_DEFAULTS, type WorkloadSpec } from '../../../protocols/base/workload.ts';
import {
  AT_MS,
  CHANGES,
  CLUSTER_INFO,
  GRANT,
  NODE_1,
  NODE_2,
  PLAN,
  REVOCATION,
  TOKEN,
  TOKEN_PLAN,
  VOTE_PLAN,
  WIDE_PLAN,
} from './fake-trust.ts';

export const LAYER = `sha256:${'a'.repeat(64)}`;

/** Every method may be replaced by a test. */
export type FakeBackend = { -readonly [K in keyof Backend]: Backend[K] } & {
  readonly calls: { method: string; args: unknown[] }[];
  readonly specs: Map<string, WorkloadInfo>;
};

const node = (id: string, name: string, self: boolean): NodeInfo => ({
  id,
  name,
  self,
  flagged: !self,
  copied: !self,
  incarnation: 1,
  addresses: ['/ip4/10.0.0.1/tcp/4747'],
  doors: ['/ip4/10.0.0.1/tcp/4748'],
  host: '10.0.0.1',
  labels: { zone: 'a' },
  capacity: { cpu_millis: 2000, memory_bytes: 2 ** 31 },
  subnet: '10.210.1.0/24',
  driver: 'memory',
  version: '0.1.0',
  status: 'alive',
  intent: 'active',
  worker: true,
  used: { cpu_millis: 100, memory_bytes: 2 ** 27 },
  instances: 1,
});

export function fakeBackend(): FakeBackend {
  const specs = new Map<string, WorkloadInfo>();
  const calls: { method: string; args: unknown[] }[] = [];
  const called = (method: string, ...args: unknown[]) => void calls.push({ method, args });
  const find = ({ namespace, name }: WorkloadRef): WorkloadInfo => {
    const found = specs.get(`${namespace}/${name}`);
    if (!found) throw new ShoalError('E_NOT_FOUND', `there is no workload ${namespace}/${name}`);
    return found;
  };
  const instances = (workload: WorkloadInfo): AllocationInfo[] =>
    Array.from({ length: workload.running }, (_, index) => ({
      node: index % 2 ? NODE_2 : NODE_1,
      nodeName: index % 2 ? 'two' : 'one',
      nodeStatus: 'alive',
      slot: `${workload.namespace}/${workload.name}/${index}`,
      namespace: workload.namespace,
      workload: workload.name,
      index,
      generation: workload.generation,
      revision: workload.revision,
      attempt: 1,
      phase: 'running',
      health: 'healthy',
      address: `10.210.1.${index + 2}`,
      ports: { http: 8080 },
      resources: workload.spec.resources,
      since_ms: AT_MS,
      until_ms: null,
      reason: null,
      exitCode: null,
      restarts: 0,
    }));
  const put = (old: WorkloadInfo, replicas: number, stopped: boolean): WorkloadInfo => {
    const count = stopped ? 0 : replicas;
    const now = {
      ...old,
      generation: old.generation + 1,
      stopped,
      spec: { ...old.spec, replicas },
      desired: count,
      running: count,
      healthy: count,
    };
    specs.set(`${old.namespace}/${old.name}`, now);
    return now;
  };
  const image: ImageInfo = {
    digest: `sha256:${'b'.repeat(64)}`,
    names: ['web:1'],
    size: 3 << 20,
    platform: 'linux/amd64',
    layers: [{ digest: LAYER, size: 3 << 20, infohash: 'c'.repeat(40) }],
    author: NODE_1,
    here: true,
    conflicts: [],
  };
  return {
    calls,
    specs,
    version: async () => ({ version: '0.1.0', api: 'v1', runtime: process.version }),
    status: async () => ({
      version: '0.1.0',
      cluster: { id: 'f'.repeat(64), name: 'shop', node: NODE_1, nodeName: 'one' },
      node: NODE_1,
      nodeName: 'one',
      driver: 'memory',
      network: 'host',
      addresses: [],
      doors: [],
      dns: ['127.0.0.1:5353'],
      subnet: null,
      standing: { state: 'member', until_ms: null, renewableUntil_ms: null, reason: null },
      pid: process.pid,
      started_ms: AT_MS,
      members: { alive: 2, suspect: 0, failed: 0 },
      guard: { peers: [], offences: {}, refused: {}, bans: 0, notRelayed: 0 },
      historyLost_ms: null,
      clockRefusal: null,
      problems: [],
      traffic: { received: [], sent: [] },
    }),
    init: async (request) => {
      called('init', request);
      return { id: 'f'.repeat(64), name: request.name ?? 'shoal', node: NODE_1, nodeName: 'one' };
    },
    join: async (request) => {
      called('join', request);
      if (!request.token.startsWith('shoal1-'))
        throw new ShoalError('E_TOKEN_MALFORMED', 'the token is cut short');
      return { id: 'f'.repeat(64), name: 'shop', node: NODE_2, nodeName: 'two', notes: [] };
    },
    createToken: async (request) => {
      called('createToken', request);
      return {
        token: 'shoal1-token',
        id: TOKEN.id,
        expires_ms: AT_MS + (request.ttl_ms ?? 900_000),
        uses: request.uses ?? 1,
      };
    },
    tokens: async (query) => {
      called('tokens', query);
      return [TOKEN];
    },
    revokeToken: async (token, request) => {
      called('revokeToken', token, request);
      if (!TOKEN.id.startsWith(token)) throw new ShoalError('E_NOT_FOUND', `there is no token ${token}`);
      return { ...TOKEN, state: 'revoked' };
    },
    grants: async (query) => {
      called('grants', query);
      return [GRANT];
    },
    revokeNode: async (name, request) => {
      called('revokeNode', name, request);
      return REVOCATION;
    },
    planRevokeNode: async (name, request) => {
      called('planRevokeNode', name, request);
      return request.descendants === true ? WIDE_PLAN : PLAN;
    },
    planRevokeOperator: async (operator, request) => {
      called('planRevokeOperator', operator, request);
      return request.descendants === true ? WIDE_PLAN : VOTE_PLAN;
    },
    planRevokeToken: async (token, request) => {
      called('planRevokeToken', token, request);
      if (!TOKEN.id.startsWith(token)) throw new ShoalError('E_NOT_FOUND', `there is no token ${token}`);
      return request.hosts === true ? WIDE_PLAN : TOKEN_PLAN;
    },
    operators: async () => CLUSTER_INFO.operators,
    appoint: async (request) => {
      called('appoint', request);
      const { key } = request;
      const effective = key !== 'third';
      const written = !CLUSTER_INFO.operators.some((operator) => operator.key === key);
      return {
        ...{ key, name: `operator ${key}`, votes: effective ? 2 : 1, needed: 2, effective, written },
        operators: [
          ...CLUSTER_INFO.operators,
          ...(effective ? [{ key, name: key, genesis: false, revoked: false }] : []),
        ],
      };
    },
    revokeOperator: async (operator, request) => {
      called('revokeOperator', operator, request);
      return REVOCATION;
    },
    removeNode: async (name, request) => {
      called('removeNode', name, request);
      if (request.force !== true)
        throw new ShoalError('E_STILL_ALIVE', `the node ${name} is alive; nothing was changed`);
      return { ...REVOCATION, needed: 2, effective: false };
    },
    clusterInfo: async () => CLUSTER_INFO,
    history: async (query) => {
      called('history', query);
      return CHANGES;
    },
    async *watchHistory(query, { signal }): AsyncGenerator<ChangeInfo> {
      called('watchHistory', query);
      yield* CHANGES;
      while (!signal.aborted) {
        yield { ...CHANGES[0]!, summary: 'and more' };
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    nodes: async () => [node(NODE_1, 'one', true), node(NODE_2, 'two', false)],
    setIntent: async (name, { intent }) => {
      called('setIntent', name, intent);
      return { ...node(NODE_2, 'two', false), intent };
    },
    run: async (input) => {
      called('run', input);
      const spec = { ...structuredClone(SPEC_DEFAULTS), ...(input as object) } as unknown as WorkloadSpec;
      if (spec.resources.cpu_millis > 2000) {
        throw new ShoalError('E_UNSATISFIABLE', 'no node has 2500 thousandths of a core for web');
      }
      const info: WorkloadInfo = {
        namespace: spec.namespace,
        name: spec.name,
        generation: 0,
        revision: 'd'.repeat(64),
        stopped: false,
        spec,
        author: NODE_1,
        written_ms: AT_MS,
        authorName: 'one',
        siblings: [],
        desired: 0,
        running: 0,
        healthy: 0,
      };
      return put(info, spec.replicas, false);
    },
    workloads: async () => [...specs.values()],
    workload: async (ref) => find(ref),
    scale: async (ref, replicas) => put(find(ref), replicas, false),
    stop: async (ref) => put(find(ref), find(ref).spec.replicas, true),
    remove: async (ref) => {
      find(ref);
      specs.delete(`${ref.namespace}/${ref.name}`);
    },
    allocations: async (filter) => {
      called('allocations', filter);
      return [...specs.values()].flatMap(instances);
    },
    async *watch(ref): AsyncGenerator<WatchEvent> {
      const workload = find(ref);
      const layer = { digest: LAYER, size: 3 << 20 };
      const event = (running: number, done: number): WatchEvent => ({
        at_ms: AT_MS,
        workload: { ...workload, running, healthy: running },
        allocations: instances({ ...workload, running: workload.desired }).map((one) => ({
          ...one,
          phase: running ? 'running' : 'pulling',
          health: running ? 'healthy' : 'unknown',
        })),
        images: [
          {
            node: NODE_2,
            nodeName: 'two',
            layers: [
              {
                ...layer,
                done,
                phase: done === layer.size ? 'ready' : 'fetching',
                sources: [{ node: NODE_1, nodeName: 'one', bytes: done }],
              },
            ],
          },
        ],
        waiting: [],
      });
      yield event(0, 1 << 20);
      yield event(workload.desired, layer.size);
    },
    async *logs(ref: InstanceRef, options): AsyncGenerator<LogEvent> {
      called('logs', ref, { follow: options.follow, tail: options.tail });
      yield { at_ms: AT_MS, stream: 'stdout', text: 'hello' };
      yield { at_ms: AT_MS, stream: 'stderr', text: 'careful' };
      while (options.follow && !options.signal.aborted) {
        yield { at_ms: AT_MS, stream: 'stdout', text: 'tick' };
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    exec: async (ref, argv, io) => {
      called('exec', ref, argv);
      if (argv[0] === 'missing') throw new ShoalError('E_COMMAND_NOT_FOUND', 'there is no command "missing"');
      io.onOutput('stdout', Buffer.from(argv.join(' ')));
      if (io.stdin) io.onOutput('stdout', io.stdin);
      io.onOutput('stderr', Buffer.from('done'));
      return { code: 7 };
    },
    importImage: async (request) => {
      called('importImage', request);
      return [
        {
          digest: image.digest,
          names: [request.name ?? 'web:1'],
          size: image.size,
          layers: 1,
          bytes: image.size,
        },
      ];
    },
    buildImage: async (request) => {
      called('buildImage', request);
      return { digest: image.digest, names: [request.name], size: image.size, layers: 1, bytes: image.size };
    },
    images: async () => [image],
  };
}
