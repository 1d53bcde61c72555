/** A node whose disk has lost what says of which cluster it is, or that it is a member: nothing ends for that. */
import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { Log } from '../../../daemon/log.ts';
import type { ShoalNode } from '../../../daemon/node.ts';
import { StateStore } from '../../../daemon/store/state-store.ts';
import { ShoalError } from '../../../protocols/base/errors.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { damage, damageValue, dropValue } from './disk-damage.ts';
import { eventually } from './eventually.ts';
import { IMAGE, MemoryCluster } from './memory-cluster.ts';

// Members find each other and notice losses in seconds; a loaded machine needs more.
t.setTimeout(400_000);

const DAY_MS = 86_400_000;
const hash = (node: ShoalNode) => node.cluster!.ledger.machine.ledger.hash;

function listening(messages: string[]): Log {
  return (_level, message) => void messages.push(message);
}

t.test('a node whose disk forgot its cluster finds it among the records, and keeps it again', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  await eventually('b has it all', () => hash(a!) === hash(b!));
  await cluster.stop('b');
  const data = path.join(cluster.directory, 'b');
  damageValue(data, 'genesis');
  await rm(path.join(data, 'state.db.spare'));
  const messages: string[] = [];
  const again = await cluster.start('b', {}, listening(messages));
  t.equal(again.cluster?.id, a!.cluster!.id);
  await eventually('its disk is whole again', () =>
    messages.some((message) => message.includes('has come from other members')),
  );
  await cluster.stop('b');
  const later = await cluster.start('b', {}, listening(messages));
  t.equal(later.cluster?.id, a!.cluster!.id, 'the start after that one knows it too');
  await t.rejects(later.backend.init({}), { code: 'E_ALREADY_CLUSTER' });
  await cluster.stop('b');

  // As a version left it that found the record and did not keep the value.
  dropValue(data, 'genesis');
  await rm(path.join(data, 'state.db.spare'));
  t.equal((await cluster.start('b')).cluster?.id, a!.cluster!.id);
});

t.test('records of which nobody can say to what cluster they belong are told of', async (t) => {
  const cluster = await MemoryCluster.create(t);
  await cluster.grow('a');
  await cluster.stop('a');
  const data = path.join(cluster.directory, 'a');
  damageValue(data, 'genesis');
  damage(data, ({ kind }) => kind === 'genesis');
  await rm(path.join(data, 'state.db.spare'));
  const isTold = (message: string) => message.includes('holds records of a cluster');
  for (const time of ['first', 'second']) {
    const messages: string[] = [];
    const again = await cluster.start('a', {}, listening(messages));
    t.equal(again.cluster, undefined);
    t.ok(messages.some(isTold), `the ${time} time`);
    await cluster.stop('a');
  }
});

const allButGenesis = ({ kind }: LedgerRecord) => kind !== 'genesis';

t.test(
  'a node that lost what makes it a member waits for others, and comes up once one is there',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const [a, b] = await cluster.grow('a', 'b');
    await eventually('b has it all', () => hash(a!) === hash(b!));
    await cluster.stop('a');
    await cluster.stop('b');
    const data = path.join(cluster.directory, 'b');
    t.ok(damage(data, allButGenesis) > 4);
    const messages: string[] = [];
    const again = await cluster.start('b', {}, listening(messages));
    const lack = /the record that makes this node a member is lost.* 1 that are remembered are dialled/;
    t.equal(again.cluster, undefined);
    const status = await again.backend.status();
    t.match(status, { cluster: { id: a!.cluster!.id }, problems: [{ kind: 'membership', message: lack }] });
    t.ok(messages.some((message) => lack.test(message)));
    await t.rejects(again.backend.run({ name: 'web', image: IMAGE }), { code: 'E_UNREACHABLE' });
    await t.rejects(again.backend.init({}), { code: 'E_ALREADY_CLUSTER' });
    const { ledger } = again.waiting!.ledger.machine;
    t.same([...ledger.recordsOf(b!.id)], [], 'and nothing was written meanwhile');
    const back = await cluster.start('a');
    await eventually('it is up', () => again.cluster !== undefined, 60_000);
    await again.backend.run({ name: 'web', image: IMAGE });
    await eventually('both have the same', () => hash(back) === hash(again));
    await eventually('nothing is amiss', async () => (await again.backend.status()).problems.length === 0);
    t.notOk(messages.some((message) => message.includes('signed two records with one number')));
  },
);

t.test('a node that lost its own grant, which has ended since, asks at doors and is renewed', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  const b = await cluster.start('b');
  await b.backend.join({ token: (await a!.backend.createToken({ nodeTtl_ms: 10 * DAY_MS })).token });
  await eventually('b has it all', () => hash(a!) === hash(b));
  // Longer than from one look of the housekeeping to the next.
  await sleep(6_000);
  await cluster.stop('b');
  cluster.ahead_ms += 15 * DAY_MS;
  await eventually('it is a member no more', async () => (await a!.backend.nodes()).length === 1);
  t.ok(damage(path.join(cluster.directory, 'b'), allButGenesis) > 4);
  const again = await cluster.start('b');
  t.equal(again.cluster, undefined);
  await eventually('it is up', () => again.cluster !== undefined, 60_000);
  await eventually('both have the same', () => hash(a!) === hash(again), 60_000);
  t.equal((await a!.backend.nodes()).length, 2);
});

