/**
 * Test hosts: network namespaces on one bridge, with cuts, loss and rates. Linux, root, iproute2 and nft.
 *
 * The bridge lives in a namespace of its own and nothing touches the machine's network. Names carry the run's pid, so
 * that runs do not meet and a later run can take away what a killed one left. Hosts are numbered from 1.
 * Not here: containers, and anything of shoal.
 */
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readlinkSync } from 'node:fs';

export const HOSTS_MAX = 200;
const NETNS_DIRECTORY = '/run/netns';
const PREFIX = 'shoalt';
const ENV = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
/** A command of the harness itself, milliseconds. */
const COMMAND_TIMEOUT_MS = 30_000;

export interface ExecResult {
  /** Null when a signal ended it, as the time-out does. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Whether test hosts can be made here: true, or the reason why not. */
export function hostsAvailable(): true | string {
  if (process.platform !== 'linux') return 'test hosts need Linux';
  if (process.geteuid?.() !== 0) return 'test hosts need root';
  for (const argv of [
    ['ip', '-V'],
    ['nft', '--version'],
    ['nsenter', '--version'],
  ]) {
    if (spawnSync(argv[0]!, argv.slice(1), { env: ENV }).status !== 0) return `test hosts need ${argv[0]}`;
  }
  const probe = `${runPrefix()}-probe`;
  const made = command(['ip', 'netns', 'add', probe]);
  if (made.status !== 0) return `network namespaces do not work here: ${made.stderr.trim()}`;
  const lines = 'link add br9 type bridge\nlink add veth8 type veth peer name veth9\n';
  const links = command(['ip', '-n', probe, '-batch', '-'], lines);
  command(['ip', 'netns', 'del', probe]);
  return links.status === 0 ? true : `bridges or veth pairs do not work here: ${links.stderr.trim()}`;
}

/** Takes away the namespaces, and the processes in them, of runs that ended without doing so. @returns their names. */
export function sweepStale(): string[] {
  const stale = namespaces().filter(isStale);
  removeNamespaces(stale);
  return stale;
}

/** Whether a name that begins with a `runPrefix` is of a run that has ended. */
export function isStale(name: string): boolean {
  const own = `${PREFIX}-${pidNamespace()}-`;
  return name.startsWith(own) && !isRunning(Number(name.slice(own.length).split('-')[0]));
}

export class TestHosts implements AsyncDisposable {
  readonly count: number;
  readonly #name: string;
  readonly #children = new Set<ChildProcess>();
  #closed = false;

  /** Makes `count` hosts. @throws Error when the machine refuses; nothing is left then. */
  static async create(count: number): Promise<TestHosts> {
    if (count < 1 || count > HOSTS_MAX) throw new RangeError(`1 to ${HOSTS_MAX} hosts`);
    sweepStale();
    const hosts = new TestHosts(count);
    try {
      hosts.#build();
    } catch (error) {
      hosts.#cleanup();
      throw error;
    }
    return hosts;
  }

