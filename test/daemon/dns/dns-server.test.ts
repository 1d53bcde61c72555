import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import t from 'tap';
import { frame } from '../../../daemon/dns/dns-frame.ts';
import {
  createDnsServer,
  type DnsServerInit,
  QUERY_BYTES_MAX,
  TCP_CONNECTIONS_EACH_MAX,
  TCP_CONNECTIONS_MAX,
  TCP_PIPELINE_MAX,
} from '../../../daemon/dns/dns-server.ts';
import { UDP_BYTES_MAX } from '../../../daemon/dns/dns-wire.ts';
import { IN_FLIGHT_EACH_MAX } from '../../../daemon/dns/upstream.ts';
import { silentLog } from '../../../daemon/log.ts';
import type { ClusterView } from '../../../protocols/view/view.ts';
import fc from '../../laws.ts';
import { allocation, clusterView } from '../../protocols/discovery/cluster-view.ts';
import { askTcp, askUdp, fakeUpstream, header, queryBytes, responseTo } from './dns-client.ts';

const loopback = { address: '127.0.0.1', port: 0 };
const small = clusterView({});
const wide = clusterView({
  allocations: Array.from({ length: 100 }, (_, at) => allocation('a', at, `10.210.1.${at}`)),
});

async function started(over: Partial<DnsServerInit> = {}) {
  const dns = createDnsServer({
    view: () => small,
    listen: [loopback],
    upstream: () => [],
    log: silentLog,
    random: Math.random,
    ...over,
  });
  const failures = await dns.start();
  if (failures.length > 0) throw failures[0];
  return { dns, server: dns.addresses()[0]!, [Symbol.asyncDispose]: () => dns[Symbol.asyncDispose]() };
}

t.test('a name of the zone is answered over UDP and TCP', async (t) => {
  await using it = await started();
  const query = queryBytes('WEB.default.internal');
  const expected = {
    id: 0x1234,
    response: true,
    aa: true,
    tc: false,
    ra: true,
    rcode: 0,
    questions: 1,
    answers: 2,
  };
  const udp = await askUdp(it.server, query);
  t.match(header(udp!), expected);
  t.match(udp!.toString('latin1'), 'WEB', 'the question comes back as asked');
  const [tcp] = await askTcp(it.server, frame(query));
  t.match(header(tcp!), expected);
});

t.test('a name that is not there is NXDOMAIN, a type that is not there is not', async (t) => {
  await using it = await started();
  t.match(header((await askUdp(it.server, queryBytes('none.internal')))!), { rcode: 3, authorities: 1 });
  t.match(header((await askUdp(it.server, queryBytes('web.internal', { type: 28 })))!), {
    rcode: 0,
    answers: 0,
    authorities: 1,
  });
});

t.test('a name of the zone is not denied while nobody knows yet what there is', async (t) => {
  await using upstream = await fakeUpstream((message) => responseTo(message));
  let view: ClusterView | null = null;
  await using it = await started({ view: () => view, upstream: () => [upstream.server] });
  for (const name of ['web.internal', 'WEB.internal.', 'internal', 'none.internal'])
    t.match(header((await askUdp(it.server, queryBytes(name)))!), { rcode: 2, answers: 0 }, name);
  t.equal(upstream.seen.length, 0, 'and nobody else is asked for it');
  t.match(header((await askUdp(it.server, queryBytes('example.com')))!), { rcode: 0, answers: 1 });
  view = small;
  t.match(header((await askUdp(it.server, queryBytes('web.internal')))!), { rcode: 0, answers: 2 });
});

