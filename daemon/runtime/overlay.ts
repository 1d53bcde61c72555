/**
 * Overlay mounts: read-only layers below, one writable directory on top. Mounts are made with mount(8) in a directory
 * of short links, because the options of mount(2) are limited to one page, and names may hold `:` or `,`.
 * Source: kernel Documentation/filesystems/overlayfs.rst.
 */
import { mkdir, readFile, symlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ShoalError } from '../../protocols/base/errors.ts';
import { runCommand } from './command.ts';

/** The kernel's own limit. */
export const LOWER_DIRS_MAX = 500;
const UNMOUNT_TRIES = 5;
const UNMOUNT_PAUSE_MS = 20;

/** Makes `links`, `upper`, `work` and `rootfs` in `directory` and mounts the last. @throws E_RUNTIME_FAILED */
export async function mountOverlay(directory: string, lowerDirs: readonly string[]): Promise<string> {
  if (lowerDirs.length === 0 || lowerDirs.length > LOWER_DIRS_MAX)
    throw new ShoalError(
      'E_RUNTIME_FAILED',
      `An image has 1 to ${LOWER_DIRS_MAX} layers, not ${lowerDirs.length}.`,
    );
  const links = path.join(directory, 'links');
  const rootfs = path.join(directory, 'rootfs');
  for (const name of ['links', 'upper', 'work', 'rootfs']) await mkdir(path.join(directory, name));
  for (const [index, lower] of lowerDirs.entries())
    await symlink(path.resolve(lower), path.join(links, index.toString(36)));
  // The kernel wants the topmost first.
  const lower = lowerDirs.map((_, index) => index.toString(36)).reverse();
  const options = `lowerdir=${lower.join(':')},upperdir=../upper,workdir=../work`;
  const result = await runCommand(['mount', '-t', 'overlay', '-o', options, 'overlay', rootfs], {
    cwd: links,
    // The newer mount API limits one option to 255 bytes.
    env: { ...process.env, LIBMOUNT_FORCE_MOUNT2: 'always' },
  });
  if (result.code !== 0)
    throw new ShoalError('E_RUNTIME_FAILED', `Cannot mount the overlay: ${result.stderr.trim()}`);
  return rootfs;
}

/** Whether something is mounted at exactly this path. */
export async function isMounted(target: string): Promise<boolean> {
  const escaped = path
    .resolve(target)
    .replace(/[\\ \t\n]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
  const table = await readFile('/proc/self/mountinfo', 'utf8');
  return table.split('\n').some((line) => line.split(' ')[4] === escaped);
}

/** Takes the mount away; one that is still busy is detached. A path that is not mounted is fine. */
export async function unmountOverlay(directory: string): Promise<void> {
  const rootfs = path.join(directory, 'rootfs');
  for (let attempt = 0; await isMounted(rootfs); attempt += 1) {
    const lazy = attempt >= UNMOUNT_TRIES ? ['-l'] : [];
    const result = await runCommand(['umount', ...lazy, rootfs]);
    if (result.code === 0) continue;
    if (lazy.length > 0)
      throw new ShoalError('E_RUNTIME_FAILED', `Cannot unmount ${rootfs}: ${result.stderr.trim()}`);
    await sleep(UNMOUNT_PAUSE_MS);
  }
}
