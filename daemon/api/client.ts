/**
 * The client of the API: what the CLI and scripts drive a daemon with. HTTP/1.1 on a Unix socket, nothing else.
 * It imports neither fastify nor the schemas' library, so that a command starts fast.
 */
import { lstat } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import path from 'node:path';
import { isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import type { InstanceRef, WorkloadRef } from './backend.ts';
import { RESPONSE_BYTES_MAX } from './limits.ts';
import { fromProblem } from './problem.ts';
import type {
  AllocationFilter,
  AllocationInfo,
  BuildRequest,
  Cluster,
  ExecEvent,
  ExecRequest,
  ImageInfo,
  Imported,
  ImportRequest,
  InitRequest,
  Intent,
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

/** A list of grants or tokens that is as long may have been cut. */
export {
  GRANTS_LISTED_MAX,
  NODE_TTL_MS_RANGE,
  TOKEN_TTL_MS_RANGE,
  TOKEN_USES_RANGE,
} from './limits.ts';

export interface CallOptions {
  /** @throws ShoalError E_CANCELLED when it aborts */
  readonly signal?: AbortSignal;
}

/** Particulars of an error after which nobody knows what the daemon has done. */
const UNANSWERED = { unanswered: true };

type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** Every method throws ShoalError: E_NO_DAEMON, E_SOCKET_DENIED, E_CANCELLED, or what the daemon answered. */
export class ApiClient {
  readonly #socket: string;

  /** @param socket path of the daemon's socket. */
  constructor(socket: string) {
    this.#socket = socket;
  }

  version(options?: CallOptions): Promise<Version> {
    return this.#json('GET', '/v1/version', undefined, options);
  }
  status(options?: CallOptions): Promise<Status> {
    return this.#json('GET', '/v1/status', undefined, options);
  }
  init(body: InitRequest, options?: CallOptions): Promise<Cluster> {
    return this.#json('POST', '/v1/init', body, options);
  }
  join(body: JoinRequest, options?: CallOptions): Promise<Joined> {
    return this.#json('POST', '/v1/join', body, options);
  }
  createToken(body: TokenRequest, options?: CallOptions): Promise<Token> {
    return this.#json('POST', '/v1/tokens', body, options);
  }
  tokens(query: ListQuery = {}, options?: CallOptions): Promise<TokenInfo[]> {
    return this.#json('GET', `/v1/tokens${queryText(query)}`, undefined, options);
  }
  revokeToken(token: string, body: RevokeTokenRequest = {}, options?: CallOptions): Promise<TokenInfo> {
    return this.#json('POST', `/v1/tokens/${encodeURIComponent(token)}/revoke`, body, options);
  }
  planRevokeToken(token: string, body: RevokeTokenRequest, options?: CallOptions): Promise<RevocationPlan> {
    return this.#json('POST', `/v1/tokens/${encodeURIComponent(token)}/revoke/plan`, body, options);
  }
  grants(query: ListQuery = {}, options?: CallOptions): Promise<GrantInfo[]> {
    return this.#json('GET', `/v1/grants${queryText(query)}`, undefined, options);
  }
  clusterInfo(options?: CallOptions): Promise<ClusterInfo> {
    return this.#json('GET', '/v1/cluster', undefined, options);
  }
  history(query: HistoryQuery = {}, options?: CallOptions): Promise<ChangeInfo[]> {
    return this.#json('GET', `/v1/cluster/history${queryText(query)}`, undefined, options);
  }
  watchHistory(query: HistoryQuery = {}, options?: CallOptions): AsyncIterable<ChangeInfo> {
    return this.#lines<ChangeInfo>('GET', `/v1/cluster/history/watch${queryText(query)}`, undefined, options);
  }
  nodes(options?: CallOptions): Promise<NodeInfo[]> {
    return this.#json('GET', '/v1/nodes', undefined, options);
  }
  setIntent(node: string, intent: Intent, options?: CallOptions): Promise<NodeInfo> {
    return this.#json('PUT', `/v1/nodes/${encodeURIComponent(node)}/intent`, { intent }, options);
  }
  revokeNode(node: string, body: RevokeNodeRequest = {}, options?: CallOptions): Promise<RevocationInfo> {
    return this.#json('POST', `/v1/nodes/${encodeURIComponent(node)}/revoke`, body, options);
  }
  planRevokeNode(node: string, body: RevokeNodeRequest, options?: CallOptions): Promise<RevocationPlan> {
    return this.#json('POST', `/v1/nodes/${encodeURIComponent(node)}/revoke/plan`, body, options);
  }
  removeNode(node: string, body: RemoveNodeRequest = {}, options?: CallOptions): Promise<RevocationInfo> {
    return this.#json('POST', `/v1/nodes/${encodeURIComponent(node)}/remove`, body, options);
  }
  operators(options?: CallOptions): Promise<OperatorInfo[]> {
    return this.#json('GET', '/v1/operators', undefined, options);
  }
  appoint(body: AppointRequest, options?: CallOptions): Promise<Appointment> {
    return this.#json('POST', '/v1/operators', body, options);
  }
  planRevokeOperator(
    operator: string,
    body: RevokeOperatorRequest,
    options?: CallOptions,
  ): Promise<RevocationPlan> {
    return this.#json('POST', `/v1/operators/${encodeURIComponent(operator)}/revoke/plan`, body, options);
  }
  revokeOperator(
    operator: string,
    body: RevokeOperatorRequest = {},
    options?: CallOptions,
  ): Promise<RevocationInfo> {
    return this.#json('POST', `/v1/operators/${encodeURIComponent(operator)}/revoke`, body, options);
  }
  run(spec: unknown, options?: CallOptions): Promise<WorkloadInfo> {
    return this.#json('POST', '/v1/workloads', spec, options);
  }
  workloads(options?: CallOptions): Promise<WorkloadInfo[]> {
    return this.#json('GET', '/v1/workloads', undefined, options);
  }
  workload(ref: WorkloadRef, options?: CallOptions): Promise<WorkloadInfo> {
    return this.#json('GET', workloadPath(ref), undefined, options);
  }
  scale(ref: WorkloadRef, replicas: number, options?: CallOptions): Promise<WorkloadInfo> {
    return this.#json('POST', `${workloadPath(ref)}/scale`, { replicas }, options);
  }
  stop(ref: WorkloadRef, options?: CallOptions): Promise<WorkloadInfo> {
    return this.#json('POST', `${workloadPath(ref)}/stop`, undefined, options);
  }
  async remove(ref: WorkloadRef, options?: CallOptions): Promise<void> {
    await this.#json('DELETE', workloadPath(ref), undefined, options);
  }
  allocations(filter: AllocationFilter = {}, options?: CallOptions): Promise<AllocationInfo[]> {
    return this.#json('GET', `/v1/allocations${queryText(filter)}`, undefined, options);
  }
  images(options?: CallOptions): Promise<ImageInfo[]> {
    return this.#json('GET', '/v1/images', undefined, options);
  }
  importImage(body: ImportRequest, options?: CallOptions): Promise<Imported[]> {
    return this.#json('POST', '/v1/images/import', body, options);
  }
  buildImage(body: BuildRequest, options?: CallOptions): Promise<Imported> {
    return this.#json('POST', '/v1/images/build', body, options);
  }
  watch(ref: WorkloadRef, options?: CallOptions): AsyncIterable<WatchEvent> {
    return this.#lines<WatchEvent>('GET', `${workloadPath(ref)}/watch`, undefined, options);
  }
  logs(
    { index, node, ...ref }: InstanceRef,
    { signal, ...query }: CallOptions & { follow?: boolean; tail?: number } = {},
  ): AsyncIterable<LogEvent> {
    const path = `${workloadPath(ref)}/logs${queryText({ index, node, ...query })}`;
    return this.#lines<LogEvent>('GET', path, undefined, signal ? { signal } : {});
  }
  exec(
    { index, node, ...ref }: InstanceRef,
    body: ExecRequest,
    options?: CallOptions,
  ): AsyncIterable<ExecEvent> {
    return this.#lines<ExecEvent>(
      'POST',
      `${workloadPath(ref)}/exec${queryText({ index, node })}`,
      body,
      options,
    );
  }

  async #json<T>(method: string, path: string, body: unknown, options: CallOptions = {}): Promise<T> {
    const response = await this.#send(method, path, body, options);
    return (await readJson(response, options)) as T;
  }

  async *#lines<T>(
    method: string,
    path: string,
    body: unknown,
    options: CallOptions = {},
  ): AsyncGenerator<T, void, undefined> {
    const response = await this.#send(method, path, body, options);
    try {
      for await (const line of splitLines(response, options)) {
        const value: unknown = JSON.parse(line);
        if (typeof value === 'object' && value !== null && 'error' in value) throw fromProblem(value.error);
        yield value as T;
      }
    } finally {
      response.destroy();
    }
  }

  /** @returns a response with a status below 300; any other is thrown as the problem that it carries. */
  async #send(method: string, path: string, body: unknown, options: CallOptions): Promise<IncomingMessage> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    await assertTrusted(this.#socket);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = httpRequest({
        socketPath: this.#socket,
        method,
        path,
        agent: false,
        headers: {
          host: 'localhost',
          accept: 'application/json, application/x-ndjson',
          ...(text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
        },
        ...(options.signal ? { signal: options.signal } : {}),
      });
      request.on('response', resolve);
      request.on('error', (error) => reject(this.#failure(error, options)));
      request.end(text);
    });
    if ((response.statusCode ?? 500) < 300) return response;
    throw fromProblem(await readJson(response, options));
  }

  #failure(error: NodeJS.ErrnoException, options: CallOptions): ShoalError {
    if (options.signal?.aborted) return givenUp(error);
    if (error.code === 'EACCES' || error.code === 'EPERM') {
      return new ShoalError('E_SOCKET_DENIED', `this user may not use the socket ${this.#socket}`, {
        cause: error,
      });
    }
    if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED' || error.code === 'ENOTSOCK') {
      return new ShoalError('E_NO_DAEMON', `no daemon listens on ${this.#socket}`, { cause: error });
    }
    return lost(error);
  }
}

