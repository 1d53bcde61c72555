/** By which few of its grants a host is kept. */
import t from 'tap';
import { GrantChains } from '../../../daemon/trust/grant-chains.ts';
import type { GrantBody, Role } from '../../../protocols/base/records.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { ADMITTER, authority, grant, key, NOW, Replica, revoke } from '../../protocols/trust/facts.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const JUNK = 1_100;

/** op -> eve, an admitter; op -> bob, another one. */
function stage() {
  const eve = grant('op', 'eve', ADMITTER, { seq: 1 });
  const bob = grant('op', 'bob', ADMITTER, { seq: 2 });
  const replica = new Replica(authority(['op'])).offer([eve, bob]);
  let seq = 0;
  const byEve = (subject: string, changes: Partial<GrantBody> = {}) =>
    grant('eve', subject, { parent: eve.digest, ...changes }, { seq: ++seq });
  const add = (...records: LedgerRecord[]) => {
    for (const record of records) {
      if (replica.authority.admission(record) !== 'yes') throw new Error('this is not admitted');
      replica.authority.add(record);
    }
  };
  const above = (host: string, ...kept: string[]) => [
    ...new GrantChains(replica.authority.grants(NOW), key('eve'), new Set(kept.map(key))).above(key(host))
      .signed,
  ];
  /** What a host is when eve has gone with all but these. */
  const rolesWith = (host: string, keeps: string[], now = NOW) => {
    const after = replica.authority.fork();
    after.add(revoke('op', 'eve', { seq: 9 }, { descendants: true, keeps }));
    return [...after.roles(key(host), now)].sort();
  };
  return { replica, bob, byEve, add, above, rolesWith };
}

t.test('thousands of grants that its thief wrote leave a host kept by those that it needs', async (t) => {
  const { byEve, add, above, rolesWith } = stage();
  add(byEve('h2', { notAfter_ms: NOW + DAY_MS }));
  for (let at = 0; at < JUNK; at += 1) add(byEve('h2', { roles: at % 2 === 0 ? ['member'] : ['worker'] }));
  add(byEve('h2', { roles: ['member', 'admitter'], admits: ['member'] }));
  const keeps = above('h2', 'h2');
  // One for each role, and the oldest.
  t.ok(keeps.length <= 4, `${keeps.length} are named`);
  t.same(rolesWith('h2', keeps), ['admitter', 'deployer', 'member', 'worker']);
});

t.test('a fuller grant that ends soon takes the place of none that lasts', async (t) => {
  const { byEve, add, above, rolesWith } = stage();
  const soon = { notAfter_ms: NOW + HOUR_MS };
  add(byEve('h2'), byEve('h2', { ...ADMITTER, ...soon }), byEve('h2', { admits: ADMITTER.admits, ...soon }));
  t.same(rolesWith('h2', above('h2', 'h2'), NOW + DAY_MS), ['deployer', 'member', 'worker']);
});

t.test('of what a host may let in each part is kept by the grant that lasts longest', async (t) => {
  const { replica, byEve, add, above } = stage();
  const lasting = byEve('ann', { ...ADMITTER, admits: ['member', 'worker', 'admit'] });
  const wider = byEve('ann', { ...ADMITTER, notAfter_ms: NOW + HOUR_MS });
  add(lasting, wider);
  for (const role of ADMITTER.admits) add(byEve('ann', { roles: ['member', 'admitter'], admits: [role] }));
  const keeps = above('ann', 'ann');
  t.ok(keeps.includes(lasting.digest));
  const after = replica.authority.fork();
  after.add(revoke('op', 'eve', { seq: 9 }, { descendants: true, keeps }));
  const admits = (now: number, ...roles: Role[]) =>
    after.issuing(key('ann'), now, (body) => roles.every((role) => body.admits.includes(role))) !== undefined;
  t.ok(admits(NOW + DAY_MS, 'member', 'worker', 'admit'));
  t.ok(admits(NOW, ...ADMITTER.admits), 'and what one grant lets in together');
});

t.test('each part of what a host may let in costs one name, however many grants split it up', async (t) => {
  const { byEve, add, above } = stage();
  add(byEve('ann'));
  const sets = Array.from({ length: 2 ** ADMITTER.admits.length }, (_, bits) =>
    ADMITTER.admits.filter((_role, at) => bits & (1 << at)),
  );
  // The fewer it lets in, the longer it lasts: each lets in something that none before it does.
  for (const admits of sets)
    add(byEve('ann', { roles: ['member', 'admitter'], admits, notAfter_ms: NOW + DAY_MS - admits.length }));
  const most = 2 + ADMITTER.admits.length + 2;
  t.ok(above('ann', 'ann').length <= most, `${above('ann', 'ann').length} are named`);
});

