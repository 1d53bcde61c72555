/** What a door says of the acts that a refused host brought, when its own ledger has no room for them. */
import t from 'tap';
import { encodeWelcome, found, openKnock, sealAct } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { revokeBody } from '../../../protocols/trust/acts.ts';
import type { MemberView } from '../../../protocols/view/view.ts';
import { memberGrant, NOW, testSigner } from '../../protocols/ledger/fixtures.ts';
import { trustOf } from './trust-of.ts';

const [operator, senior, self, host] = [1, 2, 3, 4].map(testSigner) as [
  ReturnType<typeof testSigner>,
  ReturnType<typeof testSigner>,
  ReturnType<typeof testSigner>,
  ReturnType<typeof testSigner>,
];

t.test('acts that the ledger refuses are not said to have made their host a member', async (t) => {
  for (const reason of [undefined, 'over-quota']) {
    const founding = {
      name: 'shop',
      operator,
      seniors: [senior.id],
      node: self.id,
      crypto: nodeCrypto,
      now: NOW,
    };
    const { genesis, grant } = found(founding);
    const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self] });
    const take = (envelopes: readonly Uint8Array[]) =>
      machine.handle({ kind: 'introduce', envelopes }, { now: NOW, random: () => 0.5 });
    const act = { cluster: genesis.digest, known: [grant], crypto: nodeCrypto, now: NOW };
    const member = sealAct({ ...act, signer: operator, kind: 'grant', body: memberGrant(host.id) });
    const theft = sealAct({
      ...act,
      signer: operator,
      kind: 'revoke',
      body: revokeBody({ subject: host.id, reason: 'mine' }),
      known: [member],
    });
    const answer = sealAct({
      ...act,
      signer: senior,
      kind: 'revoke',
      body: revokeBody({
        subject: operator.id,
        reason: 'stolen',
        cut: { epoch: member.epoch, last: member.seq },
      }),
    });
    take([grant, member, theft].map(({ bytes }) => bytes));
    const said: [string, unknown][] = [];
    const trust = trustOf(
      machine,
      {
        self: self.id,
        genesis,
        log: (_level, message, detail) => said.push([message, detail?.['reason']]),
      },
      {
        introduce: async (envelopes) => {
          if (reason === undefined) take(envelopes);
          return reason;
        },
      },
    );
    t.notOk(machine.authority.isMember(host.id));
    await trust.answerAppeal(host.id, { acts: [answer.bytes] });
    t.equal(machine.authority.isMember(host.id), reason === undefined);
    t.same(said, [
      reason === undefined
        ? ['a host that was refused brought acts by which it is a member again', undefined]
        : ['the ledger refused acts that a host brought', 'over-quota'],
    ]);
  }
});

t.test('what no door answers is brought in smaller parts, and then all of it again', async (t) => {
  const { genesis, grant } = found({
    name: 'shop',
    operator,
    seniors: [senior.id, self.id],
    threshold: 2,
    node: host.id,
    crypto: nodeCrypto,
    now: NOW,
  });
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [host] });
  const against = (signer: typeof self, subject: string, more: object) =>
    sealAct({
      cluster: genesis.digest,
      known: [grant],
      crypto: nodeCrypto,
      now: NOW,
      signer,
      kind: 'revoke',
      body: { ...revokeBody({ subject, reason: 'stolen', cut: { epoch: 0, last: 2 } }), ...more },
    });
  const votes = [against(senior, operator.id, { more: 'x'.repeat(50_000) }), against(self, operator.id, {})];
  const envelopes = [grant, ...votes, against(operator, host.id, {})].map(({ bytes }) => bytes);
  machine.handle({ kind: 'introduce', envelopes }, { now: NOW, random: () => 0.5 });
  t.ok(machine.authority.isMember(host.id));
  let [now, isHeard] = [NOW, false];
  const brought: number[] = [];
  const trust = trustOf(
    machine,
    {
      self: host.id,
      genesis,
      members: () => new Map([[self.id, { id: self.id, status: 'failed', doors: ['/door'] } as MemberView]]),
      knock: async (_doors, body) => {
        const knock = openKnock(body, nodeCrypto);
        if (knock.kind === 'appeal') brought.push(knock.acts.length);
        if (!isHeard) throw new Error('the link is slow');
        return encodeWelcome({ genesis, grants: [], members: [] });
      },
    },
    { now: () => now },
  );
  const ask = async (count: number) => {
    for (let round = 0; round < count; round += 1) {
      now += 30_000;
      await trust.tick();
    }
    return brought.splice(0);
  };
  t.same(await ask(5), [2, 1, 2, 1, 2]);
  isHeard = true;
  t.same(await ask(3), [1, 2, 2], 'and all of it where it is answered');
});
