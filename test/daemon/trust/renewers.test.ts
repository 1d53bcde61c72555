/** Whoever has renewed a host has not let it in: what it asks at its own node against that host. */
import t from 'tap';
import { found } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { renewalsDue } from '../../../protocols/trust/renewal.ts';
import { nodeGrant, tokenGrant } from '../../../protocols/trust/token.ts';
import { memberGrant, NOW, sealedAct, testSeed, testSigner } from '../../protocols/ledger/fixtures.ts';
import { ADMITTER } from '../../protocols/trust/facts.ts';
import { deskOf, trustOf } from './trust-of.ts';

const OPERATOR = 1;
const HOUR_MS = 3_600_000;
const LIFE_MS = 6 * HOUR_MS;
const [operator, host1, host2, token, laptop] = [OPERATOR, 2, 3, 4, 5].map(testSigner) as [
  Signer,
  Signer,
  Signer,
  Signer,
  Signer,
];

/** The laptop joined with a token that host1 had made, and host2 has renewed it since. @param self where it is asked. */
function stage(self: Signer) {
  const { genesis, grant } = found({ name: 'shop', operator, node: host1.id, crypto: nodeCrypto, now: NOW });
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self] });
  const { authority } = machine;
  let now = NOW;
  const introduce = async (envelopes: readonly Uint8Array[]) => {
    machine.handle({ kind: 'introduce', envelopes }, { now, random: () => 0.5 });
    return undefined;
  };
  let seq = 2;
  const take = (signer: Signer, body: Parameters<typeof sealedAct>[3]) => {
    seq += 1;
    const record = sealedAct(genesis.digest, signer, 'grant', body, { epoch: 2, seq, ms: now });
    void introduce([record.bytes]);
    return record.digest;
  };
  void introduce([grant.bytes]);
  take(host1, { ...memberGrant(host2.id, ADMITTER), parent: grant.digest });
  const given = { roles: ['member' as const], life_ms: LIFE_MS };
  const made = { ...given, subject: token.id, parent: grant.digest, notAfter_ms: now + HOUR_MS, uses: 1 };
  const joining = { ...given, grant: take(host1, tokenGrant(made)) };
  take(token, nodeGrant(laptop.id, joining, now));
  now += LIFE_MS - HOUR_MS;
  const alive = [host1, host2, laptop].map(({ id }) => id);
  for (const body of renewalsDue({ authority, self: host2.id, alive, now })) take(host2, body);
  now += 1_000;
  const members = [host1, host2, laptop].map(({ id }, at) => ({
    id,
    name: ['host1', 'host2', 'laptop'][at]!,
    status: 'failed',
  }));
  const trust = trustOf(machine, { self: self.id, genesis }, { introduce, now: () => now });
  return { authority, desk: deskOf(machine, trust, self.id, now, members) };
}

t.test('a host is revoked where it was let in or an operator is, and nowhere for renewing it', async (t) => {
  const elsewhere = stage(host2);
  t.equal(elsewhere.authority.memberUntil(laptop.id), NOW + 2 * LIFE_MS - HOUR_MS);
  t.throws(() => elsewhere.desk.planRevokeNode('laptop', {}), { code: 'E_NOT_ALLOWED' });
  await t.rejects(elsewhere.desk.removeNode('laptop', {}), { code: 'E_NOT_ALLOWED' });
  t.same([...elsewhere.authority.revocations()], []);
  const operatorKey = testSeed(OPERATOR).toString('hex');
  for (const { authority, desk, request } of [
    { ...stage(host1), request: {} },
    { ...elsewhere, request: { operatorKey } },
  ]) {
    await desk.removeNode('laptop', request);
    t.ok(authority.isRevoked(laptop.id));
    t.equal(authority.memberUntil(laptop.id), undefined);
  }
});
