/** What plans of revocations tell at a node, is what then happens: of hosts that others let in or renewed as well. */
import t from 'tap';
import { found } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import type { KeyId } from '../../../protocols/base/ids.ts';
import type { GrantBody } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { operatorGrant } from '../../../protocols/trust/acts.ts';
import { EXPIRY_GRACE_MS } from '../../../protocols/trust/standing.ts';
import type { MemberView } from '../../../protocols/view/view.ts';
import { memberGrant, NOW, sealedAct, testSeed, testSigner } from '../../protocols/ledger/fixtures.ts';
import { ADMITTER } from '../../protocols/trust/facts.ts';
import { deskOf, trustOf } from './trust-of.ts';

const LIFE_MS = 6 * 3_600_000;
const NAMES = ['operator', 'host1', 'host2', 'x', 'token1', 'token2'] as const;
const [operator, host1, host2, x, token1, token2] = NAMES.map((_, at) => testSigner(at + 1)) as [
  Signer,
  Signer,
  Signer,
  Signer,
  Signer,
  Signer,
];

/** host1, the first one, has let in host2, which lets in others too. @param at which of them users ask. */
function stage(at: Signer, now = NOW, founding: { seniors?: KeyId[]; threshold?: number } = {}) {
  const { genesis, grant: first } = found({
    ...{ name: 'shop', operator, node: host1.id, crypto: nodeCrypto },
    now: NOW,
    ...founding,
  });
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [at] });
  const introduce = async (envelopes: readonly Uint8Array[]) => {
    machine.handle({ kind: 'introduce', envelopes }, { now, random: () => 0.5 });
    return undefined;
  };
  let seq = 0;
  const grant = (by: Signer, above: LedgerRecord, to: Signer, changes: Partial<GrantBody> = {}, ms = NOW) => {
    seq += 1;
    const body = { ...memberGrant(to.id, changes), parent: above.digest };
    const record = sealedAct(genesis.digest, by, 'grant', body, { epoch: 5, seq, ms });
    introduce([record.bytes]);
    return record;
  };
  const appoint = (by: Signer, key: Signer) => {
    seq += 1;
    const place = { epoch: 5, seq, ms: NOW };
    introduce([sealedAct(genesis.digest, by, 'grant', operatorGrant(key.id), place).bytes]);
  };
  const rulers = () =>
    machine.authority
      .operators()
      .filter(({ inForce }) => inForce)
      .map(({ key }) => key);
  introduce([first.bytes]);
  const second = grant(host1, first, host2, ADMITTER);
  // Each of these is let in before it matters.
  const members = [
    { id: host1.id, name: 'host1' },
    { id: host2.id, name: 'host2' },
    { id: x.id, name: 'x' },
  ];
  const view = new Map(members.map((member) => [member.id, member as MemberView]));
  const given = { self: at.id, genesis, members: () => view };
  const trust = trustOf(machine, given, { introduce, now: () => now });
  const desk = deskOf(machine, trust, at.id, now, members);
  return { machine, first, second, grant, appoint, rulers, desk };
}

t.test('who is refused until it is renewed is part of what was agreed to', async (t) => {
  const end_ms = NOW + LIFE_MS;
  const { machine, first, second, grant, desk } = stage(host1, end_ms + EXPIRY_GRACE_MS + 1);
  const host = grant(host1, first, x, { notAfter_ms: end_ms });
  const renewed = { notAfter_ms: end_ms - 1 + LIFE_MS, renews: host.digest };
  const request = { descendants: true };
  const { digest: plan, untilRenewed } = desk.planRevokeNode(host2.id, request);
  t.same(untilRenewed, []);
  grant(host2, second, x, renewed, end_ms - 1);
  await t.rejects(desk.revokeNode(host2.id, { ...request, plan }), { code: 'E_PLAN_CHANGED' });
  const seen = desk.planRevokeNode(host2.id, request);
  t.match(seen, { untilRenewed: [{ key: x.id }], untilRenewed_count: 1, nodes: { ends_count: 1 } });
  await desk.revokeNode(host2.id, { ...request, plan: seen.digest });
  t.notOk(machine.authority.isMember(x.id, end_ms + EXPIRY_GRACE_MS + 1));
});

