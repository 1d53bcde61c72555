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