t.test('what does not fit a datagram is cut, and whole over TCP', async (t) => {
  await using it = await started({ view: () => wide });
  const plain = await askUdp(it.server, queryBytes('web.internal'));
  t.match(header(plain!), { tc: true, answers: 0, questions: 1 });
  t.ok(plain!.length <= 512);
  const edns = await askUdp(it.server, queryBytes('web.internal', { edns: 65_535 }));
  t.match(header(edns!), { tc: true, additionals: 1 });
  t.ok(edns!.length <= UDP_BYTES_MAX);
  const [tcp] = await askTcp(it.server, frame(queryBytes('web.internal')));
  t.match(header(tcp!), { tc: false, answers: 100 });
});

t.test('a client that offers more gets more in one datagram', async (t) => {
  const view = clusterView({
    allocations: Array.from({ length: 25 }, (_, at) => allocation('a', at, `10.210.1.${at}`)),
  });
  await using it = await started({ view: () => view });
  t.match(header((await askUdp(it.server, queryBytes('web.internal')))!), { tc: true });
  t.match(header((await askUdp(it.server, queryBytes('web.internal', { edns: 1232 })))!), {
    tc: false,
    answers: 25,
  });
});

t.test('what is not served is refused by its name', async (t) => {
  await using it = await started();
  for (const [why, query, rcode] of [
    ['zone transfer', queryBytes('internal', { type: 252 }), 5],
    ['incremental transfer', queryBytes('internal', { type: 251 }), 5],
    ['class CHAOS', queryBytes('version.bind', { type: 16, class: 3 }), 5],
    ['an update', queryBytes('internal', { flags: 5 << 11 }), 4],
    ['a notify', queryBytes('internal', { flags: 4 << 11 }), 4],
    ['no recursion wanted', queryBytes('example.com', { flags: 0 }), 5],
    ['no upstream', queryBytes('example.com'), 2],
    ['two questions', Buffer.from(queryBytes('web.internal')).fill(2, 5, 6), 1],
    ['a cut question', queryBytes('web.internal').subarray(0, 20), 1],
    ['a header alone', queryBytes('').subarray(0, 12), 1],
    [
      'a compressed question',
      Buffer.concat([queryBytes('').subarray(0, 12), Buffer.from('c00c00010001', 'hex')]),
      1,
    ],
    ['a later EDNS version', queryBytes('web.internal', { edns: 1232, ednsVersion: 1 }), 0],
  ] as const) {
    t.match(header((await askUdp(it.server, query))!), { rcode, answers: 0, id: 0x1234 }, why);
  }
});

t.test('responses and fragments get no answer', async (t) => {
  await using it = await started();
  t.equal(await askUdp(it.server, queryBytes('web.internal', { flags: 0x8100 }), 100), null);
  t.equal(await askUdp(it.server, Buffer.from('short'), 100), null);
});

t.test('garbage neither stops it nor makes it throw', async (t) => {
  const warnings: string[] = [];
  await using it = await started({ log: (_level, message) => warnings.push(message) });
  const socket = createSocket('udp4');
  const valid = queryBytes('web.internal', { edns: 1232 });
  const mutated = fc
    .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 })
    .map((changes) => {
      const bytes = Buffer.from(valid);
      for (const [at, value] of changes) bytes[at] = value;
      return bytes;
    });
  const messages = fc.sample(fc.oneof(fc.uint8Array({ maxLength: 600 }), mutated), 500);
  for (const message of messages)
    await new Promise((sent) => socket.send(message, it.server.port, '127.0.0.1', sent));
  socket.close();
  for (const message of messages.slice(0, 50)) {
    const connection = connect(it.server.port, '127.0.0.1');
    connection.on('error', () => {});
    connection.end(message);
    connection.resume();
    await once(connection, 'close');
  }
  t.match(header((await askUdp(it.server, valid))!), { rcode: 0, answers: 2 });
  t.same(warnings, []);
});