/** Was a request sent, or may it have been, with no answer that says what came of it? It may have been done. */
export function isUnanswered(error: unknown): boolean {
  return isShoalError(error) && error.detail?.['unanswered'] === true;
}

/** Where all may write, whoever is first makes the socket, and would be told tokens and keys. @throws E_SOCKET_DENIED */
async function assertTrusted(socket: string): Promise<void> {
  const [directory, file] = await Promise.all(
    [path.dirname(socket), socket].map((each) => lstat(each).catch(() => undefined)),
  );
  // Where nothing is, connecting says so.
  if (directory === undefined || file === undefined || (directory.mode & 0o002) === 0) return;
  if (file.uid === 0 || file.uid === process.getuid?.()) return;
  throw new ShoalError(
    'E_SOCKET_DENIED',
    `the socket ${socket} is of another user, in a directory where all may write; it was not used`,
  );
}

function lost(cause: unknown): ShoalError {
  const why = cause instanceof Error ? ` (${cause.message})` : '';
  const message = `the daemon went away before it had answered${why}`;
  return new ShoalError('E_NO_DAEMON', message, { cause, detail: UNANSWERED });
}

function givenUp(cause: unknown): ShoalError {
  return new ShoalError('E_CANCELLED', 'the request was given up', { cause, detail: UNANSWERED });
}

