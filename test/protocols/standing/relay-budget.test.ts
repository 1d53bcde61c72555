import t from 'tap';
import { RESOURCES, STANDING_DEFAULTS, type StandingConfig } from '../../../protocols/standing/config.ts';
import { RelayBudget, type RelayCost } from '../../../protocols/standing/relay-budget.ts';
import fc from '../../laws.ts';

const START_MS = 1_000_000;
const SECOND_MS = 1000;

/** Peers allow 400 at once and 40 a second of everything: 200 and 20 are passed on. */
const CONFIG: StandingConfig = {
  ...STANDING_DEFAULTS,
  allowances: Object.fromEntries(
    RESOURCES.map((name) => [name, { capacity: 400, perSecond: 40 }]),
  ) as unknown as StandingConfig['allowances'],
  peers_max: 4,
};

const one: RelayCost = { messages: 1, bytes: 1, records: 1 };

/** Of a message that one share pays for. */
const take = (budget: RelayBudget, share: string, cost: RelayCost, now = START_MS) =>
  budget.take(new Map([[share, cost]]), now);

/** How many of `count` that come at once are passed on. */
function passed(budget: RelayBudget, share: string, count: number, now = START_MS): number {
  let passed_count = 0;
  for (let n = 0; n < count; n += 1) if (take(budget, share, one, now)) passed_count += 1;
  return passed_count;
}

t.test('one share is half of it, and leaves half of the rest to the next', async (t) => {
  const budget = new RelayBudget(CONFIG);
  t.equal(passed(budget, 'a', 1000), 100);
  t.equal(passed(budget, 'b', 1000), 50);
  t.equal(passed(budget, 'c', 1000), 25);
  t.equal(passed(budget, 'a', 1000), 0);
});

t.test('those that all want more get equal parts in the long run, and a modest one all', async (t) => {
  const budget = new RelayBudget(CONFIG);
  const greedy = new Map(['a', 'b', 'c'].map((share) => [share, 0]));
  let modest_count = 0;
  const seconds = 600;
  for (let second = 0; second < seconds; second += 1)
    for (let part = 0; part < 10; part += 1) {
      const now = START_MS + second * SECOND_MS + part * 100;
      for (const [share, count] of greedy) greedy.set(share, count + passed(budget, share, 10, now));
      if (part === 0) modest_count += passed(budget, 'modest', 3, now);
    }
  t.ok(modest_count >= 3 * (seconds - 10), `${modest_count}`);
  // A fifth of 20 a second, and what the modest one leaves.
  for (const [share, count] of greedy)
    t.ok(count > 3.5 * seconds && count < 6 * seconds, `${share} ${count}`);
});

t.test('each of what a message costs is enough to keep it back, and it then uses nothing', async (t) => {
  for (const name of ['messages', 'bytes', 'records'] as const) {
    const budget = new RelayBudget(CONFIG);
    t.equal(take(budget, 'a', { ...one, [name]: 101 }), false, name);
    t.equal(take(budget, 'a', { ...one, [name]: 100 }), true, name);
    t.equal(take(budget, 'a', one), false, name);
    t.equal(take(budget, 'b', one), true, name);
  }
});

t.test('what was passed on is forgotten with time, and not by a clock that is set back', async (t) => {
  const budget = new RelayBudget(CONFIG);
  passed(budget, 'a', 100);
  t.equal(take(budget, 'a', one, START_MS - 600 * SECOND_MS), false);
  t.equal(passed(budget, 'a', 1000, START_MS), 100);
});

t.test('so many shares are remembered, and what went from the others still counts in all', async (t) => {
  const budget = new RelayBudget(CONFIG);
  let passed_count = 0;
  for (let n = 0; n < 1000; n += 1) passed_count += passed(budget, `share ${n}`, 1);
  t.equal(budget.size, CONFIG.peers_max);
  t.ok(passed_count <= 200, `${passed_count}`);
});

t.test('who pays for a message together all need room for their part, or none pays', async (t) => {
  const budget = new RelayBudget(CONFIG);
  const half = { messages: 0.5, bytes: 1, records: 1 };
  const together = (a: RelayCost, b: RelayCost) =>
    budget.take(
      new Map([
        ['a', a],
        ['b', b],
      ]),
      START_MS,
    );
  for (let n = 0; n < 20; n += 1) t.ok(together(half, half));
  t.notOk(together({ ...half, records: 81 }, half), 'a has none for its part');
  t.notOk(together(half, { ...half, records: 81 }), 'b has none for its part');
  t.notOk(together({ ...half, records: 60 }, { ...half, records: 60 }), 'there is none for both');
  t.ok(together({ ...half, records: 60 }, { ...half, records: 20 }));
  t.equal(budget.refused, 3);
  // Of 200 records 120 are used, 80 of them by a: what is left free it has used already.
  t.notOk(take(budget, 'a', one));
  t.equal(passed(budget, 'b', 100), 20);
});

t.test('never more is passed on than is there at once and refilled meanwhile', async (t) => {
  const step = fc.record({
    shares: fc.subarray(['a', 'b', 'c', 'd', 'e', 'f'], { minLength: 1 }),
    amount: fc.integer({ min: 1, max: 60 }),
    elapsed_ms: fc.integer({ min: 0, max: 2000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const budget = new RelayBudget(CONFIG);
      let now = START_MS;
      let sum = 0;
      for (const { shares, amount, elapsed_ms } of steps) {
        now += elapsed_ms;
        const cost = { messages: 1 / shares.length, bytes: amount / shares.length, records: 1 };
        if (budget.take(new Map(shares.map((share) => [share, cost])), now)) sum += amount;
        if (sum > 200 + (20 * (now - START_MS)) / SECOND_MS + 1e-6) return false;
      }
      return true;
    }),
  );
  t.pass();
});
