/** Ends and renewals of grants: what counts when, who renews whom, and what a renewal cannot do. */
import t from 'tap';
import type { GrantBody } from '../../../protocols/base/records.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { RENEWALS_MAX, renewalOnAppeal, renewalsDue, worriesAt } from '../../../protocols/trust/renewal.ts';
import { EXPIRY_GRACE_MS } from '../../../protocols/trust/standing.ts';
import fc from '../../laws.ts';
import { ADMITTER, authority, grant, key, NOW, own, Replica, revoke } from './facts.ts';

const LIFE_MS = 30 * 86_400_000;
const END_MS = NOW + LIFE_MS;
/** It is looked as often what is to be renewed. */
const TICK_MS = 5_000;

/** op -> ann, bob (admitters for ever), and ann -> cem for a time. */
function stage(founders = ['op']) {
  const ann = grant('op', 'ann', ADMITTER, { seq: 1 });
  const bob = grant('op', 'bob', ADMITTER, { seq: 2 });
  const cem = grant('ann', 'cem', { parent: ann.digest, notAfter_ms: END_MS }, { seq: 3 });
  const replica = new Replica(authority(founders)).offer([ann, bob, cem]);
  const renewal = (author: string, changes: Partial<GrantBody> = {}, at_ms = END_MS - 1000, seq = 9) =>
    grant(
      author,
      'cem',
      {
        parent: { ann, bob }[author]?.digest ?? null,
        notAfter_ms: at_ms + LIFE_MS,
        renews: cem.digest,
        ...changes,
      },
      { seq, at_ms },
    );
  return { replica, authority: replica.authority, grants: { ann, bob, cem }, renewal };
}

t.test('a record counts by its own stamp, a member by the clock with some grace', async (t) => {
  const { authority: of } = stage();
  t.ok(of.counts(own('cem', { seq: 1, at_ms: END_MS })));
  t.notOk(of.counts(own('cem', { seq: 2, at_ms: END_MS + 1 })));
  t.ok(of.isMember(key('cem'), END_MS + EXPIRY_GRACE_MS));
  t.notOk(of.isMember(key('cem'), END_MS + EXPIRY_GRACE_MS + 1));
  t.ok(of.isMember(key('cem')), 'without a clock it is one that may be renewed');
  t.same([...of.roles(key('cem'), END_MS * 2)], []);
  t.equal(of.memberUntil(key('cem')), END_MS);
  t.equal(of.memberUntil(key('ann')), null);
  t.equal(of.memberUntil(key('eve')), undefined);
  t.notOk(of.isRevoked(key('cem')));
});

t.test('what a grant let in before its end stays after it', async (t) => {
  const { replica, authority: of, grants } = stage();
  const timed = grant('op', 'dan', { ...ADMITTER, notAfter_ms: END_MS }, { seq: 5 });
  const eve = grant('dan', 'eve', { parent: timed.digest }, { seq: 1, at_ms: END_MS });
  const late = grant('dan', 'fay', { parent: timed.digest }, { seq: 2, at_ms: END_MS + 1 });
  replica.offer([timed, eve, late]);
  t.ok(of.isMember(key('eve'), END_MS * 2));
  t.ok(replica.held.has(late.digest), 'a renewal of its issuer may be on its way');
  t.notOk(of.isMember(key('fay'), NOW));
  t.equal(of.stateOf(late.digest, NOW), 'void');
  const { body } = timed;
  replica.offer([
    grant(
      'ann',
      'dan',
      { ...(body as GrantBody), parent: grants.ann.digest, notAfter_ms: END_MS + 5, renews: timed.digest },
      { seq: 7, at_ms: NOW + 10 },
    ),
  ]);
  t.ok(of.isMember(key('fay'), NOW), 'and was');
});

