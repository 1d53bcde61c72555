/** What waits for a grant that is still on its way. That it is capped is in machine.test.ts. */
import t from 'tap';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { type Role, recordKey } from '../../../protocols/base/records.ts';
import type { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { readGrant, renewalGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import fc from '../../laws.ts';
import {
  cluster,
  forged,
  introduce,
  memberGrant,
  NOW,
  newNode,
  numberedActs,
  operator,
  rejections,
  TAG,
  testSigner,
  write,
} from './fixtures.ts';

function granted(machine: LedgerMachine, { id }: Signer): LedgerRecord {
  return write(machine, operator.id, 'grant', recordKey.grant(id, operator.id), memberGrant(id));
}

t.test('in whatever order a chain of grants comes, and what hangs on it, all of it is taken', async (t) => {
  const [host] = cluster(1);
  const [one, two, three] = [70, 71, 72].map(testSigner) as [Signer, Signer, Signer];
  const wide = { roles: ['member', 'admitter'] as Role[], admits: ['member', 'admitter', 'admit'] as Role[] };
  const act = numberedActs();
  const grant = (by: Signer, to: Signer, parent: string | null, notAfter_ms: number | null = null) =>
    act(by, 'grant', memberGrant(to.id, { ...wide, parent, notAfter_ms }));
  const renewal = (by: Signer, original: LedgerRecord, parent: string | null) =>
    act(by, 'grant', renewalGrant(readGrant(original)!, parent, NOW + 900));
  const first = grant(operator, one, null);
  const second = grant(one, two, first.digest, NOW + 1000);
  const third = grant(two, three, second.digest, NOW + 1000);
  const records = [
    ...[first, second, third],
    ...[renewal(one, second, first.digest), renewal(operator, second, null)],
    // By another admitter, under its own grant.
    renewal(one, third, first.digest),
    act(three, 'revoke', revokeBody({ subject: three.id, reason: 'left' })),
    ...[one, two, three].map((signer) =>
      forged(third, { kind: 'thing', key: `${signer.id}/a`, seq: 100 }, signer),
    ),
  ];
  fc.assert(
    fc.property(fc.shuffledSubarray(records, { minLength: records.length }), (order) => {
      const { machine } = newNode(host!.signer);
      for (const record of order) introduce(machine, [record]);
      return machine.pending.records === 0 && records.every((record) => machine.ledger.has(record));
    }),
  );
  t.pass();
});

t.test('a grant that comes is no reason to look at all that waits for others', async (t) => {
  const [a, b] = cluster(2);
  const stranger = newNode(testSigner(60));
  introduce(stranger.machine, [granted(a!.machine, stranger.signer)]);
  for (let number = 0; number < 200; number += 1)
    introduce(b!.machine, [write(stranger.machine, stranger.signer.id, 'tag', `app:${number}`, TAG)]);
  t.equal(b!.machine.pending.records, 200);
  const { authority } = b!.machine;
  const admission = authority.admission.bind(authority);
  let asked = 0;
  authority.admission = (record) => {
    asked += 1;
    return admission(record);
  };
  for (let number = 0; number < 10; number += 1)
    t.same(rejections(introduce(b!.machine, [granted(a!.machine, testSigner(20 + number))])), []);
  t.ok(asked <= 20, `asked ${asked} times`);
});
