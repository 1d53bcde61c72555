/**
 * `join`: ten agents run and know nobody; from the first command until all ten see all ten. Ours next to serf, joined
 * in the same way: all through the first, at the same time; nine of its commands start within what is measured, which ours
 * do not, for they go over the socket. And next to bare libp2p nodes that connect to one another:
 * what our libraries cost by themselves.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, BenchOptions } from '../bench.ts';
import { compareRounds, type Line } from '../result.ts';
import { createBareCluster } from './bare-cluster.ts';
import { hostsWhyNot, SERF_LAN, SERF_LOCAL, SHOAL } from './contestants.ts';
import { allSee, hostNumbers, isWhole, type JoinCluster, within } from './host-cluster.ts';

const HOSTS = 10;
const JOINED_MS_MAX = 90_000;
/** After the start of ten processes: it is not to be measured. */
const SETTLE_MS = 3_000;

interface Joiner {
  readonly name: string;
  readonly make: (hosts_count: number) => Promise<JoinCluster>;
}

const BARE: Joiner = { name: 'bare libp2p', make: createBareCluster };

export const joinBench: Bench = {
  name: 'join',
  about: `a cold cluster of ${HOSTS}: from the first command until all see all; next to serf and bare libp2p`,
  whyNot: hostsWhyNot,

  async *run(options: BenchOptions): AsyncIterable<Line> {
    const contestants: readonly Joiner[] = [SHOAL, SERF_LAN, SERF_LOCAL, BARE];
    const times = new Map<Joiner, number[]>(contestants.map((one) => [one, []]));
    for (let round = 1; round <= options.rounds; round += 1) {
      for (const contestant of contestants) {
        const took_ms = await joinOnce(contestant, options.signal);
        times.get(contestant)!.push(took_ms);
        options.say(`round ${round} of ${options.rounds}: ${contestant.name}: ${Math.round(took_ms)} ms`);
      }
    }
    for (const { name, values } of [SERF_LAN, SERF_LOCAL, BARE].map((one) => ({
      name: one.name,
      values: times.get(one)!,
    }))) {
      yield compareRounds({ name: `join-${HOSTS}-whole`, unit: 'ms' }, times.get(SHOAL)!, { name, values });
    }
  },
};

async function joinOnce(contestant: Joiner, signal: AbortSignal): Promise<number> {
  await using cluster = await contestant.make(HOSTS);
  const all = hostNumbers(HOSTS);
  await cluster.start(all);
  await sleep(SETTLE_MS, undefined, { signal });
  const start_ms = performance.now();
  const joined = within(`${cluster.name}: it forms`, JOINED_MS_MAX, signal, () => cluster.form());
  const [whole_ms] = await Promise.all([
    allSee(cluster, all, isWhole(all), { what: 'all see all', ms_max: JOINED_MS_MAX, signal }),
    joined,
  ]);
  return whole_ms - start_ms;
}
