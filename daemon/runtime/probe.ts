/**
 * Which OCI runtime works on this host, found by a real trial run with the very config that containers get: a version
 * number says nothing about cgroups, seccomp or missing capabilities. The answer is kept for the life of the process.
 */
import { lstat, mkdir, mkdtemp, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { limitsSwap, readCgroupMounts, removeCgroup } from './cgroup.ts';
import { runCommand } from './command.ts';
import { ociConfig, PIDS_MAX_DEFAULT } from './config.ts';

/** In the order of preference: the first starts containers in a third of the time. */
const CANDIDATES = ['crun', 'runc'];
const HOST_DIRS = ['/bin', '/sbin', '/lib', '/lib64', '/lib32', '/usr', '/nix'];
const TRIAL_MS_MAX = 15_000;
const TRIAL_MEMORY_BYTES = 64 << 20;

export interface OciTools {
  readonly path: string;
  readonly name: string;
  readonly version: string;
  /** The monitor that outlives the daemon. */
  readonly conmon: string;
}
export type OciProbe = OciTools | { readonly reason: string };

const kept = new Map<string, Promise<OciProbe>>();

/**
 * @param runtime A name or path to use instead of the candidates.
 * @param isProven it has worked here, and no trial is made: that takes room and time, which a host may be short of now.
 */
export function probeOci(runtime?: string, isProven = false): Promise<OciProbe> {
  const key = runtime ?? '';
  let found = kept.get(key);
  if (!found) {
    found = probe(runtime === undefined ? CANDIDATES : [runtime], isProven);
    kept.set(key, found);
    // Who then asks for the one that was found need not wait for another trial.
    void found.then((answer) => {
      if ('path' in answer && !kept.has(answer.path)) kept.set(answer.path, Promise.resolve(answer));
    });
  }
  return found;
}

/** The hard limit of open files of this process. */
export async function nofileLimit(): Promise<number> {
  const line = /^Max open files\s+\S+\s+(\d+)/m.exec(await readFile('/proc/self/limits', 'utf8'));
  return Math.min(Number(line?.[1] ?? 1024), 1 << 20);
}

async function findProgram(name: string): Promise<string | null> {
  const places = name.includes('/')
    ? [name]
    : (process.env.PATH ?? '').split(':').concat('/usr/sbin', '/sbin');
  for (const place of places) {
    const file = name.includes('/') ? path.resolve(name) : path.join(place, name);
    if (path.isAbsolute(file) && (await lstat(file).catch(() => null))) return file;
  }
  return null;
}

async function probe(names: readonly string[], isProven: boolean): Promise<OciProbe> {
  if (process.platform !== 'linux') return { reason: 'OCI runtimes need Linux' };
  if (process.getuid?.() !== 0) return { reason: 'not root' };
  const conmon = await findProgram('conmon');
  if (conmon === null) return { reason: 'conmon is not installed' };
  if ((await findProgram('mount')) === null) return { reason: 'mount is not installed' };
  const reasons: string[] = [];
  for (const name of names) {
    const file = await findProgram(name);
    if (file === null) {
      reasons.push(`${name} is not installed`);
      continue;
    }
    const failure = isProven ? null : await trial(file).catch((error: Error) => error.message);
    if (failure === null) {
      const version = await runCommand([file, '--version']);
      return {
        path: file,
        name: path.basename(file),
        version: /version\s+(\S+)/.exec(version.stdout)?.[1] ?? 'unknown',
        conmon,
      };
    }
    reasons.push(`${name}: ${failure}`);
  }
  return { reason: reasons.join('; ') };
}

/** Runs `true` of the host in a container; null when that worked, else why not. */
async function trial(runtime: string): Promise<string | null> {
  // Where /run is no disk, a full one does not matter.
  const directory = await mkdtemp('/run/shoal-probe-').catch(() =>
    mkdtemp(path.join(os.tmpdir(), 'shoal-probe-')),
  );
  const id = path.basename(directory);
  const cgroup = `/${id}`;
  const mounts = readCgroupMounts();
  const root = ['--root', path.join(directory, 'state')];
  try {
    const rootfs = path.join(directory, 'rootfs');
    await mkdir(rootfs);
    const config = ociConfig(
      {
        ...{
          id,
          labels: {},
          lowerDirs: [],
          argv: ['true'],
          env: {},
          workingDir: '/',
          user: '',
          hostname: 'probe',
        },
        resources: { cpu_millis: 1000, memory_bytes: TRIAL_MEMORY_BYTES },
        mounts: await hostMounts(rootfs),
        ...{ netns: null, stopSignal: 'SIGTERM', logs_bytes_max: 0 },
      },
      {
        ...{ rootfs, cgroup, limitsSwap: limitsSwap(mounts), pids_max: PIDS_MAX_DEFAULT, arch: process.arch },
        user: { uid: 0, gid: 0, additionalGids: [], home: '/' },
        nofile_max: await nofileLimit(),
      },
    );
    await writeFile(path.join(directory, 'config.json'), JSON.stringify(config));
    const result = await runCommand([runtime, ...root, 'run', '--bundle', directory, id], {
      timeout_ms: TRIAL_MS_MAX,
    });
    if (result.code === 0) return null;
    return result.stderr.trim().split('\n').at(-1)?.slice(0, 300) || `exit code ${result.code}`;
  } finally {
    await runCommand([runtime, ...root, 'delete', '--force', id]);
    removeCgroup(mounts, cgroup);
    await rm(directory, { recursive: true, force: true });
  }
}

/** The host's programs and libraries, read-only; directories that are links on the host become links. */
async function hostMounts(
  rootfs: string,
): Promise<{ source: string; destination: string; readonly: true }[]> {
  const mounts: { source: string; destination: string; readonly: true }[] = [];
  for (const dir of HOST_DIRS) {
    const stat = await lstat(dir).catch(() => null);
    if (stat?.isSymbolicLink()) await symlink(await readlink(dir), path.join(rootfs, dir));
    else if (stat?.isDirectory()) mounts.push({ source: dir, destination: dir, readonly: true });
  }
  return mounts;
}
