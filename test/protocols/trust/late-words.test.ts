/** What a key that was cut off, or dismissed, can still say: under new numbers, and under old ones with old stamps. */
import t from 'tap';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { ADMITTER, appoint, authority, fact, grant, key, NOW, Replica, revoke } from './facts.ts';

const LATER_MS = NOW + 86_400_000;

t.test(
  'a host that an admitter revoked stays out, whatever that says of itself once it was cut off',
  async (t) => {
    for (const by of ['adm', 'op']) {
      const adm = grant('op', 'adm', ADMITTER, { seq: 1 });
      const eve = grant('adm', 'eve', { ...ADMITTER, parent: adm.digest }, { seq: 2 });
      const bad = grant('eve', 'bad', { parent: eve.digest }, { seq: 1 });
      const good = grant('eve', 'good', { parent: eve.digest }, { seq: 2 });
      const { authority: of } = new Replica(authority(['op']))
        .offer([adm, eve, bad, good, revoke('eve', 'bad', { seq: 3 })])
        .offer([revoke(by, 'eve', { seq: 9 }, { cut: { epoch: 0, last: 3 } })])
        .offer([revoke('eve', 'eve', { seq: 4, at_ms: LATER_MS })]);
      t.notOk(of.isMember(key('bad')), by);
      t.ok(of.isMember(key('good')), by);
    }
  },
);

t.test(
  'what a host wrote before an admitter cut it off counts, whatever it says of itself then',
  async (t) => {
    for (const by of ['adm', 'op']) {
      const adm = grant('op', 'adm', ADMITTER, { seq: 1 });
      const host = grant('adm', 'host', { parent: adm.digest }, { seq: 2 });
      const [before, after] = [1, 5].map((seq) => fact('host', 'workload', 'default/web', {}, { seq }));
      const { authority: of } = new Replica(authority(['op']))
        .offer([adm, host, revoke(by, 'host', { seq: 9 }, { cut: { epoch: 0, last: 3 } })])
        .offer([revoke('host', 'host', { seq: 4, at_ms: LATER_MS })]);
      t.ok(of.counts(before!), by);
      t.notOk(of.counts(after!), by);
    }
  },
);

t.test(
  'whom a revocation keeps can be sent away by nothing that the revoked key signs, whatever its number',
  async (t) => {
    for (const by of ['adm', 'op']) {
      const adm = grant('op', 'adm', ADMITTER, { seq: 1 });
      const eve = grant('adm', 'eve', { ...ADMITTER, parent: adm.digest }, { seq: 2 });
      const pat = grant('eve', 'pat', { ...ADMITTER, parent: eve.digest }, { seq: 5 });
      const quinn = grant('pat', 'quinn', { parent: pat.digest }, { seq: 1 });
      const bad = grant('pat', 'bad', { parent: pat.digest }, { seq: 2 });
      const rightful = revoke('eve', 'bad', { seq: 6 });
      const old = { seq: 1, at_ms: NOW - 1_000 };
      const kept = { cut: { epoch: 0, last: 9 }, descendants: true, keeps: [pat.digest, rightful.digest] };
      for (const late of [
        revoke('eve', 'eve', old, { descendants: true }),
        ...['pat', 'quinn'].map((host) => revoke('eve', host, old)),
      ]) {
        const { authority: of } = new Replica(authority(['op']))
          .offer([adm, eve, pat, quinn, bad, rightful, late])
          .offer([revoke(by, 'eve', { seq: 9 }, kept)]);
        t.same(
          ['eve', 'pat', 'quinn', 'bad'].map((name) => of.isMember(key(name))),
          [false, true, true, false],
          by,
        );
        const told = new Replica(authority(['op'])).offer([late, ...of.about(key('quinn'))]).authority;
        t.ok(told.isMember(key('quinn')), 'and who is told of it takes that for no reason');
      }
    }
  },
);

t.test('a key that ended itself says no more of itself once an operator has revoked it', async (t) => {
  const eve = grant('op', 'eve', ADMITTER, { seq: 1 });
  const host = grant('eve', 'host', { parent: eve.digest }, { seq: 5 });
  const old = { seq: 1, at_ms: NOW - 1_000 };
  const replica = new Replica(authority(['op'])).offer([eve, host, revoke('eve', 'eve', old)]);
  t.notOk(replica.authority.isMember(key('host')));
  replica.offer([revoke('op', 'eve', { seq: 9 }, { cut: { epoch: 0, last: 9 } })]);
  t.ok(replica.authority.isMember(key('host')));
  t.notOk(replica.authority.isMember(key('eve')));
});