t.test('so it is where somebody tells it first that cannot renew it', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  const [b, c] = [await cluster.start('b'), await cluster.start('c')];
  await b.backend.join({ token: (await a!.backend.createToken({ nodeTtl_ms: 10 * DAY_MS })).token });
  await c.backend.join({ token: (await a!.backend.createToken({})).token });
  await eventually('b sees all', async () => (await b.backend.nodes()).length === 3);
  // Longer than from one look of the housekeeping to the next.
  await sleep(6_000);
  await cluster.stop('b');
  cluster.ahead_ms += 15 * DAY_MS;
  await eventually('it is a member no more', async () => (await c.backend.nodes()).length === 2);
  await cluster.stop('a');
  t.ok(damage(path.join(cluster.directory, 'b'), allButGenesis) > 4);
  const again = await cluster.start('b');
  await eventually('it is up', () => again.cluster !== undefined, 60_000);
  t.match(await again.backend.status(), { standing: { state: 'expired' } });
  await cluster.start('a');
  await eventually('it is a member', async () => (await c.backend.nodes()).length === 3, 90_000);
  t.match(await again.backend.status(), { standing: { state: 'member' } });
});

t.test('the first node remembers where the others are, though it was welcomed by nobody', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [, b] = await cluster.grow('a', 'b');
  // Longer than from one look of the housekeeping to the next.
  await sleep(6_000);
  await cluster.stop('a');
  t.ok(damage(path.join(cluster.directory, 'a'), allButGenesis) > 4);
  const again = await cluster.start('a');
  await eventually('it is up', () => again.cluster !== undefined);
  await eventually('both have the same', () => hash(b!) === hash(again));
  t.ok((await again.backend.createToken({})).token, 'and is what it was');
});

t.test('a node that remembers nobody lets no stranger in, and is helped by a token', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  await eventually('b has it all', () => hash(a!) === hash(b!));
  await cluster.stop('b');
  const data = path.join(cluster.directory, 'b');
  damage(data, allButGenesis);
  dropValue(data, 'contacts');
  await rm(path.join(data, 'state.db.spare'));
  const again = await cluster.start('b');
  const [problem] = (await again.backend.status()).problems;
  t.match(problem, { kind: 'membership', message: /none is remembered here, so run `shoal join`/ });
  t.same(again.waiting!.peers, []);
  const other = await cluster.start('c');
  await other.backend.init({});
  const foreign = await other.backend.createToken({});
  await t.rejects(again.backend.join(foreign), { code: 'E_DATA_OTHER_CLUSTER' });
  await again.backend.join({ token: (await a!.backend.createToken({})).token });
  await eventually('both have the same', () => hash(a!) === hash(again));
  t.equal(again.id, b!.id);
});

t.test(
  'the only member of a cluster comes up again; one that cannot is told how to begin anew',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const [a] = await cluster.grow('a');
    const operator = a!.cluster!.trust.operator!.id;
    const data = path.join(cluster.directory, 'a');
    await cluster.stop('a');
    damage(data, allButGenesis);
    const up = await cluster.start('a');
    t.equal(up.cluster?.id, a!.cluster!.id);
    t.ok((await up.backend.createToken({})).token);
    await cluster.stop('a');

    damage(data, allButGenesis);
    damageValue(data, 'founding');
    await rm(path.join(data, 'state.db.spare'));
    const again = await cluster.start('a');
    t.match((await again.backend.status()).problems, [
      { message: /if this was its only member, .* move state.db and state.db.spare away, .* `shoal init`/ },
    ]);
    await cluster.stop('a');
    for (const name of ['state.db', 'state.db.spare'])
      await rename(path.join(data, name), path.join(data, `${name}.away`));
    const anew = await cluster.start('a');
    await anew.backend.init({});
    t.equal(anew.id, a!.id);
    t.not(anew.cluster!.id, a!.cluster!.id);
    t.equal(anew.cluster!.trust.operator!.id, operator);
  },
);

t.test('a node that waits can be stopped', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [, b] = await cluster.grow('a', 'b');
  await cluster.stop('a');
  await cluster.stop('b');
  damage(path.join(cluster.directory, 'b'), allButGenesis);
  const again = await cluster.start('b');
  t.not(again.waiting, undefined, b!.id);
  await cluster.stop('b');
  await t.rejects(again.failed, { code: 'E_CANCELLED' });
});

t.test(
  'a join that failed on a full disk leaves nothing once there is space, and says what failed',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const [a] = await cluster.grow('a');
    const b = await cluster.start('b');
    const { createMesh } = cluster.network;
    const { clear } = StateStore.prototype;
    t.teardown(() => {
      StateStore.prototype.clear = clear;
    });
    cluster.network.createMesh = async () => {
      throw new ShoalError('E_PORT_IN_USE', 'taken');
    };
    let isFull = true;
    let tries = 0;
    StateStore.prototype.clear = function (this: StateStore) {
      tries += 1;
      if (isFull) throw new ShoalError('E_DISK_FULL', 'full');
      clear.call(this);
    };
    const { token } = await a!.backend.createToken({ uses: 2 });
    await t.rejects(b.backend.join({ token }), { code: 'E_PORT_IN_USE' }, 'and not that the disk is full');
    await t.rejects(b.backend.init({}), { code: 'E_DISK_FULL' }, 'it is in no cluster');
    await eventually('it is tried again', () => tries > 3);
    isFull = false;
    cluster.network.createMesh = createMesh;
    const before = tries;
    await eventually('and again', () => tries > before);
    await cluster.stop('b');
    const again = await cluster.start('b');
    t.equal((await again.backend.status()).cluster, null);
    await again.backend.join({ token });
    await eventually('both have the same', () => hash(a!) === hash(again));
  },
);
