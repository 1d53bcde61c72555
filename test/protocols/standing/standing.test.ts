import t from 'tap';
import {
  assertStanding,
  RESOURCES,
  type Resource,
  STANDING_DEFAULTS,
  type StandingConfig,
} from '../../../protocols/standing/config.ts';
import { Standing, type StandingEffect, type StandingEvent } from '../../../protocols/standing/standing.ts';

const SECOND_MS = 1000;

function small(changes: Partial<StandingConfig> = {}, perSecond = 5): StandingConfig {
  const allowance = { capacity: 10, perSecond };
  return {
    ...STANDING_DEFAULTS,
    allowances: Object.fromEntries(RESOURCES.map((name) => [name, allowance])) as Record<
      Resource,
      typeof allowance
    >,
    ...changes,
  };
}

/** A standing with a clock that the test moves. */
function subject(config: StandingConfig = small()) {
  const standing = new Standing(config);
  const env = { now: 1_000_000 };
  return {
    standing,
    env,
    feed: (event: StandingEvent): StandingEffect[] => standing.handle(event, env),
    spend: (resource: Resource = 'messages', amount = 1, peer = 'p'): boolean =>
      !standing
        .handle({ kind: 'spend', peer, resource, amount }, env)
        .some((effect) => effect.kind === 'refused'),
    of: (peer = 'p') => standing.standing(peer, env.now),
  };
}

t.test('a peer may use its allowance, no more, and more when time has passed', async (t) => {
  for (const resource of RESOURCES) {
    const { spend, env } = subject();
    t.same(
      Array.from({ length: 12 }, () => spend(resource)),
      [...Array(10).fill(true), false, false],
      resource,
    );
    env.now += SECOND_MS;
    t.same(
      Array.from({ length: 6 }, () => spend(resource)),
      [...Array(5).fill(true), false],
      resource,
    );
    env.now += 60 * SECOND_MS;
    t.equal(spend(resource, 11), false, 'more than the capacity is never there');
    t.equal(spend(resource, 10), true, 'and the capacity is the most that is saved up');
  }
});

t.test('one peer uses up nothing of another', async (t) => {
  const { spend } = subject();
  while (spend('messages', 1, 'greedy'));
  t.equal(spend('messages', 1, 'modest'), true);
});

t.test('what was used already may run into debt, and nothing is handled until it is paid', async (t) => {
  const { spend, feed, env } = subject();
  feed({ kind: 'charge', peer: 'p', resource: 'answers', amount: 1_000_000 });
  t.equal(spend('messages'), false, 'debt of one kind stops every kind');
  env.now += SECOND_MS;
  t.equal(spend('messages'), false);
  env.now += 2 * SECOND_MS;
  t.equal(spend('messages'), true, 'the debt is never more than one capacity');
});

t.test('offences limit, then ban, then are forgotten', async (t) => {
  const { feed, of, env, spend, standing } = subject();
  const offend = () => feed({ kind: 'offence', peer: 'p', offence: 'bad-signature', count: 1 });
  t.match(offend(), [{ kind: 'changed', from: 'good', to: 'limited', offence: 'bad-signature' }]);
  t.same(offend(), [], 'told once');
  t.equal(of(), 'limited');
  t.match(offend(), [{ from: 'limited', to: 'banned', until_ms: env.now + STANDING_DEFAULTS.banFirst_ms }]);
  t.equal(spend(), false, 'nothing of a banned peer is handled');
  t.same(offend(), [], 'and nothing is added while it is banned');
  t.match(standing.reports(env.now), [{ peer: 'p', standing: 'banned', bans: 1 }]);
  env.now += STANDING_DEFAULTS.banFirst_ms - 1;
  t.equal(of(), 'banned');
  env.now += 1;
  t.equal(of(), 'limited', 'on probation');
  env.now += STANDING_DEFAULTS.halfLife_ms;
  t.equal(of(), 'good');
  env.now += STANDING_DEFAULTS.banForgotten_ms;
  t.same(standing.reports(env.now), []);
  t.match(standing.counters, { offences: { 'bad-signature': 4 }, bans: 1 });
});

t.test('a limited peer gets a tenth', async (t) => {
  const { feed, spend, env } = subject();
  while (spend());
  feed({ kind: 'offence', peer: 'p', offence: 'oversize', count: 1 });
  env.now += SECOND_MS;
  t.equal(spend(), false);
  env.now += 2 * SECOND_MS;
  t.equal(spend(), true);
});

t.test('each ban is twice as long, up to the cap, and good conduct makes them short again', async (t) => {
  const { feed, env, standing, of } = subject();
  const lengths: number[] = [];
  const ban = () => {
    feed({ kind: 'offence', peer: 'p', offence: 'malformed', count: 10 });
    const until = standing.reports(env.now)[0]!.until_ms!;
    lengths.push(until - env.now);
    env.now = until;
    t.not(of(), 'banned', 'every ban ends');
  };
  for (let n = 0; n < 40; n++) ban();
  const { banFirst_ms, banCap_ms, banForgotten_ms } = STANDING_DEFAULTS;
  t.same(lengths.slice(0, 4), [banFirst_ms, banFirst_ms * 2, banFirst_ms * 4, banFirst_ms * 8]);
  t.ok(lengths.slice(8).every((length) => length === banCap_ms));
  env.now += 40 * banForgotten_ms;
  ban();
  t.equal(lengths.at(-1), banFirst_ms);
});

