import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { type Broken, runAll, runInProcesses } from '../../scripts/simulate-parts/sweep.ts';
import { type Report, replayCommand, simulate } from './simulate.ts';

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
  const wrong = [
    ['--scenario', 'nothing'],
    ['--nodes', '1'],
    ['--jobs', '0'],
    ['--seeds', '9..1'],
    ['--seeds', '1..2..3'],
    ['--nodes', '2', '--scenario', 'kills'],
    ['--scenario', 'kills', '--hours', '2'],
    ['--unknown'],
  ];
  for (const args of wrong) {
    const { status, stderr } = run(...args);
    t.equal(status, 2, args.join(' '));
    t.match(stderr, /usage: simulate/);
  }
});

const SWEEP = {
  nodes_count: 2,
  scenarios: ['calm'],
  hours: undefined,
  seeds: [1, 3],
  isTraced: false,
} as const;

function listener() {
  const runs: (Report | Broken)[] = [];
  const said: string[] = [];
  return {
    runs,
    said,
    onRun: (run: Report | Broken) => runs.push(run),
    say: (line: string) => said.push(line),
  };
}

t.test('a run that breaks off is a failed one that can be played again, and the others go on', async (t) => {
  const { runs, said, ...on } = listener();
  const tally = runAll(
    SWEEP,
    (init) => {
      if (init.seed === 2) throw new Error('torn');
      return simulate(init);
    },
    on,
  );
  t.match(tally, { runs_count: 3, failed_count: 1 });
  t.match(runs[1], { nodes_count: 2, seed: 2, scenario: 'calm', violations: [/torn/] });
  t.match(said.at(-1), /again: scripts\/simulate --nodes 2 --seed 2 --scenario calm/);
});

t.test('what hours were asked for goes to scenarios that have no time of their own alone', async (t) => {
  const hours: unknown[] = [];
  const { runs, ...on } = listener();
  runAll(
    { ...SWEEP, nodes_count: 3, scenarios: ['calm', 'kills'], hours: 0.001 },
    (init) => {
      hours.push(init.hours);
      return simulate(init);
    },
    on,
  );
  t.same(hours, [0.001, 0.001, 0.001, undefined, undefined, undefined]);
  t.equal(runs.length, 6);
});

t.test('a process that ends before its last run fails the sweep, whatever its exit code is', async (t) => {
  const line = JSON.stringify({ nodes_count: 2, seed: 1, scenario: 'calm', violations: [] });
  for (const code of [0, 1, 7]) {
    const { said, ...on } = listener();
    const program = `console.log('${line}'); process.exitCode = ${code}`;
    t.match(await runInProcesses(SWEEP, 2, () => ['-e', program], on), { runs_count: 2, failed_count: 1 });
    t.match(said.at(-1), /1 of 3 runs told nothing/);
  }
});