t.test('nothing is let in by what has ended and cannot be renewed', async (t) => {
  const { replica, authority: of } = stage();
  const ends = { notAfter_ms: END_MS };
  const token = grant('op', 'tok', { roles: ['admit'], admits: ADMITTER.admits, ...ends }, { seq: 5 });
  const few = grant('op', 'dan', { ...ADMITTER, ...ends, uses: 3 }, { seq: 6 });
  replica.offer([token, few]);
  for (const [author, above] of [
    ['tok', token],
    ['dan', few],
  ] as const) {
    const at = (at_ms: number) => grant(author, 'new', { parent: above.digest }, { seq: 1, at_ms });
    t.equal(of.admission(at(END_MS)), 'yes');
    t.equal(of.admission(at(END_MS + 1)), 'refused');
  }
});

t.test('a renewal by whose own grant had ended prolongs nothing, until that was renewed', async (t) => {
  const { replica, authority: of, grants, renewal } = stage();
  const dan = grant('op', 'dan', { ...ADMITTER, notAfter_ms: END_MS }, { seq: 5 });
  const late = renewal('dan', { parent: dan.digest }, END_MS + 1);
  replica.offer([dan, late]);
  t.equal(of.memberUntil(key('cem')), END_MS);
  t.notOk(of.isMember(key('cem'), END_MS * 2));
  const body = { ...(dan.body as GrantBody), notAfter_ms: END_MS + 1, renews: dan.digest };
  replica.offer([grant('bob', 'dan', { ...body, parent: grants.bob.digest }, { seq: 6, at_ms: NOW + 10 })]);
  t.equal(of.memberUntil(key('cem')), END_MS + 1 + LIFE_MS);
});

t.test('two may renew one another for ever, also where each has dropped what it began with', async (t) => {
  const { replica, authority: of } = stage();
  const [dan, eve] = ['dan', 'eve'].map((name, at) =>
    grant('op', name, { ...ADMITTER, notAfter_ms: END_MS }, { seq: 5 + at }),
  ) as [LedgerRecord, LedgerRecord];
  const renew = (author: string, subject: string, own: LedgerRecord, other: LedgerRecord, at_ms: number) =>
    grant(
      author,
      subject,
      {
        ...(other.body as GrantBody),
        ...{ parent: own.digest, renews: other.digest, notAfter_ms: at_ms + LIFE_MS },
      },
      { seq: 9, at_ms },
    );
  const last_ms = END_MS + LIFE_MS;
  const renewals = [renew('dan', 'eve', dan, eve, last_ms), renew('eve', 'dan', eve, dan, last_ms)];
  replica.offer([dan, eve, ...renewals]);
  for (const name of ['dan', 'eve']) t.equal(of.memberUntil(key(name)), last_ms + LIFE_MS);
  replica.offer([revoke('op', 'dan', { seq: 20 }, { descendants: true })]);
  t.equal(of.memberUntil(key('eve')), END_MS, 'and who falls takes what it has renewed with it');
});

t.test('a renewal prolongs, and shares the fate of what it prolongs', async (t) => {
  const { replica, authority: of, renewal } = stage();
  replica.offer([renewal('bob')]);
  t.equal(of.memberUntil(key('cem')), END_MS - 1000 + LIFE_MS);
  t.ok(of.counts(own('cem', { seq: 2, at_ms: END_MS + 1 })));
  t.ok(of.mayRevoke(key('ann'), key('cem'), NOW), 'who let it in may still take that back');
  const both = stage();
  both.replica.offer([both.renewal('bob'), revoke('ann', 'cem', { seq: 20 })]);
  t.notOk(both.authority.isMember(key('cem')));
  const fallen = stage();
  fallen.replica.offer([
    fallen.renewal('bob'),
    revoke('op', 'ann', { seq: 20 }, { cut: { epoch: 0, last: 2 } }),
  ]);
  t.notOk(fallen.authority.isMember(key('cem')), 'nor does it outlive the right by which it was given');
});

