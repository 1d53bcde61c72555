/**
 * Plays all seeds of all scenarios that were asked for, here or in several processes, and counts what came of it.
 * A run that breaks off is a failed one, with its replay command, and the others go on. No run is left uncounted:
 * a process that ends before its last run fails the sweep.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Progress, SimulationInit } from '../../test/sim/play.ts';
import { SCENARIOS } from '../../test/sim/scenarios.ts';
import { type Report, replayCommand, type simulate } from '../../test/sim/simulate.ts';

export interface Sweep {
  readonly nodes_count: number;
  readonly scenarios: readonly string[];
  /** Of those scenarios that have no time of their own. */
  readonly hours: number | undefined;
  /** The first and the last; the last is not before the first. */
  readonly seeds: readonly [from: number, to: number];
  readonly isTraced: boolean;
}

/** A run that broke off, in place of its report. */
export type Broken = Pick<Report, 'nodes_count' | 'seed' | 'scenario' | 'violations'>;

export interface Listener {
  readonly onRun: (run: Report | Broken) => void;
  readonly onProgress?: (progress: Progress) => void;
  /** For people. */
  readonly say: (line: string) => void;
}

export interface Tally {
  runs_count: number;
  failed_count: number;
  node_s: number;
}

export function runsOf({ scenarios, seeds: [from, to] }: Sweep): number {
  return scenarios.length * (to - from + 1);
}

/** @param run plays one run; what it throws is a failure of that run. */
export function runAll(sweep: Sweep, run: typeof simulate, { onRun, onProgress, say }: Listener): Tally {
  const { nodes_count, hours, isTraced, scenarios, seeds } = sweep;
  const tally: Tally = { runs_count: 0, failed_count: 0, node_s: 0 };
  for (const scenario of scenarios) {
    const isTimed = hours !== undefined && SCENARIOS[scenario]?.hasOwnTime !== true;
    for (let seed = seeds[0]; seed <= seeds[1]; seed += 1) {
      const init = { nodes_count, seed, scenario, isTraced, ...(isTimed ? { hours } : {}) };
      const report = attempt(run, onProgress === undefined ? init : { ...init, onProgress });
      count(tally, report);
      onRun(report);
      if (report.violations.length === 0) continue;
      for (const violation of report.violations) say(`seed ${seed}: ${violation}`);
      say(`${report.violations.length} violations; again: ${replayCommand(init)}`);
    }
  }
  return tally;
}

function attempt(run: typeof simulate, init: SimulationInit): Report | Broken {
  try {
    return run(init);
  } catch (error) {
    const { nodes_count, seed, scenario } = init;
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { nodes_count, seed, scenario, violations: [`the run broke off: ${what}`] };
  }
}

function count(tally: Tally, report: Report | Broken): void {
  tally.runs_count += 1;
  if ('virtual_s' in report) tally.node_s += report.virtual_s * report.nodes_count;
  if (report.violations.length > 0) tally.failed_count += 1;
}

/**
 * The same in so many processes, each with about as many seeds as the others.
 * @param argsOf with what Node plays a part of the seeds and prints one line of JSON for each run.
 */
export async function runInProcesses(
  sweep: Sweep,
  jobs_count: number,
  argsOf: (part: Sweep) => readonly string[],
  { onRun, say }: Listener,
): Promise<Tally> {
  const [from, to] = sweep.seeds;
  const size = Math.ceil((to - from + 1) / jobs_count);
  const tally: Tally = { runs_count: 0, failed_count: 0, node_s: 0 };
  const parts: Sweep[] = [];
  for (let first = from; first <= to; first += size)
    parts.push({ ...sweep, seeds: [first, Math.min(to, first + size - 1)] });
  const played = (run: Report | Broken) => {
    count(tally, run);
    onRun(run);
  };
  await Promise.all(parts.map((part) => runPart(part, argsOf(part), played, say)));
  const lacking_count = runsOf(sweep) - tally.runs_count;
  if (lacking_count !== 0) {
    say(`${lacking_count} of ${runsOf(sweep)} runs told nothing of themselves`);
    tally.failed_count += Math.abs(lacking_count);
  }
  return tally;
}

function runPart(
  { seeds: [from, to] }: Sweep,
  args: readonly string[],
  onRun: (run: Report | Broken) => void,
  say: (line: string) => void,
): Promise<void> {
  const child = spawn(process.execPath, [...process.execArgv, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('{"nodes_count"')) onRun(JSON.parse(line) as Report | Broken);
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code !== 0 && code !== 1) say(`seeds ${from} to ${to} ended with ${code ?? signal}`);
      resolve();
    });
  });
}
