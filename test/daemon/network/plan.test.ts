import t from 'tap';
import {
  addressIn,
  type HostPlan,
  INTERFACE_NAME_MAX,
  macOf,
  mtuOf,
  networkNames,
  PEERS_MAX,
  parsePeers,
  peerTable,
  planAlias,
  planAttach,
  planBridge,
  planInside,
  planMasquerade,
  planPeers,
  planVxlan,
} from '../../../daemon/network/plan.ts';
import { parseRange } from '../../../protocols/discovery/subnet.ts';
import fc from '../../laws.ts';

const names = networkNames('abc123');
const plan: HostPlan = { names, host: '10.77.0.1', subnet: '10.210.1.0/24', range: '10.210.0.0/16', vni: 7 };
const range = parseRange(plan.range);
const peer = (id: string, host: string, subnet: string | null) => ({ id, host, subnet });

t.test('interface names fit', async (t) => {
  t.ok(names.bridge.length <= INTERFACE_NAME_MAX);
  t.ok(names.vxlan.length <= INTERFACE_NAME_MAX);
  t.ok(`${names.vethPrefix}zzzzzz`.length <= INTERFACE_NAME_MAX);
});

t.test('addresses, MACs and MTUs follow from subnet and host', async (t) => {
  t.equal(addressIn('10.210.1.0/24', 1), '10.210.1.1');
  t.equal(macOf('10.210.1.255'), '0a:58:0a:d2:01:ff');
  t.equal(mtuOf('10.77.0.1'), 1450);
  t.equal(mtuOf('fd00::1'), 1430);
});

t.test('the host gets a bridge with the gateway and a VXLAN device that does not learn', async (t) => {
  t.same(planBridge(plan), [
    'link add shbabc123 address 0a:58:0a:d2:01:01 mtu 1450 type bridge stp_state 0 forward_delay 0',
    'addr add 10.210.1.1/24 dev shbabc123',
    'link set shbabc123 up',
  ]);
  t.same(planVxlan(plan), [
    'link add shxabc123 address 0a:58:0a:d2:01:00 mtu 1450 type vxlan id 7 local 10.77.0.1 dstport 4789 nolearning',
    'addr add 10.210.1.0/32 dev shxabc123',
    'link set shxabc123 up',
  ]);
  t.match(
    planMasquerade(plan),
    'ip saddr 10.210.1.0/24 ip daddr != 10.210.0.0/16 oifname != "shbabc123" masquerade',
  );
});

t.test('a container gets a veth pair, loopback and a default route, and its alias last', async (t) => {
  const end = { netns: 'ns', veth: 'v', address: '10.210.1.5', alias: 'c 10.210.1.5' };
  t.same(planAttach(plan, end), [
    'link add v mtu 1450 type veth peer name eth0 netns ns address 0a:58:0a:d2:01:05 mtu 1450',
    'link set v master shbabc123 up',
  ]);
  t.same(planInside(plan, end), [
    'link set lo up',
    'addr add 10.210.1.5/24 dev eth0',
    'link set eth0 up',
    'route add default via 10.210.1.1',
  ]);
  t.same(planAlias(end), ['link set v alias "c 10.210.1.5"']);
});

t.test('only claims that can be routed are taken, whatever others wrote', async (t) => {
  const taken = (peers: ReturnType<typeof peer>[]) => [...peerTable(range, plan, peers)];
  for (const [id, host, subnet] of [
    ['host network', '10.77.0.2', null],
    ['our subnet', '10.77.0.2', '10.210.1.0/24'],
    ['our address', '10.77.0.1', '10.210.2.0/24'],
    ['outside the range', '10.77.0.2', '10.211.2.0/24'],
    ['not a /24', '10.77.0.2', '10.210.0.0/16'],
    ['host bits', '10.77.0.2', '10.210.2.1/24'],
    ['a line break in the subnet', '10.77.0.2', '10.210.2.0\nlink del eth0/24'],
    ['a line break in the host', '10.77.0.2\nlink del eth0', '10.210.2.0/24'],
    ['a name', 'evil.example', '10.210.2.0/24'],
  ] as const) {
    t.same(taken([peer(id, host, subnet)]), [], id);
  }
  const two = [peer('b', '10.77.0.3', '10.210.2.0/24'), peer('a', '10.77.0.2', '10.210.2.0/24')];
  t.same(taken(two), [['10.210.2.0/24', '10.77.0.2']], 'the smaller id keeps a contested subnet');
});

t.test(`no more than ${PEERS_MAX} peers are looked at`, async (t) => {
  const wide = parseRange('10.0.0.0/8');
  const peers = Array.from({ length: PEERS_MAX + 5 }, (_, at) =>
    peer(String(at).padStart(6, '0'), '192.0.2.1', `10.${at >> 8}.${at & 255}.0/24`),
  );
  t.equal(peerTable(wide, { host: '10.77.0.1', subnet: '10.255.1.0/24' }, peers).size, PEERS_MAX);
});

t.test('peers come, move, stay and go with the fewest commands', async (t) => {
  const add = (n: number, host: string) => [
    `fdb replace 0a:58:0a:d2:0${n}:00 dev shxabc123 dst ${host} self permanent`,
  ];
  const del = (n: number, host: string) => [`fdb del 0a:58:0a:d2:0${n}:00 dev shxabc123 dst ${host} self`];
  const route = (n: number) => [
    `neigh replace 10.210.${n}.0 lladdr 0a:58:0a:d2:0${n}:00 dev shxabc123 nud permanent`,
    `route replace 10.210.${n}.0/24 via 10.210.${n}.0 dev shxabc123 onlink src 10.210.1.1`,
  ];
  const unroute = (n: number) => [
    `route del 10.210.${n}.0/24 dev shxabc123`,
    `neigh del 10.210.${n}.0 dev shxabc123`,
  ];
  const two = new Map([['10.210.2.0/24', 'H2']]);
  const moved = new Map([['10.210.2.0/24', 'H9']]);
  t.same(planPeers(plan, new Map(), two), { bridge: add(2, 'H2'), ip: route(2) });
  t.same(planPeers(plan, two, two), { bridge: [], ip: [] });
  t.same(planPeers(plan, two, two, true), { bridge: add(2, 'H2'), ip: route(2) });
  t.same(planPeers(plan, two, moved), { bridge: [...del(2, 'H2'), ...add(2, 'H9')], ip: route(2) });
  t.same(planPeers(plan, two, new Map()), { bridge: del(2, 'H2'), ip: unroute(2) });
});

t.test('what was entered is read back', async (t) => {
  const listed = [
    '0a:58:0a:d2:02:00 dst 10.77.0.2 self permanent',
    '0a:58:0a:d2:ff:00 dst fd00::2 link-netnsid 0 self permanent',
    '33:33:00:00:00:01 self permanent',
    '',
  ].join('\n');
  t.same(
    [...parsePeers(listed)],
    [
      ['10.210.2.0/24', '10.77.0.2'],
      ['10.210.255.0/24', 'fd00::2'],
    ],
  );
});

t.test('no text in a member record makes a line of its own', async () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (host, subnet) => {
      const { ip, bridge } = planPeers(plan, new Map(), peerTable(range, plan, [peer('x', host, subnet)]));
      return [...ip, ...bridge].every((line) => !/[\n;"']/.test(line));
    }),
  );
});
