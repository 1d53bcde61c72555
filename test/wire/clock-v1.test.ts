/** Golden bytes of asking a peer for its time, version 1. A new version is a new file. */
import t from 'tap';
import { fromHex, toHex } from '../../protocols/base/ids.ts';
import {
  decodeClockAnswer,
  encodeClockAnswer,
  encodeClockQuestion,
} from '../../protocols/clocks/clock-messages.ts';

const NOW = 1_767_225_600_000;

t.test('question and answer are written as they always were', async (t) => {
  t.equal(toHex(encodeClockQuestion()), '9101');
  t.equal(toHex(encodeClockAnswer(NOW)), '9201cb4279b76daa800000');
});

t.test('an answer is read, also with fields that are not known', async (t) => {
  t.equal(decodeClockAnswer(encodeClockAnswer(NOW)), NOW);
  t.equal(decodeClockAnswer(fromHex('930105c0')), 5);
});

t.test('what has another shape is malformed', async (t) => {
  for (const hex of ['', 'c0', '91', '9101', '920205', '9201a161', '9201ff'])
    t.throws(() => decodeClockAnswer(fromHex(hex)), { code: 'E_MALFORMED' }, hex);
  t.throws(() => decodeClockAnswer(new Uint8Array(65)), { code: 'E_TOO_LARGE' });
});
