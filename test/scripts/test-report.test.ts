/** The report of scripts/test: what it counts, what it repeats, and when it fails. */
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import { temporaryDirectory } from '../daemon/api/api-fixture.ts';

const script = path.resolve(import.meta.dirname, '../../scripts/test-report.ts');

function report(input: string, skips?: string) {
  const { stdout, status } = spawnSync(process.execPath, [script], {
    input,
    encoding: 'utf8',
    env: { ...process.env, SHOAL_SKIPS: skips },
  });
  return { text: stdout, last: stdout.trimEnd().split('\n').at(-1), status };
}

const PASSING = `ok     types              2.0 s
TAP version 14
# Subtest: test/a.test.ts
    # Subtest: outer
        # Subtest: inner
            ok 1 - fact
            1..1
        ok 1 - inner # time=1ms
        ok 2 - second # SKIP needs root
        1..2
    ok 1 - outer # time=2ms
    1..1
ok 1 - test/a.test.ts # time=3ms
1..1
# { total: 2, pass: 1, skip: 1 }
`;
const FAILING = `TAP version 14
# Subtest: test/b.test.ts
    # Subtest: outer
        not ok 1 - fact
          ---
          diff: one is not two
          ...
        1..1
    not ok 1 - outer # time=2ms
      ---
      at: somewhere
      ...
    1..1
not ok 1 - test/b.test.ts # time=3ms
  ---
  exitCode: 1
  ...
1..1
# { total: 1, pass: 0, fail: 1 }
# suite failed
`;

t.test('it ends with the totals alone, and names skips with their reasons', async (t) => {
  const { text, last, status } = report(PASSING);
  t.equal(last, '2 passed, 0 failed, 1 skipped');
  t.equal(status, 0);
  t.match(text, 'test/a.test.ts > outer > second: needs root');
  t.match(text, /^ok {5}test\/a\.test\.ts/m);
});

t.test('several suites add up, and a failure is shown again before the last line', async (t) => {
  const { text, last, status } = report(PASSING + FAILING);
  t.equal(last, '2 passed, 1 failed, 1 skipped');
  t.equal(status, 1);
  const again = text.slice(text.indexOf('\nFailed:'));
  t.match(again, 'test/b.test.ts > outer > fact');
  t.match(again, 'diff: one is not two');
  t.notMatch(again, 'somewhere', 'a subtest is not a second failure');
});

t.test('a failed check fails it', async (t) => {
  const { last, status } = report(`FAILED types              2.0 s\nx.ts: wrong\n# check failed\n${PASSING}`);
  t.equal(last, '2 passed, 1 failed, 1 skipped');
  t.equal(status, 1);
});

t.test('a crash that no test reports fails it', async (t) => {
  const { last, status } = report(`${PASSING}# suite failed\n`);
  t.equal(last, '2 passed, 1 failed, 1 skipped');
  t.equal(status, 1);
});

t.test('where reasons to skip are listed, any other fails it', async (t) => {
  for (const [reasons, failed_count] of [
    [['needs root', 'needs wings'], 0],
    [['needs wings'], 1],
  ] as const) {
    const file = path.join(await temporaryDirectory(t), 'skips');
    await writeFile(file, `${reasons.join('\n')}\n`);
    const { text, last, status } = report(PASSING, file);
    t.equal(last, `2 passed, ${failed_count} failed, 1 skipped`);
    t.equal(status, failed_count);
    if (failed_count > 0) t.match(text.slice(text.indexOf('\nFailed:')), 'outer > second was skipped');
  }
});

t.test('what is not there is not left out in silence', async (t) => {
  const scriptsTest = path.join(path.dirname(script), 'test');
  const argv = [scriptsTest, script, 'test/no-such.test.ts'];
  const { status, stderr, stdout } = spawnSync('bash', argv, { encoding: 'utf8' });
  t.equal(status, 2);
  t.match(stderr, 'test/no-such.test.ts');
  t.equal(stdout, '');
});

t.test('nothing at all fails it', async (t) => {
  const { last, status } = report('');
  t.equal(last, '0 passed, 1 failed');
  t.equal(status, 1);
});
