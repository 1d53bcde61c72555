/**
 * Runs the production cores under virtual time, network and disk; `scripts/simulate` calls this. The same arguments
 * give the same run, bit for bit. With --seeds it runs each seed, in several processes when --jobs says so.
 * Exit 1 when an invariant fails, 2 on wrong usage.
 */
import { parseArgs } from 'node:util';
import { NODES_MIN, type Progress } from '../test/sim/play.ts';
import { SCENARIOS } from '../test/sim/scenarios.ts';
import { type Report, simulate } from '../test/sim/simulate.ts';
import { type Broken, type Listener, runAll, runInProcesses, type Sweep } from './simulate-parts/sweep.ts';

const USAGE = `usage: simulate --nodes N --seed S --scenario NAME [--hours H] [--trace] [--json]
       simulate --nodes N --seeds A..B --scenario NAME|all [--jobs J] [--hours H] [--json]
       simulate --list`;
const JOBS_MAX = 64;
const HOUR_MS = 3_600_000;
/** Between two lines that say how far it is. */
const SAID_MS = 30_000;

interface Options extends Sweep {
  readonly isSweep: boolean;
  readonly isJson: boolean;
  readonly jobs_count: number;
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
  const [from, to = from, ...more] = (values.seeds ?? values.seed)
    .split('..')
    .map((text) => whole('a seed', text));
  if (to! < from! || more.length > 0) throw new RangeError('--seeds goes from one up to another: 1..9');
  const hours = values.hours === undefined ? undefined : Number(values.hours);
  if (hours !== undefined && !(hours > 0 && hours <= 10_000)) throw new RangeError('--hours is over 0');
  const jobs_count = whole('--jobs', values.jobs);
  if (jobs_count < 1 || jobs_count > JOBS_MAX) throw new RangeError(`--jobs is 1 to ${JOBS_MAX}`);
  const isSweep = values.seeds !== undefined;
  if (values.scenario === 'all' && !isSweep) throw new RangeError('all scenarios need --seeds');
  for (const name of values.scenario.split(','))
    if (name !== 'all' && !Object.hasOwn(SCENARIOS, name)) throw new RangeError(`no scenario ${name}`);
  const nodes_count = whole('--nodes', values.nodes);
  const scenarios = values.scenario === 'all' ? Object.keys(SCENARIOS) : values.scenario.split(',');
  for (const name of scenarios) {
    const { nodes_min = NODES_MIN } = SCENARIOS[name]!;
    if (nodes_count < nodes_min) throw new RangeError(`${name} is of ${nodes_min} nodes or more`);
  }
  if (hours !== undefined && scenarios.every((name) => SCENARIOS[name]!.hasOwnTime))
    throw new RangeError(`${scenarios.join(', ')}: --hours changes nothing`);
  return {
    nodes_count,
    scenarios,
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

function show(report: Report | Broken): void {
  for (const [name, value] of Object.entries(report)) {
    if (name === 'violations') continue;
    const text = typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
    console.log(`${name.padEnd(22)} ${text}`);
  }
}

/** What a process of the sweep is called with. */
function argsOf({ nodes_count, seeds, scenarios, hours }: Sweep): readonly string[] {
  return [
    import.meta.filename,
    ...['--nodes', String(nodes_count), '--seeds', seeds.join('..'), '--scenario', scenarios.join(',')],
    ...['--json', ...(hours === undefined ? [] : ['--hours', String(hours)])],
  ];
}

async function main(): Promise<number> {
  let chosen: Options | 'list';
  try {
    chosen = options();
    if (chosen === 'list') {
      for (const [name, { what }] of Object.entries(SCENARIOS)) console.log(`${name.padEnd(22)} ${what}`);
      return 0;
    }
  } catch (error) {
    const isUsage = error instanceof RangeError || (error instanceof Error && 'code' in error);
    if (!isUsage) throw error;
    console.error(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  const begin_ms = performance.now();
  const { isSweep, isJson, jobs_count } = chosen;
  const listener: Listener = {
    onRun: (run) => {
      if (isJson) console.log(JSON.stringify(run));
      else if (!isSweep) show(run);
    },
    say: (line) => console.error(line),
    ...(isSweep ? {} : { onProgress: progressLine() }),
  };
  const tally =
    jobs_count > 1
      ? await runInProcesses(chosen, jobs_count, argsOf, listener)
      : runAll(chosen, simulate, listener);
  if (isSweep) {
    const wall_s = (performance.now() - begin_ms) / 1000;
    const summary = {
      runs_count: tally.runs_count,
      failed_count: tally.failed_count,
      node_s: Math.round(tally.node_s),
      wall_s: Math.round(wall_s),
      node_s_per_wall_s: Math.round(tally.node_s / wall_s),
    };
    if (isJson) console.log(JSON.stringify({ summary }));
    else
      console.log(
        `${tally.runs_count} runs, ${tally.failed_count} failed; ${summary.node_s} node-seconds in ${summary.wall_s} s`,
      );
  }
  return tally.failed_count > 0 ? 1 : 0;
}

process.exitCode = await main();
