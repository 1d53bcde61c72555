import t from 'tap';
import { type Progress, play, setUp } from './play.ts';
import { SCENARIOS } from './scenarios.ts';
import { replayCommand, simulate } from './simulate.ts';

/** Seconds when the machine is free; it may not be. */
t.setTimeout(600_000);

const SEEDS = [1, 2];
/** A dead process closes its connections; a dead host is silent. The third of `kills` is a host. */
const PROCESS_NOTICED_MS = 2000;
const HOST_NOTICED_MS = 4000;
/** Long by nature: a few minutes of it show the same. */
const HOURS: Readonly<Record<string, number>> = { 'partition-hour': 0.05, idle: 0.01 };
for (const scenario of Object.keys(SCENARIOS)) {
  t.test(`10 nodes: every invariant holds under ${scenario}`, async (t) => {
    for (const seed of SEEDS) {
      const hours = HOURS[scenario];
      const init = { nodes_count: 10, seed, scenario, ...(hours === undefined ? {} : { hours }) };
      const report = simulate(init);
      t.same(report.violations, [], replayCommand(init));
      t.ok(report.acknowledged_count > 0 || scenario === 'idle');
    }
  });
}

/** Seeds that have found what no other test had. */
const TELLING: readonly { nodes_count: number; scenario: string; what: string; seeds: readonly number[] }[] =
  [
    {
      nodes_count: 8,
      scenario: 'deletions-old-disks',
      what: 'nodes that never agreed, and deletions that came back',
      seeds: [3111, 3128, 50052, 50062],
    },
    {
      nodes_count: 6,
      scenario: 'last-words',
      what: 'watchers that waited for one another',
      seeds: [3114, 3287],
    },
    { nodes_count: 5, scenario: 'last-words', what: 'the same', seeds: [3023, 3024] },
    {
      nodes_count: 8,
      scenario: 'rolling-restarts',
      what: 'dead members whom nobody asked any more',
      seeds: [26, 34, 39, 40],
    },
  ];
for (const { nodes_count, scenario, what, seeds } of TELLING)
  t.test(
    `seeds of ${scenario} with ${nodes_count} nodes that have found faults hold now: ${what}`,
    async (t) => {
      for (const seed of seeds) {
        const init = { nodes_count, seed, scenario };
        t.same(simulate(init).violations, [], replayCommand(init));
      }
    },
  );

t.test('clusters of 2, 3 and 5 hold too', async (t) => {
  for (const nodes_count of [2, 3, 5]) {
    for (const scenario of ['calm', ...(nodes_count > 2 ? ['kills'] : []), 'partition-heal', 'mixed']) {
      const init = { nodes_count, seed: 1, scenario };
      t.same(simulate(init).violations, [], replayCommand(init));
    }
  }
});

t.test('a cluster without a full mesh holds too', async (t) => {
  for (const scenario of ['kills', 'mixed']) {
    const init = { nodes_count: 40, seed: 1, scenario };
    t.same(simulate(init).violations, [], replayCommand(init));
  }
});

t.test('a calm cluster doubts nobody and refutes nothing', async (t) => {
  const report = simulate({ nodes_count: 20, seed: 4, scenario: 'calm' });
  t.equal(report.suspect_count + report.refutations_count + report.isolations_count, 0);
});

t.test('a death is known to all in virtual seconds', async (t) => {
  for (const seed of SEEDS) {
    const { noticed_ms } = simulate({ nodes_count: 20, seed, scenario: 'kills' });
    t.equal(noticed_ms.length, 3);
    for (const [at, ms] of noticed_ms.entries()) {
      const ms_max = at === 2 ? HOST_NOTICED_MS : PROCESS_NOTICED_MS;
      t.ok(ms !== null && ms < ms_max, `seed ${seed}: ${ms} ms`);
    }
  }
});

t.test('a side with less than half knows that it is cut off', async (t) => {
  const isolations = [1, 2, 3, 4].map(
    (seed) => simulate({ nodes_count: 8, seed, scenario: 'partition-heal' }).isolations_count,
  );
  t.ok(isolations.some((count) => count > 0));
});

