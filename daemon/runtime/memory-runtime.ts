/**
 * The `memory` driver: containers that exist only as data, for simulation and tests. No I/O; time is injected. What a
 * container does is written in its argv:
 *
 * - `run-forever`: until a signal ends it
 * - `exit CODE`: ends at once
 * - `script STEP…`: `out:TEXT`, `err:TEXT`, `repeat:N:TEXT`, `cat` (copies the input of an exec), `ignore:SIGNAL`,
 *   `sleep:MS`, `exit:CODE`, `oom` and `forever`; 0 after the last
 *
 * Other commands are not found. Containers live in a `MemoryHost`, so that a second driver finds them again.
 */
import { ShoalError } from '../../protocols/base/errors.ts';
import { checkContainerId } from './container-id.ts';
import type { ExecIo } from './exec.ts';
import { ExitLatch } from './exit-latch.ts';
import { LINE_BYTES_MAX, LineSplitter } from './log-lines.ts';
import type {
  ContainerId,
  ContainerInfo,
  ContainerSpec,
  ContainerState,
  ContainerStats,
  ExecResult,
  ExitStatus,
  LogLine,
  Runtime,
} from './runtime.ts';
import { signalExitCode, signalNumber } from './signals.ts';

/** Signals that end nothing unless somebody handles them: CHLD, CONT, URG, WINCH. */
const HARMLESS = new Set([17, 18, 23, 28]);
const KILL = 9;
const MEMORY_BYTES = 1 << 20;

export interface MemoryTime {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Calls back once after `delay_ms`; the result cancels. */
  after(delay_ms: number, act: () => void): () => void;
}

interface Container {
  readonly spec: ContainerSpec;
  readonly latch: ExitLatch;
  readonly lines: LogLine[];
  lines_bytes: number;
  /** How many lines were dropped at the front. */
  dropped: number;
  readonly ignored: Set<number>;
  readonly listeners: Set<() => void>;
  state: ContainerState;
  pid: number;
  started_ms: number | null;
  cancel: (() => void) | null;
}

/** Stands for the directory of a driver: what outlives it. */
export class MemoryHost {
  readonly containers = new Map<ContainerId, Container>();
  nextPid = 2;
}

export interface MemoryRuntimeInit {
  readonly time: MemoryTime;
  readonly host?: MemoryHost;
}

export function createMemoryRuntime(init: MemoryRuntimeInit): Runtime {
  return new MemoryRuntime(init.time, init.host ?? new MemoryHost());
}

class MemoryRuntime implements Runtime {
  readonly driver = 'memory';
  readonly isolatesNetwork = true;
  readonly #time: MemoryTime;
  readonly #host: MemoryHost;
  readonly #closing = new AbortController();

  constructor(time: MemoryTime, host: MemoryHost) {
    this.#time = time;
    this.#host = host;
  }

