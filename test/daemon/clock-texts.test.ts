/** What users are told of wrong clocks. */
import t from 'tap';
import { type ClockProblems, clockTexts, refusalText } from '../../daemon/clock-texts.ts';

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);
const NONE: ClockProblems = {
  off_ms: null,
  refusal: null,
  wrong: [],
  isMiddleKnown: true,
  untimely: [],
  others_count: 3,
};

t.test('all is well', async (t) => {
  t.same(clockTexts(NONE), []);
});

t.test('a clock that is ahead or behind is told with what to do', async (t) => {
  t.match(clockTexts({ ...NONE, off_ms: 40_000 }), [
    /^E_CLOCK_AHEAD: .* 40 s ahead of .*no other takes.*Set it/,
  ]);
  t.match(clockTexts({ ...NONE, off_ms: -7_200_000 }), [/^E_CLOCK_BEHIND: .* 7200 s behind .*Set it/]);
});

t.test('where changes are refused that alone is told of this host', async (t) => {
  const refusal = { lead_ms: 300_000, until_ms: NOW };
  t.match(clockTexts({ ...NONE, off_ms: 300_000, refusal }), [/300 s ahead .*: set it.*are refused$/]);
});

t.test('where the clock is right and the stamps are not, it is told until when', async (t) => {
  const text = refusalText({ lead_ms: -2, until_ms: NOW });
  t.match(text, /was ahead.* from 2026-01-02T03:04:05.000Z on$/);
});

t.test('of many members with wrong clocks the worst are told', async (t) => {
  const wrong = [90, -80, 70, 60].map((seconds) => ({ name: `h${seconds}`, ahead_ms: 1000 * seconds }));
  const texts = clockTexts({ ...NONE, wrong });
  t.match(texts, [/^E_CLOCK_AHEAD: .* h90 is 90 s ahead/, /^E_CLOCK_BEHIND: .* h-80 is 80 s behind/, /h70/]);
  t.equal(texts.length, 3);
  const [first] = clockTexts({ ...NONE, wrong, isMiddleKnown: false });
  t.match(first, /h90 is 90 s ahead of that of this host, and no third/, 'where one of two is wrong');
});

t.test('members whose certificates are out of time are named, and whose clock it seems to be', async (t) => {
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name, at) => ({ name, ahead_ms: 1000 * (3600 - at) }));
  t.match(clockTexts({ ...NONE, untimely: [a!] }), [
    /^E_CLOCK_AHEAD: .*connect to a, .*its clock is 3600 s ahead of that/,
  ]);
  t.match(clockTexts({ ...NONE, untimely: [b!, a!] }), [
    /^E_CLOCK_BEHIND: .*connect to b, a, .*the clock of this host is 3600 s behind those/,
  ]);
  t.match(clockTexts({ ...NONE, untimely: [a!, b!, c!, d!] }), [/a, b, c and 1 more/]);
});
