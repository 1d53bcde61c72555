import { existsSync, mkdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { readCgroupMounts } from '../../../daemon/runtime/cgroup.ts';
import { runCommand } from '../../../daemon/runtime/command.ts';
import { createOciRuntime, type OciRuntimeInit } from '../../../daemon/runtime/oci-runtime.ts';
import { probeOci } from '../../../daemon/runtime/probe.ts';
import type { ContainerSpec, Runtime } from '../../../daemon/runtime/runtime.ts';
import type { ShoalError } from '../../../protocols/base/errors.ts';
import {
  collect,
  containerSpec,
  runToEnd,
  runtimeConformance,
  shellArgv,
} from '../../conformance/runtime.ts';
import { eventually } from '../node/eventually.ts';
import { busyboxLayers, busyboxMissing } from './busybox.ts';
import { mountsUnder, processesThatName } from './leftovers.ts';

const probe = await probeOci();
const TWO_LOOKS_MS = 2200;
const skip = 'reason' in probe ? probe.reason : busyboxMissing();

async function makeHarness(changes: Partial<OciRuntimeInit> = {}) {
  // Longer than a socket address: no path may depend on that.
  const directory = await mkdtemp(path.join(os.tmpdir(), `shoal-oci-${'long-'.repeat(20)}`));
  const instance = path.basename(directory).slice(-6);
  const state = path.join(directory, 'state');
  const cgroups = (): string[] =>
    readCgroupMounts()
      .all.map((mount) => path.join(mount, `shoal-${instance}`))
      .filter((cgroup) => existsSync(cgroup));
  return {
    directory,
    instance,
    open: () => createOciRuntime({ directory: state, instance, log: () => undefined, ...changes }),
    argv: shellArgv,
    lowerDirs: busyboxLayers(directory),
    leftovers: async () => [
      ...(await readdir(path.join(state, 'containers'))),
      ...(await readdir(path.join(state, 'exits'))),
      ...(await readdir(path.join(state, 'state'))),
      ...mountsUnder(directory),
      ...processesThatName(directory),
      ...cgroups(),
    ],
    close: () => rm(directory, { recursive: true, force: true }),
  };
}
type OciHarness = Awaited<ReturnType<typeof makeHarness>>;

if (skip === false) runtimeConformance('oci', makeHarness);
else t.test('the oci driver conforms', { skip }, async () => undefined);

/** A fact about isolation; afterwards everything is removed and nothing may be left. */
function fact(
  title: string,
  body: (t: Test, runtime: Runtime, harness: OciHarness) => Promise<void>,
  changes: Partial<OciRuntimeInit> = {},
): void {
  t.test(title, { skip }, async (t) => {
    const harness = await makeHarness(changes);
    const runtime = await harness.open();
    try {
      await body(t, runtime, harness);
    } finally {
      await using last = await harness.open();
      for (const { id } of await last.list()) {
        await last.stop(id, { grace_ms: 0 });
        await last.remove(id);
      }
      t.same(await harness.leftovers(), [], 'nothing is left behind');
      await runtime[Symbol.asyncDispose]();
      await harness.close();
    }
  });
}

/** What a shell script prints in a container, and its exit. */
async function shell(
  runtime: Runtime,
  harness: OciHarness,
  script: string,
  changes: Partial<ContainerSpec> = {},
): Promise<{ code: number | null; oom: boolean; output: string }> {
  const id = `c${(await runtime.list()).length}`;
  const spec = containerSpec(harness, id, [], { argv: ['sh', '-c', script], ...changes });
  const { code, oom } = await runToEnd(runtime, spec);
  const lines = await collect(runtime.logs(id, { follow: false }));
  return { code, oom, output: lines.map(({ text }) => text).join('\n') };
}

fact('running out of memory is told apart from a kill', async (t, runtime, harness) => {
  const hungry = 'head -c 200m /dev/zero | tail -c 100m >/dev/null; exit $?';
  const resources = { cpu_millis: 1000, memory_bytes: 16 << 20 };
  t.match(await shell(runtime, harness, `exec tail -c 100m </dev/zero`, { resources }), {
    code: 137,
    oom: true,
  });
  t.match(await shell(runtime, harness, hungry, { resources }), { code: 137, oom: true }, 'also of a child');
  t.match(await shell(runtime, harness, 'kill -9 $$; exit 137'), { code: 137, oom: false });
});

fact(
  'limits are in force',
  async (t, runtime, harness) => {
    const script =
      'n=0; while [ $n -lt 100000 ]; do n=$((n+1)); done; cd /sys/fs/cgroup; cat cpu/cpu.stat cpu.stat memory/memory.limit_in_bytes memory.max 2>/dev/null';
    const resources = { cpu_millis: 50, memory_bytes: 64 << 20 };
    const { output } = await shell(runtime, harness, script, { resources });
    t.ok(Number(/nr_throttled (\d+)/.exec(output)?.[1]) > 0, 'the processor was taken away');
    t.match(output, new RegExp(`^${64 << 20}$`, 'm'));
    const many = await shell(
      runtime,
      harness,
      'n=0; while [ $n -lt 40 ]; do n=$((n+1)); sleep 100 & done; echo all',
    );
    t.match(many.output, /can't fork|Resource temporarily/);
  },
  // Before it becomes the container runc itself has several threads there: at a limit of 5 it now and then could not start.
  { pids_max: 20 },
);

fact('a container has few rights', async (t, runtime, harness) => {
  const { output } = await shell(
    runtime,
    harness,
    'cat /proc/self/status; head -c 1 /proc/kcore | grep -q . ; echo kcore $?; ls /proc/acpi /sys/firmware; mount -t tmpfs t /tmp 2>&1; echo mount $?; unshare -r true 2>&1; echo unshare $?; echo 1 2>/dev/null >/proc/sys/kernel/panic; echo sys $?',
  );
  t.match(output, /^Seccomp:\t2$/m);
  t.match(output, /^NoNewPrivs:\t1$/m);
  t.match(output, /^CapEff:\t00000000a80425fb$/m, 'the default set of Docker');
  t.match(output, /^CapBnd:\t00000000a80425fb$/m);
  t.match(output, /kcore 1/);
  t.match(output, /mount 1/);
  t.match(output, /unshare 1/);
  t.match(output, /sys 1/);
});

fact('a user comes from the files of the image', async (t, runtime, harness) => {
  const named = await shell(
    runtime,
    harness,
    'id -u; id -g; id -G; grep CapEff /proc/self/status; echo $HOME',
    { user: 'redis' },
  );
  t.same(named.output.split('\n'), ['101', '102', '102 29', 'CapEff:\t0000000000000000', '/data']);
  t.equal((await shell(runtime, harness, 'id -u; id -g', { user: '7:redis' })).output, '7\n102');
  const nobody = containerSpec(harness, 'x', [], { user: 'nobody-there' });
  await t.rejects(runtime.create(nobody), { code: 'E_RUNTIME_FAILED' });
});

fact('mounts, working directory, host name and environment are as asked', async (t, runtime, harness) => {
  const source = path.join(harness.directory, 'shared');
  mkdirSync(source);
  writeFileSync(path.join(source, 'file'), 'from the host');
  const mounts = [
    { source, destination: '/ro', readonly: true },
    { source, destination: '/rw', readonly: false },
    { source: path.join(source, 'file'), destination: '/etc/resolv.conf', readonly: true },
  ];
  const script =
    'cat /ro/file; echo; cat /etc/resolv.conf; echo; touch /ro/x 2>/dev/null; echo $?; touch /rw/y; pwd; hostname; echo $COLOUR; echo mine >/top; df /dev/shm >/dev/null 2>&1; ls -d /dev/shm';
  const { output } = await shell(runtime, harness, script, { mounts, workingDir: '/srv/new' });
  t.same(output.split('\n'), [
    'from the host',
    'from the host',
    '1',
    '/srv/new',
    'web-0',
    'blue',
    '/dev/shm',
  ]);
  t.ok(existsSync(path.join(source, 'y')));
  t.notOk(existsSync(path.join(harness.lowerDirs[1]!, 'top')), 'layers are not written to');
});

fact('a mount that does not exist makes creation fail and leaves nothing', async (t, runtime, harness) => {
  const mounts = [{ source: path.join(harness.directory, 'none'), destination: '/x', readonly: true }];
  await t.rejects(runtime.create(containerSpec(harness, 'x', ['exit:0'], { mounts })), {
    code: 'E_RUNTIME_FAILED',
  });
  t.same(await harness.leftovers(), []);
});

fact('a network namespace is joined by its path', async (t, runtime, harness) => {
  const name = `shoal-test-${harness.instance}`;
  const made = await runCommand(['ip', 'netns', 'add', name]);
  if (made.code !== 0) return t.comment(`no network namespaces here: ${made.stderr}`);
  try {
    const { output } = await shell(
      runtime,
      harness,
      'ls /sys/class/net; cat /proc/sys/net/ipv4/ip_unprivileged_port_start',
      { netns: `/run/netns/${name}` },
    );
    t.equal(output, 'lo\n0');
  } finally {
    await runCommand(['ip', 'netns', 'del', name]);
  }
});

fact('a container whose host was restarted is stopped with no code', async (t, runtime, harness) => {
  await runtime.create(containerSpec(harness, 'a', ['forever']));
  await runtime.start('a');
  const file = path.join(harness.directory, 'state/containers/a/meta.json');
  await runtime[Symbol.asyncDispose]();
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), boot: 'another' }));
  await using next = await harness.open();
  t.match(await next.list(), [{ id: 'a', state: 'stopped', pid: null, exit: { code: null, oom: false } }]);
  t.match(await next.wait('a'), { code: null });
  await next.remove('a');
  t.same(await next.list(), []);
  t.same(await harness.leftovers(), []);
});