/** op -> top -> ann -> cem for a time, and op -> bob -> dan; dan has renewed cem. All others are admitters. */
function renewedByAnother() {
  const top = grant('op', 'top', ADMITTER, { seq: 1 });
  const ann = grant('top', 'ann', { ...ADMITTER, parent: top.digest }, { seq: 1 });
  const bob = grant('op', 'bob', ADMITTER, { seq: 2 });
  const dan = grant('bob', 'dan', { ...ADMITTER, parent: bob.digest }, { seq: 1 });
  const cem = grant('ann', 'cem', { parent: ann.digest, notAfter_ms: END_MS }, { seq: 1 });
  const until_ms = END_MS - 1000 + LIFE_MS;
  const renewed = { ...(cem.body as GrantBody), renews: cem.digest, notAfter_ms: until_ms };
  const renewal = grant('dan', 'cem', { ...renewed, parent: dan.digest }, { seq: 2, at_ms: END_MS - 1000 });
  const replica = new Replica(authority(['op'])).offer([top, ann, bob, dan, cem, renewal]);
  return { replica, authority: replica.authority, renewal, cem, until_ms };
}

t.test('who has renewed a host takes it back from nobody, nor does an admitter above that one', async (t) => {
  for (const name of ['dan', 'bob']) {
    const { replica, authority: of, renewal, until_ms } = renewedByAnother();
    t.notOk(of.mayRevoke(key(name), key('cem'), NOW));
    const said = revoke(name, 'cem', { seq: 20 });
    replica.offer([said]);
    t.notOk(of.counts(said));
    t.ok(of.counts(renewal));
    t.equal(of.memberUntil(key('cem')), until_ms, name);
    t.equal(of.stateOf(renewal.digest, NOW), 'valid');
  }
});

t.test('who let a host in, or is above that one, takes it back whoever has renewed it last', async (t) => {
  for (const name of ['op', 'top', 'ann']) {
    const { replica, authority: of, renewal, cem } = renewedByAnother();
    t.ok(of.mayRevoke(key(name), key('cem'), NOW));
    replica.offer([revoke(name, 'cem', { seq: 20 })]);
    t.equal(of.memberUntil(key('cem')), undefined, name);
    t.ok(of.isRevoked(key('cem')));
    for (const { digest } of [cem, renewal]) t.equal(of.stateOf(digest, NOW), 'revoked');
    t.notOk(of.counts(own('cem', { seq: 1 })));
  }
});

t.test('a renewal goes with the key that wrote it, whoever takes that with its descendants', async (t) => {
  for (const [by, subject] of [
    ['op', 'dan'],
    ['bob', 'dan'],
    ['op', 'bob'],
  ] as const) {
    const { replica, authority: of, renewal } = renewedByAnother();
    replica.offer([revoke(by, subject, { seq: 20 }, { descendants: true })]);
    t.equal(of.memberUntil(key('cem')), END_MS, `${subject} by ${by}`);
    t.equal(of.stateOf(renewal.digest, NOW), 'void');
  }
});

t.test('what an operator gave is for operators alone to take back, whoever has renewed it', async (t) => {
  const { replica, authority: of } = stage();
  const dan = grant('op', 'dan', { notAfter_ms: END_MS }, { seq: 5 });
  replica.offer([dan]);
  const now = END_MS - 1000;
  const [body] = renewalsDue({ authority: of, self: key('bob'), alive: ['bob', 'dan'].map(key), now });
  replica.offer([grant('bob', 'dan', body!, { seq: 6, at_ms: now }), revoke('bob', 'dan', { seq: 7 })]);
  t.notOk(of.mayRevoke(key('bob'), key('dan'), now));
  t.equal(of.memberUntil(key('dan')), now + LIFE_MS);
  replica.offer([revoke('op', 'dan', { seq: 8 })]);
  t.notOk(of.isMember(key('dan')));
});

t.test('whatever has been said against a host, each renewal of it that is written prolongs it', async (t) => {
  // Whose key says so: who has renewed it, and an admitter above that one.
  for (const name of ['dan', 'bob'])
    for (const isAsked of [false, true]) {
      const { replica, authority: of, until_ms } = renewedByAnother();
      replica.offer([revoke(name, 'cem', { seq: 20, at_ms: END_MS })]);
      const self = key('dan');
      let now = until_ms - LIFE_MS / 3 - 3 * TICK_MS;
      let written = 0;
      for (let tick = 0; tick < 10; tick += 1) {
        const asked = isAsked ? renewalOnAppeal(of, self, key('cem'), now) : undefined;
        const due = renewalsDue({ authority: of, self, alive: [self, key('cem')], now });
        for (const body of isAsked ? (asked === undefined ? [] : [asked]) : due) {
          replica.offer([grant('dan', 'cem', body, { seq: 30 + tick, at_ms: now })]);
          t.equal(of.memberUntil(key('cem')), now + LIFE_MS);
          written += 1;
        }
        now += TICK_MS;
      }
      t.equal(written, 1, `${name}, ${isAsked ? 'when it asked' : 'when it was due'}`);
    }
});

