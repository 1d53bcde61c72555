/** Whoever comes back collects nothing before it has caught up: it may hear what all have acknowledged before all else. */
import t from 'tap';
import { recordKey } from '../../../protocols/base/records.ts';
import { LEDGER_DEFAULTS } from '../../../protocols/ledger/machine.ts';
import {
  acksOf,
  collect,
  everybody,
  exchange,
  genesis,
  introduce,
  memberGrant,
  NOW,
  newMachine,
  newNode,
  operator,
  round,
  settled,
  TAG,
  type TestNode,
  testSigner,
  write,
} from './fixtures.ts';

const { tombstone_ms, caughtUp_ms } = LEDGER_DEFAULTS;
const LATER = NOW + 2 * tombstone_ms;
const MINUTE_MS = 60_000;
/** More than nothing, and longer than a message of a repair takes. */
const BETWEEN_MS = caughtUp_ms / 4;

/** With the times that a daemon has. */
function restarted({ signer, machine }: TestNode): TestNode {
  const stored = { records: [...machine.ledger.records()], streams: [] };
  return { signer, machine: newMachine({ signers: [signer], stored, config: {} }) };
}

/** Three, of which one is to be away; all hold a deletion. */
function beforeItWent() {
  const nodes = settled(3) as [TestNode, TestNode, TestNode];
  write(nodes[0].machine, nodes[0].signer.id, 'tag', 'gone:1', null, NOW + 1);
  everybody(nodes, NOW + 1);
  const [b, away, c] = nodes;
  return { b, away: restarted(away), c };
}

t.test(
  'what others have written, and a member that they know, come before what they acknowledge is acted on',
  async (t) => {
    const { b, away, c } = beforeItWent();
    const d = newNode(testSigner(50));
    const key = recordKey.grant(d.signer.id, operator.id);
    const grant = write(b.machine, operator.id, 'grant', key, memberGrant(d.signer.id), NOW + 2);
    introduce(d.machine, [genesis, grant], NOW + 2);
    const kept = write(b.machine, b.signer.id, 'tag', 'kept:1', TAG, NOW + 3);
    for (const other of [c, d]) exchange(b, other, NOW + 3);
    write(d.machine, d.signer.id, 'tag', 'other:1', null, NOW + 4);
    const all = [away, b, c, d];
    for (const node of all) collect(node, LATER);
    introduce(away.machine, acksOf(b, c), LATER);
    collect(away, LATER + BETWEEN_MS);
    t.equal(away.machine.horizon_ms, 0);
    everybody([b, c, d], LATER + BETWEEN_MS);
    for (const node of [b, c, d]) collect(node, LATER + BETWEEN_MS);
    everybody(all, LATER + 2 * BETWEEN_MS);
    for (let turn = 1; turn <= 6; turn += 1) round(all, LATER + turn * MINUTE_MS);
    for (const { machine } of all) {
      t.equal(machine.ledger.siblings('tag', 'kept:1')[0]?.digest, kept.digest);
      t.equal(machine.ledger.tombstones_count, 0, 'deletions were collected');
      t.equal(machine.ledger.hash, away.machine.ledger.hash);
      t.equal(machine.horizon_ms, away.machine.horizon_ms);
    }
  },
);

t.test('it waits as long as something of that time comes, and no longer than ten minutes', async (t) => {
  const { b, away, c } = beforeItWent();
  const old = Array.from({ length: 100 }, (_, at) =>
    write(b.machine, b.signer.id, 'tag', `old:${at}`, TAG, NOW + 10 + at),
  );
  for (const node of [away, b, c]) collect(node, LATER);
  introduce(away.machine, acksOf(b, c), LATER);
  let now = LATER;
  for (const record of old) {
    now += BETWEEN_MS;
    introduce(away.machine, [record], now);
    collect(away, now);
    if (away.machine.horizon_ms > 0) break;
  }
  t.equal(now - LATER, 15 * caughtUp_ms + BETWEEN_MS);
});

t.test('it collects with the second look where nothing comes, or what is new', async (t) => {
  const { b, away, c } = beforeItWent();
  for (const node of [away, b, c]) collect(node, LATER);
  introduce(away.machine, acksOf(b, c), LATER);
  collect(away, LATER + 1);
  introduce(away.machine, [write(b.machine, b.signer.id, 'tag', 'new:1', TAG, LATER + 1)], LATER + 2);
  collect(away, LATER + caughtUp_ms);
  t.equal(away.machine.horizon_ms, 0);
  collect(away, LATER + caughtUp_ms + 1);
  t.ok(away.machine.horizon_ms > 0);
  t.equal(away.machine.ledger.tombstones_count, 0);
});