t.test('who stays a member by the word of others is told, and so is whose word that is', async (t) => {
  const token = { roles: ['admit' as const], admits: ADMITTER.admits };
  for (const how of ['node', 'rm', 'descendants', 'token'] as const) {
    const { machine, first, second, grant, desk } = stage(how === 'descendants' ? host1 : host2);
    const [made, other] = [grant(host1, first, token1, token), grant(host2, second, token2, token)];
    for (const [by, above] of [
      [token1, made],
      [token2, other],
    ] as const)
      grant(by, above, x);
    const staying = [{ key: x.id, by: [{ key: host1.id }] }];
    const told = { staying, staying_count: 1, effective: true };
    if (how === 'token') {
      t.match(desk.planRevokeToken(other.digest, { hosts: true }), told);
      await desk.revokeToken(other.digest, { hosts: true });
    } else if (how === 'descendants') {
      t.match(desk.planRevokeNode(host2.id, { descendants: true }), told);
      const keeping = { descendants: true, keep: [x.id] };
      t.same(desk.planRevokeNode(host2.id, keeping).staying, [], 'who is named is to stay');
      await desk.revokeNode(host2.id, { descendants: true });
    } else {
      t.match(desk.planRevokeNode(x.id, {}), told);
      t.match(desk.planRevokeNode(x.id, { keepAll: true }), told, 'those that are to stay are others');
      const done = await (how === 'rm' ? desk.removeNode(x.id, { force: true }) : desk.revokeNode(x.id, {}));
      t.match(done, { staying, untilRenewed: [], effective: true }, 'and so is it once it is done');
      t.match(desk.planRevokeNode(x.id, {}), told, 'also once more');
    }
    t.ok(machine.authority.isMember(x.id), how);
  }
});

t.test('who may not revoke a host is told which hosts may, by their own keys', async (t) => {
  const token = { roles: ['admit' as const], admits: ADMITTER.admits };
  const other = testSigner(9);
  const told = (where: string) => ({ code: 'E_NOT_ALLOWED', message: new RegExp(`: do it ${where}`) });
  const { first, second, grant, desk } = stage(x);
  grant(host1, first, x);
  const made = grant(host2, second, token2, token);
  grant(token2, made, other);
  t.throws(() => desk.planRevokeNode(host2.id, {}), told("at host1, or where an operator's key is"));
  t.throws(() => desk.planRevokeNode(other.id, {}), told("at host2 or host1, or where an operator's key is"));
  t.throws(() => desk.planRevokeToken(made.digest, {}), told('at host2 or host1'));
  t.throws(() => desk.planRevokeNode(host1.id, {}), told("where an operator's key is"), 'nobody but those');
});

t.test('whoever asks a node to remove itself is told to do so at another, also before', async (t) => {
  const { desk } = stage(host1);
  const told = { code: 'E_BAD_INPUT', message: 'this is the node host1 itself: do it at another node' };
  // `node rm` asks for the plan of a revocation first.
  t.throws(() => desk.planRevokeNode('host1', {}), told);
  await t.rejects(desk.removeNode('host1', {}), told);
});

t.test('who goes, or was out before, is not told to stay', async (t) => {
  const { first, second, grant, desk } = stage(host1);
  for (const [by, above] of [
    [host1, first],
    [host2, second],
  ] as const)
    grant(by, above, x);
  t.match(desk.planRevokeNode(x.id, {}), { staying: [], staying_count: 0 });
  await desk.revokeNode(x.id, {});
  t.same(desk.planRevokeNode(host2.id, { descendants: true }).staying, []);
});

t.test('an operator that is named, and goes with another who had voted for it, is told', async (t) => {
  const [recovery, other, next] = [testSigner(7), testSigner(8), testSigner(9)] as [Signer, Signer, Signer];
  const { desk, appoint, rulers } = stage(host1, NOW, { seniors: [recovery.id, other.id], threshold: 2 });
  const last = testSigner(10);
  appoint(recovery, next);
  appoint(operator, next);
  appoint(operator, last);
  appoint(next, last);
  t.same(
    rulers(),
    [recovery, other, operator, next, last].map(({ id }) => id),
  );
  const request = (keep: Signer[], by: number) => {
    return { descendants: true, keep: keep.map(({ id }) => id), operatorKey: testSeed(by).toString('hex') };
  };
  await desk.revokeOperator(operator.id, request([last], 7));
  t.match(desk.planRevokeOperator(operator.id, request([last], 8)), { lacking: [{ key: last.id }] });
  t.same(desk.planRevokeOperator(operator.id, request([last, next], 8)).lacking, []);
  await desk.revokeOperator(operator.id, request([last], 8));
  t.same(
    rulers(),
    [recovery, other].map(({ id }) => id),
  );
});

t.test('of a key that a token has made look like that of a host it is said what helps', async (t) => {
  const { first, grant, desk } = stage(host1);
  const next = testSigner(9);
  const made = grant(host1, first, token1, { roles: ['admit'], admits: ADMITTER.admits });
  grant(token1, made, next);
  const vote = { key: next.id, operatorKey: testSeed(1).toString('hex') };
  await t.rejects(desk.appoint(vote), {
    code: 'E_BAD_INPUT',
    message: new RegExp(`the grant by token ${made.digest.slice(0, 12)} .* is a lie: make another one`),
  });
});
