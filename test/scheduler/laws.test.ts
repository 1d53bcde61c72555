/** Laws of many schedulers together, on virtual time with late and reordered records. */
import t from 'tap';
import { workloadName } from '../../protocols/base/workload.ts';
import fc from '../laws.ts';
import { checkCapacity, checkSettled, countByNode, countUnavailable } from './checkers.ts';
import { Cluster } from './cluster.ts';
import { aMember, aSpec, MIB } from './fixtures.ts';

const RUNS = { numRuns: 40 };
const REST_MS = 120_000;
const seeds = fc.integer({ min: 1, max: 2 ** 30 });
const ids = (count: number): string[] => Array.from({ length: count }, (_, at) => `node-${at}`);
const members = (count: number) => ids(count).map((id) => aMember(id));

/** With a health check, so that running is not yet healthy. */
function aService(over: Parameters<typeof aSpec>[0] = {}) {
  const health = { kind: 'tcp', interval_ms: 1000, timeout_ms: 1000, retries: 3 } as const;
  return aSpec({ ports: [{ name: 'http', port: 80 }], health, ...over });
}

/** A cluster whose every step is checked for capacity. */
function aCluster(init: ConstructorParameters<typeof Cluster>[0]): Cluster {
  const cluster = new Cluster(init);
  cluster.onStep = () => checkCapacity(cluster);
  return cluster;
}

/** Nothing but time passes, and nobody does anything. */
function checkQuiet(cluster: Cluster): void {
  const before = cluster.log.length;
  cluster.run(REST_MS);
  const after = cluster.log.slice(before).map(({ node, effect }) => `${node} ${effect.kind}`);
  if (after.length > 0) throw new Error(`it does not rest: ${after.slice(0, 5)}`);
}

t.test('a service converges to one healthy instance for each slot, and then rests', async () => {
  fc.assert(
    fc.property(
      seeds,
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ min: 0, max: 12 }),
      fc.integer({ min: 1, max: 900 }),
      (seed, nodes, replicas, delay_ms_max) => {
        const cluster = aCluster({ seed, members: members(nodes), delay_ms_max });
        const spec = aService({ replicas });
        cluster.submit(spec, 1);
        cluster.run(REST_MS);
        checkSettled(cluster, spec, 1);
        checkQuiet(cluster);
      },
    ),
    RUNS,
  );
});

t.test('replicas land on different nodes when records travel faster than turns pass', async () => {
  fc.assert(
    fc.property(seeds, fc.integer({ min: 1, max: 6 }), (seed, nodes) => {
      const cluster = aCluster({ seed, members: members(nodes), delay_ms_max: 100 });
      const spec = aService({ replicas: nodes });
      cluster.submit(spec, 1);
      cluster.run(REST_MS);
      checkSettled(cluster, spec, 1);
      const counts = [...countByNode(cluster, spec).values()];
      if (Math.max(...counts) > 1) throw new Error(`uneven: ${counts}`);
    }),
    RUNS,
  );
});

t.test('no node is overcommitted by a rush for the last place, and all that fits is placed', async () => {
  fc.assert(
    fc.property(
      seeds,
      fc.integer({ min: 2, max: 5 }),
      fc.integer({ min: 1, max: 900 }),
      (seed, nodes, delay) => {
        const capacity = { cpu_millis: 1000, memory_bytes: 1024 * MIB };
        const tight = members(nodes).map((member) => ({ ...member, capacity }));
        const cluster = aCluster({ seed, members: tight, delay_ms_max: delay });
        const resources = { cpu_millis: 400, memory_bytes: 128 * MIB };
        const a = aService({ name: 'a', replicas: nodes, resources });
        const b = aService({ name: 'b', replicas: nodes, resources });
        cluster.submit(a, 1);
        cluster.submit(b, 1);
        cluster.run(REST_MS);
        checkSettled(cluster, a, 1);
        checkSettled(cluster, b, 1);
        checkQuiet(cluster);
      },
    ),
    RUNS,
  );
});

