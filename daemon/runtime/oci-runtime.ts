/**
 * The `oci` driver: containers by runc, crun or another OCI runtime, each under its own conmon, which outlives the
 * daemon. Files per container, in `containers/<id>`: config.json (the bundle), upper, work, rootfs (overlay), meta.json
 * (written last: a directory without it is a creation that was cut short), started, exit.json, logs/. Beside them the
 * file `runtime`: the name of the one in use.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, type FSWatcher, readdirSync, rmSync, statSync, watch } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import {
  cgroupOomKills,
  cgroupStats,
  limitsSwap,
  readCgroupMounts,
  removeCgroup,
  removeCgroupSoon,
} from './cgroup.ts';
import { runCommand } from './command.ts';
import { ociConfig, PIDS_MAX_DEFAULT } from './config.ts';
import { createUnderConmon } from './conmon.ts';
import { checkContainerId, checkInstance, isContainerId } from './container-id.ts';
import { type ExecIo, runAttached } from './exec.ts';
import { ExitLatch } from './exit-latch.ts';
import { k8sLogPath, keepOlderLog, readK8sLog } from './k8s-log.ts';
import { mountOverlay, unmountOverlay } from './overlay.ts';
import { nofileLimit, type OciTools, probeOci } from './probe.ts';
import { bootId, isAlive, readProcess } from './proc.ts';
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
import {
  parseSmallJson,
  readSmallFile,
  readSmallFileSurely,
  readSmallJson,
  writeSmallFile,
} from './small-file.ts';
import { takeUpEach } from './take-up.ts';
import { lookUpUser } from './user.ts';

/** How often ends are looked for besides the notices of the kernel. */
const POLL_MS = 1000;
const KILL_MS_MAX = 30_000;
const MONITOR_MS_MAX = 2000;
/** Below this a log would begin anew at nearly every line. */
const LOG_BYTES_MIN = 4096;
const META_VERSION = 1;
const CONTAINERS = 'containers';
/** The file that names the runtime in use: another one would not know the containers of this one. */
const RUNTIME_NOTE = 'runtime';

export interface OciRuntimeInit extends RuntimeInit {
  /** Name or path; default: crun where a trial works, else runc. */
  readonly runtime?: string;
  /** Processes and threads of one container; default 4096. */
  readonly pids_max?: number;
}

interface ProcessName {
  readonly pid: number;
  readonly startTime: string;
}

interface Meta {
  readonly version: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly stopSignal: string;
  readonly boot: string;
  readonly init: ProcessName;
  readonly monitor: ProcessName | null;
}

interface Container {
  readonly id: ContainerId;
  readonly meta: Meta;
  readonly latch: ExitLatch;
  state: ContainerState;
  started_ms: number | null;
  /** By us; the file that says so may not have fitted on the disk. */
  isKilled: boolean;
  /** Whether exit.json says the end. */
  exitNote: 'none' | 'refused' | 'there';
}

/** @throws E_RUNTIME_MISSING with the reason of each candidate */
export async function createOciRuntime(init: OciRuntimeInit): Promise<Runtime> {
  checkInstance(init.instance);
  const tools = await probeOci(init.runtime);
  if ('reason' in tools)
    throw new ShoalError('E_RUNTIME_MISSING', `No OCI runtime works here: ${tools.reason}.`);
  const runtime = new OciRuntime(init, tools, await nofileLimit());
  await runtime.open();
  return runtime;
}

/**
 * What is left under the directory of this driver. @returns undefined: no container; else the name of the runtime that
 * began them, where that was noted.
 */
export function leftOfOci(directory: string): { readonly runtime: string | undefined } | undefined {
  const containers = path.join(directory, CONTAINERS);
  if (!existsSync(containers) || !readdirSync(containers).some(isContainerId)) return undefined;
  return { runtime: readSmallFile(path.join(directory, RUNTIME_NOTE)) ?? undefined };
}

