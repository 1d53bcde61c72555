/** What a key that was cut off, or dismissed, can still say: under new numbers, and under old ones with old stamps. */
import t from 'tap';
import { ADMITTER, authority, fact, grant, key, NOW, Replica, revoke } from './facts.ts';

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
