/**
 * One contestant of the `ledger` benchmark in a process of its own, so that no heap and no compiler state is shared:
 * it writes its messages, says that it is ready, and then runs one round each time that it is told to.
 */
import { automergeReplicas, loroReplicas, yjsReplicas } from './peer-replicas.ts';
import type { Grouping, MakeReplica, Replica } from './replica.ts';
import { gossipOf, signedReplicas, unsignedReplicas, verifyCeiling } from './shoal-replica.ts';
import { lastValues, makeTrace, TRACE_SIZE, type TraceSize, type Update } from './trace.ts';

export const CONTESTANTS = ['shoal-unsigned', 'shoal-signed', 'ed25519', 'yjs', 'automerge', 'loro'] as const;
export type ContestantName = (typeof CONTESTANTS)[number];

/**
 * Microseconds of CPU time. A round is as many replicas as fill it, one after another: garbage is collected every few
 * tens of milliseconds of work, so of shorter rounds one would pay for another.
 */
const ROUND_CPU_US = 1_000_000;
/**
 * The compiler's first looks are nobody's speed, least of all that of a daemon which runs for months: it comes back to
 * the code of each for some seconds.
 */
const WARM_UP_CPU_US = 4_000_000;

/** Sent when ready, and after each round. */
export type Told = { readonly ready: true } | { readonly updates_per_s: number };

function makeReplicas(name: ContestantName, grouping: Grouping, trace: readonly Update[]): MakeReplica {
  const gossip = () => gossipOf(trace, grouping);
  switch (name) {
    case 'shoal-unsigned':
      return unsignedReplicas(gossip());
    case 'shoal-signed':
      return signedReplicas(gossip());
    case 'ed25519':
      // What a seal saves is to be seen: here each update has a signature of its own.
      return verifyCeiling(gossipOf(trace, grouping === 'one' ? 'one' : 'batch'));
    case 'yjs':
      return yjsReplicas(trace, grouping);
    case 'automerge':
      return automergeReplicas(trace, grouping);
    case 'loro':
      return loroReplicas(trace, grouping);
  }
}

/** Automerge takes some hundred single changes a second: as many as the others take would be minutes a round. */
function sizeFor(name: ContestantName, grouping: Grouping): TraceSize {
  const isSlow = name === 'automerge' && grouping === 'one';
  return isSlow ? { ...TRACE_SIZE, updates: TRACE_SIZE.updates / 10 } : TRACE_SIZE;
}

/**
 * @returns updates a second of CPU time, collection of garbage by other threads included: what one core does when it
 * does nothing else, whatever else the machine does. @throws Error when the result is wrong.
 */
function run(
  make: MakeReplica,
  expected: ReadonlyMap<string, string>,
  updates: number,
  least_us: number,
): number {
  let [replicas, cpu_us] = [0, 0];
  while (cpu_us < least_us) {
    cpu_us += fill(make(), expected);
    replicas += 1;
  }
  return ((replicas * updates) / cpu_us) * 1e6;
}

/** All that is live is read once: who decodes a value only then pays for it. @returns microseconds of CPU time. */
function fill(replica: Replica, expected: ReadonlyMap<string, string>): number {
  const start = process.cpuUsage();
  replica.apply();
  for (const [key, value] of expected) {
    if (replica.read(key) !== value) throw new Error(`${key} is not what was written last`);
  }
  const { user, system } = process.cpuUsage(start);
  return user + system;
}

function tell(message: Told): void {
  process.send?.(message);
}

if (process.send !== undefined) {
  const [name, grouping] = process.argv.slice(2) as [ContestantName, Grouping];
  const trace = makeTrace(sizeFor(name, grouping));
  const expected = lastValues(trace);
  const make = makeReplicas(name, grouping, trace);
  run(make, expected, trace.length, WARM_UP_CPU_US);
  process.on('message', () => tell({ updates_per_s: run(make, expected, trace.length, ROUND_CPU_US) }));
  tell({ ready: true });
}
