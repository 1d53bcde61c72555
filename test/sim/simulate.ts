/** One whole run: played, judged by all checkers, and measured. Same arguments, same result. */
import { CHECKERS } from './checkers/all.ts';
import { noticed_ms } from './checkers/deaths-are-noticed.ts';
import { PEAKS, type Peak } from './peaks.ts';
import { play, type SimulationInit } from './play.ts';

/** Violations of one checker that a report shows; more are counted. */
const SHOWN_MAX = 10;

export interface Spread {
  readonly count: number;
  /** Null when there is nothing to tell of. */
  readonly p50: number | null;
  readonly p99: number | null;
  readonly max: number | null;
}

export interface Report {
  readonly nodes_count: number;
  readonly seed: number;
  readonly scenario: string;
  readonly violations: readonly string[];
  readonly virtual_s: number;
  readonly steps_count: number;
  /** Steps for each node and virtual second. */
  readonly steps_per_node_s: number;
  /** Every time that a view called a member failed, or doubted one. */
  readonly failed_count: number;
  readonly suspect_count: number;
  readonly falseVerdicts_count: number;
  /** Verdicts that were neither false nor of the dead: one of both was in trouble, or had been lately. */
  readonly excused_count: number;
  /** Times that a member was found to be held as failed long after both were well; looked at every ten seconds. */
  readonly heldWrongly_count: number;
  readonly refutations_count: number;
  readonly isolations_count: number;
  readonly bans_count: number;
  readonly acknowledged_count: number;
  readonly deletions_count: number;
  /** Horizons that nodes have moved up, each with all tombstones before it. */
  readonly collections_count: number;
  readonly records_count: number;
  /** Why records were not taken, and how often. */
  readonly rejected: Readonly<Record<string, number>>;
  /** Writes that users were refused, by code. */
  readonly refused: Readonly<Record<string, number>>;
  /** From each death until the last living node held the member as failed; null: never. */
  readonly noticed_ms: readonly (number | null)[];
  /** From the last fault until all views were whole and all ledgers equal; null: never. */
  readonly converged_ms: number | null;
  /** From a write to its application on each node, and to that on the last node of all: of those that reached all. */
  readonly applied_ms: Spread;
  readonly appliedOnAll_ms: Spread;
  /** Copies of a published message that a node receives. */
  readonly copies: number;
  /** Messages that full queues of connections dropped. */
  readonly dropped_count: number;
  /** The most that any node kept of what has a cap, and the most things on their way in the whole world. */
  readonly peaks: Readonly<Record<Peak | 'things on their way', number>>;
  /** Received, with what carries them, before the last fault. */
  readonly bytes_per_node_s: number;
  readonly messages_per_node_s: number;
  /** The same bytes by what they were for: gossip, its IDONTWANT, anti-entropy, membership. */
  readonly channel_bytes_per_node_s: Readonly<Record<string, number>>;
  /** What anti-entropy brought from the last fault until all agreed, and what had been lacking, over all nodes. */
  readonly repair_bytes: number;
  readonly difference_bytes: number;
  /** Hex; null when it was not asked for. Bit for bit what happened. */
  readonly trace: string | null;
  /** Of the machine that ran it, and not of the run. */
  readonly wall_s: number;
  readonly cpu_s: number;
  readonly node_s_per_cpu_s: number;
  readonly rss_mb: number;
}

/** Plays a run, judges it and measures it. @throws as `play`. */
export function simulate(init: SimulationInit): Report {
  const { nodes_count, seed, scenario } = init;
  const begin_ms = performance.now();
  const begin_cpu = process.cpuUsage();
  const run = play(init);
  const wall_s = (performance.now() - begin_ms) / 1000;
  const cpu = process.cpuUsage(begin_cpu);
  // Of all threads: on a busy machine this says more than the time on the wall.
  const cpu_s = (cpu.user + cpu.system) / 1e6;
  const { world, chronicle, living, measured } = run;
  const violations = Object.entries(CHECKERS).flatMap(([name, check]) => {
    const found = check(run);
    const shown = found.slice(0, SHOWN_MAX).map((violation) => `${name}: ${violation}`);
    return found.length > SHOWN_MAX ? [...shown, `${name}: ${found.length - SHOWN_MAX} more`] : shown;
  });
  const virtual_s = world.now_ms / 1000;
  const sum = (of: 'gossipFirst_count' | 'gossipCopies_count') =>
    world.hosts.reduce((total, host) => total + host[of], 0);
  const { steady, repair } = measured;
  const node_s = nodes_count * virtual_s;
  const whole = [...chronicle.acknowledged.values()].filter(
    ({ applied_count }) => applied_count >= living.size,
  );
  return {
    nodes_count,
    seed,
    scenario,
    violations,
    virtual_s: rounded(virtual_s),
    steps_count: world.steps_count,
    steps_per_node_s: rounded(world.steps_count / node_s),
    failed_count: chronicle.counts.failed,
    suspect_count: chronicle.counts.suspect,
    falseVerdicts_count: chronicle.falseVerdicts.length,
    excused_count: chronicle.counts.excused,
    heldWrongly_count: chronicle.heldWrongly.length,
    refutations_count: chronicle.counts.refutations,
    isolations_count: chronicle.counts.isolations,
    bans_count: chronicle.bans.length,
    deletions_count: chronicle.deletions.length,
    collections_count: chronicle.counts.collections,
    acknowledged_count: chronicle.acknowledged.size,
    records_count: [...living.values()][0]?.ledger.ledger.size ?? 0,
    rejected: Object.fromEntries(chronicle.rejected),
    refused: Object.fromEntries(chronicle.refused),
    noticed_ms: noticed_ms(run).map(({ ms }) => ms),
    converged_ms: run.converged_ms === null ? null : Math.round(run.converged_ms),
    applied_ms: spreadOf(chronicle.latencies_ms),
    appliedOnAll_ms: spreadOf(whole.map(({ at_ms, last_ms }) => last_ms - at_ms)),
    copies: rounded(sum('gossipCopies_count') / Math.max(1, sum('gossipFirst_count'))),
    dropped_count: world.transport.dropped_count,
    peaks: {
      'things on their way': world.queue_max,
      ...(Object.fromEntries(PEAKS.map((peak) => [peak, run.peaks.of[peak].value])) as Record<Peak, number>),
    },
    bytes_per_node_s: rounded(steady.bytes / nodes_count / steady.seconds),
    messages_per_node_s: rounded(steady.messages / nodes_count / steady.seconds),
    channel_bytes_per_node_s: Object.fromEntries(
      Object.entries(steady.channel_bytes).map(([channel, bytes]) => [
        channel,
        rounded(bytes / nodes_count / steady.seconds),
      ]),
    ),
    repair_bytes: repair.bytes,
    difference_bytes: repair.difference_bytes,
    trace: world.trace?.digest() ?? null,
    wall_s: rounded(wall_s),
    cpu_s: rounded(cpu_s),
    node_s_per_cpu_s: Math.round(node_s / cpu_s),
    rss_mb: Math.round(process.memoryUsage().rss / 2 ** 20),
  };
}

/** The one command that plays this run again. */
export function replayCommand({ nodes_count, seed, scenario, hours }: SimulationInit): string {
  const time = hours === undefined ? '' : ` --hours ${hours}`;
  return `scripts/simulate --nodes ${nodes_count} --seed ${seed} --scenario ${scenario}${time} --trace`;
}

function spreadOf(values: readonly number[]): Spread {
  const sorted = Float64Array.from(values).sort();
  const at = (part: number) => {
    const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
    return value === undefined ? null : rounded(value);
  };
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
