/** A process that starts containers and is then killed, as a daemon may be. argv: driver, directory, layers… */
import { cp, mkdir } from 'node:fs/promises';
import { createOciRuntime } from '../../../daemon/runtime/oci-runtime.ts';
import { createProcessRuntime } from '../../../daemon/runtime/process-runtime.ts';
import { containerSpec, shellArgv } from '../../conformance/runtime.ts';

const [driver, directory, instance, ...lowerDirs] = process.argv.slice(2);
const init = { directory: directory!, instance: instance!, log: () => undefined };
const flatten = async (layers: readonly string[], destination: string): Promise<void> => {
  await mkdir(destination);
  for (const layer of layers) await cp(layer, destination, { recursive: true });
};
const runtime = await (driver === 'oci'
  ? createOciRuntime(init)
  : createProcessRuntime({ ...init, flatten }));
const harness = { argv: shellArgv, lowerDirs };
await runtime.create(containerSpec(harness, 'goes-on', ['out:before', 'sleep:600', 'out:after', 'forever']));
await runtime.create(containerSpec(harness, 'ends', ['out:before', 'sleep:300', 'out:after', 'exit:9']));
await runtime.start('goes-on');
await runtime.start('ends');
process.stdout.write('ready\n');
// For the cut-short creation: more of them, until the end.
for (let n = 0; ; n += 1) await runtime.create(containerSpec(harness, `more-${n}`, ['exit:0']));
