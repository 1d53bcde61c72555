/** Doubt in what a disk holds of the past: when it begins, and what alone ends it. */
import t from 'tap';
import { ROUNDS_MAX, type Round } from '../../../protocols/ledger/collection.ts';
import { HEARSAY_MS, HORIZON_UNKNOWN, Horizon } from '../../../protocols/ledger/horizon.ts';
import { NOW, unsigned } from './fixtures.ts';

const ROUND: Round = { upTo_ms: NOW, hash: '0'.repeat(32) };
const PARTS = ['0', '1'].map((prefix) => ({ prefix, words: [0, 0, 0, 0] as const, count: 1 }));

function recordOf(ms: number, kind = 'tag') {
  const header = {
    cluster: 'c',
    kind,
    key: 'app:1',
    author: 'a',
    epoch: 0,
    seq: 1,
    hlc: { ms, n: 0 },
  };
  return unsigned(header as never, {}, '0'.repeat(64));
}

/** In doubt, after a first look at what all have agreed on. */
function inDoubt(): Horizon {
  const horizon = new Horizon(HORIZON_UNKNOWN, undefined);
  horizon.advance(ROUND, false);
  return horizon;
}

t.test('a peer that holds the same ends a doubt, and only once it is known what all agreed on', async (t) => {
  const early = new Horizon(HORIZON_UNKNOWN, undefined);
  t.notOk(early.equals(NOW), 'what was collected would be taken back from whoever still has it');
  const horizon = inDoubt();
  t.notOk(horizon.equals(NOW - 1), 'a peer that has not collected as far');
  t.ok(horizon.isInDoubt);
  t.ok(horizon.equals(NOW));
  t.same([horizon.isInDoubt, horizon.durable_ms], [false, NOW]);
});

t.test('what was seen of a peer does not cover what comes from another meanwhile', async (t) => {
  for (const [what, ms, theirs_ms, isWhole] of [
    ['old, of one that has not collected', NOW, NOW - 1, false],
    ['new', NOW + 1, NOW - 1, true],
    ['of one that has collected', NOW, NOW, true],
  ] as const) {
    const horizon = inDoubt();
    const cover = horizon.coverOf(NOW)!;
    cover.divided('', PARTS);
    cover.settled('0');
    horizon.took([recordOf(ms)], theirs_ms);
    cover.settled('1');
    t.equal(cover.isWhole, isWhole, what);
  }
});

t.test('of rounds that none agrees on for long the latest alone are kept', async (t) => {
  const horizon = new Horizon(0, undefined);
  const rounds = Array.from(
    { length: 100 },
    (_, at): Round => ({ ...ROUND, hash: `${at}`.padStart(32, '0') }),
  );
  for (const round of rounds) horizon.acknowledge(round, [recordOf(NOW)]);
  t.equal(rounds.filter((round) => horizon.hasAcknowledged(round)).length, ROUNDS_MAX);
  t.ok(horizon.hasAcknowledged(rounds.at(-1)!));
  const known = rounds.filter((round) => horizon.acknowledgedOf(round) !== undefined);
  t.ok(known.length < ROUNDS_MAX && known.at(-1) === rounds.at(-1), `of ${known.length} all is known`);
});

t.test('a clock that was set back makes it forget no later round, as the record does not', async (t) => {
  const horizon = new Horizon(0, undefined);
  horizon.acknowledge({ ...ROUND, upTo_ms: NOW + 1 });
  for (let at = 0; at < 2 * ROUNDS_MAX; at += 1)
    horizon.acknowledge({ ...ROUND, hash: `${at}`.padStart(32, '0') });
  t.ok(horizon.hasAcknowledged({ ...ROUND, upTo_ms: NOW + 1 }));
});

t.test('a horizon that this disk agreed to is no doubt, and any other is', async (t) => {
  const horizon = new Horizon(0, undefined);
  horizon.acknowledge(ROUND);
  horizon.advance(ROUND, false);
  t.same([horizon.isInDoubt, horizon.told_ms], [false, NOW]);
  horizon.advance({ ...ROUND, upTo_ms: NOW + 1 }, false);
  t.same([horizon.isInDoubt, horizon.told_ms, horizon.durable_ms], [true, 0, HORIZON_UNKNOWN]);
});

t.test('past is what could have been collected, and no record that says who may or who has', async (t) => {
  const horizon = new Horizon(NOW, undefined);
  for (const [kind, ms, isPast] of [
    ['tag', NOW, true],
    ['tag', NOW + 1, false],
    ['grant', NOW, false],
    ['revoke', NOW, false],
    ['ack', NOW, false],
    ['genesis', NOW, false],
  ] as const)
    t.equal(horizon.isPast(recordOf(ms, kind)), isPast, kind);
  horizon.doubt();
  t.notOk(horizon.isPast(recordOf(NOW)), 'a disk in doubt takes all that comes');
});

t.test('of what it has agreed to a disk keeps what is not behind its horizon', async (t) => {
  const horizon = new Horizon(0, undefined);
  const later = { ...ROUND, upTo_ms: NOW + 1 };
  const latest = { ...ROUND, upTo_ms: NOW + 2 };
  for (const round of [ROUND, later, latest]) horizon.acknowledge(round);
  for (const round of [later, latest]) horizon.advance(round, false);
  t.notOk(horizon.isInDoubt, 'what is ahead was kept');
  horizon.advance(ROUND, false);
  t.ok(horizon.isInDoubt, 'what was behind is gone');
});

t.test('what came late on one word goes by another as good, and not at once', async (t) => {
  const horizon = new Horizon(NOW, undefined);
  const [late, known] = [recordOf(NOW), recordOf(NOW)];
  horizon.tookLate(late, NOW);
  const then = NOW + HEARSAY_MS;
  t.ok(horizon.isDoubtful(late, NOW, then));
  t.notOk(horizon.isDoubtful(late, NOW, then - 1), 'whoever gave it may not have met the other yet');
  t.notOk(horizon.isDoubtful(late, NOW - 1, then), 'of one that has not collected as far');
  t.notOk(horizon.isDoubtful(known, NOW, then), 'what was here when all agreed');
  horizon.doubt();
  t.notOk(horizon.isDoubtful(late, NOW, then), 'a node in doubt waits for what all agree on');
});
