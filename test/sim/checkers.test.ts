/** Checkers that never complain prove nothing: each is shown a run that was tampered with. */
import t from 'tap';
import { sealRecord } from '../../protocols/ledger/record.ts';
import { CHECKERS } from './checkers/all.ts';
import { boundsHold } from './checkers/bounds-hold.ts';
import type { Run } from './checkers/checker.ts';
import { convergesInTime } from './checkers/converges-in-time.ts';
import { deathsAreNoticed } from './checkers/deaths-are-noticed.ts';
import { deletedStayDeleted } from './checkers/deleted-stay-deleted.ts';
import { grantsHold } from './checkers/grants-hold.ts';
import { harmIsContained } from './checkers/harm-is-contained.ts';
import { honestAreNotBanned } from './checkers/honest-are-not-banned.ts';
import { ledgersAgree } from './checkers/ledgers-agree.ts';
import { noFalseVerdicts } from './checkers/no-false-verdicts.ts';
import { numbersAreUnique } from './checkers/numbers-are-unique.ts';
import { recordsSurvive } from './checkers/records-survive.ts';
import { viewsConverge } from './checkers/views-converge.ts';
import { fastCrypto, fastSigner } from './fast-crypto.ts';
import { noteHeld, play } from './play.ts';
import type { ShoalNode } from './shoal-node.ts';
import { EPOCH_MS } from './simulator.ts';
import { RECOVERED_MS } from './stage.ts';

function fresh(scenario = 'calm'): Run {
  return play({ nodes_count: 4, seed: 1, scenario });
}

function names(run: Pick<Run, 'living'>): [string, string, string] {
  return [...run.living.keys()] as [string, string, string];
}

t.test('a run that nobody touched passes', async (t) => {
  const run = fresh();
  for (const [name, check] of Object.entries(CHECKERS)) t.same(check(run), [], name);
});

t.test('a wrong view is found', async (t) => {
  const run = fresh();
  const [a, b] = names(run);
  run.living.get(a)!.membership.members.get(b)!.status = 'suspect';
  t.equal(viewsConverge(run).length, 1);
});

t.test('a late agreement, and none, are found', async (t) => {
  const run = fresh();
  t.equal(convergesInTime({ ...run, converged_ms: null }).length, 1);
  t.equal(convergesInTime({ ...run, converged_ms: run.story.converged_ms_max + 1 }).length, 1);
});

t.test('a false verdict is found, also when it was taken back', async (t) => {
  const run = fresh();
  const [a, b] = names(run);
  run.chronicle.status(1, a, b, 'failed');
  run.chronicle.status(2, a, b, 'alive');
  t.equal(noFalseVerdicts(run).length, 1);
});

t.test(
  'a verdict of long ago that still stands is found, and one of a member in trouble is none',
  async (t) => {
    const run = fresh();
    const { world, stage, chronicle } = run;
    const [a, b] = names(run);
    const { failed } = run.living.get(a)!.membership;
    failed.set(b, 0);
    stage.pause(b, 1000);
    const until_ms = world.now_ms + 1000 + RECOVERED_MS;
    for (; world.now_ms < until_ms; world.now_ms += 500) noteHeld(world, stage, chronicle);
    t.same(noFalseVerdicts(run), [], 'time to take it back');
    world.now_ms += 60_000;
    noteHeld(world, stage, chronicle);
    t.match(noFalseVerdicts(run).join(), /still held/);
    failed.delete(b);
  },
);

