import t from 'tap';
import { EPOCH_END } from '../../../protocols/ledger/record-reader.ts';
import { startEpoch } from '../../../protocols/ledger/start-epoch.ts';
import { recordOf } from '../../daemon/store/records.ts';

const AT = 1_800_000_000_000;
const noLot = () => {
  throw new Error('the clock is right');
};

t.test('a life begins under the second of its start', async (t) => {
  t.equal(startEpoch(undefined, AT, [], noLot), AT / 1000);
  t.equal(startEpoch(5, AT + 999, [], noLot), AT / 1000);
});

t.test('two starts within one second, and a clock that was set back, still give a later epoch', async (t) => {
  t.equal(startEpoch(AT / 1000, AT + 10, [], noLot), AT / 1000 + 1);
  t.ok(startEpoch(AT / 1000, 0, [], () => 0.5) > AT / 1000);
});

t.test('a clock that begins anew is corrected by what is on disk', async (t) => {
  const record = recordOf(1, 'a');
  t.equal(
    startEpoch(undefined, 0, [record], () => 0),
    Math.floor(record.hlc.ms / 1000),
  );
});

t.test(
  'a disk that is put back as it was, with a clock that is behind it, gives another epoch by lot',
  async (t) => {
    const record = recordOf(1, 'a');
    const lives = (now: number) =>
      new Set([0, 0.25, 0.5, 0.75].map((lot) => startEpoch(5, now, [record], () => lot)));
    t.equal(lives(0).size, 4);
    t.equal(lives(record.hlc.ms - 10_000).size, 4, 'also one of a few seconds');
    t.equal(lives(record.hlc.ms).size, 1, 'a clock that is right tells the lives apart itself');
  },
);

t.test('so does a disk whose epoch is ahead of a clock that is right now', async (t) => {
  const lives = [0, 0.25, 0.5, 0.75].map((lot, at) =>
    startEpoch(AT / 1000 + 10_000, AT + at * 60_000, [], () => lot),
  );
  t.equal(new Set(lives).size, 4);
  for (const epoch of lives) t.ok(epoch > AT / 1000 + 10_000);
});

t.test('it always fits a record', async (t) => {
  t.equal(
    startEpoch(EPOCH_END - 1, AT, [], () => 0.5),
    EPOCH_END - 1,
  );
  t.equal(startEpoch(undefined, Number.MAX_SAFE_INTEGER, [], noLot), EPOCH_END - 1);
});
