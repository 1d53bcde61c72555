/**
 * Which driver a daemon runs containers by: that of the containers that are here already, or what works. With another
 * one they would run on unseen, and each be begun a second time.
 */
import { ShoalError } from '../../protocols/base/errors.ts';
import { createOciRuntime, leftOfOci } from './oci-runtime.ts';
import { probeOci } from './probe.ts';
import { createProcessRuntime, isLeftOfProcess, type ProcessRuntimeInit } from './process-runtime.ts';
import type { Runtime } from './runtime.ts';

/** @param driver what was asked for. @throws E_RUNTIME_MISSING */
export async function chooseRuntime(
  init: ProcessRuntimeInit,
  driver: Runtime['driver'] | 'auto',
): Promise<Runtime> {
  const { directory, log } = init;
  if (driver === 'process') return await createProcessRuntime(init);
  const left = leftOfOci(directory);
  if (driver === 'auto' && left === undefined && isLeftOfProcess(directory)) {
    log('info', 'containers are plain processes here, as those that are here already', {});
    return await createProcessRuntime(init);
  }
  const found = left?.runtime === undefined ? await probeOci() : await probeOci(left.runtime, true);
  if ('path' in found) return await createOciRuntime({ ...init, runtime: found.path });
  if (left !== undefined)
    throw new ShoalError(
      'E_RUNTIME_MISSING',
      `the containers that are here need an OCI runtime, and none works: ${found.reason}. They were left as they are; put that right and start the daemon again. With --driver process all of them would be begun a second time`,
    );
  if (driver === 'oci')
    throw new ShoalError('E_RUNTIME_MISSING', `no OCI runtime works here: ${found.reason}`);
  log(process.geteuid?.() === 0 ? 'warn' : 'info', 'containers are plain processes here', {
    reason: found.reason,
  });
  return await createProcessRuntime(init);
}
