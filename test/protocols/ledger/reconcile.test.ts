/** Comparing ranges makes any two ledgers equal to the full exchange of their states, at about the cost of the difference. */
import fc from 'fast-check';
import t from 'tap';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import {
  cluster,
  exchange,
  genesis,
  introduce,
  memberGrant,
  NOW,
  operator,
  sealedAct,
  type TestNode,
  testSigner,
  write,
} from './fixtures.ts';

const step = fc.record({
  node: fc.nat(1),
  key: fc.nat(40),
  isDeletion: fc.boolean(),
  /** Whether the other hears of it at once. */
  isHeard: fc.boolean(),
});

t.test('deltas equal full state: a repair ends where handing over every record would', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const [a, b, full] = cluster(3) as [TestNode, TestNode, TestNode];
      const written: LedgerRecord[] = [];
      for (const [at, { node, key, isDeletion, isHeard }] of steps.entries()) {
        const [writer, other] = node === 0 ? [a, b] : [b, a];
        const body = isDeletion ? null : { digest: `sha256:${'1'.repeat(64)}` };
        const record = write(writer.machine, writer.signer.id, 'tag', `app:${key}`, body, NOW + at);
        written.push(record);
        if (isHeard) introduce(other.machine, [record], NOW + at);
      }
      introduce(full.machine, written, NOW + steps.length);
      exchange(a, b, NOW + steps.length);
      return (
        a.machine.ledger.hash === full.machine.ledger.hash &&
        b.machine.ledger.hash === full.machine.ledger.hash
      );
    }),
    { numRuns: 60 },
  );
  t.pass();
});

t.test('an empty ledger is filled through as many rounds as its size needs', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  for (let number = 0; number < 120; number += 1)
    write(a.machine, a.signer.id, 'unheard-of', `key:${number}`, { text: 'x'.repeat(60_000) });
  const { bytes } = exchange(a, b);
  t.equal(a.machine.ledger.hash, b.machine.ledger.hash);
  t.ok(bytes < 120 * 60_000 * 1.05, `${bytes} bytes`);
});

t.test('of two grants of one key both travel, whichever the other side refuses', async (t) => {
  for (const isTurned of [false, true]) {
    const [a, b] = (isTurned ? cluster(2).reverse() : cluster(2)) as [TestNode, TestNode];
    const [older, later] = [0, 1].map((at) => {
      const body = memberGrant(testSigner(50).id, { roles: ['member'], notAfter_ms: NOW + at });
      return sealedAct(genesis.digest, operator, 'grant', body, { seq: 2 ** 31 + at, ms: NOW + at });
    }) as [LedgerRecord, LedgerRecord];
    introduce(a.machine, [older], NOW + 2);
    introduce(b.machine, [later], NOW + 2);
    // Whatever it is refused for there: the other one is asked for all the same.
    const refused = a.machine.authority.admission.bind(a.machine.authority);
    a.machine.authority.admission = (record) =>
      record.digest === later.digest ? 'unknown-author' : refused(record);
    exchange(a, b, NOW + 3_000);
    t.ok(b.machine.ledger.has(older));
  }
});
