/** Files that are either whole or not there after a crash: written aside, synced, renamed, directory synced. */
import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { asDiskError } from './disk-errors.ts';

/** Makes renames into the directory survive power loss. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Renames a file that is synced already, durably. Both must be on one file system. */
export async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncDirectory(dirname(to));
}

/** @param temporary a directory on the same file system, emptied at every start. @throws E_DISK_FULL */
export async function writeFileDurably(path: string, bytes: Uint8Array, temporary: string): Promise<void> {
  const aside = join(temporary, randomUUID());
  try {
    const handle = await open(aside, 'wx', 0o644);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await renameDurably(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    throw asDiskError(error);
  }
}
