/** What a door tells newcomers and hosts that appeal fits what a door may answer, whatever somebody has written. */
import t from 'tap';
import {
  encodeWelcome,
  found,
  openAnswer,
  openKnock,
  openWelcome,
  sealAct,
  sealNodeGrant,
} from '../../../daemon/admission.ts';
import { nodeCrypto, signerFromSeed } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { ShoalError } from '../../../protocols/base/errors.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { DOOR_LIMITS } from '../../../protocols/mesh/mesh.ts';
import { operatorGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import { tokenGrant } from '../../../protocols/trust/token.ts';
import { memberGrant, NOW, rejections, testSigner } from '../../protocols/ledger/fixtures.ts';
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

t.test('also where the renewal that it asks for cannot be written', async (t) => {
  const { genesis, machine, take, seal } = stage();
  const late = testSigner(6);
  const own = [...machine.ledger.recordsOf(operator.id)].find(({ key }) => key.startsWith(self.id))!;
  const ended = seal(self, 'grant', memberGrant(late.id, { parent: own.digest, notAfter_ms: NOW + 600_000 }));
  take([ended]);
  const said: string[] = [];
  const write = async () => {
    throw new ShoalError('E_DISK_FULL', 'the disk is full; nothing was changed');
  };
  const log = (_level: string, message: string) => void said.push(message);
  const trust = trustOf(machine, { self: self.id, genesis, log }, { write, now: () => NOW + 700_000 });
  const { grants } = openAnswer(await trust.answerAppeal(late.id), genesis.digest, nodeCrypto);
  t.ok(grants.some(({ digest }) => digest === ended.digest));
  t.same(said, ['renewing the grant of a host that asked failed']);
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

t.test('what a host is told about it is taken in as it comes, however much it is', async (t) => {
  const { genesis, machine, take, seal, trust: door } = stage();
  // Each appoints the next, and sets a stricter cut than the one before: all of them count.
  const officers = [operator, ...Array.from({ length: 60 }, (_, at) => testSigner(100 + at))];
  for (const [at, officer] of officers.entries()) {
    const next = officers[at + 1];
    if (next !== undefined) take([seal(officer, 'grant', operatorGrant(next.id))]);
    const cut = { epoch: 2 ** 40 - at, last: 0 };
    for (const subject of at === 0 ? [] : [operator.id, self.id])
      take([seal(officer, 'revoke', revokeBody({ subject, reason: 'mine', cut }))]);
  }
  const own = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [host] });
  const refused: string[] = [];
  const trust = trustOf(
    own,
    { self: host.id, genesis, knock: async () => await door.answerAppeal(host.id) },
    {
      introduce: async (envelopes) => {
        const effects = own.handle({ kind: 'introduce', envelopes }, { now: NOW, random: () => 0.5 });
        refused.push(...rejections(effects));
        return undefined;
      },
    },
  );
  await trust.ask([{ id: self.id, doors: ['here'] }]);
  t.same(refused, []);
  t.ok(own.ledger.size > 2 * officers.length, `${own.ledger.size} records`);
  t.same(own.authority.isRevoked(host.id), machine.authority.isRevoked(host.id));
});

t.test('a host whose grant nobody has any more is told who took the uses of its token', async (t) => {
  const { genesis, machine, take, seal, admitter: byOperator } = stage();
  let now = NOW;
  const door = trustOf(machine, { self: self.id, genesis }, { now: () => now });
  const seed = new Uint8Array(32).fill(9);
  const key = signerFromSeed(seed);
  const admitter = [...machine.ledger.recordsOf(operator.id)].find(({ key }) => key.startsWith(self.id))!;
  const [notAfter_ms, roles] = [NOW + 600_000, ['member'] as const];
  const body = tokenGrant({ subject: key.id, parent: admitter.digest, roles, notAfter_ms, uses: 1 });
  const token = seal(self, 'grant', body);
  const given = { cluster: genesis.digest, seed, grant: token.digest, notAfter_ms, roles, doors: [] };
  const hosts = [11, 12, 13].map((number) => {
    const { id } = testSigner(number);
    return { number, id, own: sealNodeGrant(given, key, id, nodeCrypto, NOW) };
  });
  hosts.sort((a, b) => (a.own.digest < b.own.digest ? -1 : 1));
  take([token, ...hosts.map(({ own }) => own)]);
  const comeUp = ({ number, id, own }: (typeof hosts)[number]) => {
    const late = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [testSigner(number)] });
    const introduce = async (envelopes: readonly Uint8Array[]) => {
      late.handle({ kind: 'introduce', envelopes }, { now: NOW, random: () => 0.5 });
      return undefined;
    };
    introduce([admitter, token, own].map(({ bytes }) => bytes));
    const knock = async (_: unknown, body: Uint8Array) => {
      const brought = openKnock(body, nodeCrypto);
      if (brought.kind !== 'appeal') throw new Error('it is no stranger');
      return await door.answerAppeal(id, brought);
    };
    return { id, own, trust: trustOf(late, { self: id, genesis, knock }, { introduce }) };
  };
  const [first, second, third] = hosts.map(comeUp);
  t.equal(machine.authority.depth(third!.id), Number.POSITIVE_INFINITY, 'more than one too many');
  for (const { trust } of [first!, second!, third!]) {
    t.match(trust.standing(), { state: 'member' });
    await trust.ask([{ id: self.id, doors: ['door'] }]);
  }
  t.match(first!.trust.standing(), { state: 'member' });
  for (const { trust } of [second!, third!])
    t.match(trust.standing(), { state: 'evicted', reason: 'its join token was used by too many hosts' });
  // Nobody else is told: what a host brings is its own, of this token, and signed by the key of that.
  const [other] = hosts.map(({ own }) => own);
  const forged = { ...third!.own, bytes: third!.own.bytes.slice() };
  forged.bytes[forged.bytes.length - 1]! ^= 1;
  const endless = sealNodeGrant(given, testSigner(14), third!.id, nodeCrypto, NOW);
  for (const own of [undefined, other!, forged, endless, token, admitter]) {
    now += 60_000;
    const asked = door.answerAppeal(third!.id, { acts: [], ...(own && { own: own.bytes }) });
    await t.rejects(asked, { code: 'E_TOKEN_REFUSED' });
  }
  await t.rejects(door.answerAppeal(third!.id, { acts: [], own: new Uint8Array(9) }), {
    code: 'E_MALFORMED',
  });
  t.equal(machine.authority.issuedBy(token.digest).length, 2, 'and nothing is left at the door');
  now += 60_000;
  const brought = { acts: [], own: third!.own.bytes };
  t.ok(await door.answerAppeal(third!.id, brought));
  await t.rejects(door.answerAppeal(third!.id, brought), { code: 'E_TOKEN_REFUSED' }, 'once in a while');
  // By this it is known at the door, and no member.
  take([seal(thief, 'grant', memberGrant(third!.id, { roles: ['worker'], parent: byOperator.digest }))]);
  now += 60_000;
  const { trust } = comeUp(hosts[2]!);
  await trust.ask([{ id: self.id, doors: ['door'] }]);
  t.match(trust.standing(), { state: 'evicted' }, 'also where another admitter has granted it something');
});
