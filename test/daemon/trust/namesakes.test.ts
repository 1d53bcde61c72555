/** Hosts of one name: who is kept when the key that let them in is revoked. */
import t from 'tap';
import { found, sealAct } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { namesakes, namesakesText } from '../../../daemon/trust/namesakes.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { type GrantBody, type RevokeBody, recordKey } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { sealRecord } from '../../../protocols/ledger/record.ts';
import { revokeBody } from '../../../protocols/trust/acts.ts';
import type { MemberView } from '../../../protocols/view/view.ts';
import { memberGrant, NOW, testSigner } from '../../protocols/ledger/fixtures.ts';
import { ADMITTER } from '../../protocols/trust/facts.ts';
import { deskOf, memberFacts, trustOf } from './trust-of.ts';

const [operator, self, eve, host, puppet] = [1, 2, 3, 4, 5].map(testSigner) as [
  Signer,
  Signer,
  Signer,
  Signer,
  Signer,
];
const THEFT_MS = NOW + 1_000;
const LATER = NOW + 2_000;

/** A ledger in which eve, an admitter, has let in a host that told its name. */
async function stage() {
  const { genesis, grant } = found({ name: 'shop', operator, node: self.id, crypto: nodeCrypto, now: NOW });
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self] });
  const introduce = async (envelopes: readonly Uint8Array[]) => {
    machine.handle({ kind: 'introduce', envelopes }, { now: LATER, random: () => 0.5 });
    return undefined;
  };
  const seal = (kind: 'grant' | 'revoke', signer: Signer, body: GrantBody | RevokeBody, now = NOW) => {
    const known = machine.ledger.recordsOf(signer.id);
    return sealAct({ cluster: genesis.digest, crypto: nodeCrypto, known, now, kind, signer, body });
  };
  const above = seal('grant', operator, memberGrant(eve.id, ADMITTER));
  await introduce([grant.bytes, above.bytes]);
  await introduce([seal('grant', eve, memberGrant(host.id, { parent: above.digest })).bytes]);
  const header = {
    ...{ cluster: genesis.digest, author: host.id, epoch: 1, seq: 1, hlc: { ms: NOW, n: 0 } },
    ...{ kind: 'member' as const, key: recordKey.member(host.id), generation: 1, context: [] },
  };
  await introduce([sealRecord(header, memberFacts('host2'), host, nodeCrypto).bytes]);
  const trust = trustOf(machine, { self: self.id, genesis, operator }, { introduce, now: () => LATER });
  const members = [
    { id: eve.id, name: 'eve' },
    { id: puppet.id, name: 'host2' },
  ];
  const desk = (more: readonly { readonly id: string; readonly name: string }[] = []) =>
    deskOf(machine, trust, self.id, LATER, [...members, ...more]);
  return { machine, introduce, seal, above, desk };
}

t.test(
  'a name of a host here and of one that was sent away keeps neither: the id has to be given',
  async (t) => {
    const { machine, introduce, seal, above, desk: deskWith } = await stage();
    const desk = deskWith();
    // The thief lets in a host of its own by that name, and sends the other one away.
    await introduce([
      seal('grant', eve, memberGrant(puppet.id, { parent: above.digest }), THEFT_MS).bytes,
      seal('revoke', eve, revokeBody({ subject: host.id, reason: 'mine' }), THEFT_MS).bytes,
    ]);
    const keeping = (keep: string) => {
      return { descendants: true, since_ms: NOW + 500, keep: [keep], reason: 'stolen' };
    };
    const plan = (keep: string) => desk.planRevokeNode(eve.id, keeping(keep));
    t.throws(() => plan('host2'), { code: 'E_AMBIGUOUS', message: /^2 nodes are called host2/ });
    for (const { id } of [host, puppet]) t.throws(() => plan('host2'), { message: new RegExp(id) });
    await desk.revokeNode(eve.id, { ...keeping(host.id), plan: plan(host.id).digest });
    t.same(
      [host, puppet].map(({ id }) => machine.authority.isMember(id)),
      [true, false],
    );
    t.equal((await desk.revokeNode('host2', {})).key, puppet.id, 'else a name is first that of a member');
  },
);

t.test(
  'a name of a host that was removed, and of the one in its place, keeps the one that is a member',
  async (t) => {
    const { machine, introduce, seal, above, desk } = await stage();
    await introduce([
      seal('revoke', operator, revokeBody({ subject: host.id, reason: 'node removed' })).bytes,
    ]);
    await introduce([seal('grant', eve, memberGrant(puppet.id, { parent: above.digest })).bytes]);
    const keeping = { descendants: true, keep: ['host2'], reason: 'disk lost' };
    const plan = desk().planRevokeNode(eve.id, keeping);
    t.same(plan.namesakes, [{ key: puppet.id, name: 'host2', others: 1 }]);
    await desk().revokeNode(eve.id, { ...keeping, plan: plan.digest });
    t.same(
      [host, puppet].map(({ id }) => machine.authority.isMember(id)),
      [false, true],
    );
  },
);

t.test('a name of two members names neither, whatever is asked', async (t) => {
  const { introduce, seal, above, desk } = await stage();
  await introduce([seal('grant', eve, memberGrant(puppet.id, { parent: above.digest })).bytes]);
  const two = desk([{ id: host.id, name: 'host2' }]);
  const asked: (() => unknown)[] = [
    () => two.planRevokeNode(eve.id, { descendants: true, keep: ['host2'] }),
    () => two.planRevokeNode('host2', {}),
    () => two.removeNode('host2', {}),
  ];
  for (const ask of asked)
    await t.rejects(async () => ask(), {
      code: 'E_AMBIGUOUS',
      message: new RegExp(`2 nodes are called host2: (${host.id}, ${puppet.id}|${puppet.id}, ${host.id})`),
    });
  t.ok(two.planRevokeNode(host.id, {}), 'an id names one');
});

t.test('members of one name are told while none of them but one has failed', async (t) => {
  const members = (...statuses: MemberView['status'][]) =>
    new Map(
      statuses.map((status, at) => [`id-${at}`, { id: `id-${at}`, name: 'host2', status } as MemberView]),
    );
  t.same([...namesakes(members('alive', 'failed'))], []);
  t.same([...namesakes(members('alive', 'failed', 'suspect'))], [['host2', ['id-0', 'id-2']]]);
  const ids = Array.from({ length: 3000 }, (_, at) => testSigner(at % 20).id);
  const text = namesakesText('x'.repeat(63), ids);
  t.ok(text.length <= 512, String(text.length));
  t.match(text, / and 2992 more\), .*another --name/);
});
