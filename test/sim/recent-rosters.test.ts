import t from 'tap';
import { Roster } from '../../protocols/membership/roster.ts';
import { RecentRosters } from './recent-rosters.ts';

t.test(
  'nodes that come to the same members share one roster, in whatever order they learn of them',
  async (t) => {
    const nobody = Roster.empty(new RecentRosters());
    const one = nobody.with('a', 1).with('b', 1).with('a', 2);
    t.equal(nobody.with('b', 1).with('a', 2), one);
    t.equal(nobody.with('c', 1).with('a', 2).with('b', 1).without('c'), one);
  },
);

t.test('what was not used for longest is forgotten', async (t) => {
  const memo = new RecentRosters();
  const roster = Roster.empty();
  for (let at = 0; at < 1024; at += 1) memo.set(`${at}`, roster);
  memo.get('0');
  memo.set('one more', roster);
  t.equal(memo.get('0'), roster);
  t.equal(memo.get('1'), undefined);
});
