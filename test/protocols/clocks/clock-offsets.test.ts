/** What a node makes of the clocks of others. */
import fc from 'fast-check';
import t from 'tap';
import { HLC_AHEAD_MS_MAX } from '../../../protocols/base/clock.ts';
import {
  CLOCK_OFF_MS,
  ClockOffsets,
  COMPARED_MAX,
  ROUND_TRIP_MS_MAX,
  refusedUntil_ms,
} from '../../../protocols/clocks/clock-offsets.ts';

const NOW = 1_900_000_000_000;
const FAR_MS = 300_000;

/** Clocks that are ahead of ours by so much each. */
function hearing(...offsets_ms: number[]): ClockOffsets {
  const offsets = new ClockOffsets();
  for (const [at, offset_ms] of offsets_ms.entries())
    offsets.heard(`peer${at}`, { asked_ms: NOW, answered_ms: NOW, theirs_ms: NOW + offset_ms });
  return offsets;
}

t.test('a node knows by how much it is ahead of the middle of the others', async (t) => {
  const table: [name: string, offsets_ms: number[], others: number, lead_ms: number | undefined][] = [
    ['nobody has told', [], 3, undefined],
    ['nobody is there', [], 0, undefined],
    ['the only other one', [-FAR_MS], 1, FAR_MS],
    ['one of several says nothing yet', [-FAR_MS], 2, undefined],
    ['both agree that this one is ahead', [-FAR_MS, -FAR_MS + 10], 2, FAR_MS - 10],
    ['both agree that this one is behind', [FAR_MS, FAR_MS - 10], 2, 10 - FAR_MS],
    ['one of two is wrong', [0, FAR_MS], 2, 0],
    ['one of two is behind', [-FAR_MS, 0], 2, 0],
    ['the two contradict one another', [-FAR_MS, FAR_MS], 2, 0],
    ['one of three lies', [-5, 7, -1e15], 3, 5],
    ['one of three lies the other way', [-5, 7, 1e15], 3, -7],
  ];
  for (const [name, offsets_ms, others, lead_ms] of table)
    t.equal(hearing(...offsets_ms).lead_ms(others), lead_ms, name);
});

t.test('fewer than half of the others move it nowhere', async () => {
  const honest = fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 2, maxLength: 12 });
  const liars = fc.array(fc.integer({ min: -1e12, max: 1e12 }), { maxLength: 12 });
  fc.assert(
    fc.property(honest, liars, (right, wrong) => {
      const lead_ms = hearing(...right, ...wrong.slice(0, right.length - 1)).lead_ms(24)!;
      return Math.abs(lead_ms) <= 1000;
    }),
  );
});

t.test('an answer is set against the middle of its way, and a slow one says nothing', async (t) => {
  const offsets = new ClockOffsets();
  const answered_ms = NOW + ROUND_TRIP_MS_MAX;
  offsets.heard('a', { asked_ms: NOW, answered_ms, theirs_ms: NOW + ROUND_TRIP_MS_MAX / 2 });
  t.equal(offsets.lead_ms(1), 0);
  offsets.heard('a', { asked_ms: NOW, answered_ms: answered_ms + 1, theirs_ms: NOW });
  t.equal(offsets.lead_ms(1), undefined, 'nor does what it had said before');
  offsets.heard('a', { asked_ms: NOW, answered_ms: NOW - 1, theirs_ms: NOW });
  t.equal(offsets.lead_ms(1), undefined, 'our clock was set back meanwhile');
});

t.test('who is gone is forgotten, and of too many the oldest', async (t) => {
  const offsets = hearing(-FAR_MS);
  offsets.forget('peer0');
  t.equal(offsets.lead_ms(1), undefined);
  const many = hearing(...Array.from({ length: COMPARED_MAX + 1 }, () => 0));
  t.equal(many.peers.length, COMPARED_MAX);
  t.notOk(many.peers.includes('peer0'));
});

t.test('whose clock is wrong is known by the middle of all', async (t) => {
  const offsets = hearing(0, FAR_MS, -FAR_MS - 1, CLOCK_OFF_MS);
  t.same(offsets.wrong(0), [
    { peer: 'peer2', ahead_ms: -FAR_MS - 1 },
    { peer: 'peer1', ahead_ms: FAR_MS },
  ]);
  t.same(hearing(-FAR_MS, -FAR_MS).wrong(FAR_MS), [], 'not of those that find this one wrong');
  t.same(hearing(FAR_MS).wrong(undefined), [{ peer: 'peer0', ahead_ms: FAR_MS }], 'one of two is');
});

t.test('what others will not take is known, and until when', async (t) => {
  const table: [name: string, stamped_ms: number, lead_ms: number, until_ms: number | undefined][] = [
    ['all is well', NOW, 0, undefined],
    ['a clock as far ahead as may be', NOW, HLC_AHEAD_MS_MAX, undefined],
    ['a clock further ahead', NOW, HLC_AHEAD_MS_MAX + 1, NOW + 1],
    ['a clock that is right again', NOW + FAR_MS, 0, NOW + FAR_MS - HLC_AHEAD_MS_MAX],
    ['stamps as far ahead as may be', NOW + HLC_AHEAD_MS_MAX, 0, undefined],
    ['a clock that is behind', NOW, -FAR_MS, undefined],
    ['stamps that are ahead of a clock that is behind', NOW + FAR_MS, -FAR_MS, undefined],
  ];
  for (const [name, stamped_ms, lead_ms, until_ms] of table)
    t.equal(refusedUntil_ms(NOW, stamped_ms, lead_ms), until_ms, name);
});
