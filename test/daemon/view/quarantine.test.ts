/** Records that make this node throw: held after the second time, also over a restart, and no more than a cap. */
import path from 'node:path';
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { silentLog } from '../../../daemon/log.ts';
import { StateStore } from '../../../daemon/store/state-store.ts';
import { QUARANTINE_MAX, Quarantine } from '../../../daemon/view/quarantine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { memoryDirectory } from '../store/memory-directory.ts';
import { recordOf } from '../store/records.ts';

const twice = (quarantine: Quarantine, record: LedgerRecord) => {
  for (let n = 0; n < 2; n += 1) quarantine.strike(record, 'a part', new Error('poison'));
};

t.test('two strikes hold a record, and a restart does not set it free; its replacement does', async (t) => {
  const file = path.join(await memoryDirectory(t), 'state.db');
  const store = new StateStore(file, nodeCrypto);
  t.teardown(() => store.close());
  const [a, b] = [recordOf(1, 'a'), recordOf(2, 'b')];
  const first = new Quarantine({ store, log: silentLog, onHeld: () => {} });
  first.strike(a, 'a part', new Error('poison'));
  t.notOk(first.has(a));
  twice(first, b);
  t.ok(first.has(b));
  const second = new Quarantine({ store, log: silentLog, onHeld: () => {} });
  t.ok(second.has(b));
  t.notOk(second.has(a), 'a first strike is of this life');
  second.prune(new Set([b.digest]));
  t.ok(second.has(b));
  second.prune(new Set([a.digest]));
  t.equal(second.size, 0);
  t.equal(new Quarantine({ store, log: silentLog, onHeld: () => {} }).size, 0);
});

t.test('it has an end: the oldest goes first', async (t) => {
  const store = new StateStore(path.join(await memoryDirectory(t), 'state.db'), nodeCrypto);
  t.teardown(() => store.close());
  const quarantine = new Quarantine({ store, log: silentLog, onHeld: () => {} });
  const records = Array.from({ length: QUARANTINE_MAX + 3 }, (_, n) => recordOf(n + 1, `k${n}`));
  for (const record of records) twice(quarantine, record);
  t.equal(quarantine.size, QUARANTINE_MAX);
  t.notOk(quarantine.has(records[0]!));
  t.ok(quarantine.has(records.at(-1)!));
  t.equal(store.names('quarantine/').length, QUARANTINE_MAX);
});

t.test('a disk that refuses does not keep a record from being held', async (t) => {
  const store = new StateStore(path.join(await memoryDirectory(t), 'state.db'), nodeCrypto);
  store.close();
  const names = { names: () => [], write: store.write.bind(store), remove: store.remove.bind(store) };
  const quarantine = new Quarantine({
    store: names as unknown as StateStore,
    log: silentLog,
    onHeld: () => {},
  });
  twice(quarantine, recordOf(1, 'a'));
  t.equal(quarantine.size, 1);
});
