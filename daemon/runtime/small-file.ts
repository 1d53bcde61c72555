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

/** Null when there is none or it cannot be read now: for what is looked at again. */
export function readSmallFile(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

/** Null only when there is none. @throws the system's error: what cannot be read now may well be there */
export function readSmallFileSurely(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Null only when there is none or it is not JSON. @throws the system's error */
export function readSmallJson<T>(file: string): T | null {
  return parseSmallJson<T>(readSmallFileSurely(file));
}

/** Null for what is not JSON, or not there. */
export function parseSmallJson<T>(text: string | null): T | null {
  try {
    return text === null ? null : (JSON.parse(text) as T);
  } catch {
    return null;
  }
}