/** A directory in the place of a file that is written first: no write gets through, as on a full disk. */
function refuseNote(harness: OciHarness, id: string, note: string): () => void {
  const place = path.join(harness.directory, 'state/containers', id, `${note}.tmp`);
  mkdirSync(place);
  return () => rmdirSync(place);
}

const said: string[] = [];
fact(
  'an end that the disk does not take is an end all the same, and is noted when it can be',
  async (t, runtime, harness) => {
    await runtime.create(containerSpec(harness, 'a', ['exit:7']));
    const allow = refuseNote(harness, 'a', 'exit.json');
    await runtime.start('a');
    t.match(await runtime.wait('a'), { code: 7 });
    await sleep(TWO_LOOKS_MS);
    t.same(said, ['cannot note the end of a container yet'], 'once');
    await using next = await harness.open();
    t.match(await next.list(), [{ id: 'a', state: 'stopped', exit: { code: 7 } }]);
    allow();
    const file = path.join(harness.directory, 'state/containers/a/exit.json');
    t.match(
      JSON.parse(await eventually('it is noted', () => existsSync(file) && readFileSync(file, 'utf8'))),
      { code: 7 },
    );
  },
  { log: (level, message) => void (level === 'warn' && said.push(message)) },
);

fact('what cannot be noted as killed is killed', async (t, runtime, harness) => {
  await runtime.create(containerSpec(harness, 'a', ['ignore:SIGTERM', 'forever']));
  await runtime.start('a');
  refuseNote(harness, 'a', 'killed');
  t.match(await runtime.stop('a', { grace_ms: 0 }), { code: 137, oom: false });
});

