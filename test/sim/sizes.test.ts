import t from 'tap';
import { LAN } from '../../protocols/membership/config.ts';
import { SCENARIOS } from './scenarios.ts';
import { replayCommand, simulate } from './simulate.ts';

/** Seconds when the machine is free; it may not be. */
t.setTimeout(300_000);

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
