/** What a host says of itself where its options say nothing. */
import net from 'node:net';
import os from 'node:os';
import t from 'tap';
import { checkOptions, type DaemonOptions } from '../../daemon/config/options.ts';
import { assertBindable, HostAddress, hostCapacity, hostName, multiaddr } from '../../daemon/host-facts.ts';
import { canVxlan } from '../../daemon/network/can-vxlan.ts';
import { runCommand } from '../../daemon/network/run-command.ts';
import { LABEL_PATTERN } from '../../protocols/base/label.ts';

t.test('a name is a label, and an address is that which was given, or listened on, or found', async (t) => {
  t.match(hostName(), new RegExp(LABEL_PATTERN));
  t.equal(new HostAddress({ host: '192.0.2.7', listen: { host: '0.0.0.0', port: 0 } }).current, '192.0.2.7');
  t.equal(new HostAddress({ host: null, listen: { host: '192.0.2.8', port: 0 } }).current, '192.0.2.8');
  t.ok(net.isIP(new HostAddress({ host: null, listen: { host: '0.0.0.0', port: 0 } }).current));
  t.ok(net.isIP(new HostAddress({ host: null, listen: { host: '::', port: 0 } }).current));
  t.equal(multiaddr({ host: '192.0.2.1', port: 7 }), '/ip4/192.0.2.1/tcp/7');
  t.equal(multiaddr({ host: '::1', port: 7 }), '/ip6/::1/tcp/7');
});

type Interfaces = ReturnType<typeof os.networkInterfaces>;
const address = (text: string) =>
  ({ address: text, family: 'IPv4', internal: false }) as NonNullable<Interfaces[string]>[number];
const lo = [{ ...address('127.0.0.1'), internal: true } as ReturnType<typeof address>];
const docker0 = [address('172.17.0.1')];
const isForContainers = (name: string) => ['br0', 'docker0'].includes(name);
const wildcard = { host: null, listen: { host: '0.0.0.0', port: 0 } };

/** Facts that a test changes as it goes. */
function changing(interfaces: Interfaces) {
  const state = { interfaces, routes: [] as string[] };
  const facts = { interfaces: () => state.interfaces, defaultRoutes: () => state.routes, isForContainers };
  return { state, facts };
}

t.test('an address that this host has no more is followed to the one in its place', async (t) => {
  let interfaces: Interfaces = {
    lo,
    br0: [address('10.210.0.1')],
    eth0: [address('192.0.2.1')],
    wlan0: [address('198.51.100.1')],
  };
  let defaultRoutes = ['eth0'];
  const facts = { interfaces: () => interfaces, defaultRoutes: () => defaultRoutes, isForContainers };
  const host = new HostAddress(wildcard, facts);
  const fixed = new HostAddress({ host: null, listen: { host: '192.0.2.1', port: 0 } }, facts);
  t.same([host.current, host.look()], ['192.0.2.1', false]);

  defaultRoutes = ['wlan0'];
  t.equal(host.look(), false, 'it is still there');
  interfaces = { ...interfaces, eth0: [address('192.0.2.2')] };
  defaultRoutes = [];
  t.same([host.look(), host.current, host.look()], [true, '192.0.2.2', false], 'on the same interface');
  const { br0 } = interfaces;
  interfaces = { lo, br0 };
  t.same([host.look(), host.current], [false, '192.0.2.2'], 'a bridge does not take its place');
  interfaces = { lo, br0, wlan0: [address('198.51.100.2')] };
  defaultRoutes = ['wlan0'];
  t.same([host.look(), host.current], [true, '198.51.100.2'], 'by the default route');
  t.same([fixed.look(), fixed.current], [false, '192.0.2.1'], 'what was given stays');

  interfaces = { lo, eth0: [address('192.0.2.3')], wlan0: [address('198.51.100.9')] };
  defaultRoutes = ['eth0'];
  t.same([host.look(), host.current], [true, '192.0.2.3'], 'rather than on the interface of before');
  defaultRoutes = ['wlan0'];

  interfaces = { lo };
  const early = new HostAddress(wildcard, facts);
  t.same([early.current, early.look()], ['127.0.0.1', false], 'the network is not there yet');
  interfaces = { lo, wlan0: [address('198.51.100.3')] };
  t.same([early.look(), early.current], [true, '198.51.100.3']);
});

