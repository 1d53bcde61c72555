import t from 'tap';
import { Client } from '../../scripts/demo-parts/client.ts';
import { askDns, askHttp } from './ask.ts';
import { NAMESPACE, type ShoalHosts, whyNot, withHosts } from './shoal-hosts.ts';
import { until } from './until.ts';

t.setTimeout(300_000);
const skip = await whyNot();
const NAME = 'web.default.internal';
const SERVE =
  'cat /version > /www/index.html; echo "$SHOAL_SLOT on $SHOAL_NODE"; exec httpd -f -p 8080 -h /www';
const HOSTS = [1, 2, 3];

function web(image: string, replicas: number) {
  return {
    name: 'web',
    image,
    replicas,
    command: ['sh', '-c', SERVE],
    ports: [{ name: 'http', port: 8080 }],
    health: { kind: 'http', path: '/', interval_ms: 250 },
    resources: { cpu_millis: 100, memory_bytes: 32 << 20 },
    stop_grace_ms: 300,
  };
}

async function agreedAddresses(hosts: ShoalHosts, count: number): Promise<string[]> {
  const instances = await hosts.settled('web', count, HOSTS);
  return instances.map(({ address }) => address ?? '').sort();
}

t.test('a service of three hosts, from its image on one of them to its removal', { skip }, async (t) => {
  await withHosts(t, 3, async (hosts) => {
    await hosts.startDaemons(HOSTS);
    await hosts.form();
    // 2 MB that do not compress, so that the layer is shared in pieces.
    const payload = Array.from({ length: 200_000 }, () => Math.random().toString(36)).join('');
    await hosts.buildImage(1, 'web:1', { version: 'one', payload });
    const ready = await hosts.shoal(2, ['image', 'ls', '--json']);
    t.match(JSON.parse(ready.stdout), [{ names: ['web:1'], here: false }], 'the image is on host 1 only');

    await hosts.host(2).api.run(web('web:1', 3));
    const addresses = await agreedAddresses(hosts, 3);
    const placed = await hosts.instances(1, 'web');
    t.same(placed.map(({ nodeName }) => nodeName).sort(), ['host1', 'host2', 'host3'], 'one on each host');

    await t.test('layers came from members', async (t) => {
      for (const number of [2, 3]) {
        const { received } = (await hosts.host(number).api.status()).traffic;
        t.ok(received.reduce((sum, { bytes }) => sum + bytes, 0) > 1_000_000, `host${number}`);
      }
    });

    await t.test('DNS of each host answers with all addresses, by UDP and by TCP', async (t) => {
      for (const number of HOSTS) {
        for (const transport of ['udp', 'tcp'] as const) {
          const answer = await askDns(hosts, number, NAME, transport);
          t.same(answer, { rcode: 0, addresses }, `host${number}, ${transport}`);
        }
        t.equal((await askDns(hosts, number, 'nothing.default.internal', 'udp')).rcode, 3, 'no such name');
      }
    });

    await t.test('each host reaches each instance, and so does a container, by name', async (t) => {
      for (const number of HOSTS) {
        for (const address of addresses)
          t.equal(await askHttp(hosts, number, `http://${address}:8080/`), '200 one', `host${number}`);
      }
      for (const index of [0, 1, 2]) {
        const command = ['exec', '--no-stdin', `web/${index}`, '--', 'wget', '-qO-'];
        const { code, stdout, stderr } = await hosts.shoal(1, [...command, 'http://web:8080/']);
        t.same(
          { code, stdout: stdout.trim(), stderr },
          { code: 0, stdout: 'one', stderr: '' },
          `web/${index}`,
        );
      }
    });

    await t.test('logs and exec of any instance, from any host', async (t) => {
      for (const number of HOSTS) {
        for (const { index, nodeName } of placed) {
          const logs = await hosts.shoal(number, ['logs', `web/${index}`]);
          t.match(logs.stdout, `default/web/${index} on ${nodeName}`);
        }
        const failed = await hosts.shoal(
          number,
          ['exec', 'web/1', '--', 'sh', '-c', 'cat; exit 7'],
          'as input',
        );
        t.same([failed.code, failed.stdout], [7, 'as input'], 'its exit code and input pass');
      }
    });

    await t.test('scaled up and down', async (t) => {
      await hosts.host(3).api.scale({ namespace: NAMESPACE, name: 'web' }, 5);
      const more = await agreedAddresses(hosts, 5);
      t.strictSame(
        addresses.filter((address) => !more.includes(address)),
        [],
        'those that ran go on',
      );
      await hosts.host(1).api.scale({ namespace: NAMESPACE, name: 'web' }, 2);
      const fewer = await agreedAddresses(hosts, 2);
      for (const number of HOSTS) {
        await until('DNS follows', async () => {
          const answer = await askDns(hosts, number, NAME, 'udp');
          return answer.addresses.join() === fewer.join();
        });
      }
    });

    await t.test('a rolling update replaces all of it while it answers', async (t) => {
      await hosts.buildImage(3, 'web:2', { version: 'two' });
      const clients = [1, 2].map((number) => {
        const { address, port } = hosts.dns(number);
        return new Client((argv, options) => hosts.net.spawn(number, argv, options), `${address}:${port}`);
      });
      try {
        for (const client of clients) await client.load('http', NAME, 8080);
        await hosts.host(2).api.run(web('web:2', 2));
        const now = await agreedAddresses(hosts, 2);
        for (const address of now) t.equal(await askHttp(hosts, 1, `http://${address}:8080/`), '200 two');
        for (const client of clients) {
          const { requests, failures, lastFailure } = await client.endLoad();
          t.ok(requests > 0);
          t.equal(failures, 0, lastFailure ?? 'it answered all the while');
        }
      } finally {
        await Promise.all(clients.map((client) => client.close()));
      }
    });

    await t.test('a drained host is left once its work runs elsewhere', async (t) => {
      const { api } = hosts.host(1);
      await api.run(web('web:2', 3));
      await agreedAddresses(hosts, 3);
      await api.setIntent('host2', 'draining');
      await until('nothing is left on it', async () =>
        (await hosts.instances(3, 'web')).every(({ nodeName }) => nodeName !== 'host2'),
      );
      const moved = await agreedAddresses(hosts, 3);
      for (const address of moved) t.equal(await askHttp(hosts, 2, `http://${address}:8080/`), '200 two');
      await api.setIntent('host2', 'active');
    });

    await t.test('of a daemon workload there is one on every host', async (t) => {
      const each = { ...web('web:2', 1), name: 'each', kind: 'daemon' };
      await hosts.host(2).api.run(each);
      const found = await hosts.settled('each', 3, HOSTS);
      t.same(found.map(({ nodeName }) => nodeName).sort(), ['host1', 'host2', 'host3']);
      await hosts.host(1).api.stop({ namespace: NAMESPACE, name: 'each' });
      await until('it is stopped', async () => (await hosts.instances(3, 'each')).length === 0);
      await hosts.host(3).api.run(each);
      await hosts.settled('each', 3, HOSTS);
      await hosts.host(1).api.remove({ namespace: NAMESPACE, name: 'each' });
    });

    await t.test('removed, nothing of it is left', async (t) => {
      t.equal((await hosts.shoal(3, ['rm', 'web'])).code, 0);
      for (const number of HOSTS) {
        await until(
          `host${number} sees none`,
          async () => (await hosts.instances(number, 'web')).length === 0,
        );
        t.equal((await askDns(hosts, number, NAME, 'udp')).rcode, 3);
        await until(`no process on host${number}`, async () => hosts.containerPids(number).length === 0);
      }
      t.same((await hosts.shoal(1, ['ps', '-w', '--json'])).stdout.trim(), '[]');
    });
  });
});
