import t from 'tap';
import { Appeals, type MemberDoors } from '../../../daemon/trust/appeals.ts';

const SECOND = 1000;

function door(name: string, status: MemberDoors['status'], more: Partial<MemberDoors> = {}): MemberDoors {
  return {
    id: name as MemberDoors['id'],
    status,
    doors: [`/ip4/10.0.0.1/tcp/1/${name}`],
    isAdmitter: false,
    ...more,
  };
}

/** Asks every five seconds until `until_ms`. @returns times in seconds and who was asked. */
function asked(
  appeals: Appeals,
  until_ms: number,
  others: readonly MemberDoors[],
  isConnected: boolean,
  isRefused = false,
  from_ms = 0,
): [number, string][] {
  const times: [number, string][] = [];
  for (let now = from_ms; now <= until_ms; now += 5 * SECOND) {
    const due = appeals.due({ now, isExpired: false, isRefused, isConnected, others, random: () => 0.5 });
    for (const { id } of due) times.push([now / SECOND, id]);
  }
  return times;
}

t.test('who is alone asks anybody, again and again', async (t) => {
  const times = asked(new Appeals(0), 60 * SECOND, [door('a', 'suspect'), door('b', 'alive')], false);
  t.same(
    times.map(([at]) => at),
    [5, 5, 25, 25, 45, 45],
  );
});

t.test('who has company asks those that are gone, more and more seldom', async (t) => {
  const others = [door('a', 'alive'), door('gone', 'failed'), door('shut', 'failed', { doors: [] })];
  const times = asked(new Appeals(0), 3600 * SECOND, others, true);
  t.ok(times.every(([, id]) => id === 'gone'));
  const first = times.slice(0, 5).map(([at]) => at);
  t.same(first, [0, 20, 60, 140, 300]);
  t.ok(times.length < 12, `${times.length} questions in an hour`);
  const last = times.slice(-2).map(([at]) => at);
  t.equal(last[1]! - last[0]!, 600, 'and no more seldom than every ten minutes');
});

t.test('a clock that was a year ahead is not waited for', async (t) => {
  const year_ms = 365 * 86_400 * SECOND;
  const others = [door('gone', 'failed')];
  for (const [what, isConnected, isRefused] of [
    ['alone', false, false],
    ['refused', false, true],
    ['with company', true, false],
  ] as const) {
    const appeals = new Appeals(year_ms);
    asked(appeals, year_ms + 300 * SECOND, others, isConnected, isRefused, year_ms);
    const times = asked(appeals, 120 * SECOND, others, isConnected, isRefused).map(([at]) => at);
    t.same(times.slice(0, 2), [20, 40], what);
  }
  const unasked = asked(new Appeals(year_ms), 60 * SECOND, others, false).map(([at]) => at);
  t.same(unasked, [20, 40, 60], 'nor by one that had not asked yet');
});

t.test('one that was back and is gone again is asked at once', async (t) => {
  const appeals = new Appeals(0);
  const ask = (now: number, status: MemberDoors['status']) =>
    appeals.due({
      now,
      isExpired: false,
      isRefused: false,
      isConnected: true,
      others: [door('a', status)],
      random: Math.random,
    });
  for (const now of [0, 20, 60, 140]) t.equal(ask(now * SECOND, 'failed').length, 1);
  t.equal(ask(200 * SECOND, 'failed').length, 0);
  t.equal(ask(205 * SECOND, 'alive').length, 0);
  t.equal(ask(210 * SECOND, 'failed').length, 1);
});

t.test('few at a time, admitters first', async (t) => {
  const others = Array.from({ length: 9 }, (_, at) => door(`n${at}`, 'failed', { isAdmitter: at === 7 }));
  const due = new Appeals(0).due({
    now: 0,
    isExpired: false,
    isRefused: false,
    isConnected: true,
    others,
    random: Math.random,
  });
  t.equal(due.length, 4);
  t.equal(due[0]!.id, 'n7');
});

t.test('admitters that are all gone keep no question from the others', async (t) => {
  const others = [
    ...['a', 'b', 'c', 'd', 'e'].map((id) => door(id, 'alive', { isAdmitter: true })),
    door('f', 'alive', { isAdmitter: false }),
  ];
  const ids = new Set<string>();
  const appeals = new Appeals(0);
  for (let round = 0; round < 200; round += 1) {
    const now = round * 20 * SECOND;
    const due = appeals.due({
      ...{ now, isExpired: true, isRefused: false, isConnected: false, others },
      random: Math.random,
    });
    t.equal(new Set(due).size, 4);
    for (const { id } of due) ids.add(id);
  }
  t.equal(ids.size, 6);
});

t.test('an ended grant is asked about at the doors of those that are there', async (t) => {
  const others = [door('a', 'alive')];
  const due = new Appeals(0).due({
    now: 0,
    isExpired: true,
    isRefused: false,
    isConnected: true,
    others,
    random: Math.random,
  });
  t.equal(due.length, 1);
});

t.test('who is refused asks on, seldom, and soon again once it holds itself as a member', async (t) => {
  const appeals = new Appeals(0);
  const others = [door('a', 'failed'), door('b', 'alive')];
  const times = asked(appeals, 3600 * SECOND, others, false, true);
  const rounds = [...new Set(times.map(([at]) => at))];
  t.same(rounds.slice(0, 6), [0, 20, 60, 140, 300, 620]);
  t.ok(rounds.length < 12, `${rounds.length} rounds in an hour`);
  t.equal(rounds.at(-1)! - rounds.at(-2)!, 600, 'and no more seldom than every ten minutes');
  t.same(
    times.filter(([at]) => at === rounds.at(-1)).map(([, id]) => id),
    ['a', 'b'],
    'both: any of them may know better',
  );
  const due = appeals.due({
    now: rounds.at(-1)! * SECOND + 20 * SECOND,
    isExpired: false,
    isRefused: false,
    isConnected: true,
    others,
    random: Math.random,
  });
  t.same(
    due.map(({ id }) => id),
    ['a'],
    'who holds it as revoked still',
  );
});
