/** Who changed what, when and where, asked at any node: also of what happened while it was cut off or not there yet. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import type { ChangeInfo } from '../../../daemon/api/trust-schemas.ts';
import { signerFromSeed } from '../../../daemon/crypto.ts';
import { fromHex } from '../../../protocols/base/ids.ts';
import { forged } from '../../protocols/ledger/fixtures.ts';
import { eventually } from './eventually.ts';
import { IMAGE, MemoryCluster } from './memory-cluster.ts';

t.setTimeout(120_000);

const WEB = { namespace: 'default', name: 'web' };
const line = ({ authorName, action, kind, subjectName, key, summary }: ChangeInfo) =>
  `${authorName} ${action} ${kind} ${subjectName ?? key}: ${summary}`;

t.test('every node tells who changed what, and where it was asked for', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  await a!.backend.run({ name: 'web', image: IMAGE, replicas: 2 });
  await eventually('b knows it', async () => (await b!.backend.workloads()).length === 1);
  await b!.backend.scale(WEB, 3);
  await b!.backend.setIntent('a', { intent: 'cordoned' });
  await b!.backend.remove(WEB);
  const expected = [
    'a created workload default/web: image app:1, replicas 2',
    'b updated workload default/web: replicas 2 -> 3',
    'b created intent a: cordoned',
    'b deleted workload default/web: was image app:1, replicas 3',
  ];
  for (const node of [a!, b!]) {
    await eventually(`${node.name} has seen all of it`, async () => {
      const lines = (await node.backend.history({})).map(line);
      return expected.every((one) => lines.includes(one));
    });
    const lines = (await node.backend.history({})).map(line);
    t.same(
      lines.filter((one) => expected.includes(one)),
      expected,
      `in the order in which it was done, at ${node.name}`,
    );
    t.match(lines[0], /^operator \w{8} created genesis genesis: cluster shoal, operators: 1$/);
    t.match(
      lines[1],
      /^operator \w{8} created grant a: member, worker, deployer, admitter$/,
      'from the beginning',
    );
    t.ok(lines.includes('b created member b: joined as b (127.0.0.1, 0.1.0)'));
    t.notOk(
      lines.some((one) => /alloc|verdict/.test(one)),
      'not what nodes tell all the time',
    );
  }
  t.match((await a!.backend.history({ by: 'b', kind: 'workload', limit: 1 })).map(line), [expected[3]!]);
  const [operator] = (await a!.backend.clusterInfo()).operators;
  for (const by of ['a', 'b', b!.id, operator!.name, operator!.key])
    await t.resolves(a!.backend.history({ by, kind: 'evidence' }), `${by} is somebody`);
  await t.rejects(a!.backend.history({ by: 'nobody' }), { code: 'E_NOT_FOUND' });

  // What is gone from the ledger is still known here, and after a restart too.
  await cluster.stop('a');
  const again = await cluster.start('a');
  const after = (await again.backend.history({ kind: 'workload' })).map(line);
  t.same(
    after,
    expected.filter((one) => one.includes('workload')),
  );

  const c = await cluster.start('c');
  const { token } = await again.backend.createToken({});
  await c.backend.join({ token });
  await eventually('a newcomer knows what still stands', async () => {
    const lines = (await c.backend.history({})).map(line);
    return lines.includes(expected[2]!) && lines.includes('b deleted workload default/web: ');
  });
});

t.test(
  'concurrent versions are shown with who wrote them and what differs, until one writes again',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const nodes = await cluster.grow('a', 'b');
    const [a, b] = nodes as [(typeof nodes)[0], (typeof nodes)[0]];
    cluster.cut([a], [b]);
    await a.backend.run({ name: 'web', image: IMAGE, replicas: 1 });
    await b.backend.run({ name: 'web', image: IMAGE, replicas: 2 });
    await b.backend.buildImage(
      { directory: `${import.meta.dirname}/../api`, name: IMAGE, entrypoint: ['run-forever'] },
      { signal: AbortSignal.timeout(20_000) },
    );
    await a.backend.buildImage(
      { directory: `${import.meta.dirname}/../cli`, name: IMAGE, entrypoint: ['run-forever'] },
      { signal: AbortSignal.timeout(20_000) },
    );
    cluster.heal([a], [b]);
    for (const node of nodes) {
      const { authorName, spec, siblings } = await eventually(`${node.name} shows both`, async () => {
        const workload = await node.backend.workload(WEB);
        return workload.siblings.length === 1 && workload;
      });
      const [won, lost] = authorName === 'a' ? [1, 2] : [2, 1];
      t.equal(spec.replicas, won);
      t.match(siblings, [{ authorName: lost === 1 ? 'a' : 'b', difference: `replicas ${won} -> ${lost}` }]);
      const conflict = await eventually(`${node.name} shows both images`, async () => {
        const [found] = (await node.backend.images()).flatMap(({ conflicts }) => conflicts);
        return found;
      });
      t.same([conflict.winner, ...conflict.siblings].map((one) => one.authorName).sort(), ['a', 'b']);
      t.ok((await node.backend.history({ kind: 'workload' })).some(({ concurrent }) => concurrent === 1));
      const { ledger } = await node.backend.clusterInfo();
      t.match(
        ledger.kinds.filter(({ conflicts }) => conflicts > 0),
        [{ kind: 'tag' }, { kind: 'workload' }],
      );
    }
    await b.backend.scale(WEB, 3);
    await eventually('it is settled', async () => (await a.backend.workload(WEB)).siblings.length === 0);
  },
);

t.test('what never counted, or counts no more, is told as that', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  await b!.backend.run({ name: 'before', image: IMAGE, replicas: 1 });
  await eventually('a knows it', async () => (await a!.backend.workloads()).length === 1);
  cluster.cut([a!], [b!]);
  await b!.backend.run({ name: 'after', image: IMAGE, replicas: 1 });
  await a!.backend.revokeNode('b', {});
  await a!.backend.scale({ namespace: 'default', name: 'before' }, 2);
  const [written] = a!.cluster!.ledger.machine.ledger.siblings('workload', 'default/before');
  const unheard = b!.cluster!.ledger.machine.ledger.siblings('workload', 'default/after');
  await a!.cluster!.ledger.introduce(unheard.map(({ bytes }) => bytes));
  const lines = await a!.backend.history({ kind: 'workload' });
  const counts = lines.map(({ key, authorName, counts }) => `${authorName} ${key} ${counts}`);
  t.same(counts.sort(), ['a default/before true', 'b default/after false', 'b default/before true']);
  t.ok(written, 'and the first version of it is known by its line alone');
  await a!.backend.revokeNode('b', { since_ms: 0 });
  const later = await a!.backend.history({ kind: 'workload', by: 'b' });
  t.same(
    later.map(({ counts }) => counts),
    [false, false],
    'judged anew, also of what was replaced',
  );
  t.ok((await a!.backend.history({ kind: 'revoke' })).every((line) => line.counts));
  t.ok((await a!.backend.history({ kind: 'genesis' })).every((line) => line.counts));
});

t.test('nodes that hold the same tell the same of their cluster', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  const [one, other] = await eventually('equal ledgers', async () => {
    const both = await Promise.all([a!.backend.clusterInfo(), b!.backend.clusterInfo()]);
    return both[0].ledger.hash === both[1].ledger.hash && both;
  });
  t.same(one, other);
  t.match(one, {
    name: 'shoal',
    threshold: 1,
    members: { alive: 2 },
    peers: 1,
    flagged: [],
    revocations: [],
  });
  t.match(one.operators, [{ revoked: false }]);
  t.ok(one.ledger.kinds.some(({ kind, records }) => kind === 'member' && records === 2));
});

t.test(
  'a key that was used twice is flagged on every node, which says what to do, until it is revoked',
  async (t) => {
    const said: string[] = [];
    const cluster = await MemoryCluster.create(t);
    const [a, b] = await cluster.grow('a', 'b');
    const c = await cluster.start('c', {}, (_level, message, fields) => {
      if (message.startsWith('a key signed two')) said.push(String(fields?.['key']));
    });
    await c.backend.join({ token: (await a!.backend.createToken({})).token });
    const seed = (await readFile(path.join(cluster.directory, 'b', 'node.key'), 'utf8')).trim();
    const thief = signerFromSeed(fromHex(seed));
    t.equal(thief.id, b!.id);
    const one = a!.cluster!.ledger.machine.ledger.get('member', b!.id)!;
    await a!.cluster!.ledger.introduce([forged(one, { kind: 'intent', key: a!.id }, thief).bytes]);
    for (const node of [a!, c]) {
      await eventually(`${node.name} shows it`, async () => {
        return (await node.backend.nodes()).find(({ name }) => name === 'b')?.flagged === true;
      });
      // The owner of the key has noticed as well that another writes with it, and says so.
      const problems = (await node.backend.status()).problems.filter(({ kind }) => kind !== 'copied-key');
      t.match(problems, [{ kind: 'flagged-key', message: /the key of b .*`shoal node revoke b`/ }]);
      t.match((await node.backend.clusterInfo()).flagged, [{ name: 'b', by: [{}] }]);
    }
    await eventually('c says so in its log', async () => said.length > 0, 30_000);
    t.same(said, [b!.id], 'once');
    await a!.backend.revokeNode('b', {});
    await eventually('it is over', async () => (await c.backend.status()).problems.length === 0);
    t.same((await c.backend.clusterInfo()).flagged, []);
  },
);
