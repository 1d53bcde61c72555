/** Which roles a record asks of its author: whose a key is, whether that was told with the record or not. */
import t from 'tap';
import { isOwned, OPERATOR_BITS, roleBits, roleBitsFor } from '../../../protocols/trust/rules.ts';
import { testSigner } from '../ledger/fixtures.ts';

const author = testSigner(1).id;
const MEMBER = roleBits(['member']);

t.test('a key is that of its author when its first part is the whole id', async (t) => {
  for (const key of [author, `${author}/`, `${author}/x`])
    t.equal(roleBitsFor({ kind: 'member', key, author }) & MEMBER, MEMBER, key);
  for (const key of [
    `${author}x`,
    `x/${author}`,
    `/${author}`,
    author.slice(0, -1),
    testSigner(2).id,
    '',
    '/',
  ])
    t.equal(roleBitsFor({ kind: 'member', key, author }), 0, key);
});

t.test(
  'a kind that nobody knows is for members under their own keys, else for operators and deployers',
  async (t) => {
    const own = { kind: 'of a later version', key: `${author}/x`, author };
    const shared = { ...own, key: `${author}x` };
    t.ok(isOwned(own));
    t.notOk(isOwned(shared));
    t.ok(roleBitsFor(own) & MEMBER);
    t.notOk(roleBitsFor(shared) & MEMBER);
    t.ok(roleBitsFor(shared) & OPERATOR_BITS);
  },
);

t.test('what is told with a record is not looked for in its key', async (t) => {
  t.ok(isOwned({ kind: 'of a later version', key: 'x', author, isOwn: true }));
  t.notOk(isOwned({ kind: 'of a later version', key: author, author, isOwn: false }));
});
