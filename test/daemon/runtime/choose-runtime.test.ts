/** Which driver a daemon uses: the containers that are here already are run by what began them. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { silentLog } from '../../../daemon/log.ts';
import { chooseRuntime } from '../../../daemon/runtime/choose-runtime.ts';
import { probeOci } from '../../../daemon/runtime/probe.ts';
import type { ProcessRuntimeInit } from '../../../daemon/runtime/process-runtime.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';

const initFor = (directory: string): ProcessRuntimeInit => ({
  directory,
  instance: 'abcdef01',
  log: silentLog,
  flatten: async () => {},
});

t.test('containers of an OCI runtime that does not work now are not begun again as processes', async (t) => {
  const directory = await temporaryDirectory(t);
  const left = path.join(directory, 'containers', 'web-0-1');
  mkdirSync(left, { recursive: true });
  writeFileSync(path.join(directory, 'runtime'), 'no-such-runtime');
  for (const driver of ['auto', 'oci'] as const)
    await t.rejects(chooseRuntime(initFor(directory), driver), {
      code: 'E_RUNTIME_MISSING',
      message: /the containers that are here need an OCI runtime.*left as they are/,
    });
  await using runtime = await chooseRuntime(initFor(directory), 'process');
  t.equal(runtime.driver, 'process', 'whoever asks for that has it');
});

t.test('containers that are plain processes stay so', async (t) => {
  const directory = await temporaryDirectory(t);
  const left = path.join(directory, 'web-0-1');
  mkdirSync(left, { recursive: true });
  writeFileSync(path.join(left, 'meta.json'), '{"version":1000}');
  await using runtime = await chooseRuntime(initFor(directory), 'auto');
  t.equal(runtime.driver, 'process');
});

const probe = await probeOci();
const skip = 'reason' in probe && `needs an OCI runtime: ${probe.reason}`;

t.test('the OCI runtime that is used is noted, and used again without a trial', { skip }, async (t) => {
  const directory = await temporaryDirectory(t);
  const note = path.join(directory, 'runtime');
  {
    await using runtime = await chooseRuntime(initFor(directory), 'auto');
    t.equal(runtime.driver, 'oci');
  }
  t.equal(readFileSync(note, 'utf8'), 'name' in probe && probe.name);
  // A trial would fail: it is no runtime.
  mkdirSync(path.join(directory, 'containers', 'web-0-1'));
  writeFileSync(note, 'true');
  await using runtime = await chooseRuntime(initFor(directory), 'auto');
  t.equal(runtime.driver, 'oci');
});