t.test('TCP takes several queries in pieces, and ends a connection that asks too much', async (t) => {
  await using it = await started();
  const query = frame(queryBytes('web.internal'));
  t.equal((await askTcp(it.server, Buffer.concat([query, query, query]), 3)).length, 3);
  const connection = connect(it.server.port, '127.0.0.1');
  for (const byte of query) {
    connection.write(Buffer.of(byte));
    await new Promise(setImmediate);
  }
  t.match(header(((await once(connection, 'data'))[0] as Buffer).subarray(2)), { answers: 2 });
  connection.destroy();
  const large = Buffer.alloc(2);
  large.writeUInt16BE(QUERY_BYTES_MAX + 1);
  t.same(await askTcp(it.server, large), [], 'a message over the limit closes the connection');
  const many = Buffer.concat(Array<Buffer>(TCP_PIPELINE_MAX + 1).fill(query));
  t.ok((await askTcp(it.server, many, TCP_PIPELINE_MAX + 1)).length <= TCP_PIPELINE_MAX);
});

t.test('TCP connections at once have a limit in all, and one for each address', async (t) => {
  await using it = await started({ tcpIdle_ms: 60_000 });
  const held: Socket[] = [];
  t.teardown(() => held.forEach((connection) => void connection.destroy()));
  /** @returns whether it was still open after the server had seen it. */
  const hold = async (localAddress: string) => {
    const connection = connect({ port: it.server.port, host: '127.0.0.1', localAddress });
    held.push(connection);
    connection.on('error', () => {});
    await once(connection, 'connect');
    connection.write(frame(queryBytes('web.internal')));
    return await Promise.race([
      once(connection, 'data').then(() => true),
      once(connection, 'close').then(() => false),
    ]);
  };
  for (let host = 2; held.length < TCP_CONNECTIONS_MAX; host += 1) {
    const each = Array.from({ length: TCP_CONNECTIONS_EACH_MAX }, () => hold(`127.0.0.${host}`));
    t.same(await Promise.all(each), Array(TCP_CONNECTIONS_EACH_MAX).fill(true));
    if (held.length < TCP_CONNECTIONS_MAX)
      t.equal(await hold(`127.0.0.${host}`), false, 'one more of it is turned away');
    held.splice(0, held.length, ...held.filter((connection) => !connection.destroyed));
  }
  t.equal(await hold('127.0.0.99'), false, 'and one more of anybody');
});

t.test('TCP closes a connection without a whole query, bytes or none', async (t) => {
  await using it = await started({ tcpIdle_ms: 50 });
  const connection = connect(it.server.port, '127.0.0.1');
  connection.on('error', () => {});
  const drip = setInterval(() => connection.write(Buffer.of(0)), 20);
  t.teardown(() => clearInterval(drip));
  connection.write(Buffer.of(1));
  // A reset is a close as well: bytes may be on their way while the server closes.
  await new Promise((resolve) => connection.resume().once('close', resolve));
  t.pass();
});

t.test('other names go upstream under an id of ours and come back under the client’s', async (t) => {
  await using upstream = await fakeUpstream((message) => responseTo(message));
  await using it = await started({ upstream: () => [upstream.server], random: () => 0.5 });
  const response = await askUdp(it.server, queryBytes('example.com', { id: 77 }));
  t.match(header(response!), { id: 77, aa: false, answers: 1 });
  t.equal(upstream.seen[0]!.readUInt16BE(0), 0x8000);
  t.equal((await askTcp(it.server, frame(queryBytes('example.com')))).length, 1);
});

t.test('a silent upstream is passed over, and none left is SERVFAIL', async (t) => {
  await using silent = await fakeUpstream(() => null);
  await using good = await fakeUpstream((message) => responseTo(message));
  const timeouts = { upstreamTimeout_ms: 100 };
  {
    await using it = await started({ ...timeouts, upstream: () => [silent.server, good.server] });
    t.match(header((await askUdp(it.server, queryBytes('example.com')))!), { rcode: 0, answers: 1 });
  }
  await using it = await started({ ...timeouts, upstream: () => [silent.server] });
  t.match(header((await askUdp(it.server, queryBytes('example.com')))!), { rcode: 2 });
});

