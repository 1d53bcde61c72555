/** Libraries that stand between a program under test and libc, compiled when a test asks for one. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';

export type Built = { readonly library: string } | { readonly missing: string };

/**
 * @param name of a source beside this file. @returns the library's path, or why there is none.
 * @throws when the compiler refuses the source: that is no reason to leave a test out.
 */
export function preloaded(name: string, directory: string): Built {
  if (process.platform !== 'linux')
    return { missing: 'a library between a program and its disk needs Linux' };
  const library = path.join(directory, `${name}.so`);
  const source = path.join(import.meta.dirname, `${name}.c`);
  const argv = ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl'];
  const { status, error, stderr } = spawnSync('cc', argv, { encoding: 'utf8', timeout: 60_000 });
  if (error !== undefined) return { missing: `no C compiler (Debian: gcc): ${error.message}` };
  if (status !== 0) throw new Error(`the C compiler refuses ${name}.c: ${stderr}`);
  return { library };
}
