import { cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { createProcessRuntime } from '../../../daemon/runtime/process-runtime.ts';
import { runtimeConformance, shellArgv } from '../../conformance/runtime.ts';
import { processesThatName } from './leftovers.ts';

export async function flatten(lowerDirs: readonly string[], destination: string): Promise<void> {
  await mkdir(destination);
  for (const lower of lowerDirs) await cp(lower, destination, { recursive: true });
}

runtimeConformance('process', async () => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-process-'));
  const state = path.join(directory, 'state');
  return {
    open: () => createProcessRuntime({ directory: state, instance: 'test', log: () => undefined, flatten }),
    argv: shellArgv,
    lowerDirs: [],
    leftovers: async () => [...(await readdir(state)), ...processesThatName(directory)],
    close: () => rm(directory, { recursive: true, force: true }),
  };
});
