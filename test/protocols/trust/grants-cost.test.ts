/** What thousands of grants of one key cost those who ask about it: one look at each, and not one for each question. */
import t from 'tap';
import type { GrantBody } from '../../../protocols/base/records.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { GrantBook } from '../../../protocols/trust/grant-book.ts';
import { ADMITTER, authority, grant, key, NOW, own } from './facts.ts';

const COUNT = 1000;

/** op -> eve, an admitter, and ann; eve has let ann in a thousand times more, each time until another end. */
function stage() {
  const of = authority(['op']);
  const eve = grant('op', 'eve', ADMITTER, { seq: 1 });
  let looks = 0;
  const counted = (record: LedgerRecord): LedgerRecord => {
    const { notAfter_ms } = record.body as GrantBody;
    const get = () => {
      looks += 1;
      return notAfter_ms;
    };
    return {
      ...record,
      body: Object.defineProperty({ ...(record.body as GrantBody) }, 'notAfter_ms', {
        get,
        enumerable: true,
      }),
    };
  };
  of.add(eve);
  of.add(grant('op', 'ann', {}, { seq: 2 }));
  for (let at = 0; at < COUNT; at += 1)
    of.add(counted(grant('eve', 'ann', { parent: eve.digest, notAfter_ms: NOW + at }, { seq: 2 + at })));
  const looked = () => {
    const before = looks;
    looks = 0;
    return before;
  };
  return { of, looked };
}

t.test('each record of a key, and each question about it, costs no look at all its grants', async (t) => {
  const { of, looked } = stage();
  const at_ms = NOW + 10 * COUNT;
  t.ok(of.countsAt(own('ann', { seq: 1, at_ms })));
  looked();
  for (let seq = 2; seq <= 50; seq += 1) t.ok(of.countsAt(own('ann', { seq, at_ms }, 'alloc')));
  t.ok(of.isMember(key('ann'), at_ms));
  t.ok(of.mayDeploy(key('ann'), at_ms));
  t.same([...of.roles(key('ann'))].sort(), ['deployer', 'member', 'worker']);
  const looks = looked();
  t.ok(looks <= 200, `${looks} looks`);
});

t.test('how far a key is from genesis is asked once for all its grants by one', async (t) => {
  const of = authority(['op']);
  const eve = grant('op', 'eve', ADMITTER, { seq: 1 });
  of.add(eve);
  for (let seq = 1; seq <= COUNT; seq += 1) of.add(grant('eve', 'ann', { parent: eve.digest }, { seq }));
  const looked = t.capture(GrantBook.prototype, 'grant', GrantBook.prototype.grant);
  t.equal(of.depth(key('ann')), 2);
  t.ok(looked().length <= 5);
});

t.test('whether a key has any role costs no look at all its grants, though others come and go', async (t) => {
  const { of, looked } = stage();
  t.ok(of.hasRole(key('ann')));
  looked();
  for (let seq = 5; seq < 50; seq += 1) {
    const other = grant('op', `other${seq}`, {}, { seq });
    of.add(other);
    t.ok(of.hasRole(key('ann')));
    of.remove(other);
    t.ok(of.hasRole(key('ann')));
  }
  const looks = looked();
  t.ok(looks <= 500, `${looks} looks`);
});
