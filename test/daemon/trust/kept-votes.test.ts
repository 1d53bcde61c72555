/** Operators that a key has appointed, and that are named to stay when it is dismissed. */
import t from 'tap';
import { found } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import type { GrantBody, RevokeBody } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { operatorGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import { memberGrant, NOW, sealedAct, testSeed, testSigner, write } from '../../protocols/ledger/fixtures.ts';
import { deskOf, memberFacts, trustOf } from './trust-of.ts';

const RECOVERY = 1;
const [recovery, operator, self, appointed] = [RECOVERY, 2, 3, 4].map(testSigner) as [
  Signer,
  Signer,
  Signer,
  Signer,
];
const THEFT_MS = NOW + 1_000;
const LATER_MS = NOW + 2_000;
const DISMISSAL = {
  ...{ descendants: true, reason: 'stolen', since_ms: THEFT_MS - 500 },
  operatorKey: testSeed(RECOVERY).toString('hex'),
};

/** A host that was up, with the ledger of a cluster whose operator's key is stolen. */
function stage() {
  const founding = { name: 'shop', operator, seniors: [recovery.id], node: self.id };
  const { genesis, grant } = found({ ...founding, crypto: nodeCrypto, now: NOW });
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self] });
  const introduce = async (envelopes: readonly Uint8Array[]) => {
    machine.handle({ kind: 'introduce', envelopes }, { now: LATER_MS, random: () => 0.5 });
    return undefined;
  };
  let seq = 2;
  const say = (ms: number, body: GrantBody | RevokeBody, epoch = 2) => {
    seq += 1;
    const kind = 'roles' in body ? 'grant' : 'revoke';
    void introduce([sealedAct(genesis.digest, operator, kind, body, { epoch, seq, ms }).bytes]);
  };
  void introduce([grant.bytes]);
  write(machine, self.id, 'member', self.id, memberFacts('host1'));
  const trust = trustOf(machine, { self: self.id, genesis }, { introduce, now: () => LATER_MS });
  const desk = deskOf(machine, trust, self.id, LATER_MS);
  const rulers = () => {
    const inForce = machine.authority.operators().filter((each) => each.inForce);
    return inForce.map(({ key }) => [recovery, operator, self, appointed].findIndex(({ id }) => id === key));
  };
  return { machine, desk, say, rulers };
}

t.test('who is named stays an operator, also by a vote after the cut', async (t) => {
  const { machine, desk, say, rulers } = stage();
  say(THEFT_MS, operatorGrant(appointed.id));
  const request = { ...DISMISSAL, keep: [self.id, appointed.id] };
  const plan = desk.planRevokeOperator(operator.id, request);
  t.match(plan.operators, { ends_count: 1 });
  await desk.revokeOperator(operator.id, { ...request, plan: plan.digest });
  t.same(rulers(), [0, 3]);
  t.ok(machine.authority.isMember(self.id));
});

t.test('where all are kept whom it let in, those stay whom it had appointed up to the cut', async (t) => {
  for (const [ms, left] of [
    [NOW, [0, 3]],
    [THEFT_MS, [0]],
  ] as const) {
    const { machine, desk, say, rulers } = stage();
    say(ms, operatorGrant(appointed.id));
    await desk.revokeOperator(operator.id, { ...DISMISSAL, keepAll: true });
    t.same(rulers(), left);
    t.ok(machine.authority.isMember(self.id) || left.length === 1);
  }
});

t.test('a host that is kept is no operator by it, whatever the thief has voted for', async (t) => {
  for (const [ms, epoch] of [
    [NOW, 1],
    [THEFT_MS, 2],
  ] as const)
    for (const keep of [{ keep: [self.id] }, { keepAll: true }]) {
      const { machine, desk, say, rulers } = stage();
      say(ms, operatorGrant(self.id), epoch);
      const plan = desk.planRevokeOperator(operator.id, { ...DISMISSAL, ...keep });
      t.same(plan.lacking, []);
      await desk.revokeOperator(operator.id, { ...DISMISSAL, ...keep, plan: plan.digest });
      t.same(rulers(), [0]);
      t.ok(machine.authority.isMember(self.id) || 'keepAll' in keep);
    }
});

t.test('nor is one by a later vote that has not been up yet', async (t) => {
  const { machine, desk, say, rulers } = stage();
  say(NOW, memberGrant(appointed.id));
  say(THEFT_MS, operatorGrant(appointed.id));
  await desk.revokeOperator(operator.id, { ...DISMISSAL, keep: [self.id, appointed.id] });
  t.same(rulers(), [0]);
  t.ok(machine.authority.isMember(appointed.id));
});

t.test('an operator that is named stays one, whatever the thief has granted it', async (t) => {
  const { desk, say, rulers } = stage();
  say(NOW, operatorGrant(appointed.id));
  say(THEFT_MS, memberGrant(appointed.id));
  await desk.revokeOperator(operator.id, { ...DISMISSAL, keep: [self.id, appointed.id] });
  t.same(rulers(), [0, 3]);
});

t.test('also by a vote after the cut, whatever the thief has granted it since', async (t) => {
  const { machine, desk, say, rulers } = stage();
  say(THEFT_MS, operatorGrant(appointed.id));
  say(THEFT_MS, memberGrant(appointed.id));
  const name = desk.operators().find(({ key }) => key === appointed.id)!.name;
  for (const keep of [appointed.id, name]) {
    const plan = desk.planRevokeOperator(operator.id, { ...DISMISSAL, keep: [self.id, keep] });
    t.match(plan.operators, { ends_count: 1 });
  }
  await desk.revokeOperator(operator.id, { ...DISMISSAL, keep: [self.id, appointed.id] });
  t.same(rulers(), [0, 3]);
  t.notOk(machine.authority.isMember(appointed.id));
});

t.test('whom a thief has dismissed, and granted something like a token, is not revoked as one', async (t) => {
  const { machine, desk, say, rulers } = stage();
  const { operatorKey } = DISMISSAL;
  await desk.appoint({ key: appointed.id, operatorKey });
  say(THEFT_MS, revokeBody({ subject: appointed.id, reason: 'mine' }));
  say(THEFT_MS, memberGrant(appointed.id, { roles: ['admit'], admits: ['member'], uses: 2 }));
  t.same(rulers(), [0, 1]);
  const [token] = desk.tokens({ all: true });
  t.equal(token?.key, appointed.id);
  for (const hosts of [false, true])
    await t.rejects(desk.revokeToken(token!.id, { hosts, operatorKey }), { code: 'E_BAD_INPUT' });
  await desk.revokeOperator(operator.id, { ...DISMISSAL, keep: [self.id] });
  t.same(rulers(), [0, 3], 'it is back once what the thief said is void');
  t.ok(machine.authority.isMember(self.id));
});
