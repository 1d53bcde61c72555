/** What a host that is refused may bring to a door, and what of it a door listens to. */
import t from 'tap';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { ACTS_MAX, actsFor, heeded, isAct } from '../../../protocols/trust/appeal.ts';
import type { Authority } from '../../../protocols/trust/authority.ts';
import { ADMITTER, appoint, authority, grant, key, NOW, Replica, revoke } from './facts.ts';

const cut = (last: number) => ({ cut: { epoch: 0, last } });

/** Operators sue and op; op -> ann, an admitter -> ben and cem; then a thief with op's key revokes ben. */
function stage(threshold = 1, operators = ['sue', 'op']) {
  const ann = grant('op', 'ann', ADMITTER, { seq: 1 });
  const ben = grant('ann', 'ben', { ...ADMITTER, parent: ann.digest }, { seq: 1 });
  const cem = grant('ann', 'cem', { parent: ann.digest }, { seq: 2 });
  const theft = revoke('op', 'ben', { seq: 5 }, cut(9));
  const known = [ann, ben, cem, theft];
  const replica = () => new Replica(authority(operators, threshold)).offer(known);
  return { replica, known, grants: { ann, ben, cem }, theft };
}

/** As a host brings them whose ledger has these besides. */
function brought(replica: Replica, ...acts: LedgerRecord[]): LedgerRecord[] {
  return actsFor(replica.offer(acts).authority, key('ben'), Number.POSITIVE_INFINITY);
}

function digests(records: readonly LedgerRecord[]): string[] {
  return records.map(({ digest }) => digest).sort();
}

function heeds(at: Authority, acts: readonly LedgerRecord[], asker = 'ben'): string[] {
  return digests(heeded(at, key(asker), acts, NOW));
}

t.test('the end of who had revoked a host is brought by it, and taken in', async (t) => {
  const { replica } = stage();
  const answer = revoke('sue', 'op', { seq: 1 }, cut(4));
  const acts = brought(replica(), answer);
  t.same(digests(acts), [answer.digest], 'what is void is left out');
  const door = replica();
  t.same(heeds(door.authority, acts), [answer.digest]);
  t.notOk(door.authority.isMember(key('ben')), 'asking changes nothing');
  door.offer(acts);
  t.ok(door.authority.isMember(key('ben')));
  t.same(heeds(door.authority, acts), [], 'and it ends: a member brings nothing');
});

t.test(
  'also where the thief had dismissed who answers, or the answer is by one appointed since',
  async (t) => {
    const { replica } = stage();
    const coup = revoke('op', 'sue', { seq: 6 });
    const answer = revoke('sue', 'op', { seq: 1 }, cut(4));
    t.same(heeds(replica().offer([coup]).authority, brought(replica().offer([coup]), answer)), [
      answer.digest,
    ]);

    const dan = appoint('sue', 'dan', { seq: 1 });
    const eve = appoint('dan', 'eve', { seq: 1 });
    const three = stage(1, ['sue', 'tom', 'op']);
    const chain = [revoke('eve', 'op', { seq: 1 }, cut(4)), eve, dan];
    const bySenior = revoke('tom', 'op', { seq: 9 }, cut(4));
    const found = heeded(three.replica().authority, key('ben'), [...chain, bySenior], NOW);
    t.ok(found.includes(bySenior));
    const place = (record: LedgerRecord) => found.indexOf(record);
    if (place(eve) >= 0) t.ok(place(dan) < place(eve), 'in an order in which they can be taken in');
    new Replica(three.replica().authority).offer([...found]);
  },
);

t.test('also where the stolen key is of an operator that the host does not hang on', async (t) => {
  const ann = (by: string) => grant(by, 'ann', ADMITTER, { seq: 1 });
  const gone = { descendants: true };
  const pup = appoint('op', 'pup', { seq: 5 });
  const pet = appoint('pup', 'pet', { seq: 1 });
  for (const [what, above, thefts] of [
    ['the host was revoked', ann('sue'), [revoke('op', 'ben', { seq: 5 })]],
    ['who let it in', ann('sue'), [revoke('op', 'ann', { seq: 5 }, gone)]],
    ['both', ann('sue'), [revoke('op', 'ben', { seq: 5 }), revoke('op', 'ann', { seq: 6 }, gone)]],
    ['the operator that it hangs on', ann('tom'), [revoke('op', 'tom', { seq: 5 }, gone)]],
    ['by one whom the thief appointed', ann('sue'), [pup, revoke('pup', 'ben', { seq: 1 })]],
    ['by one whom that one appointed', ann('sue'), [pup, pet, revoke('pet', 'ben', { seq: 1 })]],
  ] as const) {
    const ben = grant('ann', 'ben', { parent: above.digest }, { seq: 1 });
    const replica = () => new Replica(authority(['sue', 'op', 'tom'])).offer([above, ben, ...thefts]);
    const answer = revoke('sue', 'op', { seq: 9 }, cut(4));
    const door = replica();
    t.notOk(door.authority.isMember(key('ben')), what);
    t.same(heeds(door.authority, brought(replica(), answer)), [answer.digest], what);
    const told = replica().offer(door.offer([answer]).authority.about(key('ben')));
    t.ok(told.authority.isMember(key('ben')), 'and a door that knows of it tells the host');
  }
});

