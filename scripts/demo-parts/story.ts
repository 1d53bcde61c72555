/**
 * The demo's story: what is done with three hosts, what must come of it, and what is measured on the way. It does not
 * know where the hosts are, and neither makes nor removes them.
 */
import type { AllocationInfo } from '../../daemon/api/schemas.ts';
import type { LoadResult } from './client.ts';
import type { DemoHosts, Host } from './demo-hosts.ts';
import { cpuMilliseconds, proportionalBytes } from './processes.ts';
import { megabytesText, type Report, secondsText } from './report.ts';
import type { Subject } from './subject.ts';

const REPLICAS = 3;
const NAMESPACE = 'default';
/** Time limits: past them a step has failed. */
const AGREE_MS_MAX = 15_000;
const KNOWN_MS_MAX = 20_000;
const REPLACED_MS_MAX = 40_000;
const GONE_MS_MAX = 20_000;
const IDLE_MS = 2000;
/** For how long the service is asked before the kill, and after the replacement. */
const LOAD_MS = 1000;

export interface Story {
  readonly hosts: DemoHosts;
  readonly subject: Subject;
  readonly report: Report;
  /** Leaves the service running at the end. */
  readonly keep: boolean;
}

/** @throws StepError with the name of the step that failed. */
export async function runStory(story: Story): Promise<void> {
  const { hosts, subject, report } = story;
  await report.step('Start three hosts, a daemon on each', () => startHosts(story));
  await report.step('shoal init on host1, shoal join on the others', () => formCluster(story));
  await report.step('Give an image to host1 only', async () => {
    report.say(await subject.publish(hosts));
    await hosts.until('all hosts know the image', AGREE_MS_MAX, async () => {
      const lists = await Promise.all(hosts.all.map((host) => host.api.images()));
      const seen = lists.map((list) => list.find(({ names }) => names.includes(subject.image))?.here);
      if (seen[1] || seen[2]) throw new Error('the image is on other hosts already');
      return seen[0] === true && seen.every((here) => here !== undefined);
    });
    report.say('All hosts know of it, and host1 alone has it.');
  });
  await report.step('From host2: shoal run, 3 replicas', () => runService(story));
  await report.step('From each host: DNS finds all three, and each answers', () => askEverywhere(story));
  await report.step('Again with the image present, then idle', () => measureMore(story));
  await report.step('kill -9 of everything on host3', () => killHost(story));
  if (story.keep) return;
  await report.step('Remove the service', () => removeService(story, subject.name));
}

async function startHosts({ hosts, report }: Story): Promise<void> {
  report.say(hosts.place.about);
  await hosts.start();
  for (const host of hosts.all) {
    const { driver, network, node } = await host.api.status();
    const address = hosts.place.address(host.number);
    report.say(`${host.name}  ${address.padEnd(11)} driver ${driver}, network ${network}, ${node}`);
    if (hosts.place.kind === 'containers' && (driver !== 'oci' || network !== 'vxlan')) {
      throw new Error(`${host.name} has driver ${driver} and network ${network}, not oci and vxlan`);
    }
  }
}

async function formCluster({ hosts, report }: Story): Promise<void> {
  await hosts.shoal(hosts.host(1), ['init', '--name', 'demo']);
  for (const host of hosts.all.slice(1)) {
    const token = await hosts.shoal(hosts.host(1), ['token', 'create']);
    const start = performance.now();
    await hosts.shoal(host, ['join'], { input: token });
    report.measure(`${host.name} joins`, secondsText(performance.now() - start));
  }
  const start = performance.now();
  await hosts.until('every host sees three alive', AGREE_MS_MAX, async () => {
    const lists = await Promise.all(hosts.all.map((host) => host.api.nodes()));
    return lists.every((list) => list.filter(({ status }) => status === 'alive').length === hosts.all.length);
  });
  report.measure('last join to known by all', secondsText(performance.now() - start));
  report.say(await hosts.shoal(hosts.host(3), ['node', 'ls']));
}

/** `shoal run` as a user types it. @returns how long it took until all replicas were healthy, milliseconds. */
async function submit({ hosts, subject, report }: Story, name: string, live: boolean): Promise<number> {
  const health = subject.protocol === 'http' ? ['--health-http', '/'] : ['--health-tcp'];
  const argv = ['run', name, subject.image, '--replicas', String(REPLICAS), '--cpu', '0.2'];
  const port = ['--port', `${subject.protocol}:${subject.port}`];
  const all = [...argv, ...port, ...health, '--health-interval', '250ms', '--stop-grace', '2s'];
  report.say(`host2$ shoal ${all.join(' ')}`);
  const start = performance.now();
  await hosts.shoal(hosts.host(2), all, { live });
  return performance.now() - start;
}

