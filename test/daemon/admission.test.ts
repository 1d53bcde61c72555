/** Both sides of the door: who is let in, and what a newcomer believes. */
import t from 'tap';
import {
  admit,
  encodeAppeal,
  encodeKnock,
  encodeWelcome,
  found,
  openKnock,
  openWelcome,
  sealAct,
  sealNodeGrant,
} from '../../daemon/admission.ts';
import { nodeCrypto, signerFromSeed } from '../../daemon/crypto.ts';
import { encode } from '../../protocols/base/codec.ts';
import { type GrantBody, type RevokeBody, recordKey } from '../../protocols/base/records.ts';
import { LedgerMachine } from '../../protocols/ledger/machine.ts';
import { DOOR_LIMITS } from '../../protocols/mesh/mesh.ts';
import { ACTS_MAX } from '../../protocols/trust/appeal.ts';
import { type JoinToken, TOKEN_TTL_MS, tokenGrant } from '../../protocols/trust/token.ts';

const NOW = 1_800_000_000_000;
const signer = (number: number) => signerFromSeed(new Uint8Array(32).fill(number));
const [operator, member, joiner, other] = [signer(1), signer(2), signer(3), signer(4)] as const;
const SEED = new Uint8Array(32).fill(5);

function stage(given: { uses?: number; roles?: JoinToken['roles']; life_ms?: number } = {}) {
  const { genesis, grant } = found({ name: 'shop', operator, node: member.id, crypto: nodeCrypto, now: NOW });
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [member] });
  const env = { now: NOW, random: () => 0.5 };
  machine.handle({ kind: 'introduce', envelopes: [grant.bytes] }, env);
  const roles = given.roles ?? (['member', 'worker', 'deployer'] as const);
  const notAfter_ms = NOW + TOKEN_TTL_MS;
  const subject = signerFromSeed(SEED).id;
  const life = given.life_ms === undefined ? {} : { life_ms: given.life_ms };
  const uses = given.uses ?? 1;
  const body = tokenGrant({ subject, parent: grant.digest, roles, notAfter_ms, uses, ...life });
  const key = recordKey.grant(subject, member.id);
  const effects = machine.handle({ kind: 'write', author: member.id, recordKind: 'grant', key, body }, env);
  const written = effects.find((effect) => effect.kind === 'written')!;
  const token: JoinToken = {
    cluster: genesis.digest,
    seed: SEED,
    grant: written.record.digest,
    notAfter_ms,
    roles,
    doors: [],
  };
  const knock = (node: string, changes: Partial<JoinToken> = {}) =>
    encodeKnock(
      sealNodeGrant({ ...token, ...changes }, signerFromSeed(changes.seed ?? SEED), node, nodeCrypto, NOW),
    );
  const ask = (from: string, bytes: Uint8Array, now = NOW) => {
    const brought = openKnock(bytes, nodeCrypto);
    if (brought.kind === 'appeal') throw new Error('it brings no grant');
    const { authority } = machine;
    return admit({
      from,
      record: brought.grant,
      cluster: genesis.digest,
      authority,
      crypto: nodeCrypto,
      now,
    });
  };
  const take = (from: string) => {
    const record = ask(from, knock(from))!;
    machine.handle({ kind: 'introduce', envelopes: [record.bytes] }, env);
    return record;
  };
  return { genesis, grant, machine, token, tokenGrant: written.record, knock, ask, take };
}

t.test('a stranger with a good token is let in once, and may knock again', async (t) => {
  const { machine, knock, ask, take } = stage();
  t.notOk(machine.authority.isMember(joiner.id));
  take(joiner.id);
  t.ok(machine.authority.isMember(joiner.id));
  t.equal(ask(joiner.id, knock(joiner.id)), undefined, 'a repeated knock is answered, and changes nothing');
  t.throws(() => ask(other.id, knock(other.id)), { code: 'E_TOKEN_USED' });
});

