import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { replayCommand, simulate } from './simulate.ts';

t.setTimeout(300_000);

const SCRIPT = fileURLToPath(new URL('../../scripts/simulate.ts', import.meta.url));

function run(...args: string[]) {
  return spawnSync(process.execPath, [SCRIPT, ...args], { encoding: 'utf8', timeout: 120_000 });
}

t.test('the command prints a report with the trace, and the same one again', async (t) => {
  const args = ['--nodes', '5', '--seed', '9', '--scenario', 'kills', '--trace', '--json'];
  const first = run(...args);
  t.equal(first.status, 0, first.stderr);
  const report = JSON.parse(first.stdout);
  t.match(report, { nodes_count: 5, seed: 9, scenario: 'kills', violations: [], trace: /^[0-9a-f]{32}$/ });
  t.equal(JSON.parse(run(...args).stdout).trace, report.trace);
});

t.test('the command that a failing run names plays the same run', async (t) => {
  const init = { nodes_count: 4, seed: 3, scenario: 'mixed', isTraced: true };
  const [, ...args] = replayCommand(init).split(' ');
  t.equal(JSON.parse(run(...args, '--json').stdout).trace, simulate(init).trace);
});

t.test('a sweep tells how many of its runs failed, in one process or several', async (t) => {
  const args = ['--nodes', '3', '--seeds', '1..5', '--scenario', 'calm,kills', '--json'];
  for (const jobs of ['1', '2']) {
    const lines = run(...args, '--jobs', jobs)
      .stdout.trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    t.equal(lines.length, 11);
    t.match(lines.at(-1), { summary: { runs_count: 10, failed_count: 0 } });
    t.same(new Set(lines.slice(0, -1).map(({ seed }) => seed)), new Set([1, 2, 3, 4, 5]));
  }
});

t.test('it lists the scenarios', async (t) => {
  const { stdout, status } = run('--list');
  t.equal(status, 0);
  t.match(stdout, /^mixed {2,}everything at once$/m);
});

t.test('wrong usage is one line and the usage, exit 2', async (t) => {
  for (const args of [
    ['--scenario', 'nothing'],
    ['--nodes', 'x'],
    ['--nodes', '1'],
    ['--seed', '1.5'],
    ['--hours', '0'],
    ['--jobs', '0'],
    ['--scenario', 'all'],
    ['--unknown'],
  ]) {
    const { status, stderr } = run(...args);
    t.equal(status, 2, args.join(' '));
    t.match(stderr, /usage: simulate/);
  }
});
