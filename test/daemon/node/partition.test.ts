/** A cluster of whole nodes that is cut, loses nodes and is written to from two sides: it goes on, and comes together. */
import t from 'tap';
import { eventually } from './eventually.ts';
import { IMAGE, MemoryCluster, running } from './memory-cluster.ts';

// Members find each other and notice losses in seconds; a loaded machine needs more.
t.setTimeout(120_000);

const WEB = { namespace: 'default', name: 'web' };

t.test(
  'both sides of a cut go on and take work; healed, there is one instance for each slot again',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const nodes = await cluster.grow('a', 'b', 'c');
    const [a, b, c] = nodes as [(typeof nodes)[0], (typeof nodes)[0], (typeof nodes)[0]];
    await a.backend.run({ name: 'web', image: IMAGE, replicas: 3 });
    for (const node of nodes) {
      await eventually(
        `${node.name} sees three`,
        async () => (await running(node.backend, 'web')).length === 3,
      );
    }

    cluster.cut([a], [b, c]);
    await eventually('the majority holds a as failed and fills its slot', async () => {
      const members = await b.backend.nodes();
      const isFailed = members.find(({ id }) => id === a.id)?.status === 'failed';
      return isFailed && (await running(b.backend, 'web')).length === 3;
    });
    await a.backend.run({ name: 'lonely', image: IMAGE });
    await b.backend.run({ name: 'crowd', image: IMAGE });
    await eventually(
      'the one that is cut off runs what it was given',
      async () => (await running(a.backend, 'lonely')).length === 1,
    );
    await eventually(
      'the others run what they were given',
      async () => (await running(c.backend, 'crowd')).length === 1,
    );
    t.same(
      (await b.backend.workloads()).map(({ name }) => name),
      ['crowd', 'web'],
      'nothing crosses the cut',
    );

    cluster.heal([a], [b, c]);
    for (const node of nodes) {
      await eventually(`${node.name} has all members and all workloads back`, async () => {
        const members = await node.backend.nodes();
        const workloads = await node.backend.workloads();
        return members.every(({ status }) => status === 'alive') && workloads.length === 3;
      });
      await eventually(`${node.name} sees each slot filled once`, async () => {
        const all = await node.backend.allocations({});
        const slots = all.filter(({ phase }) => phase === 'running').map(({ slot }) => slot);
        return all.length === 5 && new Set(slots).size === 5;
      });
    }
    await eventually('no container is left over', async () => {
      const lists = await Promise.all(nodes.map((node) => node.runtime.list()));
      return lists.flat().filter(({ state }) => state === 'running').length === 5;
    });
  },
);

t.test(
  'two nodes that write one workload at once: all keep the same winner and show the other',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const nodes = await cluster.grow('a', 'b');
    const [a, b] = nodes as [(typeof nodes)[0], (typeof nodes)[0]];
    cluster.cut([a], [b]);
    const one = await a.backend.run({ name: 'web', image: IMAGE, env: { SIDE: 'a' } });
    const other = await b.backend.run({ name: 'web', image: IMAGE, env: { SIDE: 'b' } });
    t.not(one.revision, other.revision);
    t.equal(one.generation, other.generation);
    cluster.heal([a], [b]);
    for (const node of nodes) {
      await eventually(
        `${node.name} shows a sibling`,
        async () => (await node.backend.workload(WEB)).siblings.length === 1,
      );
    }
    const [atA, atB] = await Promise.all(nodes.map((node) => node.backend.workload(WEB)));
    t.equal(atA!.revision, atB!.revision, 'one winner');
    t.ok([one.revision, other.revision].includes(atA!.revision));
    await eventually('the winner runs, once', async () => {
      const now = await running(a.backend, 'web');
      return now.length === 1 && now[0]!.revision === atA!.revision;
    });

    await b.backend.run({ name: 'web', image: IMAGE, env: { SIDE: 'both' } });
    for (const node of nodes) {
      await eventually(`${node.name} shows no sibling after another write`, async () => {
        const workload = await node.backend.workload(WEB);
        return workload.siblings.length === 0 && workload.spec.env.SIDE === 'both';
      });
    }
  },
);

