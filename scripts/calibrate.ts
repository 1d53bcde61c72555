/**
 * Real daemons in network namespaces next to the same sizes simulated, so that what the simulator says can be believed:
 *   node scripts/calibrate.ts [--sizes 3,10,30] [--rounds 10] [--json]
 * Prints both columns and their ratio. The figures of the daemons are those of this machine at this time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type ShoalHosts, ShoalHosts as ShoalHostsOf, whyNot } from '../test/hosts/shoal-hosts.ts';
import { simulate } from '../test/sim/simulate.ts';

const USAGE = 'usage: calibrate [--sizes 3,10,30] [--rounds N] [--json]';
/** How finely daemons are asked what they know. */
const ASKED_MS = 10;
const NOTICED_MS_MAX = 60_000;
/** After the last member has joined: first probes, and records of the join, are over. */
const SETTLE_MS = 10_000;
const IDLE_MS = 30_000;
const SEEDS = [1, 2, 3, 4, 5];
const NODES_MAX = 100;

interface Figures {
  /** From a write to the last node that shows it. */
  readonly appliedOnAll_ms: readonly number[];
  /** From kill -9 of a daemon to the last survivor that holds it as failed. */
  readonly noticed_ms: readonly number[];
  /** Received by a node at rest, headers and all. */
  readonly idle_bytes_s: readonly number[];
}

interface Row {
  readonly nodes_count: number;
  readonly name: string;
  readonly unit: string;
  readonly real: number;
  readonly real_max: number;
  readonly simulated: number;
  readonly simulated_max: number;
  readonly ratio: number;
  readonly rounds: number;
}

async function measureReal(nodes_count: number, rounds_count: number): Promise<Figures> {
  const hosts = await ShoalHostsOf.create(nodes_count);
  try {
    const numbers = hosts.all.map(({ number }) => number);
    await hosts.startDaemons(numbers, ['--driver', 'process', '--no-mdns']);
    await hosts.form();
    await sleep(SETTLE_MS);
    const idle_bytes_s = await restingBytes(hosts);
    const appliedOnAll_ms: number[] = [];
    for (let round = 0; round < rounds_count; round += 1) {
      appliedOnAll_ms.push(await writeAndSee(hosts, 1 + (round % nodes_count), round % 2 === 0));
      await sleep(200 + Math.random() * 300);
    }
    const doomed = numbers.slice(-Math.min(3, Math.floor((nodes_count - 1) / 2)));
    const noticed_ms: number[] = [];
    const survivors = new Set(numbers);
    for (const number of doomed) {
      survivors.delete(number);
      noticed_ms.push(await killAndSee(hosts, number, [...survivors]));
      await sleep(SETTLE_MS / 2);
    }
    return { appliedOnAll_ms, noticed_ms, idle_bytes_s };
  } finally {
    await hosts[Symbol.asyncDispose]();
  }
}

async function restingBytes(hosts: ShoalHosts): Promise<number[]> {
  const count = () => Promise.all(hosts.all.map(({ number }) => receivedBytes(hosts, number)));
  const before = await count();
  await sleep(IDLE_MS);
  const after = await count();
  return after.map((bytes, at) => (bytes - before[at]!) / (IDLE_MS / 1000));
}

/** Of all interfaces of a host but its loopback. */
async function receivedBytes(hosts: ShoalHosts, number: number): Promise<number> {
  const { stdout } = await hosts.net.exec(number, ['cat', '/proc/net/dev']);
  let sum = 0;
  for (const line of stdout.split('\n').slice(2)) {
    const [name, bytes] = line.trim().split(/[:\s]+/);
    if (name !== undefined && name !== '' && name !== 'lo') sum += Number(bytes);
  }
  return sum;
}

async function writeAndSee(hosts: ShoalHosts, writer: number, isCordoned: boolean): Promise<number> {
  const { api, node } = hosts.host(writer);
  const intent = isCordoned ? 'cordoned' : 'active';
  const before = (await api.nodes()).find(({ id }) => id === node)?.intent;
  const wanted = before === intent ? (intent === 'active' ? 'cordoned' : 'active') : intent;
  const begin_ms = performance.now();
  await api.setIntent(node, wanted);
  return await untilAllSee(
    hosts,
    begin_ms,
    hosts.all.map(({ number }) => number),
    (nodes) => nodes.some((one) => one.id === node && one.intent === wanted),
  );
}

