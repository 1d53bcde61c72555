/**
 * serf on test hosts. What an agent holds of the others is read from its own log, line by line as it writes it: the
 * lines of serf itself, which come before the agent collects and delays its events.
 */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { TestHosts } from '../../../test/hosts/harness.ts';
import { processTrees } from '../../demo-parts/processes.ts';
import { debianPrograms } from './debian-program.ts';
import { type HostCluster, hostNumbers, type MemberState, type Sight, within } from './host-cluster.ts';

/** serf's timing presets: its default, and the fastest that it has. */
export type SerfProfile = 'lan' | 'local';

const READY_MS_MAX = 15_000;
const STATES: Readonly<Record<string, MemberState>> = { Join: 'alive', Failed: 'failed', Leave: 'failed' };

/** @throws Error when serf is not installed and cannot be fetched. */
export function serfProgram(): string {
  return debianPrograms(['serf'], ['serf']).paths[0]!;
}

export async function createSerfCluster(hosts_count: number, profile: SerfProfile): Promise<HostCluster> {
  const program = serfProgram();
  return new SerfCluster(await TestHosts.create(hosts_count), profile, program);
}

/** One agent's log, read. */
class Agent {
  readonly child: ChildProcess;
  readonly sight = new Map<number, MemberState>();
  /** When the last change of a host's tags was seen here. */
  readonly updated_ms = new Map<number, number>();
  isReady = false;
  readonly #listeners = new Set<() => void>();

  constructor(child: ChildProcess) {
    this.child = child;
    createInterface({ input: child.stdout! }).on('line', (line) => this.#read(line));
  }

  /** Waits until `ask` says when it was so. */
  until(ask: () => number | undefined, signal: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const at_ms = ask();
        if (at_ms === undefined && !signal.aborted) return;
        this.#listeners.delete(look);
        signal.removeEventListener('abort', look);
        if (at_ms === undefined) reject(signal.reason);
        else resolve(at_ms);
      };
      this.#listeners.add(look);
      signal.addEventListener('abort', look);
      look();
    });
  }

  #read(line: string): void {
    if (line.includes('Serf agent running')) this.isReady = true;
    const [, what, host] = /serf: EventMember(\w+): host(\d+)/.exec(line) ?? [];
    if (what === 'Update') this.updated_ms.set(Number(host), performance.now());
    const state = STATES[what ?? ''];
    if (state !== undefined) this.sight.set(Number(host), state);
    for (const listener of [...this.#listeners]) listener();
  }
}

class SerfCluster implements HostCluster {
  readonly name: string;
  readonly net: TestHosts;
  readonly #profile: SerfProfile;
  readonly #program: string;
  readonly #agents = new Map<number, Agent>();
  readonly #numbers: readonly number[];
  #writes = 0;
  #formed = false;

  constructor(net: TestHosts, profile: SerfProfile, program: string) {
    this.net = net;
    this.#profile = profile;
    this.#program = program;
    this.#numbers = hostNumbers(net.count);
    this.name = `serf ${profile}`;
  }

  async start(numbers: readonly number[]): Promise<void> {
    for (const number of numbers) {
      const address = this.net.address(number);
      const argv = ['agent', '-node', `host${number}`, '-bind', address, '-profile', this.#profile];
      const contact = this.#numbers.find((other) => !numbers.includes(other));
      const join = this.#formed && contact !== undefined ? ['-join', this.net.address(contact)] : [];
      const child = this.net.spawn(number, [this.#program, ...argv, ...join], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      this.#agents.set(number, new Agent(child));
    }
    const never = new AbortController().signal;
    await within(`${this.name}: its agents run`, READY_MS_MAX, never, (limit) =>
      Promise.all(
        numbers.map((number) => {
          const agent = this.#agent(number);
          return agent.until(() => (agent.isReady ? performance.now() : undefined), limit);
        }),
      ),
    );
  }

  async form(): Promise<void> {
    const [first, ...others] = this.#numbers;
    const joins = others.map((number) => this.#command(number, ['join', this.net.address(first!)]));
    await Promise.all(joins);
    this.#formed = true;
  }

  async sees(observer: number, wanted: (sight: Sight) => boolean, signal: AbortSignal): Promise<number> {
    const agent = this.#agent(observer);
    return await agent.until(() => (wanted(agent.sight) ? performance.now() : undefined), signal);
  }

  /** Asked for when the writer's own log says so: what its command takes to start is not serf's. */
  async write(from: number, signal: AbortSignal): Promise<{ asked_ms: number; known_ms: number }> {
    this.#writes += 1;
    const start_ms = performance.now();
    const since = (agent: Agent) => () => {
      const at_ms = agent.updated_ms.get(from);
      return at_ms !== undefined && at_ms > start_ms ? at_ms : undefined;
    };
    const others = this.#numbers.filter((number) => number !== from).map((number) => this.#agent(number));
    const command = this.#command(from, ['tags', '-set', `mark=${this.#writes}`]);
    const known = Promise.all(others.map((agent) => agent.until(since(agent), signal)));
    const writer = this.#agent(from);
    const [asked_ms, all_ms] = await Promise.all([writer.until(since(writer), signal), known, command]);
    return { asked_ms, known_ms: Math.max(...all_ms) };
  }

  kill(number: number): number {
    this.#agent(number).child.kill('SIGKILL');
    return performance.now();
  }

  processes(number: number): readonly number[] {
    const { pid } = this.#agent(number).child;
    return processTrees((candidate) => candidate === pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.net[Symbol.asyncDispose]();
  }

  #agent(number: number): Agent {
    const agent = this.#agents.get(number);
    if (agent === undefined) throw new RangeError(`no agent on host ${number}`);
    return agent;
  }

  async #command(number: number, argv: readonly string[]): Promise<void> {
    const { code, stdout, stderr } = await this.net.exec(number, [this.#program, ...argv]);
    if (code !== 0) throw new Error(`serf ${argv.join(' ')} ended with ${code}: ${stderr}${stdout}`);
  }
}
