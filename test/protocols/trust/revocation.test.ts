/** What a revocation takes and what it leaves: of keys, of grants below an admitter, of what was written before. */
import t from 'tap';
import { type GrantBody, recordKey } from '../../../protocols/base/records.ts';
import type { Authority } from '../../../protocols/trust/authority.ts';
import { GrantBook } from '../../../protocols/trust/grant-book.ts';
import { type GrantState, Standing } from '../../../protocols/trust/standing.ts';
import { ADMITTER, authority, fact, grant, key, NOW, own, Replica, revoke } from './facts.ts';

const cut = (last: number, epoch = 0) => ({ cut: { epoch, last } });

/** op -> ann (admitter) -> bob (admitter) -> cem; and op -> dan (admitter). */
function stage() {
  const ann = grant('op', 'ann', ADMITTER, { seq: 1 });
  const bob = grant('ann', 'bob', { ...ADMITTER, parent: ann.digest }, { seq: 3 });
  const cem = grant('bob', 'cem', { parent: bob.digest }, { seq: 3 });
  const dan = grant('op', 'dan', ADMITTER, { seq: 2 });
  const replica = new Replica(authority(['op'])).offer([ann, bob, cem, dan]);
  return { replica, authority: replica.authority, grants: { ann, bob, cem, dan } };
}

function members(of: Authority): string {
  return ['ann', 'bob', 'cem', 'dan'].filter((name) => of.isMember(key(name))).join();
}

t.test('an operator revokes any key, and what the key granted before the cut stays', async (t) => {
  const { replica, authority: of } = stage();
  replica.offer([revoke('op', 'bob', { seq: 9 }, cut(3))]);
  t.equal(members(of), 'ann,cem,dan');
  t.ok(of.isRevoked(key('bob')));
  t.notOk(of.isRevoked(key('cem')));
  t.ok(of.counts(own('bob', { seq: 3 })));
  t.notOk(of.counts(own('bob', { seq: 4 })));
  t.notOk(of.counts(own('bob', { seq: 1, epoch: 1 })), 'nor in a new epoch');
  t.same([...of.roles(key('bob'))], []);
});

t.test('what it granted after the cut goes, with all that hangs on it', async (t) => {
  const { replica, authority: of } = stage();
  replica.offer([revoke('op', 'ann', { seq: 9 }, cut(2))]);
  t.equal(members(of), 'dan');
  t.notOk(of.counts(own('cem', { seq: 1 })), 'it never was a member');
});

t.test('descendants go before the cut too, but for those that are named', async (t) => {
  const { replica, authority: of } = stage();
  replica.offer([revoke('op', 'ann', { seq: 9 }, { ...cut(9), descendants: true })]);
  t.equal(members(of), 'dan');
  const kept = stage();
  const keeps = [kept.grants.bob.digest];
  kept.replica.offer([revoke('op', 'ann', { seq: 9 }, { ...cut(0), descendants: true, keeps })]);
  t.equal(members(kept.authority), 'bob,cem,dan');
});

t.test('a number below the cut helps nobody later on', async (t) => {
  const { replica, authority: of } = stage();
  const at_ms = NOW + 3_600_000;
  replica.offer([revoke('op', 'bob', { seq: 9, at_ms }, cut(50, 3))]);
  t.ok(of.counts(own('bob', { seq: 7, epoch: 2, at_ms })));
  t.ok(of.counts(own('bob', { seq: 7, epoch: 2, at_ms: at_ms + 60_000 })), 'clocks differ');
  t.notOk(of.counts(own('bob', { seq: 7, epoch: 2, at_ms: at_ms + 60_001 })));
  // An admitter's own, and one that goes with what it hangs on.
  const below = stage();
  below.replica.offer([revoke('ann', 'cem', { seq: 9, at_ms }, cut(50, 3))]);
  t.ok(below.authority.counts(own('cem', { seq: 7, at_ms })));
  t.notOk(below.authority.counts(own('cem', { seq: 7, at_ms: at_ms + 60_001 })));
});

