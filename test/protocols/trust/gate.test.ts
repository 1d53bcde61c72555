/** What may enter the ledger, by kind and by role; what a grant may give; and what must leave again. */
import t from 'tap';
import type { GrantBody, Role } from '../../../protocols/base/records.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { GrantBook } from '../../../protocols/trust/grant-book.ts';
import { ADMITTER, appoint, authority, fact, grant, key, NOW, own, Replica, revoke } from './facts.ts';

const NODE: Role[] = ['member', 'worker', 'deployer'];

/** One key for each role, named as the role is. */
function roles(): Replica {
  const each: Role[] = ['member', 'worker', 'deployer', 'admitter', 'admit'];
  const grants = each.map((role, at) => grant('operator', role, { roles: [role] }, { seq: at + 1 }));
  return new Replica(authority(['operator'])).offer(grants);
}

t.test('each kind may be written by its roles, and under its keys', async (t) => {
  const { authority: of } = roles();
  const may = (kind: string, where: (author: string) => string) =>
    ['member', 'worker', 'deployer', 'admitter', 'admit', 'operator']
      .filter((name) => of.admission(fact(name, kind, where(key(name)), {}, { seq: 1 })) === 'yes')
      .join();
  const own = (author: string) => author;
  const ownPart = (author: string) => `${author}/x`;
  const other = () => key('somebody');
  const lookalike = (author: string) => `${author}x/y`;
  const table: readonly [kind: string, own: string, shared: string][] = [
    ['member', 'member', ''],
    ['verdict', 'member', ''],
    ['ack', 'member', ''],
    ['evidence', 'member', ''],
    ['alloc', 'worker', ''],
    ['image', 'deployer,operator', ''],
    ['tag', 'deployer,operator', 'deployer,operator'],
    ['workload', 'deployer,operator', 'deployer,operator'],
    ['intent', 'deployer,operator', 'deployer,operator'],
    // What every version must answer for kinds that it does not know.
    ['secret', 'member,deployer,operator', 'deployer,operator'],
    ['of-the-future', 'member,deployer,operator', 'deployer,operator'],
    ['constructor', 'member,deployer,operator', 'deployer,operator'],
  ];
  for (const [kind, mine, shared] of table) {
    t.equal(may(kind, own), mine, `${kind} of its own`);
    t.equal(may(kind, ownPart), mine, `${kind} below its own`);
    t.equal(may(kind, other), shared, `${kind} of another`);
    t.equal(may(kind, lookalike), shared, `${kind} of a key that begins alike`);
  }
  t.equal(of.admission(own_('stranger')), 'unknown-author');
  t.equal(of.admission(fact('member', 'genesis', 'genesis', {}, { seq: 1 })), 'refused');
});

function own_(name: string) {
  return own(name, { seq: 1 });
}

t.test('what counts asks for the same roles as what enters', async (t) => {
  const { authority: of } = roles();
  for (const kind of ['member', 'alloc', 'image', 'tag', 'workload', 'secret']) {
    for (const name of ['member', 'worker', 'deployer', 'admitter', 'admit', 'operator', 'stranger']) {
      const record = own(name, { seq: 1 }, kind);
      t.equal(of.counts(record), of.admission(record) === 'yes', `${kind} by ${name}`);
    }
  }
});