t.test('a renewal that was not for its issuer to give prolongs nothing', async (t) => {
  const { replica, authority: of, renewal } = stage();
  replica.offer([renewal('bob'), revoke('op', 'bob', { seq: 20 }, { cut: { epoch: 0, last: 8 } })]);
  t.equal(of.memberUntil(key('cem')), END_MS);
});

t.test('a renewal is like what it renews, and no longer', async (t) => {
  const { replica, authority: of, renewal, grants } = stage();
  t.equal(of.admission(renewal('bob')), 'yes');
  t.equal(of.admission(renewal('op')), 'yes', 'an operator may too');
  for (const [what, changes] of Object.entries<Partial<GrantBody>>({
    'another role': { roles: ['member', 'worker', 'deployer', 'admitter'] },
    'more to hand on': { admits: ['member'] },
    'another count of uses': { uses: 3 },
    'another limit of the lives below it': { life_ms: 5 },
    'no end': { notAfter_ms: null },
    'a longer life': { notAfter_ms: END_MS - 1000 + LIFE_MS + 1 },
    'another subject': { subject: key('eve') },
    'what never ends': { renews: grants.ann.digest },
  }))
    t.equal(of.admission(renewal('bob', changes)), 'refused', what);
  const few = grant(
    'ann',
    'fay',
    { ...ADMITTER, parent: grants.ann.digest, notAfter_ms: END_MS, uses: 1 },
    {
      seq: 4,
    },
  );
  replica.offer([few]);
  const again = { ...(few.body as GrantBody), parent: null, renews: few.digest };
  t.equal(of.admission(grant('op', 'fay', again, { seq: 7 })), 'refused', 'what may let in few');
  t.same(renewalsDue({ authority: of, self: key('op'), alive: [key('fay')], now: END_MS - 1 }), []);
  t.equal(of.admission(renewal('bob', { renews: 'a'.repeat(64) })), 'unknown-author');
  t.equal(of.admission(renewal('cem', { parent: grants.cem.digest })), 'refused', 'its own');
  const token = grant('op', 'tok', { roles: ['admit'], admits: ADMITTER.admits, uses: 1 }, { seq: 5 });
  replica.offer([token]);
  t.equal(of.admission(grant('tok', 'new', { parent: token.digest }, { seq: 1 })), 'yes');
  t.equal(of.admission(renewal('tok', { parent: token.digest })), 'refused', 'a token lets in, no more');
});

t.test('nothing hangs on a renewal: another may take its place', async (t) => {
  const { replica, authority: of, grants } = stage();
  const timed = grant('op', 'dan', { ...ADMITTER, notAfter_ms: END_MS }, { seq: 5 });
  const renewed: Partial<GrantBody> = { ...(timed.body as GrantBody), renews: timed.digest };
  const renewal = grant('bob', 'dan', { ...renewed, parent: grants.bob.digest }, { seq: 6 });
  replica.offer([timed, renewal]);
  const child = (parent: string) => of.admission(grant('dan', 'eve', { parent }, { seq: 1 }));
  t.equal(child(timed.digest), 'yes');
  t.equal(child(renewal.digest), 'refused');
  t.equal(of.issuing(key('dan'), END_MS)?.digest, timed.digest, 'nor is it offered for that');
});

t.test('of the renewals by one admitter the longest is kept, in whatever order they come', async (t) => {
  const { replica, renewal } = stage();
  const three = [1, 2, 3].map((at) => renewal('bob', {}, NOW + at * 1000, 9 + at));
  const other = renewal('op', {}, NOW + 500, 4);
  fc.assert(
    fc.property(fc.shuffledSubarray([...three, other], { minLength: 4 }), (order) => {
      const each = stage();
      for (const record of order) each.replica.offer([record]);
      each.replica.offer(order);
      return (
        each.replica.held.size === 5 &&
        each.replica.held.has(three[2]!.digest) &&
        each.replica.held.has(other.digest)
      );
    }),
  );
  replica.offer(three);
  t.equal(replica.held.size, 4);
});

