/** What is told of keys that two daemons run with, and of whom. */
import t from 'tap';
import { copiedKeys, copiedMembers, copiedText } from '../../../daemon/trust/copied-keys.ts';
import type { NodeId } from '../../../protocols/base/ids.ts';
import type { MemberView } from '../../../protocols/view/view.ts';

const SELF = 'self' as NodeId;

function members(...list: Partial<MemberView>[]): Map<NodeId, MemberView> {
  return new Map(list.map((member) => [member.id!, { status: 'alive', ...member } as MemberView]));
}

t.test('members are named that say that two run, while one of them does', async (t) => {
  const copy = ['/ip4/10.0.0.4/tcp/1/p2p/x'];
  const all = members(
    { id: SELF, copy },
    { id: 'well' as NodeId },
    { id: 'copied' as NodeId, copy },
    { id: 'doubted' as NodeId, copy, status: 'suspect' },
    { id: 'ended' as NodeId, copy, status: 'failed' },
  );
  t.same(
    copiedMembers(all, SELF).map(({ id }) => id),
    ['copied', 'doubted'],
  );
  // What this node said of itself last is no news to it.
  t.same([...copiedKeys(all, SELF, null)], ['copied', 'doubted']);
  t.same([...copiedKeys(all, SELF, [])], [SELF, 'copied', 'doubted']);
});

t.test('it says where both are, and is no longer than a problem may be', async (t) => {
  const text = copiedText({ name: 'host2', addresses: ['/ip4/10.0.0.2/tcp/1/p2p/x'], copy: [] });
  t.match(
    text,
    /^E_KEY_COPIED: two daemons run with the key of host2, at \/ip4\/10\.0\.0\.2\/tcp\/1 and at an/,
  );
  const long = Array.from({ length: 16 }, () => `/dns4/${'x'.repeat(240)}/tcp/1`);
  const longest = copiedText({ name: 'x'.repeat(63), addresses: long, copy: long });
  t.ok(longest.length <= 1024);
  t.match(longest, /node revoke/, 'what to do is never cut off');
});
