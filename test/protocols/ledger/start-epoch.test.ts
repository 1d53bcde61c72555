import t from 'tap';
import { EPOCH_END } from '../../../protocols/ledger/record-reader.ts';
import { startEpoch } from '../../../protocols/ledger/start-epoch.ts';
import { recordOf } from '../../daemon/store/records.ts';

const AT = 1_800_000_000_000;

t.test('a life begins under the second of its start', async (t) => {
  t.equal(startEpoch(undefined, AT, []), AT / 1000);
  t.equal(startEpoch(5, AT + 999, []), AT / 1000);
});

t.test('two starts within one second, and a clock that was set back, still give a later epoch', async (t) => {
  t.equal(startEpoch(AT / 1000, AT + 10, []), AT / 1000 + 1);
  t.equal(startEpoch(AT / 1000, 0, []), AT / 1000 + 1);
});

t.test('a clock that begins anew is corrected by what is on disk', async (t) => {
  const record = recordOf(1, 'a');
  t.equal(startEpoch(undefined, 0, [record]), Math.floor(record.hlc.ms / 1000));
});

t.test('it always fits a record', async (t) => {
  t.equal(startEpoch(EPOCH_END - 1, AT, []), EPOCH_END - 1);
  t.equal(startEpoch(undefined, Number.MAX_SAFE_INTEGER, []), EPOCH_END - 1);
});
