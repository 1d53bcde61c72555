/**
 * A node's disk that is damaged, lost, old or copied: it comes up with what is true, gets the rest from others, gives no
 * number twice, and says what people must do.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { cp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { LEDGER_CHANNEL } from '../../../daemon/drivers/ledger-driver.ts';
import type { Log } from '../../../daemon/log.ts';
import type { ShoalNode } from '../../../daemon/node.ts';
import { damage } from './disk-damage.ts';
import { eventually } from './eventually.ts';
import { IMAGE, MemoryCluster } from './memory-cluster.ts';

// Members find each other and notice losses in seconds; a loaded machine needs more.
t.setTimeout(400_000);

const hash = (node: ShoalNode) => node.cluster!.ledger.machine.ledger.hash;

function listening(messages: string[]): Log {
  return (_level, message) => void messages.push(message);
}

t.test('damaged records are told of, left out, and fetched again from a member', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  await a!.backend.run({ name: 'web', image: IMAGE });
  await eventually('b has it all', () => hash(a!) === hash(b!));
  await cluster.stop('b');
  const bad = damage(path.join(cluster.directory, 'b'), ({ kind }) =>
    ['workload', 'image', 'tag'].includes(kind),
  );
  t.equal(bad, 3);
  const messages: string[] = [];
  const again = await cluster.start('b', {}, listening(messages));
  t.ok(messages.some((message) => message.includes('damaged')));
  t.match((await again.backend.clusterInfo()).ledger, { isInDoubt: true });
  t.match((await a!.backend.clusterInfo()).ledger, { isInDoubt: false });
  await eventually('b has the workload again', async () => (await again.backend.workloads()).length === 1);
  await eventually('both have the same', () => hash(a!) === hash(again));
  await eventually('it says when all has come', () =>
    messages.some((message) => message.includes('has come from other members')),
  );
  await cluster.stop('b');
  const later: string[] = [];
  await cluster.start('b', {}, listening(later));
  t.notOk(
    later.some((message) => message.includes('damaged')),
    'once',
  );
});

t.test('what is lost is told though the start that found it fails, and until it has come', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  await a!.backend.run({ name: 'web', image: IMAGE });
  await eventually('b has it all', () => hash(a!) === hash(b!));
  for (const name of ['a', 'b']) await cluster.stop(name);
  t.equal(
    damage(path.join(cluster.directory, 'b'), ({ kind }) => kind === 'workload'),
    1,
  );
  const taken = createSocket('udp4').bind(0, '127.0.0.1');
  t.teardown(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address();
  const [first, second]: [string[], string[]] = [[], []];
  const dns = [{ host: '127.0.0.1', port }];
  await t.rejects(cluster.start('b', { dns }, listening(first)), { code: 'E_PORT_IN_USE' });
  t.ok(first.some((message) => message.startsWith('state.db was damaged')));
  await cluster.start('b', {}, listening(second));
  t.ok(second.some((message) => message.startsWith('state.db was found damaged before')));
});

t.test(
  'a node with damaged records that is alone writes under new numbers: nothing of it is lost later',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const [a, b] = await cluster.grow('a', 'b');
    for (const name of ['one', 'two', 'three']) await b!.backend.run({ name, image: IMAGE });
    await eventually('a has it all', () => hash(a!) === hash(b!));
    await cluster.stop('a');
    await cluster.stop('b');
    t.equal(
      damage(path.join(cluster.directory, 'b'), ({ key }) => key === 'default/one'),
      1,
    );
    const messages: string[] = [];
    const alone = await cluster.start('b', {}, listening(messages));
    await alone.backend.run({ name: 'four', image: IMAGE });
    await alone.backend.scale({ namespace: 'default', name: 'two' }, 2);
    const back = await cluster.start('a', {}, listening(messages));
    for (const node of [alone, back]) {
      await eventually(`${node.name} has all four, and the change`, async () => {
        const workloads = await node.backend.workloads();
        return (
          workloads.length === 4 && workloads.some(({ name, spec }) => name === 'two' && spec.replicas === 2)
        );
      });
    }
    await eventually('both have the same', () => hash(alone) === hash(back));
    t.notOk(messages.some((message) => message.includes('signed two records with one number')));
  },
);

t.test('a node that lost its own grant and those of others gets them again from members', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  await eventually('b has it all', () => hash(a!) === hash(b!));
  await cluster.stop('b');
  const data = path.join(cluster.directory, 'b');
  t.ok(damage(data, ({ kind }) => kind === 'grant') >= 2);
  const messages: string[] = [];
  const again = await cluster.start('b', {}, listening(messages));
  await eventually('both have the same', () => hash(a!) === hash(again));
  await eventually('it says when all has come', () =>
    messages.some((message) => message.includes('has come from other members')),
  );
});

t.test('a node that lost the grant of its only peer keeps it until it has brought that again', async (t) => {
  const cluster = await MemoryCluster.create(t);
  let isMute = false;
  const createMesh = cluster.network.createMesh.bind(cluster.network);
  cluster.network.createMesh = async (init) => {
    const mesh = await createMesh(init);
    const send = mesh.send.bind(mesh);
    const publish = mesh.publish.bind(mesh);
    return Object.assign(mesh, {
      send: (...given: Parameters<typeof send>) =>
        isMute && given[1] === LEDGER_CHANNEL ? undefined : send(...given),
      publish: (body: Uint8Array) => (isMute ? Promise.resolve() : publish(body)),
    });
  };
  const [a, b] = await cluster.grow('a', 'b');
  await eventually('b has it all', () => hash(a!) === hash(b!));
  await cluster.stop('b');
  const data = path.join(cluster.directory, 'b');
  t.equal(
    damage(data, ({ kind, key }) => kind === 'grant' && key.startsWith(a!.id)),
    1,
  );
  const messages: string[] = [];
  const isOver = () => messages.some((message) => message.includes('has come from other members'));
  // Slow to say what it knows.
  isMute = true;
  const again = await cluster.start('b', {}, listening(messages));
  await eventually('the two have met', () => again.cluster!.peers.includes(a!.id));
  // Longer than from one look of the housekeeping to the next.
  await sleep(6_000);
  t.same(again.cluster!.peers, [a!.id]);
  t.notOk(isOver());
  isMute = false;
  // Who has news compares soon.
  await a!.backend.run({ name: 'web', image: IMAGE });
  await eventually('both have the same', () => hash(a!) === hash(again));
  await eventually('it says when all has come', isOver, 60_000);
  t.same(again.cluster!.peers, [a!.id]);
});

const LOSSES = {
  garbage: (data: string) => writeFile(path.join(data, 'state.db'), Buffer.alloc(60_000, 7)),
  emptied: (data: string) => writeFile(path.join(data, 'state.db'), ''),
  gone: (data: string) => rm(path.join(data, 'state.db')),
};

t.test(
  'a node whose state is lost whole finds back into its cluster by what it kept beside it',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const [a, b] = await cluster.grow('a', 'b');
    const messages: string[] = [];
    let last = b!;
    for (const [loss, lose] of Object.entries(LOSSES)) {
      await last.backend.run({ name: loss, image: IMAGE });
      await eventually(`${loss}: a has it all`, () => hash(a!) === hash(last));
      const { epoch } = last.cluster!.ledger.machine.ledger.get('member', b!.id)!;
      await cluster.stop('b');
      await lose(path.join(cluster.directory, 'b'));
      // Before the disk was lost this clock was ahead: it is no help in telling lives apart.
      cluster.ahead_ms -= 5_000;
      last = await cluster.start('b', {}, listening(messages));
      t.ok(
        messages.some((message) => message.includes('what is missing comes from other members')),
        loss,
      );
      await eventually(`${loss}: it is up`, () => last.cluster !== undefined, 60_000);
      await eventually(`${loss}: both have the same`, () => hash(a!) === hash(last), 60_000);
      await eventually(`${loss}: it is told as a new life`, () => {
        const member = a!.cluster!.ledger.machine.ledger.get('member', b!.id);
        return member !== undefined && member.epoch > epoch;
      });
    }
    t.notOk(messages.some((message) => message.includes('signed two records with one number')));
    t.notOk(messages.some((message) => message.includes('with a token')));
  },
);

t.test('a node that began its cluster and is alone comes up in it again without its state', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  for (const [loss, lose] of Object.entries(LOSSES)) {
    await cluster.stop('a');
    await lose(path.join(cluster.directory, 'a'));
    const again = await cluster.start('a');
    t.equal(again.cluster?.id, a!.cluster!.id, loss);
    t.ok((await again.backend.createToken({})).token);
    await cluster.stop('a');
    await cluster.start('a');
  }
  const b = await cluster.start('b');
  const first = await cluster.stop('a').then(() => cluster.start('a'));
  await b.backend.join({ token: (await first.backend.createToken({})).token });
  await eventually('both have the same', () => hash(first) === hash(b));
});

t.test(
  'a node that has nothing of its cluster left keeps its id, and joins again with a token',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const [a, b] = await cluster.grow('a', 'b');
    for (const [loss, lose] of Object.entries(LOSSES)) {
      await cluster.stop('b');
      const data = path.join(cluster.directory, 'b');
      await lose(data);
      // One that is damaged is as good as none.
      await writeFile(path.join(data, 'state.db.spare'), loss === 'gone' ? '' : 'garbage\n{}\n');
      const messages: string[] = [];
      const again = await cluster.start('b', {}, listening(messages));
      t.ok(
        messages.some((message) => message.includes('join again with a token')),
        loss,
      );
      t.equal(again.id, b!.id);
      const { token } = await a!.backend.createToken({});
      await again.backend.join({ token });
      await eventually(`${loss}: both have the same`, () => hash(a!) === hash(again));
    }
  },
);

t.test('a restored snapshot, alone or not, gives no number twice; its records converge', async (t) => {
  for (const isAlone of [false, true]) {
    const cluster = await MemoryCluster.create(t);
    const messages: string[] = [];
    const [a, b] = await cluster.grow('a', 'b');
    await eventually('b has it all', () => hash(a!) === hash(b!));
    await cluster.stop('b');
    const data = path.join(cluster.directory, 'b');
    await cp(data, `${data}-snapshot`, { recursive: true });
    // Its future: numbers that are known to others.
    const future = await cluster.start('b', {}, listening(messages));
    for (const name of ['one', 'two']) await future.backend.run({ name, image: IMAGE });
    await eventually('a has it all', () => hash(a!) === hash(future));
    const { incarnation } = future.cluster!.view.members.get(b!.id)!;
    await cluster.stop('b');
    if (isAlone) await cluster.stop('a');
    await rm(data, { recursive: true });
    await cp(`${data}-snapshot`, data, { recursive: true });
    // Lives are told apart by the second in which they begin.
    await sleep(1100);
    const restored = await cluster.start('b', {}, listening(messages));
    await restored.backend.run({ name: 'three', image: IMAGE });
    const other = isAlone ? await cluster.start('a', {}, listening(messages)) : a!;
    await eventually('both have the same', () => hash(other) === hash(restored));
    for (const node of [other, restored]) {
      await eventually('all three are there', async () => (await node.backend.workloads()).length === 3);
      await eventually('as a new incarnation, alive', () => {
        const member = node.cluster!.view.members.get(b!.id)!;
        return member.incarnation > incarnation && member.status === 'alive';
      });
      t.equal(node.cluster!.problems.copy, null);
    }
    t.notOk(messages.some((message) => message.includes('signed two records with one number')));
    for (const name of ['a', 'b']) await cluster.stop(name);
  }
});

t.test('a daemon finds out that another one writes with its key, and says so', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const messages: string[] = [];
  const [a, b] = await cluster.grow('a', 'b');
  await eventually('b has it all', () => hash(a!) === hash(b!));
  await cluster.stop('b');
  const data = path.join(cluster.directory, 'b');
  await cp(data, path.join(cluster.directory, 'clone'), { recursive: true });
  const one = await cluster.start('b', {}, listening(messages));
  await sleep(1100);
  const two = await cluster.start('clone', {}, listening(messages));
  t.equal(two.id, one.id);
  t.same((await two.backend.status()).problems, [], 'what the other wrote before may be of an earlier life');
  // A mesh has one place for each key, so what each wrote is carried to the other by hand.
  const memberOf = ({ cluster }: ShoalNode) => cluster!.ledger.machine.ledger.get('member', two.id)!;
  for (const [from, to, there] of [
    [two, one, '/memory/clone'],
    [one, two, '/memory/b'],
  ] as const) {
    // Whoever has noticed the other says anew where it is.
    await eventually(`each has its own word`, () => memberOf(from).digest !== memberOf(to).digest);
    await to.cluster!.ledger.introduce([memberOf(from).bytes]);
    const problems = await eventually(`the one at ${there} is named`, async () => {
      const { problems } = await to.backend.status();
      return problems.some(({ message }) => message.includes(there)) && problems;
    });
    t.match(problems, [{ kind: 'copied-key', message: /^E_KEY_COPIED: two daemons run with the key of / }]);
    t.match(await to.backend.nodes(), [{ name: 'a', copied: false }, { copied: true }]);
  }
  const theirs = () => a!.backend.status().then(({ problems }) => problems);
  await a!.cluster!.ledger.introduce([memberOf(one).bytes]);
  await eventually('the others are told where both are', async () => {
    const [problem] = await theirs();
    return problem?.kind === 'copied-key' && /at \/memory\/\w+ and at \/memory\/\w+\./.test(problem.message);
  });
  await cluster.stop('clone');
  cluster.ahead_ms = 700_000;
  await eventually('it is over once one of the two has stopped', async () => {
    const { problems } = await one.backend.status();
    return problems.length === 0 && (await theirs()).length === 0;
  });
  t.notOk(messages.some((message) => message.includes('signed two records with one number')));
});
