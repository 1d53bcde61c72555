/**
 * The `process` driver: a child process with no isolation, for hosts without root or without an OCI runtime. Limits of
 * CPU, memory and processes are NOT enforced, mounts and users are ignored, the network is the host's. Programs come
 * from the flattened image where it has them, else from the host. Needs Linux, `sh` and `setsid`.
 *
 * Per container, in `<id>`: rootfs, meta.json (written last), logs, start (while a start is awaited), pid (the line of
 * /proc/<pid>/stat) and exit, both written by a small shell that outlives the daemon. A process that leaves the process group outlives its container.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { mkdir, realpath, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ShoalError } from '../../protocols/base/errors.ts';
import { DEFAULT_PATH } from './config.ts';
import { checkContainerId, checkInstance } from './container-id.ts';
import { type ExecIo, runAttached } from './exec.ts';
import { ExitLatch } from './exit-latch.ts';
import { PlainLog } from './plain-log.ts';
import { bootId, isAlive, parseProcessStat, processesOfSession, residentBytes } from './proc.ts';
import { isExecutableInRoot, resolveInRoot } from './rooted-path.ts';
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
  RuntimeInit,
} from './runtime.ts';
import { signalNumber } from './signals.ts';
import { readSmallFile, readSmallFileSurely, readSmallJson, writeSmallFile } from './small-file.ts';
import { takeUpEach } from './take-up.ts';

/** How often ends are looked for; a shell without a parent gives no other notice. */
const POLL_MS = 20;
const LOG_CHECK_MS = 1000;
const START_MS_MAX = 10_000;
const START_LOOK_MS = 5;
const KILL_MS_MAX = 30_000;
/** How long after the end of a process its shell may need to write the code down. */
const EXIT_NOTE_MS_MAX = 3000;
const META_VERSION = 1;
/** All that can be in the directory of a container whose creation or removal was cut short. */
const OWN_FILES = new Set([
  ...['rootfs', 'logs', 'meta.json', 'meta.json.tmp'],
  ...['start', 'pid', 'pid.tmp', 'exit', 'exit.tmp'],
]);

/** What the oci driver keeps in the same directory. */
const OF_OCI = new Set(['containers', 'state', 'exits', 'runtime']);

/**
 * The outer shell waits in a session of its own and writes the exit code; the inner one becomes the command, in another
 * session, so that signals to its process group do not reach the outer. In the foreground, because shells make
 * background commands ignore SIGINT and SIGQUIT.
 *
 * Nothing may run that nobody knows: the inner shell becomes the command only once its pid is noted, and only if it can
 * take away the file `start`, which the driver takes away when it waits no longer. One of the two gets it, never both.
 */
const SHIM = `d=$1; shift
setsid sh -c 'read -r s </proc/$$/stat; echo "$s" >"$0/pid.tmp" && [ ! -e "$0/exit" ] && [ -e "$0/meta.json" ] &&
rm "$0/start" && mv "$0/pid.tmp" "$0/pid" && exec "$@" </dev/null' \
"$d" "$@" >>"$d/logs/stdout" 2>>"$d/logs/stderr"
code=$?
read -r pid rest <"$d/pid" && kill -9 -"$pid" 2>/dev/null
echo "$code" >"$d/exit.tmp" && mv "$d/exit.tmp" "$d/exit"`;

export interface ProcessRuntimeInit extends RuntimeInit {
  /** Makes one plain directory of layer directories, base first; `destination` does not exist yet. */
  readonly flatten: (lowerDirs: readonly string[], destination: string) => Promise<void>;
}

interface Meta {
  readonly version: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly stopSignal: string;
  readonly logs_bytes_max: number;
  readonly boot: string;
}

interface Container {
  readonly id: ContainerId;
  readonly meta: Meta;
  readonly latch: ExitLatch;
  readonly log: PlainLog;
  /** Commands of `exec` that run, by pid; they end with it. */
  readonly execs: Set<number>;
  state: ContainerState;
  process: { readonly pid: number; readonly startTime: string } | null;
  started_ms: number | null;
  /** Monotonic; when the process was first seen dead without an exit code. */
  dead_ms: number | null;
}

