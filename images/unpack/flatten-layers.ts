/**
 * One plain root file system from layer directories, for runtimes without overlayfs (the `process` driver).
 * How: for each lower directory, base first, `../whiteouts.json` beside it says what it hides (`removed` paths,
 * `opaque` directories); that is removed from what is there so far, then the directory is copied over it.
 */
import { constants } from 'node:fs';
import {
  chmod,
  copyFile,
  lchown,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ShoalError } from '../../protocols/base/errors.ts';
import type { Whiteouts } from '../core/layer-rules.ts';
import { asDiskError } from '../store/disk-errors.ts';

const WHITEOUTS = 'whiteouts.json';

/**
 * Files are copied (as reflinks where the file system has them), never hard-linked: a program that writes into its
 * root must not change the layer for all others. Device nodes, fifos and sockets are left out. As root, owners are
 * kept.
 * @param lowerDirs of ReadyImage, base first.
 * @param destination a directory that is made; it must not exist.
 * @throws E_EXISTS, E_DISK_FULL, E_CANCELLED; the destination is removed then, unless it was there before.
 */
export async function flattenLayers(
  lowerDirs: readonly string[],
  destination: string,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  try {
    await mkdir(destination, { mode: 0o755 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw asDiskError(cause);
    throw new ShoalError('E_EXISTS', `${destination} exists already; nothing was changed`, { cause });
  }
  try {
    for (const layer of lowerDirs) {
      await hide(await readWhiteouts(layer), destination);
      await copyTree(layer, destination, options.signal);
    }
  } catch (error) {
    await rm(destination, { recursive: true, force: true });
    throw asDiskError(error);
  }
}

async function readWhiteouts(layer: string): Promise<Whiteouts> {
  return JSON.parse(await readFile(join(dirname(layer), WHITEOUTS), 'utf8')) as Whiteouts;
}

/** @returns true when every parent of the path is a real directory, so that nothing outside is reached. */
async function isInside(root: string, path: string): Promise<boolean> {
  let at = root;
  for (const part of path.split('/').slice(0, -1)) {
    at = join(at, part);
    if (!(await lstat(at).catch(() => undefined))?.isDirectory()) return false;
  }
  return true;
}

async function hide(whiteouts: Whiteouts, root: string): Promise<void> {
  for (const path of whiteouts.removed) {
    if (await isInside(root, path)) await rm(join(root, path), { recursive: true, force: true });
  }
  for (const path of whiteouts.opaque) {
    const directory = join(root, path);
    if (path !== '' && !(await isInside(root, path))) continue;
    if (!(await lstat(directory).catch(() => undefined))?.isDirectory()) continue;
    for (const name of await readdir(directory))
      await rm(join(directory, name), { recursive: true, force: true });
  }
}

async function copyTree(from: string, to: string, signal: AbortSignal | undefined): Promise<void> {
  const asRoot = process.geteuid?.() === 0;
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (signal?.aborted) throw new ShoalError('E_CANCELLED', 'making the root file system was cancelled');
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    const there = await lstat(target).catch(() => undefined);
    const stats = await lstat(source);
    if (there !== undefined && !(there.isDirectory() && stats.isDirectory())) {
      await rm(target, { recursive: true, force: true });
    }
    if (stats.isDirectory()) {
      if (!there?.isDirectory()) await mkdir(target);
      await copyTree(source, target, signal);
    } else if (stats.isSymbolicLink()) {
      await symlink(await readlink(source), target);
    } else if (stats.isFile()) {
      await copyFile(source, target, constants.COPYFILE_FICLONE);
    } else continue;
    // Owner first: changing it clears setuid.
    if (asRoot) await lchown(target, stats.uid, stats.gid);
    if (!stats.isSymbolicLink()) await chmod(target, stats.mode & 0o7777);
  }
}