t.test('a verdict is excused by trouble of its member, or lately of both', async (t) => {
  const run = fresh();
  const { world, stage, chronicle } = run;
  const [a, b, c] = names(run);
  const judged = (after_ms: number) => {
    world.now_ms += after_ms;
    return chronicle.judge(a, b);
  };
  const hear = () => {
    for (const end of world.host(a).ends.get(b)!) end.heard_ms = world.now_ms;
  };
  stage.pause(b, 1000);
  t.same([judged(0), judged(900), judged(200), judged(500)], ['troubled', 'troubled', 'troubled', 'unheard']);
  hear();
  t.equal(judged(0), 'recovered', 'what it says arrives again');
  t.equal(chronicle.judge(c, b), 'unheard', 'not everywhere');
  stage.pause(a, 100);
  t.same([judged(50), judged(100), judged(RECOVERED_MS)], ['troubled', 'troubled', 'healthy']);
  stage.pause(a, 5000);
  t.same([judged(4000), judged(1001)], ['troubled', 'healthy'], 'the member was well all that time');
  stage.pause(b, 100);
  stage.pause(a, 9000);
  t.same([judged(9001), judged(RECOVERED_MS)], ['troubled', 'healthy'], 'it reads what came meanwhile');
});

t.test('a verdict that was right may be read late, and one that was not is never excused', async (t) => {
  const run = fresh();
  const { world, stage, chronicle } = run;
  const [a, b, c] = names(run);
  const failed = (incarnation: number) => new Map([[c, { incarnation, verdict: 'failed' as const }]]);
  const found_count = () => noFalseVerdicts(run).length;
  stage.pause(b, 1000);
  chronicle.accused(c, b, 1);
  world.now_ms += 2500;
  chronicle.status(world.now_ms, a, b, 'failed', failed(1));
  t.equal(found_count(), 0, 'it was silent when it was accused');
  chronicle.status(world.now_ms, a, b, 'failed', failed(2));
  t.equal(found_count(), 1, 'nobody accused that incarnation');
  chronicle.accused(c, b, 1);
  chronicle.status(world.now_ms, a, b, 'failed', failed(1));
  t.equal(found_count(), 1, 'nothing that it said since had arrived when it was accused again');
  for (const end of world.host(c).ends.get(b)!) end.heard_ms = world.now_ms;
  chronicle.accused(c, b, 1);
  chronicle.status(world.now_ms, a, b, 'failed', failed(1));
  t.equal(found_count(), 2, 'it was well, and had been heard, when it was accused again');
  stage.pause(b, 1000);
  chronicle.accused(c, b, 3);
  world.now_ms += 1000 + RECOVERED_MS;
  chronicle.status(world.now_ms, a, b, 'failed', failed(3));
  t.equal(found_count(), 3, 'too late');
});

t.test('a member that is held as failed is found in a large cluster too', async (t) => {
  const run = fresh();
  const [a, b] = names(run);
  const { membership } = run.living.get(a)!;
  membership.members.get(b)!.status = 'failed';
  membership.failed.set(b, 0);
  const hosts = [...run.world.hosts];
  run.world.hosts.length = 0;
  t.equal(viewsConverge(run).length, 1, 'though none is looked at in turn');
  run.world.hosts.push(...hosts);
});

t.test('a death that somebody never learns of is found', async (t) => {
  const run = fresh();
  const [a, b] = names(run);
  run.stage.dead.set(a, 1000);
  run.chronicle.status(2000, b, a, 'failed');
  t.equal(deathsAreNoticed(run).length, 1);
});

t.test('a death is noticed within what the scenario states, and not later', async (t) => {
  const run = play({ nodes_count: 5, seed: 1, scenario: 'kills-in-loss' });
  t.equal(run.stage.dead.size, 2);
  t.same(deathsAreNoticed(run), []);
  t.equal(deathsAreNoticed({ ...run, story: { ...run.story, noticed_ms_max: 1 } }).length, 2);
});

