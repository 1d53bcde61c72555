import assert from 'node:assert/strict';
import t from 'tap';
import { RINGS_COUNT, Roster, type RosterMemo } from '../../../protocols/membership/roster.ts';
import fc from '../../laws.ts';

const id = fc.string({ minLength: 1, maxLength: 6 });
const ids = fc.uniqueArray(id, { maxLength: 20 });
const crowd = (count: number) => Array.from({ length: count }, (_, at) => `n${at}`);

function rosterOf(members: Iterable<string>, memo?: RosterMemo): Roster {
  let roster = Roster.empty(memo);
  for (const name of members) roster = roster.with(name, 1);
  return roster;
}

const listsOf = (roster: Roster, count = RINGS_COUNT): Record<string, string[]> =>
  Object.fromEntries([...roster.entries()].map(([name]) => [name, roster.watchers(name, count)]).sort());

t.test('watchers follow from the member list, not from the order of arrivals and departures', async () => {
  fc.assert(
    fc.property(ids, fc.uniqueArray(id, { maxLength: 8 }), (stay, go) => {
      const leavers = go.filter((name) => !stay.includes(name));
      let roster = rosterOf([...leavers, ...stay.toReversed()]);
      for (const name of leavers) roster = roster.without(name);
      assert.deepEqual(listsOf(roster), listsOf(rosterOf(stay)));
      const atOnce = Roster.empty().withAll(stay.map((name) => [name, 1] as const));
      assert.deepEqual(listsOf(atOnce), listsOf(roster));
      assert.equal(roster.size, stay.length);
    }),
    { numRuns: 60 },
  );
});

t.test('a roster holds what was put in last, and an earlier one stays as it was', async () => {
  const change = fc.tuple(id, fc.option(fc.nat(5)));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      let roster = Roster.empty();
      const model = new Map<string, number>();
      const history: [Roster, [string, number][]][] = [];
      for (const [name, incarnation] of changes) {
        if (incarnation === null) model.delete(name);
        else model.set(name, incarnation);
        roster = incarnation === null ? roster.without(name) : roster.with(name, incarnation);
        history.push([roster, [...model].sort()]);
      }
      for (const [earlier, entries] of history) {
        assert.deepEqual([...earlier.entries()].sort(), entries);
        const replayed = new Map(earlier.entries());
        for (const [name, , now] of roster.changesSince(earlier)) {
          if (now === undefined) replayed.delete(name);
          else replayed.set(name, now);
        }
        assert.deepEqual([...replayed].sort(), [...model].sort());
      }
    }),
    { numRuns: 60 },
  );
});

t.test('with a memo equal rosters are one object, however they came about', async () => {
  fc.assert(
    fc.property(ids, fc.array(id, { maxLength: 6 }), (members, visitors) => {
      const memo = new Map<string, Roster>();
      const one = rosterOf(members, memo);
      let other = rosterOf(members.toReversed(), memo);
      for (const name of visitors) if (!one.has(name)) other = other.with(name, 3).without(name);
      assert.equal(other, one);
      assert.equal(Roster.empty(memo).withAll(one.entries()), one);
      assert.notEqual(one.with('another one', 1), one);
    }),
    { numRuns: 60 },
  );
});

t.test('nobody watches itself, and everybody has as many watchers as there are', async (t) => {
  const names = crowd(30);
  const roster = rosterOf(names);
  for (const name of names) {
    const watchers = roster.watchers(name, RINGS_COUNT);
    t.equal(new Set(watchers).size, RINGS_COUNT);
    t.notOk(watchers.includes(name));
    t.equal(new Set(roster.watchers(name, 100)).size, names.length - 1, 'all the others in the end');
  }
  t.equal(rosterOf(['a', 'b', 'c']).watchers('a', RINGS_COUNT).length, 2);
  t.equal(roster.watchers('stranger', RINGS_COUNT).length, RINGS_COUNT, 'who was removed is still known of');
  t.same(Roster.empty().watchers('a', RINGS_COUNT), []);
});

t.test('whoever watches a member stands close after it on some ring', async () => {
  fc.assert(
    fc.property(fc.uniqueArray(id, { minLength: 1, maxLength: 40 }), (members) => {
      const roster = rosterOf(members);
      for (const watcher of members) {
        const near = new Set<string>();
        for (let ring = 0; ring < RINGS_COUNT; ring += 1) {
          let left = RINGS_COUNT;
          for (const name of roster.before(ring, watcher, () => --left === 0)) near.add(name);
        }
        for (const name of members) {
          if (roster.watchers(name, RINGS_COUNT).includes(watcher)) assert.ok(near.has(name));
        }
      }
    }),
    { numRuns: 30 },
  );
});

t.test('one arrival changes few watchers', async (t) => {
  const names = crowd(100);
  const before = listsOf(rosterOf(names));
  const after = listsOf(rosterOf([...names, 'new']));
  const changed_count = names.filter((name) => after[name]!.join() !== before[name]!.join()).length;
  t.ok(changed_count <= RINGS_COUNT * 2, `${changed_count} of 100 lists`);
});

t.test('watching is spread evenly, and a new incarnation moves nobody', async (t) => {
  const roster = rosterOf(crowd(1000));
  const load = new Map<string, number>();
  for (const list of Object.values(listsOf(roster))) {
    for (const name of list) load.set(name, (load.get(name) ?? 0) + 1);
  }
  t.ok(Math.max(...load.values()) <= RINGS_COUNT + 2, 'a ring gives each member one');
  t.ok(load.size >= 999);
  t.same(listsOf(roster.with('n7', 9)), listsOf(roster));
});

t.test(
  'the links between watchers and watched hold together when a third of the members is gone',
  async (t) => {
    const names = crowd(300);
    const roster = rosterOf(names);
    const gone = new Set(names.filter((_, at) => at % 3 === 0));
    const links = new Map<string, Set<string>>(names.map((name) => [name, new Set()]));
    for (const name of names) {
      for (const watcher of roster.watchers(name, RINGS_COUNT)) {
        links.get(name)!.add(watcher);
        links.get(watcher)!.add(name);
      }
    }
    const reached = new Set(['n1']);
    for (const name of reached) for (const next of links.get(name)!) if (!gone.has(next)) reached.add(next);
    t.equal(reached.size, names.length - gone.size);
  },
);

t.test('a change shares all but a few buckets with the roster before', async (t) => {
  const roster = rosterOf(crowd(5000));
  let differing_count = 0;
  for (const _ of roster.with('one more', 1).changesSince(roster)) differing_count += 1;
  t.equal(differing_count, 1);
});