t.test(
  'without a default route an address will do that is not for containers, until there is one',
  async (t) => {
    const { state, facts } = changing({ lo, docker0, wg0: [address('10.9.0.1')] });
    const host = new HostAddress(wildcard, facts);
    t.same([host.current, host.look()], ['10.9.0.1', false]);
    state.interfaces = { ...state.interfaces, eth0: [address('192.0.2.1')] };
    t.same([host.look(), host.current], [false, '10.9.0.1'], 'a link alone does not make it better');
    state.routes = ['eth0'];
    t.same([host.look(), host.current, host.look()], [true, '192.0.2.1', false]);
    state.routes = ['wg0'];
    t.same(
      [host.look(), host.current],
      [false, '192.0.2.1'],
      'one by a default route stays while it is there',
    );

    state.interfaces = { lo, docker0 };
    state.routes = [];
    t.equal(new HostAddress(wildcard, facts).current, '127.0.0.1', 'one that only containers reach is none');
    state.routes = ['docker0'];
    t.equal(
      new HostAddress(wildcard, facts).current,
      '172.17.0.1',
      'a default route goes through what it likes',
    );
  },
);

t.test('that of a default route which comes late is no other one', async (t) => {
  const { state, facts } = changing({ lo, eth0: [address('192.0.2.1')], wlan0: [address('198.51.100.1')] });
  const host = new HostAddress(wildcard, facts);
  state.routes = ['wlan0', 'eth0'];
  t.same([host.current, host.look(), host.current], ['192.0.2.1', false, '192.0.2.1']);
  state.routes = ['wlan0'];
  t.equal(host.look(), false, 'and from then on it is that of a default route');
});

t.test('a host without a default route begins where it was before', async (t) => {
  const { state, facts } = changing({ lo, docker0, wg0: [address('10.9.0.1')] });
  const begun = (last: string, options: { host: string | null } = { host: null }) => {
    const host = new HostAddress({ ...wildcard, ...options }, facts);
    host.begin(last);
    return host;
  };
  const host = begun('192.0.2.1');
  t.same([host.current, host.look(), host.current], ['192.0.2.1', false, '192.0.2.1'], 'the link is down');
  state.interfaces = { ...state.interfaces, eth0: [address('192.0.2.1')] };
  state.routes = ['eth0'];
  t.same([host.look(), host.current], [false, '192.0.2.1'], 'it is up again, and nothing has changed');

  t.equal(begun('198.51.100.9').current, '192.0.2.1', 'a default route is better');
  state.routes = [];
  t.equal(begun('192.0.2.1').current, '192.0.2.1');
  t.equal(begun('198.51.100.9', { host: '192.0.2.7' }).current, '192.0.2.7', 'what was given is better');
  for (const useless of ['127.0.0.1', '172.17.0.1', '', 'eth0'])
    t.equal(begun(useless).current, '10.9.0.1', useless);
});

t.test('where it was before is not waited for for ever', async (t) => {
  const { state, facts } = changing({ lo, docker0 });
  const host = new HostAddress(wildcard, facts);
  host.begin('192.0.2.1');
  for (let look = 0; look < 100; look++) t.equal(host.look(), false);
  t.equal(host.current, '192.0.2.1', 'while there is nothing else');
  state.interfaces = { lo, docker0, eth0: [address('192.0.2.2')] };
  t.same([host.look(), host.current], [true, '192.0.2.2'], 'a network without a default route');

  const booting = new HostAddress(wildcard, facts);
  booting.begin('198.51.100.1');
  for (let look = 1; look < 12; look++) t.same([booting.look(), booting.current], [false, '198.51.100.1']);
  state.interfaces = { ...state.interfaces, wlan0: [address('198.51.100.1')] };
  for (let look = 0; look < 100; look++) t.equal(booting.look(), false, 'it is there now');
  state.interfaces = { lo, docker0, eth0: [address('192.0.2.2')] };
  for (let look = 1; look < 12; look++) t.equal(booting.look(), false, 'a cable that is out');
  t.same([booting.look(), booting.current], [true, '192.0.2.2'], 'or a link that is gone for good');
});

