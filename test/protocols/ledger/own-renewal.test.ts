/** Who renews a grant holds what all others hold: of its renewals the longest, also where an earlier version kept more. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { type GrantBody, recordKey } from '../../../protocols/base/records.ts';
import type { LedgerEffect } from '../../../protocols/ledger/effects.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import {
  env,
  exchange,
  genesis,
  memberGrant,
  NOW,
  newNode,
  operator,
  type TestNode,
  testSigner,
  write,
} from './fixtures.ts';

const LIFE_MS = 9000;
const HOST = testSigner(7).id;

/** A node with the operator's key, another, and a host that was let in for a time. */
function stage() {
  const [a, b] = [newNode(testSigner(0), operator), newNode(testSigner(1))] as [TestNode, TestNode];
  const give = (body: GrantBody, now = NOW) =>
    write(a.machine, operator.id, 'grant', recordKey.grant(body.subject, operator.id), body, now);
  for (const { signer } of [a, b]) give(memberGrant(signer.id));
  const original = give(memberGrant(HOST, { notAfter_ms: NOW + LIFE_MS }));
  const renewal = (now: number) => memberGrant(HOST, { notAfter_ms: now + LIFE_MS, renews: original.digest });
  return { a, b, give, renewal };
}

function persistsOf(effects: readonly LedgerEffect[]) {
  return effects.flatMap((effect) => (effect.kind === 'persist' ? [effect] : []));
}

t.test('the writer of a second renewal drops the first, as all others do', async (t) => {
  const { a, b, give, renewal } = stage();
  const first = give(renewal(NOW + 6000), NOW + 6000);
  exchange(a, b, NOW + 6100);
  t.ok(b.machine.ledger.has(first));
  const event = {
    kind: 'write',
    author: operator.id,
    recordKind: 'grant',
    key: recordKey.grant(HOST, operator.id),
    body: renewal(NOW + 12_000),
  } as const;
  const effects = a.machine.handle(event, env(NOW + 12_000));
  exchange(a, b, NOW + 12_100);
  t.equal(a.machine.ledger.hash, b.machine.ledger.hash);
  for (const { machine } of [a, b]) t.notOk(machine.ledger.has(first));
  t.same(persistsOf(effects)[0]?.remove, [first], 'it leaves the disk');
  const changed = effects.flatMap((effect) => (effect.kind === 'changed' ? effect.records : []));
  t.ok(changed.includes(first), 'and those who look at it are told');
  t.equal(a.machine.authority.memberUntil(HOST), NOW + 12_000 + LIFE_MS);
});

t.test(
  'a renewal that ends before one that is there is refused, with all that is written with it',
  async (t) => {
    const { a, give, renewal } = stage();
    const last = give(renewal(NOW + 6000), NOW + 6000);
    const { hash } = a.machine.ledger;
    const digests = () => [...a.machine.authority.grants(NOW)].map(({ digest }) => digest).sort();
    const before = digests();
    const bodies = [memberGrant(testSigner(8).id), renewal(NOW + 5000)];
    const writes = bodies.map((body) => ({
      recordKind: 'grant',
      key: recordKey.grant(body.subject, operator.id),
      body,
    }));
    const event = { kind: 'writes', author: operator.id, writes } as const;
    t.throws(() => a.machine.handle(event, env(NOW + 6001)), { code: 'E_NOT_ALLOWED' });
    t.equal(a.machine.ledger.hash, hash);
    t.same(digests(), before);
    const next = give(renewal(NOW + 12_000), NOW + 12_000);
    t.equal(next.seq, last.seq + 1, 'no number was used up');
  },
);

t.test('who has ended by the stamp that its renewal would bear writes none', async (t) => {
  const { a, b, give } = stage();
  const [node, other] = [newNode(testSigner(2)), testSigner(3)];
  const admitter = { roles: ['member', 'admitter'], admits: ['member'] } as Partial<GrantBody>;
  const own = give(memberGrant(node.signer.id, { ...admitter, notAfter_ms: NOW + LIFE_MS }));
  give(memberGrant(other.id));
  const host = give(memberGrant(testSigner(8).id, { roles: ['member'], notAfter_ms: NOW + LIFE_MS }));
  exchange(a, b, NOW + 100);
  exchange(a, node, NOW + 100);
  const renew = (now: number) => {
    const body = { ...(host.body as GrantBody), parent: own.digest, renews: host.digest };
    const key = recordKey.grant(body.subject, node.signer.id);
    return write(node.machine, node.signer.id, 'grant', key, { ...body, notAfter_ms: now + 1000 }, now);
  };
  const first = renew(NOW + LIFE_MS);
  const { hash } = node.machine.ledger;
  t.throws(() => renew(NOW + LIFE_MS + 1), { code: 'E_NOT_ALLOWED', message: /would count nowhere/ });
  t.equal(node.machine.ledger.hash, hash);
  t.equal(node.machine.authority.memberUntil(testSigner(8).id), NOW + LIFE_MS + 1000);
  t.ok(node.machine.ledger.has(first), 'in the place of one that counts');
});

t.test('a renewal that an earlier version left on the disk goes at the next start', async (t) => {
  const { a, b, give, renewal } = stage();
  const first = give(renewal(NOW + 6000), NOW + 6000);
  give(renewal(NOW + 12_000), NOW + 12_000);
  exchange(a, b, NOW + 12_100);
  const isStored = ({ kind }: LedgerRecord) => kind !== 'genesis';
  const records = [first, ...[...a.machine.ledger.records()].filter(isStored)];
  const machine = new LedgerMachine({
    genesis,
    crypto: nodeCrypto,
    signers: [a.signer, operator],
    stored: { records, streams: [] },
  });
  t.equal(machine.ledger.hash, b.machine.ledger.hash);
  t.same(persistsOf(machine.handle({ kind: 'start' }, env(NOW + 13_000))), [
    { kind: 'persist', put: [], remove: [first], streams: [] },
  ]);
  t.same(persistsOf(machine.handle({ kind: 'start' }, env(NOW + 13_000))), []);
});