t.test('a chain of keys that revoked one another a hundred times is judged in no time', async (t) => {
  // Without end, if each way through the chain was walked.
  const of = authority(['op']);
  const names = ['ann', 'bob', 'cem', 'dan', 'eve', 'fay', 'gil'];
  let above: string | null = null;
  let author = 'op';
  for (const name of names) {
    const link = grant(author, name, { ...ADMITTER, parent: above }, { seq: 1 });
    t.equal(of.admission(link), 'yes');
    of.add(link);
    for (let seq = 2; author !== 'op' && seq < 102; seq += 1)
      of.add(revoke(author, name, { seq }, cut(900 + seq)));
    [above, author] = [link.digest, name];
  }
  t.notOk(of.isMember(key('gil')));
  t.equal(of.stateOf(above!, NOW), 'revoked');
  t.ok(of.isMember(key('ann')));
  of.add(revoke('op', 'ann', { seq: 9 }, cut(0)));
  t.notOk(of.isMember(key('ann')), 'nothing is remembered that is so no more');
  t.notOk(of.isRevoked(key('gil')), 'who revoked it never was an admitter');
});

t.test('what changes nothing is not told to newcomers, however much there is of it', async (t) => {
  const { replica, authority: of } = stage();
  const before = of.about(key('cem'));
  const vain = Array.from({ length: 70 }, (_, at) => revoke('cem', 'ann', { seq: 10 + at }));
  const admitter = grant('op', 'cem', ADMITTER, { seq: 5 });
  replica.offer([admitter, ...vain]);
  t.ok(vain.every(({ digest }) => replica.held.has(digest)));
  t.same(new Set(of.about(key('cem'))), new Set([...before, admitter]));
  const real = revoke('bob', 'cem', { seq: 9 });
  replica.offer([real]);
  t.ok(of.about(key('cem')).includes(real));
});

t.test('who shares a token takes the place of nobody that a revocation of the token keeps', async (t) => {
  const token = grant('op', 'tok', { roles: ['admit'], admits: ['member'], uses: 2 }, { seq: 5 });
  const join = (name: string) => grant('tok', name, { roles: ['member'], parent: token.digest }, { seq: 1 });
  const joined = Array.from({ length: 60 }, (_, at) => join(`h${at}`)).sort((a, b) =>
    a.digest < b.digest ? -1 : 1,
  );
  // The honest ones happen to have the greatest digests.
  const honest = joined.slice(-2);
  const keeps = honest.map(({ digest }) => digest);
  const closed = revoke('op', 'tok', { seq: 6 }, { ...cut(0), descendants: true, keeps });
  const thefts = joined.slice(0, -2);
  for (const order of [
    [...honest, closed, ...thefts],
    [closed, ...thefts, ...honest],
    [...thefts, ...honest, closed],
  ]) {
    const replica = new Replica(authority(['op'])).offer([token]).offer(order);
    t.same(
      joined.filter(({ body }) => replica.authority.isMember((body as GrantBody).subject)),
      honest,
    );
    t.equal(replica.held.size, 2 + 2 + 3, 'the proof that it was used too often stays, and no more');
  }
  const own = revoke('tok', 'tok', { seq: 6 }, { keeps: thefts.slice(-2).map(({ digest }) => digest) });
  const replica = new Replica(authority(['op'])).offer([token, own, ...joined]);
  t.equal(replica.held.size, 2 + 3, 'the token itself keeps nothing');
});

