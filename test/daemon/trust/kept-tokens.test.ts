/** Hosts that are kept when the key that let them in is revoked, whatever its thief wrote of their tokens before. */

import t from 'tap';
import { found, sealAct } from '../../../daemon/admission.ts';
import { TOKEN_USES_RANGE } from '../../../daemon/api/limits.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { type GrantBody, KEEPS_MAX, type RevokeBody, recordKey } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { type LedgerRecord, sealRecord } from '../../../protocols/ledger/record.ts';
import { revokeBody } from '../../../protocols/trust/acts.ts';
import { memberGrant, NOW, sealedAct, testSeed, testSigner } from '../../protocols/ledger/fixtures.ts';
import { ADMITTER } from '../../protocols/trust/facts.ts';
import { deskOf, memberFacts, trustOf } from './trust-of.ts';

const [operator, self, eve, token, h2, h3, stranger] = [1, 2, 3, 4, 5, 6, 7].map(testSigner) as [
  Signer,
  Signer,
  Signer,
  Signer,
  Signer,
  Signer,
  Signer,
];

/** When it is noticed. */
const LATER = NOW + 1_000;

/**
 * eve let h2 and h3 in with one token, and her key is stolen.
 * @param isTwice the thief has granted the token's key again.
 * @param stay what the grants of the two say besides.
 */
function stage({
  uses,
  until_ms = NOW + 60_000,
  isTwice = false,
  stay = {},
}: {
  readonly uses: number;
  readonly until_ms?: number;
  readonly stay?: Partial<GrantBody>;
  readonly isTwice?: boolean;
}) {
  const { genesis, grant } = found({ name: 'shop', operator, node: self.id, crypto: nodeCrypto, now: NOW });
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self] });
  const take = (records: readonly Pick<LedgerRecord, 'bytes'>[]) => {
    const envelopes = records.map(({ bytes }) => bytes);
    machine.handle({ kind: 'introduce', envelopes }, { now: NOW, random: () => 0.5 });
  };
  const seal = (signer: Signer, body: GrantBody, now = NOW) =>
    sealAct({
      cluster: genesis.digest,
      known: [],
      crypto: nodeCrypto,
      now,
      kind: 'grant',
      signer,
      body,
    });
  /** The same with a digest before this one: numbers are by lot. */
  const sealBefore = (digest: string, signer: Signer, body: GrantBody): LedgerRecord => {
    for (;;) {
      const record = seal(signer, body);
      if (record.digest < digest) return record;
    }
  };
  const above = seal(operator, memberGrant(eve.id, ADMITTER));
  const tokenBody = {
    ...memberGrant(token.id, { roles: ['admit'], admits: ['member', 'worker', 'deployer'], uses }),
    parent: above.digest,
    notAfter_ms: until_ms,
  };
  const made = seal(eve, tokenBody);
  const joined = [h2, h3].map((host) => seal(token, memberGrant(host.id, { parent: made.digest, ...stay })));
  // As after a restart: grants come in no order.
  take([grant, above, ...(isTwice ? [sealBefore(made.digest, eve, tokenBody)] : []), made, ...joined]);
  const introduce = async (envelopes: readonly Uint8Array[]) => {
    take(envelopes.map((bytes) => ({ bytes })));
    return undefined;
  };
  const trust = trustOf(machine, { self: self.id, genesis, operator }, { introduce, now: () => LATER });
  const desk = deskOf(machine, trust, self.id, LATER);
  const areMembers = () => [h2, h3].map(({ id }) => machine.authority.isMember(id));
  return { genesis, introduce, machine, desk, take, seal, sealBefore, above, made, joined, areMembers };
}

/** It was up: what it wrote of itself, whoever it is. */
function wasUp({ genesis, take }: Pick<ReturnType<typeof stage>, 'genesis' | 'take'>, host: Signer): void {
  const header = {
    ...{ cluster: genesis.digest, author: host.id, epoch: 1, seq: 1, hlc: { ms: NOW, n: 0 } },
    ...{ kind: 'member' as const, key: recordKey.member(host.id), generation: 1, context: [] },
  };
  take([sealRecord(header, memberFacts('h2'), host, nodeCrypto)]);
}

const KEEPING = { descendants: true, keep: [h2.id, h3.id], reason: 'stolen' };

t.test('a token lets in no more hosts than its revocation can name', async (t) => {
  t.equal(TOKEN_USES_RANGE.maximum, KEEPS_MAX);
});

t.test('they stay where the thief granted the key of their token once more', async (t) => {
  for (const how of ['node', 'token'] as const) {
    const { desk, made, areMembers } = stage({ uses: 5, isTwice: true });
    t.same(areMembers(), [true, true]);
    if (how === 'node') {
      const plan = await desk.planRevokeNode(eve.id, KEEPING);
      t.same(
        plan.nodes.ends.map(({ key }) => key),
        [eve.id],
      );
      await desk.revokeNode(eve.id, { ...KEEPING, plan: plan.digest });
    } else {
      t.same(desk.planRevokeToken(made.digest, {}).nodes.ends, []);
      await desk.revokeToken(made.digest, {});
    }
    t.same(areMembers(), [true, true], `${how} revoke`);
    t.same(desk.tokens({}), [], 'and nobody else joins');
  }
});

