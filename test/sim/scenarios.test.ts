import t from 'tap';
import { LAN } from '../../protocols/membership/config.ts';
import { SCENARIOS } from './scenarios.ts';
import { replayCommand, simulate } from './simulate.ts';

const SEEDS = [1, 2, 3];
/** A dead process closes its connections; a dead host is silent. The third of `kills` is a host. */
const PROCESS_NOTICED_MS_MAX = 2000;
const HOST_NOTICED_MS_MAX = 4000;

for (const scenario of Object.keys(SCENARIOS)) {
  t.test(`20 nodes: every invariant holds under ${scenario}`, async (t) => {
    for (const seed of SEEDS) {
      const init = { nodes_count: 20, seed, scenario };
      const report = simulate(init);
      t.same(report.violations, [], replayCommand(init));
      t.ok(report.acknowledged_count > 0);
    }
  });
}

t.test('a calm cluster doubts nobody and refutes nothing', async (t) => {
  const report = simulate({ nodes_count: 20, seed: 4, scenario: 'calm' });
  t.equal(report.suspect_count + report.refutations_count + report.isolations_count, 0);
});

t.test('a death is known to all in virtual seconds', async (t) => {
  for (const seed of SEEDS) {
    const { noticed_ms } = simulate({ nodes_count: 20, seed, scenario: 'kills' });
    t.equal(noticed_ms.length, 3);
    for (const [at, ms] of noticed_ms.entries()) {
      t.ok(
        ms !== null && ms < (at === 2 ? HOST_NOTICED_MS_MAX : PROCESS_NOTICED_MS_MAX),
        `seed ${seed}: ${ms} ms`,
      );
    }
  }
});

t.test('a side with less than half knows that it is cut off', async (t) => {
  const isolations = [1, 2, 3, 4].map(
    (seed) => simulate({ nodes_count: 8, seed, scenario: 'partition-heal' }).isolations_count,
  );
  t.ok(isolations.some((count) => count > 0));
});

t.test('clusters of 2, 3 and 5 hold too', async (t) => {
  for (const nodes_count of [2, 3, 5]) {
    for (const scenario of Object.keys(SCENARIOS)) {
      const init = { nodes_count, seed: 1, scenario };
      t.same(simulate(init).violations, [], replayCommand(init));
    }
  }
});

t.test('a cluster without a full mesh holds too', async (t) => {
  const config = { ...LAN, meshMembers_max: 0 };
  for (const scenario of ['kills', 'partition-heal']) {
    const { violations } = simulate({ nodes_count: 24, seed: 1, scenario, config });
    t.same(violations, [], scenario);
  }
});

t.test('equal seeds give equal traces bit for bit, other seeds other traces', async (t) => {
  const traceOf = (seed: number) => simulate({ nodes_count: 8, seed, scenario: 'mixed' }).trace;
  t.equal(traceOf(7), traceOf(7));
  t.not(traceOf(7), traceOf(8));
});

t.test('a scenario that there is not, and a cluster of one, are refused', async (t) => {
  t.throws(() => simulate({ nodes_count: 20, seed: 1, scenario: 'toString' }), RangeError);
  t.throws(() => simulate({ nodes_count: 1, seed: 1, scenario: 'calm' }), RangeError);
});
