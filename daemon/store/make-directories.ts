/** Directories that a user names, with those above them. */
import { mkdirSync, statSync } from 'node:fs';
import path from 'node:path';

/**
 * Makes a directory, and each one above it that is missing. Step by step: the recursive mkdir of node never returns
 * where a file system knows no new names and says ENOENT to them, as /proc does.
 * @returns those that were made, the topmost first. @throws as the file system does.
 */
export function makeDirectories(directory: string, mode: number): string[] {
  const missing: string[] = [];
  let at = path.resolve(directory);
  while (!isDirectory(at) && at !== path.dirname(at)) {
    missing.unshift(at);
    at = path.dirname(at);
  }
  return missing.filter((each) => make(each, mode));
}

/** @returns false when somebody else has made it meanwhile. */
function make(directory: string, mode: number): boolean {
  try {
    mkdirSync(directory, { mode });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST' && isDirectory(directory)) return false;
    throw error;
  }
}

function isDirectory(name: string): boolean {
  try {
    return statSync(name).isDirectory();
  } catch {
    return false;
  }
}
