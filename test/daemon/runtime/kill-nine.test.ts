import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import t from 'tap';
import { readCgroupMounts } from '../../../daemon/runtime/cgroup.ts';
import { createOciRuntime } from '../../../daemon/runtime/oci-runtime.ts';
import { probeOci } from '../../../daemon/runtime/probe.ts';
import { createProcessRuntime } from '../../../daemon/runtime/process-runtime.ts';
import { collect } from '../../conformance/runtime.ts';
import { busyboxLayers, busyboxMissing } from './busybox.ts';
import { mountsUnder, processesThatName } from './leftovers.ts';

const probe = await probeOci();
const skips = { oci: 'reason' in probe ? probe.reason : busyboxMissing(), process: busyboxMissing() };
const DAEMON = path.join(import.meta.dirname, 'doomed-daemon.ts');

for (const driver of ['oci', 'process'] as const)
  t.test(`${driver}: containers outlive a daemon that was killed`, { skip: skips[driver] }, async (t) => {
    const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-nine-'));
    const instance = path.basename(directory).slice(-6);
    const state = path.join(directory, 'state');
    const layers = busyboxLayers(directory);
    const daemon = spawn(process.execPath, [DAEMON, driver, state, instance, ...layers], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const died = once(daemon, 'exit');
    await Promise.race([once(daemon.stdout, 'data'), died]);
    daemon.kill('SIGKILL');
    await died;

    const init = { directory: state, instance, log: () => undefined, flatten: async () => undefined };
    await using runtime = await (driver === 'oci' ? createOciRuntime(init) : createProcessRuntime(init));
    try {
      t.match(await runtime.wait('ends'), { code: 9, oom: false });
      t.same(
        (await collect(runtime.logs('ends', { follow: true }))).map(({ text }) => text),
        ['before', 'after'],
      );
      const seen: string[] = [];
      for await (const { text } of runtime.logs('goes-on', { follow: true }))
        if (seen.push(text) === 2) break;
      t.same(seen, ['before', 'after'], 'the log goes on');
      const info = (await runtime.list()).find(({ id }) => id === 'goes-on');
      t.match(info, { state: 'running', labels: { workload: 'default/web' } });
      t.match(await runtime.stop('goes-on', { grace_ms: 20_000 }), { code: 143 });
    } finally {
      for (const { id } of await runtime.list()) {
        await runtime.stop(id, { grace_ms: 0 });
        await runtime.remove(id);
      }
      const cgroups = readCgroupMounts().all.map((mount) => path.join(mount, `shoal-${instance}`));
      t.same(processesThatName(directory), []);
      t.same(mountsUnder(directory), []);
      t.same(
        cgroups.filter((cgroup) => existsSync(cgroup)),
        [],
      );
      t.same(await readdir(driver === 'oci' ? path.join(state, 'containers') : state), []);
      await rm(directory, { recursive: true, force: true });
    }
  });
