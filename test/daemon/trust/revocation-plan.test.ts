/** Whose word it takes to revoke a key, what of the key stays, and what is refused before anything is written. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { planRevocation, type RevocationSource } from '../../../daemon/trust/revocation-plan.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { type GrantBody, KEEPS_MAX, recordKey } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { operatorGrant } from '../../../protocols/trust/acts.ts';
import { genesis, memberGrant, NOW, operator, testSigner, write } from '../../protocols/ledger/fixtures.ts';

const [admitter, host, other, stranger] = [1, 2, 3, 4].map(testSigner) as [Signer, Signer, Signer, Signer];
const MAY_ADMIT = {
  roles: ['member', 'deployer', 'admitter'],
  admits: ['member', 'admit'],
} satisfies Partial<GrantBody>;

/** The operator let in an admitter, which let in a host; another is the operator's own. */
function stage() {
  const machine = new LedgerMachine({
    genesis,
    crypto: nodeCrypto,
    signers: [operator, admitter, host, other],
  });
  const grant = (by: Signer, to: Signer, changes: Partial<GrantBody>) =>
    write(machine, by.id, 'grant', recordKey.grant(to.id, by.id), memberGrant(to.id, changes));
  const above = grant(operator, admitter, MAY_ADMIT);
  grant(admitter, host, { roles: ['member'], parent: above.digest });
  grant(operator, other, MAY_ADMIT);
  const source = (...signers: Signer[]): RevocationSource => ({
    ledger: machine.ledger,
    authority: machine.authority,
    signers: signers.map(({ id }) => id),
    names: (key) => (key === admitter.id ? 'the admitter' : key.slice(-4)),
    now: NOW,
  });
  return { machine, source };
}

const request = (subject: Signer) => ({ subject: subject.id, reason: 'why' });

t.test('an admitter revokes what hangs on its grant, an operator everything', async (t) => {
  const { source } = stage();
  t.match(planRevocation(source(admitter), request(host)), {
    author: admitter.id,
    key: recordKey.revoke(host.id, admitter.id),
    body: { subject: host.id, reason: 'why' },
  });
  t.match(
    planRevocation(source(admitter, operator), request(host)),
    { author: operator.id },
    'the greater word',
  );
  t.match(planRevocation(source(other, operator), request(admitter)), { author: operator.id });
  const refused = (signer: Signer, subject: Signer, message: RegExp) =>
    t.throws(() => planRevocation(source(signer), request(subject)), { code: 'E_NOT_ALLOWED', message });
  refused(other, host, /or on the admitter, which let it in; nothing was changed/);
  refused(host, other, /with an operator's key; nothing was changed/);
  refused(admitter, admitter, /may not revoke the admitter/);
  refused(admitter, stranger, /may not revoke/);
  refused(admitter, operator, /may not revoke/);
});

t.test('what is planned has the effect that is meant', async (t) => {
  const { machine, source } = stage();
  const { author, key, body } = planRevocation(source(admitter), request(host));
  write(machine, author, 'revoke', key, body);
  t.equal(machine.authority.isMember(host.id), false);
  t.match([...machine.authority.revocations()], [{ effective: true, by: admitter.id }]);
});

t.test('a host that two let in is revoked by neither of them alone', async (t) => {
  const { machine, source } = stage();
  const grant = [...machine.authority.grants(NOW)].find(({ subject }) => subject === other.id)!;
  const body = memberGrant(host.id, { roles: ['member'], parent: grant.digest });
  write(machine, other.id, 'grant', recordKey.grant(host.id, other.id), body);
  t.throws(() => planRevocation(source(admitter), request(host)), { code: 'E_NOT_ALLOWED' });
  t.match(planRevocation(source(operator), request(host)), { author: operator.id });
});

t.test('all that is known of a key counts, or what it wrote up to a time', async (t) => {
  const { machine, source } = stage();
  const verdict = { subject: other.id, incarnation: 1, verdict: 'alive' };
  const key = (of: Signer) => recordKey.verdict(host.id, of.id);
  const early = write(machine, host.id, 'verdict', key(other), verdict, NOW + 1000);
  const late = write(machine, host.id, 'verdict', key(admitter), verdict, NOW + 60_000);
  const cut = (since_ms?: number) => {
    const { body } = planRevocation(source(admitter), {
      ...request(host),
      ...(since_ms === undefined ? {} : { since_ms }),
    });
    return [body.epoch, body.last];
  };
  t.same(cut(), [late.epoch, late.seq]);
  t.same(cut(NOW + 30_000), [early.epoch, early.seq]);
  t.same(cut(0), [0, 0], 'nothing');
});

t.test('an operator is revoked by another, and by no admitter', async (t) => {
  const { machine, source } = stage();
  const second = testSigner(9);
  write(machine, operator.id, 'grant', recordKey.grant(second.id, operator.id), operatorGrant(second.id));
  t.throws(() => planRevocation(source(admitter), request(second)), { code: 'E_NOT_ALLOWED' });
  t.match(planRevocation(source(admitter, operator), request(second)), { author: operator.id });
});

t.test('more to be kept than a record can name is refused', async (t) => {
  const { source } = stage();
  const keeps = Array.from({ length: KEEPS_MAX + 1 }, (_, n) => n.toString(16).padStart(64, '0'));
  const plan = (count: number) =>
    planRevocation(source(operator), { ...request(host), descendants: true, keeps: keeps.slice(0, count) });
  t.match(plan(KEEPS_MAX).body, { descendants: true, keeps: { length: KEEPS_MAX } });
  t.throws(() => plan(KEEPS_MAX + 1), { code: 'E_TOO_LARGE', message: /nothing was changed/ });
});