t.test('who is paused when a death is to be known has to know it as soon as it goes on', async (t) => {
  const run = fresh();
  const { stage, chronicle, world, story } = run;
  const [a, ...others] = names(run);
  const [b] = others;
  const dead_ms = world.now_ms;
  stage.dead.set(a, dead_ms);
  const living = new Map([...run.living].filter(([id]) => id !== a));
  for (const node of others) if (node !== b) chronicle.status(dead_ms + 1, node, a, 'failed');
  const end_ms = dead_ms + story.noticed_ms_max;
  world.now_ms = end_ms - 2000;
  stage.pause(b, 1500);
  world.now_ms += 1000;
  stage.pause(b, 3000);
  const found_count = (learned_ms: number) => {
    const deaths = chronicle.deaths.filter(({ node }) => node !== b);
    const learned = [...deaths, { at_ms: learned_ms, node: b, member: a }];
    const told = Object.create(chronicle, { deaths: { value: learned } }) as typeof chronicle;
    return deathsAreNoticed({ ...run, living, chronicle: told }).length;
  };
  t.equal(found_count(end_ms), 0);
  t.equal(found_count(end_ms + 2100), 0, 'it was paused twice without a moment between');
  t.equal(found_count(end_ms + 3000), 1, 'it went on long before');
  t.equal(deathsAreNoticed({ ...run, living }).length, 1, 'it never learned of it');
  stage.pause(b, 1);
  t.equal(stage.awakeFrom_ms(b, end_ms - 3000), end_ms - 3000, 'it was not paused then');
});

t.test('a ban of an honest member is found, and that of another is none', async (t) => {
  const run = fresh('byzantine-forge');
  const [a, b] = names(run);
  t.ok(run.chronicle.bans.length > 0);
  t.same(honestAreNotBanned(run), []);
  run.chronicle.banned({ at_ms: 1, node: a, peer: b, offences: { malformed: 4 } });
  t.equal(honestAreNotBanned(run).length, 1);
});

t.test('a record that comes back after its deletion is found', async (t) => {
  const run = fresh();
  const [a] = names(run);
  const [key] = [...run.living.get(a)!.ledger.ledger.ofKind('tag')][0]!;
  run.chronicle.deleted({ key, at_ms: 1, writer: a, digest: 'f'.repeat(64) });
  t.equal(deletedStayDeleted(run).length, run.living.size);
  run.stage.lost.add('f'.repeat(64));
  t.same(deletedStayDeleted(run), [], 'the only disk that knew of it lost it');
});

t.test('a lost record and unequal ledgers are found', async (t) => {
  const run = fresh();
  const [a] = names(run);
  run.chronicle.written({ digest: 'f'.repeat(64), kind: 'tag', key: 'any' }, 1, a);
  t.equal(recordsSurvive(run).length, run.living.size);
  const event = { kind: 'write', author: a, recordKind: 'tag', key: 'late', body: { digest: 'x' } } as const;
  run.living.get(a)!.ledger.handle(event, { now: EPOCH_MS + run.world.now_ms, random: () => 0 });
  t.equal(ledgersAgree(run).length, run.living.size - 1);
});

t.test('a record that is gone is no loss when its deletion is known to anybody', async (t) => {
  const run = fresh();
  const [a] = names(run);
  run.chronicle.written({ digest: 'f'.repeat(64), kind: 'tag', key: 'any' }, 1, a);
  run.chronicle.deleted({ key: 'another', at_ms: 2, writer: a, digest: 'e'.repeat(64) });
  t.equal(recordsSurvive(run).length, run.living.size);
  run.chronicle.deleted({ key: 'any', at_ms: 2, writer: a, digest: 'd'.repeat(64) });
  t.same(recordsSurvive(run), []);
});

t.test('records without a grant, of no signature and of the future are found', async (t) => {
  const run = fresh();
  const [a] = names(run);
  const { ledger } = run.living.get(a)!.ledger;
  const stranger = fastSigner('stranger');
  const header = {
    cluster: run.cluster.genesis.digest,
    author: stranger.id,
    epoch: 0,
    seq: 1,
    hlc: { ms: EPOCH_MS, n: 0 },
    kind: 'tag',
    key: 'any',
    generation: 1,
    context: [],
  };
  ledger.merge(sealRecord(header, { digest: 'x' }, stranger, fastCrypto));
  t.match(grantsHold(run).join(), /without a grant/);
  const own = { ...header, author: a, epoch: 9 };
  ledger.merge(sealRecord({ ...own, key: 'other' }, null, stranger, fastCrypto));
  t.match(grantsHold(run).join(), /not signed by its author/);
  const late = { ...own, epoch: 10, key: 'late', hlc: { ms: EPOCH_MS * 2, n: 0 } };
  ledger.merge(sealRecord(late, null, run.cluster.signers.get(a)!, fastCrypto));
  t.match(grantsHold(run).join(), /of the future/);
});

