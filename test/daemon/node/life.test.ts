/** A cluster of whole nodes, from its first to its last hour: join, run, scale, look in, stop, remove, restart. */
import t from 'tap';
import { createNode } from '../../../daemon/index.ts';
import { eventually } from './eventually.ts';
import { IMAGE, MemoryCluster, running } from './memory-cluster.ts';

// Members find each other and notice losses in seconds; a loaded machine needs more.
t.setTimeout(120_000);

const WEB = { namespace: 'default', name: 'web' };
const text = (chunks: readonly Uint8Array[]) => Buffer.concat(chunks).toString('utf8');

t.test('three nodes run, scale, stop and remove a workload, asked at any of them', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b, c] = await cluster.grow('a', 'b', 'c');
  const spec = {
    name: 'web',
    image: IMAGE,
    replicas: 2,
    command: ['script', 'out:hello', 'forever'],
    resources: { cpu_millis: 100 },
  };
  const submitted = await b!.backend.run(spec);
  t.match(submitted, { generation: 1, desired: 2, running: 0 });
  for (const node of [a!, b!, c!]) {
    await eventually(
      `${node.name} sees both run`,
      async () => (await running(node.backend, 'web')).length === 2,
    );
  }

  await c!.backend.scale(WEB, 3);
  const three = await eventually('three run', async () => {
    const now = await running(a!.backend, 'web');
    return now.length === 3 && now;
  });
  for (const node of [b!, c!]) {
    await eventually(
      `${node.name} sees three`,
      async () => (await running(node.backend, 'web')).length === 3,
    );
  }
  t.same(three.map(({ slot }) => slot).sort(), ['default/web/0', 'default/web/1', 'default/web/2']);
  t.equal(new Set(three.map(({ node }) => node)).size, 3, 'spread over the nodes');

  for (const { index } of three) {
    const seen: string[] = [];
    const signal = AbortSignal.timeout(20_000);
    for await (const line of a!.backend.logs({ ...WEB, index }, { follow: false, signal }))
      seen.push(line.text);
    t.same(seen, ['hello'], `the log of ${index}, wherever it runs`);

    const output: Uint8Array[] = [];
    const io = {
      stdin: Buffer.from('ping'),
      onOutput: (_: string, chunk: Uint8Array) => void output.push(chunk),
      signal,
    };
    t.same(await b!.backend.exec({ ...WEB, index }, ['script', 'cat', 'exit:3'], io), { code: 3 });
    t.equal(text(output), 'ping', `exec in ${index}, wherever it runs`);
  }

  await a!.backend.stop(WEB);
  await eventually('nothing runs', async () => (await running(b!.backend, 'web')).length === 0);
  t.match(await c!.backend.workload(WEB), { stopped: true, spec: { replicas: 3 } });

  await b!.backend.scale(WEB, 1);
  await eventually('one runs again', async () => (await running(c!.backend, 'web')).length === 1);

  await a!.backend.remove(WEB);
  for (const node of [a!, b!, c!]) {
    await eventually(
      `${node.name} knows no workload`,
      async () => (await node.backend.workloads()).length === 0,
    );
    await eventually(`${node.name} has no container`, async () => (await node.runtime.list()).length === 0);
  }
});

t.test('changes made one right after another at one node each build on the one before', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  await a!.backend.run({ name: 'web', image: IMAGE });
  await a!.backend.scale(WEB, 3);
  const stopped = await a!.backend.stop(WEB);
  t.match(stopped, { generation: 3, stopped: true, spec: { replicas: 3 } });
  await a!.backend.remove(WEB);
  await t.rejects(a!.backend.workload(WEB), { code: 'E_NOT_FOUND' });
});

t.test('watch tells the state at once, then each change, and ends with the workload', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  await a!.backend.run({ name: 'web', image: IMAGE });
  await eventually('b knows it', async () => (await b!.backend.workloads()).length === 1);
  const states: number[] = [];
  let removed = false;
  for await (const event of b!.backend.watch(WEB, { signal: AbortSignal.timeout(30_000) })) {
    states.push(event.workload.healthy);
    if (event.workload.healthy === 1 && !removed) {
      removed = true;
      await a!.backend.remove(WEB);
    }
  }
  t.ok(removed, 'it became healthy while watched, and the stream ended by itself');
  t.ok(states.length >= 1);
});

