/**
 * One contestant of the `ledger` benchmark in a process of its own, so that no heap and no compiler state is shared:
 * it writes its messages, says that it is ready, and then runs one round each time that it is told to.
 */
import { automergeReplicas, loroReplicas, yjsReplicas } from './peer-replicas.ts';
import type { Grouping, MakeReplica } from './replica.ts';
import { gossipOf, signedReplicas, unsignedReplicas, verifyCeiling } from './shoal-replica.ts';
import { lastValues, makeTrace, TRACE_SIZE, type TraceSize, type Update } from './trace.ts';

export const CONTESTANTS = ['shoal-unsigned', 'shoal-signed', 'ed25519', 'yjs', 'automerge', 'loro'] as const;
export type ContestantName = (typeof CONTESTANTS)[number];

/** Of each contestant, whichever comes first. */
const WARM_UP_ROUNDS_MAX = 6;
const WARM_UP_MS_MAX = 5000;

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
function round(make: MakeReplica, trace: readonly Update[], expected: ReadonlyMap<string, string>): number {
  const replica = make();
  const start = process.cpuUsage();
  replica.apply();
  const { user, system } = process.cpuUsage(start);
  for (const [key, value] of expected) {
    if (replica.read(key) !== value) throw new Error(`${key} is not what was written last`);
  }
  return (trace.length / (user + system)) * 1e6;
}

/**
 * The compiler's first looks are nobody's speed, least of all that of a daemon which runs for months: it comes back to
 * the code of each for some rounds.
 */
function warmUp(runOnce: () => void): void {
  const start = performance.now();
  for (let rounds = 0; rounds < WARM_UP_ROUNDS_MAX; rounds += 1) {
    runOnce();
    if (performance.now() - start > WARM_UP_MS_MAX) return;
  }
}

function tell(message: Told): void {
  process.send?.(message);
}

if (process.send !== undefined) {
  const [name, grouping] = process.argv.slice(2) as [ContestantName, Grouping];
  const trace = makeTrace(sizeFor(name, grouping));
  const expected = lastValues(trace);
  const make = makeReplicas(name, grouping, trace);
  warmUp(() => round(make, trace, expected));
  process.on('message', () => tell({ updates_per_s: round(make, trace, expected) }));
  tell({ ready: true });
}
