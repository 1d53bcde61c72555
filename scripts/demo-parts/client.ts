/** The demo's side of a client on a host: what it can be asked, and how. The client itself is client-process.ts. */
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';

export type Protocol = 'redis' | 'http';

export type Ask =
  /** IPv4 addresses of a name. @see Client.resolve */
  | { readonly op: 'resolve'; readonly server: string; readonly name: string }
  | { readonly op: 'request'; readonly protocol: Protocol; readonly address: string; readonly port: number }
  | {
      readonly op: 'load';
      readonly protocol: Protocol;
      readonly server: string;
      readonly name: string;
      readonly port: number;
    }
  | { readonly op: 'endLoad' };

export interface LoadResult {
  requests: number;
  /** Requests that no replica answered in time, however often it was tried. */
  failures: number;
  /** Attempts that failed; the request went on with the next address. */
  retries: number;
  slowest_ms: number;
  lastFailure: string | null;
}

export class Client {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  readonly #server: string;
  #next = 0;

  /** @param server of DNS, `address:port` */
  constructor(start: (argv: readonly string[], options: SpawnOptions) => ChildProcess, server: string) {
    this.#server = server;
    const script = path.join(import.meta.dirname, 'client-process.ts');
    this.#child = start([process.execPath, script], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdin?.on('error', () => {});
    this.#child.once('error', (error) => this.#fail(error));
    this.#child.once('close', () => this.#fail(new Error('the client on this host has ended')));
    if (this.#child.stdout) {
      createInterface({ input: this.#child.stdout }).on('line', (line) => this.#take(line));
    }
  }

  resolve(name: string): Promise<string[]> {
    return this.#ask({ op: 'resolve', server: this.#server, name }) as Promise<string[]>;
  }

  /** @returns what the replica said. */
  request(protocol: Protocol, address: string, port: number): Promise<string> {
    return this.#ask({ op: 'request', protocol, address, port }) as Promise<string>;
  }

  /** Asks the service again and again, by its name, until `endLoad`. */
  async load(protocol: Protocol, name: string, port: number): Promise<void> {
    await this.#ask({ op: 'load', protocol, server: this.#server, name, port });
  }

  endLoad(): Promise<LoadResult> {
    return this.#ask({ op: 'endLoad' }) as Promise<LoadResult>;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }

  #ask(ask: Ask): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        reject(new Error('the client on this host has ended'));
        return;
      }
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdin?.write(`${JSON.stringify({ id, ask })}\n`);
    });
  }

  #take(line: string): void {
    const { id, value, error } = JSON.parse(line) as { id: number; value?: unknown; error?: string };
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new Error(error));
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
