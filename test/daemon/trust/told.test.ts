/** What a door tells newcomers and hosts that appeal fits what a door may answer, whatever somebody has written. */
import t from 'tap';
import { encodeWelcome, found, openAnswer, openWelcome, sealAct } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { DOOR_LIMITS } from '../../../protocols/mesh/mesh.ts';
import { operatorGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import { memberGrant, NOW, testSigner } from '../../protocols/ledger/fixtures.ts';
import { ADMITTER } from '../../protocols/trust/facts.ts';
import { trustOf } from './trust-of.ts';

const [operator, senior, self, thief, host] = [1, 2, 3, 4, 5].map(testSigner) as [
  Signer,
  Signer,
  Signer,
  Signer,
  Signer,
];
/** Of 300 bytes and more each: more than an answer holds. */
const MANY = 4_000;

/** A cluster with a host that its first node has let in, and an admitter whose key is stolen. */
function stage() {
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
  const seal = (
    signer: Signer,
    kind: 'grant' | 'revoke',
    body: Parameters<typeof sealAct>[0]['body'],
    now = NOW,
  ) => sealAct({ cluster: genesis.digest, known: [], crypto: nodeCrypto, now, signer, kind, body });
  const take = (records: readonly { readonly bytes: Uint8Array }[], now = NOW) => {
    for (let at = 0; at < records.length; at += 500) {
      const envelopes = records.slice(at, at + 500).map(({ bytes }) => bytes);
      machine.handle({ kind: 'introduce', envelopes }, { now, random: () => 0.5 });
    }
  };
  const member = seal(self, 'grant', memberGrant(host.id, { parent: grant.digest }));
  const admitter = seal(
    operator,
    'grant',
    memberGrant(thief.id, ADMITTER as Partial<typeof member.body & object>),
  );
  take([grant, member, admitter]);
  const trust = trustOf(machine, { self: self.id, genesis });
  return { genesis, machine, trust, take, seal, admitter };
}

t.test('also where one stolen key has written more than that about an operator', async (t) => {
  const { genesis, trust, take, seal, admitter } = stage();
  take(
    Array.from({ length: MANY }, () =>
      seal(thief, 'grant', memberGrant(operator.id, { parent: admitter.digest })),
    ),
  );
  take([seal(senior, 'revoke', revokeBody({ subject: thief.id, reason: 'stolen', descendants: true }))]);
  const grants = trust.records(host.id, [self.id]);
  const welcome = encodeWelcome({ genesis, grants, members: [{ id: self.id, addresses: [] }] });
  t.ok(welcome.byteLength < DOOR_LIMITS.answer_bytes_max / 8, `a welcome of ${welcome.byteLength} bytes`);
  t.doesNotThrow(() => openWelcome(welcome, { cluster: genesis.digest }, host.id, nodeCrypto));
  const answer = await trust.answerAppeal(host.id);
  t.ok(answer.byteLength < DOOR_LIMITS.answer_bytes_max / 8, `an answer of ${answer.byteLength} bytes`);
  t.ok(openAnswer(answer, genesis.digest, nodeCrypto).grants.length > 0);
});

t.test('and where revocations that count are as large as can be', async (t) => {
  const { genesis, machine, trust, take, seal } = stage();
  // Each appoints the next, and sets a stricter cut than the one before: all of them count.
  const officers = [operator, ...Array.from({ length: 12 }, (_, at) => testSigner(100 + at))];
  for (const [at, officer] of officers.entries()) {
    const next = officers[at + 1];
    if (next !== undefined) take([seal(officer, 'grant', operatorGrant(next.id))]);
    for (const subject of at === 0 ? [] : [operator.id, self.id]) {
      const cut = { epoch: 2 ** 40 - at, last: 0 };
      const padding = { more: 'x'.repeat(120 << 10) };
      take([seal(officer, 'revoke', { ...revokeBody({ subject, reason: 'mine', cut }), ...padding })]);
    }
  }
  t.ok(machine.authority.isRevoked(self.id) && machine.authority.isMember(host.id));
  const answer = await trust.answerAppeal(host.id);
  t.ok(
    answer.byteLength > DOOR_LIMITS.answer_bytes_max / 3 && answer.byteLength < DOOR_LIMITS.answer_bytes_max,
    `an answer of ${answer.byteLength} bytes`,
  );
  t.doesNotThrow(() => openWelcome(answer, { cluster: genesis.digest }, host.id, nodeCrypto));
});

t.test(
  'a node that lost what makes it a member asks on until it is one: not everybody may renew it',
  async (t) => {
    const { genesis, machine, take, seal, trust: door } = stage();
    const own = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [host] });
    const grant = [...machine.ledger.recordsOf(operator.id)].find(({ key }) => key.startsWith(self.id))!;
    const [notAfter_ms, back_ms] = [NOW + 600_000, NOW + 1_000_000];
    const late = testSigner(6);
    const ended = seal(self, 'grant', memberGrant(late.id, { parent: grant.digest, notAfter_ms }));
    const again = {
      ...memberGrant(late.id, { parent: grant.digest }),
      notAfter_ms: back_ms + 600_000,
      renews: ended.digest,
    };
    const renewed = seal(self, 'grant', again, back_ms);
    take([ended]);
    const asked: string[] = [];
    const trust = trustOf(
      own,
      {
        self: late.id,
        genesis,
        knock: async ([at]) => {
          asked.push(at!);
          if (at === 'dead') throw new Error('nobody is there');
          if (at === 'admitter') take([renewed], back_ms);
          return await door.answerAppeal(late.id);
        },
      },
      {
        introduce: async (envelopes) => {
          own.handle({ kind: 'introduce', envelopes }, { now: back_ms, random: () => 0.5 });
          return undefined;
        },
        now: () => back_ms,
      },
    );
    await trust.ask(['dead', 'worker', 'admitter', 'another'].map((at) => ({ id: at, doors: [at] })));
    t.same(asked, ['dead', 'worker', 'admitter']);
    t.ok(own.authority.isMember(late.id, back_ms));
  },
);
