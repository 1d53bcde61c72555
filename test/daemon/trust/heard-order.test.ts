/** What a door answers, in whatever order it tells it, is taken in at once: for one message the ledger lets few wait. */
import t from 'tap';
import { found } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { inHeardOrder } from '../../../daemon/trust/heard-order.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import type { GrantBody, Role } from '../../../protocols/base/records.ts';
import { STRANGERS_CHECKED_MAX } from '../../../protocols/ledger/intake.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { operatorGrant, readGrant, renewalGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import fc from '../../laws.ts';
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
  const { authority } = newNode(testSigner(1)).machine;
  fc.assert(
    fc.property(fc.shuffledSubarray(records, { minLength: records.length }), (order) => {
      const ordered = inHeardOrder(order, authority);
      const { refused, isWhole } = offer(ordered);
      return ordered.length === records.length && refused.length === 0 && isWhole;
    }),
    { numRuns: 20 },
  );
});

/**
 * Hosts that have another grant than the one by which they may say what they do: one is an admitter as well, and two were
 * appointed. What the admitter says of its token keeps one more than that lets in.
 */
function saidByRight(cluster: string, voters: readonly [Signer, ...Signer[]]) {
  const act = numberedActs(cluster);
  const grant = (author: Signer, subject: Signer, changes: Partial<GrantBody> = {}) =>
    act(author, 'grant', memberGrant(subject.id, changes));
  const vote = (voter: Signer, subject: Signer) => act(voter, 'grant', operatorGrant(subject.id));
  const said = (author: Signer, subject: Signer, keeps: string[] = []) =>
    act(author, 'revoke', revokeBody({ subject: subject.id, reason: 'x', keeps }));
  const [top, admitter, ruler, junior] = [60, 61, 62, 63].map(testSigner) as [Signer, Signer, Signer, Signer];
  const [token, host] = [testSigner(64), testSigner(65)];
  const hosts = [admitter, ruler, junior].map((each) => grant(voters[0], each));
  const above = grant(voters[0], top, ADMITTER);
  const wide = grant(top, admitter, { ...ADMITTER, parent: above.digest });
  const member = { roles: ['member'] as Role[], parent: wide.digest };
  const made = grant(admitter, token, { ...member, roles: ['admit'], admits: ['member'], uses: 1 });
  const joined = [70, 71, 72].map((each) =>
    grant(token, testSigner(each), { ...member, parent: made.digest }),
  );
  const surplus = joined.map(({ digest }) => digest).sort()[2]!;
  const rest = [
    ...[above, wide, made, ...joined, grant(admitter, host, member)],
    ...voters.map((voter) => vote(voter, ruler)),
    ...[...voters.slice(1), ruler].map((voter) => vote(voter, junior)),
    ...[said(admitter, token, [surplus]), said(admitter, host), said(ruler, host), said(junior, host)],
    grant(junior, testSigner(73)),
  ];
  return { hosts, rest };
}

t.test('nor is any of it refused for what comes after it, whatever is known of its authors', async (t) => {
  for (const threshold of [1, 2])
    for (const isKnown of [false, true]) {
      const second = testSigner(59);
      const seniors = threshold === 1 ? [] : [second.id];
      const founding = { name: 'shop', operator, seniors, threshold, node: testSigner(1).id };
      const { genesis } = found({ ...founding, crypto: nodeCrypto, now: NOW });
      const { hosts, rest } = saidByRight(genesis.digest, threshold === 1 ? [operator] : [operator, second]);
      const told = isKnown ? rest : [...hosts, ...rest];
      fc.assert(
        fc.property(fc.shuffledSubarray(told, { minLength: told.length }), (order) => {
          const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [testSigner(1)] });
          if (isKnown) introduce(machine, hosts);
          const refused = rejections(introduce(machine, inHeardOrder(order, machine.authority)));
          return refused.length === 0 && told.every((record) => machine.ledger.has(record));
        }),
        { numRuns: 30 },
      );
    }
  t.pass();
});

t.test('what only waits for one another is left for the ledger to refuse', async (t) => {
  const order = told().filter(({ author }) => author !== operator.id);
  const ordered = inHeardOrder(order, newNode(testSigner(1)).machine.authority);
  t.same(new Set(ordered), new Set(order));
  t.equal(ordered.length, order.length);
});
