import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createProcessRuntime } from '../../../daemon/runtime/process-runtime.ts';
import { containerSpec, runtimeConformance, shellArgv } from '../../conformance/runtime.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { eventually } from '../node/eventually.ts';
import { processesThatName } from './leftovers.ts';

/** The shell over a program ends a moment after it has told the end of that. */
const LOOKS_MAX = 40;
/** As long as the driver waits for a process. */
const START_MS_MAX = 10_000;
const STALL_MS = 1000;

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

/** A driver, a container in it that would leave a file, and where that is. */
async function starting(t: Test, lowerDirs: readonly string[] = []) {
  const directory = await temporaryDirectory(t);
  const state = path.join(directory, 'state');
  const init = { directory: state, instance: 'test', log: () => undefined, flatten };
  const runtime = await createProcessRuntime(init);
  t.teardown(() => runtime[Symbol.asyncDispose]());
  const ran = path.join(directory, 'ran');
  const argv = ['sh', '-c', `echo yes >${ran}; exec sleep 1000`];
  await runtime.create({ ...containerSpec({ argv: shellArgv, lowerDirs }, 'a', []), argv });
  return { directory, state, runtime, ran };
}

t.test('a command whose process cannot be noted is not run, and its start fails at once', async (t) => {
  const { directory, state, runtime, ran } = await starting(t);
  await mkdir(path.join(state, 'a/pid.tmp'));
  const began_ms = performance.now();
  await t.rejects(runtime.start('a'), { code: 'E_RUNTIME_FAILED', message: /the disk did not take/ });
  t.ok(performance.now() - began_ms < START_MS_MAX, 'it does not wait for what cannot come');
  await runtime.stop('a', { grace_ms: 0 });
  await runtime.remove('a');
  await sleep(STALL_MS);
  t.notOk(existsSync(ran));
  t.same(processesThatName(directory), []);
});

t.test('a command that was not there in time never runs', async (t) => {
  const image = await temporaryDirectory(t);
  await mkdir(path.join(image, 'bin'));
  // In a session of its own, where no signal to the others reaches it: as if the host had stalled right there.
  const stall = 'until [ -e ../../../go ]; do sleep 0.1; done; exec "$@"';
  const setsid = `#!/bin/sh\nexec /usr/bin/setsid --wait sh -c '${stall}' sh "$@"\n`;
  await writeFile(path.join(image, 'bin/setsid'), setsid, { mode: 0o755 });
  const { directory, runtime, ran } = await starting(t, [image]);
  await t.rejects(runtime.start('a'), { code: 'E_RUNTIME_FAILED', message: /in time/ });
  await writeFile(path.join(directory, 'go'), '');
  await sleep(STALL_MS);
  t.notOk(existsSync(ran), 'nor before it is taken away');
  await runtime.stop('a', { grace_ms: 0 });
  await runtime.remove('a');
  t.same(processesThatName(directory), []);
});

t.test('what never ran can be taken away where the disk takes no note of its end', async (t) => {
  const { state, runtime } = await starting(t);
  await mkdir(path.join(state, 'a/exit.tmp'));
  t.match(await runtime.stop('a', { grace_ms: 0 }), { code: 137 });
  await runtime.remove('a');
  t.same(await readdir(state), []);
});

t.test('a container whose notes cannot be read is left alone, and found when they can', async (t) => {
  const { directory, state, runtime, ran } = await starting(t);
  await runtime.start('a');
  await eventually('it runs', () => existsSync(ran));
  await runtime[Symbol.asyncDispose]();
  const meta = path.join(state, 'a/meta.json');
  const text = await readFile(meta, 'utf8');
  const said: string[] = [];
  const init = {
    directory: state,
    instance: 'test',
    log: (_: string, what: string) => said.push(what),
    flatten,
  };
  const spec = containerSpec({ argv: shellArgv, lowerDirs: [] }, 'a', ['exit:0']);
  const isLeftAlone = async (): Promise<void> => {
    await using next = await createProcessRuntime(init);
    t.same(await next.list(), []);
    await t.rejects(next.create(spec), { code: 'E_EXISTS' }, 'nor is another made in its place');
    t.same(said.splice(0), ['leaving a container alone that cannot be taken up']);
    t.not(processesThatName(directory).length, 0);
  };
  await writeFile(meta, JSON.stringify({ ...JSON.parse(text), version: 1000 }));
  await isLeftAlone();
  await rm(meta);
  // Neither absent nor cut short: reading fails, as on a broken disk.
  await mkdir(meta);
  await isLeftAlone();
  await rmdir(meta);
  await writeFile(meta, text);
  await using last = await createProcessRuntime(init);
  t.match(await last.list(), [{ id: 'a', state: 'running' }]);
  await last.stop('a', { grace_ms: 0 });
  await last.remove('a');
});

t.test('what another driver keeps in the same directory is left alone', async (t) => {
  const directory = await temporaryDirectory(t);
  const kept = path.join(directory, 'containers/web/rootfs');
  await mkdir(kept, { recursive: true });
  await mkdir(path.join(directory, 'cut-short/logs'), { recursive: true });
  const init = { directory, instance: 'test', log: () => undefined, flatten };
  await using runtime = await createProcessRuntime(init);
  t.same(await runtime.list(), []);
  t.ok(existsSync(kept));
  t.notOk(existsSync(path.join(directory, 'cut-short')));
});
