import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import t from 'tap';
import { readCgroupMounts } from '../../../daemon/runtime/cgroup.ts';
import { createOciRuntime } from '../../../daemon/runtime/oci-runtime.ts';
import { probeOci } from '../../../daemon/runtime/probe.ts';
import { runtimeConformance, shellArgv } from '../../conformance/runtime.ts';
import { busyboxLayers, busyboxMissing } from './busybox.ts';
import { mountsUnder, processesThatName } from './leftovers.ts';

const probe = await probeOci();
const skip = 'reason' in probe ? probe.reason : busyboxMissing();

if (skip !== false) t.test('the oci driver conforms', { skip }, async () => undefined);
else
  runtimeConformance('oci', async () => {
    // Longer than a socket address: no path may depend on that.
    const directory = await mkdtemp(path.join(os.tmpdir(), `shoal-oci-${'long-'.repeat(20)}`));
    const instance = path.basename(directory).slice(-6);
    const state = path.join(directory, 'state');
    const cgroups = (): string[] =>
      readCgroupMounts()
        .all.map((mount) => path.join(mount, `shoal-${instance}`))
        .filter((cgroup) => existsSync(cgroup));
    return {
      open: () => createOciRuntime({ directory: state, instance, log: () => undefined }),
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
  });
