/**
 * Test hosts with a daemon on each, real containers, and an image of one static busybox: started, driven by the real
 * command line and API, killed, started again and taken away whole, also after a failure. The network between them,
 * with its cuts and losses, is TestHosts. What is done with them is in the tests.
 */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { ApiClient } from '../../daemon/api/client.ts';
import type { AllocationInfo, NodeInfo, WorkloadInfo } from '../../daemon/api/schemas.ts';
import { canVxlan } from '../../daemon/network/can-vxlan.ts';
import { probeOci } from '../../daemon/runtime/probe.ts';
import { namespacePlace, sweepNodes } from '../../scripts/demo-parts/namespace-place.ts';
import type { Place } from '../../scripts/demo-parts/place.ts';
import { killAll, parentOf, processTrees } from '../../scripts/demo-parts/processes.ts';
import { busyboxMissing } from '../daemon/runtime/busybox.ts';
import { makeBusybox } from './box-image.ts';
import { type ExecResult, hostsAvailable, isStale, runPrefix, TestHosts } from './harness.ts';
import { Fatal, NotYet, until } from './until.ts';

const SHOAL = path.resolve(import.meta.dirname, '../../bin/shoal');
export const NAMESPACE = 'default';
/** Time limits, generous: past them something is wrong and not slow. */
const COMMAND_MS_MAX = 90_000;
const STOP_MS_MAX = 15_000;
/** In the directory of the hosts: ids of their nodes, for whoever must take away what they left. */
const NODES_FILE = 'nodes';
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** Lines of each daemon's log that a failed test shows. */
const LOG_LINES_SHOWN = 40;

/** Why such hosts cannot be made here, or false. */
export async function whyNot(): Promise<string | false> {
  const hosts = hostsAvailable();
  if (hosts !== true) return hosts;
  const network = await canVxlan();
  if (network !== true) return network;
  const oci = await probeOci();
  if ('reason' in oci) return oci.reason;
  return busyboxMissing();
}

export class ShoalHost {
  readonly number: number;
  readonly name: string;
  readonly directory: string;
  readonly socket: string;
  readonly log: string;
  readonly api: ApiClient;
  daemon: ChildProcess | undefined;
  /** Peer id; known once its daemon has answered. */
  node = '';

  constructor(number: number, directory: string) {
    this.number = number;
    this.name = `host${number}`;
    this.directory = path.join(directory, this.name);
    this.socket = path.join(this.directory, 'shoal.sock');
    this.log = path.join(directory, `${this.name}.log`);
    this.api = new ApiClient(this.socket);
    mkdirSync(this.directory, { mode: 0o700 });
  }
}

export class ShoalHosts implements AsyncDisposable {
  readonly net: TestHosts;
  readonly all: readonly ShoalHost[];
  readonly #directory: string;
  readonly #place: Place;
  #ended = false;

  /** Makes `count` hosts, no daemon yet. What runs that were killed have left goes first. */
  static async create(count: number): Promise<ShoalHosts> {
    await sweepStaleDirectories();
    return new ShoalHosts(await TestHosts.create(count));
  }

