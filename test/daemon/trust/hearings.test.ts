/** Whose acts a door looks at, and how often. */
import t from 'tap';
import { Hearings } from '../../../daemon/trust/hearings.ts';

t.test('each host is heard once in ten seconds, and none for ever unheard', async (t) => {
  const hearings = new Hearings();
  t.ok(hearings.hear('a', 1_000_000));
  t.notOk(hearings.hear('a', 1_009_999));
  t.ok(hearings.hear('b', 1_009_999), 'another is another matter');
  t.ok(hearings.hear('a', 1_010_000));
  t.ok(hearings.hear('a', 5), 'the clock was set back');
  t.notOk(hearings.hear('a', 6));
});

t.test('it remembers so many and no more, those that were heard last', async (t) => {
  const hearings = new Hearings();
  for (let at = 0; at <= Hearings.HOSTS_MAX; at += 1) t.ok(hearings.hear(`host${at}`, at));
  t.equal(hearings.size, Hearings.HOSTS_MAX);
  t.notOk(hearings.hear('host1', 300));
  t.ok(hearings.hear('host0', 300), 'forgotten');
});