t.test('a host without a default route whose link is gone goes on by another, and back', async (t) => {
  const { state, facts } = changing({ lo, docker0, eth0: [address('192.0.2.1')] });
  const host = new HostAddress(wildcard, facts);
  const both = { lo, docker0, wlan0: [address('198.51.100.1')], eth0: [address('192.0.2.1')] };
  const { eth0, ...without } = both;
  for (let round = 0; round < 3; round++) {
    state.interfaces = without;
    for (let look = 1; look < 12; look++) t.same([host.look(), host.current], [false, '192.0.2.1']);
    state.interfaces = both;
    t.same([host.look(), host.current], [false, '192.0.2.1'], 'it was out for less than a minute');
  }
  state.interfaces = without;
  for (let look = 1; look < 12; look++) host.look();
  t.same([host.look(), host.current, host.look()], [true, '198.51.100.1', false]);
  state.interfaces = { ...without, eth0: [address('192.0.2.7')] };
  t.same([host.look(), host.current, host.look()], [true, '192.0.2.7', false], 'what it had before is back');
  state.interfaces = both;
  t.same([host.look(), host.current], [true, '192.0.2.1']);
});

const vxlan = await canVxlan();
const skip = vxlan !== true && vxlan;
t.test('the kernel tells which interfaces are for containers', { skip }, async (t) => {
  const lines = [
    'link add docker0 type bridge',
    'addr add 172.17.0.1/16 dev docker0',
    'link add shx0 type vxlan id 7 dstport 4789',
    'addr add 10.210.7.0/32 dev shx0',
    // The peer is made first, and listed before the other end, which is the host here.
    'link add eth0 type veth peer name veth7',
    'addr add 10.88.0.1/16 dev veth7',
    'addr add 192.0.2.1/24 dev eth0',
    'link add port0 type veth peer name port1',
    'link set port0 master docker0',
    // Node.js tells of interfaces that run.
    ...['docker0', 'shx0', 'veth7', 'eth0', 'port0', 'port1'].map((name) => `link set ${name} up`),
  ];
  const look = `
    import os from 'node:os';
    import { HostAddress } from '${new URL('../../daemon/host-facts.ts', import.meta.url)}';
    const all = Object.entries(os.networkInterfaces()).filter(([, [{ family }]]) => family === 'IPv4');
    console.log(all.map(([name]) => name).join(), new HostAddress(${JSON.stringify(wildcard)}).current);
  `;
  const script = 'mount -t sysfs none /sys && ip -batch - && exec "$0" --input-type=module -e "$1"';
  const argv = ['unshare', '--net', '--mount', 'sh', '-c', script, process.execPath, look];
  const { stdout, stderr } = await runCommand(argv, `${lines.join('\n')}\n`);
  t.equal(stdout.trim() || stderr, 'docker0,shx0,veth7,eth0 192.0.2.1');
});

t.test('capacity is what was given, or what the host has; what no node would take is refused', async (t) => {
  t.same(hostCapacity({ cpu_millis: 5, memory_bytes: 6 }), { cpu_millis: 5, memory_bytes: 6 });
  const { cpu_millis, memory_bytes } = hostCapacity({ cpu_millis: null, memory_bytes: null });
  t.equal(cpu_millis, os.availableParallelism() * 1000);
  t.ok(memory_bytes > 0 && memory_bytes < os.totalmem());
  const options = (capacity: DaemonOptions['capacity']) =>
    ({ socket: '/s', name: null, host: null, dns: [], labels: {}, capacity }) as unknown as DaemonOptions;
  t.ok(checkOptions(options({ cpu_millis: null, memory_bytes: null })));
  t.ok(checkOptions(options({ cpu_millis, memory_bytes })), 'what is measured is taken');
  for (const capacity of [
    { cpu_millis: 0, memory_bytes: null },
    { cpu_millis: 1.5, memory_bytes: null },
    { cpu_millis: Number.NaN, memory_bytes: null },
    { cpu_millis: null, memory_bytes: 1000 },
    { cpu_millis: null, memory_bytes: 2 ** 50 },
  ]) {
    t.throws(() => checkOptions(options(capacity)), { code: 'E_USAGE', message: /--capacity-(cpu|memory)/ });
  }
});

t.test(
  'a port that is held, and an address that is not of this host, are told before anything is changed',
  async (t) => {
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as net.AddressInfo;
    const here = { host: '127.0.0.1', port };
    await t.rejects(assertBindable([{ host: '127.0.0.1', port: 0 }, here]), { code: 'E_PORT_IN_USE' });
    await new Promise((resolve) => server.close(resolve));
    await t.resolves(assertBindable([here]), 'and it is free again after the look');
    await t.resolves(assertBindable([here]));
    // TEST-NET-1 (RFC 5737) is nobody's.
    await t.rejects(assertBindable([{ host: '192.0.2.1', port: 4747 }]), { code: 'E_ADDRESS_NOT_HERE' });
    await t.rejects(assertBindable([here, here]), { code: 'E_PORT_IN_USE' }, 'one port for both');
  },
);
