/** A member that was none for a while, because a revocation was undone: it brings nothing back that was deleted meanwhile. */
import t, { type Test } from 'tap';
import { recordKey } from '../../../protocols/base/records.ts';
import { LEDGER_DEFAULTS } from '../../../protocols/ledger/machine.ts';
import {
  cluster,
  everybody,
  exchange,
  introduce,
  memberGrant,
  NOW,
  operator,
  round,
  TAG,
  type TestNode,
  testSigner,
  write,
} from './fixtures.ts';

const { tombstone_ms } = LEDGER_DEFAULTS;

/** Three have collected once; then a stolen operator key revokes the third. */
function withOneRevoked() {
  const nodes = cluster(3) as [TestNode, TestNode, TestNode];
  const [a, b, m] = nodes;
  const junior = testSigner(2000);
  a.machine.addSigner(junior);
  const appointment = memberGrant(junior.id, { roles: ['operator'] });
  write(a.machine, operator.id, 'grant', recordKey.grant(junior.id, operator.id), appointment);
  for (const { machine, signer } of nodes) write(machine, signer.id, 'member', signer.id, { name: 'x' });
  write(a.machine, a.signer.id, 'tag', 'one:1', TAG);
  write(a.machine, a.signer.id, 'tag', 'two:1', TAG);
  everybody(nodes, NOW);
  write(a.machine, a.signer.id, 'tag', 'one:1', null, NOW + 1);
  everybody(nodes, NOW + 1);
  let now = NOW + 2 * tombstone_ms;
  for (let turn = 0; turn < 3; turn += 1) round(nodes, now);
  for (const { machine } of nodes) t.ok(machine.horizon_ms > NOW, 'all have collected');
  const cut = { epoch: 0, last: 1000, reason: 'stolen' };
  const key = recordKey.revoke(m.signer.id, junior.id);
  write(a.machine, junior.id, 'revoke', key, { subject: m.signer.id, ...cut }, now);
  exchange(a, b, now);
  const remove = (tag: string) => {
    write(a.machine, a.signer.id, 'tag', tag, null, now + 1);
    exchange(a, b, now + 1);
    now += 2 * tombstone_ms;
    for (let turn = 0; turn < 3; turn += 1) round([a, b], now + turn);
    t.equal(a.machine.ledger.siblings('tag', tag).length, 0, 'collected without the third');
  };
  const undo = () => {
    const undone = { subject: junior.id, epoch: 0, last: 0, reason: 'stolen' };
    write(a.machine, operator.id, 'revoke', recordKey.revoke(junior.id, operator.id), undone, now);
    t.ok(a.machine.authority.isMember(m.signer.id), 'it is a member again');
    everybody(nodes, now);
  };
  const settle = () => {
    for (let turn = 0; turn < 3; turn += 1) round(nodes, now + turn * 60_000);
    write(b.machine, b.signer.id, 'tag', 'next:1', null, now);
    for (let turn = 1; turn <= 8; turn += 1) round(nodes, now + turn * tombstone_ms);
  };
  return { nodes, a, b, m, remove, undo, settle };
}

function assertGone(t: Test, nodes: readonly TestNode[], ...tags: string[]): void {
  for (const { machine } of nodes)
    for (const tag of tags) t.same(machine.ledger.siblings('tag', tag), [], `${tag} did not come back`);
  t.equal(new Set(nodes.map(({ machine }) => machine.ledger.hash)).size, 1, 'all hold one ledger');
  t.equal(new Set(nodes.map(({ machine }) => machine.horizon_ms)).size, 1, 'and have collected as far');
  t.equal(nodes[0]!.machine.ledger.tombstones_count, 0, 'and collect again');
}

t.test('what was collected while a member was revoked stays gone when it is one again', async (t) => {
  const { nodes, remove, undo, settle } = withOneRevoked();
  remove('two:1');
  undo();
  settle();
  assertGone(t, nodes, 'two:1', 'next:1');
});

t.test('also when more than one round was collected meanwhile', async (t) => {
  const { nodes, a, m, remove, undo, settle } = withOneRevoked();
  write(a.machine, a.signer.id, 'tag', 'three:1', TAG, NOW + tombstone_ms);
  introduce(m.machine, a.machine.ledger.siblings('tag', 'three:1'), NOW + 2 * tombstone_ms);
  remove('two:1');
  remove('three:1');
  undo();
  settle();
  assertGone(t, nodes, 'two:1', 'three:1', 'next:1');
});