t.test('a clock that is set back makes no ban longer than the cap', async (t) => {
  const { feed, env, of } = subject();
  feed({ kind: 'offence', peer: 'p', offence: 'malformed', count: 10 });
  env.now -= 365 * 24 * 3600 * SECOND_MS;
  t.equal(of(), 'banned');
  env.now += STANDING_DEFAULTS.banCap_ms;
  t.not(of(), 'banned');
});

t.test('a clock that is set back takes nothing of an allowance, and gives nothing', async (t) => {
  const { spend, env } = subject();
  t.ok(spend('messages', 4));
  env.now -= 3600 * SECOND_MS;
  t.ok(spend('messages', 6));
  t.notOk(spend());
  env.now += SECOND_MS;
  t.same([spend('messages', 5), spend()], [true, false]);
});

t.test('only so many peers are remembered, and a banned one is not pushed out by others', async (t) => {
  const { standing, feed, spend, of } = subject(small({ peers_max: 8 }));
  feed({ kind: 'offence', peer: 'bad', offence: 'malformed', count: 10 });
  for (let n = 0; n < 100; n++) spend('messages', 1, `peer ${n}`);
  t.equal(standing.size, 8);
  t.equal(of('bad'), 'banned');
  const all = subject(small({ peers_max: 2 }));
  for (const peer of ['a', 'b', 'c']) all.feed({ kind: 'offence', peer, offence: 'malformed', count: 10 });
  t.equal(all.standing.size, 2, 'not even when all are banned');
});

t.test('the one that was heard longest ago is forgotten first', async (t) => {
  const { standing, spend, env } = subject(small({ peers_max: 3 }));
  const use = (...peers: string[]) => {
    for (const peer of peers) {
      env.now += 1;
      spend('messages', 10, peer);
    }
  };
  use('a', 'b', 'c', 'a', 'd');
  t.equal(standing.size, 3);
  t.equal(spend('messages', 10, 'a'), false, 'a is remembered, and has used up its allowance');
  t.equal(spend('messages', 10, 'b'), true, 'b is not');
});

t.test('the bytes of a message are spent with it, and once it was admitted', async (t) => {
  const { standing, feed, spend } = subject();
  const use = (bytes: number) => feed({ kind: 'spend', peer: 'p', resource: 'messages', amount: 1, bytes });
  t.same(use(8), []);
  t.match(use(8), [{ kind: 'refused', resource: 'bytes' }]);
  while (spend('messages'));
  const { refused } = standing.counters;
  t.match(use(1), [{ kind: 'refused', resource: 'messages' }]);
  t.equal(standing.counters.refused.bytes, refused.bytes);
  t.equal(spend('bytes', 2), true);
});

t.test('what a peer saved up before it was limited is its own', async (t) => {
  const { feed, spend, env } = subject();
  while (spend());
  env.now += SECOND_MS;
  feed({ kind: 'offence', peer: 'p', offence: 'oversize', count: 1 });
  t.same([spend('messages', 5), spend()], [true, false]);
});

t.test('what a peer gains while it is limited is a tenth, also when that has ended since', async (t) => {
  const { halfLife_ms, limited_divisor } = STANDING_DEFAULTS;
  // At the full rate all would be there again by the time that it is good.
  const { feed, spend, of, env } = subject(small({}, (10 * SECOND_MS) / halfLife_ms));
  while (spend());
  feed({ kind: 'offence', peer: 'p', offence: 'bad-signature', count: 1 });
  env.now += halfLife_ms;
  t.equal(of(), 'good');
  const gained = 10 / limited_divisor;
  t.same([spend('messages', gained), spend()], [true, false]);
});

t.test('who comes back from a long ban is on probation, though its points are long forgotten', async (t) => {
  const { feed, of, env, standing } = subject();
  const until_ms = () => standing.reports(env.now)[0]?.until_ms ?? null;
  for (let ban = 0; ban < 6; ban += 1) {
    while (until_ms() === null) feed({ kind: 'offence', peer: 'p', offence: 'bad-signature', count: 1 });
    env.now = until_ms()!;
    t.equal(of(), 'limited', `after ban ${ban + 1}`);
  }
});

t.test('mild offences count once a message, grave ones for each record', async (t) => {
  const { feed, of } = subject();
  feed({ kind: 'offence', peer: 'mild', offence: 'not-allowed', count: 10_000 });
  feed({ kind: 'offence', peer: 'grave', offence: 'bad-signature', count: 10_000 });
  t.same([of('mild'), of('grave')], ['good', 'banned']);
});

t.test('settings that contradict one another are refused', async (t) => {
  const wrong: Partial<StandingConfig>[] = [
    { allowances: { ...STANDING_DEFAULTS.allowances, bytes: { capacity: 1, perSecond: 0 } } },
    { allowances: { ...STANDING_DEFAULTS.allowances, bytes: { capacity: 1, perSecond: 2 } } },
    { penalties: { ...STANDING_DEFAULTS.penalties, flood: { points: 0, each: false } } },
    { penalties: { ...STANDING_DEFAULTS.penalties, malformed: { points: 100, each: true } } },
    { relayed_divisor: 1.9 },
    { limited_points: 100 },
    { limited_divisor: 0.5 },
    { halfLife_ms: 0 },
    { banCap_ms: 1 },
    { peers_max: 0 },
  ];
  for (const change of wrong) {
    t.throws(() => assertStanding({ ...STANDING_DEFAULTS, ...change }), RangeError);
  }
});
