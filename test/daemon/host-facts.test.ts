/** What a host says of itself where its options say nothing. */
import net from 'node:net';
import os from 'node:os';
import t from 'tap';
import { checkOptions, type DaemonOptions } from '../../daemon/config/options.ts';
import { assertBindable, HostAddress, hostCapacity, hostName, multiaddr } from '../../daemon/host-facts.ts';
import { LABEL_PATTERN } from '../../protocols/base/workload.ts';

t.test('a name is a label, and an address is that which was given, or listened on, or found', async (t) => {
  t.match(hostName(), new RegExp(LABEL_PATTERN));
  t.equal(new HostAddress({ host: '192.0.2.7', listen: { host: '0.0.0.0', port: 0 } }).current, '192.0.2.7');
  t.equal(new HostAddress({ host: null, listen: { host: '192.0.2.8', port: 0 } }).current, '192.0.2.8');
  t.ok(net.isIP(new HostAddress({ host: null, listen: { host: '0.0.0.0', port: 0 } }).current));
  t.ok(net.isIP(new HostAddress({ host: null, listen: { host: '::', port: 0 } }).current));
  t.equal(multiaddr({ host: '192.0.2.1', port: 7 }), '/ip4/192.0.2.1/tcp/7');
  t.equal(multiaddr({ host: '::1', port: 7 }), '/ip6/::1/tcp/7');
});

t.test('an address that this host has no more is followed to the one in its place', async (t) => {
  const address = (text: string) =>
    ({ address: text, family: 'IPv4', internal: false }) as NonNullable<
      ReturnType<typeof os.networkInterfaces>[string]
    >[number];
  let interfaces: ReturnType<typeof os.networkInterfaces> = {
    lo: [{ ...address('127.0.0.1'), internal: true } as ReturnType<typeof address>],
    br0: [address('10.210.0.1')],
    eth0: [address('192.0.2.1')],
    wlan0: [address('198.51.100.1')],
  };
  let defaultRoutes = ['eth0'];
  const facts = { interfaces: () => interfaces, defaultRoutes: () => defaultRoutes };
  const wildcard = { host: null, listen: { host: '0.0.0.0', port: 0 } };
  const host = new HostAddress(wildcard, facts);
  const fixed = new HostAddress({ host: null, listen: { host: '192.0.2.1', port: 0 } }, facts);
  t.same([host.current, host.look()], ['192.0.2.1', false]);

  defaultRoutes = ['wlan0'];
  t.equal(host.look(), false, 'it is still there');
  interfaces = { ...interfaces, eth0: [address('192.0.2.2')] };
  defaultRoutes = [];
  t.same([host.look(), host.current, host.look()], [true, '192.0.2.2', false], 'on the same interface');
  const { lo, br0 } = interfaces;
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
    await t.rejects(assertBindable([{ host: '192.0.2.1', port: 4747 }]), { code: 'E_NETWORK_FAILED' });
  },
);