t.test('void grants of a host cost no look at each of them for each of its records', async (t) => {
  const eve = grant('op', 'eve', ADMITTER, { seq: 1 });
  const ben = grant('op', 'ben', {}, { seq: 2 });
  const of = authority(['op']);
  for (const record of [eve, ben, revoke('op', 'eve', { seq: 3 }, { descendants: true })]) of.add(record);
  for (let at = 0; at < 300; at += 1) of.add(grant('eve', 'ben', { parent: eve.digest }, { seq: at + 1 }));
  const looked = t.capture(Standing.prototype, 'issueFault', Standing.prototype.issueFault);
  for (let seq = 1; seq <= 100; seq += 1) {
    t.ok(of.counts(own('ben', { seq })));
    t.ok(of.isMember(key('ben')));
    t.ok(of.roles(key('ben')).has('worker'));
  }
  const { length } = looked();
  t.ok(length < 1000, `${length} were looked at`);
  of.add(revoke('op', 'ben', { seq: 4 }));
  t.notOk(of.counts(own('ben', { seq: 1 })), 'what comes later counts');
});

t.test('what a void grant gave counts no more, however many grants the key has besides', async (t) => {
  for (const others of [1, 20]) {
    const { replica, authority: of, grants } = stage();
    const deploys = grant('bob', 'eve', { roles: ['deployer'], parent: grants.bob.digest }, { seq: 5 });
    const works = Array.from({ length: others }, (_, at) =>
      grant('op', 'eve', { roles: ['member', 'worker'] }, { seq: 20 + at }),
    );
    replica.offer([deploys, ...works]);
    const workload = fact('eve', 'workload', 'default/web', {}, { seq: 1 });
    t.strictSame([of.mayDeploy(key('eve')), of.counts(workload)], [true, true], `beside ${others}`);
    replica.offer([revoke('op', 'bob', { seq: 9 }, cut(4))]);
    t.strictSame([of.mayDeploy(key('eve')), of.counts(workload)], [false, false], `beside ${others}`);
    t.same([...of.roles(key('eve'))].sort(), ['member', 'worker']);
  }
});

t.test('of several cuts the strictest holds', async (t) => {
  const { replica, authority: of } = stage();
  replica.offer([revoke('op', 'bob', { seq: 9 }, cut(5)), revoke('op', 'bob', { seq: 10 }, cut(2))]);
  t.notOk(of.counts(own('bob', { seq: 3 })));
  t.equal(members(of), 'ann,dan');
});

t.test('an admitter takes back what hangs on its own grant, and nothing else', async (t) => {
  const { replica, authority: of } = stage();
  replica.offer([revoke('ann', 'cem', { seq: 9 })]);
  t.equal(members(of), 'ann,bob,dan');
  t.ok(of.isRevoked(key('cem')));
  replica.offer([revoke('dan', 'bob', { seq: 9 })]);
  t.equal(members(of), 'ann,bob,dan', 'bob does not come from dan');
  t.match([...of.revocations()].map(({ by, effective }) => [by, effective]).sort(), [
    [key('ann'), true],
    [key('dan'), false],
  ]);
  replica.offer([revoke('bob', 'ann', { seq: 9 })]);
  t.equal(members(of), 'ann,bob,dan', 'nor does ann come from bob');
});

t.test('what others granted to the same key stays', async (t) => {
  const { replica, authority: of, grants } = stage();
  replica.offer([
    grant('dan', 'cem', { parent: grants.dan.digest, roles: ['member'] }, { seq: 5 }),
    revoke('ann', 'cem', { seq: 9 }, cut(2)),
  ]);
  t.ok(of.isMember(key('cem')));
  t.same([...of.roles(key('cem'))], ['member'], 'but only that');
  t.notOk(of.isRevoked(key('cem')));
  t.ok(of.counts(own('cem', { seq: 9 })));
});

t.test('nobody can grant a key in order to revoke it', async (t) => {
  const { replica, authority: of, grants } = stage();
  replica.offer([
    grant('dan', 'ann', { parent: grants.dan.digest }, { seq: 5 }),
    revoke('dan', 'ann', { seq: 6 }),
  ]);
  t.equal(members(of), 'ann,bob,cem,dan');
});