t.test(
  'of the renewals by a revoked admitter the one that a senior keeps stays, beside the last to end',
  async (t) => {
    const { renewal } = stage();
    const [kept, longer, last] = [1, 2, 3].map((at) => renewal('bob', {}, NOW + at * 1000, 9 + at)) as [
      LedgerRecord,
      LedgerRecord,
      LedgerRecord,
    ];
    const revocation = revoke('op', 'bob', { seq: 20 }, { descendants: true, keeps: [kept.digest] });
    fc.assert(
      fc.property(fc.shuffledSubarray([kept, longer, last, revocation], { minLength: 4 }), (order) => {
        const { replica, authority: of } = stage();
        for (const record of order) replica.offer([record]);
        return (
          replica.held.has(kept.digest) &&
          !replica.held.has(longer.digest) &&
          replica.held.size === 6 &&
          of.memberUntil(key('cem')) === NOW + 1000 + LIFE_MS
        );
      }),
    );
    const junior = stage();
    const byAnn = revoke('ann', 'bob', { seq: 20 }, { keeps: [kept.digest] });
    junior.replica.offer([kept, longer, byAnn]);
    t.notOk(junior.replica.held.has(kept.digest), 'who has stolen a key could keep any number');
  },
);

t.test('who names the renewals by an admitter stops none to come, whoever ends that', async (t) => {
  const { renewal } = stage();
  const renewals = [1, 2, 3].map((at) => renewal('ann', {}, NOW + at * 1000, 9 + at));
  const [first, second, third] = renewals as [LedgerRecord, LedgerRecord, LedgerRecord];
  // As a thief does of a junior key, after which the senior answers.
  const named = [first, second].map((each, at) =>
    revoke('op', 'ann', { seq: 20 + at }, { keeps: [each.digest], cut: { epoch: 9, last: 9 } }),
  );
  const answer = revoke('rec', 'op', { seq: 1 }, { cut: { epoch: 0, last: 19 } });
  fc.assert(
    fc.property(fc.shuffledSubarray([...renewals, ...named, answer], { minLength: 6 }), (order) => {
      const { replica, authority: of } = stage(['rec', 'op']);
      for (const record of order) replica.offer([record]);
      replica.offer(order);
      return replica.held.size === 9 && of.memberUntil(key('cem')) === NOW + 3000 + LIFE_MS;
    }),
  );
  const { replica, authority: of } = stage(['rec', 'op']);
  replica.offer([...renewals, ...named]);
  t.same(of.remove(named[0]!), [first]);
  t.same(of.surplus(first), [first], 'it goes once nobody names it');
  t.same(of.surplus(second), []);
  t.same(of.surplusRenewals(), [first]);
  t.same(of.remove(named[1]!), [second]);
  t.same(of.surplus(third), []);
  t.same(of.surplusRenewals().length, 2);
});

t.test('one admitter renews in the last third, and another when the first does not', async (t) => {
  const { authority: of, replica } = stage();
  const alive = ['ann', 'bob', 'cem'].map(key);
  const due = (self: string, now: number) =>
    renewalsDue({ authority: of, self: key(self), alive, now }).map(({ subject }) => subject);
  const third = END_MS - LIFE_MS / 3;
  const writers = (now: number) => ['ann', 'bob'].filter((name) => due(name, now).length > 0);
  t.same(writers(third - 1), []);
  t.equal(writers(third).length, 1);
  t.equal(writers(third + LIFE_MS / 60 - 1).length, 1);
  t.same(writers(third + LIFE_MS / 60), ['ann', 'bob']);
  t.same(due('cem', END_MS), [], 'who may not admit renews nobody');
  t.same(
    due('op', third + LIFE_MS / 60),
    [],
    'an operator whose key is on some host comes after all admitters',
  );
  t.same(due('op', third + LIFE_MS / 30), [key('cem')]);
  const [first] = writers(third);
  const [body] = renewalsDue({ authority: of, self: key(first!), alive, now: third });
  const record = grant(first!, 'cem', body!, { seq: 30, at_ms: third });
  t.equal(of.admission(record), 'yes');
  replica.offer([record]);
  t.same(writers(END_MS), [], 'it is done');
  t.equal(worriesAt(of, key('cem'), END_MS), third + LIFE_MS - LIFE_MS / 6);
  t.equal(worriesAt(of, key('ann'), END_MS), undefined);
});

