import { cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createProcessRuntime } from '../../../daemon/runtime/process-runtime.ts';
import { runtimeConformance, shellArgv } from '../../conformance/runtime.ts';
import { processesThatName } from './leftovers.ts';

/** The shell over a program ends a moment after it has told the end of that. */
const LOOKS_MAX = 40;

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
    leftovers: async () => {
      for (let looks = 1; ; looks += 1) {
        const left = [...(await readdir(state)), ...processesThatName(directory)];
        if (left.length === 0 || looks === LOOKS_MAX) return left;
        await sleep(50);
      }
    },
    close: () => rm(directory, { recursive: true, force: true }),
  };
});