t.test(
  'admitters that admitted each other cannot reach the grants that they were given by operators',
  async (t) => {
    const { replica, authority: of, grants } = stage();
    replica.offer([
      grant('ann', 'dan', { ...ADMITTER, parent: grants.ann.digest }, { seq: 5 }),
      grant('dan', 'ann', { ...ADMITTER, parent: grants.dan.digest }, { seq: 5 }),
      revoke('ann', 'dan', { seq: 6 }),
      revoke('dan', 'ann', { seq: 6 }),
    ]);
    t.equal(members(of), 'ann,bob,cem,dan');
  },
);

t.test('a revocation by an admitter falls with the admitter, unless it was before the cut', async (t) => {
  const { replica, authority: of } = stage();
  replica.offer([revoke('ann', 'cem', { seq: 9 }), revoke('op', 'ann', { seq: 9 }, cut(8))]);
  t.equal(members(of), 'bob,cem,dan');
  const before = stage();
  before.replica.offer([revoke('ann', 'cem', { seq: 9 }), revoke('op', 'ann', { seq: 9 }, cut(9))]);
  t.equal(members(before.authority), 'bob,dan');
});

t.test('nor does an admitter take back what hangs on it after the cut of one above it', async (t) => {
  for (const [seq, left] of [
    [5, 'ann,dan'],
    [6, 'ann,cem,dan'],
  ] as const) {
    const { replica, authority: of } = stage();
    replica.offer([revoke('ann', 'bob', { seq: 9 }, cut(5)), revoke('bob', 'cem', { seq })]);
    t.equal(members(of), left);
  }
});

t.test('an admitter whose grant has ended takes nothing back, unless it did so before', async (t) => {
  const ann = grant('op', 'ann', { ...ADMITTER, notAfter_ms: NOW + 10 }, { seq: 1 });
  const bob = grant('ann', 'bob', { parent: ann.digest }, { seq: 1 });
  for (const [at_ms, isIn] of [
    [NOW + 10, false],
    [NOW + 11, true],
  ] as const) {
    const late = revoke('ann', 'bob', { seq: 2, at_ms });
    const { authority: of } = new Replica(authority(['op'])).offer([ann, bob, late]);
    t.equal(of.isMember(key('bob')), isIn);
    t.match([...of.revocations()], [{ effective: !isIn }]);
  }
});

t.test('a key may renounce itself, and cannot make its own end worse later', async (t) => {
  const { replica, authority: of } = stage();
  replica.offer([revoke('cem', 'cem', { seq: 9 }, cut(8))]);
  t.equal(members(of), 'ann,bob,dan');
  t.ok(of.counts(own('cem', { seq: 8 })));
  const late = stage();
  late.replica.offer([revoke('op', 'cem', { seq: 9 }, cut(8)), revoke('cem', 'cem', { seq: 9 }, cut(0))]);
  t.ok(late.authority.counts(own('cem', { seq: 8 })), 'the thief of a dismissed key burns nothing down');
});

t.test(
  'what an admitter keeps of a key that it cut off does not go by that key, whatever it says then',
  async (t) => {
    const { replica, authority: of, grants } = stage();
    const more = grant('bob', 'eve', { parent: grants.bob.digest }, { seq: 4 });
    const other = grant('dan', 'bob', { ...ADMITTER, parent: grants.dan.digest }, { seq: 1 });
    const beside = grant('bob', 'fay', { parent: other.digest }, { seq: 5 });
    replica.offer([more, other, beside]);
    const keeps = [grants.cem.digest];
    replica.offer([revoke('ann', 'bob', { seq: 9 }, { ...cut(0), descendants: true, keeps })]);
    t.equal(members(of), 'ann,bob,cem,dan', 'by the word of dan');
    const whole = (each: Authority) => ['cem', 'eve', 'fay'].map((name) => each.isMember(key(name)));
    t.same(whole(of), [true, false, true]);
    for (const seq of [6, 7])
      replica.offer([revoke('bob', 'bob', { seq }, { ...cut(0), descendants: true })]);
    t.same(whole(of), [true, false, false], 'and what ann had no say in goes');
    const told = authority(['op']);
    for (const record of of.about(key('cem'))) told.add(record);
    t.ok(told.isMember(key('cem')), 'also where only that was told');
    replica.offer([revoke('op', 'bob', { seq: 9 }, { ...cut(0), descendants: true })]);
    t.same(whole(of), [false, false, false], 'an operator ends that');
  },
);

