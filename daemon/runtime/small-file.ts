/** The small files in which drivers note what must be found again: whole or not at all, readable by the owner only. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';

/** Synchronous on purpose: nothing may come between deciding and noting. */
export function writeSmallFile(file: string, text: string): void {
  const descriptor = openSync(`${file}.tmp`, 'w', 0o600);
  try {
    writeSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(`${file}.tmp`, file);
}

/** Null when there is none. */
export function readSmallFile(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

/** Null when there is none or it is not JSON. */
export function readSmallJson<T>(file: string): T | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T;
  } catch {
    return null;
  }
}
