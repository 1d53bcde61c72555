/**
 * The demo's hosts with a daemon on each: started, asked by the real command line, killed, and taken away whole.
 * Where they are is a Place; what is done with them is story.ts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiClient } from '../../daemon/api/client.ts';
import { runCommand } from '../../daemon/network/run-command.ts';
import { Client } from './client.ts';
import type { Place } from './place.ts';
import { killAll, processTrees } from './processes.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
export const SHOAL = path.join(ROOT, 'bin', 'shoal');

const DAEMON_START_MS_MAX = 30_000;
const COMMAND_MS_MAX = 120_000;
const STOP_MS_MAX = 8000;
const KILL_MS_MAX = 2000;
const POLL_MS = 50;

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Host {
  readonly number: number;
  readonly name: string;
  readonly directory: string;
  readonly socket: string;
  readonly log: string;
  readonly api: ApiClient;
  readonly client: Client;
  daemon: ChildProcess | undefined;
  /** Peer id; known once its daemon runs. */
  node = '';
  alive = true;

  constructor(number: number, directory: string, place: Place) {
    this.number = number;
    this.name = `host${number}`;
    this.directory = path.join(directory, this.name);
    this.socket = path.join(this.directory, 'shoal.sock');
    this.log = path.join(directory, 'logs', `${this.name}.log`);
    this.api = new ApiClient(this.socket);
    const { address, port } = place.dns(number);
    this.client = new Client((argv, options) => place.spawn(number, argv, options), `${address}:${port}`);
  }
}

export class DemoHosts implements AsyncDisposable {
  readonly place: Place;
  /** Everything that the hosts keep on disk, their temporary files too. */
  readonly directory: string;
  readonly all: readonly Host[];
  readonly #signal: AbortSignal;
  #ended: Promise<void> | undefined;

  /** @param directory exists, and is the hosts' own. @param signal ends every command and every wait. */
  constructor(place: Place, directory: string, hosts_count: number, signal: AbortSignal) {
    this.place = place;
    this.directory = directory;
    this.#signal = signal;
    mkdirSync(path.join(directory, 'logs'), { recursive: true });
    this.all = Array.from({ length: hosts_count }, (_, at) => new Host(at + 1, directory, place));
  }

  get alive(): readonly Host[] {
    return this.all.filter((host) => host.alive);
  }

  host(number: number): Host {
    const found = this.all[number - 1];
    if (!found) throw new RangeError(`no host ${number}`);
    return found;
  }

  /** Starts a daemon on each host, and waits until all of them answer. */
  async start(): Promise<void> {
    for (const host of this.all) this.#startDaemon(host);
    for (const host of this.all) {
      const status = await this.until(`the daemon of ${host.name} answers`, DAEMON_START_MS_MAX, async () => {
        if (host.daemon?.exitCode !== null) {
          const said = readFileSync(host.log, 'utf8').trim().split('\n').slice(-3).join('\n');
          throw new Error(`the daemon of ${host.name} has ended:\n${said}`);
        }
        return await host.api.status().catch(() => undefined);
      });
      host.node = status.node;
    }
  }

  /**
   * `shoal` as a user of that host. @returns its stdout. @throws Error with what it said when it fails.
   * @param options.live shows on this terminal what it says, as it says it.
   */
  async shoal(host: Host, argv: readonly string[], options: { input?: string; live?: boolean } = {}) {
    const result = await this.run(host, [SHOAL, ...argv], options);
    if (result.code !== 0) {
      throw new Error(
        `shoal ${argv.join(' ')} on ${host.name} ended with ${result.code}\n${result.stderr.trim()}`,
      );
    }
    return result.stdout;
  }