  private constructor(count: number) {
    this.count = count;
    this.#name = `${runPrefix()}-${randomBytes(2).toString('hex')}`;
    process.on('exit', this.#cleanup);
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
  }

  /** 10.77.0.i */
  address(host: number): string {
    this.#check(host);
    return `10.77.0.${host}`;
  }

  /** Path of the host's network namespace. */
  netns(host: number): string {
    this.#check(host);
    return `${NETNS_DIRECTORY}/${this.#name}-${host}`;
  }

  /** Runs a program on a host to its end. */
  exec(
    host: number,
    argv: readonly string[],
    options: { input?: string; timeout_ms?: number; env?: Record<string, string> } = {},
  ): Promise<ExecResult> {
    return new Promise((resolve, reject) => {
      const child = this.spawn(host, argv, {
        timeout: options.timeout_ms ?? COMMAND_TIMEOUT_MS,
        killSignal: 'SIGKILL',
        ...(options.env === undefined ? {} : { env: { ...ENV, ...options.env } }),
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
      child.stdin?.end(options.input ?? '');
    });
  }

  /**
   * Starts a program on a host; cleanup kills it. `nsenter` and not `ip netns exec`: that one mounts /sys anew and
   * hides the cgroups. nsenter becomes the program, so the child's pid is the program's.
   */
  spawn(host: number, argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    if (this.#closed) throw new Error('the hosts are gone');
    const child = spawn('nsenter', [`--net=${this.netns(host)}`, '--', ...argv], { env: ENV, ...options });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    child.once('error', () => this.#children.delete(child));
    return child;
  }

  /** No packet passes between two hosts, either way. */
  part(a: number, b: number): void {
    this.#nft(`add element bridge f cut { ${this.#pair(a, b)}, ${this.#pair(b, a)} }`);
  }

  /** No packet passes from one host to another; the other way it does. */
  cutOneWay(from: number, to: number): void {
    this.#nft(`add element bridge f cut { ${this.#pair(from, to)} }`);
  }

  /** Ends all cuts of `part` and `cutOneWay`. */
  heal(): void {
    this.#nft('flush set bridge f cut');
  }

  /** Pulls the host's cable. */
  isolate(host: number): void {
    this.#switch(`link set ${this.#port(host)} down`);
  }

  rejoin(host: number): void {
    this.#switch(`link set ${this.#port(host)} up`);
  }

  /** Drops this share of the host's frames, in and out each. @param percent 0 to 100; 0 ends it. */
  loss(host: number, percent: number): void {
    const port = this.#port(host);
    const chain = `loss${host}`;
    if (percent <= 0) {
      this.#nft(
        `delete element bridge f lossin { ${port} }\ndelete element bridge f lossout { ${port} }`,
        true,
      );
      return;
    }
    const limit = Math.min(1000, Math.round(percent * 10));
    this.#nft(
      [
        `add chain bridge f ${chain}`,
        `flush chain bridge f ${chain}`,
        `add rule bridge f ${chain} numgen random mod 1000 < ${limit} drop`,
        `add element bridge f lossin { ${port} : jump ${chain} }`,
        `add element bridge f lossout { ${port} : jump ${chain} }`,
      ].join('\n'),
    );
  }

  /** Limits the host's link, each way. @param mbit megabits a second; 0 ends it. */
  rate(host: number, mbit: number): void {
    for (const [netns, device] of [
      [this.#switchName(), this.#port(host)],
      [`${this.#name}-${host}`, 'eth0'],
    ] as const) {
      const shaper = ['tbf', 'rate', `${mbit}mbit`, 'burst', '256k', 'latency', '50ms'];
      if (mbit > 0) must(['tc', '-n', netns, 'qdisc', 'replace', 'dev', device, 'root', ...shaper]);
      else command(['tc', '-n', netns, 'qdisc', 'del', 'dev', device, 'root']);
    }
  }

  /** Kills what runs on the hosts and takes them away. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    const ended = [...this.#children].map((child) => new Promise((resolve) => child.once('close', resolve)));
    this.#cleanup();
    await Promise.race([Promise.all(ended), new Promise((resolve) => setTimeout(resolve, 2000).unref())]);
  }

  #build(): void {
    const bridge = this.#switchName();
    const names = [bridge, ...this.#hosts().map((host) => `${this.#name}-${host}`)];
    for (const name of names) must(['ip', 'netns', 'add', name]);
    const lines = [
      'link set lo up',
      'link add br0 type bridge stp_state 0 forward_delay 0',
      'link set br0 up',
    ];
    for (const host of this.#hosts()) {
      lines.push(
        `link add ${this.#port(host)} type veth peer name eth0 netns ${this.#name}-${host}`,
        `link set ${this.#port(host)} master br0 up`,
      );
    }
    this.#switch(lines.join('\n'));
    this.#nft(RULES);
    disableBridgeFirewall(bridge);
    for (const host of this.#hosts()) {
      const name = `${this.#name}-${host}`;
      const inside = ['link set lo up', `addr add ${this.address(host)}/24 dev eth0`, 'link set eth0 up'];
      must(['ip', '-n', name, '-batch', '-'], `${inside.join('\n')}\n`);
    }
  }

  #hosts(): number[] {
    return Array.from({ length: this.count }, (_, at) => at + 1);
  }

  #check(host: number): void {
    if (!Number.isInteger(host) || host < 1 || host > this.count) throw new RangeError(`no host ${host}`);
  }

  #pair(from: number, to: number): string {
    return `${this.address(from)} . ${this.address(to)}`;
  }

  #port(host: number): string {
    this.#check(host);
    return `v${host}`;
  }

  #switchName(): string {
    return `${this.#name}-sw`;
  }

  #switch(lines: string): void {
    must(['ip', '-n', this.#switchName(), '-batch', '-'], `${lines}\n`);
  }

  #nft(text: string, mayFail = false): void {
    const argv = ['nsenter', `--net=${NETNS_DIRECTORY}/${this.#switchName()}`, 'nft', '-f', '-'];
    if (mayFail) command(argv, `${text}\n`);
    else must(argv, `${text}\n`);
  }

  readonly #cleanup = (): void => {
    if (this.#closed) return;
    this.#closed = true;
    process.off('exit', this.#cleanup);
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
    for (const child of this.#children) child.kill('SIGKILL');
    removeNamespaces(namespaces().filter((name) => name.startsWith(`${this.#name}-`)));
  };

  /** Cleans up and lets the signal end the process as it would have. */
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    this.#cleanup();
    process.kill(process.pid, signal);
  };
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const RULES = `table bridge f {
  set cut { type ipv4_addr . ipv4_addr; }
  map lossin { type ifname : verdict; }
  map lossout { type ifname : verdict; }
  chain forward {
    type filter hook forward priority 0;
    ip saddr . ip daddr @cut drop
    arp saddr ip . arp daddr ip @cut drop
    iifname vmap @lossin
    oifname vmap @lossout
  }
}`;

/** br_netfilter is on in every new namespace of kernels that have it built in. */
function disableBridgeFirewall(netns: string): void {
  const path = '/proc/sys/net/bridge/bridge-nf-call-iptables';
  const script = `if [ -e ${path} ]; then echo 0 > ${path}; fi`;
  command(['nsenter', `--net=${NETNS_DIRECTORY}/${netns}`, 'sh', '-c', script]);
}

function command(argv: readonly string[], input = '') {
  return spawnSync(argv[0]!, argv.slice(1), {
    input,
    encoding: 'utf8',
    timeout: COMMAND_TIMEOUT_MS,
    env: ENV,
  });
}

function must(argv: readonly string[], input?: string): void {
  const { status, stderr } = command(argv, input);
  if (status !== 0) throw new Error(`${argv.join(' ')} ended with ${status}: ${stderr}`);
}

/** Pids mean something within one pid namespace only, and /run/netns may be shared by several. */
function pidNamespace(): string {
  return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
}

/** What the names of all that this run makes begin with. */
export function runPrefix(): string {
  return `${PREFIX}-${pidNamespace()}-${process.pid}`;
}

function namespaces(): string[] {
  try {
    return readdirSync(NETNS_DIRECTORY);
  } catch {
    return [];
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function removeNamespaces(names: readonly string[]): void {
  for (const name of names) {
    const pids = command(['ip', 'netns', 'pids', name]).stdout ?? '';
    for (const pid of pids.split('\n').filter((line) => line !== '')) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It ended by itself.
      }
    }
  }
  const lines = names.map((name) => `netns del ${name}\n`).join('');
  if (lines !== '') command(['ip', '-force', '-batch', '-'], lines);
}
