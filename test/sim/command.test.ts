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
  const args = ['--nodes', '5', '--seed', '9', '--scenario', 'kills', '--json'];
  const first = run(...args);
  t.equal(first.status, 0, first.stderr);
  const report = JSON.parse(first.stdout);
  t.match(report, { nodes_count: 5, seed: 9, scenario: 'kills', violations: [], trace: /^[0-9a-f]{64}$/ });
  t.equal(JSON.parse(run(...args).stdout).trace, report.trace);
});

t.test('the command that a failing run names plays the same run', async (t) => {
  const init = { nodes_count: 4, seed: 3, scenario: 'mixed' };
  const [, , ...args] = replayCommand(init).split(' ');
  t.equal(JSON.parse(run(...args, '--json').stdout).trace, simulate(init).trace);
});

t.test('wrong usage is one line and the usage, exit 2', async (t) => {
  for (const args of [['--scenario', 'nothing'], ['--nodes', 'x'], ['--seed', '1.5'], ['--unknown']]) {
    const { status, stderr } = run(...args);
    t.equal(status, 2, args.join(' '));
    t.match(stderr, /usage: simulate/);
  }
});
