import t from 'tap';
import { answer } from '../../../protocols/discovery/answer.ts';
import { ANSWER_TTL_S, ANSWERS_MAX, type DnsRecord } from '../../../protocols/discovery/dns-record.ts';
import { buildNameIndex } from '../../../protocols/discovery/name-index.ts';
import type { ClusterView } from '../../../protocols/view/view.ts';
import fc from '../../laws.ts';
import { allocation, clusterView, member, workload } from './cluster-view.ts';

const ask = (view: ClusterView, name: string, type = 'A', random = 0) =>
  answer(buildNameIndex(view, 'internal'), { name, type }, { serial: 7, random });
const data = (records: readonly DnsRecord[] | undefined) => records?.map((record) => record.data);
const addresses = (view: ClusterView, name: string, type = 'A') => data(ask(view, name, type)?.answers);
const both = ['10.210.1.2', '10.210.2.2'];

t.test('each kind of name has its answer', async (t) => {
  const view = clusterView({});
  for (const [name, type, expected] of [
    ['web.default.internal', 'A', both],
    ['web.internal', 'A', both],
    ['WEB.Default.INTERNAL.', 'A', both],
    ['web.internal', 'ANY', both],
    ['1.web.default.internal', 'A', ['10.210.2.2']],
    ['10-210-1-2.web.default.internal', 'A', ['10.210.1.2']],
    ['b.node.internal', 'A', ['192.0.2.2']],
    ['2.1.210.10.in-addr.arpa', 'PTR', ['0.web.default.internal']],
    ['2.2.0.192.in-addr.arpa', 'PTR', ['b.node.internal']],
    ['internal', 'NS', ['a.node.internal']],
    ['b.node.internal', 'TXT', [['node=b']]],
    ['1.web.default.internal', 'TXT', [['slot=default/web/1', 'node=b']]],
  ] as const)
    t.same(addresses(view, name, type), expected, `${name} ${type}`);
});

t.test('SRV names the port, the instance and its address', async (t) => {
  const view = clusterView({
    allocations: [allocation('a', 0, '10.210.1.2', { ports: { http: 31000, admin: 31001 } })],
  });
  for (const [name, port] of [
    ['_http._tcp.web.default.internal', 31000],
    ['_admin._tcp.web.internal', 31001],
    ['_admin._tcp.0.web.default.internal', 31001],
    ['web.default.internal', 31000],
  ] as const) {
    const found = ask(view, name, 'SRV');
    t.same(data(found?.answers), [{ priority: 0, weight: 1, port, target: '0.web.default.internal' }], name);
    t.same(data(found?.additionals), ['10.210.1.2']);
  }
});

t.test('the answer may be kept a few seconds and echoes the name as asked', async (t) => {
  const record = ask(clusterView({}), 'Web.internal')?.answers[0];
  t.match(record, { name: 'Web.internal', type: 'A', ttl: ANSWER_TTL_S });
  t.ok(ANSWER_TTL_S <= 5);
});

t.test('NODATA is not NXDOMAIN', async (t) => {
  const view = clusterView({ workloads: [workload('default', 'web'), workload('shop', 'idle')] });
  for (const [name, type, rcode] of [
    ['web.internal', 'AAAA', 'NOERROR'],
    ['web.internal', 'MX', 'NOERROR'],
    ['idle.shop.internal', 'A', 'NOERROR'],
    ['2.web.default.internal', 'A', 'NOERROR'],
    ['_http._tcp.idle.shop.internal', 'SRV', 'NOERROR'],
    ['shop.internal', 'A', 'NOERROR'],
    ['node.internal', 'A', 'NOERROR'],
    ['_tcp.web.default.internal', 'A', 'NOERROR'],
    ['internal', 'A', 'NOERROR'],
    ['2.1.210.10.in-addr.arpa', 'A', 'NOERROR'],
    ['1.210.10.in-addr.arpa', 'A', 'NOERROR'],
    ['3.web.default.internal', 'A', 'NXDOMAIN'],
    ['00.web.default.internal', 'A', 'NXDOMAIN'],
    ['0.web.internal', 'A', 'NXDOMAIN'],
    ['_nope._tcp.web.internal', 'SRV', 'NXDOMAIN'],
    ['none.internal', 'A', 'NXDOMAIN'],
    ['web.other.internal', 'A', 'NXDOMAIN'],
    ['99.1.210.10.in-addr.arpa', 'PTR', 'NXDOMAIN'],
  ] as const) {
    const found = ask(view, name, type);
    t.equal(found?.rcode, rcode, `${name} ${type}`);
    t.same(found?.answers, []);
    t.match(found?.authority, [{ type: 'SOA', data: { serial: 7, mname: 'a.node.internal' } }]);
  }
});

t.test('names of others are not ours to answer', async (t) => {
  for (const name of ['example.com', 'notinternal', 'internal.example', '', '.', '1.0.0.127.in-addr.arpa'])
    t.equal(ask(clusterView({}), name), null, name);
});

