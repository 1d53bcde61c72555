import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import {
  createRanking,
  isRanked,
  rankAmong,
  rankedFor,
  rankingAdd,
  rankingRemove,
} from '../../../protocols/membership/rendezvous.ts';

const LENGTH = 4;

function rankingOf(ids: Iterable<string>) {
  const ranking = createRanking(LENGTH);
  for (const id of ids) rankingAdd(ranking, id);
  return ranking;
}

const listsOf = (ranking: ReturnType<typeof createRanking>) =>
  Object.fromEntries([...ranking.lists].sort().map(([id, list]) => [id, list.map((entry) => entry.id)]));

t.test('watchers follow from the member list, not from the order of arrivals and departures', async () => {
  const id = fc.string({ minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(fc.uniqueArray(id, { maxLength: 20 }), fc.uniqueArray(id, { maxLength: 8 }), (stay, go) => {
      const leavers = go.filter((name) => !stay.includes(name));
      const ranking = rankingOf([...leavers, ...stay.toReversed()]);
      for (const name of leavers) rankingRemove(ranking, name);
      assert.deepEqual(listsOf(ranking), listsOf(rankingOf(stay)));
    }),
    { numRuns: 60 },
  );
});

t.test('nobody watches itself, and everybody has as many watchers as there are', async (t) => {
  const ids = Array.from({ length: 30 }, (_, at) => `n${at}`);
  const ranking = rankingOf(ids);
  for (const id of ids) {
    t.equal(rankedFor(ranking, id).length, LENGTH);
    t.notOk(isRanked(ranking, id, id, LENGTH));
    t.same(
      rankAmong(ranking, id, LENGTH, () => true),
      rankedFor(ranking, id).map((entry) => entry.id),
    );
  }
  t.equal(rankedFor(rankingOf(['a', 'b', 'c']), 'a').length, 2);
  t.same(rankedFor(ranking, 'stranger'), []);
});

t.test('one arrival changes few watchers', async (t) => {
  const ids = Array.from({ length: 100 }, (_, at) => `n${at}`);
  const before = listsOf(rankingOf(ids));
  const after = listsOf(rankingOf([...ids, 'new']));
  const changed_count = ids.filter((id) => after[id]!.join() !== before[id]!.join()).length;
  t.ok(changed_count <= 4 * LENGTH, `${changed_count} of 100 lists`);
});

t.test('watching is spread over the members', async (t) => {
  const ids = Array.from({ length: 200 }, (_, at) => `n${at}`);
  const load = new Map<string, number>();
  for (const list of rankingOf(ids).lists.values()) {
    for (const { id } of list) load.set(id, (load.get(id) ?? 0) + 1);
  }
  t.ok(Math.max(...load.values()) <= LENGTH * 4);
});
