/** The parts of scripts/calibrate. What it measures of real daemons is not tested: times are no facts. */
import { appendFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { measure, WRITES_A_ROUND } from '../../scripts/calibrate-parts/procedure.ts';
import { rowsOf, rowText } from '../../scripts/calibrate-parts/report.ts';
import { SimulatedCluster } from '../../scripts/calibrate-parts/simulated-cluster.ts';
import { StatusLog } from '../../scripts/calibrate-parts/status-log.ts';

const during = <T>(_: string, work: () => Promise<T>) => work();

t.test('a simulated cluster is measured, and the same again with the same seed', async (t) => {
  const rounds = 2;
  const [figures, again] = await Promise.all(
    [1, 1].map((seed) => measure(new SimulatedCluster(4, seed), rounds, during)),
  );
  t.same(figures, again);
  const { written_ms, killed_ms, silent_ms, healed_ms, rest_bytes_s, written_bytes } = figures!;
  t.equal(written_ms.length, rounds * WRITES_A_ROUND);
  for (const list of [killed_ms, silent_ms, healed_ms]) t.equal(list.length, rounds);
  t.equal(rest_bytes_s.length, 4);
  t.equal(written_bytes.length, 1);
  t.ok(Object.values(figures!).every((list) => list.every((value: number) => value > 0)));
  t.ok(Math.max(...killed_ms) < Math.min(...silent_ms), 'a closed connection is noticed sooner than silence');
});

t.test('a log tells since when a member is held so, from where it was opened', async (t) => {
  const file = path.join(t.testdir(), 'log');
  const line = (second: number, status: string, member = 'b') =>
    `${JSON.stringify({ at: new Date(second * 1000).toISOString(), message: `a member is ${status}`, member })}\n`;
  writeFileSync(file, line(1, 'failed'));
  using log = new StatusLog(file);
  log.read();
  t.equal(log.sight('b'), undefined);
  appendFileSync(file, `(node:1) a warning\n${line(2, 'suspect')}${line(3, 'failed').slice(0, 20)}`);
  log.read();
  t.same(log.sight('b'), { status: 'suspect', since_ms: 2000 });
  appendFileSync(file, line(3, 'failed').slice(20) + line(4, 'alive', 'c'));
  log.read();
  t.same(log.sight('b'), { status: 'failed', since_ms: 3000 });
  t.same(log.sight('c'), { status: 'alive', since_ms: 4000 });
  appendFileSync(file, line(5, 'suspect'));
  log.reset();
  log.read();
  t.equal(log.sight('b'), undefined, 'of a daemon that has ended nothing is held');
});

t.test('a row has both columns and their ratio, and says what is not to be believed', async (t) => {
  const figures = (value: number) => ({
    written_ms: [value, value * 3],
    written_bytes: [value],
    killed_ms: [value],
    silent_ms: [value],
    healed_ms: [value],
    rest_bytes_s: [value],
  });
  const load = { cores_percent: 90, daemons_percent: 40, waiting_percent: null };
  const rows = rowsOf(3, figures(30), [figures(10), figures(10)], () => load);
  t.match(rows[0], {
    nodes_count: 3,
    real: { min: 30, median: 60, max: 90, rounds: 2 },
    simulated: { min: 10, median: 20, max: 30, rounds: 4 },
    ratio: 3,
  });
  t.match(rowText(rows[0]!), /^3 .*30 {2}60 {2}90 \(2\).*10 {2}20 {2}30 \(4\).*ms.*x3 !.*90 % \(40\) FULL$/);
  const [calm] = rowsOf(3, figures(10), [figures(10)], () => ({ ...load, cores_percent: 20 }));
  t.notMatch(rowText(calm!), /!|FULL/);
});
