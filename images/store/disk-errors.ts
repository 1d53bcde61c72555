/** Turns the file system's way of saying "full" into ours, so that it reaches the user with what to do next. */
import { ShoalError } from '../../protocols/base/errors.ts';

const FULL = new Set(['ENOSPC', 'EDQUOT']);

/** @returns E_DISK_FULL when that is what `error` means, else `error` itself. */
export function asDiskError(error: unknown): unknown {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code !== 'string' || !FULL.has(code)) return error;
  return new ShoalError('E_DISK_FULL', 'the disk is full; nothing of it was kept', { cause: error });
}
