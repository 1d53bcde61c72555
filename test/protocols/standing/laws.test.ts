import t from 'tap';
import {
  STANDING_DEFAULTS as CONFIG,
  OFFENCES,
  RESOURCES,
  type Resource,
} from '../../../protocols/standing/config.ts';
import { Standing, type StandingEvent } from '../../../protocols/standing/standing.ts';
import fc from '../../laws.ts';

const PEER = 'p';
const START_MS = 1_000_000;

const resource = fc.constantFrom(...RESOURCES);
const offence = fc.constantFrom(...OFFENCES);
const anyEvent: fc.Arbitrary<StandingEvent> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('spend' as const, 'charge' as const),
    peer: fc.constantFrom('a', 'b', 'c'),
    resource,
    amount: fc.nat(1 << 30),
  }),
  fc.record({ kind: fc.constant('offence' as const), peer: fc.constant('a'), offence, count: fc.nat(20) }),
);

t.test('an honest mix never leaves good', async (t) => {
  // What an honest peer does in a second, up to the refill of each allowance, with bursts of half the capacity; and
  // the mild offences that clocks, revocations under way and long absences make it commit, once in four seconds.
  const second = fc.record({
    load: fc.double({ min: 0, max: 1, noNaN: true }),
    burst: fc.option(resource, { freq: 10, nil: undefined }),
    mild: fc.constantFrom('not-allowed', 'from-the-future', 'unknown-author', 'stale'),
    gap_s: fc.integer({ min: 1, max: 5 }),
  });
  fc.assert(
    fc.property(fc.array(second, { minLength: 1, maxLength: 300 }), (seconds) => {
      const standing = new Standing(CONFIG);
      let now = START_MS;
      const bursts = new Set<Resource>();
      for (const [at, { load, burst, mild, gap_s }] of seconds.entries()) {
        now += gap_s * 1000;
        const events: StandingEvent[] = RESOURCES.flatMap((name): StandingEvent[] => {
          const { perSecond } = CONFIG.allowances[name];
          const kind = name === 'bytes' || name === 'messages' || name === 'streams' ? 'spend' : 'charge';
          return [{ kind, peer: PEER, resource: name, amount: Math.floor(perSecond * load) }];
        });
        if (burst !== undefined && !bursts.has(burst)) {
          bursts.add(burst);
          const amount = CONFIG.allowances[burst].capacity / 2;
          events.push({ kind: 'charge', peer: PEER, resource: burst, amount });
        }
        if (at % 4 === 0) events.push({ kind: 'offence', peer: PEER, offence: mild as 'stale', count: 500 });
        for (const event of events) {
          if (standing.handle(event, { now }).length > 0 || standing.standing(PEER, now) !== 'good')
            return false;
        }
      }
      return true;
    }),
  );
  t.pass();
});

t.test('every flood ends in a ban, and costs a bounded amount of work', async (t) => {
  const toBan = Math.ceil(CONFIG.banned_points / CONFIG.penalties.flood.points);
  fc.assert(
    fc.property(
      fc.constantFrom<Resource>('bytes', 'messages', 'streams'),
      // How much faster than its refill it comes, in hundredths.
      fc.integer({ min: 200, max: 1_000_000 }),
      fc.integer({ min: 1, max: 64 }),
      (name, speed_percent, parts) => {
        const { capacity, perSecond } = CONFIG.allowances[name];
        const amount = Math.max(1, perSecond / parts);
        const standing = new Standing(CONFIG);
        const step_ms = (amount / perSecond / (speed_percent / 100)) * 1000;
        let handled = 0;
        let now = START_MS;
        for (let n = 0; standing.standing(PEER, now) !== 'banned'; n++) {
          now += step_ms;
          const effects = standing.handle({ kind: 'spend', peer: PEER, resource: name, amount }, { now });
          if (effects.length === 0) handled += amount;
          if (n > (capacity / amount) * 2 + toBan * 10) return false;
        }
        const refilled = ((now - START_MS) / 1000) * perSecond;
        return handled <= capacity + refilled + amount;
      },
    ),
  );
  t.pass();
});

t.test('grave offences end in a ban after a handful', async (t) => {
  for (const name of OFFENCES) {
    const { points, each } = CONFIG.penalties[name];
    if (!each || name === 'flood') continue;
    const standing = new Standing(CONFIG);
    let count = 0;
    while (standing.standing(PEER, START_MS) !== 'banned') {
      standing.handle({ kind: 'offence', peer: PEER, offence: name, count: 1 }, { now: START_MS });
      count++;
    }
    t.equal(count, Math.ceil(CONFIG.banned_points / points), name);
    t.ok(count <= 5, name);
  }
});

t.test(
  'whatever happens, silence makes everybody good again, and the same events give the same end',
  async (t) => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(anyEvent, fc.integer({ min: -5_000, max: 60_000 })), { maxLength: 200 }),
        (steps) => {
          const run = () => {
            const standing = new Standing({ ...CONFIG, peers_max: 2 });
            let now = START_MS;
            const effects: unknown[] = [];
            for (const [event, elapsed_ms] of steps) {
              now += elapsed_ms;
              effects.push(standing.handle(event, { now }));
              if (standing.size > 2) throw new Error('too many are remembered');
            }
            return { standing, now, effects };
          };
          const { standing, now, effects } = run();
          if (JSON.stringify(effects) !== JSON.stringify(run().effects)) return false;
          const later = now + CONFIG.banCap_ms;
          for (const peer of ['a', 'b', 'c']) standing.standing(peer, later);
          return ['a', 'b', 'c'].every(
            (peer) => standing.standing(peer, later + CONFIG.halfLife_ms * 10) === 'good',
          );
        },
      ),
    );
    t.pass();
  },
);
