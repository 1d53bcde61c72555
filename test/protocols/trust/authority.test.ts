/** Chains of grants: who may write, what a token gives, and that halves of a partition agree who came in. */
import t from 'tap';
import { sealNodeGrant } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { type Role, recordKey } from '../../../protocols/base/records.ts';
import type { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { type JoinToken, tokenGrant } from '../../../protocols/trust/token.ts';
import {
  cluster,
  exchange,
  genesis,
  introduce,
  memberGrant,
  NOW,
  newNode,
  operator,
  rejections,
  type TestNode,
  testSigner,
  write,
} from '../ledger/fixtures.ts';

const NODE_ROLES: Role[] = ['member', 'worker', 'deployer'];

/** A token that the operator gave, as its holder sees it. */
function makeToken(
  machine: LedgerMachine,
  init: { uses?: number; roles?: Role[]; notAfter_ms?: number; number?: number } = {},
) {
  const key = testSigner(init.number ?? 500);
  const roles = init.roles ?? NODE_ROLES;
  const notAfter_ms = init.notAfter_ms ?? NOW + 60_000;
  const body = tokenGrant({ subject: key.id, parent: null, roles, notAfter_ms, uses: init.uses ?? 1 });
  const grant = write(machine, operator.id, 'grant', recordKey.grant(key.id, operator.id), body);
  const token: JoinToken = {
    cluster: genesis.digest,
    seed: new Uint8Array(32),
    grant: grant.digest,
    notAfter_ms,
    roles,
    doors: [],
  };
  return { key, token, grant };
}

function join(token: JoinToken, key: Signer, node: Signer, now = NOW) {
  return sealNodeGrant(token, key, node.id, nodeCrypto, now);
}

t.test('a token makes its holder a member with the roles of the token and no more', async (t) => {
  const [a] = cluster(1);
  const { key, token } = makeToken(a!.machine, { roles: ['member', 'worker'] });
  const node = testSigner(20);
  t.same(rejections(introduce(a!.machine, [join(token, key, node)])), []);
  t.same([...a!.machine.authority.roles(node.id)], ['member', 'worker']);
  const greedy = join({ ...token, roles: ['member', 'operator'] }, key, testSigner(21));
  t.same(rejections(introduce(a!.machine, [greedy])), ['not-allowed']);
});

t.test('a token that has expired admits nobody', async (t) => {
  const [a] = cluster(1);
  const { key, token } = makeToken(a!.machine, { notAfter_ms: NOW + 10 });
  t.same(rejections(introduce(a!.machine, [join(token, key, testSigner(20), NOW + 11)])), ['not-allowed']);
});

t.test(
  'one token used twice in two halves: the smaller hash stays on every node, the other is evicted',
  async (t) => {
    const [a, b] = cluster(2);
    const { key, token } = makeToken(a!.machine);
    exchange(a!, b!);
    const [first, second] = [testSigner(20), testSigner(21)];
    const grants = [join(token, key, first), join(token, key, second)];
    introduce(a!.machine, [grants[0]!]);
    introduce(b!.machine, [grants[1]!]);
    t.ok(a!.machine.authority.isMember(first.id));
    t.ok(b!.machine.authority.isMember(second.id), 'each half lets its own in');
    exchange(a!, b!);
    t.equal(a!.machine.ledger.hash, b!.machine.ledger.hash);
    const stays = grants[0]!.digest < grants[1]!.digest ? first : second;
    for (const { machine } of [a!, b!]) {
      t.same(
        [first, second].filter(({ id }) => machine.authority.isMember(id)),
        [stays],
      );
    }
  },
);

t.test('grants chain: an admitter admits an admitter; only as long as each link is there', async (t) => {
  const [a] = cluster(1);
  const { key, token } = makeToken(a!.machine, { roles: [...NODE_ROLES, 'admitter'] });
  const node = testSigner(30);
  const nodeGrantRecord = join(token, key, node);
  introduce(a!.machine, [nodeGrantRecord]);
  const theirs = newNode(node);
  exchange(a!, theirs);
  const next = testSigner(31);
  const body = tokenGrant({
    subject: next.id,
    parent: nodeGrantRecord.digest,
    roles: NODE_ROLES,
    notAfter_ms: NOW + 1000,
    uses: 1,
  });
  const grant = write(theirs.machine, node.id, 'grant', recordKey.grant(next.id, node.id), body);
  t.same(rejections(introduce(a!.machine, [grant])), []);
  t.ok(a!.machine.authority.depth(next.id) > a!.machine.authority.depth(node.id));
  const stranger = newNode(testSigner(40));
  t.same(
    rejections(introduce(stranger.machine, [grant])),
    ['unknown-author'],
    'without the links before it is not known',
  );
});

t.test('a revocation ends membership, and what was written before its cut still counts', async (t) => {
  const [a, b] = cluster(2);
  const before = write(b!.machine, b!.signer.id, 'tag', 'app:1', { digest: `sha256:${'1'.repeat(64)}` });
  const after = write(b!.machine, b!.signer.id, 'tag', 'app:2', { digest: `sha256:${'1'.repeat(64)}` });
  exchange(a!, b!);
  write(a!.machine, operator.id, 'revoke', recordKey.revoke(b!.signer.id, operator.id), {
    subject: b!.signer.id,
    epoch: before.epoch,
    last: before.seq,
    reason: 'lost',
  });
  const { authority } = a!.machine;
  t.notOk(authority.isMember(b!.signer.id));
  t.ok(authority.counts(before));
  t.notOk(authority.counts(after));
});

t.test('a node may not write for another, nor a worker deploy', async (t) => {
  const [a, b] = cluster(2);
  t.throws(() => write(a!.machine, a!.signer.id, 'member', b!.signer.id, {}), { code: 'E_NOT_ALLOWED' });
  const worker = testSigner(50);
  const grant = write(
    a!.machine,
    operator.id,
    'grant',
    recordKey.grant(worker.id, operator.id),
    memberGrant(worker.id, { roles: ['member', 'worker'] }),
  );
  const theirs = newNode(worker);
  introduce(theirs.machine, [grant]);
  t.throws(() => write(theirs.machine, worker.id, 'workload', 'default/web', {}), { code: 'E_NOT_ALLOWED' });
});

t.test('a revocation cannot be taken back, and the earliest cut holds wherever it is read', async (t) => {
  const [a, b, c] = cluster(3);
  const subject = b!.signer.id;
  const cut = (epoch: number, last: number) => ({ subject, epoch, last, reason: 'lost' });
  write(a!.machine, operator.id, 'revoke', recordKey.revoke(subject, operator.id), cut(0, 1));
  t.throws(
    () => write(a!.machine, operator.id, 'revoke', recordKey.revoke(subject, operator.id), null, NOW + 1),
    { code: 'E_NOT_ALLOWED' },
  );
  write(a!.machine, operator.id, 'revoke', recordKey.revoke(subject, operator.id), cut(0, 5), NOW + 1);
  exchange(a!, c!);
  t.equal(a!.machine.ledger.hash, c!.machine.ledger.hash);
  const at = (seq: number, epoch = 0) =>
    ({ author: subject, kind: 'tag', key: 'app:1', hlc: { ms: NOW, n: 0 }, epoch, seq }) as LedgerRecord;
  for (const { machine } of [a!, c!]) {
    t.notOk(machine.authority.isMember(subject));
    t.ok(machine.authority.counts(at(1)));
    t.notOk(machine.authority.counts(at(2)), 'the first cut is not replaced');
    t.notOk(machine.authority.counts(at(1, 1)), 'nor is it got around by a new epoch');
  }
});

t.test('what was granted does not depend on what was heard first', async (t) => {
  for (let at = 0; at < 8; at += 1) {
    const [a, b] = cluster(2);
    const { key, token } = makeToken(a!.machine, { uses: 1 });
    exchange(a!, b!);
    const [twice, once] = [testSigner(20), testSigner(21)];
    // One host, let in by both halves of a partition, and another one.
    const grants = [twice, twice, once].map((node, order) => join(token, key, node, NOW + 3 * at + order));
    introduce(a!.machine, grants);
    introduce(b!.machine, grants.slice(1));
    // A round may end with what one side must not take; the next one brings the rest.
    for (let round = 0; round < 2; round += 1) exchange(a!, b!);
    t.equal(b!.machine.ledger.hash, a!.machine.ledger.hash);
    const late = newNode(testSigner(9));
    introduce(late.machine, [...a!.machine.ledger.records()]);
    const members = ({ machine }: TestNode) => [twice, once].map(({ id }) => machine.authority.isMember(id));
    t.same(members(b!), members(a!));
    t.same(members(late), members(a!));
  }
});

t.test('a key that lost the grant to deploy and kept another does not deploy', async (t) => {
  const [a] = cluster(1);
  const { key, token } = makeToken(a!.machine, { uses: 1 });
  const [first, second] = [testSigner(20), testSigner(21)];
  const grants = [join(token, key, first), join(token, key, second)];
  introduce(a!.machine, grants);
  const evicted = grants[0]!.digest < grants[1]!.digest ? second : first;
  const grantKey = recordKey.grant(evicted.id, operator.id);
  const body = memberGrant(evicted.id, { roles: ['member', 'worker'] });
  write(a!.machine, operator.id, 'grant', grantKey, body);
  const { authority } = a!.machine;
  t.ok(authority.isMember(evicted.id));
  t.notOk(authority.mayDeploy(evicted.id));
  t.notOk(
    authority.counts({
      author: evicted.id,
      kind: 'workload',
      key: 'default/web',
      hlc: { ms: NOW, n: 0 },
    } as LedgerRecord),
  );
  t.ok(
    authority.counts({
      author: evicted.id,
      kind: 'alloc',
      key: `${evicted.id}/web/0`,
      hlc: { ms: NOW, n: 0 },
    } as LedgerRecord),
  );
});