t.test('what a lost node ran is started elsewhere, and a new host takes its place', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const nodes = await cluster.grow('a', 'b', 'c');
  const [a, b, c] = nodes as [(typeof nodes)[0], (typeof nodes)[0], (typeof nodes)[0]];
  await a.backend.run({ name: 'web', image: IMAGE, replicas: 3 });
  await eventually('each has one', async () => {
    const now = await running(a.backend, 'web');
    return new Set(now.map(({ node }) => node)).size === 3;
  });
  await cluster.stop('c');
  await eventually('two nodes run three', async () => {
    const now = await running(b.backend, 'web');
    return now.length === 3 && now.every(({ node }) => node !== c.id);
  });
  t.match(await a.backend.status(), { members: { alive: 2, failed: 1 } });

  const d = await cluster.start('d');
  const { token } = await a.backend.createToken({});
  await d.backend.join({ token });
  await eventually('the new host sees the others and the image', async () => {
    const images = await d.backend.images();
    return (await d.backend.nodes()).length === 4 && images.length === 1;
  });
  await d.backend.scale(WEB, 4);
  const four = await eventually('four run', async () => {
    const now = await running(a.backend, 'web');
    return now.length === 4 && now;
  });
  t.ok(
    four.some(({ node }) => node === d.id),
    'the new host does its part',
  );
});

t.test('a token admits while any one member can be reached, and no more hosts than it says', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const nodes = await cluster.grow('a', 'b');
  const [a, b] = nodes as [(typeof nodes)[0], (typeof nodes)[0]];
  const { token } = await a.backend.createToken({ roles: ['member', 'worker'], uses: 1 });
  await eventually(
    'b knows the token',
    () => [...b.cluster!.ledger.machine.ledger.ofKind('grant')].length === 4,
  );
  await cluster.stop('a');
  const c = await cluster.start('c');
  await c.backend.join({ token });
  await eventually('b sees it', async () => (await b.backend.nodes()).some(({ id }) => id === c.id));
  await t.rejects(c.backend.createToken({}), { code: 'E_NOT_ALLOWED' }, 'it may not admit others');
  await t.rejects(c.backend.run({ name: 'web', image: IMAGE }), { code: 'E_NOT_ALLOWED' }, 'nor deploy');

  const d = await cluster.start('d');
  await t.rejects(d.backend.join({ token }), { code: 'E_TOKEN_USED' });
  t.match(await d.backend.status(), { cluster: null });
  await t.rejects(d.backend.nodes(), { code: 'E_NO_CLUSTER' });
  await cluster.stop('d');
  t.match(
    await (await cluster.start('d')).backend.status(),
    { cluster: null },
    'no half state is on disk either',
  );
});

t.test('a newcomer that reached nobody but the door dials again, also after a restart', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  for (const isRestarted of [false, true]) {
    const name = isRestarted ? 'restarted' : 'patient';
    const newcomer = await cluster.start(name);
    // The mesh's port is shut, the door is not.
    cluster.cut([a!], [newcomer]);
    await newcomer.backend.join({ token: (await a!.backend.createToken({})).token });
    t.same(
      (await newcomer.backend.nodes()).map((node) => node.name),
      [name],
      'it knows no other member',
    );
    if (isRestarted) await cluster.stop(name);
    const again = isRestarted ? await cluster.start(name) : newcomer;
    cluster.heal([a!], [newcomer]);
    await eventually(`a and ${name} see one another`, async () => {
      const seen = await Promise.all([a!, again].map(({ backend }) => backend.nodes()));
      return seen.every((nodes) => [a!.id, again.id].every((id) => nodes.some((node) => node.id === id)));
    });
  }
});