t.test('an operator that was dismissed appoints nobody, under whatever number and stamp', async (t) => {
  const inForce = (...more: readonly LedgerRecord[]) =>
    new Replica(authority(['rec', 'op']))
      .offer(more)
      .authority.operators()
      .filter((operator) => operator.inForce)
      .map((operator) => operator.key.replaceAll('.', ''));
  const cut = { epoch: 5, last: 9 };
  const late = appoint('op', 'evil', { epoch: 3, seq: 1, at_ms: LATER_MS });
  const old = appoint('op', 'evil', { epoch: 3, seq: 1 });
  t.same(inForce(revoke('rec', 'op', { seq: 1 }, { cut }), late), ['rec'], 'its stamp is later');
  t.same(inForce(revoke('rec', 'op', { seq: 1 }, { cut }), old), ['rec', 'evil'], 'that may be as old');
  t.same(inForce(revoke('rec', 'op', { seq: 1 }, { cut, descendants: true }), old), ['rec']);
  const keeps = [old.digest];
  t.same(inForce(revoke('rec', 'op', { seq: 1 }, { cut, descendants: true, keeps }), old), ['rec', 'evil']);
});

t.test('a vote or a revocation that is named stays, whatever its number and stamp', async (t) => {
  const bad = grant('rec', 'bad', {}, { seq: 2 });
  const at = { seq: 7, at_ms: LATER_MS };
  const [vote, rightful] = [appoint('op', 'new', at), revoke('op', 'bad', { ...at, seq: 8 })];
  const keeps = [vote.digest, rightful.digest];
  const naming = (last: number, descendants: boolean) =>
    revoke('rec', 'op', { seq: last }, { cut: { epoch: 0, last }, descendants, keeps });
  const bare = (at_ms: number) => revoke('rec', 'op', { seq: 20, at_ms }, { cut: { epoch: 0, last: 9 } });
  const told = (records: readonly LedgerRecord[]) => {
    const { authority: of } = new Replica(authority(['rec', 'op'])).offer(records);
    return [of.operators().filter(({ inForce }) => inForce).length, of.isMember(key('bad'))];
  };
  const both = [bad, vote, rightful];
  for (const [what, others, expected] of [
    ['named', [naming(5, false)], [2, false]],
    ['named with descendants', [naming(5, true)], [2, false]],
    ['named by each', [naming(5, true), naming(6, false)], [2, false]],
    ['named by one, and left by the other', [naming(9, true), bare(LATER_MS)], [2, false]],
    ['named by one, and later than the other', [naming(9, true), bare(NOW)], [1, true]],
  ] as const)
    for (const order of [[...both, ...others], [...others, ...both], [...both, ...others].toReversed()])
      t.same(told(order), expected, what);
});

t.test('nor does it send anybody away, itself included', async (t) => {
  const [host, other] = [grant('op', 'host', {}, { seq: 1 }), grant('rec', 'other', {}, { seq: 1 })];
  const rightful = [revoke('op', 'bad', { seq: 3 }), grant('rec', 'bad', {}, { seq: 2 })];
  const kept = {
    ...{ cut: { epoch: 5, last: 9 }, descendants: true },
    keeps: [host.digest, rightful[0]!.digest],
  };
  const old = { epoch: 3, seq: 1, at_ms: NOW - 1_000 };
  for (const late of ['host', 'other', 'third', 'op'].map((name) =>
    revoke('op', name, old, { descendants: true }),
  )) {
    const { authority: of } = new Replica(authority(['rec', 'op', 'third']))
      .offer([host, other, ...rightful, late])
      .offer([revoke('rec', 'op', { seq: 9 }, kept)]);
    t.same(
      ['host', 'other', 'bad'].map((name) => of.isMember(key(name))),
      [true, true, false],
    );
    t.same(
      of.operators().map(({ inForce }) => inForce),
      [true, false, true],
    );
    for (const each of ['host', 'other']) {
      const told = new Replica(authority(['rec', 'op', 'third'])).offer([late, ...of.about(key(each))]);
      t.ok(told.authority.isMember(key(each)), `as ${each} is told`);
    }
  }
});

t.test('an operator has no say in what is left of it where others are enough to dismiss it', async (t) => {
  const puppet = grant('op', 'puppet', {}, { seq: 2 });
  const own = revoke('op', 'op', { seq: 1 }, { cut: { epoch: 0, last: 5 }, keeps: [puppet.digest] });
  const votes = ['a', 'c'].map((by) =>
    revoke(by, 'op', { seq: 1 }, { cut: { epoch: 0, last: 5 }, descendants: true }),
  );
  const { authority: of } = new Replica(authority(['a', 'op', 'c'], 2)).offer([puppet, own, ...votes]);
  t.same(
    of.operators().map(({ inForce }) => inForce),
    [true, false, true],
  );
  t.notOk(of.isMember(key('puppet')));
  const two = new Replica(authority(['a', 'op', 'c'], 2)).offer([puppet, own, votes[0]!]).authority;
  t.notOk(two.operators()[1]!.inForce, 'it may be one of two');
});
