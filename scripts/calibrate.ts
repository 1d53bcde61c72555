/**
 * Real daemons in network namespaces next to the same sizes simulated, so that what the simulator says can be believed:
 *   node scripts/calibrate.ts [--sizes 3,10,30] [--rounds 2] [--json]
 * The same is done to both, and measured by the same code (calibrate-parts/). The figures of the daemons are those of
 * this machine at this time: what it did meanwhile is printed beside them. Results go to stdout, the rest to stderr.
 */
import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { hostsAvailable } from '../test/hosts/harness.ts';
import { ACCESS } from '../test/sim/network.ts';
import { MachineLoad } from './calibrate-parts/machine-load.ts';
import { type Figures, measure, WRITES_A_ROUND } from './calibrate-parts/procedure.ts';
import { RealCluster } from './calibrate-parts/real-cluster.ts';
import { headText, LEGEND, type Row, rowsOf, rowText } from './calibrate-parts/report.ts';
import { SimulatedCluster } from './calibrate-parts/simulated-cluster.ts';

const USAGE = `usage: calibrate [--sizes 3,10,30] [--rounds N] [--json]
  --rounds  kills and silences of each size, ${WRITES_A_ROUND} times as many writes; default 2`;
const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const SEEDS = [1, 2, 3, 4, 5];
const NODES_MAX = 100;

interface Chosen {
  readonly sizes: readonly number[];
  readonly rounds: number;
  readonly isJson: boolean;
}

function note(text: string): void {
  process.stderr.write(`calibrate: ${text}\n`);
}

/** A breath between seeds: a signal must be heard. */
async function measureSimulated(
  nodes_count: number,
  rounds: number,
  signal: AbortSignal,
): Promise<Figures[]> {
  const runs: Figures[] = [];
  for (const seed of SEEDS) {
    await new Promise((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
    await using cluster = new SimulatedCluster(nodes_count, seed);
    runs.push(await measure(cluster, rounds, (_, work) => work()));
  }
  return runs;
}

async function calibrate(nodes_count: number, rounds: number, signal: AbortSignal): Promise<Row[]> {
  const simulated = await measureSimulated(nodes_count, rounds, signal);
  const begin_ms = performance.now();
  note(`${nodes_count} daemons start`);
  await using cluster = await RealCluster.create(nodes_count, signal);
  const took_s = Math.round((performance.now() - begin_ms) / 1000);
  const hop_ms = ((await cluster.roundTrip_ms()) ?? Number.NaN) / 2;
  note(
    `${nodes_count} daemons are one cluster after ${took_s} s; a hop takes ${hop_ms.toFixed(3)} ms at least`,
  );
  const machine = new MachineLoad(availableParallelism(), () => cluster.cpu_ms());
  const real = await measure(cluster, rounds, (figure, work) => machine.during(figure, work));
  return rowsOf(nodes_count, real, simulated, (figure) =>
    machine.of(figure === 'written_bytes' ? 'written_ms' : figure),
  );
}

function options(): Chosen {
  const { values } = parseArgs({
    options: {
      sizes: { type: 'string', default: '3,10,30' },
      rounds: { type: 'string', default: '2' },
      json: { type: 'boolean', default: false },
    },
  });
  const sizes = values.sizes.split(',').map(Number);
  const isSize = (size: number) => Number.isSafeInteger(size) && size >= 3 && size <= NODES_MAX;
  if (!sizes.every(isSize)) throw new RangeError(`--sizes are 3 to ${NODES_MAX}`);
  const rounds = Number(values.rounds);
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new RangeError('--rounds is 1 or more');
  return { sizes, rounds, isJson: values.json };
}

async function run({ sizes, rounds, isJson }: Chosen): Promise<number> {
  const available = hostsAvailable();
  if (available !== true) {
    note(`no hosts can be made here: ${available}`);
    return EXIT.failed;
  }
  const interrupted = new AbortController();
  for (const signal of SIGNALS) process.on(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));
  const { latency_ms, jitter_ms } = ACCESS.lan;
  const hop_ms = 2 * latency_ms + jitter_ms;
  note(
    `load ${loadavg()[0]!.toFixed(2)} on ${availableParallelism()} cores; a simulated hop takes ${hop_ms} ms`,
  );
  if (!isJson) console.log(headText());
  let isAllDone = true;
  for (const nodes_count of sizes) {
    try {
      for (const row of await calibrate(nodes_count, rounds, interrupted.signal))
        console.log(isJson ? JSON.stringify(row) : rowText(row));
    } catch (error) {
      if (interrupted.signal.aborted) {
        note('interrupted; what was made is taken away');
        return EXIT.interrupted;
      }
      note(`${nodes_count} daemons could not be measured: ${(error as Error).message}`);
      isAllDone = false;
    }
  }
  if (!isJson) console.log(LEGEND);
  return isAllDone ? EXIT.ok : EXIT.failed;
}

async function main(): Promise<number> {
  let chosen: Chosen;
  try {
    chosen = options();
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    return EXIT.usage;
  }
  return await run(chosen);
}

process.exitCode = await main();