class OciRuntime implements Runtime {
  readonly driver = 'oci';
  readonly isolatesNetwork = true;
  readonly #init: OciRuntimeInit;
  readonly #tools: OciTools;
  readonly #nofile_max: number;
  readonly #root: string;
  readonly #exits: string;
  readonly #cgroups = readCgroupMounts();
  /** Read once: descriptors may have run out later. */
  readonly #boot = bootId();
  readonly #containers = new Map<ContainerId, Container>();
  /** Ids that are being created or removed. */
  readonly #busy = new Set<ContainerId>();
  /** Ids of earlier daemons that could be neither taken up nor away: nothing of theirs is touched. */
  readonly #left = new Set<ContainerId>();
  #watcher: FSWatcher | null = null;
  #poll: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(init: OciRuntimeInit, tools: OciTools, nofile_max: number) {
    this.#init = { ...init, directory: path.resolve(init.directory) };
    this.#tools = tools;
    this.#nofile_max = nofile_max;
    this.#root = path.join(this.#init.directory, 'state');
    this.#exits = path.join(this.#init.directory, 'exits');
  }

  /** Finds again what an earlier daemon has left, and begins to watch. */
  async open(): Promise<void> {
    for (const directory of [this.#containersDirectory, this.#root, this.#exits])
      await mkdir(directory, { recursive: true, mode: 0o700 });
    this.#noteRuntime();
    this.#watcher = watch(this.#exits, (_event, name) => {
      const container = name === null ? undefined : this.#containers.get(name);
      if (container) this.#observe(container);
    });
    this.#watcher.on('error', (error) =>
      this.#init.log('warn', 'cannot watch exits', { error: error.message }),
    );
    const names = readdirSync(this.#containersDirectory);
    await takeUpEach(names, (id) => this.#find(id), this.#left, this.#init.log);
    this.#poll = setInterval(() => {
      for (const container of this.#containers.values()) this.#look(container);
    }, POLL_MS);
  }

  #noteRuntime(): void {
    const file = path.join(this.#init.directory, RUNTIME_NOTE);
    if (readSmallFile(file) === this.#tools.name) return;
    try {
      writeSmallFile(file, this.#tools.name);
    } catch (error) {
      this.#init.log('warn', 'cannot note which OCI runtime is used', { error: (error as Error).message });
    }
  }

  /** @throws what keeps it from being taken up or away */
  async #find(id: ContainerId): Promise<void> {
    const meta = readSmallJson<Meta>(path.join(this.#directory(id), 'meta.json'));
    if (meta === null) {
      this.#init.log('info', 'taking away a container whose creation was cut short', { id });
      await this.#clear(id, true);
    } else if (meta.version === META_VERSION) await this.#adopt(id, meta);
    else throw new Error(`its notes are of version ${meta.version}, not ${META_VERSION}`);
  }

  async create(spec: ContainerSpec): Promise<void> {
    const { id } = spec;
    checkContainerId(id);
    signalNumber(spec.stopSignal);
    if (this.#containers.has(id) || this.#busy.has(id) || this.#left.has(id))
      throw new ShoalError('E_EXISTS', `There is a container ${id} already.`);
    this.#busy.add(id);
    try {
      const meta = await this.#build(spec);
      writeSmallFile(path.join(this.#directory(id), 'meta.json'), JSON.stringify(meta));
      this.#add(id, meta, null);
    } catch (error) {
      await this.#clear(id, true).catch((failure: Error) =>
        this.#init.log('warn', 'cannot clear up after a failed creation', { id, error: failure.message }),
      );
      throw commandError(error);
    } finally {
      this.#busy.delete(id);
      this.#removeParentCgroup();
    }
  }

  async start(id: ContainerId): Promise<void> {
    const container = this.#get(id);
    if (container.state !== 'created')
      throw new ShoalError('E_RUNTIME_FAILED', `Container ${id} is ${container.state}, not created.`);
    const started_ms = Date.now();
    const note = path.join(this.#directory(id), 'started');
    // Noted before, so that after a crash in between the runtime is asked.
    writeSmallFile(note, String(started_ms));
    container.state = 'running';
    container.started_ms = started_ms;
    const result = await this.#run('start', id);
    if (result.code !== 0) {
      if (container.latch.exit === null) container.state = 'created';
      container.started_ms = null;
      rmSync(note, { force: true });
      throw commandError(new ShoalError('E_RUNTIME_FAILED', `Cannot start ${id}: ${result.stderr.trim()}`));
    }
  }

  async stop(id: ContainerId, options: { grace_ms: number }): Promise<ExitStatus> {
    const container = this.#get(id);
    if (container.latch.exit !== null) return container.latch.exit;
    if (container.state === 'running') {
      this.#signal(container, container.meta.stopSignal);
      const exit = await container.latch.waitFor(options.grace_ms);
      if (exit !== null) return exit;
    }
    this.#signal(container, 'SIGKILL');
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
    this.#getRunning(id);
    try {
      return await this.#exec(id, argv, io);
    } catch (error) {
      if (error instanceof ShoalError) throw error;
      // Of the disk, or of this program's own processes and descriptors.
      throw new ShoalError('E_RUNTIME_FAILED', `Cannot run a command in ${id}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async #exec(id: ContainerId, argv: readonly string[], io: ExecIo): Promise<ExecResult> {
    const directory = this.#directory(id);
    const config = readSmallJson<{ process: object }>(path.join(directory, 'config.json'));
    const base = path.join(directory, `exec-${randomUUID()}`);
    const [processFile, pidFile, logFile] = [`${base}.json`, `${base}.pid`, `${base}.log`];
    try {
      // In a file, because arguments and environment may hold secrets and every user can read argv.
      await writeFile(processFile, JSON.stringify({ ...config?.process, args: argv }), { mode: 0o600 });
      const command = [
        this.#tools.path,
        '--root',
        this.#root,
        '--log',
        logFile,
        '--log-format',
        'json',
        'exec',
      ];
      const code = await runAttached(
        [...command, '--process', processFile, '--pid-file', pidFile, id],
        {
          env: process.env,
          detached: false,
          abort: (pid) => {
            // The runtime's own end would leave the process inside behind.
            killQuietly(Number(readSmallFile(pidFile) ?? 0));
            killQuietly(pid);
          },
        },
        io,
      );
      // The code alone does not tell a failure of the runtime from one of the command.
      const failure = code === 0 ? null : runtimeFailure(readSmallFile(logFile));
      if (failure === null) return { code };
      this.#look(this.#get(id));
      this.#getRunning(id);
      throw commandError(new ShoalError('E_RUNTIME_FAILED', `Cannot run the command in ${id}: ${failure}`));
    } finally {
      for (const file of [processFile, pidFile, logFile]) await rm(file, { force: true });
    }
  }

  logs(
    id: ContainerId,
    options: { follow: boolean; tail?: number; signal?: AbortSignal },
  ): AsyncIterable<LogLine> {
    const container = this.#get(id);
    const ended = (): boolean => container.latch.exit !== null || this.#closed;
    return readK8sLog(path.join(this.#directory(id), 'logs'), { ...options, ended });
  }

  async stats(id: ContainerId): Promise<ContainerStats> {
    this.#getRunning(id);
    const stats = cgroupStats(this.#cgroups, this.#cgroup(id));
    if (stats === null) throw new ShoalError('E_NOT_RUNNING', `Container ${id} has no cgroup any more.`);
    return stats;
  }

  left(): ContainerId[] {
    return [...this.#left];
  }

  async list(): Promise<ContainerInfo[]> {
    return [...this.#containers.values()].map((container) => ({
      id: container.id,
      labels: container.meta.labels,
      state: container.state,
      pid: container.state === 'stopped' ? null : container.meta.init.pid,
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
      await this.#clear(id, container.latch.exit?.code === null);
      this.#containers.delete(id);
    } finally {
      this.#busy.delete(id);
      this.#removeParentCgroup();
    }
  }

  /** Stops watching; containers go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#watcher?.close();
    if (this.#poll) clearInterval(this.#poll);
    for (const container of this.#containers.values()) container.latch.abandon();
  }

  get #containersDirectory(): string {
    return path.join(this.#init.directory, CONTAINERS);
  }

  #directory(id: ContainerId): string {
    return path.join(this.#containersDirectory, id);
  }

  #cgroup(id: ContainerId): string {
    return `/shoal-${this.#init.instance}/${id}`;
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

  #run(command: string, ...argv: string[]): ReturnType<typeof runCommand> {
    return runCommand([this.#tools.path, '--root', this.#root, command, ...argv]);
  }

  async #build(spec: ContainerSpec): Promise<Meta> {
    const { id } = spec;
    const directory = this.#directory(id);
    if (existsSync(directory)) await this.#clear(id, true);
    await mkdir(directory, { mode: 0o700 });
    const logs = path.join(directory, 'logs');
    await mkdir(logs);
    const rootfs = await mountOverlay(directory, spec.lowerDirs);
    const config = ociConfig(spec, {
      rootfs,
      user: await lookUpUser(rootfs, spec.user),
      cgroup: this.#cgroup(id),
      limitsSwap: limitsSwap(this.#cgroups),
      pids_max: this.#init.pids_max ?? PIDS_MAX_DEFAULT,
      nofile_max: this.#nofile_max,
      arch: process.arch,
    });
    await writeFile(path.join(directory, 'config.json'), JSON.stringify(config), { mode: 0o600 });
    const conmonPidFile = path.join(directory, 'conmon.pid');
    const pid = await createUnderConmon({
      conmon: this.#tools.conmon,
      runtime: this.#tools.path,
      id,
      bundle: directory,
      root: this.#root,
      pidFile: path.join(directory, 'init.pid'),
      conmonPidFile,
      exitDir: this.#exits,
      persistDir: directory,
      log: k8sLogPath(logs),
      // Two generations are kept.
      log_bytes_max: Math.max(LOG_BYTES_MIN, Math.floor(spec.logs_bytes_max / 2)),
    });
    const init = processName(pid);
    if (init === null)
      throw new ShoalError('E_RUNTIME_FAILED', `Container ${id} ended while it was created.`);
    return {
      version: META_VERSION,
      labels: spec.labels,
      stopSignal: spec.stopSignal,
      boot: this.#boot,
      init,
      monitor: processName(Number(await readFile(conmonPidFile, 'utf8').catch(() => '0'))),
    };
  }

  #add(id: ContainerId, meta: Meta, started_ms: number | null): Container {
    const container: Container = {
      ...{ id, meta, latch: new ExitLatch(), state: started_ms === null ? 'created' : 'running', started_ms },
      ...{ isKilled: false, exitNote: 'none' },
    };
    this.#containers.set(id, container);
    return container;
  }

  async #adopt(id: ContainerId, meta: Meta): Promise<void> {
    const directory = this.#directory(id);
    const started = readSmallFileSurely(path.join(directory, 'started'));
    const exit = readSmallJson<ExitStatus>(path.join(directory, 'exit.json'));
    const container = this.#add(id, meta, started === null ? null : Number(started));
    if (exit) {
      container.exitNote = 'there';
      this.#end(container, exit);
    } else this.#look(container);
    if (container.latch.exit !== null || started === null) return;
    const state = await this.#run('state', id);
    if (state.code === 0 && /"status":\s*"created"/.test(state.stdout)) {
      container.state = 'created';
      container.started_ms = null;
    }
  }

  #signal(container: Container, signal: string): void {
    const number = signalNumber(signal);
    // From now on an end by SIGKILL is ours and not the kernel's.
    if (number === 9) this.#noteKill(container);
    const { pid, startTime } = container.meta.init;
    if (!isAlive(pid, startTime)) return;
    try {
      process.kill(pid, number);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** Where the disk does not take it, only the next daemon may take the end for want of memory. */
  #noteKill(container: Container): void {
    container.isKilled = true;
    try {
      writeSmallFile(path.join(this.#directory(container.id), 'killed'), '');
    } catch (error) {
      this.#init.log('warn', 'cannot note that a container is killed', {
        ...{ id: container.id, error: (error as Error).message },
      });
    }
  }

  /** Takes note of the end if the monitor has written it down. */
  #observe(container: Container): void {
    if (container.latch.exit !== null) return;
    const file = path.join(this.#exits, container.id);
    const text = readSmallFile(file)?.trim();
    if (!text || !/^-?\d+$/.test(text)) return;
    const code = Number(text) & 0xff;
    const directory = this.#directory(container.id);
    const oom =
      code === 137 &&
      !container.isKilled &&
      !existsSync(path.join(directory, 'killed')) &&
      (existsSync(path.join(directory, 'oom')) ||
        cgroupOomKills(this.#cgroups, this.#cgroup(container.id)) > 0);
    this.#end(container, { code, oom, at_ms: Math.round(statSync(file).mtimeMs) });
  }

  /** As `observe`, and notices also an end that nobody could write down. */
  #look(container: Container): void {
    if (container.latch.exit !== null) {
      this.#noteExit(container, container.latch.exit);
      return;
    }
    keepOlderLog(path.join(this.#directory(container.id), 'logs'));
    const { boot, init, monitor } = container.meta;
    const lost = boot !== this.#boot || (!isNamedAlive(init) && !isNamedAlive(monitor));
    // In this order: the monitor may have written between the two.
    this.#observe(container);
    if (lost) this.#end(container, { code: null, oom: false, at_ms: Date.now() });
  }

  #end(container: Container, exit: ExitStatus): void {
    if (container.latch.exit !== null) return;
    container.state = 'stopped';
    container.latch.set(exit);
    this.#noteExit(container, exit);
  }

  /** On a full or read-only disk the end is known all the same, and each later look tries again. */
  #noteExit(container: Container, exit: ExitStatus): void {
    const { id } = container;
    if (container.exitNote === 'there' || this.#busy.has(id)) return;
    try {
      writeSmallFile(path.join(this.#directory(id), 'exit.json'), JSON.stringify(exit));
      container.exitNote = 'there';
    } catch (error) {
      if (container.exitNote === 'none')
        this.#init.log('warn', 'cannot note the end of a container yet', {
          ...{ id, error: (error as Error).message },
        });
      container.exitNote = 'refused';
    }
  }

  /** @param force Also when the runtime does not know it or it still runs. */
  async #clear(id: ContainerId, force: boolean): Promise<void> {
    const directory = this.#directory(id);
    const meta = parseSmallJson<Meta>(readSmallFile(path.join(directory, 'meta.json')));
    // Gone first: should this be cut short, the next daemon goes on with it.
    await rm(path.join(directory, 'meta.json'), { force: true });
    const monitor =
      meta?.monitor ?? processName(Number(readSmallFile(path.join(directory, 'conmon.pid')) ?? 0));
    // A creation may still be going on under a monitor that the last daemon started.
    if (!meta)
      await this.#until(() => existsSync(path.join(directory, 'init.pid')) || !isNamedAlive(monitor));
    const deleted = !force && (await this.#run('delete', id)).code === 0;
    if (!deleted) await this.#run('delete', '--force', id);
    // It writes into the directory to its end.
    await this.#until(() => !isNamedAlive(monitor));
    await unmountOverlay(directory);
    await rm(directory, { recursive: true, force: true });
    await rm(path.join(this.#exits, id), { force: true });
    if (!(await removeCgroupSoon(this.#cgroups, this.#cgroup(id))))
      this.#init.log('warn', 'a cgroup could not be removed', { cgroup: this.#cgroup(id) });
  }

  async #until(condition: () => boolean): Promise<void> {
    const deadline = performance.now() + MONITOR_MS_MAX;
    while (!condition() && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** The cgroup that all share; not while one is being created in it. */
  #removeParentCgroup(): void {
    if (this.#busy.size === 0 && this.#containers.size === 0 && this.#left.size === 0)
      removeCgroup(this.#cgroups, `/shoal-${this.#init.instance}`);
  }
}

function processName(pid: number): ProcessName | null {
  const stat = pid > 0 ? readProcess(pid) : null;
  return stat && { pid, startTime: stat.startTime };
}

function isNamedAlive(name: ProcessName | null): boolean {
  return name !== null && isAlive(name.pid, name.startTime);
}

function killQuietly(pid: number): void {
  try {
    if (pid > 0) process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** The last error in the runtime's own log (a JSON object per line), or null. */
function runtimeFailure(log: string | null): string | null {
  let failure: string | null = null;
  for (const line of log?.split('\n') ?? [])
    try {
      const entry = JSON.parse(line) as { level?: string; msg?: string };
      if (entry.level === 'error') failure = entry.msg ?? 'no reason given';
    } catch {
      // Not an entry.
    }
  return failure;
}

/** Tells a command that the image has not from other failures of the runtime, by its words. */
function commandError(error: unknown): unknown {
  if (!isShoalError(error, 'E_RUNTIME_FAILED')) return error;
  const missing =
    /executable file .*not found|exec: "[^"]*": (stat|permission denied|is a directory|no such)|exec .*: no such file|exec format error/i;
  return missing.test(error.message)
    ? new ShoalError('E_COMMAND_NOT_FOUND', error.message, { cause: error })
    : error;
}
