/** Hosts that all others refuse, and what undoes it known to one of them only: it brings that to their doors. */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import t, { type Test } from 'tap';
import { sealAct } from '../../../daemon/admission.ts';
import { nodeCrypto, signerFromSeed } from '../../../daemon/crypto.ts';
import type { ShoalNode } from '../../../daemon/node.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { operatorGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import { damage } from './disk-damage.ts';
import { eventually } from './eventually.ts';
import { MemoryCluster } from './memory-cluster.ts';

// Members notice losses and ask at doors in seconds; a loaded machine needs more.
t.setTimeout(400_000);

const names = async (node: ShoalNode) => (await node.backend.nodes()).map(({ name }) => name).join();
const alive = async (node: ShoalNode) =>
  (await node.backend.nodes())
    .filter(({ status }) => status === 'alive')
    .map(({ name }) => name)
    .join();
const standing = async (node: ShoalNode) => (await node.backend.status()).standing;

/** a, whose operator's key is stolen and revokes all these; what undoes it is in a drawer. */
async function robbed(t: Test, ...names: string[]) {
  const cluster = await MemoryCluster.create(t);
  const operatorKey = randomBytes(32).toString('hex');
  const recovery = signerFromSeed(Buffer.from(operatorKey, 'hex'));
  const a = await cluster.start('a');
  await a.backend.init({ recovery: [recovery.id] });
  const others: ShoalNode[] = [];
  for (const name of ['b', 'c']) {
    const node = await cluster.start(name);
    await node.backend.join({ token: (await a.backend.createToken({})).token });
    others.push(node);
  }
  const [b, c] = others as [ShoalNode, ShoalNode];
  for (const node of [a, b, c])
    await eventually(`${node.name} sees all`, async () => (await alive(node)) === 'a,b,c');
  // By the operator's key: there are numbers before it that the key never used.
  await a.backend.revokeToken((await a.backend.createToken({})).id, {});
  const since_ms = Date.now();
  await eventually('the clock ticks', () => Date.now() > since_ms);
  const refused = [b, c].filter(({ name }) => names.includes(name));
  for (const { id } of refused)
    await a.cluster!.trust.revocations.revoke({ subject: id, reason: 'mine now' });
  for (const node of refused)
    await eventually(`${node.name} says so`, async () => (await standing(node))?.state === 'revoked', 60_000);
  const { id: stolen } = a.cluster!.trust.operator!;
  return { cluster, a, b, c, undo: { stolen, request: { reason: 'stolen', since_ms, operatorKey } } };
}

t.test('a recovery at a host that all others refuse reaches them: it brings it to their doors', async (t) => {
  const { a, b, c, undo } = await robbed(t, 'b');
  await eventually('c has heard of it', async () => (await names(c)) === 'a,c');
  t.match(await b.backend.revokeOperator(undo.stolen, undo.request), { effective: true });
  t.match(await standing(b), { state: 'member' });
  for (const node of [a, c])
    await eventually(`${node.name} has it`, async () => (await alive(node)) === 'a,b,c', 90_000);
  await eventually('b sees them', async () => (await alive(b)) === 'a,b,c', 90_000);
  for (const node of [a, c])
    t.match(await node.backend.operators(), [{ revoked: false }, { key: undo.stolen, revoked: true }]);
});

t.test('of hosts that were refused together one is enough to bring all back', async (t) => {
  const { a, b, c, undo } = await robbed(t, 'b', 'c');
  await b.backend.revokeOperator(undo.stolen, undo.request);
  for (const node of [a, b, c])
    await eventually(`${node.name} sees all`, async () => (await alive(node)) === 'a,b,c', 90_000);
  for (const node of [b, c]) t.match(await standing(node), { state: 'member' });
});

t.test('a first host whose disk keeps of a theft only the revocations finds the others again', async (t) => {
  const { cluster, a, b, c, undo } = await robbed(t, 'b', 'c');
  await a.backend.revokeOperator(undo.stolen, undo.request);
  for (const node of [a, b, c])
    await eventually(`${node.name} sees all`, async () => (await alive(node)) === 'a,b,c', 90_000);
  await cluster.stop('a');
  const lost = damage(
    path.join(cluster.directory, 'a'),
    ({ kind, key }) => kind === 'grant' || (kind === 'revoke' && key.startsWith(undo.stolen)),
  );
  t.ok(lost >= 4);
  const again = await cluster.start('a');
  t.ok(again.cluster!.ledger.machine.authority.isRevoked(b.id), 'by what is left there');
  for (const node of [again, b, c])
    await eventually(`${node.name} sees all`, async () => (await alive(node)) === 'a,b,c', 90_000);
  t.same(
    again.cluster!.ledger.machine.authority.operators().map(({ inForce }) => inForce),
    [true, false],
  );
});

t.test('who was sent away for good leaves nothing at a door', async (t) => {
  const { cluster, a, b, undo } = await robbed(t, 'b');
  const { ledger, trust } = a.cluster!;
  const thief = trust.operator!;
  await a.backend.revokeOperator(undo.stolen, undo.request);
  await a.cluster!.trust.revocations.revoke({
    subject: b.id,
    reason: 'sold',
    signer: signerFromSeed(Buffer.from(undo.request.operatorKey, 'hex')),
  });
  const seal = (signer: Signer, subject: string, at_ms: number, kind: 'grant' | 'revoke') =>
    sealAct({
      cluster: ledger.machine.cluster,
      signer,
      kind,
      body: kind === 'grant' ? operatorGrant(subject) : revokeBody({ subject, reason: 'mine' }),
      known: [],
      crypto: nodeCrypto,
      now: at_ms,
    });
  const puppet = signerFromSeed(new Uint8Array(randomBytes(32)));
  const { id: recovery } = signerFromSeed(Buffer.from(undo.request.operatorKey, 'hex'));
  const forged = seal({ id: recovery, sign: () => new Uint8Array(64) }, thief.id, Date.now(), 'revoke');
  // Under numbers that the dismissed key never used: by the ledger's rules the first of these is a vote that counts.
  const old_ms = undo.request.since_ms - 3_600_000;
  const plot = [seal(thief, puppet.id, old_ms, 'grant'), seal(puppet, recovery, old_ms, 'revoke')];
  const before = ledger.machine.ledger.size;
  for (const acts of [[forged], plot, [...plot, forged]]) {
    cluster.ahead_ms += 30_000;
    await trust.answerAppeal(b.id, { acts: acts.map(({ bytes }) => bytes) });
  }
  t.equal(ledger.machine.ledger.size, before);
  t.notOk(ledger.machine.authority.isMember(b.id));
  const stranger = trust.answerAppeal(puppet.id, { acts: [plot[0]!.bytes] });
  await t.rejects(stranger, { code: 'E_TOKEN_REFUSED' }, 'a stranger');
  // Over the mesh, which such a host is not let into, the ledger would take them.
  t.equal(await ledger.introduce(plot.map(({ bytes }) => bytes)), undefined);
  t.ok(ledger.machine.authority.isMember(b.id));
});
