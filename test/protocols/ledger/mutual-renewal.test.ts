/** Admitters that are let in for a time and renew one another: who comes late holds what all others hold, whoever renewed whom. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { KeyId } from '../../../protocols/base/ids.ts';
import { type GrantBody, recordKey } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { renewalsDue } from '../../../protocols/trust/renewal.ts';
import {
  env,
  everybody,
  exchange,
  genesis,
  introduce,
  memberGrant,
  NOW,
  newNode,
  operator,
  type TestNode,
  testSigner,
  write,
} from './fixtures.ts';

const DAY_MS = 86_400_000;
const LIFE_MS = 30 * DAY_MS;
const STEP_MS = LIFE_MS / 120;
/** What one refuses it may ask for again after so long. */
const PAUSE_MS = 700_000;
const MEETINGS = 12;

const ADMITTER: Partial<GrantBody> = {
  roles: ['member', 'worker', 'deployer', 'admitter'],
  admits: ['member', 'worker', 'deployer', 'admitter', 'admit'],
};

function give(node: TestNode, author: KeyId, body: GrantBody, now: number): LedgerRecord {
  return write(node.machine, author, 'grant', recordKey.grant(body.subject, author), body, now);
}

/** `count` admitters for a time, of which the first has the operator's key, as they were let in on the first day. */
function admittersFor(count: number) {
  const nodes = Array.from({ length: count }, (_, at) =>
    at === 0 ? newNode(testSigner(at), operator) : newNode(testSigner(at)),
  );
  const grants = nodes.map(({ signer }) =>
    give(nodes[0]!, operator.id, memberGrant(signer.id, { ...ADMITTER, notAfter_ms: NOW + LIFE_MS }), NOW),
  );
  everybody(nodes, NOW + 1000);
  return { nodes, grants };
}

/** Each renews what is for it to renew, as its daemon does, and tells the others. @returns the time then. */
function live(nodes: readonly TestNode[], from_day: number, to_day: number): number {
  const alive = nodes.map(({ signer }) => signer.id);
  let now = NOW + from_day * DAY_MS;
  for (; now < NOW + to_day * DAY_MS; now += STEP_MS) {
    let isWritten = false;
    for (const node of nodes) {
      const { machine, signer } = node;
      for (const body of renewalsDue({ authority: machine.authority, self: signer.id, alive, now })) {
        give(node, signer.id, body, now);
        isWritten = true;
      }
    }
    if (isWritten) everybody(nodes, now + 1000);
  }
  return now;
}

function meet(one: TestNode, others: readonly TestNode[], from: number): number {
  let now = from;
  for (let meeting = 0; meeting < MEETINGS; meeting += 1) {
    for (const other of others) {
      exchange(other, one, now);
      exchange(one, other, now + 1000);
    }
    now += PAUSE_MS;
  }
  return now;
}

for (const count of [2, 3])
  t.test(`a newcomer and a host that was away, where ${count} renew one another`, async (t) => {
    const { nodes, grants } = admittersFor(count);
    const [first, last] = [nodes[0]!, nodes.at(-1)!];
    const away = newNode(testSigner(20));
    give(first, operator.id, memberGrant(away.signer.id), NOW + 2000);
    everybody(nodes, NOW + 3000);
    introduce(away.machine, [...first.machine.ledger.records()], NOW + 4000);
    t.equal(away.machine.ledger.hash, first.machine.ledger.hash);

    let now = live(nodes, 0, 75);
    const renewals = [...first.machine.authority.grants(now)].filter(({ renews }) => renews !== null);
    t.ok(
      renewals.length >= count && renewals.every(({ granted_ms }) => granted_ms > NOW + LIFE_MS),
      'all that are left were issued after the first end of their issuers',
    );
    const host = testSigner(21).id;
    const parent = grants.at(-1)!.digest;
    const letIn = give(last, last.signer.id, memberGrant(host, { parent }), now);
    const newcomer = newNode(testSigner(22));
    give(first, operator.id, memberGrant(newcomer.signer.id), now);
    everybody(nodes, now + 1000);

    const asked = [newcomer.signer.id, ...nodes.map(({ signer }) => signer.id)];
    introduce(newcomer.machine, first.machine.authority.about(asked), now + 2000);
    for (const { signer } of nodes)
      t.ok(newcomer.machine.authority.isMember(signer.id, now), 'what a newcomer is told is enough');
    for (const late of [newcomer, away]) {
      now = meet(late, nodes, now);
      t.equal(late.machine.ledger.hash, first.machine.ledger.hash);
      t.equal(late.machine.pending.records, 0);
      t.ok(late.machine.ledger.has(letIn));
      for (const id of [...nodes.map(({ signer }) => signer.id), host, late.signer.id]) {
        t.ok(late.machine.authority.isMember(id, now));
        t.equal(late.machine.authority.memberUntil(id), first.machine.authority.memberUntil(id));
      }
    }

    const records = [...first.machine.ledger.records()].filter(({ kind }) => kind !== 'genesis');
    const stored = { records: records.toReversed(), streams: [] };
    const again = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [last.signer], stored });
    t.equal(again.ledger.hash, first.machine.ledger.hash, 'nor does a restart change anything');
    t.same(
      again.handle({ kind: 'start' }, env(now)).filter(({ kind }) => kind === 'persist'),
      [],
    );
  });

t.test('once nobody has renewed them for a life, all have ended for everybody', async (t) => {
  const { nodes } = admittersFor(2);
  live(nodes, 0, 45);
  const now = NOW + 90 * DAY_MS;
  const late = newNode(testSigner(22));
  give(nodes[0]!, operator.id, memberGrant(late.signer.id), now);
  meet(late, nodes, now);
  for (const { machine } of [...nodes, late])
    for (const { signer } of nodes) t.notOk(machine.authority.isMember(signer.id, now));
});