t.test('a member knocks in vain until its grant has ended, and not a moment longer', async (t) => {
  const life_ms = 120_000;
  const { machine, token } = stage({ uses: 2, life_ms });
  const knock = (now: number) => {
    const key = signerFromSeed(SEED);
    const record = sealNodeGrant({ ...token, life_ms }, key, joiner.id, nodeCrypto, now);
    const { authority } = machine;
    return admit({ from: joiner.id, record, cluster: token.cluster, authority, crypto: nodeCrypto, now });
  };
  const first = knock(NOW)!;
  machine.handle({ kind: 'introduce', envelopes: [first.bytes] }, { now: NOW, random: () => 0.5 });
  t.equal(knock(NOW + life_ms), undefined);
  t.match(knock(NOW + life_ms + 1), { kind: 'grant', author: signerFromSeed(SEED).id });
});

t.test('whatever does not fit is refused, by code', async (t) => {
  const { token, knock, ask } = stage();
  t.throws(() => ask(joiner.id, knock(other.id)), { code: 'E_TOKEN_REFUSED' }, 'a grant for another key');
  t.throws(() => ask(joiner.id, knock(joiner.id, { cluster: '1'.repeat(64) })), { code: 'E_TOKEN_REFUSED' });
  t.throws(() => ask(joiner.id, knock(joiner.id, { grant: '1'.repeat(64) })), { code: 'E_TOKEN_UNKNOWN' });
  t.throws(() => ask(joiner.id, knock(joiner.id, { seed: new Uint8Array(32).fill(6) })), {
    code: 'E_TOKEN_REFUSED',
  });
  t.throws(() => ask(joiner.id, knock(joiner.id, { roles: ['member', 'operator'] })), {
    code: 'E_TOKEN_REFUSED',
  });
  t.throws(() => ask(joiner.id, knock(joiner.id), token.notAfter_ms + 1), { code: 'E_TOKEN_EXPIRED' });
  for (const bytes of [
    new Uint8Array(),
    Uint8Array.of(0xc1),
    encode([2, 'x']),
    encode([1, 'x']),
    encode({}),
  ]) {
    t.throws(() => ask(joiner.id, bytes), { code: 'E_MALFORMED' });
  }
  t.throws(() => ask(joiner.id, new Uint8Array(1 << 20)), { code: 'E_TOO_LARGE' });
  const forged = knock(joiner.id);
  forged[forged.length - 1]! ^= 1;
  t.throws(() => ask(joiner.id, forged), { code: 'E_TOKEN_REFUSED' }, 'a bad signature');
});

t.test('an appeal brings so many acts and no more, and nothing else', async (t) => {
  const { grant } = stage();
  t.same(openKnock(encodeAppeal([]), nodeCrypto), { kind: 'appeal', acts: [] });
  const most = openKnock(encodeAppeal(Array(ACTS_MAX).fill(grant)), nodeCrypto);
  t.match(most, { kind: 'appeal', acts: { length: ACTS_MAX } });
  for (const acts of [null, 'x', [grant.bytes, null], Array(ACTS_MAX + 1).fill(grant.bytes)])
    t.throws(() => openKnock(encode([1, null, acts]), nodeCrypto), { code: 'E_MALFORMED' });
  t.same(openKnock(encodeAppeal([], grant), nodeCrypto), { kind: 'appeal', acts: [], own: grant.bytes });
  for (const own of [null, 'x', 1])
    t.throws(() => openKnock(encode([1, null, [], own]), nodeCrypto), { code: 'E_MALFORMED' });
  const large = { ...grant, bytes: new Uint8Array(DOOR_LIMITS.knock_bytes_max) };
  t.throws(() => openKnock(encodeAppeal([large]), nodeCrypto), { code: 'E_TOO_LARGE' });
});

t.test('a host whose clock is so far behind that its grant has ended is told so', async (t) => {
  const life_ms = 60_000;
  const { machine, token, knock, ask } = stage({ life_ms });
  t.throws(() => ask(joiner.id, knock(joiner.id, { life_ms }), NOW + life_ms + 1), {
    code: 'E_TOKEN_REFUSED',
    message: /Set the clocks of both hosts/,
  });
  t.same(machine.authority.issuedBy(token.grant), [], 'no use of the token');
  t.ok(ask(joiner.id, knock(joiner.id, { life_ms }), NOW + life_ms));
});