  /** Runs a program on a host to its end. */
  run(
    host: Host,
    argv: readonly string[],
    { input = '', live = false }: { input?: string; live?: boolean } = {},
  ): Promise<CommandResult> {
    return new Promise((resolve, reject) => {
      const child = this.place.spawn(host.number, argv, {
        stdio: ['pipe', live ? 'inherit' : 'pipe', live ? 'inherit' : 'pipe'],
        env: { ...process.env, SHOAL_SOCKET: host.socket, TMPDIR: host.directory },
        signal: AbortSignal.any([this.#signal, AbortSignal.timeout(COMMAND_MS_MAX)]),
        killSignal: 'SIGKILL',
      });
      let stdout = '';
      let stderr = '';
      child.stdout?.setEncoding('utf8').on('data', (text) => {
        stdout += text;
      });
      child.stderr?.setEncoding('utf8').on('data', (text) => {
        stderr += text;
      });
      child.once('error', reject);
      child.once('close', (code) => resolve({ code, stdout, stderr }));
      child.stdin?.on('error', () => {});
      child.stdin?.end(input);
    });
  }

  /** Asks every 50 ms until there is an answer other than undefined and false. @throws Error when it took too long. */
  async until<T>(what: string, ms_max: number, ask: () => Promise<T | undefined | false>): Promise<T> {
    const start = performance.now();
    for (;;) {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      if (performance.now() - start > ms_max) throw new Error(`not so after ${ms_max / 1000} s: ${what}`);
      await this.pause(POLL_MS);
    }
  }

  async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#signal });
  }

  /** kill -9 of everything on a host, as when it dies. @returns how many processes there were. */
  kill(host: Host): number {
    host.alive = false;
    const pids = this.#processes(host);
    killAll(pids);
    // What was just being started when the others were looked for, and what the kernel has not ended yet.
    const start = performance.now();
    while (performance.now() - start < KILL_MS_MAX) {
      const more = this.#processes(host);
      if (more.length === 0) break;
      killAll(more);
    }
    return pids.length;
  }

  /** What the living hosts still have of containers: nothing, once all workloads are removed. */
  containers(): string[] {
    const nodes = this.alive.map((host) => host.node);
    return [
      ...this.#mounts().filter((target) =>
        this.alive.some((host) => target.startsWith(`${host.directory}/`)),
      ),
      ...this.place.remains(nodes, false),
    ];
  }

  /** What is still there of the hosts, apart from the logs: to be asked after the end. */
  remains(): string[] {
    const nodes = this.all.map((host) => host.node).filter(Boolean);
    return [
      ...this.all.flatMap((host) => this.#processes(host)).map((pid) => `process ${pid}`),
      ...this.#mounts().map((target) => `mount ${target}`),
      ...this.place.remains(nodes, true),
      ...this.all.filter((host) => existsSync(host.directory)).map((host) => `directory ${host.directory}`),
    ];
  }

  /** What the hosts know of themselves, for whoever looks for a fault. Never fails. */
  async writeStates(): Promise<void> {
    for (const host of this.alive) {
      const out = openSync(path.join(this.directory, 'logs', `${host.name}.state`), 'w');
      for (const argv of [['status'], ['node', 'ls'], ['ps', '-a'], ['image', 'ls']]) {
        const child = spawn(SHOAL, [...argv, '--socket', host.socket], {
          stdio: ['ignore', out, out],
          timeout: 5000,
        });
        await new Promise((resolve) => child.once('close', resolve).once('error', resolve));
      }
      closeSync(out);
    }
  }

  /** Ends everything and takes it away, but the logs. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  #startDaemon(host: Host): void {
    mkdirSync(host.directory, { mode: 0o700 });
    const log = openSync(host.log, 'a', 0o600);
    const flags = ['--name', host.name, '--data', path.join(host.directory, 'data'), '--socket', host.socket];
    const argv = [SHOAL, 'daemon', ...flags, ...this.place.daemonFlags(host.number), '--upstream', 'none'];
    host.daemon = this.place.spawn(host.number, argv, {
      stdio: ['ignore', log, log],
      // A session of its own: the terminal's signals are for the demo, which then ends the daemons in order.
      detached: true,
      env: { ...process.env, TMPDIR: host.directory },
    });
    host.daemon.once('error', () => {});
    closeSync(log);
  }

  #processes(host: Host): number[] {
    const mark = `${host.directory}/`;
    return processTrees((pid, line) => line.includes(mark) || this.place.holds(host.number, host.node, pid));
  }

  async #end(): Promise<void> {
    await Promise.all(this.all.map((host) => host.client.close()));
    const daemons = this.alive.map((host) => host.daemon).filter((daemon) => daemon !== undefined);
    const running = daemons.filter((daemon) => daemon.exitCode === null && daemon.signalCode === null);
    const ended = running.map((daemon) => new Promise((resolve) => daemon.once('close', resolve)));
    for (const daemon of running) daemon.kill('SIGTERM');
    await Promise.race([Promise.all(ended), sleep(STOP_MS_MAX, undefined, { ref: false })]);
    for (const host of this.all) this.kill(host);
    const nodes = this.all.map((host) => host.node).filter(Boolean);
    await this.#unmount();
    await this.place.sweep(nodes);
    await this.place[Symbol.asyncDispose]();
    for (const host of this.all) rmSync(host.directory, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Mounts that a killed host has left, the last one first. */
  async #unmount(): Promise<void> {
    for (const target of this.#mounts().reverse()) await runCommand(['umount', target]);
  }

  #mounts(): string[] {
    return readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '')
      .filter((target) => target.startsWith(`${this.directory}/`));
  }
}
