/**
 * What the HTTP API asks of the daemon. The routes call nothing else; `daemon/node.ts` implements it, tests fake it.
 *
 * Everything returned is plain JSON data of schemas.ts. Expected failures are thrown as ShoalError and become
 * RFC 9457 problems; anything else becomes E_INTERNAL, and its text is logged, not sent.
 * Every method but version, status, init and join throws E_NO_CLUSTER before the node is in a cluster. What writes, but
 * for revocations, throws E_CLOCK_AHEAD where other members would not take it.
 */
import type {
  AllocationFilter,
  AllocationInfo,
  BuildRequest,
  Cluster,
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
} from './schemas.ts';
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
} from './trust-schemas.ts';

/** Which workload. */
export interface WorkloadRef {
  readonly namespace: string;
  readonly name: string;
}

/** Which instance of a workload: by slot, by node, or the lowest slot that runs. */
export interface InstanceRef extends WorkloadRef {
  readonly index?: number;
  /** Id, end of an id, or name of a node. */
  readonly node?: string;
}

export interface LogsOptions {
  /** Go on until the instance ends or `signal` aborts. */
  readonly follow: boolean;
  /** Only the last n lines of the past; absent: all that is kept. */
  readonly tail?: number;
  readonly signal: AbortSignal;
}

export interface ExecIo {
  readonly stdin?: Uint8Array;
  /** Never blocks. The route bounds what a slow client leaves unread and aborts `signal` beyond that. */
  readonly onOutput: (stream: 'stdout' | 'stderr', chunk: Uint8Array) => void;
  /** Aborted when the client goes away: the command is to be killed. */
  readonly signal: AbortSignal;
}

export interface Backend {
  version(): Promise<Version>;
  /** Works before there is a cluster. */
  status(): Promise<Status>;

  /** @throws E_ALREADY_CLUSTER */
  init(request: InitRequest): Promise<Cluster>;
  /** @throws E_ALREADY_CLUSTER, E_REVOKED, E_TOKEN_*, E_CLOCK_*, E_UNREACHABLE; no half state is left. */
  join(request: JoinRequest): Promise<Joined>;
  /** @throws E_NOT_ALLOWED */
  createToken(request: TokenRequest): Promise<Token>;

  tokens(query: ListQuery): Promise<TokenInfo[]>;
  /**
   * Nobody joins with it any more. @param token its id, or the first eight or more characters of it.
   * @throws E_NOT_FOUND, E_NOT_ALLOWED
   */
  revokeToken(token: string, request: RevokeTokenRequest): Promise<TokenInfo>;
  grants(query: ListQuery): Promise<GrantInfo[]>;
  /** All that ever were, the most senior first. */
  operators(): Promise<OperatorInfo[]>;
  /** One vote for a new operator. @throws E_BAD_KEY_ID, E_BAD_INPUT, E_NOT_ALLOWED */
  appoint(request: AppointRequest): Promise<Appointment>;
  /** One vote against an operator. @param operator id, or end of an id. @throws E_NOT_FOUND, E_NOT_ALLOWED */
  revokeOperator(operator: string, request: RevokeOperatorRequest): Promise<RevocationInfo>;

  /** What the revocations of the same name would change; nothing is changed. @throws as they do */
  planRevokeToken(token: string, request: RevokeTokenRequest): Promise<RevocationPlan>;
  planRevokeOperator(operator: string, request: RevokeOperatorRequest): Promise<RevocationPlan>;
  planRevokeNode(node: string, request: RevokeNodeRequest): Promise<RevocationPlan>;

  clusterInfo(): Promise<ClusterInfo>;
  /** The latest changes that this node has seen and still keeps, the oldest of them first. */
  history(query: HistoryQuery): Promise<ChangeInfo[]>;
  /** The same, then each change as it comes, until `signal` aborts. Throws at once, not in the iteration. */
  watchHistory(query: HistoryQuery, options: { signal: AbortSignal }): AsyncIterable<ChangeInfo>;

  nodes(): Promise<NodeInfo[]>;
  /** @param node id, end of an id, or name. @throws E_NOT_FOUND, E_NOT_ALLOWED */
  setIntent(node: string, request: IntentRequest): Promise<NodeInfo>;

  /** Its key is refused from now on. @throws E_NOT_FOUND, E_NOT_ALLOWED, E_BAD_INPUT (this node itself) */
  revokeNode(node: string, request: RevokeNodeRequest): Promise<RevocationInfo>;
  /** It is gone for good. @throws as revokeNode, and E_STILL_ALIVE unless forced */
  removeNode(node: string, request: RemoveNodeRequest): Promise<RevocationInfo>;

  /**
   * Submits a new workload, or a new generation of an existing one.
   * @param spec what the user sent, not looked at yet. @throws E_BAD_SPEC, E_UNSATISFIABLE, E_IMAGE_UNKNOWN,
   * E_NOT_ALLOWED; nothing is written then.
   */
  run(spec: unknown): Promise<WorkloadInfo>;
  workloads(): Promise<WorkloadInfo[]>;
  /** @throws E_NOT_FOUND; so do the others that take a reference. */
  workload(ref: WorkloadRef): Promise<WorkloadInfo>;
  scale(ref: WorkloadRef, replicas: number): Promise<WorkloadInfo>;
  /** Keeps the spec, runs nothing. `run` or `scale` starts it again. */
  stop(ref: WorkloadRef): Promise<WorkloadInfo>;
  /** Writes a tombstone; its instances stop. */
  remove(ref: WorkloadRef): Promise<void>;
  allocations(filter: AllocationFilter): Promise<AllocationInfo[]>;

  /**
   * The state at once, then again whenever something changed, at most some ten times a second.
   * Ends when the workload is removed or `signal` aborts. A slow reader may lose lines in between, never the last.
   */
  watch(ref: WorkloadRef, options: { signal: AbortSignal }): AsyncIterable<WatchEvent>;
  /** @throws E_NOT_FOUND, E_UNREACHABLE (its node does not answer), before or during the iteration. */
  logs(ref: InstanceRef, options: LogsOptions): AsyncIterable<LogEvent>;
  /** @returns the exit code. @throws E_NOT_RUNNING, E_COMMAND_NOT_FOUND, E_UNREACHABLE */
  exec(ref: InstanceRef, argv: readonly string[], io: ExecIo): Promise<{ code: number }>;

  /** @throws E_IMAGE_INVALID, E_BLOB_CORRUPT, E_LAYER_HOSTILE, E_DISK_FULL; nothing is kept then. */
  importImage(request: ImportRequest, options: { signal: AbortSignal }): Promise<Imported[]>;
  buildImage(request: BuildRequest, options: { signal: AbortSignal }): Promise<Imported>;
  images(): Promise<ImageInfo[]>;
}