t.test('a grant gives no more than its issuer may, and not to itself', async (t) => {
  const ann = grant('op', 'ann', { ...ADMITTER, admits: ['member', 'admit'] }, { seq: 1 });
  const worker = grant('op', 'wim', {}, { seq: 2 });
  const of = new Replica(authority(['op'])).offer([ann, worker]).authority;
  const asked = (changes: Partial<GrantBody>, author = 'ann', subject = 'new') =>
    of.admission(grant(author, subject, { roles: ['member'], parent: ann.digest, ...changes }, { seq: 5 }));
  t.equal(asked({}), 'yes');
  t.equal(asked({ roles: ['member', 'worker'] }), 'refused', 'a role that it may not hand on');
  t.equal(asked({ admits: ['worker'] }), 'refused', 'nor let be handed on');
  t.equal(asked({ roles: ['operator'] }), 'refused');
  t.equal(asked({ admits: ['operator'] }), 'refused');
  t.equal(asked({ parent: 'a'.repeat(64) }), 'unknown-author', 'a chain with a gap');
  t.equal(asked({ parent: null }), 'refused', 'as an operator would');
  t.equal(asked({ parent: null }, 'eve'), 'unknown-author', 'who may be an operator yet to be heard of');
  t.equal(asked({}, 'eve'), 'refused', "another's grant");
  t.equal(asked({ parent: worker.digest }, 'wim'), 'refused', 'no admitter');
  t.equal(asked({}, 'ann', 'ann'), 'refused', 'itself');
  t.equal(of.admission({ ...ann, body: null }), 'refused', 'nothing takes a grant back');
  t.equal(of.admission({ ...ann, key: key('ann') }), 'refused', 'a key that says other than its body');
  t.equal(of.admission(grant('op', 'x', { roles: ['operator', 'member'] }, { seq: 3 })), 'refused');
  t.equal(of.admission(grant('op', 'x', { roles: ['operator'], notAfter_ms: NOW }, { seq: 3 })), 'refused');
  t.equal(of.admission(appoint('op', 'x', { seq: 3 })), 'yes');
});

t.test('a chain has an end', async (t) => {
  const records = [grant('op', 'k0', ADMITTER, { seq: 1 })];
  for (let at = 1; at < 12; at += 1) {
    const parent = records.at(-1)!.digest;
    records.push(grant(`k${at - 1}`, `k${at}`, { ...ADMITTER, parent }, { seq: 1 }));
  }
  const { authority: of } = new Replica(authority(['op'])).offer(records);
  t.ok(of.isMember(key('k7')));
  t.equal(of.depth(key('k7')), 8);
  t.notOk(of.isMember(key('k8')));
  t.equal(of.depth(key('k8')), Number.POSITIVE_INFINITY);
});

t.test(
  'of a token that is used too often one proof is kept, and nothing that hangs on the rest',
  async (t) => {
    const token = grant(
      'op',
      'tok',
      { roles: ['admit'], admits: [...NODE, 'admitter', 'admit'], uses: 2 },
      { seq: 1 },
    );
    const joins = Array.from({ length: 9 }, (_, at) =>
      grant('tok', `n${at}`, { ...ADMITTER, parent: token.digest }, { seq: 1, epoch: at + 1 }),
    ).sort((a, b) => (a.digest < b.digest ? 1 : -1));
    const names = joins.map(({ body }) => (body as GrantBody).subject.replaceAll('.', ''));
    const below = joins.flatMap(({ digest }, at) => [
      own(names[at]!, { seq: 1 }),
      grant(names[at]!, `guest-of-${names[at]}`, { parent: digest }, { seq: 2 }),
      own(`guest-of-${names[at]}`, { seq: 1 }),
    ]);
    // The largest digests come first, with all that hangs on them.
    const replica = new Replica(authority(['op'])).offer([token]);
    let most = 0;
    for (const [at, join] of joins.entries()) {
      replica.offer([join, ...below.slice(at * 3, at * 3 + 3)]);
      most = Math.max(most, replica.held.size);
    }
    t.equal(most, 1 + 3 * 4, 'two uses and a proof');
    t.equal(replica.held.size, 1 + 3 * 4);
    const members = names.filter((name) => replica.authority.isMember(key(name)));
    t.same(members, names.slice(-2), 'the smallest digests');
    t.notOk(
      replica.authority.isMember(key(`guest-of-${names.at(-3)}`)),
      'the proof is no member, nor are its guests',
    );
    const other = new Replica(authority(['op'])).offer([...below, ...joins.toReversed(), token]);
    t.equal(other.picture, replica.picture);
  },
);

t.test('a token that limits the life of members limits it all the way down', async (t) => {
  const token = grant(
    'op',
    'tok',
    { roles: ['admit'], admits: ADMITTER.admits, life_ms: 1000, uses: 5 },
    { seq: 1 },
  );
  const replica = new Replica(authority(['op'])).offer([token]);
  const asked = (changes: Partial<GrantBody>) =>
    replica.authority.admission(
      grant('tok', 'ann', { roles: ['member'], parent: token.digest, ...changes }, { seq: 1, epoch: 1 }),
    );
  t.equal(asked({}), 'refused', 'for ever');
  t.equal(asked({ notAfter_ms: NOW + 1001 }), 'refused', 'for longer');
  t.equal(asked({ notAfter_ms: NOW + 1000 }), 'yes');
  const admitter = { ...ADMITTER, notAfter_ms: NOW + 1000 };
  t.equal(asked(admitter), 'refused', 'an admitter that could let in for ever');
  t.equal(asked({ ...admitter, life_ms: 1001 }), 'refused', 'or for longer');
  t.equal(asked({ ...admitter, life_ms: 1000 }), 'yes');
});