t.test('equal seeds give equal traces bit for bit, other seeds other traces', async (t) => {
  const traceOf = (seed: number) =>
    simulate({ nodes_count: 8, seed, scenario: 'mixed', isTraced: true }).trace;
  const trace = traceOf(7);
  t.match(trace, /^[0-9a-f]{32}$/);
  t.equal(traceOf(7), trace);
  t.not(traceOf(8), trace);
});

t.test('a run tells how far it is, and is the same run when nobody listens', async (t) => {
  const told: Progress[] = [];
  const init = { nodes_count: 4, seed: 5, scenario: 'calm', isTraced: true };
  const { trace } = simulate({ ...init, onProgress: (progress) => told.push(progress) });
  t.equal(trace, simulate(init).trace);
  t.ok(told.length > 1);
  t.equal(told.at(-1)!.virtual_ms, told.at(-1)!.until_ms);
  t.ok(told.every(({ falseVerdicts_count }) => falseVerdicts_count === 0));
});

t.test('what is measured is there', async (t) => {
  const report = simulate({ nodes_count: 10, seed: 1, scenario: 'propagation' });
  t.equal(report.appliedOnAll_ms.count, report.acknowledged_count);
  t.ok(report.appliedOnAll_ms.p50! >= 20);
  t.ok(report.peaks.timers > 0 && report.peaks['things on their way'] > 0);
  t.same(simulate({ nodes_count: 3, seed: 1, scenario: 'idle', hours: 0.001 }).applied_ms, {
    count: 0,
    p50: null,
    p99: null,
    max: null,
  });
  t.ok(report.copies >= 1 && report.copies < 6);
  t.ok(report.bytes_per_node_s > 0);
  const { repair_bytes, difference_bytes } = simulate({
    nodes_count: 6,
    seed: 1,
    scenario: 'partition-hour',
    hours: 0.05,
  });
  t.ok(difference_bytes > 0 && repair_bytes > difference_bytes);
  t.ok(repair_bytes < difference_bytes * 1.5, 'what membership and gossip say meanwhile is no repair');
});

t.test('tombstones are collected in a run of hours', async (t) => {
  const report = simulate({ nodes_count: 5, seed: 1, scenario: 'deletions' });
  t.ok(report.deletions_count > 0);
  t.ok(report.collections_count >= 5, 'each node has moved its horizon');
});

t.test('those that do harm are banned', async (t) => {
  for (const attack of ['forge', 'malformed', 'lie', 'grants'])
    t.ok(simulate({ nodes_count: 6, seed: 1, scenario: `byzantine-${attack}` }).bans_count > 0, attack);
});

t.test('every attack meets what it was made for', async (t) => {
  const reasons: Readonly<Record<string, string>> = {
    forge: 'bad-signature',
    malformed: 'malformed',
    stamps: 'from-the-future',
    grants: 'not-allowed',
    lie: 'malformed',
  };
  for (const [attack, reason] of Object.entries(reasons)) {
    const { rejected } = simulate({ nodes_count: 6, seed: 1, scenario: `byzantine-${attack}` });
    t.ok((rejected[reason] ?? 0) > 0, attack);
  }
});

t.test('a scenario says so when its time is its own matter', async (t) => {
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    const [one, other] = [0.1, 0.2].map((hours) => {
      const init = { nodes_count: 5, seed: 1, scenario: name, hours };
      return scenario.tell(setUp(init, scenario).stage).lastFault_ms;
    });
    t.equal(one === other, scenario.hasOwnTime ?? false, name);
  }
});

t.test('a scenario that there is not, and a cluster of one, are refused', async (t) => {
  t.throws(() => play({ nodes_count: 20, seed: 1, scenario: 'toString' }), RangeError);
  t.throws(() => play({ nodes_count: 1, seed: 1, scenario: 'calm' }), RangeError);
  t.throws(() => play({ nodes_count: 2, seed: 1, scenario: 'kills' }), /3 nodes or more/);
});