t.test('an admitter renews by a grant that gives what it takes, whatever else it was granted', async (t) => {
  const { replica, authority: of, grants } = stage();
  const eve = grant('op', 'eve', ADMITTER, { seq: 5 });
  const little: Partial<GrantBody>[] = [
    { roles: ['admit'], admits: [] },
    { roles: ['member', 'admitter'], admits: ['member'] },
    { ...ADMITTER, life_ms: 1, notAfter_ms: NOW + 1 },
  ];
  const junk = little.flatMap((changes, at) => {
    const all = Array.from({ length: 20 }, (_, one) =>
      grant('eve', 'ann', { ...changes, parent: eve.digest }, { seq: 100 * at + one }),
    );
    return all.filter(({ digest }) => digest < grants.ann.digest).slice(0, 2);
  });
  t.ok(junk.length >= 2, 'before it in the order of digests');
  replica.offer([eve, ...junk]);
  const self = key('ann');
  const now = END_MS - 1000;
  t.match(renewalsDue({ authority: of, self, alive: [self, key('cem')], now }), [{ subject: key('cem') }]);
  t.equal(renewalOnAppeal(of, self, key('cem'), now)?.parent, grants.ann.digest);
  t.equal(of.issuing(self, NOW)?.digest, grants.ann.digest, 'the one that limits least');
});

t.test('what an admitter may not prolong keeps it from prolonging nothing else', async (t) => {
  const junk: Record<string, Partial<GrantBody>> = {
    'lets in for ever': { ...ADMITTER, roles: ['member', 'admitter'] },
    'gives more, and lets in for ever': ADMITTER,
    'may let in few': { ...ADMITTER, life_ms: 1, uses: 0 },
    'is to live for longer': { notAfter_ms: END_MS + LIFE_MS },
    'ended a life ago': { ...ADMITTER, life_ms: 1 },
  };
  for (const [what, changes] of Object.entries(junk)) {
    const { replica, authority: of, grants } = stage();
    const dan = grant('bob', 'dan', { ...ADMITTER, life_ms: LIFE_MS, parent: grants.bob.digest }, { seq: 3 });
    const eve = grant('op', 'eve', ADMITTER, { seq: 4 });
    const late = what === 'ended a life ago';
    const body = { notAfter_ms: END_MS + 1, ...changes, parent: eve.digest };
    replica.offer([dan, eve, grant('eve', 'cem', body, { seq: 1, at_ms: late ? END_MS : NOW })]);
    const [self, cem] = [key('dan'), key('cem')];
    const now = late ? END_MS + 1000 : END_MS - 1000;
    const due = renewalsDue({ authority: of, self, alive: [self, cem], now });
    for (const each of [...due, renewalOnAppeal(of, self, cem, now)!]) {
      t.equal(each?.renews, grants.cem.digest, what);
      t.equal(of.admission(grant('dan', 'cem', each, { seq: 50, at_ms: now })), 'yes');
    }
    t.equal(due.length, 1, what);
  }
});

