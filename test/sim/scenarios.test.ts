import t from 'tap';
import { SCENARIOS } from './scenarios.ts';
import { replayCommand, simulate } from './simulate.ts';

/** Seconds when the machine is free; it may not be. */
t.setTimeout(300_000);

const SEEDS = [1, 2];
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
