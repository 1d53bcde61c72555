/** Hosts that get new addresses while their daemons run: by DHCP, or because the network was renumbered. */
import t from 'tap';
import { askHttp } from './ask.ts';
import { type ShoalHosts, whyNot, withHosts } from './shoal-hosts.ts';
import { NotYet, until } from './until.ts';

t.setTimeout(300_000);
const skip = await whyNot();
const HOSTS = [1, 2, 3];
/** Addresses are not named: the daemon finds its own. */
const FLAGS = ['--listen', '0.0.0.0:4747', '--door', '0.0.0.0:4748', '--dns', '127.0.0.1:5300'];

async function ip(hosts: ShoalHosts, number: number, ...lines: string[]): Promise<void> {
  const { code, stderr } = await hosts.net.exec(number, ['ip', '-batch', '-'], {
    input: `${lines.join('\n')}\n`,
  });
  if (code !== 0) throw new Error(stderr);
}

/** As real hosts have it: multicast goes that way too. */
const DEFAULT_ROUTE = 'route replace default dev eth0';

/** In the place of the one that the host has; its link is down meanwhile. */
async function renumber(hosts: ShoalHosts, number: number, from: string, to: string): Promise<void> {
  await ip(hosts, number, `addr del ${from}/24 dev eth0`, `addr add ${to}/24 dev eth0`, DEFAULT_ROUTE);
}

/** Until these hosts know each of the others alive, at this address. */
async function known(
  hosts: ShoalHosts,
  numbers: readonly number[],
  addresses: readonly string[],
): Promise<void> {
  for (const number of numbers) {
    await until(`host${number} knows ${addresses.join(', ')}`, async () => {
      const nodes = await hosts.host(number).api.nodes();
      const found = nodes.map(({ status, host }) => `${status} ${host}`).sort();
      const wanted = addresses.map((address) => `alive ${address}`).sort();
      return found.join() === wanted.join() || new NotYet(found.join());
    });
  }
}

t.test('hosts get new addresses while they are cut off', { skip }, async (t) => {
  await withHosts(t, 3, async (hosts) => {
    const old = HOSTS.map((number) => hosts.net.address(number));
    for (const number of HOSTS) await ip(hosts, number, DEFAULT_ROUTE);
    await hosts.startDaemons(HOSTS, FLAGS);
    await hosts.form();
    await known(hosts, HOSTS, old);
    await hosts.buildImage(1, 'box:1', { 'www/index.html': 'here' });
    await hosts.host(1).api.run({
      name: 'web',
      image: 'box:1',
      kind: 'daemon',
      command: ['httpd', '-f', '-p', '8080', '-h', '/www'],
      ports: [{ name: 'http', port: 8080 }],
      resources: { cpu_millis: 50, memory_bytes: 16 << 20 },
    });
    const before = (await hosts.settled('web', 3, HOSTS)).map(({ address }) => address ?? '');
    const reachable = async () => {
      for (const number of HOSTS)
        for (const address of before)
          await until(`host${number} reaches ${address}`, async () => {
            const answer = await askHttp(hosts, number, `http://${address}:8080/`);
            return answer === '200 here' || new NotYet(answer);
          });
    };
    await reachable();

    await t.test('one of them: all learn where it is, and its containers are reached', async (t) => {
      hosts.net.isolate(3);
      await until('host1 misses host3', async () =>
        (await hosts.host(1).api.nodes()).some(({ name, status }) => name === 'host3' && status === 'failed'),
      );
      await renumber(hosts, 3, old[2]!, '10.77.0.33');
      hosts.net.rejoin(3);
      await known(hosts, HOSTS, [old[0]!, old[1]!, '10.77.0.33']);
      await reachable();
      t.same(
        (await hosts.settled('web', 3, HOSTS)).map(({ address }) => address),
        before,
        'none was restarted',
      );
      // What was told is what a new process dials.
      await hosts.endDaemon(1, 'SIGKILL');
      await hosts.startDaemons([1], FLAGS);
      await known(hosts, HOSTS, [old[0]!, old[1]!, '10.77.0.33']);
    });

    await t.test('all of them at once: nobody knows where anybody is', async () => {
      const now = ['10.77.0.41', '10.77.0.42', '10.77.0.43'];
      const then = [old[0]!, old[1]!, '10.77.0.33'];
      for (const number of HOSTS) hosts.net.isolate(number);
      await until('host1 is alone', async () =>
        (await hosts.host(1).api.nodes()).every(({ self, status }) => self || status === 'failed'),
      );
      for (const number of HOSTS) await renumber(hosts, number, then[number - 1]!, now[number - 1]!);
      for (const number of HOSTS) hosts.net.rejoin(number);
      await known(hosts, HOSTS, now);
      await reachable();
    });
  });
});