t.test(
  'what ran on a member that failed runs elsewhere, and its return changes nothing for long',
  async () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 2, max: 6 }), (seed, nodes) => {
        const cluster = aCluster({ seed, members: members(nodes) });
        const spec = aService({ replicas: nodes });
        cluster.submit(spec, 1);
        cluster.run(REST_MS);
        cluster.kill('node-0');
        cluster.run(10_000);
        checkSettled(cluster, spec, 1);
        cluster.restart('node-0');
        cluster.run(REST_MS);
        checkSettled(cluster, spec, 1);
        checkQuiet(cluster);
      }),
      RUNS,
    );
  },
);

t.test('scaling starts and stops only what it must', async () => {
  fc.assert(
    fc.property(
      seeds,
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 0, max: 8 }),
      fc.integer({ min: 0, max: 8 }),
      (seed, nodes, from, to) => {
        const cluster = aCluster({ seed, members: members(nodes) });
        cluster.submit(aService({ replicas: from }), 1);
        cluster.run(REST_MS);
        const before = cluster.log.length;
        const spec = aService({ replicas: to });
        cluster.submit(spec, 2);
        cluster.run(REST_MS);
        checkSettled(cluster, spec, 2);
        const slots = (kind: string) =>
          new Set(
            cluster.log
              .slice(before)
              .flatMap(({ effect }) => (effect.kind === kind && 'slot' in effect ? [effect.slot] : [])),
          ).size;
        if (slots('claim') !== Math.max(0, to - from)) throw new Error(`${slots('claim')} started`);
        if (slots('release') < Math.max(0, from - to)) throw new Error(`${slots('release')} stopped`);
        checkQuiet(cluster);
      },
    ),
    RUNS,
  );
});

t.test('an update replaces every instance with at most one slot out of service', async () => {
  fc.assert(
    fc.property(
      seeds,
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 6 }),
      (seed, nodes, replicas) => {
        const cluster = aCluster({ seed, members: members(nodes) });
        cluster.submit(aService({ replicas }), 1);
        cluster.run(REST_MS);
        const spec = aService({ replicas, env: { COLOUR: 'blue' } });
        let worst = 0;
        cluster.onStep = () => {
          checkCapacity(cluster);
          worst = Math.max(worst, countUnavailable(cluster, spec));
        };
        cluster.submit(spec, 2);
        cluster.run(REST_MS);
        checkSettled(cluster, spec, 2);
        if (worst > 1) throw new Error(`${worst} slots were out of service at once`);
        checkQuiet(cluster);
      },
    ),
    RUNS,
  );
});

t.test('an update that fails to start stops at the first slot', async () => {
  fc.assert(
    fc.property(seeds, fc.integer({ min: 1, max: 5 }), (seed, nodes) => {
      const starts = (_: unknown, { env }: { env: Record<string, string> }) => env.BROKEN === undefined;
      const cluster = aCluster({ seed, members: members(nodes), starts });
      cluster.submit(aService({ replicas: 3 }), 1);
      cluster.run(REST_MS);
      const spec = aService({ replicas: 3, env: { BROKEN: 'yes' } });
      cluster.submit(spec, 2);
      for (let at = 0; at < 20; at++) {
        cluster.run(10_000);
        if (countUnavailable(cluster, spec) > 1)
          throw new Error('more than the first slot is out of service');
      }
      const attempts = cluster.log.filter(({ effect }) => effect.kind === 'claim').length;
      if (attempts > 3 + nodes * 8) throw new Error(`${attempts} attempts are no backoff`);
    }),
    RUNS,
  );
});

t.test('a single instance is replaced before it stops where another node has room', async () => {
  fc.assert(
    fc.property(seeds, fc.boolean(), (seed, isDrain) => {
      const cluster = aCluster({ seed, members: members(3) });
      cluster.submit(aService(), 1);
      cluster.run(REST_MS);
      const spec = isDrain ? aService() : aService({ env: { COLOUR: 'blue' } });
      cluster.onStep = () => {
        if (countUnavailable(cluster, spec) > 0) throw new Error(`out of service at ${cluster.now}`);
      };
      const [holder] = countByNode(cluster, spec).keys();
      if (isDrain) cluster.setIntent(holder!, 'draining');
      else cluster.submit(spec, 2);
      cluster.run(REST_MS);
      checkSettled(cluster, spec, isDrain ? 1 : 2);
      if (countByNode(cluster, spec).has(holder!)) throw new Error('it did not move');
      checkQuiet(cluster);
    }),
    RUNS,
  );
});