t.test('what a revoked member wrote after its cut reaches all, and that it counts is found', async (t) => {
  const run = fresh('revocation-apart');
  const [offender] = [...run.stage.revoked.keys()];
  // Also where others, who hold the same records, are right.
  const node = run.living.get([...run.living.keys()].at(-1)!)!;
  const late = [...node.ledger.ledger.records()].filter((record) => {
    return record.author === offender && !node.ledger.authority.counts(record);
  });
  t.ok(late.length >= 20, `${late.length} records after the cut are in the ledger`);
  t.same(grantsHold(run), []);
  node.ledger.authority.counts = () => true;
  t.equal(grantsHold(run).filter((flaw) => /counts after the cut/.test(flaw)).length, late.length);
  t.match(grantsHold(run).join(), /is in the view, and nobody who may has written it/);
  node.ledger.authority.counts = () => false;
  t.match(grantsHold(run).join(), /does not count/, 'nor may what was written before go with it');
});

t.test('a record of a kind that its author has no role for is found', async (t) => {
  const run = fresh();
  const { visitor, genesis } = run.cluster;
  const header = {
    cluster: genesis.digest,
    author: visitor.id,
    epoch: 0,
    seq: 1,
    hlc: { ms: EPOCH_MS, n: 0 },
    kind: 'alloc',
    key: `${visitor.id}/any`,
    generation: 1,
    context: [],
  };
  run.living.get(names(run)[0])!.ledger.ledger.merge(sealRecord(header, {}, visitor, fastCrypto));
  t.match(grantsHold(run).join(), /alloc.* is not its author's to write/);
});

t.test('an honest author that was flagged is found', async (t) => {
  const run = fresh();
  run.chronicle.equivocation(names(run)[0]);
  t.equal(numbersAreUnique(run).length, 1);
});

t.test('harm that others notice is found, and so is harm that nobody notices', async (t) => {
  const run = fresh('byzantine-forge');
  t.same(harmIsContained(run), []);
  run.chronicle.written({ digest: 'f'.repeat(64), kind: 'tag', key: 'any' }, 1, names(run)[0]);
  t.equal(harmIsContained(run).length, 1);
  run.chronicle.rejected.clear();
  t.equal(harmIsContained(run).length, 2);
});

t.test(
  'a record that came late to one that was banned for its harm came to the others in time',
  async (t) => {
    const run = play({ nodes_count: 3, seed: 1, scenario: 'byzantine-forge', hours: 0.02 });
    t.ok(run.world.now_ms > 70_000, 'the ban has ended');
    t.same(harmIsContained(run), []);
  },
);

t.test('what grows over its cap is found', async (t) => {
  const run = fresh();
  run.world.queue_max = 10_000_000;
  const [node] = [...run.living.values()];
  for (let at = 0; at < 2000; at += 1) {
    node!.membership.timers.start('tick', null, at);
  }
  t.equal(boundsHold(run).length, 2);
});

t.test('what was over its cap for a moment is found', async (t) => {
  const { chronicle, stage, world, ...run } = fresh();
  t.ok(run.peaks.of.timers.value > 0, 'somebody has looked');
  const [[id, node], [other]] = [...run.living] as [[string, ShoalNode], [string, ShoalNode]];
  const { doubted, members, pending } = node.membership;
  const { verdicts } = members.get(other)!;
  doubted.add(other);
  for (let at = 0; at < 33; at += 1) verdicts.set(`watcher ${at}`, { incarnation: 1, verdict: 'alive' });
  pending.length = 1025;
  run.peaks.look(id, node);
  doubted.delete(other);
  verdicts.clear();
  pending.length = 0;
  t.match(boundsHold({ ...run, chronicle, stage, world }), [/^waiting verdicts/, /^verdicts of one member/]);
});