t.test(
  'they stay where whoever has the text of their token, used up or ended, writes more with it',
  async (t) => {
    for (const [state, changes] of [
      ['used-up', { uses: 2 }],
      ['expired', { uses: 2, until_ms: NOW }],
    ] as const) {
      const { machine, desk, take, sealBefore, made, joined, areMembers } = stage(changes);
      t.equal(machine.authority.stateOf(made.digest, LATER), state);
      const plan = await desk.planRevokeNode(eve.id, KEEPING);
      t.same(plan.tokens.ends, [], 'nobody could join with it');
      await desk.revokeNode(eve.id, { ...KEEPING, plan: plan.digest });
      t.equal(machine.authority.stateOf(made.digest, LATER), 'revoked');
      const [first] = joined.map(({ digest }) => digest).sort();
      const junk = memberGrant(stranger.id, { parent: made.digest });
      for (let at = 0; at < 2; at += 1) take([sealBefore(first!, token, junk)]);
      t.same(areMembers(), [true, true], state);
      const written = () => [...machine.authority.revocations()].length;
      const before = written();
      await desk.revokeNode(eve.id, KEEPING);
      t.equal(written(), before, 'nor is it written twice');
    }
  },
);

t.test('they stay where both sides of a broken network keep them, and the thief wrote on one', async (t) => {
  const { genesis, machine, seal, above } = stage({ uses: 2 });
  const all = (of: LedgerMachine) =>
    ['grant', 'revoke'].flatMap((kind) => [...of.ledger.ofKind(kind)].flatMap(([, records]) => records));
  const sides = [self, stranger].map((signer) => {
    const here = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer] });
    const introduce = async (envelopes: readonly Uint8Array[]) => {
      here.handle({ kind: 'introduce', envelopes }, { now: LATER, random: () => 0.5 });
      return undefined;
    };
    const take = (records: readonly LedgerRecord[]) => introduce(records.map(({ bytes }) => bytes));
    const given = { self: signer.id, genesis, operator };
    const trust = trustOf(here, given, { introduce, now: () => LATER });
    return { here, take, desk: deskOf(here, trust, signer.id, LATER) };
  });
  for (const { take } of sides) await take(all(machine));
  // Numbers are by lot, and stamps are not.
  const fuller = seal(eve, { ...memberGrant(h2.id, ADMITTER), parent: above.digest }, NOW + 1);
  await sides[1]!.take([fuller]);
  for (const { desk } of sides) await desk.revokeNode(eve.id, KEEPING);
  for (const { here } of sides) for (const { take } of sides) await take(all(here));
  for (const { here } of sides)
    t.same(
      [h2, h3].map(({ id }) => here.authority.isMember(id)),
      [true, true],
    );
});

t.test(
  'they stay where the admitter has revoked their token, and whoever has its text does so too',
  async (t) => {
    const { genesis, introduce, machine, desk, take, seal, areMembers } = stage({ uses: 2 });
    const [own] = [...machine.authority.grants(LATER)].filter(({ subject }) => subject === self.id);
    const other = testSigner(23);
    const body = memberGrant(other.id, {
      roles: ['admit'],
      admits: ['member'],
      uses: 1,
      parent: own!.digest,
    });
    const made = seal(self, body);
    const host = testSigner(24);
    take([made, seal(other, memberGrant(host.id, { roles: ['member'], parent: made.digest }))]);
    const here = trustOf(machine, { self: self.id, genesis }, { introduce, now: () => LATER });
    await deskOf(machine, here, self.id, LATER).revokeToken(made.digest, {});
    const end = revokeBody({ subject: other.id, reason: 'mine', descendants: true });
    const { bytes } = sealAct({
      ...{ cluster: genesis.digest, known: [], crypto: nodeCrypto, now: LATER + 1 },
      ...{ kind: 'revoke', signer: other, body: end },
    });
    take([{ bytes }]);
    t.ok(machine.authority.isMember(host.id));
    t.same([...areMembers(), desk.tokens({}).length], [true, true, 0]);
  },
);

t.test('the key of a host is not closed as a token, though the thief granted it like one', async (t) => {
  const { machine, desk, take, seal, above, areMembers } = stage({ uses: 2 });
  const like = { roles: ['admit' as const], admits: ['member' as const], parent: above.digest };
  const granted = seal(eve, memberGrant(h2.id, like));
  take([granted, seal(h2, memberGrant(stranger.id, { roles: ['member'], parent: granted.digest }))]);
  const plan = await desk.planRevokeNode(eve.id, { ...KEEPING, keep: [...KEEPING.keep, stranger.id] });
  t.same(
    plan.nodes.ends.map(({ key }) => key),
    [eve.id],
  );
  await desk.revokeNode(eve.id, { ...KEEPING, keep: [...KEEPING.keep, stranger.id], plan: plan.digest });
  t.same([...areMembers(), machine.authority.isMember(stranger.id)], [true, true, true]);
});

t.test('the key of a host or an operator is revoked as no token, though granted like one', async (t) => {
  const staged = stage({ uses: 2 });
  const { machine, desk, take, seal, above, areMembers } = staged;
  wasUp(staged, h2);
  const admits = ['member' as const, 'worker' as const, 'deployer' as const];
  const like = { roles: ['admit' as const], admits, parent: above.digest };
  const granted = [h2, operator].map(({ id }) => seal(eve, memberGrant(id, like)));
  const made = seal(eve, memberGrant(stranger.id, { ...like, admits: ADMITTER.admits }));
  // Whoever has its text lets it in by a host of its own: it is none for that.
  const puppet = testSigner(70);
  const letIn = seal(stranger, memberGrant(puppet.id, { ...ADMITTER, parent: made.digest }));
  take([...granted, made, letIn, seal(puppet, memberGrant(stranger.id, { parent: letIn.digest }))]);
  t.ok(machine.authority.isMember(stranger.id));
  const kept = { descendants: true, keep: [h2.id, h3.id] };
  const open = (request: object) =>
    new Set(desk.planRevokeNode(eve.id, request).open.map(({ id, host }) => [id, host]));
  // The host may let others in by it: it is told as the host's, and not to be revoked as a token.
  t.same(
    open({}),
    new Set([
      [made.digest, null],
      [granted[0]!.digest, 'h2'],
    ]),
  );
  t.same(open(kept), new Set());
  await desk.revokeNode(eve.id, {});
  const refused = async (...args: Parameters<typeof desk.revokeToken>) => {
    t.throws(() => desk.planRevokeToken(...args), { code: 'E_BAD_INPUT' });
    await t.rejects(desk.revokeToken(...args), { code: 'E_BAD_INPUT' });
  };
  for (const { digest } of granted) for (const hosts of [true, false]) await refused(digest, { hosts });
  t.same(areMembers(), [true, true]);
  // One that a thief has sent away may be back.
  await desk.revokeNode(h2.id, {});
  await refused(granted[0]!.digest, {});
  t.same(
    machine.authority.operators().map(({ inForce }) => inForce),
    [true],
  );
  await desk.revokeToken(made.digest, {});
  t.equal(machine.authority.stateOf(made.digest, LATER), 'revoked');
});

