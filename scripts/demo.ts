#!/usr/bin/env node
/**
 * The demo after its set-up: makes three hosts, runs the story on them, shows what was measured, and takes everything
 * away. scripts/demo is how it is started. With --keep a process of its own holds the hosts, so that this one can end.
 */
import { fork, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { canVxlan } from '../daemon/network/can-vxlan.ts';
import { probeOci } from '../daemon/runtime/probe.ts';
import { hostsAvailable } from '../test/hosts/harness.ts';
import { DemoHosts, SHOAL } from './demo-parts/demo-hosts.ts';
import { commonPort, createLoopbackPlace } from './demo-parts/loopback-place.ts';
import { createNamespacePlace } from './demo-parts/namespace-place.ts';
import type { Place } from './demo-parts/place.ts';
import { Report, StepError } from './demo-parts/report.ts';
import { runStory } from './demo-parts/story.ts';
import {
  hasRedisLayout,
  httpSubject,
  redisLayout,
  redisSubject,
  type Subject,
} from './demo-parts/subject.ts';

const HOSTS = 3;
const EXIT = { ok: 0, failed: 1, interrupted: 130 } as const;
/** In the environment of the process that holds the hosts. */
const HOLDER = 'SHOAL_DEMO_HOLDER';

/** True when hosts in namespaces with real containers can be made here, else why not. */
async function containersAvailable(): Promise<true | string> {
  const hosts = hostsAvailable();
  if (hosts !== true) return hosts;
  const network = await canVxlan();
  if (network !== true) return network;
  const oci = await probeOci();
  if (!('path' in oci)) return oci.reason;
  for (const program of hasRedisLayout() ? [] : ['mmdebstrap', 'umoci']) {
    if (spawnSync(program, ['--version']).status !== 0) return `${program} is not installed`;
  }
  return true;
}

async function prepare(report: Report, embedded: boolean, signal: AbortSignal): Promise<[Place, Subject]> {
  const can = embedded ? 'as --embedded says' : await containersAvailable();
  if (can !== true) {
    report.say(`The embedded default, without real containers and networks: ${can}.`);
    return [await createLoopbackPlace(HOSTS), httpSubject(await commonPort(HOSTS))];
  }
  const layout = await redisLayout(signal);
  return [await createNamespacePlace(HOSTS), redisSubject(layout)];
}

function keptText(hosts: DemoHosts, subject: Subject): string {
  const sockets = hosts.all.map((host) => `  export SHOAL_SOCKET=${host.socket}   # ${host.name}`);
  const { address, port } = hosts.place.dns(1);
  const [one] = hosts.all;
  const inside = hosts.place.kind === 'containers' ? `nsenter -t ${one?.daemon?.pid} -n ` : '';
  return [
    'The hosts stay up; host3 is dead. To play with them, choose one:',
    ...sockets.slice(0, 2),
    'then:',
    `  alias shoal=${SHOAL}`,
    '  shoal node ls; shoal ps; shoal image ls',
    `  shoal scale ${subject.name} 5`,
    `  shoal logs ${subject.name}/0`,
    `  ${inside}dig +short @${address} -p ${port} ${subject.name}.default.internal`,
    `  tail -f ${hosts.host(1).log}`,
    'To end and remove everything:',
    `  kill ${process.pid}`,
  ].join('\n');
}

/** Streams go nowhere from here on, so that whoever reads them comes to their end. */
function letGoOfTerminal(): void {
  for (const descriptor of [0, 1, 2]) {
    closeSync(descriptor);
    openSync('/dev/null', descriptor === 0 ? 'r' : 'w');
  }
}

async function run(options: { embedded: boolean; keep: boolean }): Promise<number> {
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));
  }
  const report = new Report((text) => process.stdout.write(text));
  const directory = mkdtempSync(path.join(tmpdir(), 'shoal-demo-'));
  let hosts: DemoHosts | undefined;
  let failure: unknown;
  try {
    const [place, subject] = await report.step('Find out what can be done here', () =>
      prepare(report, options.embedded, interrupted.signal),
    );
    hosts = new DemoHosts(place, directory, HOSTS, interrupted.signal);
    await runStory({ hosts, subject, report, keep: options.keep });
    if (options.keep) await keep(hosts, subject, report, interrupted.signal);
  } catch (error) {
    failure = error;
    if (!interrupted.signal.aborted) await hosts?.writeStates();
  }
  const title = 'Take everything away';
  const remains = await report.step(title, () => takeAway(hosts)).catch((error) => [String(error)]);
  if (remains.length > 0) {
    process.stderr.write(`\ndemo: left behind: ${remains.join(', ')}\n`);
    failure ??= new StepError(title, 'something is left behind');
  }
  const isFault = remains.length > 0 || (failure !== undefined && !interrupted.signal.aborted);
  if (!isFault || hosts === undefined) rmSync(directory, { recursive: true, force: true });
  if (isFault) {
    const { step, message } = failure instanceof StepError ? failure : new StepError('demo', failure);
    process.stderr.write(`\ndemo: failed in "${step}": ${message}\n`);
    if (hosts) process.stderr.write(`demo: logs are in ${path.join(directory, 'logs')}\n`);
    return EXIT.failed;
  }
  if (interrupted.signal.aborted) {
    if (!options.keep) process.stderr.write('\ndemo: interrupted; nothing is left behind\n');
    return options.keep && failure === undefined ? EXIT.ok : EXIT.interrupted;
  }
  process.stdout.write(`\n${report.table()}\n\nNothing is left behind.\n`);
  return EXIT.ok;
}

/** @returns what could not be taken away. */
async function takeAway(hosts: DemoHosts | undefined): Promise<string[]> {
  await hosts?.[Symbol.asyncDispose]();
  return hosts?.remains() ?? [];
}

/** Holds the hosts until a signal comes. */
async function keep(hosts: DemoHosts, subject: Subject, report: Report, signal: AbortSignal): Promise<void> {
  // They hold the terminal too, and their work is done.
  await Promise.all(hosts.all.map((host) => host.client.close()));
  process.stdout.write(`\n${report.table()}\n\n${keptText(hosts, subject)}\n`);
  process.send?.('kept');
  process.disconnect?.();
  letGoOfTerminal();
  // Signals alone do not keep a process alive, should both daemons be ended by hand.
  const alive = setInterval(() => {}, 2 ** 30);
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
  clearInterval(alive);
}

/** Runs the demo in a process of its own session, and ends when that one holds the hosts, or has ended. */
function runHolder(): Promise<number> {
  const child = fork(import.meta.filename, process.argv.slice(2), {
    detached: true,
    env: { ...process.env, [HOLDER]: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => child.kill('SIGTERM'));
  }
  return new Promise((resolve) => {
    child.once('error', () => resolve(EXIT.failed));
    child.once('close', (code) => resolve(code ?? EXIT.failed));
    child.once('message', () => {
      child.unref();
      resolve(EXIT.ok);
    });
  });
}

const { values } = parseArgs({
  options: { embedded: { type: 'boolean', default: false }, keep: { type: 'boolean', default: false } },
});
process.exit(values.keep && !process.env[HOLDER] ? await runHolder() : await run(values));