t.test('only running, healthy instances on members that are not failed are answered', async (t) => {
  for (const [why, over, status, there] of [
    ['as it should be', {}, 'alive', true],
    ['suspected', {}, 'suspect', true],
    ['failed host', {}, 'failed', false],
    ['not healthy yet', { health: 'unknown' }, 'alive', false],
    ['unhealthy', { health: 'unhealthy' }, 'alive', false],
    ['starting', { phase: 'starting' }, 'alive', false],
    ['stopping', { phase: 'stopping' }, 'alive', false],
    ['no address', { address: null }, 'alive', false],
    ['no address but text', { address: 'evil; text' }, 'alive', false],
    ['host that is unknown', { node: 'z' }, 'alive', false],
    ['workload that was removed', { workload: 'gone' }, 'alive', false],
  ] as const) {
    const view = clusterView({
      members: [member('a', { status })],
      allocations: [{ ...allocation('a', 0, '10.210.1.2'), ...over }],
    });
    t.same(addresses(view, 'web.internal'), there ? ['10.210.1.2'] : [], why);
    t.equal(ask(view, 'web.internal')?.rcode, 'NOERROR');
  }
});

t.test('two that hold one slot both answer, each with a target of its own', async (t) => {
  const view = clusterView({
    allocations: [allocation('a', 0, '10.210.1.2'), allocation('b', 0, '10.210.2.2')],
  });
  t.same(addresses(view, '0.web.default.internal'), both);
  const targets = ask(view, '_http._tcp.web.internal', 'SRV')?.answers.map(
    (record) => record.type === 'SRV' && record.data.target,
  );
  t.same(targets, ['10-210-1-2.web.default.internal', '10-210-2-2.web.default.internal']);
});

t.test('instances that share the host’s address are one A answer and several SRV answers', async (t) => {
  const view = clusterView({
    allocations: [
      allocation('a', 0, '192.0.2.1', { ports: { http: 31000 } }),
      allocation('a', 1, '192.0.2.1', { ports: { http: 31001 } }),
    ],
  });
  t.same(addresses(view, 'web.internal'), ['192.0.2.1']);
  const found = ask(view, '_http._tcp.web.internal', 'SRV');
  t.match(data(found?.answers), [
    { port: 31000, target: '0.web.default.internal' },
    { port: 31001, target: '1.web.default.internal' },
  ]);
  t.match(data(ask(view, '1.2.0.192.in-addr.arpa', 'PTR')?.answers), [
    '0.web.default.internal',
    '1.web.default.internal',
    'a.node.internal',
  ]);
});

t.test('IPv6 addresses answer AAAA and PTR', async (t) => {
  const view = clusterView({ allocations: [allocation('a', 0, 'FD00::2')] });
  t.same(addresses(view, 'web.internal', 'AAAA'), ['fd00:0:0:0:0:0:0:2']);
  t.same(addresses(view, 'web.internal', 'A'), []);
  const reverse = `2${'.0'.repeat(27)}.0.0.d.f.ip6.arpa`;
  t.same(addresses(view, reverse, 'PTR'), ['0.web.default.internal']);
});

t.test('a host keeps its name against a workload of the namespace node', async (t) => {
  const view = clusterView({
    workloads: [workload('node', 'b')],
    allocations: [allocation('a', 0, '10.210.1.9', { namespace: 'node', workload: 'b' })],
  });
  t.same(addresses(view, 'b.node.internal'), ['192.0.2.2']);
});

t.test('node names that cannot stand in DNS are left out', async (t) => {
  const view = clusterView({
    members: [member('a', { name: 'A Host' }), member('b', { name: 'B.Example' })],
  });
  t.same(addresses(view, 'b.example.node.internal'), ['192.0.2.2']);
  t.equal(ask(view, 'a host.node.internal')?.rcode, 'NXDOMAIN');
  t.match(ask(view, 'internal', 'SOA')?.answers, [{ data: { mname: 'ns.internal' } }]);
});

t.test(`an answer has at most ${ANSWERS_MAX} records, and rotation reaches all`, async (t) => {
  const total = ANSWERS_MAX + 44;
  const view = clusterView({
    allocations: Array.from({ length: total }, (_, at) =>
      allocation('a', at, `10.210.${at >> 8}.${at & 255}`),
    ),
  });
  const index = buildNameIndex(view, 'internal');
  const seen = new Set<unknown>();
  for (const random of [0, 0.25, 0.5, 0.75, 0.999]) {
    const found = answer(index, { name: 'web.internal', type: 'A' }, { serial: 1, random });
    t.equal(found?.answers.length, ANSWERS_MAX);
    for (const record of found?.answers ?? []) seen.add(record.data);
  }
  t.equal(seen.size, total);
});

t.test('the same answers in a rotated order, whatever the order of the view', async () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 0.9999, noNaN: true }),
      fc.uniqueArray(fc.nat(250), { minLength: 1, maxLength: 20 }),
      fc.boolean(),
      (random, hosts, reverse) => {
        const all = hosts.map((host) => allocation('a', host, `10.210.1.${host}`));
        const found = (order: typeof all, at: number) =>
          ask(clusterView({ allocations: order }), 'web.internal', 'A', at)?.answers.map(
            (r) => r.data as string,
          ) ?? [];
        const plain = found(all, 0);
        const rotated = found(reverse ? [...all].reverse() : all, random);
        const start = plain.indexOf(rotated[0]!);
        return JSON.stringify([...plain.slice(start), ...plain.slice(0, start)]) === JSON.stringify(rotated);
      },
    ),
  );
});

t.test('no question throws', async () => {
  const index = buildNameIndex(clusterView({}), 'internal');
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.boolean(), (name, type, inside) => {
      answer(index, { name: inside ? `${name}.internal` : name, type }, { serial: 0, random: 0.5 });
    }),
  );
});