t.test('a token is told to be open, and revoked as one, whatever others have granted its key', async (t) => {
  const other = testSigner(71);
  for (const how of ['admitter', 'token', 'void'] as const) {
    const { machine, desk, take, seal, above, made, joined, areMembers } = stage({ uses: 9 });
    const like = { roles: ['admit' as const], admits: ADMITTER.admits, parent: above.digest };
    const second = seal(eve, memberGrant(other.id, like));
    const lies = {
      admitter: seal(eve, memberGrant(token.id, { parent: above.digest })),
      token: seal(other, memberGrant(token.id, { parent: second.digest })),
      void: seal(eve, memberGrant(token.id, { parent: joined[0]!.digest })),
    };
    take([second, lies[how]]);
    t.equal(machine.authority.isMember(token.id), how !== 'void');
    const { open } = desk.planRevokeNode(eve.id, {});
    t.ok(
      open.some(({ id }) => id === made.digest),
      how,
    );
    const plan = desk.planRevokeToken(made.digest, {});
    t.same(
      plan.nodes.ends.map(({ key }) => key),
      how === 'void' ? [] : [token.id],
      'what its key was besides is shown',
    );
    await desk.revokeToken(made.digest, { plan: plan.digest });
    t.equal(machine.authority.stateOf(made.digest, LATER), 'revoked');
    t.same(areMembers(), [true, true]);
  }
});

t.test(
  'a token is told to be open though with another its key was made that of a host that was up',
  async (t) => {
    const staged = stage({ uses: 9 });
    const { machine, desk, take, seal, above, made, areMembers } = staged;
    const other = testSigner(71);
    const like = { roles: ['admit' as const], admits: ADMITTER.admits, parent: above.digest };
    const otherMade = seal(operator, memberGrant(other.id, { ...like, parent: null }));
    take([otherMade, seal(other, memberGrant(token.id, { parent: otherMade.digest }))]);
    wasUp(staged, token);
    const open = { id: made.digest, key: token.id, host: 'h2' };
    for (const request of [{}, KEEPING]) t.match(desk.planRevokeNode(eve.id, request).open, [open]);
    await desk.revokeNode(eve.id, KEEPING);
    t.equal(machine.authority.stateOf(made.digest, LATER), 'valid', 'for it passes for a host');
    const command = `shoal node revoke ${token.id} --descendants`;
    const { message } = (await desk.revokeToken(made.digest, {}).catch((error: Error) => error)) as Error;
    t.ok(message.includes(command), message);
    await desk.revokeNode(token.id, KEEPING);
    // By an old number, as of a token that was never revoked.
    take([
      sealedAct(machine.cluster, token, 'grant', memberGrant(stranger.id, { parent: made.digest }), {
        epoch: 0,
        seq: 1,
        ms: NOW,
      }),
    ]);
    t.same([...areMembers(), machine.authority.isMember(stranger.id)], [true, true, false]);
  },
);

/** What a thief of the text of tokens writes: grants of others with digests before all of these. */
function displace(
  { take, sealBefore }: Pick<ReturnType<typeof stage>, 'take' | 'sealBefore'>,
  signer: Signer,
  joined: readonly LedgerRecord[],
): void {
  const [first] = joined.map(({ digest }) => digest).sort();
  const { parent } = joined[0]!.body as GrantBody;
  for (const { id } of [stranger, testSigner(20)])
    take([sealBefore(first!, signer, memberGrant(id, { parent }))]);
}

t.test('who joined with the same token and is not named goes, and is told of before', async (t) => {
  const { machine, desk, areMembers } = stage({ uses: 5 });
  const only = { ...KEEPING, keep: [h2.id] };
  const plan = desk.planRevokeNode(eve.id, only);
  t.same(new Set(plan.nodes.ends.map(({ key }) => key)), new Set([eve.id, h3.id]));
  await desk.revokeNode(eve.id, { ...only, plan: plan.digest });
  t.same(areMembers(), [true, false]);
  t.equal([...machine.authority.revocations()].length, 2);
});