t.test(
  'both sides of a partition run all slots, and one instance of each is left when they meet',
  async () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 2, max: 6 }), (seed, nodes) => {
        const cluster = aCluster({ seed, members: members(nodes) });
        const spec = aService({ replicas: nodes });
        cluster.submit(spec, 1);
        cluster.run(REST_MS);
        const before = cluster.running().map(({ node, index }) => `${node}/${index}`);
        cluster.partition((id) => id === 'node-0');
        cluster.run(REST_MS);
        if (cluster.running().length !== 2 * nodes) throw new Error(`${cluster.running().length} instances`);
        cluster.onStep = () => {
          checkCapacity(cluster);
          if (countUnavailable(cluster, spec) > 0) throw new Error('out of service while healing');
        };
        cluster.heal();
        cluster.run(REST_MS);
        checkSettled(cluster, spec, 1);
        const after = cluster.running().map(({ node, index }) => `${node}/${index}`);
        if (after.sort().join() !== before.sort().join()) throw new Error('the originals were not kept');
        checkQuiet(cluster);
      }),
      RUNS,
    );
  },
);

t.test('an update on one side of a partition wins when the sides meet', async () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const cluster = aCluster({ seed, members: members(4) });
      cluster.submit(aService({ replicas: 4 }), 1);
      cluster.run(REST_MS);
      cluster.partition((id) => id < 'node-2');
      cluster.run(REST_MS);
      const spec = aService({ replicas: 4, env: { COLOUR: 'blue' } });
      cluster.submit(spec, 2, {}, 'node-3');
      cluster.run(REST_MS);
      cluster.heal();
      cluster.run(REST_MS);
      checkSettled(cluster, spec, 2);
      checkQuiet(cluster);
    }),
    RUNS,
  );
});

t.test('a workload that is stopped or removed leaves nothing, and one that starts again runs', async () => {
  fc.assert(
    fc.property(seeds, fc.integer({ min: 1, max: 4 }), (seed, nodes) => {
      const cluster = aCluster({ seed, members: members(nodes) });
      const spec = aService({ replicas: 3 });
      cluster.submit(spec, 1);
      cluster.run(REST_MS);
      cluster.submit(spec, 2, { stopped: true });
      cluster.run(REST_MS);
      if (cluster.running().length > 0) throw new Error('something still runs');
      cluster.submit(spec, 3);
      cluster.run(100);
      cluster.remove(workloadName(spec.namespace, spec.name));
      cluster.run(REST_MS);
      if (cluster.running().length > 0) throw new Error('something outlived its workload');
      checkQuiet(cluster);
    }),
    RUNS,
  );
});

t.test('a daemon runs once on each node that matches, and goes when the node is drained', async () => {
  fc.assert(
    fc.property(seeds, fc.integer({ min: 2, max: 6 }), (seed, nodes) => {
      const labelled = members(nodes).map((member, at) => ({ ...member, labels: { odd: String(at % 2) } }));
      const cluster = aCluster({ seed, members: labelled });
      const spec = aService({ kind: 'daemon', constraints: { odd: '1' } });
      cluster.submit(spec, 1);
      cluster.run(REST_MS);
      const odd = labelled.filter(({ labels }) => labels.odd === '1').map(({ id }) => id);
      const expect = (wanted: string[]) => {
        const counts = [...countByNode(cluster, spec)].sort().map(([node, count]) => `${node}x${count}`);
        if (counts.join() !== wanted.map((id) => `${id}x1`).join()) throw new Error(`runs on ${counts}`);
      };
      expect(odd);
      cluster.setIntent('node-1', 'draining');
      cluster.run(REST_MS);
      expect(odd.slice(1));
      cluster.setIntent('node-1', 'active');
      cluster.run(REST_MS);
      expect(odd);
      checkQuiet(cluster);
    }),
    RUNS,
  );
});

t.test('the same seed gives the same run', async (t) => {
  const story = (): unknown => {
    const cluster = aCluster({ seed: 7, members: members(5), delay_ms_max: 700 });
    cluster.submit(aService({ replicas: 7 }), 1);
    cluster.run(20_000);
    cluster.kill('node-2');
    cluster.run(20_000);
    return cluster.log;
  };
  t.same(story(), story());
});
