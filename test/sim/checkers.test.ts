/** Checkers that never complain prove nothing: each is shown a run that was tampered with. */
import t from 'tap';
import { boundsHold } from './checkers/bounds-hold.ts';
import type { Run } from './checkers/checker.ts';
import { deathsAreNoticed } from './checkers/deaths-are-noticed.ts';
import { ledgersAgree } from './checkers/ledgers-agree.ts';
import { noFalseVerdicts } from './checkers/no-false-verdicts.ts';
import { recordsSurvive } from './checkers/records-survive.ts';
import { viewsConverge } from './checkers/views-converge.ts';
import { play } from './simulate.ts';

function fresh(): Run {
  return play({ nodes_count: 4, seed: 1, scenario: 'calm' });
}

t.test('a run that nobody touched passes', async (t) => {
  const run = fresh();
  const checkers = [
    viewsConverge,
    noFalseVerdicts,
    deathsAreNoticed,
    recordsSurvive,
    ledgersAgree,
    boundsHold,
  ];
  for (const check of checkers) t.same(check(run), []);
});

t.test('a wrong view is found', async (t) => {
  const run = fresh();
  const [node] = [...run.living.values()];
  [...node!.membership.members.values()][0]!.status = 'suspect';
  t.equal(viewsConverge(run).length, 1);
});

t.test('a false verdict is found, also when it was taken back', async (t) => {
  const run = fresh();
  const [a, b] = [...run.living.keys()] as [string, string];
  run.world.facts.push({ at_ms: 1, node: a, fact: { kind: 'status', member: b, status: 'failed' } });
  run.world.facts.push({ at_ms: 2, node: a, fact: { kind: 'status', member: b, status: 'alive' } });
  t.equal(noFalseVerdicts(run).length, 1);
});

t.test('a death that somebody never learns of is found', async (t) => {
  const run = fresh();
  const [a] = [...run.living.keys()] as [string];
  const story = { ...run.story, dead: new Map([[a, 1000]]) };
  t.equal(deathsAreNoticed({ ...run, story }).length, 1);
});

t.test('a lost record and unequal ledgers are found', async (t) => {
  const run = fresh();
  const [a] = [...run.living.keys()] as [string];
  run.world.facts.push({ at_ms: 1, node: a, fact: { kind: 'acknowledged', digest: 'f'.repeat(64) } });
  t.equal(recordsSurvive(run).length, run.living.size);
  const node = run.living.get(a)!;
  const event = { kind: 'write', author: a, recordKind: 'tag', key: 'late', body: { digest: 'x' } } as const;
  node.ledger.handle(event, { now: 1_900_000_000_000, random: () => 0 });
  t.equal(ledgersAgree(run).length, run.living.size - 1);
});

t.test('what grows over its cap is found', async (t) => {
  const run = fresh();
  run.world.queue_max = 1_000_000;
  const [node] = [...run.living.values()];
  for (let at = 0; at < 2000; at += 1) {
    node!.membership.timers.set(1e9 + at, { kind: 'tick', at_ms: 0 });
  }
  t.equal(boundsHold(run).length, 2);
});
