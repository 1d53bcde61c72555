/** What a revocation would change is what it then changes, and asking changes nothing. */
import t from 'tap';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { foresee } from '../../../protocols/trust/outcome.ts';
import { EXPIRY_GRACE_MS } from '../../../protocols/trust/standing.ts';
import fc from '../../laws.ts';
import { ADMITTER, appoint, authority, grant, key, NOW, own, Replica, revoke } from './facts.ts';

const TOKEN = { roles: ['admit' as const], admits: ADMITTER.admits };

/** op and sen rule; op -> ann (admitter) -> token -> bob (admitter) -> cem; ann -> dan; ann made another token. */
function stage(threshold = 1) {
  const ann = grant('op', 'ann', ADMITTER, { seq: 1 });
  const token = grant('ann', 'tok', { ...TOKEN, parent: ann.digest, uses: 5 }, { seq: 1 });
  const bob = grant('tok', 'bob', { ...ADMITTER, parent: token.digest }, { seq: 1 });
  const cem = grant('bob', 'cem', { parent: bob.digest }, { seq: 3 });
  const dan = grant('ann', 'dan', { parent: ann.digest }, { seq: 2 });
  const late = grant('ann', 'two', { ...TOKEN, parent: ann.digest }, { seq: 4 });
  const grants = [ann, token, bob, cem, dan, late];
  const replica = new Replica(authority(['sen', 'op'], threshold)).offer(grants);
  return { replica, authority: replica.authority, digests: { token: token.digest, late: late.digest } };
}

const cut = (last: number, epoch = 0) => ({ cut: { epoch, last } });
const WRITTEN = [own('cem', { seq: 9 }, 'workload'), own('ann', { seq: 5 }, 'workload')];
const keys = (...names: string[]) => names.map(key);

t.test(
  'a cut tells of the hosts, tokens and records that go after it, and of the tokens that stay',
  async (t) => {
    const { authority: of, digests } = stage();
    const before = [...of.grants(NOW)];
    const late = foresee(of, { revocation: revoke('op', 'ann', { seq: 9 }, cut(2)) }, WRITTEN, NOW);
    t.same(late.members.ends, keys('ann'));
    t.same(
      late.tokens.ends.map(({ digest }) => digest),
      [digests.late],
    );
    t.same(late.records.ends, [WRITTEN[1]]);
    t.same(
      late.open.map(({ digest }) => digest),
      [digests.token],
      'what it made before can be joined with',
    );
    const early = foresee(of, { revocation: revoke('op', 'ann', { seq: 9 }, cut(0)) }, WRITTEN, NOW);
    t.same([...early.members.ends].sort(), keys('ann', 'bob', 'cem', 'dan'));
    t.same(early.records.ends, WRITTEN);
    t.same(early.open, []);
    t.same([...of.grants(NOW)], before, 'asking changed nothing');
    t.equal([...of.revocations()].length, 0);
  },
);

t.test('what is kept stays, and its token is told to be open', async (t) => {
  const { authority: of, digests } = stage();
  const kept = { ...cut(0), keeps: [digests.token] };
  const outcome = foresee(of, { revocation: revoke('op', 'ann', { seq: 9 }, kept) }, WRITTEN, NOW);
  t.same([...outcome.members.ends].sort(), keys('ann', 'dan'));
  t.same(outcome.records.ends, [WRITTEN[1]]);
  t.same(
    outcome.open.map(({ digest }) => digest),
    [digests.token],
  );
});

t.test('what the thief revoked is back', async (t) => {
  const { replica, authority: of } = stage();
  replica.offer([revoke('bob', 'cem', { seq: 7 }), appoint('op', 'new', { seq: 8 })]);
  t.same(foresee(of, { revocation: revoke('sen', 'bob', { seq: 9 }, cut(6)) }, [], NOW).members, {
    ends: keys('bob'),
    returns: keys('cem'),
  });
  t.same(foresee(of, { revocation: revoke('sen', 'op', { seq: 9 }, cut(7)) }, [], NOW).operators, {
    ends: keys('op', 'new'),
    returns: [],
  });
});

