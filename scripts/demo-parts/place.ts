/**
 * Where the demo's hosts are. A place gives each host an address and a way to start programs on it, and knows what a
 * dead host leaves on this machine. What happens on the hosts is not here.
 */
import type { ChildProcess, SpawnOptions } from 'node:child_process';

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** Hosts are numbered from 1. */
export interface Place extends AsyncDisposable {
  readonly kind: 'containers' | 'embedded';
  /** For people: what the hosts are made of. */
  readonly about: string;
  address(host: number): string;
  dns(host: number): Endpoint;
  /** Flags of `shoal daemon` for this host, besides its name, data and socket. */
  daemonFlags(host: number): string[];
  /** Starts a program on a host. */
  spawn(host: number, argv: readonly string[], options: SpawnOptions): ChildProcess;
  /** Whether a process is on this host, whoever started it. @param node id of its daemon; empty before it is known. */
  holds(host: number, node: string, pid: number): boolean;
  /** Takes away what the dead daemons of these node ids have left in the kernel. */
  sweep(nodes: readonly string[]): Promise<void>;
  /** What the containers of these nodes have in the kernel, and with `withPlace` the place itself. Empty: nothing. */
  remains(nodes: readonly string[], withPlace: boolean): string[];
}
