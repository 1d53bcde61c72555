/**
 * Bare libp2p nodes on test hosts, a process each: what a mesh of our libraries costs before anything is done with it.
 * Each pair has one connection, which the host with the lesser number dials.
 */
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { TestHosts } from '../../../test/hosts/harness.ts';
import { hostNumbers, type JoinCluster, type Sight } from './host-cluster.ts';

const PROGRAM = path.join(import.meta.dirname, 'bare-process.ts');
const PORT = 4747;

export async function createBareCluster(hosts_count: number): Promise<JoinCluster> {
  return new BareCluster(await TestHosts.create(hosts_count));
}

class BareNode {
  readonly child: ChildProcess;
  /** Its peer id, then `listening`, then its peers. */
  readonly lines: string[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(child: ChildProcess) {
    this.child = child;
    createInterface({ input: child.stdout! }).on('line', (line) => {
      this.lines.push(line);
      for (const wake of this.#waiting) wake();
    });
  }

  /** Waits for a line more. @throws the signal's reason */
  async next(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => reject(signal.reason);
    this.#waiting.add(resolve);
    signal.addEventListener('abort', onAbort);
    try {
      signal.throwIfAborted();
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#waiting.delete(resolve);
    }
  }

  async told(lines_count: number, signal: AbortSignal): Promise<void> {
    while (this.lines.length < lines_count) await this.next(signal);
  }

  say(line: string): void {
    this.child.stdin!.write(`${line}\n`);
  }
}

class BareCluster implements JoinCluster {
  readonly name = 'bare libp2p';
  readonly #net: TestHosts;
  readonly #nodes = new Map<number, BareNode>();
  readonly #ended = new AbortController();

  constructor(net: TestHosts) {
    this.#net = net;
  }

  async start(numbers: readonly number[]): Promise<void> {
    for (const number of numbers) {
      const child = this.#net.spawn(number, [process.execPath, PROGRAM], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      this.#nodes.set(number, new BareNode(child));
    }
    await Promise.all([...this.#nodes.values()].map((node) => node.told(1, this.#ended.signal)));
  }

  async form(): Promise<void> {
    const addressOf = (number: number) => `/ip4/${this.#net.address(number)}/tcp/${PORT}`;
    for (const [number, node] of this.#nodes) node.say(`listen ${addressOf(number)}`);
    await Promise.all([...this.#nodes.values()].map((node) => node.told(2, this.#ended.signal)));
    for (const [number, node] of this.#nodes) {
      const later = [...this.#nodes].filter(([other]) => other > number);
      const addresses = later.map(([other, { lines }]) => `${addressOf(other)}/p2p/${lines[0]}`);
      node.say(`dial ${JSON.stringify(addresses)}`);
    }
  }

  async sees(observer: number, wanted: (sight: Sight) => boolean, signal: AbortSignal): Promise<number> {
    const node = this.#nodes.get(observer)!;
    while (!wanted(this.#sight(observer, node))) await node.next(signal);
    return performance.now();
  }

  #sight(observer: number, { lines }: BareNode): Sight {
    const seen = hostNumbers(this.#net.count).filter((number) => {
      return number === observer || lines.includes(`peer ${this.#nodes.get(number)?.lines[0]}`);
    });
    return new Map(seen.map((number) => [number, 'alive']));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#net[Symbol.asyncDispose]();
  }
}