t.test('an upstream answer with another id or question is not believed', async (t) => {
  for (const forge of [
    (message: Buffer) => responseTo(Buffer.concat([Buffer.of(message[0]! ^ 1), message.subarray(1)])),
    () => responseTo(queryBytes('other.example')),
    (message: Buffer) => message,
    () => Buffer.from('x'),
  ]) {
    await using upstream = await fakeUpstream(forge);
    await using it = await started({ upstream: () => [upstream.server], upstreamTimeout_ms: 100 });
    t.match(header((await askUdp(it.server, queryBytes('example.com')))!), { rcode: 2 });
  }
});

t.test('an upstream answer that was cut is fetched over TCP for a TCP client only', async (t) => {
  await using upstream = await fakeUpstream(
    (message) => responseTo(message, { truncated: true }),
    (message) => responseTo(message, { bytes: 3000 }),
  );
  await using it = await started({ upstream: () => [upstream.server] });
  t.match(header((await askUdp(it.server, queryBytes('example.com')))!), { tc: true });
  const [whole] = await askTcp(it.server, frame(queryBytes('example.com')));
  t.equal(whole?.length, 3000);
});

t.test('an upstream answer larger than the client takes is cut', async (t) => {
  await using upstream = await fakeUpstream((message) => responseTo(message, { bytes: 900 }));
  await using it = await started({ upstream: () => [upstream.server] });
  const cut = await askUdp(it.server, queryBytes('example.com'));
  t.match(header(cut!), { tc: true, answers: 0 });
  t.equal((await askUdp(it.server, queryBytes('example.com', { edns: 1232 })))?.length, 900);
});

t.test('it never asks itself', async (t) => {
  const upstream: { address: string; port: number }[] = [{ address: '127.0.0.1', port: 1 }];
  let drawn = 0;
  const random = () => {
    drawn += 1;
    return 0.5;
  };
  await using it = await started({ upstream: () => upstream, random });
  upstream[0]!.port = it.server.port;
  t.match(header((await askUdp(it.server, queryBytes('example.com')))!), { rcode: 2 });
  t.equal(drawn, 1, 'no id was drawn for an upstream query');
});

t.test(`no more than ${IN_FLIGHT_EACH_MAX} queries of one address wait for an upstream`, async (t) => {
  const isDead = (message: Buffer) => message.includes('dead');
  await using silent = await fakeUpstream((message) => (isDead(message) ? null : responseTo(message)));
  await using it = await started({ upstream: () => [silent.server], upstreamTimeout_ms: 60_000 });
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  socket.bind(0, '127.0.0.2');
  await once(socket, 'listening');
  const refused = once(socket, 'message');
  // Some datagrams may be lost: send until one is turned away.
  const timer = setInterval(() => {
    for (let at = 0; at < 64; at++)
      socket.send(queryBytes('dead.example', { id: at }), it.server.port, '127.0.0.1');
  }, 10);
  const [response] = await refused;
  clearInterval(timer);
  t.match(header(response as Buffer), { rcode: 2 });
  t.ok(silent.seen.length <= IN_FLIGHT_EACH_MAX);
  t.match(
    header((await askUdp(it.server, queryBytes('example.com')))!),
    { rcode: 0 },
    'others do not notice',
  );
});

t.test('an upstream to which there is no way is passed over', async (t) => {
  await using good = await fakeUpstream((message) => responseTo(message));
  // The kernel refuses to connect to it at once.
  const nowhere = { address: '255.255.255.255', port: 53 };
  await using it = await started({ upstream: () => [nowhere, good.server] });
  t.match(header((await askUdp(it.server, queryBytes('example.com')))!), { rcode: 0, answers: 1 });
});

