/** The arithmetic and the lines of scripts/bench. What it measures is not tested: times are no facts. */
import { test } from 'tap';
import { inGroups } from '../../scripts/bench-parts/ledger/replica.ts';
import { lastValues, makeTrace } from '../../scripts/bench-parts/ledger/trace.ts';
import {
  compareRounds,
  compareSamples,
  jsonText,
  median,
  quantile,
  tableText,
} from '../../scripts/bench-parts/result.ts';

test('a median is the middle value, or the mean of the two in the middle', async (t) => {
  t.equal(median([3, 1, 2]), 2);
  t.equal(median([4, 1, 3, 2]), 2.5);
  t.equal(median([7]), 7);
  t.throws(() => median([]), RangeError);
});

test('a quantile is interpolated, does not sort its input, and orders by number', async (t) => {
  const values = [100, 9, 20];
  t.equal(quantile(values, 0), 9);
  t.equal(quantile(values, 1), 100);
  t.equal(quantile(values, 0.75), 60);
  t.same(values, [100, 9, 20]);
});

test('the ratio of rounds is the median of the ratios of each round', async (t) => {
  const line = compareRounds({ name: 'a', unit: 'ms' }, [10, 200, 30], { name: 'peer', values: [5, 50, 30] });
  t.same(line, {
    name: 'a',
    value: 30,
    unit: 'ms',
    peer: 'peer',
    peer_value: 30,
    ratio: 2,
    rounds: 3,
    samples: 3,
    min: 10,
    median: 30,
    max: 200,
  });
});

test('rounds that do not pair are refused', async (t) => {
  t.throws(() => compareRounds({ name: 'a', unit: 'ms' }, [1, 2], { name: 'peer', values: [1] }), RangeError);
});

test('samples of all rounds are compared at the quantile asked for', async (t) => {
  const subject = { name: 'a-max', unit: 'ms', quantile: 1, rounds: 2 };
  const line = compareSamples(subject, [1, 2, 3], { name: 'peer', values: [4, 6] });
  t.match(line, { value: 3, peer_value: 6, ratio: 0.5, rounds: 2, samples: 3, min: 1, median: 2, max: 3 });
});

test('what has no peer has no ratio, and neither has what is divided by nothing', async (t) => {
  t.match(compareRounds({ name: 'a', unit: 'ms' }, [1], null), { peer: null, peer_value: null, ratio: null });
  t.equal(compareRounds({ name: 'a', unit: 'ms' }, [1], { name: 'peer', values: [0] }).ratio, null);
});

test('a line of JSON is one line with every field, in order', async (t) => {
  const text = jsonText(compareRounds({ name: 'a', unit: 'ms' }, [1.23456], null));
  t.equal(
    text,
    '{"name":"a","value":1.235,"unit":"ms","peer":null,"peer_value":null,"ratio":null,"rounds":1,' +
      '"samples":1,"min":1.235,"median":1.235,"max":1.235}',
  );
});

test('a table has a head, a rule and a row for each line, in columns', async (t) => {
  const peer = { name: 'peer', values: [2000] };
  const lines = [
    compareRounds({ name: 'one', unit: 'ms' }, [1000], peer),
    compareRounds({ name: 'two', unit: 'ms' }, [1], null),
  ];
  const rows = tableText(lines).split('\n');
  t.equal(rows.length, 4);
  t.match(rows[2], /^one +1,000 +ms +peer +2,000 +0\.5 +1 /);
  t.match(rows[3], /^two +1 +ms +- +- +- +1 /);
  t.equal(rows[2]!.indexOf('ms'), rows[3]!.indexOf('ms'));
});

test('the trace is the same in every run, and its last values are what a replica must hold', async (t) => {
  const size = { keys: 5, updates: 50, value_bytes: 20 };
  const trace = makeTrace(size);
  t.same(trace, makeTrace(size));
  t.ok(trace.every(({ value }) => value.length === 20));
  t.ok(lastValues(trace).size <= 5);
  t.equal(lastValues(trace).get(trace.at(-1)!.key), trace.at(-1)!.value);
  t.same(
    inGroups(trace, 20).map(({ length }) => length),
    [20, 20, 10],
  );
});
