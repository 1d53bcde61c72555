/** What membership is told of records: nothing more of one at which it threw twice. */
import path from 'node:path';
import t, { type Test } from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { MembershipFeed } from '../../../daemon/drivers/membership-feed.ts';
import { silentLog } from '../../../daemon/log.ts';
import { StateStore } from '../../../daemon/store/state-store.ts';
import { Quarantine } from '../../../daemon/view/quarantine.ts';
import { recordKey, type VerdictBody } from '../../../protocols/base/records.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { cluster, type TestNode, write } from '../../protocols/ledger/fixtures.ts';
import { memoryDirectory } from '../store/memory-directory.ts';

/** A node with a member record and a verdict, and a membership that throws at both of them. */
async function poisoned(t: Test) {
  const store = new StateStore(path.join(await memoryDirectory(t), 'state.db'), nodeCrypto);
  t.teardown(() => store.close());
  const [{ machine, signer }, other] = cluster(2) as [TestNode, TestNode];
  const failed: VerdictBody = { subject: other.signer.id, incarnation: 1, verdict: 'failed' };
  const records: LedgerRecord[] = [
    write(machine, signer.id, 'member', recordKey.member(signer.id), {
      name: 'host',
      addresses: [],
      doors: [],
      host: '10.0.0.1',
      labels: {},
      capacity: { cpu_millis: 1000, memory_bytes: 2 ** 30 },
      subnet: null,
      driver: 'memory',
      version: '0.1.0',
      incarnation: 1,
    }),
    write(machine, signer.id, 'verdict', recordKey.verdict(signer.id, other.signer.id), failed),
  ];
  const told: string[] = [];
  const membership = {
    members: () => {},
    removed: () => told.push('removed'),
    member: () => {
      told.push('member');
      throw new Error('poison');
    },
    verdict: () => {
      told.push('verdict');
      throw new Error('poison');
    },
  };
  const quarantine = new Quarantine({ store, log: silentLog, onHeld: () => {} });
  return { feed: new MembershipFeed({ machine, membership, quarantine }), records, quarantine, told };
}

t.test('a record at which membership throws twice is held, and not told again', async (t) => {
  const { feed, records, quarantine, told } = await poisoned(t);
  const verdict = records.find(({ kind }) => kind === 'verdict')!;
  for (let time = 0; time < 4; time += 1) feed.changed(records);
  t.ok(records.every((record) => quarantine.has(record)));
  t.same(told.toSorted(), ['member', 'member', 'verdict', 'verdict']);
  feed.start([]);
  feed.recall(verdict.author, (verdict.body as VerdictBody).subject);
  t.equal(told.length, 4, 'neither at the start nor where it is asked for anew');
});