t.test(
  'a vote for an operator costs no look at all votes, and the last to come admits whom it carries',
  async (t) => {
    const appointments = t.capture(GrantBook.prototype, 'appointments', GrantBook.prototype.appointments);
    const of = authority(['op', 'sue'], 2);
    for (let at = 0; at < 50; at += 1)
      for (let again = 0; again < 3; again += 1) of.add(appoint('op', `x${at}`, { seq: 1 + 3 * at + again }));
    t.same(appointments(), []);
    // As from a disk, in no order: ann -> eve, who needs ann and op; ann needs sue.
    for (const record of [
      appoint('eve', 'fay', { seq: 1 }),
      appoint('ann', 'fay', { seq: 1 }),
      appoint('ann', 'eve', { seq: 2 }),
      appoint('op', 'eve', { seq: 1000 }),
      appoint('op', 'ann', { seq: 1001 }),
    ])
      of.add(record);
    const mayAppoint = (name: string) => of.admission(appoint(name, 'gil', { seq: 9 })) === 'yes';
    t.notOk(['ann', 'eve', 'fay', 'x1'].some(mayAppoint));
    const last = appoint('sue', 'ann', { seq: 1 });
    const fork = of.fork();
    of.add(last);
    t.ok(['ann', 'eve', 'fay'].every(mayAppoint));
    t.notOk(mayAppoint('x1'));
    t.equal(fork.admission(appoint('ann', 'gil', { seq: 9 })), 'refused', 'a fork hears nothing of it');
    of.remove(last);
    t.notOk(['ann', 'eve', 'fay'].some(mayAppoint));
  },
);

t.test('a vote that goes costs no look at other votes, nor at all revocations', async (t) => {
  const of = authority(['op', 'sue'], 1);
  const votes = Array.from({ length: 50 }, (_, at) => appoint('sue', `x${at}`, { seq: at + 1 }));
  const others = Array.from({ length: 50 }, (_, at) => appoint('x0', `y${at}`, { seq: at + 1 }));
  for (const vote of [...votes, ...others, appoint('op', 'x0', { seq: 1 })]) of.add(vote);
  const [looked, voters] = (['votedForBy', 'votersFor'] as const).map((name) =>
    t.capture(GrantBook.prototype, name, GrantBook.prototype[name]),
  );
  const revocations = t.capture(GrantBook.prototype, 'revocations', GrantBook.prototype.revocations);
  for (const vote of votes.slice(1)) t.same(of.remove(vote), []);
  t.ok(looked!().length <= 2 * votes.length, 'for whom those have voted who go');
  t.ok(voters!().length <= 5 * votes.length);
  t.ok(revocations().length <= 1);
  t.notOk(of.admission(appoint('x1', 'gil', { seq: 9 })) === 'yes');
  of.remove(votes[0]!);
  t.ok(looked!().length + voters!().length <= 5, 'nor at what hangs on one that others of genesis carry');
  t.equal(of.admission(appoint('y1', 'gil', { seq: 9 })), 'yes');
});