t.test('where a thief has written a fuller grant on one side, both sides name the older one', async (t) => {
  const { byEve, add, above } = stage();
  const host = byEve('h2', { roles: ['member'] });
  const ended = byEve('h2', { roles: ['member'], notAfter_ms: NOW - 1 });
  add(host, ended);
  const before = above('h2', 'h2');
  t.same(before.sort(), [host.digest, ended.digest].sort());
  const { parent } = host.body as GrantBody;
  add(grant('eve', 'h2', { ...ADMITTER, parent }, { seq: 9, at_ms: NOW + 1 }));
  t.ok(before.every((digest) => above('h2', 'h2').includes(digest)));
});

t.test('what it let in stays, by whichever of its grants', async (t) => {
  const { byEve, add, above, rolesWith } = stage();
  const ann = byEve('ann', ADMITTER);
  const cem = grant('ann', 'cem', { parent: ann.digest }, { seq: 1 });
  add(ann, cem, byEve('ann', { ...ADMITTER, roles: [...ADMITTER.roles, 'admit'] }));
  t.same(rolesWith('cem', above('ann', 'ann')), ['deployer', 'member', 'worker']);
  const { replica, above: aboveOf, ...other } = stage();
  const wide = other.byEve('ann', { roles: ['member', 'admitter'], admits: ADMITTER.admits });
  other.add(wide, other.byEve('ann', { ...ADMITTER, admits: [] }));
  const after = replica.authority.fork();
  after.add(revoke('op', 'eve', { seq: 9 }, { descendants: true, keeps: aboveOf('ann', 'ann') }));
  t.equal(after.stateOf(wide.digest, NOW), 'valid', 'and what it may let in');
});

t.test('a renewal is kept with what it prolongs', async (t) => {
  const { bob, byEve, add, above, rolesWith } = stage();
  const host = byEve('h2', { notAfter_ms: NOW + DAY_MS });
  const { body } = host as LedgerRecord & { readonly body: GrantBody };
  const renewed = { ...body, notAfter_ms: NOW + DAY_MS, renews: host.digest };
  add(host, grant('bob', 'h2', { ...renewed, parent: bob.digest }, { seq: 1 }));
  t.same(above('h2', 'h2'), [host.digest]);
  const own = byEve('h2', { ...renewed, notAfter_ms: NOW + DAY_MS });
  add(own);
  t.ok(above('h2', 'h2').includes(host.digest));
  t.same(rolesWith('h2', above('h2', 'h2')), ['deployer', 'member', 'worker']);
});

t.test('no other host stays for it where it stands without that', async (t) => {
  const { byEve, add, above, rolesWith } = stage();
  const pal = byEve('pal', ADMITTER);
  const direct = byEve('h2');
  add(pal, direct, grant('pal', 'h2', { ...ADMITTER, parent: pal.digest }, { seq: 1 }));
  add(grant('pal', 'h3', { parent: pal.digest }, { seq: 2 }));
  t.same(above('h2', 'h2', 'h3'), [direct.digest]);
  t.same(
    above('h2', 'h2', 'pal').sort(),
    [direct.digest, pal.digest].sort(),
    'where both stay, all roles do',
  );
  t.same(above('h3', 'h3'), [pal.digest]);
  t.same(rolesWith('h3', above('h3', 'h3')), ['deployer', 'member', 'worker']);
  t.same(above('bob', 'bob'), []);
});

t.test(
  'one whose grant has ended is kept by what may be renewed, one that is void by one grant',
  async (t) => {
    const { replica, byEve, add, above } = stage();
    const ended = byEve('h2', { notAfter_ms: NOW - 1 });
    add(ended);
    t.same(above('h2', 'h2'), [ended.digest]);
    const standing = byEve('h2', { roles: ['member'] });
    add(standing);
    t.same(above('h2', 'h2').sort(), [ended.digest, standing.digest].sort());
    replica.authority.add(revoke('op', 'eve', { seq: 8 }, { descendants: true }));
    t.equal(above('h2', 'h2').length, 1);
  },
);
