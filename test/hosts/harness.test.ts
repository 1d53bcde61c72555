import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import t from 'tap';
import { hostsAvailable, sweepStale, TestHosts } from './harness.ts';
import { datagramsThrough, reaches } from './probe.ts';

const available = hostsAvailable();
const skip = available === true ? false : available;

t.test('hosts reach one another and nothing of a host is the machine’s', { skip }, async (t) => {
  await using hosts = await TestHosts.create(3);
  t.equal(await reaches(hosts, 1, 3), true);
  const links = await hosts.exec(2, ['ip', '-o', 'link']);
  t.match(links.stdout, /eth0/);
  t.notMatch(links.stdout, /br0/);
});

t.test('a part cuts one pair both ways, and heal mends it', { skip }, async (t) => {
  await using hosts = await TestHosts.create(3);
  hosts.part(1, 2);
  t.equal(await reaches(hosts, 1, 2), false);
  t.equal(await reaches(hosts, 2, 1), false);
  t.equal(await reaches(hosts, 1, 3), true);
  hosts.heal();
  t.equal(await reaches(hosts, 1, 2, 10_000), true);
});

t.test('a one-way cut stops datagrams one way only', { skip }, async (t) => {
  await using hosts = await TestHosts.create(2);
  // Neighbours must know one another before: ARP needs both ways.
  t.equal(await reaches(hosts, 1, 2), true);
  t.equal(await reaches(hosts, 2, 1), true);
  hosts.cutOneWay(1, 2);
  t.equal(await datagramsThrough(hosts, 1, 2, 20), 0);
  t.equal(await datagramsThrough(hosts, 2, 1, 20), 20);
});

t.test('an isolated host reaches nobody until it rejoins', { skip }, async (t) => {
  await using hosts = await TestHosts.create(2);
  hosts.isolate(1);
  t.equal(await reaches(hosts, 1, 2), false);
  hosts.rejoin(1);
  t.equal(await reaches(hosts, 1, 2, 10_000), true);
});

t.test('loss drops a share of the datagrams, and zero ends it', { skip }, async (t) => {
  await using hosts = await TestHosts.create(2);
  t.equal(await reaches(hosts, 1, 2), true);
  hosts.loss(1, 50);
  const through = await datagramsThrough(hosts, 1, 2, 400);
  t.ok(through > 100 && through < 300, `${through} of 400`);
  hosts.loss(1, 0);
  t.equal(await datagramsThrough(hosts, 1, 2, 50), 50);
});

t.test('a rate is set on both ends of the link', { skip }, async (t) => {
  await using hosts = await TestHosts.create(2);
  hosts.rate(1, 8);
  t.match((await hosts.exec(1, ['tc', 'qdisc', 'show', 'dev', 'eth0'])).stdout, /tbf .*rate 8Mbit/);
  hosts.rate(1, 0);
  t.notMatch((await hosts.exec(1, ['tc', 'qdisc', 'show', 'dev', 'eth0'])).stdout, /tbf/);
});

t.test('disposal kills what runs on the hosts and takes the namespaces away', { skip }, async (t) => {
  const hosts = await TestHosts.create(1);
  const child = hosts.spawn(1, ['sleep', '600']);
  const path = hosts.netns(1);
  t.equal(existsSync(path), true);
  const closed = once(child, 'close');
  await hosts[Symbol.asyncDispose]();
  t.same(await closed, [null, 'SIGKILL']);
  t.equal(existsSync(path), false);
  await hosts[Symbol.asyncDispose]();
  t.throws(() => hosts.spawn(1, ['true']));
});

const holder = `
  const { TestHosts } = await import(${JSON.stringify(new URL('./harness.ts', import.meta.url).href)});
  const hosts = await TestHosts.create(1);
  console.log(hosts.netns(1));
  setInterval(() => {}, 1000);
`;

for (const [signal, left] of [
  ['SIGTERM', 'cleans up and dies of it'],
  ['SIGKILL', 'leaves namespaces that the next run sweeps'],
] as const) {
  t.test(`a run that gets ${signal} ${left}`, { skip }, async (t) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', holder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(child.stdout.setEncoding('utf8'), 'data');
    const name = String(line).trim().split('/').pop()!;
    t.ok(readdirSync('/run/netns').includes(name));
    const closed = once(child, 'close');
    child.kill(signal);
    t.same(await closed, [null, signal]);
    if (signal === 'SIGKILL') t.ok(sweepStale().includes(name));
    t.notOk(readdirSync('/run/netns').includes(name));
  });
}