t.test('a restarted daemon finds its instances again: nothing is started anew', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  await a!.backend.run({ name: 'web', image: IMAGE, replicas: 2 });
  const before = await eventually('both run', async () => {
    const now = await running(a!.backend, 'web');
    return now.length === 2 && now;
  });
  const pids = (await b!.runtime.list()).map(({ id, pid }) => [id, pid]);
  t.equal(pids.length, 1);
  await cluster.stop('b');
  const again = await cluster.start('b');
  t.equal(again.id, b!.id);
  t.same(
    (await again.runtime.list()).map(({ id, pid }) => [id, pid]),
    pids,
  );
  await eventually('a sees b alive', async () => {
    const member = (await a!.backend.nodes()).find(({ id }) => id === b!.id);
    return member?.status === 'alive' && member.incarnation > 1;
  });
  const after = await eventually('both run as before', async () => {
    const now = await running(again.backend, 'web');
    return now.length === 2 && now;
  });
  const attempts = (list: typeof after) => list.map(({ slot, node, attempt }) => ({ slot, node, attempt }));
  t.same(attempts(after), attempts(before));
});

t.test('an instance that ended while its daemon was away is started again', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  await a!.backend.run({ name: 'web', image: IMAGE });
  const [first] = await eventually('it runs', async () => {
    const now = await running(a!.backend, 'web');
    return now.length === 1 && now;
  });
  const host = await a!.runtime.list();
  await cluster.stop('a');
  // What a crash of the program looks like to the next daemon: its container has ended.
  const between = cluster.runtimeOf('a');
  await between.kill(host[0]!.id, 'SIGKILL');
  const again = await cluster.start('a');
  const now = await eventually('it runs anew', async () => {
    return (await again.runtime.list()).find(({ state }) => state === 'running') ?? false;
  });
  t.not(now.id, host[0]!.id);
  const after = await eventually('the restart is told', async () => {
    const [one] = await running(again.backend, 'web');
    return one;
  });
  t.equal(after.slot, first!.slot);
  t.ok(after.attempt > first!.attempt);
});

t.test('an embedded node brings what it is given and leaves nothing behind', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const socket = `${cluster.directory}/embedded.sock`;
  const given = {
    data: `${cluster.directory}/embedded`,
    socket,
    listen: { host: '127.0.0.1', port: 0 },
    name: 'embedded',
    driver: 'process' as const,
    upstream: [],
    mdns: false,
    components: {
      createMesh: (init: Parameters<typeof cluster.network.createMesh>[0]) =>
        cluster.network.createMesh(init),
    },
  };
  const listeners = process.listenerCount('SIGTERM') + process.listenerCount('SIGINT');
  {
    await using node = await createNode(given);
    t.match(await node.api.status(), {
      cluster: null,
      nodeName: 'embedded',
      driver: 'process',
      network: 'host',
    });
    await t.rejects(node.api.nodes(), { code: 'E_NO_CLUSTER' });
    await node.api.init({ name: 'shop' });
    t.match(await node.api.nodes(), [{ id: node.id, name: 'embedded', self: true }]);
    await t.rejects(createNode(given), { code: 'E_DATA_LOCKED' });
    await t.rejects(node.api.init({}), { code: 'E_ALREADY_CLUSTER' });
  }
  t.equal(process.listenerCount('SIGTERM') + process.listenerCount('SIGINT'), listeners);
  await using again = await createNode(given);
  t.match(await again.api.status(), { cluster: { name: 'shop' } }, 'the cluster outlives the node');
});

t.test(
  'that two members have one name is said at the join, in the log and in the status of both',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const said: [string, string][] = [];
    const a = await cluster.start(
      'a',
      { name: 'twin' },
      (level, message) => void said.push([level, message]),
    );
    await a.backend.init({});
    const b = await cluster.start('b', { name: 'twin' });
    const { notes } = await b.backend.join({ token: (await a.backend.createToken({})).token });
    const message = /^2 members are called twin \(\w+, \w+\), .*another --name/;
    t.match(notes, [message]);
    for (const node of [a, b])
      await eventually('its status says so', async () => {
        const { problems } = await node.backend.status();
        return problems.some(({ kind, message: text }) => kind === 'same-name' && message.test(text));
      });
    await eventually('the log says so', () => said.some(([, text]) => message.test(text)), 20_000);
    await t.rejects(a.backend.setIntent('twin', { intent: 'cordoned' }), { code: 'E_AMBIGUOUS' });
    await cluster.stop('b');
    const again = await cluster.start('b', { name: 'other' });
    await eventually('and no more', async () => (await again.backend.status()).problems.length === 0);
    t.same(said.filter(([, text]) => message.test(text)).length, 1, 'it was said once');
  },
);

t.test('what starts anew for another address of its host does so once', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  await a!.backend.run({ name: 'web', image: IMAGE });
  await eventually('it is healthy', async () => (await running(a!.backend, 'web'))[0]?.health === 'healthy');
  a!.cluster!.instances.restartAll('the host has another address');
  await eventually('it is healthy again', async () => {
    const [one] = await running(a!.backend, 'web');
    return one?.health === 'healthy' && one.attempt > 1;
  });
  t.match(await running(a!.backend, 'web'), [{ attempt: 2 }]);
});
