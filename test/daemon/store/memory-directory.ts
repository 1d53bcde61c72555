/** A directory for tests that make thousands of databases: in memory where there is a place for that. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';

const MEMORY = '/dev/shm';

export async function memoryDirectory(t: Test): Promise<string> {
  const directory = await mkdtemp(path.join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'shoal-test-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
