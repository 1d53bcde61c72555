/**
 * `idle`: what an agent costs that has nothing to do: memory, CPU and traffic, in clusters of 3 and 10, next to serf of
 * the same size and next to dockerd with containerd, which has no cluster at all. One contestant runs at a time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, BenchOptions } from '../bench.ts';
import { compareSamples, type Line } from '../result.ts';
import { type HostContestant, hostsWhyNot, SERF_LAN, SHOAL } from './contestants.ts';
import { cpuOf, proportionalOf, residentOf, trafficOf } from './cost.ts';
import { DockerDaemons, dockerPrograms } from './docker-daemons.ts';
import { allSee, hostNumbers, isWhole, within } from './host-cluster.ts';

const SIZES = [3, 10];
const FORM_MS_MAX = 60_000;
/** After forming: what a start costs is no rest. */
const SETTLE_MS = 20_000;
const DOCKER = 'dockerd + containerd';
const MEGABYTE = 1e6;

/** Of each agent, one value. */
interface Rest {
  readonly pss_mb: number[];
  readonly rss_mb: number[];
  /** Of one core. */
  readonly cpu_percent: number[];
  readonly received_bytes_per_s: number[];
  readonly sent_bytes_per_s: number[];
}

const UNITS: Readonly<Record<keyof Rest, readonly [name: string, unit: string]>> = {
  pss_mb: ['pss', 'MB'],
  rss_mb: ['rss', 'MB'],
  cpu_percent: ['cpu', '% of a core'],
  received_bytes_per_s: ['received', 'bytes/s'],
  sent_bytes_per_s: ['sent', 'bytes/s'],
};
const OF_DOCKER = ['pss_mb', 'rss_mb', 'cpu_percent'] as const;

export const idleBench: Bench = {
  name: 'idle',
  about: `memory, CPU and traffic of an agent at rest, ${SIZES.join(' and ')} hosts; next to serf and to ${DOCKER}`,

  async whyNot() {
    try {
      dockerPrograms();
    } catch (error) {
      return String(error);
    }
    return await hostsWhyNot();
  },

  async *run(options: BenchOptions): AsyncIterable<Line> {
    const docker: Rest[] = [];
    const rests = new Map<string, Rest[]>();
    const { rounds } = options;
    for (let round = 1; round <= rounds; round += 1) {
      const say = (text: string) => options.say(`round ${round} of ${rounds}: ${text}`);
      say(`${DOCKER} for ${options.rest_ms / 1000} s`);
      docker.push(await dockerRest(options));
      for (const size of SIZES) {
        for (const contestant of [SHOAL, SERF_LAN]) {
          say(`${contestant.name} on ${size} hosts for ${options.rest_ms / 1000} s`);
          const key = restKey(contestant, size);
          rests.set(key, [...(rests.get(key) ?? []), await clusterRest(contestant, size, options)]);
        }
      }
    }
    for (const size of SIZES) {
      const own = rests.get(restKey(SHOAL, size))!;
      yield* lines(size, own, { name: SERF_LAN.name, rests: rests.get(restKey(SERF_LAN, size))! });
      yield* lines(size, own, { name: DOCKER, rests: docker }, OF_DOCKER);
    }
  },
};

function restKey({ name }: HostContestant, size: number): string {
  return `${name} ${size}`;
}

async function clusterRest(contestant: HostContestant, size: number, options: BenchOptions): Promise<Rest> {
  const { signal } = options;
  await using cluster = await contestant.make(size);
  const all = hostNumbers(size);
  await cluster.start(all);
  await within(`${cluster.name}: it forms`, FORM_MS_MAX, signal, () => cluster.form());
  await allSee(cluster, all, isWhole(all), { what: 'all are whole', ms_max: FORM_MS_MAX, signal });
  await sleep(SETTLE_MS, undefined, { signal });
  return await measure(
    all.map((host) => cluster.processes(host)),
    options,
  );
}

async function dockerRest(options: BenchOptions): Promise<Rest> {
  await using daemons = await DockerDaemons.start(options.signal);
  await sleep(SETTLE_MS, undefined, { signal: options.signal });
  return await measure([daemons.processes()], options);
}

/** @param agents the processes of each. Traffic is that of their network namespace. */
async function measure(agents: readonly (readonly number[])[], options: BenchOptions): Promise<Rest> {
  const look = () => agents.map((pids) => ({ cpu_ms: cpuOf(pids), ...trafficOf(pids[0]!) }));
  const start_ms = performance.now();
  const before = look();
  await sleep(options.rest_ms, undefined, { signal: options.signal });
  const after = look();
  const took_ms = performance.now() - start_ms;
  const grown = (field: keyof (typeof before)[number]) =>
    after.map((agent, at) => (agent[field] - before[at]![field]) / took_ms);
  return {
    pss_mb: agents.map((pids) => proportionalOf(pids) / MEGABYTE),
    rss_mb: agents.map((pids) => residentOf(pids) / MEGABYTE),
    cpu_percent: grown('cpu_ms').map((share) => share * 100),
    received_bytes_per_s: grown('received_bytes').map((rate) => rate * 1000),
    sent_bytes_per_s: grown('sent_bytes').map((rate) => rate * 1000),
  };
}

/** The median agent of all rounds. */
function* lines(
  size: number,
  own: readonly Rest[],
  peer: { readonly name: string; readonly rests: readonly Rest[] },
  fields: readonly (keyof Rest)[] = Object.keys(UNITS) as (keyof Rest)[],
): Iterable<Line> {
  for (const field of fields) {
    const [name, unit] = UNITS[field];
    const subject = { name: `idle-${size}-${name}`, unit, quantile: 0.5, rounds: own.length };
    const values = peer.rests.flatMap((rest) => rest[field]);
    yield compareSamples(
      subject,
      own.flatMap((rest) => rest[field]),
      { name: peer.name, values },
    );
  }
}