  async create(spec: ContainerSpec): Promise<void> {
    checkContainerId(spec.id);
    signalNumber(spec.stopSignal);
    if (this.#host.containers.has(spec.id))
      throw new ShoalError('E_EXISTS', `There is a container ${spec.id} already.`);
    stepsOf(spec.argv);
    const pid = this.#host.nextPid;
    this.#host.nextPid += 1;
    this.#host.containers.set(spec.id, {
      ...{ spec, pid, latch: new ExitLatch(), lines: [], lines_bytes: 0, dropped: 0, ignored: new Set() },
      ...{ listeners: new Set(), state: 'created', started_ms: null, cancel: null },
    });
  }

  async start(id: ContainerId): Promise<void> {
    const container = this.#get(id);
    if (container.state !== 'created')
      throw new ShoalError('E_RUNTIME_FAILED', `Container ${id} is ${container.state}, not created.`);
    container.state = 'running';
    container.started_ms = this.#time.now();
    this.#advance(container, stepsOf(container.spec.argv));
  }

  async stop(id: ContainerId, options: { grace_ms: number }): Promise<ExitStatus> {
    const container = this.#get(id);
    if (container.state === 'running') {
      this.#signal(container, signalNumber(container.spec.stopSignal));
      if (container.latch.exit === null) {
        const grace = new AbortController();
        const cancel = this.#time.after(options.grace_ms, () => grace.abort());
        await container.latch.wait(grace.signal).catch(() => undefined);
        cancel();
      }
    }
    this.#signal(container, KILL);
    return container.latch.wait();
  }

  async kill(id: ContainerId, signal: string): Promise<void> {
    const number = signalNumber(signal);
    this.#signal(this.#getRunning(id), number);
  }

  async wait(id: ContainerId, options: { signal?: AbortSignal } = {}): Promise<ExitStatus> {
    const { latch } = this.#get(id);
    return latch.wait(AbortSignal.any([this.#closing.signal, ...(options.signal ? [options.signal] : [])]));
  }

  async exec(id: ContainerId, argv: readonly string[], io: ExecIo): Promise<ExecResult> {
    const container = this.#getRunning(id);
    for (const step of stepsOf(argv)) {
      const [name, text] = divide(step);
      if (name === 'exit') return { code: Number(text) };
      if (name === 'out') await io.onOutput('stdout', Buffer.from(`${text}\n`));
      if (name === 'err') await io.onOutput('stderr', Buffer.from(`${text}\n`));
      if (name === 'cat') for await (const chunk of io.stdin ?? []) await io.onOutput('stdout', chunk);
      const pause_ms = name === 'sleep' ? Number(text) : name === 'forever' ? null : undefined;
      if (pause_ms !== undefined && (await this.#pause(container, pause_ms, io.signal)))
        return { code: 128 + KILL };
    }
    return { code: 0 };
  }

  async *logs(
    id: ContainerId,
    options: { follow: boolean; tail?: number; signal?: AbortSignal },
  ): AsyncGenerator<LogLine> {
    const container = this.#get(id);
    const end = container.dropped + container.lines.length;
    let next = options.tail === undefined ? 0 : Math.max(0, end - options.tail);
    const signal = AbortSignal.any([this.#closing.signal, ...(options.signal ? [options.signal] : [])]);
    while (!signal.aborted) {
      next = Math.max(next, container.dropped);
      const line = container.lines[next - container.dropped];
      if (line) {
        next += 1;
        yield line;
      } else if (!options.follow || container.latch.exit !== null) return;
      else await this.#changed(container, signal);
    }
  }

  async stats(id: ContainerId): Promise<ContainerStats> {
    const { started_ms, spec } = this.#getRunning(id);
    const ran_ms = this.#time.now() - (started_ms ?? 0);
    return { cpu_ns: ran_ms * spec.resources.cpu_millis * 1000, memory_bytes: MEMORY_BYTES, pids: 1 };
  }

  left(): ContainerId[] {
    return [];
  }

  async list(): Promise<ContainerInfo[]> {
    return [...this.#host.containers.values()].map(({ spec, state, pid, latch, started_ms }) => ({
      ...{ id: spec.id, labels: spec.labels, state, pid: state === 'stopped' ? null : pid },
      ...{ exit: latch.exit, started_ms },
    }));
  }

  async remove(id: ContainerId): Promise<void> {
    const container = this.#get(id);
    if (container.state === 'running')
      throw new ShoalError('E_RUNTIME_FAILED', `Container ${id} is running: stop it first.`);
    this.#signal(container, KILL);
    this.#host.containers.delete(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
  }

  #get(id: ContainerId): Container {
    const container = this.#host.containers.get(id);
    if (!container) throw new ShoalError('E_NOT_FOUND', `There is no container ${id} here.`);
    return container;
  }

  #getRunning(id: ContainerId): Container {
    const container = this.#get(id);
    if (container.state !== 'running')
      throw new ShoalError('E_NOT_RUNNING', `Container ${id} is ${container.state}.`);
    return container;
  }

  #advance(container: Container, steps: readonly string[]): void {
    for (const [index, step] of steps.entries()) {
      const [name, text] = divide(step);
      if (name === 'out') this.#print(container, 'stdout', text);
      if (name === 'err') this.#print(container, 'stderr', text);
      if (name === 'repeat') {
        const [count, rest] = divide(text);
        for (let n = 0; n < Number(count); n += 1) this.#print(container, 'stdout', rest);
      }
      if (name === 'ignore') container.ignored.add(signalNumber(text));
      if (name === 'exit') this.#end(container, Number(text), false);
      if (name === 'oom') this.#end(container, 128 + KILL, true);
      if (name === 'forever' || container.latch.exit !== null) return;
      if (name === 'sleep') {
        container.cancel = this.#time.after(Number(text), () =>
          this.#advance(container, steps.slice(index + 1)),
        );
        return;
      }
    }
    this.#end(container, 0, false);
  }

  #print(container: Container, stream: LogLine['stream'], text: string): void {
    const splitter = new LineSplitter();
    for (const piece of [...splitter.push(Buffer.from(text)), ...splitter.flush()]) {
      container.lines.push({ at_ms: this.#time.now(), stream, text: piece });
      container.lines_bytes += Math.min(LINE_BYTES_MAX, Buffer.byteLength(piece)) + 1;
    }
    while (container.lines_bytes > container.spec.logs_bytes_max && container.lines.length > 0) {
      container.lines_bytes -= Buffer.byteLength(container.lines.shift()!.text) + 1;
      container.dropped += 1;
    }
    notify(container);
  }

  #signal(container: Container, number: number): void {
    if (container.latch.exit !== null || HARMLESS.has(number)) return;
    if (number !== KILL && container.ignored.has(number)) return;
    this.#end(container, signalExitCode(String(number)), false);
  }

  #end(container: Container, code: number, oom: boolean): void {
    container.cancel?.();
    container.cancel = null;
    container.state = 'stopped';
    container.latch.set({ code, oom, at_ms: this.#time.now() });
    notify(container);
  }

  #changed(container: Container, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        container.listeners.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      container.listeners.add(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }

  /** Whether the container ended before. @throws E_CANCELLED */
  #pause(container: Container, pause_ms: number | null, signal: AbortSignal | undefined): Promise<boolean> {
    const ended = container.latch.wait(signal).then(() => true);
    if (pause_ms === null) return ended;
    return new Promise((resolve, reject) => {
      const cancel = this.#time.after(pause_ms, () => resolve(false));
      ended.then(resolve, reject).finally(cancel);
    });
  }
}

function notify(container: Container): void {
  for (const listener of [...container.listeners]) listener();
}

function divide(step: string): [string, string] {
  const colon = step.indexOf(':');
  return colon < 0 ? [step, ''] : [step.slice(0, colon), step.slice(colon + 1)];
}

/** @throws E_COMMAND_NOT_FOUND */
function stepsOf(argv: readonly string[]): readonly string[] {
  if (argv[0] === 'run-forever') return ['forever'];
  if (argv[0] === 'exit') return [`exit:${argv[1] ?? 0}`];
  if (argv[0] === 'script') return argv.slice(1);
  throw new ShoalError('E_COMMAND_NOT_FOUND', `"${argv[0] ?? ''}" is not a command of the memory driver.`);
}