fact("a command that the disk does not take is the driver's failure", async (t, runtime, harness) => {
  const layer = path.join(harness.directory, 'layer');
  mkdirSync(layer);
  writeFileSync(path.join(layer, 'foreign'), 'no program', { mode: 0o755 });
  const lowerDirs = [...harness.lowerDirs, layer];
  await runtime.create(containerSpec({ ...harness, lowerDirs }, 'a', ['forever']));
  await runtime.start('a');
  const io = { onOutput: () => undefined };
  const foreign = runtime.exec('a', ['/foreign'], io);
  // crun refuses it; with runc it is a command that ends with an error.
  const outcome = await foreign.then(
    ({ code }) => code,
    (error: ShoalError) => error.code,
  );
  t.ok(outcome === 1 || outcome === 'E_COMMAND_NOT_FOUND', String(outcome));
  const place = path.join(harness.directory, 'state/containers/a');
  renameSync(place, `${place}.away`);
  await t.rejects(runtime.exec('a', ['true'], io), { code: 'E_RUNTIME_FAILED' });
  renameSync(`${place}.away`, place);
  t.match(await runtime.exec('a', ['true'], io), { code: 0 });
});

fact('a container whose notes cannot be read is left alone', async (t, runtime, harness) => {
  await runtime.create(containerSpec(harness, 'a', ['forever']));
  await runtime.start('a');
  await runtime[Symbol.asyncDispose]();
  const file = path.join(harness.directory, 'state/containers/a/meta.json');
  const text = readFileSync(file, 'utf8');
  const isLeftAlone = async (): Promise<void> => {
    await using next = await harness.open();
    t.same(await next.list(), []);
    await t.rejects(next.create(containerSpec(harness, 'a', ['exit:0'])), { code: 'E_EXISTS' });
  };
  writeFileSync(file, JSON.stringify({ ...JSON.parse(text), version: 1000 }));
  await isLeftAlone();
  rmSync(file);
  // Neither absent nor cut short: reading fails, as on a broken disk.
  mkdirSync(file);
  await isLeftAlone();
  rmdirSync(file);
  writeFileSync(file, text);
  await using last = await harness.open();
  t.match(await last.list(), [{ id: 'a', state: 'running' }]);
});

t.test('a runtime that is not there is named in the reason', async (t) => {
  const answer = await probeOci('/no/such/runtime');
  t.ok('reason' in answer && answer.reason.length > 0);
});
