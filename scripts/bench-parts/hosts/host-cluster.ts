/**
 * A cluster of agents on test hosts, as the benchmarks drive it: ours and serf's alike. All times are of this process's
 * monotonic clock, performance.now(), so that they can be compared. Not here: what is measured with it.
 */
import type { TestHosts } from '../../../test/hosts/harness.ts';

export type MemberState = 'alive' | 'failed';

/** Host number to what one agent holds of it; a host that it has never heard of is absent. */
export type Sight = ReadonlyMap<number, MemberState>;

/** As much of a cluster as can come to be. */
export interface JoinCluster extends AsyncDisposable {
  readonly name: string;
  /** Starts an agent on each of these hosts, in no cluster yet; one that was in it before finds back by itself. */
  start(numbers: readonly number[]): Promise<void>;
  /** The commands that make one cluster of all hosts. Resolves when they have returned. */
  form(): Promise<void>;
  /** Waits until an agent's sight is as wanted. @returns when it was. */
  sees(observer: number, wanted: (sight: Sight) => boolean, signal: AbortSignal): Promise<number>;
}

export interface HostCluster extends JoinCluster {
  readonly net: TestHosts;
  /** One small change that all members are to know. @returns when it was asked for, and when the last other host knew. */
  write(from: number, signal: AbortSignal): Promise<{ readonly asked_ms: number; readonly known_ms: number }>;
  /** Takes a host's rights away, for those who have such a thing. Resolves when it is asked for, with when that was. */
  revoke?(victim: number, signal: AbortSignal): Promise<number>;
  /** kill -9 of the agent. @returns when. */
  kill(number: number): number;
  /** Of the agent and all that it has started. */
  processes(number: number): readonly number[];
}

export type MakeCluster = (hosts_count: number) => Promise<HostCluster>;

export function hostNumbers(count: number): number[] {
  return Array.from({ length: count }, (_, at) => at + 1);
}

/** Waits until the sights of all these hosts are as wanted. @returns when the last of them was. @throws Error past `ms_max`. */
export async function allSee(
  cluster: JoinCluster,
  observers: readonly number[],
  wanted: (sight: Sight) => boolean,
  { what, ms_max, signal }: { readonly what: string; readonly ms_max: number; readonly signal: AbortSignal },
): Promise<number> {
  return await within(`${cluster.name}: ${what}`, ms_max, signal, async (limit) =>
    Math.max(...(await Promise.all(observers.map((observer) => cluster.sees(observer, wanted, limit))))),
  );
}

/** @throws Error when `work`, which must heed the signal, took too long; why the signal aborted when that did. */
export async function within<T>(
  what: string,
  ms_max: number,
  signal: AbortSignal,
  work: (limit: AbortSignal) => Promise<T>,
): Promise<T> {
  const timeout = AbortSignal.timeout(ms_max);
  try {
    return await work(AbortSignal.any([signal, timeout]));
  } catch (error) {
    signal.throwIfAborted();
    if (timeout.aborted) throw new Error(`not so after ${ms_max / 1000} s: ${what}`, { cause: error });
    throw error;
  }
}

/** All of these are alive, in this sight. */
export function isWhole(numbers: readonly number[]): (sight: Sight) => boolean {
  return (sight) => numbers.every((number) => sight.get(number) === 'alive');
}

/** It is no member any more: nobody accepts its connections or its records. */
export function holdsNoMore(subject: number): (sight: Sight) => boolean {
  return (sight) => !sight.has(subject);
}

export function holdsFailed(subject: number): (sight: Sight) => boolean {
  return (sight) => sight.get(subject) === 'failed';
}