t.test('a token passes for closed by nothing that leaves more than what is kept', async (t) => {
  const all = stage({ uses: 3 });
  await all.desk.revokeToken(all.made.digest, {});
  t.same(all.areMembers(), [true, true]);
  const only = { ...KEEPING, keep: [h2.id] };
  const plan = all.desk.planRevokeNode(eve.id, only);
  t.same(new Set(plan.nodes.ends.map(({ key }) => key)), new Set([eve.id, h3.id]));
  await all.desk.revokeNode(eve.id, { ...only, plan: plan.digest });
  t.same(all.areMembers(), [true, false]);
  for (const last of [0, Number.MAX_SAFE_INTEGER]) {
    const staged = stage({ uses: 2 });
    const { genesis, desk, take, joined, areMembers } = staged;
    const keeps = last === 0 ? [...joined.map(({ digest }) => digest), 'f'.repeat(64)] : [];
    const body = revokeBody({ subject: token.id, reason: '', cut: { epoch: last, last }, keeps });
    const sealed = { cluster: genesis.digest, known: [], crypto: nodeCrypto, now: NOW };
    take([sealAct({ ...sealed, kind: 'revoke', signer: eve, body })]);
    t.same(areMembers(), [true, true]);
    await desk.revokeNode(eve.id, KEEPING);
    displace(staged, token, joined);
    t.same(areMembers(), [true, true]);
  }
});

t.test('two tokens with which the thief let in one another pass for no hosts', async (t) => {
  const staged = stage({ uses: 2 });
  const { machine, desk, take, seal, above, made, joined, areMembers } = staged;
  const second = testSigner(21);
  const body = memberGrant(second.id, {
    roles: ['admit'],
    admits: ['member', 'worker', 'deployer'],
    uses: 2,
  });
  const other = seal(eve, { ...body, parent: above.digest });
  const fourth = seal(second, memberGrant(testSigner(22).id, { parent: other.digest }));
  take([
    other,
    fourth,
    seal(token, memberGrant(second.id, { roles: ['member'], parent: made.digest })),
    seal(second, memberGrant(token.id, { roles: ['member'], parent: other.digest })),
  ]);
  await desk.revokeNode(eve.id, { ...KEEPING, keep: [...KEEPING.keep, testSigner(22).id] });
  displace(staged, token, joined);
  displace(staged, second, [fourth]);
  t.same([...areMembers(), machine.authority.isMember(testSigner(22).id)], [true, true, true]);
  t.same(
    [token, second, stranger].map(({ id }) => machine.authority.isMember(id)),
    [false, false, false],
  );
});

/** A token of the thief, another that it made with that, and what this one gives a host. */
function tokensOfThief({ seal, above }: Pick<ReturnType<typeof stage>, 'seal' | 'above'>, host: Signer) {
  const [first, second] = [testSigner(31), testSigner(32)] as [Signer, Signer];
  const maker = { roles: ['admit' as const], admits: ADMITTER.admits };
  const firstMade = seal(eve, memberGrant(first.id, { ...maker, parent: above.digest }));
  const secondMade = seal(first, memberGrant(second.id, { ...maker, parent: firstMade.digest }));
  const given = seal(second, memberGrant(host.id, { parent: secondMade.digest }), NOW - 3_600_000);
  return { first, second, secondMade, given: [firstMade, secondMade, given] };
}

t.test('a token that a thief made with another one stays for no host, and lets in nobody', async (t) => {
  const other = testSigner(33);
  // One that has joined with a token before, and one that was let in so alone.
  for (const host of [h2, other]) {
    const staged = stage({ uses: 2 });
    const { machine, desk, take, seal } = staged;
    const { first, second, secondMade, given } = tokensOfThief(staged, host);
    take(given);
    const only = { ...KEEPING, keep: [host.id] };
    const plan = desk.planRevokeNode(eve.id, only);
    t.same(plan.open, []);
    await desk.revokeNode(eve.id, { ...only, plan: plan.digest });
    t.ok(machine.authority.isMember(host.id));
    t.same(desk.tokens({}), []);
    take([seal(second, memberGrant(stranger.id, { ...ADMITTER, parent: secondMade.digest }))]);
    for (const { id } of [first, second, stranger]) t.same([...machine.authority.roles(id)], []);
  }
});

t.test('a token that was made with one of the key is told to be open as that one is', async (t) => {
  const staged = stage({ uses: 2 });
  const { desk, take } = staged;
  const { given } = tokensOfThief(staged, stranger);
  take(given);
  const { open } = desk.planRevokeNode(eve.id, {});
  t.same(new Set(open.map(({ id }) => id)), new Set(given.slice(0, 2).map(({ digest }) => digest)));
});

t.test(
  'a host whose place a thief has taken stays by that, and not by one that the thief let in',
  async (t) => {
    const staged = stage({ uses: 2 });
    const { machine, desk, take, seal, sealBefore, above, made, joined, areMembers } = staged;
    const puppet = testSigner(34);
    const letIn = seal(eve, { ...memberGrant(puppet.id, ADMITTER), parent: above.digest });
    take([letIn, ...[h2, h3].map(({ id }) => seal(puppet, memberGrant(id, { parent: letIn.digest })))]);
    const [smallest] = joined.map(({ digest }) => digest).sort();
    take([sealBefore(smallest!, token, memberGrant(stranger.id, { parent: made.digest }))]);
    t.same(areMembers(), [true, true]);
    await desk.revokeNode(eve.id, KEEPING);
    t.same(areMembers(), [true, true]);
    t.same([...machine.authority.roles(puppet.id)], []);
  },
);

