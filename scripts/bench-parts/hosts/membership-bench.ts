/**
 * `membership`: how soon ten hosts know what has happened to one of them, and what one of them has written; ours next
 * to serf with its default and with its fastest timing. Each contestant has the machine to itself while it runs, and
 * they take turns.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, BenchOptions } from '../bench.ts';
import { compareRounds, compareSamples, type Line } from '../result.ts';
import { type HostContestant, hostsWhyNot, SERF_LAN, SERF_LOCAL, SHOAL } from './contestants.ts';
import { trafficOf } from './cost.ts';
import {
  allSee,
  type HostCluster,
  holdsFailed,
  holdsNoMore,
  hostNumbers,
  isWhole,
  within,
} from './host-cluster.ts';

const HOSTS = 10;
const WRITES = 100;
const KILLS = 2;
const SILENCES = 2;
/** Of fewer values the 99th percentile is the greatest, and is called so. */
const P99_SAMPLES_MIN = 100;
/** After forming and after each fault, so that what went before is not measured again. */
const SETTLE_MS = 5_000;
/** Between writes: they are to be measured one at a time. */
const WRITE_PAUSE_MS = 100;
/**
 * How long a host is silent; others know long before. By lot up to so much longer: it shall not end at one and the same
 * moment of somebody's timers.
 */
const SILENCE_MS = 20_000;
const SILENCE_MORE_MS = 10_000;
/** What rest costs is taken off what writes cost: it is looked at for as long as they take, about. */
const REST_MS = 15_000;
/** Past these something is wrong and not slow. serf dials failed members every 30 s. */
const FORM_MS_MAX = 60_000;
const KNOWN_MS_MAX = 60_000;
const WRITTEN_MS_MAX = 15_000;
const HEALED_MS_MAX = 120_000;

/** What one session of one contestant gives; milliseconds, and bytes a second or a write. */
interface Samples {
  readonly killed: number[];
  readonly silent: number[];
  readonly healed: number[];
  readonly written: number[];
  readonly write_bytes: number[];
  /** Empty for those who have no revocation. */
  readonly revoked: number[];
}

const CONTESTANTS = [SHOAL, SERF_LAN, SERF_LOCAL];

export const membershipBench: Bench = {
  name: 'membership',
  about: `${HOSTS} hosts: a kill, a silent host, a write and a healed link, until all know; next to serf`,
  whyNot: hostsWhyNot,

  async *run(options: BenchOptions): AsyncIterable<Line> {
    const sessions = new Map<HostContestant, Samples[]>(CONTESTANTS.map((one) => [one, []]));
    for (let round = 1; round <= options.rounds; round += 1) {
      for (const contestant of CONTESTANTS) {
        options.say(`round ${round} of ${options.rounds}: ${contestant.name}`);
        sessions.get(contestant)!.push(await session(contestant, options));
      }
    }
    const revoked = sessions.get(SHOAL)!.flatMap((one) => one.revoked);
    yield compareRounds({ name: 'membership-revoked-by-all', unit: 'ms' }, revoked, null);
    for (const peer of [SERF_LAN, SERF_LOCAL]) {
      yield* lines(sessions.get(SHOAL)!, { name: peer.name, samples: sessions.get(peer)! });
    }
  },
};

async function session(contestant: HostContestant, { signal, say }: BenchOptions): Promise<Samples> {
  await using cluster = await contestant.make(HOSTS);
  const all = hostNumbers(HOSTS);
  await cluster.start(all);
  await within(`${cluster.name}: it forms`, FORM_MS_MAX, signal, () => cluster.form());
  await allSee(cluster, all, isWhole(all), { what: 'all are whole', ms_max: FORM_MS_MAX, signal });
  await sleep(SETTLE_MS, undefined, { signal });
  const samples: Samples = { killed: [], silent: [], healed: [], written: [], write_bytes: [], revoked: [] };
  await measureWrites(cluster, samples, signal);
  say(`${cluster.name}: written ${text(samples.written)}`);
  for (let kill = 0; kill < KILLS; kill += 1) await measureKill(cluster, HOSTS - kill, samples, signal);
  say(`${cluster.name}: killed ${text(samples.killed)}`);
  for (let silence = 0; silence < SILENCES; silence += 1)
    await measureSilence(cluster, Math.floor(HOSTS / 2) - silence, samples, signal);
  say(`${cluster.name}: silent ${text(samples.silent)}, healed ${text(samples.healed)}`);
  await measureRevocation(cluster, HOSTS, samples, signal);
  return samples;
}

