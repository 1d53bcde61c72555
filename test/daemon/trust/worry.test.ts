/** The warning of a node whose grant ends soon, under a clock that is set. */
import t from 'tap';
import { found, sealAct } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { memberGrant, NOW, operator, testSigner } from '../../protocols/ledger/fixtures.ts';
import { trustOf } from './trust-of.ts';

const [DAY_MS, HOUR_MS] = [86_400_000, 3_600_000];
const [first, self] = [testSigner(1), testSigner(2)];

t.test('it is said once an hour, and at once by a clock that was set back', async (t) => {
  const { genesis } = found({ name: 'shop', operator, node: first.id, crypto: nodeCrypto, now: NOW });
  const body = memberGrant(self.id, { notAfter_ms: NOW + 60 * DAY_MS });
  const act = { cluster: genesis.digest, known: [], crypto: nodeCrypto, now: NOW };
  const grant = sealAct({ ...act, signer: operator, kind: 'grant', body });
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self] });
  machine.handle({ kind: 'introduce', envelopes: [grant.bytes] }, { now: NOW, random: () => 0.5 });
  let now = NOW;
  const said: number[] = [];
  const trust = trustOf(
    machine,
    {
      self: self.id,
      genesis,
      log: (_level, message) => {
        if (message.includes('ends soon')) said.push((now - NOW) / HOUR_MS);
      },
    },
    { now: () => now },
  );
  for (const hours of [24 * 40, 24 * 55, 24 * 55 + 0.5, 24 * 51, 24 * 51 + 0.5, 24 * 51 + 1]) {
    now = NOW + hours * HOUR_MS;
    trust.notice();
  }
  t.same(said, [24 * 55, 24 * 51, 24 * 51 + 1]);
});
