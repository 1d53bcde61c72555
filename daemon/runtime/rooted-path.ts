/**
 * Paths inside a root directory that somebody else filled: symbolic links are followed as if the root were `/`, so
 * none leads out. Meant for directories in which nothing runs yet: it does not guard against changes meanwhile.
 */
import { lstat, open, readlink } from 'node:fs/promises';
import path from 'node:path';

const LINKS_MAX = 40;

/** The real path of `inner` (absolute or relative to the root), or null when it does not exist there. */
export async function resolveInRoot(root: string, inner: string): Promise<string | null> {
  const pending = inner.split('/').reverse();
  const done: string[] = [];
  let links = 0;
  while (pending.length > 0) {
    const part = pending.pop()!;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const here = path.join(root, ...done, part);
    const stat = await lstat(here).catch(() => null);
    if (!stat) return null;
    if (!stat.isSymbolicLink()) {
      if (pending.some((rest) => rest !== '' && rest !== '.') && !stat.isDirectory()) return null;
      done.push(part);
      continue;
    }
    links += 1;
    if (links > LINKS_MAX) return null;
    const target = await readlink(here);
    if (target.startsWith('/')) done.length = 0;
    pending.push(...target.split('/').reverse());
  }
  return path.join(root, ...done);
}

/** The text of a regular file inside the root, at most `bytes_max` of it; null when there is none. */
export async function readInRoot(root: string, inner: string, bytes_max: number): Promise<string | null> {
  const real = await resolveInRoot(root, inner);
  if (real === null || !(await lstat(real)).isFile()) return null;
  await using file = await open(real, 'r');
  const buffer = Buffer.alloc(Math.min(bytes_max, (await file.stat()).size));
  const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
  return buffer.toString('utf8', 0, bytesRead);
}

/** Whether it is a regular file inside the root that somebody may execute. */
export async function isExecutableInRoot(root: string, inner: string): Promise<boolean> {
  const real = await resolveInRoot(root, inner);
  if (real === null) return false;
  const stat = await lstat(real);
  return stat.isFile() && (stat.mode & 0o111) !== 0;
}