  private constructor(net: TestHosts) {
    this.net = net;
    this.#place = namespacePlace(net);
    this.#directory = mkdtempSync(path.join(tmpdir(), `${runPrefix()}-`));
    this.all = Array.from({ length: net.count }, (_, at) => new ShoalHost(at + 1, this.#directory));
    process.on('exit', this.#killEverything);
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
  }

  host(number: number): ShoalHost {
    const found = this.all[number - 1];
    if (!found) throw new RangeError(`no host ${number}`);
    return found;
  }

  dns(number: number): { readonly address: string; readonly port: number } {
    return this.#place.dns(number);
  }

  /** Starts daemons and waits until they answer. @param flags of `shoal daemon`, besides the usual ones. */
  async startDaemons(numbers: readonly number[], flags: readonly string[] = []): Promise<void> {
    for (const number of numbers) this.#spawnDaemon(this.host(number), flags);
    for (const number of numbers) {
      const host = this.host(number);
      const status = await until(`the daemon of ${host.name} answers`, () => {
        if (isOver(host.daemon))
          throw new Fatal(`the daemon of ${host.name} has ended:\n${tail(host.log, 5)}`);
        return host.api.status();
      });
      host.node = status.node;
      appendFileSync(path.join(this.#directory, NODES_FILE), `${status.node}\n`);
    }
  }

  /** `init` on the first of these hosts, and `join` on the others, through it; until each sees all alive. */
  async form(numbers: readonly number[] = this.all.map(({ number }) => number)): Promise<void> {
    const [first, ...others] = numbers.map((number) => this.host(number));
    await first!.api.init({});
    for (const host of others) {
      const { token } = await first!.api.createToken({});
      await host.api.join({ token });
    }
    await this.allAlive(numbers);
  }

  /** Each of these hosts sees all of them alive. */
  async allAlive(numbers: readonly number[] = this.all.map(({ number }) => number)): Promise<void> {
    for (const number of numbers) {
      await until(`host${number} sees ${numbers.length} alive`, async () => {
        const nodes = await this.host(number).api.nodes();
        const alive = nodes.filter(({ status }) => status === 'alive').map(({ name }) => name);
        return numbers.every((other) => alive.includes(this.host(other).name));
      });
    }
  }

  /** A signal to the daemon only; its containers stay. Until it has ended. */
  async endDaemon(number: number, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const { daemon, name } = this.host(number);
    if (!daemon || isOver(daemon)) return;
    const closed = new Promise<void>((resolve) => daemon.once('exit', () => resolve()));
    daemon.kill(signal);
    await Promise.race([
      closed,
      sleep(STOP_MS_MAX, undefined, { ref: false }).then(() => {
        throw new Error(`the daemon of ${name} does not end by ${signal}`);
      }),
    ]);
  }

  /** kill -9 of all that runs on a host: daemon, containers and their monitors. */
  killHost(number: number): void {
    this.#killAll([this.host(number)]);
  }

  /** `shoal` as a user of that host. */
  shoal(number: number, argv: readonly string[], input = ''): Promise<ExecResult> {
    const { socket, directory } = this.host(number);
    return this.net.exec(number, [SHOAL, ...argv], {
      input,
      timeout_ms: COMMAND_MS_MAX,
      env: { SHOAL_SOCKET: socket, TMPDIR: directory },
    });
  }

  /** Builds an image on one host with `shoal image build`. @param files besides busybox: path to text. */
  async buildImage(
    number: number,
    name: string,
    files: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const directory = path.join(this.host(number).directory, `image-${randomBytes(3).toString('hex')}`);
    makeBusybox(directory, files);
    const { code, stderr } = await this.shoal(number, ['image', 'build', directory, '--name', name]);
    rmSync(directory, { recursive: true });
    if (code !== 0) throw new Error(`image build ended with ${code}: ${stderr}`);
    await until(`all hosts know ${name}`, async () => {
      const running = this.all.filter(({ daemon, node }) => node !== '' && !isOver(daemon));
      const lists = await Promise.all(running.map(({ api }) => api.images().catch(() => null)));
      return lists.every((list) => list === null || list.some(({ names }) => names.includes(name)));
    });
  }

  /** Live instances of a workload, as one host sees them; by slot. */
  async instances(from: number, workload: string): Promise<AllocationInfo[]> {
    const list = await this.host(from).api.allocations({ namespace: NAMESPACE, workload });
    return list.filter(({ nodeStatus }) => nodeStatus !== 'failed');
  }

  /** Until each slot of a workload has exactly one instance, healthy and of its newest revision, as these hosts see it. */
  async settled(workload: string, replicas: number, numbers: readonly number[]): Promise<AllocationInfo[]> {
    let found: AllocationInfo[] = [];
    for (const number of numbers) {
      found = await until(`host${number} sees ${replicas} of ${workload}, and no other`, async () => {
        const list = await this.instances(number, workload);
        const { revision } = await this.host(number).api.workload({ namespace: NAMESPACE, name: workload });
        const good = list.filter(
          (one) => one.phase === 'running' && one.health === 'healthy' && one.revision === revision,
        );
        const slots = new Set(good.map(({ slot }) => slot));
        const isWhole = list.length === replicas && good.length === replicas && slots.size === replicas;
        return isWhole ? good : new NotYet(describe(list));
      });
    }
    return found;
  }

  /** Processes in containers of a host's node whose command holds `text`, conmon and the runtime aside. */
  containerPids(number: number, text = ''): number[] {
    const { node } = this.host(number);
    const found = processTrees((pid) => this.#place.holds(0, node, pid)).filter((pid) => {
      const command = commandLine(pid);
      return command !== '' && !/^\S*(?:conmon|runc|crun) /.test(command) && command.includes(text);
    });
    // A shell that has forked and not yet executed bears its parent's command line for a moment.
    const all = new Set(found);
    return text === '' ? found : found.filter((pid) => !all.has(parentOf(pid)));
  }

  /** What members, workloads and instances look like from a host, without what may differ between hosts. */
  async picture(number: number): Promise<{ nodes: object[]; workloads: object[]; instances: object[] }> {
    const { api } = this.host(number);
    const [nodes, workloads, instances] = await Promise.all([
      api.nodes(),
      api.workloads(),
      api.allocations({ all: true }),
    ]);
    const withoutSelf = ({ self: _, ...node }: NodeInfo) => node;
    return { nodes: nodes.map(withoutSelf), workloads: workloads satisfies WorkloadInfo[], instances };
  }

  /** Until these hosts tell the same of everything. */
  async agree(numbers: readonly number[] = this.all.map(({ number }) => number)): Promise<void> {
    await until(`hosts ${numbers.join(', ')} tell the same`, async () => {
      const pictures = await Promise.all(numbers.map((number) => this.picture(number)));
      const texts = pictures.map((picture) => JSON.stringify(picture));
      return new Set(texts).size === 1 ? true : new NotYet(texts.join('\n'));
    });
  }

  /** What is still there of the hosts: to be asked after disposal. */
  remains(): string[] {
    const nodes = this.all.map(({ node }) => node).filter(Boolean);
    return [
      ...this.all
        .flatMap((host) => this.#processes(host))
        .map((pid) => `process ${pid}: ${commandLine(pid)}`),
      ...mountsBelow(this.#directory).map((target) => `mount ${target}`),
      ...this.#place.remains(nodes, true),
      ...(existsSync(this.#directory) ? [`directory ${this.#directory}`] : []),
    ];
  }

  /** For whoever looks for a fault: the end of each log, and what each host sees. */
  async report(): Promise<string> {
    const parts = this.all.map(async (host) => {
      const { stdout } = await this.shoal(host.number, ['ps', '--all']).catch(() => ({
        stdout: 'no answer',
      }));
      const { stdout: nodes } = await this.shoal(host.number, ['node', 'ls']).catch(() => ({ stdout: '' }));
      return `--- ${host.name}\n${nodes}${stdout}${tail(host.log, LOG_LINES_SHOWN)}`;
    });
    return (await Promise.all(parts)).join('\n');
  }

  /** Ends everything and takes it away. @throws Error when a daemon did not end by SIGTERM; all is taken away then too. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const ends = await Promise.allSettled(this.all.map(({ number }) => this.endDaemon(number, 'SIGTERM')));
    this.#killAll(this.all);
    await this.#place[Symbol.asyncDispose]();
    await takeAway(this.#directory);
    process.off('exit', this.#killEverything);
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  }

  #spawnDaemon(host: ShoalHost, flags: readonly string[]): void {
    const log = openSync(host.log, 'a', 0o600);
    const own = ['--name', host.name, '--data', path.join(host.directory, 'data'), '--socket', host.socket];
    const where = [...this.#place.daemonFlags(host.number), '--upstream', 'none'];
    host.daemon = this.net.spawn(host.number, [SHOAL, 'daemon', ...own, ...where, ...flags], {
      stdio: ['ignore', log, log],
      env: { ...process.env, TMPDIR: host.directory },
    });
    host.daemon.once('error', () => {});
    closeSync(log);
  }

  #processes({ number, node, directory }: ShoalHost): number[] {
    const mark = `${directory}/`;
    return processTrees((pid, line) => line.includes(mark) || this.#place.holds(number, node, pid));
  }

  #killAll(hosts: readonly ShoalHost[]): void {
    killUntilNone(() => hosts.flatMap((host) => this.#processes(host)));
  }

  readonly #killEverything = (): void => this.#killAll(this.all);

  /** Takes all away and lets the signal end the process as it would have. */
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    if (this.#ended) return;
    void this[Symbol.asyncDispose]()
      .catch(() => {})
      .finally(() => process.kill(process.pid, signal));
  };
}

/** Again and again, for what was just being started when the others were looked for. */
function killUntilNone(list: () => readonly number[]): void {
  const start = performance.now();
  while (performance.now() - start < STOP_MS_MAX) {
    const pids = list();
    if (pids.length === 0) return;
    killAll(pids);
  }
}

/** What the dead daemons with their data below this directory have left, and the directory itself. */
async function takeAway(directory: string): Promise<void> {
  for (const target of mountsBelow(directory).reverse()) spawnSync('umount', ['-l', target]);
  await sweepNodes(read(path.join(directory, NODES_FILE)).split('\n').filter(Boolean));
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}

async function sweepStaleDirectories(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter(isStale)) {
    const directory = path.join(tmpdir(), name);
    killUntilNone(() => processTrees((_, line) => line.includes(`${directory}/`)));
    await takeAway(directory);
  }
}

function mountsBelow(directory: string): string[] {
  return read('/proc/self/mountinfo')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((target) => target.startsWith(`${directory}/`));
}

/** A test on hosts of its own: they are taken away after it, and nothing may be left of them. */
export async function withHosts(
  t: Test,
  count: number,
  body: (hosts: ShoalHosts) => Promise<void>,
): Promise<void> {
  const hosts = await ShoalHosts.create(count);
  try {
    await body(hosts);
  } catch (error) {
    t.comment(await hosts.report());
    throw error;
  } finally {
    if (!t.passing()) t.comment(await hosts.report());
    await hosts[Symbol.asyncDispose]();
  }
  t.same(hosts.remains(), [], 'nothing is left');
}

export function describe(list: readonly AllocationInfo[]): string {
  return list
    .map((one) => `${one.slot} on ${one.nodeName}: ${one.phase}, ${one.health}, ${one.reason ?? 'no reason'}`)
    .join('\n');
}

function isOver(child: ChildProcess | undefined): boolean {
  return child === undefined || child.exitCode !== null || child.signalCode !== null;
}

function commandLine(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
}

function tail(file: string, lines: number): string {
  return read(file).trim().split('\n').slice(-lines).join('\n');
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