t.test('a plan names who stays out, and who stays with whom nobody named', async (t) => {
  const { machine, desk, take, seal, above, areMembers } = stage({ uses: 2 });
  const [admitter, host] = [testSigner(35), testSigner(36)] as [Signer, Signer];
  const letIn = seal(eve, { ...memberGrant(admitter.id, ADMITTER), parent: above.digest });
  const end = revokeBody({ subject: h3.id, reason: 'mine' });
  const sealed = { cluster: machine.cluster, crypto: nodeCrypto, now: NOW };
  take([
    letIn,
    seal(admitter, memberGrant(host.id, { parent: letIn.digest })),
    sealAct({ ...sealed, known: [], kind: 'revoke', signer: operator, body: end }),
  ]);
  const keep = [...KEEPING.keep, host.id];
  const told = (request: { readonly keep: string[] }) => {
    const { lacking, unnamed, digest } = desk.planRevokeNode(eve.id, { ...KEEPING, ...request });
    return { out: lacking.map(({ key }) => key), others: unnamed.map(({ key }) => key), digest };
  };
  t.match(told({ keep }), { out: [h3.id], others: [admitter.id] });
  t.match(told({ keep: [...keep, admitter.id] }), { out: [h3.id], others: [] });
  t.match(told({ keep: [h2.id] }), { out: [], others: [] });
  await desk.revokeNode(eve.id, { ...KEEPING, keep, plan: told({ keep }).digest });
  t.same(areMembers(), [true, false]);
  for (const { id } of [admitter, host]) t.ok(machine.authority.isMember(id));
});

t.test('nor is it closed where its place was taken, and the token granted it like one', async (t) => {
  const { machine, desk, take, seal, sealBefore, above } = stage({ uses: 2 });
  const [key, host] = [testSigner(47), testSigner(48)] as const;
  const maker = { roles: ['admit' as const], admits: ADMITTER.admits };
  const made = seal(eve, memberGrant(key.id, { ...maker, uses: 1, parent: above.digest }));
  const joined = seal(key, memberGrant(host.id, { parent: made.digest }));
  take([
    made,
    joined,
    sealBefore(joined.digest, key, memberGrant(host.id, { ...maker, parent: made.digest })),
  ]);
  t.notOk(machine.authority.isMember(host.id));
  await desk.revokeNode(eve.id, { ...KEEPING, keep: [host.id] });
  t.ok(machine.authority.isMember(host.id));
});

const WHOLE = ['deployer', 'member', 'worker'];

t.test('a host keeps its roles where a thief has put a lesser grant in the place of its own', async (t) => {
  const { machine, desk, take, sealBefore, made, joined } = stage({ uses: 2 });
  const [smallest] = joined.map(({ digest }) => digest).sort();
  take([sealBefore(smallest!, token, memberGrant(h2.id, { roles: ['member'], parent: made.digest }))]);
  await desk.revokeNode(eve.id, KEEPING);
  for (const { id } of [h2, h3]) t.same([...machine.authority.roles(id)].sort(), WHOLE);
});

t.test(
  'a host that a thief has sent away has its place again, and no other that stays without it',
  async (t) => {
    const { machine, desk, take, seal, sealBefore, above, made, joined, areMembers } = stage({ uses: 2 });
    const other = testSigner(49);
    const [smallest] = joined.map(({ digest }) => digest).sort();
    const end = revokeBody({ subject: h2.id, reason: 'mine' });
    const sealed = { cluster: machine.cluster, crypto: nodeCrypto, now: NOW, known: [] };
    take([
      seal(eve, memberGrant(other.id, { parent: above.digest }), NOW + 1),
      sealAct({ ...sealed, kind: 'revoke', signer: eve, body: end }),
      sealBefore(smallest!, token, memberGrant(other.id, { parent: made.digest })),
    ]);
    await desk.revokeNode(eve.id, { ...KEEPING, keep: [...KEEPING.keep, other.id] });
    t.same([...areMembers(), machine.authority.isMember(other.id)], [true, true, true]);
  },
);

t.test('a host that is kept has nothing of what a thief granted it after the cut', async (t) => {
  for (const keepAll of [false, true]) {
    const { genesis, machine, desk, take, above } = stage({ uses: 2, stay: { roles: ['member'] } });
    const more = { ...memberGrant(h2.id, ADMITTER), parent: above.digest };
    // Under a number after all that it wrote before.
    const numbers = { epoch: above.epoch + 1, seq: 1, ms: LATER };
    take([sealedAct(genesis.digest, eve, 'grant', more, numbers)]);
    t.ok(machine.authority.roles(h2.id).size > 1);
    const request = { ...KEEPING, keep: [h2.id], keepAll, since_ms: NOW + 500 };
    const { digest, roles } = desk.planRevokeNode(eve.id, request);
    t.match(roles, [{ key: h2.id, gains: [], loses: ['worker', 'deployer', 'admitter'] }]);
    await desk.revokeNode(eve.id, { ...request, plan: digest });
    t.same([...machine.authority.roles(h2.id)], ['member'], `keepAll: ${keepAll}`);
  }
});

t.test('roles that change are part of what was agreed to', async (t) => {
  const { genesis, desk, take, above } = stage({ uses: 2, stay: { roles: ['member'] } });
  const request = { ...KEEPING, keepAll: true, since_ms: NOW + 500 };
  const { digest: plan, roles } = desk.planRevokeNode(eve.id, request);
  t.same(roles, []);
  const more = { ...memberGrant(h2.id, ADMITTER), parent: above.digest };
  take([sealedAct(genesis.digest, eve, 'grant', more, { epoch: above.epoch + 1, seq: 1, ms: LATER })]);
  await t.rejects(desk.revokeNode(eve.id, { ...request, plan }), { code: 'E_PLAN_CHANGED' });
});

