import t from 'tap';
import { describe, whyNot, withHosts } from './shoal-hosts.ts';
import { NotYet, until } from './until.ts';

t.setTimeout(300_000);
const skip = await whyNot();

t.test(
  'an image is waited for while its only holder is dead, and then any holder will do',
  { skip },
  async (t) => {
    await withHosts(t, 4, async (hosts) => {
      await hosts.startDaemons([1, 2, 3, 4]);
      await hosts.form();
      await hosts.buildImage(1, 'box:1');
      hosts.killHost(1);
      for (const number of [2, 3, 4]) {
        await until(`host${number} holds host1 as failed`, async () =>
          (await hosts.host(number).api.nodes()).some(
            ({ name, status }) => name === 'host1' && status === 'failed',
          ),
        );
      }
      const resources = { cpu_millis: 50, memory_bytes: 16 << 20 };
      const spec = {
        name: 'box',
        image: 'box:1',
        replicas: 2,
        command: ['sleep', '77777'],
        resources,
        stop_grace_ms: 200,
      };
      await hosts.host(2).api.run(spec);
      await until('two hosts look for it', async () => {
        const list = await hosts.instances(2, 'box');
        const isWaiting = list.filter(({ phase }) => phase === 'pulling').length === 2;
        return isWaiting || new NotYet(describe(list));
      });

      await hosts.startDaemons([1]);
      await hosts.allAlive();
      const holders = (await hosts.settled('box', 2, [1, 2, 3, 4])).map(({ nodeName }) => nodeName);

      hosts.killHost(1);
      await hosts.allAlive([2, 3, 4]);
      const other = hosts.all.find(({ name }) => name !== 'host1' && !holders.includes(name))!;
      await hosts.host(2).api.run({ ...spec, name: 'late', replicas: 1, constraints: { name: other.name } });
      await hosts.settled('late', 1, [2, 3, 4]);
      const { received } = (await other.api.status()).traffic;
      const givers = received.filter(({ bytes }) => bytes > 0).map(({ nodeName }) => nodeName);
      t.ok(givers.length > 0 && !givers.includes('host1'), `${other.name} has it from ${givers.join(', ')}`);
    });
  },
);