t.test(
  'a newcomer believes a welcome only when it is of the token, signed, and makes it a member',
  async (t) => {
    const { genesis, grant, token, tokenGrant: admitGrant, take } = stage();
    const own = take(joiner.id);
    const members = [{ id: member.id, addresses: ['/ip4/192.0.2.1/tcp/1'] }];
    const grants = [own, admitGrant, grant];
    const opened = openWelcome(encodeWelcome({ genesis, grants, members }), token, joiner.id, nodeCrypto);
    t.equal(opened.genesis.digest, token.cluster);
    t.same(opened.members, members);
    t.equal(opened.grants.length, 3, 'in whatever order they come');

    const open = (welcome: Partial<Parameters<typeof encodeWelcome>[0]>, node = joiner.id) =>
      openWelcome(encodeWelcome({ genesis, grants, members, ...welcome }), token, node, nodeCrypto);
    const elsewhere = found({ name: 'x', operator: other, node: member.id, crypto: nodeCrypto, now: NOW });
    t.throws(() => open({ genesis: elsewhere.genesis }), { code: 'E_TOKEN_REFUSED' }, 'another cluster');
    t.throws(() => open({ grants: [grant, admitGrant] }), { code: 'E_TOKEN_REFUSED' }, 'no grant for it');
    t.throws(() => open({ grants: [own] }), { code: 'E_TOKEN_REFUSED' }, 'a chain with a gap');
    t.throws(() => open({}, other.id), { code: 'E_TOKEN_REFUSED' }, 'for somebody else');
    const bytes = Uint8Array.from(own.bytes);
    bytes[bytes.length - 1]! ^= 1;
    t.throws(() => open({ grants: [grant, admitGrant, { ...own, bytes }] }), { code: 'E_BAD_SIGNATURE' });
    for (const bad of [
      new Uint8Array(),
      encode([1]),
      encode([1, 'x', [], []]),
      encode([2, genesis.bytes, [], []]),
    ]) {
      t.throws(() => openWelcome(bad, token, joiner.id, nodeCrypto), { code: 'E_MALFORMED' });
    }
  },
);

t.test('of a welcome a newcomer keeps what a ledger would have taken, and nothing else', async (t) => {
  const { genesis, grant, machine, token, tokenGrant: admitGrant, take } = stage({ uses: 8 });
  const own = take(joiner.id);
  const worker = take(other.id);
  const stranger = signer(9);
  const plant = (by: typeof other, body: Partial<GrantBody>, cluster = genesis.digest) =>
    sealAct({
      cluster,
      signer: by,
      kind: 'grant',
      body: {
        subject: stranger.id,
        roles: ['member', 'deployer', 'admitter'],
        admits: ['member', 'admit'],
        parent: worker.digest,
        notAfter_ms: null,
        uses: null,
        ...body,
      },
      known: [],
      crypto: nodeCrypto,
      now: NOW,
    });
  const planted = [
    plant(other, {}),
    plant(other, { parent: null }),
    plant(other, { parent: grant.digest }),
    plant(stranger, { parent: null, subject: other.id }),
    plant(operator, { parent: null }, 'c'.repeat(64)),
  ];
  const verdict = { subject: member.id, epoch: 0, last: 0, reason: 'so says a worker' };
  planted.push(
    sealAct({
      cluster: genesis.digest,
      signer: other,
      kind: 'revoke',
      body: verdict,
      known: [],
      crypto: nodeCrypto,
      now: NOW,
    }),
  );
  const open = (grants: Parameters<typeof encodeWelcome>[0]['grants']) =>
    openWelcome(encodeWelcome({ genesis, grants, members: [] }), token, joiner.id, nodeCrypto).grants;
  const honest = [own, admitGrant, worker, grant];
  const kept = open([...planted, ...honest]);
  t.same(kept.map(({ digest }) => digest).sort(), honest.map(({ digest }) => digest).sort());
  const stored = new LedgerMachine({
    genesis,
    crypto: nodeCrypto,
    signers: [joiner],
    stored: { records: kept, streams: [] },
  });
  t.same([...stored.authority.roles(stranger.id)], []);
  t.ok(stored.authority.isMember(member.id));

  const revocation = sealAct({
    cluster: genesis.digest,
    signer: operator,
    kind: 'revoke',
    body: { ...verdict, subject: other.id },
    known: [],
    crypto: nodeCrypto,
    now: NOW,
  });
  t.same(open([revocation, ...honest]).length, 5, 'what an operator revoked is kept');

  const many = Array.from({ length: 12 }, (_, at) =>
    sealNodeGrant(token, signerFromSeed(SEED), signer(20 + at).id, nodeCrypto, NOW),
  );
  for (const { bytes } of many)
    machine.handle({ kind: 'introduce', envelopes: [bytes] }, { now: NOW, random: () => 0 });
  const byDigest = (a: { digest: string }, b: { digest: string }) => (a.digest < b.digest ? -1 : 1);
  const everywhere = [...machine.ledger.ofKind('grant')].flatMap(([, records]) => records).sort(byDigest);
  const first = everywhere.find(({ author }) => author === signerFromSeed(SEED).id)!;
  for (const order of [many, [...many].reverse()]) {
    const grants = [...order, own, worker, admitGrant, grant];
    const bytes = encodeWelcome({ genesis, grants, members: [] });
    const { subject } = first.body as GrantBody;
    const opened = openWelcome(bytes, token, subject, nodeCrypto).grants.toSorted(byDigest);
    t.same(
      opened.map(({ digest }) => digest),
      everywhere.map(({ digest }) => digest),
      'of a token that was used too often as many as everywhere, in whatever order',
    );
  }
});

