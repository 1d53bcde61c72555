/** What a door answers, in whatever order it tells it, is taken in at once: for one message the ledger lets few wait. */
import fc from 'fast-check';
import t from 'tap';
import { inHeardOrder } from '../../../daemon/trust/heard-order.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import type { Role } from '../../../protocols/base/records.ts';
import { STRANGERS_CHECKED_MAX } from '../../../protocols/ledger/intake.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { operatorGrant, readGrant, renewalGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import {
  introduce,
  memberGrant,
  NOW,
  newNode,
  numberedActs,
  operator,
  rejections,
  testSigner,
} from '../../protocols/ledger/fixtures.ts';

const ADMITTER = {
  roles: ['member', 'admitter'] as Role[],
  admits: ['member', 'admitter', 'admit'] as Role[],
};
/** One after the other up from an operator that genesis does not name, and each has revoked itself. */
const CHAINS = 12;
const CHAIN_LENGTH = 6;

function told(): LedgerRecord[] {
  const act = numberedActs();
  const [second, third] = [testSigner(50), testSigner(51)];
  // They have voted for one another.
  const records = [
    act(operator, 'grant', operatorGrant(second.id)),
    act(second, 'grant', operatorGrant(third.id)),
    act(third, 'grant', operatorGrant(second.id)),
  ];
  for (let chain = 0; chain < CHAINS; chain += 1) {
    let [issuer, parent]: [Signer, string | null] = [third, null];
    for (let link = 0; link < CHAIN_LENGTH; link += 1) {
      const holder = testSigner(100 + chain * CHAIN_LENGTH + link);
      const body = memberGrant(holder.id, { ...ADMITTER, parent, notAfter_ms: NOW + 1000 });
      const grant = act(issuer, 'grant', body);
      const renewal = act(issuer, 'grant', renewalGrant(readGrant(grant)!, parent, NOW + 900));
      const left = act(holder, 'revoke', revokeBody({ subject: holder.id, reason: 'left' }));
      records.push(grant, renewal, left);
      [issuer, parent] = [holder, grant.digest];
    }
  }
  return records;
}

t.test('in this order none of it waits for anything that comes after it', async (t) => {
  const records = told();
  const offer = (order: readonly LedgerRecord[]) => {
    const { machine } = newNode(testSigner(1));
    const refused = rejections(introduce(machine, order));
    return { refused, isWhole: records.every((record) => machine.ledger.has(record)) };
  };
  t.notOk(offer(records.toReversed()).isWhole, `more than ${STRANGERS_CHECKED_MAX} wait`);
  const isKnown = (key: string) => key === operator.id;
  fc.assert(
    fc.property(fc.shuffledSubarray(records, { minLength: records.length }), (order) => {
      const ordered = inHeardOrder(order, isKnown);
      const { refused, isWhole } = offer(ordered);
      return ordered.length === records.length && refused.length === 0 && isWhole;
    }),
    { numRuns: 20 },
  );
});

t.test('what only waits for one another is left for the ledger to refuse', async (t) => {
  const order = told().filter(({ author }) => author !== operator.id);
  const ordered = inHeardOrder(order, (key) => key === operator.id);
  t.same(new Set(ordered), new Set(order));
  t.equal(ordered.length, order.length);
});
