/** A simulated node for tests of the simulator: keeps what it is told, and does what the test says. */
import { ACCESS, type Access } from './network.ts';
import type { SimHost, SimNode, Verdict } from './sim-node.ts';
import { Simulator } from './simulator.ts';

export class Recorder implements SimNode {
  readonly host: SimHost;
  readonly seen: string[] = [];
  readonly bodies: Uint8Array[] = [];
  readonly strangers = new Set<string>();
  verdict: Verdict = 'accept';

  constructor(host: SimHost) {
    this.host = host;
  }

  start(): void {
    this.seen.push('start');
  }

  connected(peer: string): void {
    this.seen.push(`connected ${peer}`);
  }

  disconnected(peer: string): void {
    this.seen.push(`disconnected ${peer}`);
  }

  message(from: string, channel: number, body: Uint8Array): void {
    this.seen.push(`message ${from} ${channel}`);
    this.bodies.push(body);
  }

  published(from: string, body: Uint8Array): Verdict {
    this.seen.push(`published ${from}`);
    this.bodies.push(body);
    return this.verdict;
  }

  timer(core: number, token: number): void {
    this.seen.push(`timer ${core} ${token}`);
  }

  command(name: string): void {
    this.seen.push(`command ${name}`);
  }

  hears(): boolean {
    return true;
  }

  admits(peer: string): boolean {
    return !this.strangers.has(peer);
  }

  count(what: string): number {
    return this.seen.filter((line) => line.startsWith(what)).length;
  }
}

/** Nodes named by the letters of `names`, started. */
export function worldOf(names: string, access: Access = ACCESS.lan) {
  const world = new Simulator<Recorder>('test', (host) => new Recorder(host));
  for (const id of names) world.add(id, access);
  for (const id of names) world.start(id);
  return { world, nodes: [...names].map((id) => world.host(id).node!) };
}

/** Two nodes with a connection, at 100 ms. */
export function pair(access: Access = ACCESS.lan) {
  const { world, nodes } = worldOf('ab', access);
  const [a, b] = nodes as [Recorder, Recorder];
  a.host.connect('b');
  world.runUntil(500);
  return { world, a, b };
}