t.test('a host that stays, and may do less or more then, is told with that', async (t) => {
  const { replica, authority: of } = stage();
  const wide = grant('op', 'dan', ADMITTER, { seq: 2 });
  const brief = grant('op', 'cem', { ...ADMITTER, notAfter_ms: 1 }, { seq: 3 });
  replica.offer([wide, brief]);
  const outcome = () => foresee(of, { revocation: revoke('sen', 'op', { seq: 9 }, cut(1)) }, [], NOW);
  t.same(
    outcome().roles,
    [{ key: key('dan'), gains: [], loses: ['admitter'] }],
    'what has long ended is no loss',
  );
  t.same(outcome().members.ends, []);
  replica.offer([revoke('sen', 'op', { seq: 8 }, cut(1))]);
  t.same(outcome().roles, [], 'what is so already is no change');
  const taken = revoke('ann', 'tok', { seq: 7 }, { ...cut(0), descendants: true });
  const other = grant('op', 'bob', {}, { seq: 1 });
  const stolen = stage();
  stolen.replica.offer([other, taken]);
  t.same(
    foresee(stolen.authority, { revocation: revoke('op', 'ann', { seq: 9 }, cut(4)) }, [], NOW).roles,
    [{ key: key('bob'), gains: ['admitter'], loses: [] }],
    'what the thief took',
  );
});

t.test('hosts that are refused until another admitter renews them are told', async (t) => {
  const { replica, authority: of } = stage();
  const LIFE_MS = 600_000;
  const bob = grant('op', 'bob', ADMITTER, { seq: 1 });
  const own = grant('op', 'eve', ADMITTER, { seq: 2 });
  const host = grant('bob', 'fay', { parent: bob.digest, notAfter_ms: NOW + LIFE_MS }, { seq: 5 });
  const renewed_ms = NOW + LIFE_MS - 1;
  const until = { notAfter_ms: renewed_ms + LIFE_MS, renews: host.digest };
  const renewal = grant('eve', 'fay', { ...until, parent: own.digest }, { seq: 5, at_ms: renewed_ms });
  replica.offer([bob, own, host, renewal]);
  const all = revoke('op', 'eve', { seq: 9 }, { ...cut(5), descendants: true });
  const outcome = (revocation: LedgerRecord, at_ms: number) => foresee(of, { revocation }, [], at_ms);
  const ended_ms = NOW + LIFE_MS + EXPIRY_GRACE_MS + 1;
  for (const revocation of [all, revoke('op', 'eve', { seq: 9 }, cut(4))]) {
    t.same(outcome(revocation, ended_ms).untilRenewed, keys('fay'));
    t.same(outcome(revocation, ended_ms).members.ends, keys('eve'), 'another admitter may renew it');
    t.same(outcome(revocation, NOW).untilRenewed, [], 'by what it had before it is one yet');
  }
  t.same(outcome(revoke('op', 'eve', { seq: 9 }, cut(5)), ended_ms).untilRenewed, [], 'what it wrote stays');
  const late_ms = renewed_ms + LIFE_MS + EXPIRY_GRACE_MS + 1;
  t.same(outcome(all, late_ms).untilRenewed, [], 'who is none already is not told');
});

t.test('a member that has a role no more until another admitter renews that is told', async (t) => {
  const { replica, authority: of } = stage();
  const LIFE_MS = 600_000;
  const own = grant('op', 'eve', ADMITTER, { seq: 2 });
  const other = grant('op', 'bob', ADMITTER, { seq: 3 });
  const member = grant('op', 'fay', { roles: ['member'] }, { seq: 4 });
  const host = grant('bob', 'fay', { parent: other.digest, notAfter_ms: NOW + LIFE_MS }, { seq: 5 });
  const renewed_ms = NOW + LIFE_MS - 1;
  const until = { notAfter_ms: renewed_ms + LIFE_MS, renews: host.digest };
  const renewal = grant('eve', 'fay', { ...until, parent: own.digest }, { seq: 5, at_ms: renewed_ms });
  replica.offer([own, other, member, host, renewal]);
  const revocation = revoke('op', 'eve', { seq: 9 }, { ...cut(5), descendants: true });
  const { roles, untilRenewed } = foresee(of, { revocation }, [], NOW + LIFE_MS + EXPIRY_GRACE_MS + 1);
  t.same(roles, [{ key: key('fay'), gains: [], loses: ['worker', 'deployer'] }]);
  t.same(untilRenewed, [], 'a member it is');
});

