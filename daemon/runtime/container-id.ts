/** What a container id and an instance name may be: both become names of files and cgroups. */
import { ShoalError } from '../../protocols/base/errors.ts';
import type { ContainerId } from './runtime.ts';

const ID = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$/;
const INSTANCE = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$/;

/** @throws E_BAD_INPUT */
export function checkContainerId(id: ContainerId): void {
  if (!ID.test(id)) throw new ShoalError('E_BAD_INPUT', `"${id.slice(0, 140)}" is not a container id.`);
}

export function isContainerId(name: string): boolean {
  return ID.test(name);
}

/** @throws RangeError */
export function checkInstance(instance: string): void {
  if (!INSTANCE.test(instance)) throw new RangeError(`instance "${instance}" cannot name a cgroup`);
}
