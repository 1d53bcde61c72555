/** A directory for tests that make thousands of databases: in memory where there is a place for that. */
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { Test } from 'tap';
import { directoryIn } from '../../directory.ts';

const MEMORY = '/dev/shm';

export function memoryDirectory(t: Test): Promise<string> {
  return directoryIn(existsSync(MEMORY) ? MEMORY : tmpdir(), t);
}