async function killAndSee(hosts: ShoalHosts, number: number, survivors: readonly number[]): Promise<number> {
  const { node } = hosts.host(number);
  const begin_ms = performance.now();
  await hosts.endDaemon(number, 'SIGKILL');
  return await untilAllSee(hosts, begin_ms, survivors, (nodes) =>
    nodes.some((one) => one.id === node && one.status === 'failed'),
  );
}

type Nodes = Awaited<ReturnType<ShoalHosts['all'][number]['api']['nodes']>>;

/** @returns milliseconds from `begin_ms` until the last of these hosts shows it. */
async function untilAllSee(
  hosts: ShoalHosts,
  begin_ms: number,
  numbers: readonly number[],
  sees: (nodes: Nodes) => boolean,
): Promise<number> {
  const times_ms = await Promise.all(
    numbers.map(async (number) => {
      for (;;) {
        if (sees(await hosts.host(number).api.nodes())) return performance.now() - begin_ms;
        if (performance.now() - begin_ms > NOTICED_MS_MAX)
          throw new Error(`host${number} did not see it within ${NOTICED_MS_MAX / 1000} s`);
        await sleep(ASKED_MS);
      }
    }),
  );
  return Math.max(...times_ms);
}

function measureSimulated(nodes_count: number): Figures {
  const runs = (scenario: string) => SEEDS.map((seed) => simulate({ nodes_count, seed, scenario }));
  return {
    appliedOnAll_ms: runs('calm').map(({ appliedOnAll_ms }) => appliedOnAll_ms.p50),
    // The third to die there is a whole host.
    noticed_ms: runs('kills').flatMap(({ noticed_ms }) => noticed_ms.slice(0, 2).filter((ms) => ms !== null)),
    idle_bytes_s: runs('idle').map(({ bytes_per_node_s }) => bytes_per_node_s),
  };
}

function rowsOf(nodes_count: number, real: Figures, simulated: Figures): Row[] {
  const names: readonly [keyof Figures, string, string][] = [
    ['appliedOnAll_ms', 'written -> shown on all', 'ms'],
    ['noticed_ms', 'killed -> all know', 'ms'],
    ['idle_bytes_s', 'received at rest', 'bytes/s'],
  ];
  return names.map(([key, name, unit]) => ({
    nodes_count,
    name,
    unit,
    real: median(real[key]),
    real_max: Math.round(Math.max(...real[key])),
    simulated: median(simulated[key]),
    simulated_max: Math.round(Math.max(...simulated[key])),
    ratio: Math.round((median(real[key]) / median(simulated[key])) * 100) / 100,
    rounds: real[key].length,
  }));
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return Math.round((sorted[Math.floor(sorted.length / 2)] ?? Number.NaN) * 10) / 10;
}

function options() {
  const { values } = parseArgs({
    options: {
      sizes: { type: 'string', default: '3,10,30' },
      rounds: { type: 'string', default: '10' },
      json: { type: 'boolean', default: false },
    },
  });
  const sizes = values.sizes.split(',').map(Number);
  const isSize = (size: number) => Number.isSafeInteger(size) && size >= 3 && size <= NODES_MAX;
  if (!sizes.every(isSize)) throw new RangeError(`--sizes are 3 to ${NODES_MAX}`);
  const rounds_count = Number(values.rounds);
  if (!Number.isSafeInteger(rounds_count) || rounds_count < 1) throw new RangeError('--rounds is 1 or more');
  return { sizes, rounds_count, isJson: values.json };
}

async function main(): Promise<number> {
  let chosen: ReturnType<typeof options>;
  try {
    chosen = options();
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  const reason = await whyNot();
  if (reason !== false) {
    console.error(`calibrate: no hosts can be made here: ${reason}`);
    return 1;
  }
  for (const nodes_count of chosen.sizes) {
    const simulated = measureSimulated(nodes_count);
    const real = await measureReal(nodes_count, chosen.rounds_count);
    for (const row of rowsOf(nodes_count, real, simulated)) {
      if (chosen.isJson) console.log(JSON.stringify(row));
      else {
        const [a, b] = [`${row.real} (max ${row.real_max})`, `${row.simulated} (max ${row.simulated_max})`];
        const head = `${String(nodes_count).padStart(3)} nodes  ${row.name.padEnd(24)}`;
        console.log(
          `${head} real ${a.padEnd(20)} simulated ${b.padEnd(20)} ${row.unit.padEnd(8)} x${row.ratio}`,
        );
      }
    }
  }
  return 0;
}

process.exitCode = await main();
