/** A daemon as a user starts one: bin/shoal in a process of its own, on loopback, with the process driver. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import { ApiClient } from '../../../daemon/api/client.ts';
import { ERRORS, type ErrorCode } from '../../../protocols/base/errors.ts';
import { type CliOptions, type CliResult, runCli } from '../cli/run-cli.ts';
import { eventually } from '../node/eventually.ts';

/** Of a whole file: daemons are processes, and a loaded machine starts them slowly. */
export const TIMEOUT_MS = 120_000;
const BIN = path.resolve(import.meta.dirname, '../../../bin/shoal');
/** Sources are stripped of types once, and not by every process that a test starts. */
const cache = mkdtempSync(path.join(tmpdir(), 'shoal-test-cache-'));
process.on('exit', () => rmSync(cache, { recursive: true, force: true }));

export interface DaemonInit {
  /** Parent of its data directory and socket. */
  readonly directory: string;
  readonly name: string;
  /** After the usual ones, and so before them in effect. */
  readonly args?: readonly string[];
  /** Where its log goes; here when absent. */
  readonly stderr?: number;
}

export class RealDaemon {
  readonly data: string;
  readonly socket: string;
  readonly client: ApiClient;
  readonly #child: ChildProcess;
  #stderr = '';

  constructor(t: Test, { directory, name, args = [], stderr }: DaemonInit) {
    this.data = path.join(directory, name);
    this.socket = path.join(directory, `${name}.sock`);
    this.client = new ApiClient(this.socket);
    const usual = [
      ...['--data', this.data, '--socket', this.socket, '--name', name, '--driver', 'process', '--no-mdns'],
      ...['--listen', '127.0.0.1:0', '--door', '127.0.0.1:0', '--upstream', 'none', '--log-level', 'warn'],
      ...['--capacity-cpu', '2', '--capacity-memory', '1Gi'],
    ];
    this.#child = spawn(BIN, ['daemon', ...usual, ...args], {
      env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent', NODE_COMPILE_CACHE: cache },
      stdio: ['ignore', 'ignore', stderr ?? 'pipe'],
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#stderr += chunk;
    });
    t.teardown(() => this.stop());
  }

  /** Started, and its API answers. */
  static async start(t: Test, init: DaemonInit): Promise<RealDaemon> {
    const daemon = new RealDaemon(t, init);
    await eventually(`${init.name} answers`, async () => {
      if (daemon.#child.exitCode !== null) throw new Error(`${init.name} ended: ${daemon.#stderr}`);
      return await daemon.client.version().then(
        () => true,
        () => false,
      );
    });
    return daemon;
  }

  /** One that is expected to end by itself. */
  static async fail(t: Test, init: DaemonInit): Promise<CliResult> {
    const daemon = new RealDaemon(t, init);
    const [code] = (await once(daemon.#child, 'close', { signal: AbortSignal.timeout(30_000) })) as [number];
    const lines = daemon.#stderr.split('\n').filter((line) => !line.startsWith('{'));
    return { code, stdout: '', stderr: lines.join('\n') };
  }

  cli(args: readonly string[], options?: CliOptions): Promise<CliResult> {
    return runCli(this.socket, args, options);
  }

  /** @returns what it ended with; null: by a signal. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return this.#child.exitCode;
    const ended = once(this.#child, 'exit');
    this.#child.kill(signal);
    const last = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(last);
    return this.#child.exitCode;
  }
}

/** One line on stderr with the code, what happened and what to do, nothing on stdout, and the documented exit code. */
export function refusedWith(t: Test, result: CliResult, code: ErrorCode, what = code as string): void {
  const { exit, next } = ERRORS[code];
  t.equal(result.code, exit, `${what}: exit code`);
  t.equal(result.stdout, '', `${what}: nothing on stdout`);
  t.match(result.stderr, new RegExp(`^shoal: ${code}: [^\n]+\n$`), `${what}: one line`);
  t.ok(result.stderr.endsWith(`. ${next}\n`), `${what}: what to do next`);
}
