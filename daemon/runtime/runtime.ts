/**
 * The runtime interface: one container or process at a time. Drivers: `oci`, `process`, `memory`.
 * All pass `test/conformance/runtime.ts`. A driver keeps everything that it must find again after a restart of the
 * daemon under its own directory; containers outlive the daemon.
 */
import type { Resources } from '../../protocols/base/workload.ts';

/** [A-Za-z0-9_.-]{1,128}; chosen by the caller. */
export type ContainerId = string;

export interface Mount {
  /** A file or directory of the host, bind-mounted. */
  readonly source: string;
  readonly destination: string;
  readonly readonly: boolean;
}

export interface ContainerSpec {
  readonly id: ContainerId;
  /** Kept verbatim and given back by `list`: how the daemon knows its own. */
  readonly labels: Readonly<Record<string, string>>;
  /** Lower directories, base first, top last; the driver adds a writable layer of its own. */
  readonly lowerDirs: readonly string[];
  /** The whole argument vector; argv[0] is looked up in PATH of the image. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  /** As in the image config: `user`, `uid`, `user:group`, `uid:gid` or empty for root. */
  readonly user: string;
  readonly resources: Resources;
  readonly hostname: string;
  readonly mounts: readonly Mount[];
  /** Path of a network namespace, or null for the host's network. */
  readonly netns: string | null;
  /** A signal name, such as SIGTERM. */
  readonly stopSignal: string;
  readonly logs_bytes_max: number;
}

export interface ExitStatus {
  /** 0 to 255; 128 + n when a signal n ended it; null when it was lost (host restarted). */
  readonly code: number | null;
  readonly oom: boolean;
  /** Milliseconds since the Unix epoch. */
  readonly at_ms: number;
}

export type ContainerState = 'created' | 'running' | 'stopped';

export interface ContainerInfo {
  readonly id: ContainerId;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: ContainerState;
  readonly pid: number | null;
  readonly exit: ExitStatus | null;
  readonly started_ms: number | null;
}

export interface LogLine {
  /** Milliseconds since the Unix epoch, or null where the driver cannot know. */
  readonly at_ms: number | null;
  readonly stream: 'stdout' | 'stderr';
  /** Without its newline; at most 16 KiB, longer lines come in pieces. */
  readonly text: string;
}

export interface ExecResult {
  readonly code: number;
}

export interface ContainerStats {
  /** CPU time since start, nanoseconds. */
  readonly cpu_ns: number;
  readonly memory_bytes: number;
  readonly pids: number;
}

export interface Runtime extends AsyncDisposable {
  readonly driver: 'oci' | 'process' | 'memory';
  /** Whether containers can have network namespaces of their own. */
  readonly isolatesNetwork: boolean;
  /** Prepares; nothing runs yet. On failure nothing is left. @throws E_RUNTIME_FAILED, E_EXISTS, E_COMMAND_NOT_FOUND */
  create(spec: ContainerSpec): Promise<void>;
  start(id: ContainerId): Promise<void>;
  /** Sends the stop signal, waits `grace_ms`, then kills. Resolves with the exit. A stopped one resolves at once. */
  stop(id: ContainerId, options: { grace_ms: number }): Promise<ExitStatus>;
  kill(id: ContainerId, signal: string): Promise<void>;
  /** Resolves at exit; for one that has exited, at once. @throws E_CANCELLED by signal, E_NOT_FOUND */
  wait(id: ContainerId, options?: { signal?: AbortSignal }): Promise<ExitStatus>;
  /**
   * Runs a command in it, streaming output; stdin optional. A promise of `onOutput` holds that stream of the command
   * back until it settles. @throws E_NOT_RUNNING, E_COMMAND_NOT_FOUND
   */
  exec(
    id: ContainerId,
    argv: readonly string[],
    io: {
      stdin?: AsyncIterable<Uint8Array>;
      onOutput: (stream: 'stdout' | 'stderr', chunk: Uint8Array) => void | Promise<void>;
      signal?: AbortSignal;
    },
  ): Promise<ExecResult>;
  /** From the oldest kept line; with `follow` it goes on until exit or abort. `tail`: only the last n of the past. */
  logs(
    id: ContainerId,
    options: { follow: boolean; tail?: number; signal?: AbortSignal },
  ): AsyncIterable<LogLine>;
  stats(id: ContainerId): Promise<ContainerStats>;
  /** All containers of this driver's directory, found again after a restart, exited ones with their status. */
  list(): Promise<ContainerInfo[]>;
  /** What an earlier daemon left that this one could neither take up nor away: it may well run. In no list. */
  left(): readonly ContainerId[];
  /** Takes a stopped or created one away: files, mounts, cgroup. @throws E_NOT_FOUND; E_RUNTIME_FAILED when it runs */
  remove(id: ContainerId): Promise<void>;
}

export interface RuntimeInit {
  /** Owned by the driver; kept across restarts. */
  readonly directory: string;
  /** Short and unique on this host: names cgroups, so that several daemons on one machine do not meet. */
  readonly instance: string;
  readonly log: (level: 'debug' | 'info' | 'warn', message: string, detail?: Record<string, unknown>) => void;
}