t.test('what an admitter issues hangs on no other one that has granted it as much since', async (t) => {
  const { replica, authority: of, grants } = stage();
  const eve = grant('op', 'eve', ADMITTER, { seq: 5 });
  const dan = grant('bob', 'dan', { ...ADMITTER, life_ms: LIFE_MS, parent: grants.bob.digest }, { seq: 6 });
  const fay = grant('dan', 'fay', { parent: dan.digest, notAfter_ms: END_MS }, { seq: 7 });
  const wide: Partial<GrantBody> = { ...ADMITTER, parent: eve.digest };
  const before = (subject: string, than: { readonly digest: string }) => {
    for (let seq = 100; ; seq += 1) {
      const found = grant('eve', subject, wide, { seq });
      if (found.digest < than.digest) return found;
    }
  };
  replica.offer([eve, dan, fay, before('ann', grants.ann), before('bob', grants.bob), before('dan', dan)]);
  t.equal(of.issuing(key('ann'), NOW)?.digest, grants.ann.digest);
  t.equal(of.issuing(key('bob'), NOW)?.digest, grants.bob.digest, 'the one nearest to genesis');
  t.equal(of.issuing(key('dan'), NOW)?.digest, dan.digest, 'or the one that it has issued by');
  const nearer = grant('op', 'dan', { ...ADMITTER, life_ms: LIFE_MS }, { seq: 8 });
  replica.offer([nearer]);
  t.equal(of.issuing(key('dan'), NOW)?.digest, dan.digest, 'also where another one is nearer to genesis');
  t.notOk(of.mayRevoke(key('eve'), key('fay'), NOW));
});

t.test('what gives more is renewed beside what lasts longer and gives less', async (t) => {
  const { replica, authority: of, grants } = stage();
  const now = END_MS - 1000;
  const alive = ['bob', 'cem'].map(key);
  const due = (at_ms = now) => renewalsDue({ authority: of, self: key('bob'), alive, now: at_ms });
  const longer = { ...(grants.cem.body as GrantBody), roles: ['member' as const] };
  replica.offer([
    grant('ann', 'cem', { ...longer, notAfter_ms: null, parent: grants.ann.digest }, { seq: 50 }),
    grant('ann', 'cem', { ...longer, notAfter_ms: 1.5 * END_MS, parent: grants.ann.digest }, { seq: 51 }),
  ]);
  t.equal(of.memberUntil(key('cem')), null);
  t.same(
    due().map(({ renews }) => renews),
    [grants.cem.digest],
  );
  t.equal(renewalOnAppeal(of, key('bob'), key('cem'), now)?.renews, grants.cem.digest);
  t.equal(worriesAt(of, key('cem'), now), END_MS - LIFE_MS / 6);
  t.same(due(END_MS + LIFE_MS + 1), [], 'what it let go for a whole life stays gone');
  t.equal(worriesAt(of, key('cem'), END_MS + LIFE_MS + 1), undefined);
  replica.offer([grant('bob', 'cem', { ...due()[0] }, { seq: 52, at_ms: now })]);
  t.same(due(), []);
  t.ok(of.roles(key('cem'), END_MS + LIFE_MS / 2).has('worker'));
});

t.test(
  'of thousands of grants each is judged once, however often it is asked when its member ends',
  async (t) => {
    const { replica, authority: of, renewal } = stage();
    let looks = 0;
    const counted = (record: LedgerRecord): LedgerRecord =>
      Object.defineProperty({ ...record }, 'author', {
        get: () => {
          looks += 1;
          return record.author;
        },
      });
    const junk = Array.from({ length: 1000 }, (_, seq) =>
      grant('eve', 'cem', { parent: 'e'.repeat(64), notAfter_ms: END_MS + seq }, { seq }),
    );
    replica.offer([renewal('bob')]);
    const before = [of.memberUntil(key('cem')), of.renewables(key('cem'))];
    for (const record of junk) of.add(counted(record));
    t.ok(of.isMember(key('cem'), NOW));
    looks = 0;
    t.same([of.memberUntil(key('cem')), of.renewables(key('cem'))], before);
    t.equal(of.memberUntil(key('cem')), END_MS - 1000 + LIFE_MS);
    t.equal(looks, 0);
  },
);

t.test('an admitter whose chain is as long as one may be has nothing to renew', async (t) => {
  const { replica, authority: of, grants } = stage();
  let parent = grants.ann.digest;
  for (let length = 2; length <= 8; length += 1) {
    const [by, name] = [length === 2 ? 'ann' : `a${length - 1}`, `a${length}`];
    const below = grant(by, name, { ...ADMITTER, parent }, { seq: 20 });
    replica.offer([below]);
    parent = below.digest;
  }
  const self = (name: string) => ({
    authority: of,
    self: key(name),
    alive: [key('cem')],
    now: END_MS - 1000,
  });
  t.ok(of.isMember(key('a8')));
  for (const [name, count] of [
    ['a7', 1],
    ['a8', 0],
  ] as const) {
    const due = renewalsDue(self(name));
    t.equal(due.length, count, name);
    for (const body of due) {
      const renewal = grant(name, 'cem', body, { seq: 30, at_ms: END_MS - 1000 });
      t.equal(of.admission(renewal), 'yes');
    }
  }
});