async function measureWrites(cluster: HostCluster, samples: Samples, signal: AbortSignal): Promise<void> {
  const received = () =>
    hostNumbers(HOSTS).reduce((sum, host) => sum + trafficOf(cluster.processes(host)[0]!).received_bytes, 0);
  const idleFrom = received();
  await sleep(REST_MS, undefined, { signal });
  const from = received();
  const idle_bytes_per_ms = (from - idleFrom) / REST_MS;
  const start_ms = performance.now();
  for (let at = 0; at < WRITES; at += 1) {
    const { asked_ms, known_ms } = await within(
      `${cluster.name}: a write is known to all`,
      WRITTEN_MS_MAX,
      signal,
      (limit) => cluster.write((at % HOSTS) + 1, limit),
    );
    samples.written.push(known_ms - asked_ms);
    await sleep(WRITE_PAUSE_MS, undefined, { signal });
  }
  // What waits to be sent with something else belongs to the writes as well.
  await sleep(SETTLE_MS, undefined, { signal });
  const idle_bytes = idle_bytes_per_ms * (performance.now() - start_ms);
  const bytes = (received() - from - idle_bytes) / HOSTS / WRITES;
  if (bytes <= 0) throw new Error(`${cluster.name}: writes cost nothing beyond rest, which cannot be`);
  samples.write_bytes.push(bytes);
}

async function measureKill(
  cluster: HostCluster,
  victim: number,
  samples: Samples,
  signal: AbortSignal,
): Promise<void> {
  const all = hostNumbers(HOSTS);
  const others = all.filter((number) => number !== victim);
  const killed_ms = cluster.kill(victim);
  const wait = { what: `a kill of host${victim} is known to all`, ms_max: KNOWN_MS_MAX, signal };
  samples.killed.push((await allSee(cluster, others, holdsFailed(victim), wait)) - killed_ms);
  await cluster.start([victim]);
  const back = { what: `host${victim} is back for all`, ms_max: HEALED_MS_MAX, signal };
  await allSee(cluster, all, isWhole(all), back);
  await sleep(SETTLE_MS, undefined, { signal });
}

async function measureSilence(
  cluster: HostCluster,
  victim: number,
  samples: Samples,
  signal: AbortSignal,
): Promise<void> {
  const all = hostNumbers(HOSTS);
  const others = all.filter((number) => number !== victim);
  cluster.net.isolate(victim);
  const silent_ms = performance.now();
  const known = { what: `silence of host${victim} is known to all`, ms_max: KNOWN_MS_MAX, signal };
  samples.silent.push((await allSee(cluster, others, holdsFailed(victim), known)) - silent_ms);
  const until_ms = silent_ms + SILENCE_MS + Math.random() * SILENCE_MORE_MS;
  await sleep(Math.max(0, until_ms - performance.now()), undefined, { signal });
  cluster.net.rejoin(victim);
  const healed_ms = performance.now();
  const whole = { what: `host${victim} is healed for all`, ms_max: HEALED_MS_MAX, signal };
  samples.healed.push((await allSee(cluster, all, isWhole(all), whole)) - healed_ms);
  await sleep(SETTLE_MS, undefined, { signal });
}

/** The last thing: it cannot be undone. */
async function measureRevocation(
  cluster: HostCluster,
  victim: number,
  samples: Samples,
  signal: AbortSignal,
): Promise<void> {
  if (cluster.revoke === undefined) return;
  const others = hostNumbers(HOSTS).filter((number) => number !== victim);
  const asked_ms = await cluster.revoke(victim, signal);
  const wait = { what: `host${victim} is accepted by nobody`, ms_max: KNOWN_MS_MAX, signal };
  samples.revoked.push((await allSee(cluster, others, holdsNoMore(victim), wait)) - asked_ms);
}

function* lines(
  own: readonly Samples[],
  peer: { name: string; samples: readonly Samples[] },
): Iterable<Line> {
  const rounds = own.length;
  const pick = (sessions: readonly Samples[], field: keyof Samples) => sessions.flatMap((one) => one[field]);
  const of = (field: keyof Samples) =>
    [pick(own, field), { name: peer.name, values: pick(peer.samples, field) }] as const;
  const events = [
    ['killed', 'membership-killed-known'],
    ['silent', 'membership-silent-known'],
    ['healed', 'membership-link-back-whole'],
    ['written', 'membership-write-known'],
  ] as const;
  for (const [field, name] of events) {
    const isMany = pick(own, field).length >= P99_SAMPLES_MIN;
    for (const [suffix, part] of [
      ['p50', 0.5] as const,
      isMany ? (['p99', 0.99] as const) : (['max', 1] as const),
    ]) {
      yield compareSamples({ name: `${name}-${suffix}`, unit: 'ms', quantile: part, rounds }, ...of(field));
    }
  }
  const [bytes, theirs] = of('write_bytes');
  yield compareRounds({ name: 'membership-write-received', unit: 'bytes a host' }, bytes, theirs);
}

function text(values: readonly number[]): string {
  return `${values.map((value) => Math.round(value)).join(', ')} ms`;
}