t.test('of a host that stays it is told at which hosts that can be ended', async (t) => {
  const eve = grant('sen', 'eve', ADMITTER, { seq: 1 });
  const theirs = grant('eve', 'dan', { parent: eve.digest }, { seq: 1 });
  const tell = (...records: LedgerRecord[]) => {
    const { replica, authority: of } = stage();
    replica.offer(records);
    return foresee(of, { revocation: revoke('ann', 'dan', { seq: 9 }, cut(9)) }, [], NOW).staying;
  };
  const dan = { key: key('dan'), by: keys('eve'), at: keys('eve') };
  t.same(tell(eve, theirs), [dan]);
  const refused = revoke('sen', 'eve', { seq: 2 }, cut(9));
  t.same(tell(eve, theirs, refused), [{ ...dan, at: [] }], 'its grant counts still, and it may do nothing');
  t.same(tell(grant('op', 'dan', {}, { seq: 2 })), [{ ...dan, by: keys('op'), at: [] }], 'this is no host');
});

t.test('a vote that is not enough, or of no right, changes nothing', async (t) => {
  const { authority: of } = stage(2);
  const vote = foresee(
    of,
    { revocation: revoke('sen', 'op', { seq: 9 }, { ...cut(0), descendants: true }) },
    WRITTEN,
    NOW,
  );
  t.match(vote.revocation, { votes: 1, needed: 2, effective: false });
  const none = { ends: [], returns: [] };
  t.match(vote, { members: none, operators: none, tokens: none, records: none, roles: [] });
  t.match(foresee(of, { revocation: revoke('dan', 'ann', { seq: 9 }) }, WRITTEN, NOW).revocation, {
    votes: 0,
    effective: false,
  });
  t.throws(() => foresee(of, { revocation: own('ann', { seq: 9 }) }, [], NOW), RangeError);
});

t.test('each key is asked about once, however often it was granted something', async (t) => {
  const { authority: of } = stage();
  const { parent } = [...of.grants(NOW)].find(({ subject }) => subject === key('dan'))!;
  for (let seq = 10; seq < 60; seq += 1) of.add(grant('ann', 'pup', { parent, notAfter_ms: 1 }, { seq }));
  let asked = 0;
  const isMember = of.isMember.bind(of);
  of.isMember = (...question) => {
    asked += 1;
    return isMember(...question);
  };
  foresee(of, { revocation: revoke('op', 'ann', { seq: 9 }) }, [], NOW);
  t.equal(asked, new Set([...of.grants(NOW)].map(({ subject }) => subject)).size);
});

t.test('what is told is what then happens', async (t) => {
  const names = ['ann', 'bob', 'cem', 'dan', 'op', 'tok'];
  const hosts = keys('ann', 'bob', 'cem', 'dan');
  // Beside their other grants: by these they stay, and may do less or more.
  const beside = [grant('sen', 'bob', {}, { seq: 1 }), grant('sen', 'dan', ADMITTER, { seq: 2 })];
  const one = fc.record({
    by: fc.constantFrom('op', 'sen', 'ann', 'bob'),
    of: fc.constantFrom(...names),
    last: fc.nat(5),
    descendants: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(one, { minLength: 1, maxLength: 5 }), (acts) => {
      const { replica, authority: of } = stage();
      replica.offer(beside);
      const made = acts.map(({ by, of: subject, last, descendants }, at) =>
        revoke(by, subject, { seq: 10 + at }, { ...cut(last), descendants }),
      );
      const last = made.pop() as LedgerRecord;
      replica.offer(made);
      const members = () => new Set(keys(...names).filter((name) => of.isMember(name, NOW)));
      const counting = () => new Set(WRITTEN.filter((record) => of.counts(record)));
      const roles = () => new Map(hosts.map((name) => [name, of.roles(name, NOW)]));
      const [membersBefore, countingBefore, rolesBefore] = [members(), counting(), roles()];
      const outcome = foresee(of, { revocation: last }, WRITTEN, NOW);
      replica.offer([last]);
      const expected = <T>(before: Set<T>, after: Set<T>) => ({
        ends: new Set([...before].filter((each) => !after.has(each))),
        returns: new Set([...after].filter((each) => !before.has(each))),
      });
      const sets = <T>({ ends, returns }: { ends: readonly T[]; returns: readonly T[] }) => ({
        ends: new Set(ends),
        returns: new Set(returns),
      });
      t.same(sets(outcome.members), expected(membersBefore, members()));
      t.same(sets(outcome.records), expected(countingBefore, counting()));
      const [staying, after] = [members(), roles()];
      const changes = hosts
        .filter((host) => membersBefore.has(host) && staying.has(host))
        .map((host) => ({
          key: host,
          gains: [...after.get(host)!.difference(rolesBefore.get(host)!)],
          loses: [...rolesBefore.get(host)!.difference(after.get(host)!)],
        }))
        .filter(({ gains, loses }) => gains.length + loses.length > 0);
      t.same(new Set(outcome.roles), new Set(changes));
    }),
  );
});