t.test('a host that is kept has nothing of what a token that was closed has granted it', async (t) => {
  for (const how of [{}, { since_ms: NOW + 500 }]) {
    const { genesis, machine, desk, take, seal, above } = stage({ uses: 2, stay: { roles: ['member'] } });
    const closed = testSigner(49);
    const admits = ADMITTER.admits;
    const made = seal(eve, memberGrant(closed.id, { roles: ['admit'], admits, parent: above.digest }));
    const sealed = { cluster: genesis.digest, known: [], crypto: nodeCrypto, now: NOW };
    const end = revokeBody({ subject: closed.id, reason: 'leaked' });
    take([made, sealAct({ ...sealed, kind: 'revoke', signer: eve, body: end })]);
    take([seal(closed, memberGrant(h2.id, { ...ADMITTER, parent: made.digest }), LATER)]);
    t.same([...machine.authority.roles(h2.id)], ['member']);
    await desk.revokeNode(eve.id, { ...KEEPING, keep: [h2.id], ...how });
    t.same([...machine.authority.roles(h2.id)], ['member'], JSON.stringify(how));
  }
});

t.test('a host keeps its place where a thief has given it to another that stays anyway', async (t) => {
  // Twice to the one that has joined with the same token, or to one that was let in otherwise.
  for (const isTwice of [true, false]) {
    const { machine, desk, take, seal, sealBefore, above, made, joined } = stage({ uses: 2 });
    const [other, hosts] = [testSigner(37), [h2, h3]] as const;
    const sorted = joined.map((record, at) => [record.digest, hosts[at]!] as const).sort();
    const [[smallest, first], [, last]] = sorted as [(typeof sorted)[0], (typeof sorted)[0]];
    const taker = isTwice ? first : other;
    take([
      seal(eve, memberGrant(other.id, { parent: above.digest })),
      sealBefore(smallest, token, memberGrant(taker.id, { parent: made.digest })),
    ]);
    t.notOk(machine.authority.isMember(last.id));
    const keeping = { ...KEEPING, keep: [other.id, ...KEEPING.keep] };
    const plan = desk.planRevokeNode(eve.id, keeping);
    t.same(
      plan.nodes.returns.map(({ key }) => key),
      [last.id],
    );
    await desk.revokeNode(eve.id, { ...keeping, plan: plan.digest });
    for (const { id } of [h2, h3, other]) t.same([...machine.authority.roles(id)].sort(), WHOLE);
  }
});

t.test(
  'two hosts keep the places that they can where a thief has given each that of the other',
  async (t) => {
    const { machine, desk, take, seal, sealBefore, above } = stage({ uses: 2 });
    const [keys, hosts] = [[41, 42].map(testSigner), [43, 44].map(testSigner)];
    const admits = ['member' as const, 'worker' as const, 'deployer' as const];
    const made = keys.map(({ id }) =>
      seal(eve, memberGrant(id, { roles: ['admit'], admits, uses: 1, parent: above.digest })),
    );
    const places = keys.map((key, at) => seal(key, memberGrant(hosts[at]!.id, { parent: made[at]!.digest })));
    const taken = sealBefore(
      places[0]!.digest,
      keys[0]!,
      memberGrant(hosts[1]!.id, { parent: made[0]!.digest }),
    );
    take([...made, ...places, taken]);
    t.notOk(machine.authority.isMember(hosts[0]!.id));
    await desk.revokeNode(eve.id, { ...KEEPING, keep: hosts.map(({ id }) => id) });
    for (const { id } of hosts) t.same([...machine.authority.roles(id)].sort(), WHOLE);
  },
);

t.test('a token that has ended itself for another gives its place back to the host that stays', async (t) => {
  const { machine, desk, take, seal, above } = stage({ uses: 2 });
  const [key, host] = [testSigner(45), testSigner(46)] as const;
  const admits = ['member' as const, 'worker' as const, 'deployer' as const];
  const body = memberGrant(key.id, { roles: ['admit'], admits, uses: 1, parent: above.digest });
  const made = seal(eve, body);
  const puppet = seal(key, memberGrant(stranger.id, { parent: made.digest }));
  const end = revokeBody({ subject: key.id, reason: 'mine', descendants: true, keeps: [puppet.digest] });
  const sealed = { cluster: machine.cluster, crypto: nodeCrypto, now: NOW, known: [] };
  take([
    made,
    seal(key, memberGrant(host.id, { parent: made.digest })),
    puppet,
    sealAct({ ...sealed, kind: 'revoke', signer: key, body: end }),
    seal(eve, memberGrant(host.id, { roles: ['member'], parent: above.digest })),
  ]);
  t.same([...machine.authority.roles(host.id)], ['member']);
  await desk.revokeNode(eve.id, { ...KEEPING, keep: [host.id] });
  t.same([...machine.authority.roles(host.id)].sort(), WHOLE);
  t.notOk(machine.authority.isMember(stranger.id));
});

t.test('of more hosts than a token may let in some stay, and the others are named', async (t) => {
  const { machine, desk, take, sealBefore, made, joined } = stage({ uses: 2 });
  const [smallest] = joined.map(({ digest }) => digest).sort();
  take([sealBefore(smallest!, token, memberGrant(stranger.id, { parent: made.digest }))]);
  const hosts = [h2, h3, stranger];
  const keeping = { ...KEEPING, keep: hosts.map(({ id }) => id) };
  const { lacking } = desk.planRevokeNode(eve.id, keeping);
  await desk.revokeNode(eve.id, keeping);
  t.equal(lacking.length, 1);
  t.same(
    hosts.filter(({ id }) => !machine.authority.isMember(id)).map(({ id }) => id),
    lacking.map(({ key }) => key),
  );
});

/**
 * A cluster with a recovery key, whose first host made a token with the operator's key; h2 has joined with it.
 * @param others more recovery keys. @param threshold of operators. Default 1.
 */
