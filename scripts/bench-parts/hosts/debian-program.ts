/**
 * Programs of Debian that ours is measured against. One that is installed is used; otherwise its package is fetched with
 * apt-get and unpacked into a cache, not installed: no service starts, and nothing of the system changes.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

const SYSTEM_DIRECTORIES = ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/usr/local/sbin'];
const FETCH_MS_MAX = 180_000;

export interface Programs {
  /** Path by name, in the order asked. */
  readonly paths: readonly string[];
  /** What they need in their environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** @param packages unpacked together when a program is missing. @throws Error that says what to do. */
export function debianPrograms(names: readonly string[], packages: readonly string[]): Programs {
  const installed = names.map((name) => find(SYSTEM_DIRECTORIES, name));
  if (installed.every((file) => file !== undefined)) return { paths: installed, env: {} };
  const directory = path.join(cacheDirectory(), packages.join('+'));
  if (!existsSync(directory)) fetch(packages, directory);
  const unpacked = names.map((name) =>
    find(
      SYSTEM_DIRECTORIES.map((one) => path.join(directory, one)),
      name,
    ),
  );
  const missing = names.filter((_, at) => unpacked[at] === undefined);
  if (missing.length > 0) {
    throw new Error(`no ${missing.join(', ')} in ${packages.join(', ')}: remove ${directory} and try again`);
  }
  return { paths: unpacked as string[], env: { LD_LIBRARY_PATH: libraries(directory).join(':') } };
}

function find(directories: readonly string[], name: string): string | undefined {
  return directories.map((directory) => path.join(directory, name)).find((file) => existsSync(file));
}

/** Where what was fetched is kept from run to run: $XDG_CACHE_HOME, else ~/.cache. */
function cacheDirectory(): string {
  return path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'shoal-bench');
}

/** /lib/<triplet> and /usr/lib/<triplet>. */
function libraries(directory: string): string[] {
  return ['lib', 'usr/lib']
    .map((one) => path.join(directory, one))
    .filter((one) => existsSync(one))
    .flatMap((one) => readdirSync(one).map((triplet) => path.join(one, triplet)));
}

function fetch(packages: readonly string[], directory: string): void {
  mkdirSync(path.dirname(directory), { recursive: true });
  const making = mkdtempSync(`${directory}-`);
  try {
    if (!download(packages, making)) {
      // The package lists may be old or absent.
      command(['apt-get', 'update', '-qq'], making);
      if (!download(packages, making)) {
        const advice = `install ${packages.join(', ')}, or see whether "apt-get download" works here`;
        throw new Error(`${packages.join(', ')} could not be fetched: ${advice}`);
      }
    }
    for (const name of readdirSync(making).filter((file) => file.endsWith('.deb'))) {
      if (!command(['dpkg-deb', '-x', name, '.'], making)) throw new Error(`${name} could not be unpacked`);
      rmSync(path.join(making, name));
    }
    renameSync(making, directory);
  } catch (error) {
    rmSync(making, { recursive: true, force: true });
    throw error;
  }
}

function download(packages: readonly string[], cwd: string): boolean {
  return command(['apt-get', 'download', '-qq', ...packages], cwd);
}

function command([program, ...argv]: readonly string[], cwd: string): boolean {
  return spawnSync(program!, argv, { cwd, stdio: 'ignore', timeout: FETCH_MS_MAX }).status === 0;
}
