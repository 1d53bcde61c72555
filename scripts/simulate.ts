/**
 * Runs the production cores under virtual time, network and disk; `scripts/simulate` calls this. The same arguments
 * give the same run, bit for bit. With --seeds it runs each seed, in several processes when --jobs says so.
 * Exit 1 when an invariant fails, 2 on wrong usage.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import type { Progress } from '../test/sim/play.ts';
import { SCENARIOS } from '../test/sim/scenarios.ts';
import { type Report, replayCommand, simulate } from '../test/sim/simulate.ts';

const USAGE = `usage: simulate --nodes N --seed S --scenario NAME [--hours H] [--trace] [--json]
       simulate --nodes N --seeds A..B --scenario NAME|all [--jobs J] [--hours H] [--json]
       simulate --list`;
const JOBS_MAX = 64;
const HOUR_MS = 3_600_000;
/** Between two lines that say how far it is. */
const SAID_MS = 30_000;

interface Options {
  readonly nodes_count: number;
  readonly scenarios: readonly string[];
  readonly hours: number | undefined;
  readonly seeds: readonly [from: number, to: number];
  readonly isSweep: boolean;
  readonly isTraced: boolean;
  readonly isJson: boolean;
  readonly jobs_count: number;
}

interface Tally {
  runs_count: number;
  failed_count: number;
  node_s: number;
}

/** @throws RangeError or a TypeError of parseArgs on wrong usage. */
function options(): Options | 'list' {
  const { values } = parseArgs({
    options: {
      nodes: { type: 'string', default: '20' },
      seed: { type: 'string', default: '1' },
      seeds: { type: 'string' },
      scenario: { type: 'string', default: 'mixed' },
      hours: { type: 'string' },
      jobs: { type: 'string', default: '1' },
      trace: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
  });
  if (values.list) return 'list';
  const [from, to = from] = (values.seeds ?? values.seed).split('..').map((text) => whole('a seed', text));
  const hours = values.hours === undefined ? undefined : Number(values.hours);
  if (hours !== undefined && !(hours > 0 && hours <= 10_000)) throw new RangeError('--hours is over 0');
  const jobs_count = whole('--jobs', values.jobs);
  if (jobs_count < 1 || jobs_count > JOBS_MAX) throw new RangeError(`--jobs is 1 to ${JOBS_MAX}`);
  const isSweep = values.seeds !== undefined;
  if (values.scenario === 'all' && !isSweep) throw new RangeError('all scenarios need --seeds');
  for (const name of values.scenario.split(','))
    if (name !== 'all' && !Object.hasOwn(SCENARIOS, name)) throw new RangeError(`no scenario ${name}`);
  return {
    nodes_count: whole('--nodes', values.nodes),
    scenarios: values.scenario === 'all' ? Object.keys(SCENARIOS) : values.scenario.split(','),
    hours,
    seeds: [from!, to!],
    isSweep,
    isTraced: values.trace,
    isJson: values.json,
    jobs_count,
  };
}

function whole(what: string, text: string): number {
  const value = Number(text);
  if (text === '' || !Number.isSafeInteger(value)) throw new RangeError(`${what} is a whole number`);
  return value;
}

/** A line now and then on standard error while a single run takes long. */
function progressLine(): (progress: Progress) => void {
  let said_ms = Date.now();
  return ({ virtual_ms, until_ms, falseVerdicts_count }) => {
    if (Date.now() - said_ms < SAID_MS) return;
    said_ms = Date.now();
    const [at_h, of_h] = [virtual_ms, until_ms].map((ms) => (ms / HOUR_MS).toFixed(2));
    console.error(`simulate: hour ${at_h} of ${of_h}, ${falseVerdicts_count} false verdicts`);
  };
}

function runAll(chosen: Options): Tally {
  const { nodes_count, hours, isTraced } = chosen;
  const tally: Tally = { runs_count: 0, failed_count: 0, node_s: 0 };
  for (const scenario of chosen.scenarios) {
    for (let seed = chosen.seeds[0]; seed <= chosen.seeds[1]; seed += 1) {
      const init = { nodes_count, seed, scenario, isTraced, ...(hours === undefined ? {} : { hours }) };
      const report = simulate(chosen.isSweep ? init : { ...init, onProgress: progressLine() });
      tally.runs_count += 1;
      tally.node_s += report.virtual_s * report.nodes_count;
      if (chosen.isJson) console.log(JSON.stringify(report));
      else if (!chosen.isSweep) show(report);
      if (report.violations.length === 0) continue;
      tally.failed_count += 1;
      for (const violation of report.violations) console.error(`seed ${seed}: ${violation}`);
      console.error(`${report.violations.length} violations; again: ${replayCommand(init)}`);
    }
  }
  return tally;
}

function show(report: Report): void {
  for (const [name, value] of Object.entries(report)) {
    if (name === 'violations') continue;
    const text = typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
    console.log(`${name.padEnd(22)} ${text}`);
  }
}

/** Seeds in turn to each of the processes: the parts are about equal, whatever the order of hard seeds. */
async function runInProcesses(chosen: Options): Promise<Tally> {
  const [from, to] = chosen.seeds;
  const count = Math.min(chosen.jobs_count, to - from + 1);
  const tally: Tally = { runs_count: 0, failed_count: 0, node_s: 0 };
  const size = Math.ceil((to - from + 1) / count);
  const parts = Array.from({ length: count }, (_, at) => {
    const first = from + at * size;
    return runPart(chosen, first, Math.min(to, first + size - 1), tally);
  });
  await Promise.all(parts);
  return tally;
}

function runPart(chosen: Options, from: number, to: number, tally: Tally): Promise<void> {
  if (from > to) return Promise.resolve();
  const time = chosen.hours === undefined ? [] : ['--hours', String(chosen.hours)];
  const child = spawn(
    process.execPath,
    [
      import.meta.filename,
      ...['--nodes', String(chosen.nodes_count), '--seeds', `${from}..${to}`],
      ...['--scenario', chosen.scenarios.join(','), '--json', ...time],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (!line.startsWith('{"nodes_count"')) return;
    const report = JSON.parse(line) as Report;
    tally.runs_count += 1;
    tally.node_s += report.virtual_s * report.nodes_count;
    if (report.violations.length > 0) tally.failed_count += 1;
    if (chosen.isJson) console.log(line);
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0 || code === 1) resolve();
      else reject(new Error(`seeds ${from} to ${to} ended with ${code}`));
    });
  });
}