async function runService(story: Story): Promise<void> {
  const { hosts, subject, report } = story;
  const took_ms = await submit(story, subject.name, true);
  report.measure('submit to 3 healthy, image absent', secondsText(took_ms));
  const nodes = (await serving(story, hosts.host(2), subject.name)).map(({ nodeName }) => nodeName);
  if (new Set(nodes).size !== hosts.all.length) throw new Error(`it runs on ${nodes.join(', ')} only`);
  report.say('It runs on all three hosts.');
  const importer = hosts.host(1).node;
  for (const host of hosts.all.slice(1)) {
    const { received } = (await host.api.status()).traffic;
    const sum = (fromImporter: boolean) =>
      received
        .filter(({ node }) => (node === importer) === fromImporter)
        .reduce((bytes, one) => bytes + one.bytes, 0);
    const [direct, peers] = [sum(true), sum(false)];
    if (direct + peers === 0) throw new Error(`${host.name} runs the image, and received nothing of it`);
    const text = `${megabytesText(direct)} from the importer, ${megabytesText(peers)} from peers`;
    report.measure(`image bytes to ${host.name}`, text);
  }
}

/** Instances that run and are healthy on hosts that are not failed, as one host sees them; each slot once. */
async function serving({ hosts }: Story, from: Host, workload: string): Promise<AllocationInfo[]> {
  const dead = new Set(hosts.all.filter((host) => !host.alive).map((host) => host.node));
  const list = await from.api.allocations({ namespace: NAMESPACE, workload });
  const good = list.filter(
    (one) => one.phase === 'running' && one.health === 'healthy' && !dead.has(one.node),
  );
  return [...new Map(good.map((one) => [one.index, one])).values()];
}

function nameOf(subject: Subject): string {
  return `${subject.name}.${NAMESPACE}.internal`;
}

function portOf(subject: Subject, instance: AllocationInfo): number {
  return instance.ports[subject.protocol] ?? subject.port;
}

/** On each living host: DNS gives the addresses of all instances and no other, and each instance answers. */
async function askEverywhere(story: Story): Promise<void> {
  const { hosts, subject, report } = story;
  for (const host of hosts.alive) {
    const instances = await hosts.until(`DNS of ${host.name} gives all instances`, AGREE_MS_MAX, async () => {
      const found = await serving(story, host, subject.name);
      const wanted = [...new Set(found.map(({ address }) => address))].sort();
      const given = await host.client.resolve(nameOf(subject)).catch(() => []);
      return found.length === REPLICAS && given.sort().join() === wanted.join() ? found : undefined;
    });
    const addresses = [...new Set(instances.map(({ address }) => address ?? ''))];
    report.say(`${host.name}: ${nameOf(subject)} is ${addresses.join(', ')}`);
    for (const instance of instances) await askInstance(story, host, instance);
  }
}

async function askInstance({ hosts, subject, report }: Story, host: Host, instance: AllocationInfo) {
  const address = instance.address ?? '';
  const port = portOf(subject, instance);
  const what = `${host.name}: ${address} port ${port} (${instance.slot} on ${instance.nodeName})`;
  if (subject.protocol === 'http' || !(await hasRedisCli(hosts, host))) {
    const answer = await host.client.request(subject.protocol, address, port).catch((error: Error) => {
      throw new Error(`${what} does not answer: ${error.message}`);
    });
    return report.say(`${what} answers ${answer}`);
  }
  const key = `from-${host.name}`;
  const script = `PING\nSET ${key} shoal\nGET ${key}\n`;
  const result = await hosts.run(host, ['redis-cli', '-h', address, '-p', String(port)], { input: script });
  const answer = result.stdout.trim().split(/\s+/).join(' ');
  if (answer !== 'PONG OK shoal') throw new Error(`${what} answers "${answer}" ${result.stderr.trim()}`);
  report.say(`${what} answers redis-cli: ${answer}`);
}

async function hasRedisCli(hosts: DemoHosts, host: Host): Promise<boolean> {
  return await hosts.run(host, ['redis-cli', '--version']).then(
    ({ code }) => code === 0,
    () => false,
  );
}