t.test(
  'a vote that goes costs no look at those whom its subject carries, as long as others carry it',
  (t) => {
    const puppets = Array.from({ length: 500 }, (_, at) => `p${at}`);
    const voters = Array.from({ length: 20 }, (_, at) => `q${at}`);
    // Each by one of genesis; each by the one before it.
    for (const isChain of [false, true]) {
      const of = authority(['op', 'sue'], 1);
      const through = voters.flatMap((name, at) => [
        appoint(isChain && at > 0 ? voters[at - 1]! : 'sue', name, { seq: at + 1 }),
        appoint(name, 'hub', { seq: 100 }),
      ]);
      const votes = through.filter(({ seq }) => seq === 100);
      for (const vote of [...through, ...puppets.map((name, at) => appoint('hub', name, { seq: at + 1 }))])
        of.add(vote);
      // In a chain the others came later, and may hang on the hub for all that is known.
      if (isChain) of.remove(votes.shift()!);
      const [looked, voted] = (['votedForBy', 'votersFor'] as const).map((name) =>
        t.capture(GrantBook.prototype, name, GrantBook.prototype[name]),
      );
      const last = votes.pop()!;
      for (const vote of votes) t.same(of.removeAll([vote]).weakened, []);
      const count = looked!().length + voted!().length;
      t.ok(count <= 5 * voters.length, `${count} looks`);
      t.ok(puppets.every((name) => of.admission(appoint(name, 'gil', { seq: 9 })) === 'yes'));
      t.equal(new Set(of.removeAll([last]).weakened).size, puppets.length + 1, 'the last one carried it');
      t.ok(puppets.every((name) => of.admission(appoint(name, 'gil', { seq: 9 })) !== 'yes'));
    }
    t.end();
  },
);

t.test(
  'a vote that goes costs no look at all voters of a key for each of them that falls with it',
  async (t) => {
    const puppets = Array.from({ length: 300 }, (_, at) => `p${1000 + at}`);
    for (const threshold of [1, 2]) {
      const of = authority(['op', 'sue'], threshold);
      const carry = (from: string, to: string, seq: number) => {
        of.add(appoint(from, to, { seq }));
        if (threshold > 1) of.add(appoint('sue', to, { seq }));
      };
      const vote = appoint('op', puppets[0]!, { seq: 1 });
      of.add(vote);
      if (threshold > 1) of.add(appoint('sue', puppets[0]!, { seq: 1 }));
      for (const [at, name] of puppets.slice(1).entries()) carry(puppets[at]!, name, 1);
      // What all of them carry comes to office by the last.
      for (const name of puppets.toReversed()) carry(name, 'hub', 2);
      const votersFor = GrantBook.prototype.votersFor;
      let looks = 0;
      GrantBook.prototype.votersFor = function (subject) {
        return new Proxy(votersFor.call(this, subject), {
          get: (voters, at, receiver) => {
            if (typeof at === 'string' && Number.isInteger(Number(at))) looks += 1;
            return Reflect.get(voters, at, receiver);
          },
        });
      };
      t.teardown(() => {
        GrantBook.prototype.votersFor = votersFor;
      });
      const { weakened } = of.removeAll([vote]);
      GrantBook.prototype.votersFor = votersFor;
      t.equal(new Set(weakened).size, puppets.length + 1, 'all fall');
      t.ok(looks <= 20 * puppets.length, `${looks} looks`);
    }
  },
);

t.test('what an operator kept it keeps no more once it is none, though it may revoke still', async (t) => {
  const token = grant('op', 'tok', { roles: ['admit'], admits: NODE, uses: 0 }, { seq: 1 });
  const joins = [1, 2, 3].map((epoch) =>
    grant('tok', `n${epoch}`, { parent: token.digest }, { seq: 1, epoch }),
  );
  const [last] = joins.toSorted((a, b) => (a.digest < b.digest ? 1 : -1));
  const vote = appoint('op', 'ann', { seq: 2 });
  const of = authority(['op']);
  for (const record of [token, vote, grant('op', 'ann', ADMITTER, { seq: 3 })]) of.add(record);
  of.add(revoke('ann', 'tok', { seq: 1 }, { keeps: [last!.digest] }));
  for (const join of joins) of.add(join);
  t.same(of.surplus(last!), []);
  t.same(of.removeAll([vote]).unkept, [last]);
  t.same(of.surplus(last!), [last]);
});

