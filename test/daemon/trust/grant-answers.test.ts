/** Grants and tokens as people see them: by name, the oldest first, and what is over only when asked for. */
import t from 'tap';
import { GRANTS_LISTED_MAX, RESPONSE_BYTES_MAX } from '../../../daemon/api/limits.ts';
import { REVOCATIONS_SHOWN_MAX } from '../../../daemon/api/trust-schemas.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import {
  findToken,
  grantInfos,
  listed,
  revocationSummaries,
  tokenInfos,
} from '../../../daemon/trust/grant-answers.ts';
import { keyNames } from '../../../daemon/trust/key-names.ts';
import { ROLES, recordKey } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { Authority } from '../../../protocols/trust/authority.ts';
import type { GrantInfo, RevocationInfo } from '../../../protocols/trust/listing.ts';
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
  t.throws(() => findToken(twins, digest.slice(0, 8)), {
    code: 'E_AMBIGUOUS',
    message: /2 tokens begin with/,
  });
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

const KEEPS = Array.from({ length: 256 }, () => 'f'.repeat(64));

/** A revocation as the authority tells it. */
function revocation(at: number, changes: Partial<RevocationInfo>): RevocationInfo {
  return {
    digest: at.toString(16).padStart(64, '0'),
    subject: b.id,
    by: a.id,
    epoch: 0,
    last: 1,
    reason: 'x'.repeat(256),
    descendants: false,
    keeps: KEEPS,
    written_ms: NOW + at,
    votes: 1,
    needed: 1,
    effective: false,
    ...changes,
  };
}

/** `operator` and `later` were operators; of other keys `b` alone was ever let in. */
function telling(revocations: readonly RevocationInfo[]) {
  const authority = {
    operators: () => [{ key: operator.id }, { key: later.id }],
    revocations: () => revocations.values(),
    depth: (key: string) => (key === b.id ? 2 : Number.POSITIVE_INFINITY),
  } as unknown as Authority;
  return revocationSummaries({ authority, names: (key) => key });
}

t.test('revocations that change nothing are counted, but the votes of operators are shown', async (t) => {
  const noise = Array.from({ length: 5000 }, (_, at) => revocation(at, {}));
  const vote = revocation(6000, { subject: operator.id, by: later.id, needed: 2 });
  const done = revocation(7000, { effective: true, keeps: ['e'.repeat(64)] });
  const { revocations, revocationsLeftOut } = telling([...noise, done, vote]);
  t.match(revocations, [
    { id: vote.digest, key: operator.id, effective: false, keeps_count: 256 },
    { id: done.digest, key: b.id, effective: true, keeps_count: 1 },
  ]);
  t.equal(revocationsLeftOut, 5000);
});

t.test('an operator that revokes thousands of keys hides nothing that matters', async (t) => {
  const strangers = Array.from({ length: 3000 }, (_, at) =>
    revocation(at, { subject: `stranger ${at}`, by: later.id, effective: true }),
  );
  const again = Array.from({ length: 3000 }, (_, at) =>
    revocation(4000 + at, { subject: operator.id, by: later.id, needed: 2 }),
  );
  const host = revocation(8000, { by: later.id, effective: true });
  const vote = revocation(9000, { subject: later.id, by: operator.id, needed: 2 });
  const { revocations, revocationsLeftOut } = telling([...strangers, ...again, host, vote]);
  t.equal(revocations.length, REVOCATIONS_SHOWN_MAX);
  t.equal(revocationsLeftOut, 6002 - REVOCATIONS_SHOWN_MAX);
  const ids = revocations.map(({ id }) => id);
  for (const one of [again[0]!, host, vote]) t.ok(ids.includes(one.digest), one.digest);
  t.same(ids, ids.toSorted(), 'the oldest first');
});

t.test('a list of grants is no larger than a client takes, and has what others gave', async (t) => {
  const { source } = stage();
  const [real] = source().authority.grants(NOW);
  const grant = (at: number, issuer: string, state: GrantInfo['state']) => ({
    ...real!,
    digest: at.toString(16).padStart(64, '0'),
    subject: operator.id,
    issuer,
    parent: 'f'.repeat(64),
    renews: 'f'.repeat(64),
    roles: ['admit'],
    admits: [...ROLES],
    granted_ms: NOW + at,
    state,
  });
  const count = GRANTS_LISTED_MAX * 2;
  const many = Array.from({ length: count }, (_, at) => grant(at, a.id, 'void'));
  const own = grant(count, b.id, 'valid');
  const authority = { grants: () => [...many, own].values() } as unknown as Authority;
  const from = { authority, names: () => 'n'.repeat(96), now: NOW };
  for (const list of [listed(grantInfos(from, true)), listed(tokenInfos(from, true))]) {
    t.equal(list.length, GRANTS_LISTED_MAX);
    t.equal(list.at(-1)?.id, own.digest);
    t.ok(JSON.stringify(list).length < RESPONSE_BYTES_MAX);
  }
  const [full, lone] = [GRANTS_LISTED_MAX, 0].map((hosts) => ({
    ...tokenInfos(source(), true)[0]!,
    joined: Array.from({ length: hosts }, () => ({
      grant: '',
      node: '',
      nodeName: '',
      state: 'valid' as const,
    })),
  }));
  t.same(listed([full!, lone!]), [lone], 'the hosts that joined count');
});
