/** Grants and tokens as people see them: by name, the oldest first, and what is over only when asked for. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { findToken, grantInfos, tokenInfos } from '../../../daemon/trust/grant-answers.ts';
import { keyNames } from '../../../daemon/trust/key-names.ts';
import { recordKey } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { nodeGrant, tokenGrant } from '../../../protocols/trust/token.ts';
import type { ClusterView } from '../../../protocols/view/view.ts';
import { genesis, memberGrant, NOW, operator, testSigner, write } from '../../protocols/ledger/fixtures.ts';

const [a, b, token, later] = [1, 2, 3, 4].map(testSigner) as [
  typeof operator,
  typeof operator,
  typeof operator,
  typeof operator,
];
const TTL_MS = 900_000;

/** `a` has the name `a` in the view, and made two tokens; `b` joined with the first one. */
function stage() {
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [operator, a, token] });
  const roles = ['member', 'worker', 'deployer', 'admitter'] as const;
  const body = memberGrant(a.id, { roles: [...roles], admits: [...roles, 'admit'] });
  const own = write(machine, operator.id, 'grant', recordKey.grant(a.id, operator.id), body);
  const tokens = [token, later].map(({ id }, n) => {
    const granted = tokenGrant({
      subject: id,
      parent: own.digest,
      roles: ['member', 'worker'],
      notAfter_ms: NOW + TTL_MS,
      uses: 1,
    });
    return write(machine, a.id, 'grant', recordKey.grant(id, a.id), granted, NOW + n);
  });
  const joining = nodeGrant(b.id, { grant: tokens[0]!.digest, roles: ['member', 'worker'] }, NOW + 9);
  write(machine, token.id, 'grant', recordKey.grant(b.id, token.id), joining, NOW + 9);
  const view = { members: new Map([[a.id, { name: 'a' }]]) } as unknown as ClusterView;
  const source = (now = NOW + 10) => ({
    authority: machine.authority,
    names: keyNames(view, machine, now),
    now,
  });
  return { source, tokens };
}

t.test('a key has the name of its node, or of what it is for, or the end of its id', async (t) => {
  const { source, tokens } = stage();
  const { names } = source();
  t.equal(names(a.id), 'a');
  t.equal(names(b.id), b.id.slice(-8));
  t.equal(names(operator.id), `operator ${operator.id.slice(-8)}`);
  t.equal(names(token.id), `token ${tokens[0]!.digest.slice(0, 12)}`);
});

t.test('a token is listed while hosts can join with it; the others when asked for', async (t) => {
  const { source, tokens } = stage();
  const [used, fresh] = tokens.map(({ digest }) => digest);
  t.match(tokenInfos(source(), false), [
    { id: fresh, state: 'valid', used: 0, issuerName: 'a', roles: ['member', 'worker'], joined: [] },
  ]);
  t.match(tokenInfos(source(), true), [
    { id: used, state: 'used-up', used: 1, uses: 1, joined: [{ node: b.id, state: 'valid' }] },
    { id: fresh },
  ]);
  t.same(tokenInfos(source(NOW + TTL_MS + 1), false), [], 'expired');
  t.match(tokenInfos(source(NOW + TTL_MS + 1), true), [{}, { id: fresh, state: 'expired' }]);
});

t.test('a token is found by the beginning of its id, when that is enough', async (t) => {
  const { source, tokens } = stage();
  const all = tokenInfos(source(), true);
  const { digest } = tokens[0]!;
  t.equal(findToken(all, digest).id, digest);
  t.equal(findToken(all, digest.slice(0, 8)).id, digest);
  t.throws(() => findToken(all, digest.slice(0, 7)), {
    code: 'E_NOT_FOUND',
    message: /8 characters or more/,
  });
  t.throws(() => findToken(all, `${digest.slice(0, 7)}!`), { message: /there is no token/ });
  const twins = [all[0]!, { ...all[0]!, id: `${digest.slice(0, 32)}${'0'.repeat(32)}` }];
  t.throws(() => findToken(twins, digest.slice(0, 8)), { message: /2 tokens begin with/ });
});

t.test('grants in force are listed, the oldest first', async (t) => {
  const { source, tokens } = stage();
  const [used, fresh] = tokens.map(({ digest }) => digest);
  t.match(grantInfos(source(), false), [
    { subjectName: 'a', issuerName: /^operator /, parent: null, expires_ms: null },
    { id: used, state: 'used-up', expires_ms: NOW + TTL_MS },
    { id: fresh },
    { subject: b.id, issuerName: /^token /, parent: used },
  ]);
  t.equal(grantInfos(source(NOW + TTL_MS + 1), false).length, 2, 'tokens are over, hosts are not');
});