t.test('a view that cannot be read takes the names of the zone alone', async (t) => {
  await using upstream = await fakeUpstream((message) => responseTo(message));
  const view = { ...small, members: null } as unknown as typeof small;
  let broken = 0;
  await using it = await started({
    view: () => view,
    upstream: () => [upstream.server],
    onBroken: () => {
      broken += 1;
    },
  });
  for (const _ of [1, 2])
    t.match(header((await askUdp(it.server, queryBytes('web.internal')))!), { rcode: 2 });
  t.match(header((await askUdp(it.server, queryBytes('example.com')))!), { rcode: 0 });
  t.equal(broken, 1, 'it is told once');
});

t.test('an address that is taken is E_PORT_IN_USE and does not stop the others', async (t) => {
  await using first = await started();
  const dns = createDnsServer({
    view: () => small,
    listen: [first.server, { address: '192.0.2.254', port: 0 }, loopback],
    upstream: () => [],
    log: silentLog,
    random: Math.random,
  });
  await using _dns = dns;
  t.match(await dns.start(), [{ code: 'E_PORT_IN_USE' }, { code: 'E_ADDRESS_NOT_HERE' }]);
  t.equal(dns.addresses().length, 1);
  await t.rejects(dns.listenOn(first.server), { code: 'E_PORT_IN_USE' });
});

const isLinux = process.platform === 'linux';
const firstFreePort = isLinux
  ? Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'))
  : 0;
const mayAll = process.geteuid?.() === 0 || firstFreePort <= 53;
t.test(
  'a port that needs rights is E_PORT_DENIED',
  { skip: mayAll && 'every port is allowed here' },
  async (t) => {
    const dns = createDnsServer({
      view: () => small,
      listen: [{ address: '127.0.0.1', port: 53 }],
      upstream: () => [],
      log: silentLog,
      random: Math.random,
    });
    await using _dns = dns;
    t.match(await dns.start(), [{ code: /E_PORT_DENIED|E_PORT_IN_USE/ }]);
  },
);

t.test('an address can be added later, once', { skip: !isLinux && 'needs 127.0.0.2' }, async (t) => {
  await using it = await started({ listen: [loopback] });
  const added = { address: '127.0.0.2', port: it.server.port };
  await it.dns.listenOn(added);
  await it.dns.listenOn(added);
  t.equal(it.dns.addresses().length, 2);
  t.match(header((await askUdp(added, queryBytes('web.internal')))!), { answers: 2 });
});

t.test('a new view is answered from at once', async (t) => {
  let view = small;
  await using it = await started({ view: () => view });
  t.match(header((await askUdp(it.server, queryBytes('web.internal')))!), { answers: 2 });
  view = clusterView({ allocations: [] });
  t.match(header((await askUdp(it.server, queryBytes('web.internal')))!), { answers: 0, rcode: 0 });
});

const noDig = spawnSync('dig', ['-v']).status === 0 ? false : 'dig is not installed';
t.test('dig understands it', { skip: noDig }, async (t) => {
  await using it = await started();
  const dig = async (...args: string[]) => {
    const child = spawn('dig', ['@127.0.0.1', '-p', String(it.server.port), '+time=5', '+tries=1', ...args]);
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
    await once(child, 'close');
    return output;
  };
  t.same((await dig('+short', 'web.default.internal')).trim().split('\n').sort(), [
    '10.210.1.2',
    '10.210.2.2',
  ]);
  t.match(await dig('+tcp', 'SRV', '_http._tcp.web.internal'), /0 1 80 0\.web\.default\.internal\./);
  t.match(await dig('+short', '-x', '10.210.1.2'), '0.web.default.internal.');
  t.match(await dig('TXT', 'b.node.internal'), '"node=b"');
  t.match(await dig('SOA', 'internal'), 'a.node.internal. hostmaster.internal.');
  t.match(await dig('none.internal'), 'status: NXDOMAIN');
  t.match(await dig('AAAA', 'web.internal'), 'status: NOERROR');
  t.notMatch(await dig('AAAA', 'web.internal'), /WARNING|malformed/i);
});