function founded({ others = [], threshold = 1 }: { others?: readonly Signer[]; threshold?: number } = {}) {
  const recovery = testSigner(30);
  const founding = {
    name: 'shop',
    operator,
    seniors: [recovery, ...others].map(({ id }) => id),
    threshold,
    node: self.id,
    crypto: nodeCrypto,
    now: NOW,
  };
  const { genesis, grant } = found(founding);
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self] });
  const clock = { ms: NOW };
  const introduce = async (envelopes: readonly Uint8Array[]) => {
    machine.handle({ kind: 'introduce', envelopes }, { now: clock.ms, random: () => 0.5 });
    return undefined;
  };
  const take = (records: readonly Pick<LedgerRecord, 'bytes'>[]) => {
    void introduce(records.map(({ bytes }) => bytes));
  };
  const seal = (kind: 'grant' | 'revoke', signer: Signer, body: GrantBody | RevokeBody) => {
    const known = machine.ledger.recordsOf(signer.id);
    return sealAct({ cluster: genesis.digest, crypto: nodeCrypto, now: clock.ms, known, kind, signer, body });
  };
  const sealBefore = (digest: string, signer: Signer, body: GrantBody): LedgerRecord => {
    for (;;) {
      const record = seal('grant', signer, body);
      if (record.digest < digest) return record;
    }
  };
  const admits = ['member' as const, 'worker' as const, 'deployer' as const];
  const made = seal('grant', operator, memberGrant(token.id, { roles: ['admit'], admits, uses: 1 }));
  take([grant, made]);
  const joined = seal('grant', token, memberGrant(h2.id, { parent: made.digest }));
  take([joined]);
  clock.ms += 10_000;
  const desk = () => {
    const trust = trustOf(machine, { self: h2.id, genesis }, { introduce, now: () => clock.ms });
    return deskOf(machine, trust, h2.id, clock.ms);
  };
  const areMembers = () => [h2, self, stranger].map(({ id }) => machine.authority.isMember(id));
  return { recovery, machine, clock, take, seal, sealBefore, made, joined, desk, areMembers };
}

t.test('a recovery key that a thief has dismissed closes what it keeps all the same', async (t) => {
  const staged = founded();
  const { recovery, machine, clock, take, seal, joined, desk, areMembers } = staged;
  take([seal('revoke', operator, revokeBody({ subject: recovery.id, reason: 'mine' }))]);
  const inForce = () => machine.authority.operators().map((each) => each.inForce);
  t.same(inForce(), [false, true]);
  clock.ms += 10_000;
  const keeping = { descendants: true, keep: [h2.id, self.id], reason: 'stolen' };
  const request = { ...keeping, since_ms: NOW + 5_000, operatorKey: testSeed(30).toString('hex') };
  const plan = desk().planRevokeOperator(operator.id, request);
  t.same([plan.nodes.ends, plan.open], [[], []]);
  await desk().revokeOperator(operator.id, { ...request, plan: plan.digest });
  t.same(inForce(), [true, false]);
  displace(staged, token, [joined]);
  t.same(areMembers(), [true, true, false]);
});

t.test(
  'a key that ends itself closes what it keeps, whatever its cut is and however much it said',
  async (t) => {
    for (const since of [{}, { since_ms: NOW + 1 }])
      for (const descendants of [true, false])
        for (const junk of [0, KEEPS_MAX + 1]) {
          const staged = founded();
          const { machine, joined, desk, areMembers, seal, take } = staged;
          const sealed = Array.from({ length: junk }, (_, at) => {
            const subject = `12D3KooW${String(at).padStart(44, 'x')}`;
            return seal('revoke', operator, revokeBody({ subject, reason: 'mine' }));
          });
          take(sealed);
          const keeping = { descendants, keep: [h2.id, self.id], reason: 'a new one is there' };
          const request = { ...keeping, ...since, operatorKey: testSeed(1).toString('hex') };
          const plan = desk().planRevokeOperator(operator.id, request);
          t.same([plan.nodes.ends, plan.operators.ends.length, plan.open], [[], 1, []]);
          await desk().revokeOperator(operator.id, { ...request, plan: plan.digest });
          t.equal([...machine.authority.revocations()].length, junk + 2);
          displace(staged, token, [joined]);
          t.same(areMembers().slice(0, 2), [true, true]);
        }
  },
);

t.test(
  'a vote that waits for another one brings back those that are kept, and ends no key of theirs',
  async (t) => {
    const { machine, clock, take, seal, desk } = founded({ others: [testSigner(31)], threshold: 2 });
    const other = testSigner(32);
    const admits = ['member' as const, 'worker' as const, 'deployer' as const];
    const made = seal('grant', operator, memberGrant(other.id, { roles: ['admit'], admits, uses: 2 }));
    take([made]);
    for (const { id } of [h3, stranger])
      take([seal('grant', other, memberGrant(id, { parent: made.digest }))]);
    clock.ms += 10_000;
    take([
      seal('revoke', other, revokeBody({ subject: other.id, reason: 'mine', descendants: true })),
      seal('grant', operator, memberGrant(h3.id, { roles: ['admit'], admits })),
      seal('revoke', operator, revokeBody({ subject: token.id, reason: 'mine', descendants: true })),
      seal('grant', operator, memberGrant(h2.id, { roles: ['admit'], admits })),
    ]);
    const are = () => [h2, h3, stranger].map(({ id }) => machine.authority.isMember(id));
    t.same(are(), [false, false, false]);
    clock.ms += 10_000;
    const keeping = { descendants: true, keep: [h2.id, h3.id, self.id], reason: 'stolen' };
    for (const [seed, after] of [
      [30, [false, true, false]],
      [31, [true, true, false]],
    ] as const) {
      const request = { ...keeping, since_ms: NOW + 15_000, operatorKey: testSeed(seed).toString('hex') };
      const plan = desk().planRevokeOperator(operator.id, request);
      const was = are();
      await desk().revokeOperator(operator.id, { ...request, plan: plan.digest });
      t.same(are(), after);
      const back = [h2, h3].map(({ id }) => id).filter((_, at) => after[at] && !was[at]);
      t.same(new Set(plan.nodes.returns.map(({ key }) => key)), new Set(back), 'is told');
    }
  },
);

