import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { type ShoalHosts, whyNot, withHosts } from './shoal-hosts.ts';
import { NotYet, until } from './until.ts';

t.setTimeout(300_000);
const skip = await whyNot();
const HOSTS = [1, 2, 3];
/** How long a fault lasts: over the time in which a silent member is held as failed. */
const FAULT_MS = 8000;

function sleeper(name: string, replicas: number, text: string) {
  return {
    name,
    image: 'box:1',
    replicas,
    command: ['sleep', text],
    resources: { cpu_millis: 50, memory_bytes: 16 << 20 },
    stop_grace_ms: 200,
  };
}

async function statuses(hosts: ShoalHosts, number: number): Promise<Record<string, string>> {
  const nodes = await hosts.host(number).api.nodes();
  return Object.fromEntries(nodes.map(({ name, status }) => [name, status]));
}

/** Processes as the machine sees them, whatever the daemons say. */
async function processes(hosts: ShoalHosts, text: string, count: number): Promise<void> {
  await until(`${count} processes "sleep ${text}"`, async () => {
    const found = HOSTS.flatMap((number) => hosts.containerPids(number, text));
    return found.length === count || new NotYet(`there are ${found.length}`);
  });
}

t.test('three hosts under partitions, one-way cuts and loss', { skip }, async (t) => {
  await withHosts(t, 3, async (hosts) => {
    await hosts.startDaemons(HOSTS);
    await hosts.form();
    await hosts.buildImage(1, 'box:1');
    await hosts.host(1).api.run(sleeper('both', 3, '11111'));
    await hosts.host(2).api.run(sleeper('gone', 3, '99999'));
    for (const name of ['both', 'gone']) await hosts.settled(name, 3, HOSTS);

    await t.test('each side of a partition takes work, and all of it is known after the heal', async (t) => {
      hosts.net.isolate(3);
      for (const number of [1, 2]) {
        await until(
          `host${number} holds host3 as failed`,
          async () => (await statuses(hosts, number)).host3 === 'failed',
        );
      }
      await until('host3 misses the others', async () => {
        const { host1, host2 } = await statuses(hosts, 3);
        return host1 !== 'alive' && host2 !== 'alive';
      });
      await hosts.host(1).api.run(sleeper('left', 2, '22222'));
      await hosts.host(3).api.run(sleeper('right', 2, '33333'));
      await hosts.host(3).api.scale({ namespace: 'default', name: 'both' }, 4);
      await hosts.host(1).api.run(sleeper('same', 1, '55555'));
      await hosts.host(3).api.run(sleeper('same', 1, '66666'));
      await hosts.host(2).api.remove({ namespace: 'default', name: 'gone' });
      const left = await hosts.settled('left', 2, [1, 2]);
      t.notOk(left.some(({ nodeName }) => nodeName === 'host3'));
      await until('host3 runs all that it was given', async () => {
        const right = await hosts.instances(3, 'right');
        const own = right.filter(({ nodeName, phase }) => nodeName === 'host3' && phase === 'running');
        return own.length === 2 || new NotYet(JSON.stringify(right));
      });
      await hosts.settled('both', 3, [1, 2]);
      await hosts.settled('same', 1, [1, 2]);

      hosts.net.rejoin(3);
      await hosts.allAlive();
      for (const [name, count, text] of [
        ['both', 4, '11111'],
        ['left', 2, '22222'],
        ['right', 2, '33333'],
      ] as const) {
        await hosts.settled(name, count, HOSTS);
        await processes(hosts, text, count);
      }
      // Written on both sides: one of them wins everywhere, and the other is still shown.
      const [kept] = await hosts.settled('same', 1, HOSTS);
      const { spec, siblings } = await hosts.host(1).api.workload({ namespace: 'default', name: 'same' });
      const [won, lost] = spec.command[1] === '55555' ? ['55555', '66666'] : ['66666', '55555'];
      t.ok(kept);
      t.equal(siblings.length, 1);
      await processes(hosts, won, 1);
      for (const text of [lost, '99999']) await processes(hosts, text, 0);
      await hosts.agree();
    });

    await t.test('a one-way cut and 20 % of loss leave nobody failed', async (t) => {
      const before = await hosts.settled('both', 4, HOSTS);
      hosts.net.cutOneWay(1, 2);
      hosts.net.loss(3, 20);
      const held = new Set<string>();
      for (const end = performance.now() + FAULT_MS; performance.now() < end; await sleep(200)) {
        for (const number of HOSTS)
          for (const [name, status] of Object.entries(await statuses(hosts, number)))
            held.add(`${name} ${status} on host${number}`);
      }
      t.comment(`meanwhile: ${[...held].join(', ')}`);
      t.same(
        [...held].filter((text) => text.includes(' failed ')),
        [],
      );
      await hosts.host(2).api.run(sleeper('meanwhile', 1, '44444'));
      hosts.net.heal();
      hosts.net.loss(3, 0);
      await hosts.allAlive();
      await hosts.settled('meanwhile', 1, HOSTS);
      const after = await hosts.settled('both', 4, HOSTS);
      await processes(hosts, '11111', 4);
      await hosts.agree();
      t.comment(
        `${before.filter(({ node, slot }) => after.some((one) => one.node === node && one.slot === slot)).length} of 4 stayed where they were`,
      );
    });
  });
});
