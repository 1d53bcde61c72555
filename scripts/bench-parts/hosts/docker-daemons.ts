/**
 * dockerd and containerd, as Debian has them, at rest: what a machine runs for containers without a cluster. They keep
 * everything in a directory of their own and touch neither the machine's networks nor a Docker that runs there.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processTrees } from '../../demo-parts/processes.ts';
import { debianPrograms, type Programs } from './debian-program.ts';

const READY_MS_MAX = 30_000;
const STOP_MS_MAX = 10_000;
const POLL_MS = 50;
const PACKAGES = ['docker.io', 'containerd', 'libdevmapper1.02.1'];

/** @throws Error when they are not installed and cannot be fetched. */
export function dockerPrograms(): Programs {
  return debianPrograms(['containerd', 'dockerd'], PACKAGES);
}

export class DockerDaemons implements AsyncDisposable {
  readonly #directory = mkdtempSync(path.join(tmpdir(), 'shoal-bench-docker-'));
  readonly #programs: Programs = dockerPrograms();
  readonly #children: ChildProcess[] = [];

  /** Resolves when both answer. @throws Error with what they said; nothing is left then. */
  static async start(signal: AbortSignal): Promise<DockerDaemons> {
    const daemons = new DockerDaemons();
    try {
      await daemons.#start(signal);
      return daemons;
    } catch (error) {
      await daemons[Symbol.asyncDispose]();
      throw error;
    }
  }

  processes(): readonly number[] {
    const roots = new Set(this.#children.map(({ pid }) => pid));
    return processTrees((pid) => roots.has(pid));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#killAll);
    // dockerd first: it ends in order only while containerd answers.
    for (const child of this.#children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await Promise.race([ended, sleep(STOP_MS_MAX, undefined, { ref: false })]);
    }
    this.#killAll();
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 5 });
  }

  async #start(signal: AbortSignal): Promise<void> {
    process.on('exit', this.#killAll);
    const [containerd, dockerd] = this.#programs.paths as [string, string];
    const at = (name: string) => path.join(this.#directory, name);
    const own = ['--root', at('containerd-root'), '--state', at('containerd-state')];
    await this.#run(containerd, [...own, '--address', at('containerd.sock')], at('containerd.sock'), signal);
    const dockerSocket = at('docker.sock');
    // Of its own and empty: that of the machine is for another Docker.
    writeFileSync(at('daemon.json'), '{}');
    const argv = [
      ...['--containerd', at('containerd.sock'), '--host', `unix://${dockerSocket}`],
      ...['--data-root', at('docker-data'), '--exec-root', at('docker-exec'), '--pidfile', at('docker.pid')],
      ...['--bridge', 'none', '--iptables=false', '--ip-forward=false', '--config-file', at('daemon.json')],
    ];
    // Its socket is there before it serves.
    await this.#run(dockerd, argv, dockerSocket, signal, 'API listen on');
  }

  async #run(
    program: string,
    argv: readonly string[],
    socket: string,
    signal: AbortSignal,
    word = '',
  ): Promise<void> {
    const env = {
      ...process.env,
      ...this.#programs.env,
      PATH: `${path.dirname(this.#programs.paths[0]!)}:${process.env.PATH}:/usr/sbin:/sbin`,
    };
    // They end with this process, however it ends.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...argv], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env,
    });
    this.#children.push(child);
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      said = `${said}${text}`.slice(-20_000);
    });
    child.on('error', (error) => {
      said = `${said}${error.message}`;
    });
    const start = performance.now();
    while (!existsSync(socket) || !said.includes(word)) {
      const isOver = child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
      if (isOver || performance.now() - start > READY_MS_MAX) {
        throw new Error(
          `${path.basename(program)} does not come up:\n${said.trim().split('\n').slice(-5).join('\n')}`,
        );
      }
      await sleep(POLL_MS, undefined, { signal });
    }
  }

  readonly #killAll = (): void => {
    for (const child of this.#children) child.kill('SIGKILL');
  };
}