function workloadPath({ namespace, name }: WorkloadRef): string {
  return `/v1/workloads/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
}

function queryText(query: Query): string {
  const text = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) text.set(key, String(value));
  return text.size === 0 ? '' : `?${text}`;
}

/** Reads a whole body. @throws ShoalError E_TOO_LARGE, E_NO_DAEMON, E_CANCELLED */
async function readJson(response: IncomingMessage, options: CallOptions): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength;
      if (bytes > RESPONSE_BYTES_MAX) throw new ShoalError('E_TOO_LARGE', 'the answer is over the limit');
      chunks.push(chunk);
    }
  } catch (error) {
    throw readFailure(error, options);
  }
  if (bytes === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (cause) {
    throw new ShoalError('E_MALFORMED', 'what answers on the socket is not a shoal daemon', {
      cause,
      detail: UNANSWERED,
    });
  }
}

async function* splitLines(response: IncomingMessage, options: CallOptions): AsyncGenerator<string> {
  response.setEncoding('utf8');
  let rest = '';
  try {
    for await (const chunk of response as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > RESPONSE_BYTES_MAX) throw new ShoalError('E_TOO_LARGE', 'a line is over the limit');
      yield* lines;
    }
  } catch (error) {
    throw readFailure(error, options);
  }
}

function readFailure(error: unknown, options: CallOptions): ShoalError {
  if (error instanceof ShoalError) return error;
  return options.signal?.aborted ? givenUp(error) : lost(error);
}