t.test('a newcomer believes in an admitter that is kept though its token was used too often', async (t) => {
  const roles = ['member', 'worker', 'deployer', 'admitter'] as const;
  for (const [who, by] of [
    ['an operator', operator],
    ['an admitter', member],
  ] as const) {
    const { genesis, grant, machine, token, tokenGrant: admitGrant, take } = stage({ roles: [...roles] });
    const kept = take(joiner.id);
    const tokenKey = signerFromSeed(SEED);
    const junk: (typeof kept)[] = [];
    while (junk.length < 2) {
      const one = sealNodeGrant(token, tokenKey, signer(20 + junk.length).id, nodeCrypto, NOW);
      if (one.digest < kept.digest) junk.push(one);
    }
    const seal = (signer: typeof other, kind: 'grant' | 'revoke', body: GrantBody | RevokeBody) =>
      sealAct({ cluster: genesis.digest, signer, kind, body, known: [], crypto: nodeCrypto, now: NOW });
    const keeping = { subject: tokenKey.id, epoch: 0, last: 0, reason: 'stolen', keeps: [kept.digest] };
    const closing = seal(by, 'revoke', keeping);
    const second = signer(6);
    const made = { parent: kept.digest, roles: [...roles], notAfter_ms: NOW + TOKEN_TTL_MS, uses: 1 };
    const below = seal(joiner, 'grant', tokenGrant({ ...made, subject: second.id }));
    const own = sealNodeGrant({ ...token, grant: below.digest }, second, other.id, nodeCrypto, NOW);
    for (const { bytes } of [closing, ...junk, below, own])
      machine.handle({ kind: 'introduce', envelopes: [bytes] }, { now: NOW, random: () => 0 });
    t.ok(machine.authority.isMember(other.id));
    const all = [grant, admitGrant, kept, ...junk, below, own, closing];
    for (const grants of [all, all.toReversed(), [...all.slice(1), grant]]) {
      const bytes = encodeWelcome({ genesis, grants, members: [] });
      const opened = openWelcome(bytes, token, other.id, nodeCrypto).grants;
      t.ok(
        opened.some(({ digest }) => digest === kept.digest),
        who,
      );
    }
  }
});

t.test('two hosts that use one operator key within one second give no number twice', (t) => {
  const { genesis, machine } = stage();
  const act = (subject: string) =>
    sealAct({
      cluster: genesis.digest,
      signer: operator,
      kind: 'revoke',
      body: { subject, epoch: 0, last: 0, reason: 'lost' },
      known: [],
      crypto: nodeCrypto,
      now: NOW,
    });
  const acts = [joiner.id, other.id].map(act);
  t.equal(acts[0]!.epoch, acts[1]!.epoch);
  t.not(acts[0]!.seq, acts[1]!.seq);
  const envelopes = acts.map(({ bytes }) => bytes);
  const effects = machine.handle({ kind: 'introduce', envelopes }, { now: NOW, random: () => 0.5 });
  t.notOk(effects.some(({ kind }) => kind === 'equivocation'));
  for (const record of acts) t.ok(machine.ledger.has(record));
  t.end();
});
