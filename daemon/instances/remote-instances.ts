/**
 * Instances of other nodes, over mesh streams: logs, exec and the progress of image fetches. Both sides.
 *
 * On a stream of /shoal/instance/1 the asking node writes one JSON line with its request and reads JSON lines; the
 * last one is {"end": …} or {"error": {code, message}}. Members only: the mesh lets nobody else in; exec is for those
 * who may deploy.
 */
import type { Duplex } from 'node:stream';
import type { BlobProgress, Images } from '../../images/images.ts';
import { decode, encode } from '../../protocols/base/codec.ts';
import { ERRORS, type ErrorCode, isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import type { Digest, NodeId } from '../../protocols/base/ids.ts';
import { isDigest } from '../../protocols/base/ids.ts';
import type { SlotName } from '../../protocols/base/workload.ts';
import type { Mesh } from '../../protocols/mesh/mesh.ts';
import type { Clock } from '../clock.ts';
import type { LogLine, Runtime } from '../runtime/runtime.ts';
import type { InstanceManager } from './instance-manager.ts';

const INSTANCE_PROTOCOL = '/shoal/instance/1';
const PROGRESS_PROTOCOL = '/shoal/progress/1';
/** One line in either direction; stdin of an exec is the largest. */
export const LINE_BYTES_MAX = 8 << 20;
/** A request of a node that may run no commands. */
export const PLAIN_REQUEST_BYTES_MAX = 64 << 10;
/** The request, or so much more of it, is here by then. The slowest links carry more. */
const REQUEST_TIMEOUT_MS = 10_000;
const REQUEST_STEP_BYTES = 64 << 10;
const LINE_BYTES_MIN = 1 << 10;
const PROGRESS_BYTES_MAX = 1 << 20;
const PROGRESS_TIMEOUT_MS = 1_000;
const PROGRESS_PHASES: readonly BlobProgress['phase'][] = [
  'waiting',
  'fetching',
  'verifying',
  'unpacking',
  'ready',
];

type Request =
  | { readonly op: 'logs'; readonly slot: SlotName; readonly follow: boolean; readonly tail?: number }
  | {
      readonly op: 'exec';
      readonly slot: SlotName;
      readonly argv: readonly string[];
      readonly stdin: string | null;
    };

type Line =
  | { readonly line: LogLine }
  | { readonly stream: 'stdout' | 'stderr'; readonly data: string }
  | { readonly end: number }
  | { readonly error: { readonly code: ErrorCode; readonly message: string } };

export interface RemoteInstancesInit {
  readonly self: NodeId;
  readonly instances: InstanceManager;
  readonly runtime: Runtime;
  readonly images: Images;
  /** A member that only runs what others deploy must not reach into it on other hosts. */
  readonly mayExec: (node: NodeId) => boolean;
  readonly clock: Pick<Clock, 'after'>;
}

export interface ExecOptions {
  readonly stdin?: Uint8Array;
  /** A promise holds the command back, here and on other nodes, until it settles. */
  readonly onOutput: (stream: 'stdout' | 'stderr', chunk: Uint8Array) => void | Promise<void>;
  readonly signal: AbortSignal;
}

export class RemoteInstances {
  readonly #init: RemoteInstancesInit;
  #mesh: Mesh | undefined;

  constructor(init: RemoteInstancesInit) {
    this.#init = init;
  }

  attach(mesh: Mesh): void {
    this.#mesh = mesh;
    mesh.handleStream(INSTANCE_PROTOCOL, (from, _header, stream) => void this.#serve(from, stream));
    mesh.handle(PROGRESS_PROTOCOL, async (_from, body) => {
      const digest = decode(body, 256);
      return encode(typeof digest === 'string' && isDigest(digest) ? this.#init.images.progress(digest) : []);
    });
  }

  /** @throws E_NOT_FOUND, E_UNREACHABLE */
  async *logs(
    node: NodeId,
    slot: SlotName,
    options: { follow: boolean; tail?: number; signal: AbortSignal },
  ): AsyncIterable<LogLine> {
    const { signal, ...rest } = options;
    if (node === this.#init.self) {
      yield* this.#init.runtime.logs(this.#container(slot), options);
      return;
    }
    for await (const line of this.#ask(node, { op: 'logs', slot, ...rest }, signal))
      if ('line' in line) yield line.line;
  }

  /** @returns the exit code. @throws E_NOT_FOUND, E_NOT_RUNNING, E_COMMAND_NOT_FOUND, E_UNREACHABLE */
  async exec(node: NodeId, slot: SlotName, argv: readonly string[], options: ExecOptions): Promise<number> {
    if (node === this.#init.self) return await this.#execHere(slot, argv, options);
    const stdin = options.stdin === undefined ? null : Buffer.from(options.stdin).toString('base64');
    for await (const line of this.#ask(node, { op: 'exec', slot, argv, stdin }, options.signal)) {
      if ('stream' in line) await options.onOutput(line.stream, Buffer.from(line.data, 'base64'));
      else if ('end' in line) return line.end;
    }
    throw new ShoalError('E_UNREACHABLE', 'the node went away during the command; it may have ended or not');
  }

  /** What a node has of an image; empty when it does not answer soon. */
  async progress(node: NodeId, image: Digest): Promise<BlobProgress[]> {
    if (node === this.#init.self) return this.#init.images.progress(image);
    try {
      const signal = AbortSignal.timeout(PROGRESS_TIMEOUT_MS);
      const answer = await this.#mesh!.request(node, PROGRESS_PROTOCOL, encode(image), { signal });
      const progress = decode(answer, PROGRESS_BYTES_MAX);
      return Array.isArray(progress) ? progress.filter(isProgress) : [];
    } catch {
      return [];
    }
  }

  async #execHere(
    slot: SlotName,
    argv: readonly string[],
    { stdin, onOutput, signal }: ExecOptions,
  ): Promise<number> {
    const input = stdin === undefined ? {} : { stdin: once(stdin) };
    const { code } = await this.#init.runtime.exec(this.#container(slot), argv, {
      ...input,
      onOutput,
      signal,
    });
    return code;
  }

  #container(slot: SlotName): string {
    const container = this.#init.instances.get(slot)?.container;
    if (container === undefined)
      throw new ShoalError('E_NOT_FOUND', `this node has no container for ${slot}`);
    return container;
  }

  async *#ask(node: NodeId, request: Request, signal: AbortSignal): AsyncIterable<Line> {
    const stream = await this.#mesh!.open(node, INSTANCE_PROTOCOL, new Uint8Array(), { signal });
    const abort = () => stream.destroy();
    signal.addEventListener('abort', abort, { once: true });
    try {
      stream.write(`${JSON.stringify(request)}\n`);
      for await (const text of lines(stream)) {
        const line = JSON.parse(text) as Line;
        if ('error' in line) {
          const code = Object.hasOwn(ERRORS, line.error.code) ? line.error.code : 'E_INTERNAL';
          throw new ShoalError(code, line.error.message);
        }
        yield line;
        if ('end' in line) return;
      }
      if (!signal.aborted) throw new ShoalError('E_UNREACHABLE', 'the node of the instance went away');
    } catch (error) {
      if (signal.aborted) return;
      throw isShoalError(error)
        ? error
        : new ShoalError('E_UNREACHABLE', 'the node of the instance went away', { cause: error });
    } finally {
      signal.removeEventListener('abort', abort);
      stream.destroy();
    }
  }

  async #serve(from: NodeId, stream: Duplex): Promise<void> {
    const gone = new AbortController();
    stream.once('close', () => gone.abort());
    stream.on('error', () => gone.abort());
    const say = async (line: Line) => {
      if (!stream.destroyed && !stream.write(`${JSON.stringify(line)}\n`)) await drained(stream, gone.signal);
    };
    try {
      const request = JSON.parse(await this.#firstLine(from, stream)) as Request;
      await say({ end: await this.#answer(from, request, say, gone.signal) });
    } catch (error) {
      const known = isShoalError(error) ? error : new ShoalError('E_INTERNAL', String(error));
      await say({ error: { code: known.code, message: known.message } }).catch(() => {});
    }
    stream.end();
  }

  /**
   * The request of a stream. An iterator will not do: leaving it early destroys the stream.
   * @throws E_TOO_LARGE, E_NOT_ALLOWED, E_TIMEOUT, E_CANCELLED
   */
  async #firstLine(from: NodeId, stream: Duplex): Promise<string> {
    const mayExec = this.#init.mayExec(from);
    const reader = new LineReader(mayExec ? LINE_BYTES_MAX : PLAIN_REQUEST_BYTES_MAX);
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const wait = () =>
      this.#init.clock.after(REQUEST_TIMEOUT_MS, () =>
        reject(new ShoalError('E_TIMEOUT', 'the request did not come in time')),
      );
    let cancel = wait();
    let awaited_bytes = REQUEST_STEP_BYTES;
    const take = (chunk: Uint8Array) => {
      try {
        for (const line of reader.push(chunk)) return resolve(line);
      } catch (error) {
        return reject(mayExec ? error : notAllowed());
      }
      if (reader.length < awaited_bytes) return;
      awaited_bytes = reader.length + REQUEST_STEP_BYTES;
      cancel();
      cancel = wait();
    };
    const onClose = () =>
      reject(new ShoalError('E_CANCELLED', 'the stream closed before its request was whole'));
    stream.on('data', take);
    stream.once('close', onClose);
    try {
      return await promise;
    } finally {
      cancel();
      stream.off('close', onClose);
      // What follows is read and dropped, so that the end of the stream is noticed.
      stream.off('data', take);
      stream.resume();
    }
  }

  async #answer(
    from: NodeId,
    request: Request,
    say: (line: Line) => Promise<void>,
    signal: AbortSignal,
  ): Promise<number> {
    if (request.op === 'logs') {
      const tail = request.tail === undefined ? {} : { tail: request.tail };
      const logs = this.#init.runtime.logs(this.#container(request.slot), {
        follow: request.follow,
        ...tail,
        signal,
      });
      for await (const line of logs) await say({ line });
      return 0;
    }
    if (!this.#init.mayExec(from)) throw notAllowed();
    const stdin =
      request.stdin === null ? {} : { stdin: new Uint8Array(Buffer.from(request.stdin, 'base64')) };
    return await this.#execHere(request.slot, request.argv, {
      ...stdin,
      signal,
      onOutput: (stream, chunk) => say({ stream, data: Buffer.from(chunk).toString('base64') }),
    });
  }
}