/** @throws E_RUNTIME_MISSING */
export async function createProcessRuntime(init: ProcessRuntimeInit): Promise<Runtime> {
  checkInstance(init.instance);
  if (process.platform !== 'linux')
    throw new ShoalError('E_RUNTIME_MISSING', 'The process driver needs /proc of Linux.');
  if ((await onPath('setsid', hostPath())) === null)
    throw new ShoalError('E_RUNTIME_MISSING', 'The process driver needs the program setsid.');
  const runtime = new ProcessRuntime(init);
  await runtime.open();
  return runtime;
}

/** Are there containers of this driver under its directory? */
export function isLeftOfProcess(directory: string): boolean {
  if (!existsSync(directory)) return false;
  return readdirSync(directory).some((id) => existsSync(path.join(directory, id, 'meta.json')));
}

class ProcessRuntime implements Runtime {
  readonly driver = 'process';
  readonly isolatesNetwork = false;
  readonly #init: ProcessRuntimeInit;
  readonly #containers = new Map<ContainerId, Container>();
  readonly #busy = new Set<ContainerId>();
  /** Ids of earlier daemons that could be neither taken up nor away: nothing of theirs is touched. */
  readonly #left = new Set<ContainerId>();
  readonly #boot = bootId();
  #poll: NodeJS.Timeout | null = null;
  #logCheck: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(init: ProcessRuntimeInit) {
    this.#init = { ...init, directory: path.resolve(init.directory) };
  }

  async open(): Promise<void> {
    await mkdir(this.#init.directory, { recursive: true, mode: 0o700 });
    const names = readdirSync(this.#init.directory).filter((name) => !OF_OCI.has(name));
    await takeUpEach(names, (id) => this.#takeUp(id), this.#left, this.#init.log);
    this.#poll = setInterval(() => {
      for (const container of this.#containers.values()) this.#look(container);
    }, POLL_MS);
    this.#logCheck = setInterval(() => {
      for (const container of this.#containers.values())
        if (container.state === 'running') container.log.cut();
    }, LOG_CHECK_MS);
  }

  /** @throws what keeps it from being taken up or away */
  async #takeUp(id: ContainerId): Promise<void> {
    const meta = readSmallJson<Meta>(path.join(this.#directory(id), 'meta.json'));
    if (meta === null) {
      // The oci driver keeps its own under the same directory, with containers that may run now.
      const foreign = readdirSync(this.#directory(id)).find((name) => !OWN_FILES.has(name));
      if (foreign !== undefined) throw new Error(`it is none of this driver: there is ${foreign} in it`);
      await rm(this.#directory(id), { recursive: true, force: true });
    } else if (meta.version === META_VERSION) this.#adopt(id, meta);
    else throw new Error(`its notes are of version ${meta.version}, not ${META_VERSION}`);
  }

  async create(spec: ContainerSpec): Promise<void> {
    const { id } = spec;
    checkContainerId(id);
    signalNumber(spec.stopSignal);
    if (this.#containers.has(id) || this.#busy.has(id) || this.#left.has(id))
      throw new ShoalError('E_EXISTS', `There is a container ${id} already.`);
    if (spec.netns !== null)
      throw new ShoalError(
        'E_RUNTIME_FAILED',
        'The process driver has no network namespaces; nothing was created.',
      );
    if (spec.mounts.length > 0)
      this.#init.log('warn', 'the process driver ignores mounts', { id, mounts: spec.mounts.length });
    this.#busy.add(id);
    const directory = this.#directory(id);
    try {
      await rm(directory, { recursive: true, force: true });
      await mkdir(path.join(directory, 'logs'), { recursive: true, mode: 0o700 });
      await this.#init.flatten(spec.lowerDirs, this.#rootfs(id));
      const [program = '', ...rest] = spec.argv;
      const meta: Meta = {
        version: META_VERSION,
        labels: spec.labels,
        argv: [await this.#find(id, program, spec.env), ...rest],
        ...{ env: spec.env, workingDir: spec.workingDir, stopSignal: spec.stopSignal },
        logs_bytes_max: spec.logs_bytes_max,
        boot: this.#boot,
      };
      for (const stream of ['stdout', 'stderr'])
        await writeFile(path.join(directory, 'logs', stream), '', { mode: 0o600 });
      writeSmallFile(path.join(directory, 'meta.json'), JSON.stringify(meta));
      this.#add(id, meta);
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      if (error instanceof ShoalError) throw error;
      throw new ShoalError('E_RUNTIME_FAILED', `Cannot create ${id}: ${(error as Error).message}`, {
        cause: error,
      });
    } finally {
      this.#busy.delete(id);
    }
  }

  async start(id: ContainerId): Promise<void> {
    const container = this.#get(id);
    if (container.state !== 'created')
      throw new ShoalError('E_RUNTIME_FAILED', `Container ${id} is ${container.state}, not created.`);
    container.state = 'running';
    container.started_ms = Date.now();
    try {
      await this.#startShim(container);
    } catch (error) {
      if (container.latch.exit === null) container.state = 'created';
      container.started_ms = null;
      throw new ShoalError('E_RUNTIME_FAILED', `Cannot start ${id}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /** Resolves when the command has been named. After a failure it does not run, and never will. */
  async #startShim(container: Container): Promise<void> {
    const directory = this.#directory(container.id);
    const cwd = await this.#workingDirectory(container);
    writeFileSync(path.join(directory, 'start'), '', { mode: 0o600 });
    const child = spawn('/bin/sh', ['-c', SHIM, 'shoal-shim', directory, ...container.meta.argv], {
      ...{ cwd, env: this.#env(container), detached: true, stdio: 'ignore' },
    });
    let failure: string | null = null;
    child.on('error', (error) => {
      failure = error.message;
    });
    child.on('exit', () => {
      // Seen below only where the pid is not there either.
      failure = 'the disk did not take the name of its process';
      this.#look(container);
    });
    child.unref();
    const deadline = performance.now() + START_MS_MAX;
    for (;;) {
      const failed: string | null = failure;
      container.process = parseName(readSmallFile(path.join(directory, 'pid')));
      if (container.process !== null) return;
      if (failed !== null || (performance.now() > deadline && this.#withdrawStart(container.id))) {
        this.#withdrawStart(container.id);
        if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
          signalGroup(child.pid, 9);
        throw new Error(failed ?? 'the process did not appear in time');
      }
      await sleep(START_LOOK_MS);
    }
  }

  /** Whether no shell can become the command any more. */
  #withdrawStart(id: ContainerId): boolean {
    try {
      unlinkSync(path.join(this.#directory(id), 'start'));
      return true;
    } catch (error) {
      // One that has taken it will have its pid there in a moment, or ends. What we may not take it may not either.
      return (error as NodeJS.ErrnoException).code !== 'ENOENT';
    }
  }

  async stop(id: ContainerId, options: { grace_ms: number }): Promise<ExitStatus> {
    const container = this.#get(id);
    if (container.latch.exit !== null) return container.latch.exit;
    if (container.state === 'created') {
      this.#withdrawStart(id);
      try {
        writeSmallFile(path.join(this.#directory(id), 'exit'), '137');
        this.#look(container);
      } catch {
        // On a full disk it must go all the more, and nothing of it runs.
        this.#end(container, { code: 137, oom: false, at_ms: Date.now() });
      }
    } else {
      this.#signal(container, container.meta.stopSignal);
      const exit = await container.latch.waitFor(options.grace_ms);
      if (exit !== null) return exit;
      this.#signal(container, 'SIGKILL');
    }
    const exit = await container.latch.waitFor(KILL_MS_MAX);
    if (exit === null)
      throw new ShoalError('E_TIMEOUT', `Container ${id} does not end though it was killed.`);
    return exit;
  }

  async kill(id: ContainerId, signal: string): Promise<void> {
    signalNumber(signal);
    this.#signal(this.#getRunning(id), signal);
  }

  async wait(id: ContainerId, options: { signal?: AbortSignal } = {}): Promise<ExitStatus> {
    return this.#get(id).latch.wait(options.signal);
  }

  async exec(id: ContainerId, argv: readonly string[], io: ExecIo): Promise<ExecResult> {
    const container = this.#getRunning(id);
    const [program = '', ...rest] = argv;
    const found = await this.#find(id, program, container.meta.env);
    const cwd = await this.#workingDirectory(container);
    this.#getRunning(id);
    const code = await runAttached(
      [found, ...rest],
      {
        ...{ cwd, env: this.#env(container), detached: true },
        abort: (group) => signalGroup(group, 9),
        started: (group) => container.execs.add(group),
        ended: (group) => container.execs.delete(group),
      },
      io,
    );
    return { code };
  }

  logs(
    id: ContainerId,
    options: { follow: boolean; tail?: number; signal?: AbortSignal },
  ): AsyncIterable<LogLine> {
    const container = this.#get(id);
    return container.log.read({ ...options, ended: () => container.latch.exit !== null || this.#closed });
  }

  /** Of the processes in the session; CPU time of those that have ended is not counted. */
  async stats(id: ContainerId): Promise<ContainerStats> {
    const { process: leader } = this.#getRunning(id);
    const processes = leader ? processesOfSession(leader.pid) : [];
    return {
      cpu_ns: processes.reduce((sum, { cpu_ns }) => sum + cpu_ns, 0),
      memory_bytes: processes.reduce((sum, { pid }) => sum + residentBytes(pid), 0),
      pids: processes.length,
    };
  }

  left(): ContainerId[] {
    return [...this.#left];
  }

  async list(): Promise<ContainerInfo[]> {
    return [...this.#containers.values()].map((container) => ({
      id: container.id,
      labels: container.meta.labels,
      state: container.state,
      pid: container.state === 'running' ? (container.process?.pid ?? null) : null,
      exit: container.latch.exit,
      started_ms: container.started_ms,
    }));
  }

  async remove(id: ContainerId): Promise<void> {
    const container = this.#get(id);
    if (container.state === 'running')
      throw new ShoalError('E_RUNTIME_FAILED', `Container ${id} is running: stop it first.`);
    if (this.#busy.has(id)) throw new ShoalError('E_NOT_FOUND', `Container ${id} is being removed.`);
    this.#busy.add(id);
    try {
      if (container.state === 'created') await this.stop(id, { grace_ms: 0 });
      // Gone first: should this be cut short, the next daemon goes on with it.
      await rm(path.join(this.#directory(id), 'meta.json'), { force: true });
      await rm(this.#directory(id), { recursive: true, force: true, maxRetries: 5 });
      this.#containers.delete(id);
    } finally {
      this.#busy.delete(id);
    }
  }

  /** Stops watching; processes go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    if (this.#poll) clearInterval(this.#poll);
    if (this.#logCheck) clearInterval(this.#logCheck);
    for (const container of this.#containers.values()) container.latch.abandon();
  }

  #directory(id: ContainerId): string {
    return path.join(this.#init.directory, id);
  }

  #rootfs(id: ContainerId): string {
    return path.join(this.#directory(id), 'rootfs');
  }

  #get(id: ContainerId): Container {
    const container = this.#containers.get(id);
    if (!container) throw new ShoalError('E_NOT_FOUND', `There is no container ${id} here.`);
    return container;
  }

  #getRunning(id: ContainerId): Container {
    const container = this.#get(id);
    if (container.state !== 'running')
      throw new ShoalError('E_NOT_RUNNING', `Container ${id} is ${container.state}.`);
    return container;
  }

  #add(id: ContainerId, meta: Meta): Container {
    const container: Container = {
      ...{ id, meta, latch: new ExitLatch(), state: 'created', execs: new Set() },
      log: new PlainLog(path.join(this.#directory(id), 'logs'), meta.logs_bytes_max),
      ...{ process: null, started_ms: null, dead_ms: null },
    };
    this.#containers.set(id, container);
    return container;
  }

  #adopt(id: ContainerId, meta: Meta): void {
    const file = path.join(this.#directory(id), 'pid');
    const name = parseName(readSmallFileSurely(file));
    const container = this.#add(id, meta);
    container.process = name;
    if (name !== null) {
      container.state = 'running';
      container.started_ms = Math.round(statSync(file).mtimeMs);
    }
    this.#look(container);
  }

  #env(container: Container): Record<string, string> {
    const { env } = container.meta;
    const rootfs = this.#rootfs(container.id);
    const inside = imagePath(env).map((directory) => path.join(rootfs, directory));
    return { ...env, PATH: [...inside, hostPath()].join(':'), SHOAL_ROOTFS: rootfs };
  }

  async #workingDirectory(container: Container): Promise<string> {
    const rootfs = this.#rootfs(container.id);
    const found = await resolveInRoot(rootfs, container.meta.workingDir);
    return found !== null && statSync(found).isDirectory() ? found : rootfs;
  }

  /** Where the program is: in the image, else on the host. @throws E_COMMAND_NOT_FOUND */
  async #find(id: ContainerId, program: string, env: Readonly<Record<string, string>>): Promise<string> {
    const rootfs = this.#rootfs(id);
    const places = program.startsWith('/') ? [''] : imagePath(env);
    for (const place of program === '' ? [] : places) {
      const inner = path.join(place, program);
      if (!(await isExecutableInRoot(rootfs, inner))) continue;
      const real = await resolveInRoot(rootfs, inner);
      const plain = path.join(rootfs, inner);
      // By its own name where that leads to the same file: programs of many names look at it.
      return (await realpath(plain).catch(() => null)) === (await realpath(real!)) ? plain : real!;
    }
    const onHost = program === '' ? null : await onPath(program, hostPath());
    if (onHost === null)
      throw new ShoalError('E_COMMAND_NOT_FOUND', `"${program}" is neither in the image nor on this host.`);
    return onHost;
  }

  #signal(container: Container, signal: string): void {
    const number = signalNumber(signal);
    const name = container.process;
    if (name && isAlive(name.pid, name.startTime)) signalGroup(name.pid, number);
  }

  #look(container: Container): void {
    if (container.state === 'stopped') return;
    if (container.state === 'created' && !existsSync(path.join(this.#directory(container.id), 'exit')))
      return;
    const file = path.join(this.#directory(container.id), 'exit');
    const text = readSmallFile(file)?.trim();
    if (text && /^\d{1,3}$/.test(text)) {
      this.#end(container, { code: Number(text), oom: false, at_ms: Math.round(statSync(file).mtimeMs) });
      return;
    }
    const name = container.process;
    if (name === null) return;
    const lost = container.meta.boot !== this.#boot;
    if (!lost && isAlive(name.pid, name.startTime)) return;
    container.dead_ms ??= performance.now();
    if (lost || performance.now() - container.dead_ms > EXIT_NOTE_MS_MAX)
      this.#end(container, { code: null, oom: false, at_ms: Date.now() });
  }

  #end(container: Container, exit: ExitStatus): void {
    container.state = 'stopped';
    for (const group of container.execs) signalGroup(group, 9);
    container.latch.set(exit);
  }
}

function hostPath(): string {
  return process.env.PATH ?? DEFAULT_PATH;
}

function imagePath(env: Readonly<Record<string, string>>): string[] {
  return (env.PATH ?? DEFAULT_PATH).split(':').filter((directory) => directory.startsWith('/'));
}

async function onPath(program: string, search: string): Promise<string | null> {
  const files = program.startsWith('/')
    ? [program]
    : search.split(':').map((place) => path.join(place, program));
  if (!program.startsWith('/') && program.includes('/')) return null;
  for (const file of files) if (path.isAbsolute(file) && (await isExecutableInRoot('/', file))) return file;
  return null;
}

/** From the line that the inner shell wrote. */
function parseName(text: string | null): { pid: number; startTime: string } | null {
  if (text === null) return null;
  const { pid, startTime } = parseProcessStat(text);
  return pid > 0 ? { pid, startTime } : null;
}

function signalGroup(group: number, number: number): void {
  try {
    process.kill(-group, number);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