t.test('of what a thief made up besides, nothing is brought or told', async (t) => {
  const { known } = stage();
  const answer = revoke('sue', 'op', { seq: 1 }, cut(4));
  const crowd = Array.from({ length: 200 }, (_, at) => [
    appoint('op', `pup${at}`, { seq: 10 + at }),
    revoke(`pup${at}`, 'ben', { seq: 1 }),
  ]);
  const host = new Replica(authority(['sue', 'op'])).offer([...known, answer]);
  const before = host.authority.about(key('ben'));
  host.offer(crowd.flat());
  t.equal(host.held.size, known.length + 1 + 2 * crowd.length);
  t.same(digests(host.authority.about(key('ben'))), digests(before));
});

t.test('nor is what a thief made up about operators, by numbers below the cut or behind it', async (t) => {
  const { replica } = stage();
  const answer = revoke('sue', 'op', { seq: 1 }, cut(4));
  for (const [what, epoch] of [
    ['behind it', 1],
    ['below it', 0],
  ] as const)
    for (const [act, subjects] of [
      [appoint, ['op', 'sue']],
      [revoke, ['sue', 'eve']],
    ] as const) {
      const junk = subjects.flatMap((to) =>
        Array.from({ length: 80 }, (_, at) => act('op', to, { epoch, seq: 2, at_ms: 1 + at })),
      );
      const host = replica().offer(junk);
      const acts = brought(host, answer);
      t.same(heeds(replica().authority, acts), [answer.digest], what);
      t.same(heeds(replica().offer(junk).authority, acts), [answer.digest], `${what}, and known at the door`);
      t.same(digests(acts), [answer.digest], `${what}, and not brought`);
    }
});

t.test('with a threshold it takes all the votes, and one of them is not taken for itself', async (t) => {
  const { replica } = stage(2, ['sue', 'tom', 'op']);
  const votes = [revoke('sue', 'op', { seq: 1 }, cut(4)), revoke('tom', 'op', { seq: 1 }, cut(4))];
  t.same(heeds(replica().authority, brought(replica(), ...votes)), digests(votes));
  t.same(heeds(replica().authority, votes.slice(0, 1)), []);
  t.same(brought(replica(), votes[0]!), [], 'who holds itself as revoked brings nothing');
});

t.test('what changes nothing for who asks is not taken, valid or not', async (t) => {
  const { replica, grants } = stage();
  const known = replica().authority;
  const after = { ...cut(9), reason: 'other' };
  for (const [what, act] of [
    ['a revocation of another', revoke('sue', 'cem', { seq: 1 })],
    ['one that spares what the thief did', revoke('sue', 'op', { seq: 1 }, after)],
    ['a vote for an operator', appoint('sue', 'dan', { seq: 1 })],
    ['its own word', revoke('ben', 'op', { seq: 4 })],
    ['its own word against others', revoke('ben', 'cem', { seq: 4 })],
    ['that of a stranger', revoke('eve', 'op', { seq: 4 })],
    ['another grant for it', grant('ann', 'ben', { parent: grants.ann.digest }, { seq: 7 })],
  ] as const)
    t.same(heeds(known, [act]), [], what);
  const answer = revoke('sue', 'op', { seq: 1 }, cut(4));
  const junk = [
    revoke('ben', 'cem', { seq: 4 }),
    revoke('op', 'cem', { seq: 9 }),
    revoke('ben', 'ann', { seq: 5 }),
  ];
  t.same(heeds(known, [...junk, answer]), [answer.digest], 'nor beside what does');
  t.same(heeds(known, [answer], 'eve'), [], 'a stranger is no member by it');
});

t.test('grants are no acts: a token that is known to its hosts would let them back in', async (t) => {
  const { known, theft } = stage();
  t.same(
    known.filter((record) => isAct(record)),
    [theft],
  );
  const token = grant('op', 'tok', { roles: ['admit'], admits: ['member'], uses: 1 }, { seq: 2 });
  const hosts = ['x', 'y'].map((name, at) =>
    grant('tok', name, { roles: ['member'], parent: token.digest }, { seq: 1, epoch: at }),
  );
  hosts.sort((a, b) => (a.digest < b.digest ? -1 : 1));
  const out = (hosts[1]!.body as { subject: string }).subject;
  const door = new Replica(authority(['sue', 'op'])).offer([token, ...hosts]);
  t.notOk(door.authority.isMember(out), 'the token was good for one');
  const [better] = Array.from({ length: 64 }, (_, seq) =>
    grant(
      'tok',
      out.replaceAll('.', ''),
      { roles: ['member'], parent: token.digest },
      { seq: 2 + seq, epoch: 9 },
    ),
  ).filter(({ digest }) => digest < hosts[0]!.digest);
  t.ok(better, 'a smaller digest was found');
  t.same(heeded(door.authority, out, [better!], NOW), []);
});