t.test('a host is kept by what it had before the theft, whoever has ended its token since', async (t) => {
  for (const by of [operator, token]) {
    const { machine, clock, take, seal, desk, areMembers } = founded();
    take([
      seal('revoke', by, revokeBody({ subject: token.id, reason: 'mine', descendants: true })),
      seal('grant', operator, memberGrant(h2.id, { roles: ['member'] })),
    ]);
    clock.ms += 10_000;
    const keeping = { descendants: true, keep: [h2.id, self.id], reason: 'stolen' };
    const request = { ...keeping, since_ms: NOW + 5_000, operatorKey: testSeed(30).toString('hex') };
    await desk().revokeOperator(operator.id, request);
    t.same(areMembers(), [true, true, false]);
    t.same([...machine.authority.roles(h2.id)].sort(), ['deployer', 'member', 'worker']);
  }
});

t.test(
  'a host is kept by the grant that is left where its token has ended itself but for that one',
  async (t) => {
    const { machine, desk, take, seal, sealBefore, above } = stage({ uses: 5 });
    const other = testSigner(25);
    const body = memberGrant(other.id, { roles: ['admit'], admits: ['member', 'worker'], uses: 1 });
    const made = seal(eve, { ...body, parent: above.digest });
    const host = testSigner(26);
    const joined = seal(other, memberGrant(host.id, { roles: ['member', 'worker'], parent: made.digest }));
    take([made, joined]);
    const end = revokeBody({ subject: other.id, reason: 'mine', keeps: [joined.digest] });
    const known = machine.ledger.recordsOf(other.id);
    const cluster = machine.cluster;
    take([
      sealAct({ cluster, known, crypto: nodeCrypto, now: NOW, kind: 'revoke', signer: other, body: end }),
    ]);
    take([
      sealBefore(joined.digest, other, memberGrant(host.id, { roles: ['member'], parent: made.digest })),
    ]);
    t.same([...machine.authority.roles(host.id)].sort(), ['member', 'worker']);
    await desk.revokeNode(eve.id, { ...KEEPING, keep: [...KEEPING.keep, host.id] });
    t.same([...machine.authority.roles(host.id)].sort(), ['member', 'worker']);
  },
);

t.test('a token is made by a grant that hands on what it takes, or else by the operator', async (t) => {
  const { genesis, introduce, machine, desk, take, seal, sealBefore, above } = stage({ uses: 5 });
  const own = [...machine.authority.grants(LATER)].find(({ subject }) => subject === self.id)!;
  const little = { roles: ['admit' as const], admits: [], parent: above.digest };
  take([sealBefore(own.digest, eve, memberGrant(self.id, little)), seal(eve, memberGrant(h2.id, little))]);
  const made = async (by: typeof desk) => {
    const { id } = await by.createToken({ roles: ['member'] });
    return by.tokens({}).find((each) => each.id === id)?.issuer;
  };
  t.equal(await made(desk), self.id);
  const theirs = trustOf(machine, { self: h2.id, genesis, operator }, { introduce, now: () => LATER });
  t.equal(await made(deskOf(machine, theirs, h2.id, LATER)), operator.id);
});

t.test(
  'an admitter of the thief does not stay by having renewed those for whom no use is left',
  async (t) => {
    const stay = { notAfter_ms: NOW + 3_600_000 };
    const { genesis, machine, seal, sealBefore, above, made, joined } = stage({ uses: 2, stay });
    const ids = [h2, h3, stranger].map(({ id }) => id);
    const [smallest] = joined.map(({ digest }) => digest).sort();
    const third = sealBefore(smallest!, token, memberGrant(stranger.id, { parent: made.digest, ...stay }));
    const puppet = testSigner(60);
    const byThief = seal(eve, { ...memberGrant(puppet.id, ADMITTER), parent: above.digest });
    const renewals = [...joined, third].map(({ digest }, at) => {
      const longer = { parent: byThief.digest, notAfter_ms: stay.notAfter_ms - 1 };
      return seal(puppet, { ...memberGrant(ids[at]!, longer), renews: digest });
    });
    const written = [...machine.ledger.records()].filter(({ kind }) => kind !== 'genesis');
    const named = [];
    // After a restart what renews may come before what it renews.
    for (const records of [
      [...written, third, byThief, ...renewals],
      [...renewals, byThief, third, ...written],
    ]) {
      const stored = { records, streams: [] };
      const here = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self], stored });
      const introduce = async (envelopes: readonly Uint8Array[]) => {
        here.handle({ kind: 'introduce', envelopes }, { now: LATER, random: () => 0.5 });
        return undefined;
      };
      const trust = trustOf(here, { self: self.id, genesis, operator }, { introduce, now: () => LATER });
      const desk = deskOf(here, trust, self.id, LATER);
      const keeping = { ...KEEPING, keep: ids };
      const { keeps } = await desk.revokeNode(eve.id, keeping);
      t.notOk(here.authority.isMember(puppet.id), 'it goes');
      t.same(keeps, [made.digest]);
      named.push(ids.filter((id) => here.authority.isMember(id)));
    }
    t.equal(named[0]!.length, 2, 'as many stay as the token had uses');
    t.same(named[0], named[1], 'and the same in whatever order the grants come');
  },
);
