/** What is done to a cluster and what of it is measured: the same for real daemons and for simulated ones. */
import { hostNumbers } from '../bench-parts/hosts/host-cluster.ts';
import type { CalibratedCluster } from './cluster.ts';

export interface Figures {
  /** From a record's stamp until the last node has taken it in. */
  readonly written_ms: number[];
  /** Received by a host for one record, beyond what it receives at rest. */
  readonly written_bytes: number[];
  /** From kill -9 of a daemon until the last survivor holds it as failed. */
  readonly killed_ms: number[];
  /** From a link that goes down until the last other node holds its host as failed. */
  readonly silent_ms: number[];
  /** From the link's return until all hold all alive. */
  readonly healed_ms: number[];
  /** Received by one host at rest. */
  readonly rest_bytes_s: number[];
}

export type Figure = keyof Figures;

/** Has something happen that a figure is made of: real clusters note what the machine does meanwhile. */
export type During = <T>(figure: Figure, work: () => Promise<T>) => Promise<T>;

export const SILENCE_MS = 20_000;
export const WRITES_A_ROUND = 5;
const REST_MS = 8_000;
/** After a fault, until all is quiet again. */
const SETTLE_MS = 2_000;

/** @param rounds kills and silences; of writes there are more. @throws Error when something does not come about. */
export async function measure(cluster: CalibratedCluster, rounds: number, during: During): Promise<Figures> {
  const all = hostNumbers(cluster.nodes_count);
  const figures: Figures = {
    written_ms: [],
    written_bytes: [],
    killed_ms: [],
    silent_ms: [],
    healed_ms: [],
    rest_bytes_s: [],
  };
  const before = cluster.received_bytes();
  const from_ms = cluster.now_ms();
  const writers = Array.from({ length: rounds * WRITES_A_ROUND }, (_, at) => all[at % all.length]!);
  figures.written_ms.push(...(await during('written_ms', () => cluster.write(writers))));
  const written_bytes = cluster.received_bytes().map((bytes, at) => bytes - before[at]!);
  const took_s = (cluster.now_ms() - from_ms) / 1000;
  await during('rest_bytes_s', async () => {
    const restFrom_bytes = cluster.received_bytes();
    await cluster.pass(REST_MS);
    const rates = cluster
      .received_bytes()
      .map((bytes, at) => ((bytes - restFrom_bytes[at]!) / REST_MS) * 1000);
    figures.rest_bytes_s.push(...rates);
  });
  const rest_bytes = figures.rest_bytes_s.map((rate) => rate * took_s);
  figures.written_bytes.push((sum(written_bytes) - sum(rest_bytes)) / all.length / writers.length);
  for (let round = 0; round < rounds; round += 1) {
    const victim = all[all.length - 1 - (round % all.length)]!;
    const others = all.filter((host) => host !== victim);
    await during('killed_ms', async () => {
      const from_ms = cluster.now_ms();
      cluster.kill(victim);
      figures.killed_ms.push((await cluster.held(others, [victim], 'failed')) - from_ms);
    });
    await cluster.restart(victim);
    await cluster.pass(SETTLE_MS);
  }
  for (let round = 0; round < rounds; round += 1) {
    const victim = all[round % all.length]!;
    const others = all.filter((host) => host !== victim);
    const down_ms = cluster.now_ms();
    await during('silent_ms', async () => {
      cluster.isolate(victim);
      figures.silent_ms.push((await cluster.held(others, [victim], 'failed')) - down_ms);
    });
    await cluster.pass(Math.max(0, down_ms + SILENCE_MS - cluster.now_ms()));
    await during('healed_ms', async () => {
      const from_ms = cluster.now_ms();
      cluster.rejoin(victim);
      figures.healed_ms.push((await cluster.held(all, all, 'alive')) - from_ms);
    });
    await cluster.pass(SETTLE_MS);
  }
  return figures;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