t.test('a token takes nobody back, even when its key is an admitter by another grant', async (t) => {
  const token = grant('op', 'ann', { roles: ['admit'], admits: ['member'] }, { seq: 5 });
  const eve = grant('ann', 'eve', { roles: ['member'], parent: token.digest }, { seq: 9 });
  const { replica, authority: of } = stage();
  replica.offer([token, eve, revoke('ann', 'eve', { seq: 10 })]);
  t.ok(of.isMember(key('eve')));
});

t.test('who may revoke whom can be asked before', async (t) => {
  const { replica, authority: of } = stage();
  const may = (author: string, subject: string) => of.mayRevoke(key(author), key(subject), NOW);
  for (const [author, subject, expected] of [
    ['op', 'cem', true],
    ['op', 'op', true],
    ['ann', 'bob', true],
    ['ann', 'cem', true],
    ['bob', 'ann', false],
    ['dan', 'cem', false],
    ['cem', 'cem', true],
    ['cem', 'bob', false],
    ['eve', 'bob', false],
  ] as const)
    t.equal(may(author, subject), expected, `${author} ${subject}`);
  replica.offer([revoke('op', 'cem', { seq: 9 }, cut(8))]);
  t.notOk(may('cem', 'cem'), 'who was cut off has no say, about itself neither');
});

t.test('only who could ever may write a revocation, and it must say what its key says', async (t) => {
  const { authority: of } = stage();
  const admission = (author: string, subject: string) => of.admission(revoke(author, subject, { seq: 9 }));
  t.equal(admission('op', 'ann'), 'yes');
  t.equal(admission('dan', 'ann'), 'yes', 'it will have no effect');
  t.equal(admission('cem', 'ann'), 'refused');
  t.equal(admission('cem', 'cem'), 'yes');
  t.equal(admission('eve', 'eve'), 'unknown-author');
  const good = revoke('op', 'ann', { seq: 9 });
  for (const bad of [
    { ...good, body: null },
    { ...good, body: { ...(good.body as object), subject: key('bob') } },
    { ...good, key: key('ann') },
    { ...good, key: recordKey.revoke(key('ann'), key('bob')) },
    { ...good, body: { ...(good.body as object), keeps: ['short'] } },
    {
      ...good,
      body: { ...(good.body as object), keeps: Array.from({ length: 2000 }, () => 'a'.repeat(64)) },
    },
  ])
    t.equal(of.admission(bad), 'refused');
});

t.test('each grant is told with what has become of it', async (t) => {
  const ann = grant('op', 'ann', { ...ADMITTER, notAfter_ms: NOW + 100 }, { seq: 1 });
  const token = grant(
    'ann',
    'tok',
    { roles: ['admit'], admits: ['member'], parent: ann.digest, uses: 1 },
    { seq: 2 },
  );
  const joins = ['bob', 'cem'].map((name, at) =>
    grant('tok', name, { roles: ['member'], parent: token.digest }, { seq: 1, epoch: at + 1 }),
  );
  const replica = new Replica(authority(['op'])).offer([ann, token, ...joins]);
  const [stays, goes] = joins.map(({ digest }) => digest).sort();
  const states = (now: number) =>
    Object.fromEntries([...replica.authority.grants(now)].map(({ digest, state }) => [digest, state]));
  const expected = (of: Partial<Record<string, GrantState>>) => of;
  t.match(
    states(NOW),
    expected({ [ann.digest]: 'valid', [token.digest]: 'used-up', [stays!]: 'valid', [goes!]: 'over-used' }),
  );
  t.equal(states(NOW + 101)[ann.digest], 'expired');
  replica.offer([revoke('op', 'tok', { seq: 2 }, { descendants: true, keeps: [stays!] })]);
  t.match(states(NOW), expected({ [token.digest]: 'revoked', [stays!]: 'valid', [goes!]: 'void' }));
  t.equal(replica.authority.stateOf('0'.repeat(64), NOW), undefined);
});