async function measureMore(story: Story): Promise<void> {
  const { hosts, report } = story;
  report.measure('submit to 3 healthy, image present', secondsText(await submit(story, 'again', false)));
  await removeService(story, 'again');
  const pids = hosts.all.map((host) => host.daemon?.pid ?? 0);
  const before = pids.map(cpuMilliseconds);
  await hosts.pause(IDLE_MS);
  const shares = pids.map((pid, at) => ((cpuMilliseconds(pid) - (before[at] ?? 0)) / IDLE_MS) * 100);
  const bytes = pids.map(proportionalBytes);
  report.measure('memory of each daemon (PSS)', bytes.map(megabytesText).join(', '));
  report.measure('idle CPU of each daemon', shares.map((share) => `${share.toFixed(1)} %`).join(', '));
}

async function killHost(story: Story): Promise<void> {
  const { hosts, subject, report } = story;
  const victim = hosts.host(3);
  const name = nameOf(subject);
  const lost = (await serving(story, hosts.host(1), subject.name)).find(({ node }) => node === victim.node);
  if (!lost) throw new Error('nothing of the service runs on host3');
  const survivors = hosts.all.filter((host) => host !== victim);
  for (const host of survivors) await host.client.load(subject.protocol, name, subject.port);
  await hosts.pause(LOAD_MS);

  // It is a customer's, not the host's.
  await victim.client.close();
  const start = performance.now();
  const killed = hosts.kill(victim);
  report.say(`${killed} processes killed`);
  const since = (what: string) => {
    const took_ms = performance.now() - start;
    report.say(`${secondsText(took_ms)} after the kill: ${what}`);
    return secondsText(took_ms);
  };
  const onEach = (what: string, ms_max: number, ask: (host: Host) => Promise<boolean>) =>
    Promise.all(survivors.map((host) => hosts.until(`${host.name}: ${what}`, ms_max, () => ask(host))));
  const known = onEach('host3 is known to have failed', KNOWN_MS_MAX, async (host) =>
    (await host.api.nodes()).some((node) => node.id === victim.node && node.status === 'failed'),
  ).then(() =>
    report.measure('kill to known by all', `${since('all know that host3 has failed')} (goal: 5 s)`),
  );
  const dropped = onEach('DNS has dropped its address', KNOWN_MS_MAX, async (host) => {
    const given = await host.client.resolve(name).catch(() => undefined);
    return given !== undefined && !given.includes(lost.address ?? '');
  }).then(() => report.measure('kill to dropped from DNS', since('DNS of both has dropped its address')));
  const replaced = onEach('a replacement is healthy', REPLACED_MS_MAX, async (host) => {
    return (await serving(story, host, subject.name)).length === REPLICAS;
  }).then(() => report.measure('kill to replaced', `${since('a replacement is healthy')} (goal: 10 s)`));
  await Promise.all([known, dropped, replaced]);

  report.say(await hosts.shoal(hosts.host(1), ['node', 'ls']));
  report.say(await hosts.shoal(hosts.host(1), ['ps', subject.name]));
  await askEverywhere(story);
  await hosts.pause(LOAD_MS);
  showLoad(story, await Promise.all(survivors.map((host) => host.client.endLoad())));
}

function showLoad({ report }: Story, results: readonly LoadResult[]): void {
  const sum = (field: 'requests' | 'failures' | 'retries') =>
    results.reduce((total, result) => total + result[field], 0);
  const slowest_ms = Math.max(...results.map((result) => result.slowest_ms));
  const retries = `${sum('retries')} attempts went to the next address`;
  report.measure('requests meanwhile', `${sum('requests')}, ${sum('failures')} failed; ${retries}`);
  report.measure('slowest of them', secondsText(slowest_ms));
  report.say(`${sum('requests')} requests meanwhile, ${sum('failures')} failed; ${retries}`);
  if (sum('failures') > 0) {
    const why = results.find((result) => result.lastFailure !== null)?.lastFailure;
    throw new Error(`the service did not answer all the while: ${why}`);
  }
}

/** `shoal rm`, until nothing of it runs; with the last one nothing of any container is left on the living hosts. */
async function removeService({ hosts, subject }: Story, workload: string): Promise<void> {
  await hosts.shoal(hosts.host(1), ['rm', workload]);
  await hosts.until(`nothing of ${workload} runs`, GONE_MS_MAX, async () => {
    const lists = await Promise.all(
      hosts.alive.map((host) => host.api.allocations({ namespace: NAMESPACE, workload })),
    );
    return lists.every((list) => list.length === 0);
  });
  if (workload !== subject.name) return;
  let left: string[] = [];
  await hosts
    .until('containers are taken away', GONE_MS_MAX, async () => {
      left = hosts.containers();
      return left.length === 0;
    })
    .catch((error: Error) => {
      throw new Error(`${error.message}; left: ${left.join(', ')}`);
    });
}