t.test('members that are not alive, revoked, or for ever are not renewed; and not all at once', async (t) => {
  const { authority: of, replica, grants } = stage();
  const now = END_MS - 1000;
  const due = (alive: string[]) =>
    renewalsDue({ authority: of, self: key('bob'), alive: alive.map(key), now });
  t.same(due(['ann', 'bob']), []);
  t.equal(due(['bob', 'cem']).length, 1);
  replica.offer([revoke('op', 'cem', { seq: 20 })]);
  t.same(due(['bob', 'cem']), []);
  const many = Array.from({ length: RENEWALS_MAX + 10 }, (_, at) => `n${at}`);
  replica.offer(
    many.map((name, at) =>
      grant('ann', name, { parent: grants.ann.digest, notAfter_ms: END_MS }, { seq: 100 + at }),
    ),
  );
  t.equal(due(['bob', ...many]).length, RENEWALS_MAX);
});

t.test('whoever asks late is renewed for one life more, and not after', async (t) => {
  const { authority: of } = stage();
  const asked = (self: string, now: number) => renewalOnAppeal(of, key(self), key('cem'), now) !== undefined;
  t.notOk(asked('bob', END_MS - LIFE_MS / 3 - 1), 'it is not due');
  t.ok(asked('bob', END_MS + LIFE_MS));
  t.notOk(asked('bob', END_MS + LIFE_MS + 1));
  t.ok(asked('op', END_MS));
  t.notOk(asked('cem', END_MS));
  t.notOk(asked('eve', END_MS));
});

t.test(
  'whose renewals are void, for their admitter was revoked, is renewed as if it had just ended',
  async (t) => {
    const { replica, authority: of, renewal } = stage();
    // Renewed again and again; of one admitter's the last stays, which here came when it was cut off already.
    let until_ms = END_MS;
    for (let seq = 10; seq < 20; seq += 1) {
      replica.offer([renewal('bob', {}, until_ms - 1, seq)]);
      until_ms += LIFE_MS - 1;
    }
    t.equal(of.memberUntil(key('cem')), until_ms);
    replica.offer([revoke('op', 'bob', { seq: 9, at_ms: until_ms }, { cut: { epoch: 0, last: 18 } })]);
    t.equal(of.memberUntil(key('cem')), END_MS);
    for (const admitter of ['op', 'ann']) {
      const body = renewalOnAppeal(of, key(admitter), key('cem'), until_ms + LIFE_MS);
      t.match(body, { subject: key('cem'), notAfter_ms: until_ms + 2 * LIFE_MS });
      t.equal(renewalOnAppeal(of, key(admitter), key('cem'), until_ms + LIFE_MS + 1), undefined);
    }
  },
);

t.test('whoever is in force, exactly one admitter is first for each member', async (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 8 }), (admitters, members) => {
      const names = Array.from({ length: admitters }, (_, at) => `admitter-${at}`);
      const subjects = Array.from({ length: members }, (_, at) => `subject-${at}`);
      const replica = new Replica(authority(['op'])).offer([
        ...names.map((name, at) => grant('op', name, ADMITTER, { seq: at + 1 })),
        ...subjects.map((name, at) => grant('op', name, { notAfter_ms: END_MS }, { seq: 50 + at })),
      ]);
      const alive = [...names, ...subjects].map(key);
      const now = END_MS - LIFE_MS / 3;
      const due = names.flatMap((name) =>
        renewalsDue({ authority: replica.authority, self: key(name), alive, now }),
      );
      return due.length === members && new Set(due.map(({ subject }) => subject)).size === members;
    }),
    { numRuns: 60 },
  );
  t.pass();
});