t.test('the renewal of an own grant is kept as far as that grant is', async (t) => {
  const of = authority(['op', 'pat']);
  const ann = grant('op', 'ann', ADMITTER, { seq: 1 });
  const { digest: parent } = ann;
  const original = grant('ann', 'host', { parent, notAfter_ms: NOW + 1000 }, { seq: 1 });
  const end = { parent, notAfter_ms: NOW + 1900, renews: original.digest };
  const renewal = grant('ann', 'host', end, { seq: 2, at_ms: NOW + 900 });
  for (const record of [ann, original, renewal]) of.add(record);
  of.add(revoke('op', 'ann', { seq: 2 }, { keeps: [renewal.digest] }));
  t.equal(of.keeperOf(renewal), Number.POSITIVE_INFINITY);
  const keeping = revoke('pat', 'ann', { seq: 1 }, { keeps: [original.digest] });
  of.add(keeping);
  t.equal(of.keeperOf(original), 1);
  t.equal(of.keeperOf(renewal), 1, 'and no further');
  t.same(of.remove(keeping), [original, renewal]);
  t.equal(of.keeperOf(renewal), Number.POSITIVE_INFINITY);
});

t.test(
  'what was kept by the word of somebody who goes, goes with it, in whatever order it came',
  async (t) => {
    const ann = grant('op', 'ann', ADMITTER, { seq: 1 });
    const [token, other] = ['tok', 'oth'].map((name, at) =>
      grant(
        'ann',
        name,
        { roles: ['admit'], admits: ADMITTER.admits, parent: ann.digest, uses: 1 },
        { seq: 2 + at },
      ),
    ) as [LedgerRecord, LedgerRecord];
    const under = (parent: LedgerRecord, names: string, epoch: number, changes: Partial<GrantBody> = {}) =>
      Array.from({ length: 20 }, (_, at) =>
        grant(subjectOf(parent), `${names}${at}`, { ...changes, parent: parent.digest }, { seq: 1, epoch }),
      ).sort((a, b) => (a.digest < b.digest ? -1 : 1));
    const last = under(token, 'late', 1).at(-1)!;
    const first = under(token, 'n', 2).slice(0, 2);
    const admitters = under(other, 'zed', 1, ADMITTER);
    const zed = admitters.at(-1)!;
    const keeping = revoke(subjectOf(zed), 'tok', { seq: 1 }, { keeps: [last.digest] });
    const evicting = admitters.slice(0, 2);
    const joins = [...first, last];
    const end = revoke('ann', 'tok', { seq: 9 }, { cut: { epoch: 1, last: 9 } });
    const orders = [
      [zed, keeping, ...joins, ...evicting, end],
      [...evicting, zed, keeping, ...joins, end],
    ];
    const replicas = orders.map((order) =>
      order.reduce(
        (replica, record) => replica.offer([record]),
        new Replica(authority(['op'])).offer([ann, token, other]),
      ),
    );
    t.equal(replicas[0]!.picture, replicas[1]!.picture);
    const member = (last.body as GrantBody).subject;
    t.same(
      replicas.map((replica) => replica.authority.isMember(member)),
      [false, false],
    );
    // One that may keep it, and is gone again.
    const good = revoke('op', 'tok', { seq: 8 }, { cut: { epoch: 1, last: 9 }, keeps: [last.digest] });
    const of = replicas[0]!.offer([good, last]).authority;
    t.ok(of.isMember(member));
    t.same(of.surplus(last), []);
    t.same(of.remove(good), [last]);
    t.same(of.surplus(last), [last]);
  },
);

t.test('a grant that is one too many costs no look at what all revocations keep', async (t) => {
  const token = grant('op', 'tok', { roles: ['admit'], admits: NODE, uses: 0 }, { seq: 1 });
  const joins = Array.from({ length: 30 }, (_, at) =>
    grant('tok', `n${at}`, { parent: token.digest }, { seq: 1, epoch: at + 1 }),
  ).sort((a, b) => (a.digest < b.digest ? -1 : 1));
  const of = authority(['op']);
  of.add(token);
  of.add(joins[0]!);
  const looked = t.capture(GrantBook.prototype, 'revocations', GrantBook.prototype.revocations);
  const each = t.capture(GrantBook.prototype, 'revocationsOf', GrantBook.prototype.revocationsOf);
  for (const [at, join] of joins.slice(1).entries()) {
    of.add(revoke('op', 'tok', { seq: 2 + at }, { keeps: ['a'.repeat(64)] }));
    each();
    t.same(of.surplus(join), [join]);
    t.same(each(), []);
  }
  t.ok(looked().length <= 1);
});

function subjectOf(record: LedgerRecord): string {
  return (record.body as GrantBody).subject.replaceAll('.', '');
}