t.test('a key that was dismissed has numbers left, and is not listened to all the same', async (t) => {
  const { replica } = stage();
  const door = replica().offer([
    revoke('sue', 'op', { seq: 1 }, cut(4)),
    revoke('sue', 'ben', { seq: 2 }, cut(9)),
  ]);
  const plot = [appoint('op', 'pup', { seq: 3, at_ms: NOW - 9 }), revoke('pup', 'sue', { seq: 1 })];
  t.same(heeds(door.authority, plot), []);
  door.offer(plot);
  t.ok(door.authority.isMember(key('ben')), 'by the set of records it would be a member');
});

t.test('nor one whose grant has ended: by an old stamp it could revoke still', async (t) => {
  const day_ms = 86_400_000;
  const at_ms = NOW - 100 * day_ms;
  const ann = grant('op', 'ann', { ...ADMITTER, notAfter_ms: NOW - 30 * day_ms }, { seq: 1, at_ms });
  const bob = grant('ann', 'bob', { ...ADMITTER, parent: ann.digest }, { seq: 1, at_ms });
  const ben = grant('bob', 'ben', { parent: bob.digest }, { seq: 1, at_ms });
  const sent = revoke('bob', 'ben', { seq: 2, at_ms: NOW - day_ms });
  const door = (...more: LedgerRecord[]) =>
    new Replica(authority(['op'])).offer([ann, bob, ben, sent, ...more]);
  const dated = revoke('ann', 'bob', { seq: 2, at_ms: NOW - 31 * day_ms }, cut(1));
  t.same(heeds(door().authority, [dated]), []);
  const demoted = grant('op', 'ann', { notAfter_ms: null }, { seq: 2 });
  const moved = grant('op', 'ann', ADMITTER, { seq: 3 });
  t.same(heeds(door(demoted).authority, [dated]), [], 'nor one that is a member still');
  t.same(heeds(door(moved).authority, [dated]), [], 'or an admitter of others');
  const { notAfter_ms: end_ms } = ann.body as { notAfter_ms: number };
  t.same(
    digests(heeded(door().authority, key('ben'), [dated], end_ms)),
    [dated.digest],
    'in its time it could',
  );
  t.ok(door(dated).authority.isMember(key('ben')), 'by the set of records it would be a member');
});

t.test(
  'what is brought has a limit: operators first, of them the most senior, then what is small',
  async (t) => {
    const { known, replica } = stage();
    const answer = revoke('sue', 'op', { seq: 1 }, cut(4));
    const others = Array.from({ length: 2 * ACTS_MAX }, (_, at) =>
      revoke('op', 'ann', { seq: 3 }, { ...cut(9), reason: `number ${at}` }),
    );
    const sized = (records: readonly LedgerRecord[], bytes: number) =>
      records.map((record) => ({ ...record, bytes: new Uint8Array(bytes) }));
    const host = (own: number, more: number) =>
      replica().offer([...sized([answer], own), ...sized(others, more)]).authority;
    const all = actsFor(host(500, 100), key('ben'), 1 << 20);
    t.equal(all.length, 2, 'of those that say the same one is enough');
    t.equal(all[0]!.digest, answer.digest);
    t.notOk(
      actsFor(host(1001, 100), key('ben'), 1000).some(({ digest }) => digest === answer.digest),
      'what has no room is left out',
    );
    const officers = Array.from({ length: 60 }, (_, at) => {
      const appointed = ['sue', 'tom'].map((by) => appoint(by, `p${at}`, { seq: 1 }));
      const dismissed = ['sue', 'tom'].map((by) => revoke(by, `p${at}`, { seq: 2 }, cut(1)));
      return { acts: [...appointed, revoke(`p${at}`, 'ben', { seq: 2 })], dismissed };
    });
    const dismissals = officers.flatMap(({ dismissed }, at) => sized(dismissed, at < 30 ? 200 : 100));
    const many = new Replica(authority(['sue', 'tom', 'op'], 2)).offer([
      ...known.filter(({ kind }) => kind === 'grant'),
      ...officers.flatMap(({ acts }) => acts),
      ...dismissals,
    ]).authority;
    const most = actsFor(many, key('ben'), 1 << 20);
    t.equal(most.length, ACTS_MAX);
    const by = (acts: readonly LedgerRecord[], author: string) =>
      acts.filter((act) => act.author === key(author)).map(({ bytes }) => bytes.byteLength);
    t.same(by(most, 'sue'), [...Array(30).fill(100), ...Array(30).fill(200)]);
    t.same(by(most, 'tom'), Array(4).fill(100));
    t.same(by(actsFor(many, key('ben'), 3250), 'sue'), [...Array(30).fill(100), 200]);
  },
);