function notAllowed(): ShoalError {
  return new ShoalError('E_NOT_ALLOWED', 'the node that asks may not run commands in instances');
}

async function* once<T>(value: T): AsyncIterable<T> {
  yield value;
}

/** Another node wrote it: it is looked at before anybody builds on it. */
function isProgress(value: unknown): value is BlobProgress {
  const { digest, size, done, phase, sources } = (value ?? {}) as Partial<BlobProgress>;
  return (
    isDigest(String(digest)) &&
    Number.isSafeInteger(size) &&
    Number.isSafeInteger(done) &&
    PROGRESS_PHASES.includes(phase as BlobProgress['phase']) &&
    typeof sources === 'object' &&
    sources !== null &&
    Object.values(sources).every(Number.isSafeInteger)
  );
}

/** Cuts bytes into lines. What is here of one lies in one array, however small the pieces are that it comes in. */
class LineReader {
  readonly #bytes_max: number;
  #kept = Buffer.alloc(0);
  #length = 0;

  constructor(bytes_max: number) {
    this.#bytes_max = bytes_max;
  }

  /** Of the line that is not whole yet. */
  get length(): number {
    return this.#length;
  }

  /** @throws E_TOO_LARGE, after the lines before it. */
  *push(chunk: Uint8Array): Generator<string> {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      this.#keep(chunk.subarray(start, end));
      start = end + 1;
      const line = this.#kept.toString('utf8', 0, this.#length);
      this.#length = 0;
      yield line;
    }
    this.#keep(chunk.subarray(start));
  }

  #keep(part: Uint8Array): void {
    const length = this.#length + part.byteLength;
    if (length > this.#bytes_max) throw new ShoalError('E_TOO_LARGE', 'a line between nodes is too long');
    if (length > this.#kept.byteLength) {
      const wider = Buffer.alloc(
        Math.min(this.#bytes_max, Math.max(length, 2 * this.#kept.byteLength, LINE_BYTES_MIN)),
      );
      wider.set(this.#kept.subarray(0, this.#length));
      this.#kept = wider;
    }
    this.#kept.set(part, this.#length);
    this.#length = length;
  }
}

/** Whole lines; one that is longer than LINE_BYTES_MAX ends it. */
async function* lines(stream: Duplex): AsyncIterable<string> {
  const reader = new LineReader(LINE_BYTES_MAX);
  for await (const chunk of stream) yield* reader.push(chunk as Uint8Array);
}

function drained(stream: Duplex, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    stream.once('drain', done);
    signal.addEventListener('abort', done, { once: true });
  });
}
