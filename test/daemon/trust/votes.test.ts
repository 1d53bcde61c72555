/** Votes for operators that are not written, for they would never count. */
import t from 'tap';
import { found } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { OPERATORS_EVER_MAX } from '../../../protocols/trust/operators.ts';
import { NOW, testSigner } from '../../protocols/ledger/fixtures.ts';
import { trustOf } from './trust-of.ts';

t.test('as many operators as there may ever be are all: nobody votes for one more', async (t) => {
  const [operator, self] = [testSigner(1), testSigner(2)];
  const { genesis, grant } = found({ name: 'shop', operator, node: self.id, crypto: nodeCrypto, now: NOW });
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self] });
  const introduce = async (envelopes: readonly Uint8Array[]) => {
    machine.handle({ kind: 'introduce', envelopes }, { now: NOW, random: () => 0.5 });
    return undefined;
  };
  await introduce([grant.bytes]);
  const trust = trustOf(machine, { self: self.id, genesis, operator }, { introduce });
  const others = Array.from({ length: OPERATORS_EVER_MAX }, (_, at) => testSigner(100 + at).id);
  const last = others.pop()!;
  for (const key of others) t.match(await trust.appoint(key), { effective: true, written: true });
  const votes = () => [...machine.ledger.ofKind('grant')].flatMap(([, all]) => all).length;
  const before = votes();
  await t.rejects(trust.appoint(last), { code: 'E_NOT_ALLOWED', message: /has had 64 operators/ });
  t.equal(votes(), before);
  t.match(
    await trust.appoint(others[0]!),
    { effective: true, written: false },
    'who is one already is told so',
  );
});