async function main(): Promise<number> {
  let chosen: Options | 'list';
  try {
    chosen = options();
    if (chosen === 'list') {
      for (const [name, { what }] of Object.entries(SCENARIOS)) console.log(`${name.padEnd(22)} ${what}`);
      return 0;
    }
    if (chosen.nodes_count < 2) throw new RangeError('2 nodes or more');
  } catch (error) {
    const isUsage = error instanceof RangeError || (error instanceof Error && 'code' in error);
    if (!isUsage) throw error;
    console.error(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  const begin_ms = performance.now();
  const tally = chosen.jobs_count > 1 ? await runInProcesses(chosen) : runAll(chosen);
  if (chosen.isSweep) {
    const wall_s = (performance.now() - begin_ms) / 1000;
    const summary = {
      runs_count: tally.runs_count,
      failed_count: tally.failed_count,
      node_s: Math.round(tally.node_s),
      wall_s: Math.round(wall_s),
      node_s_per_wall_s: Math.round(tally.node_s / wall_s),
    };
    if (chosen.isJson) console.log(JSON.stringify({ summary }));
    else
      console.log(
        `${tally.runs_count} runs, ${tally.failed_count} failed; ${summary.node_s} node-seconds in ${summary.wall_s} s`,
      );
  }
  return tally.failed_count > 0 ? 1 : 0;
}

process.exitCode = await main();
