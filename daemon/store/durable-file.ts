/** Files and names that are on the disk, and not only in its cache, when these return. Not here: the database. */
import { closeSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Makes names durable that were given or taken in a directory. */
export function syncDirectory(directory: string): void {
  const handle = openSync(directory, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/**
 * Makes a file that is there whole or not at all, mode 0600. What an earlier, broken try left is taken away.
 * @throws EEXIST when the file exists: it is never overwritten.
 */
export function createDurably(file: string, text: string): void {
  placeDurably(file, text, linkSync);
}

/** Makes a file anew, mode 0600: what it holds is all of the old text or all of the new. */
export function replaceDurably(file: string, text: string): void {
  placeDurably(file, text, renameSync);
}

function placeDurably(file: string, text: string, place: (draft: string, file: string) => void): void {
  const draft = `${file}.new`;
  rmSync(draft, { force: true });
  try {
    writeFileSync(draft, text, { mode: 0o600, flag: 'wx', flush: true });
    place(draft, file);
  } finally {
    rmSync(draft, { force: true });
  }
  syncDirectory(path.dirname(file));
}

/** It is gone when this returns, if it was there. */
export function removeDurably(file: string): void {
  rmSync(file, { force: true });
  syncDirectory(path.dirname(file));
}