t.test('all that says how a key stands can be had by itself', async (t) => {
  const { replica, authority: of } = stage();
  replica.offer([revoke('ann', 'cem', { seq: 9 }), grant('op', 'far', {}, { seq: 7 })]);
  const about = of.about(key('cem'));
  t.equal(about.length, 4, 'its chain and its revocation, and nobody else');
  const alone = new Replica(authority(['op'])).offer(about.reverse()).authority;
  t.ok(alone.isRevoked(key('cem')));
  t.ok(alone.isMember(key('bob')));
});

t.test('revocations and grants count as records when they were for their author to write', async (t) => {
  const { replica, authority: of, grants } = stage();
  const good = revoke('ann', 'cem', { seq: 9 });
  const idle = revoke('dan', 'cem', { seq: 9 });
  replica.offer([good, idle]);
  t.ok(of.counts(good));
  t.notOk(of.counts(idle));
  t.ok(of.counts(grants.cem), 'it was given, whatever became of it');
  t.notOk(of.counts(fact('eve', 'grant', 'x', {}, { seq: 1 })));
});

t.test(
  'thousands of grants and as many revocations of one key are not looked at each with each',
  async (t) => {
    const of = authority(['op']);
    const ann = grant('op', 'ann', ADMITTER, { seq: 1 });
    of.add(ann);
    for (let seq = 2; seq < 202; seq += 1) {
      of.add(grant('ann', 'pup', { parent: ann.digest }, { seq }));
      of.add(revoke('ann', 'pup', { seq: seq + 1000 }));
    }
    const { lastEnd } = GrantBook.prototype;
    t.teardown(() => {
      GrantBook.prototype.lastEnd = lastEnd;
    });
    let looked = 0;
    GrantBook.prototype.lastEnd = function (grant) {
      looked += 1;
      return lastEnd.call(this, grant);
    };
    t.equal([...of.grants(NOW)].filter(({ state }) => state === 'revoked').length, 200);
    t.equal([...of.revocations()].filter(({ effective }) => effective).length, 200);
    t.ok(looked < 1_000, `${looked} were looked at`);
  },
);

t.test(
  'revocations by an admitter that was renewed often cost no look at all renewals for each',
  async (t) => {
    const many = 100;
    const of = authority(['op']);
    const ann = grant('op', 'ann', { ...ADMITTER, notAfter_ms: NOW + 9 }, { seq: 1 });
    const parent = ann.digest;
    const pup = grant('ann', 'pup', { parent }, { seq: 1 });
    for (const record of [ann, pup]) of.add(record);
    let looked = 0;
    for (let at = 0; at < many; at += 1) {
      const other = grant('ann', `other${at}`, { ...ADMITTER, parent }, { seq: 10 + at });
      const renewal = { ...(ann.body as GrantBody), parent: other.digest, renews: parent };
      const body = Object.defineProperty(renewal, 'notAfter_ms', {
        enumerable: true,
        get: () => {
          looked += 1;
          return NOW + 9;
        },
      });
      const record = fact(`other${at}`, 'grant', recordKey.grant(key('ann'), key(`other${at}`)), body, {
        seq: 1,
      });
      of.add(other);
      t.equal(of.admission(record), 'yes');
      of.add(record);
      of.add(revoke('ann', 'pup', { seq: 1000 + at }));
    }
    looked = 0;
    t.notOk(of.isMember(key('pup')));
    t.ok(looked <= 3 * many, `${looked} were looked at`);
  },
);
