/**
 * What the OCI runtime is told: a container spec as the config.json of a bundle. A pure function.
 * Source: OCI runtime spec 1.0.2, config.md and config-linux.md. Defaults are those that users of Docker know.
 */
import type { ContainerSpec } from './runtime.ts';
import { seccompProfile } from './seccomp.ts';
import type { ContainerUser } from './user.ts';

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Processes and threads of one container. */
export const PIDS_MAX_DEFAULT = 4096;

const CPU_PERIOD_US = 100_000;
/** The kernel takes no less. */
const CPU_QUOTA_US_MIN = 1000;
const CPU_SHARES_MIN = 2;
const SHM_BYTES = 64 << 20;

const CAPABILITIES = [
  ...['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FSETID', 'CAP_FOWNER', 'CAP_MKNOD', 'CAP_NET_RAW', 'CAP_SETGID'],
  ...['CAP_SETUID', 'CAP_SETFCAP', 'CAP_SETPCAP', 'CAP_NET_BIND_SERVICE', 'CAP_SYS_CHROOT', 'CAP_KILL'],
  'CAP_AUDIT_WRITE',
];

const MASKED = [
  ...['/proc/acpi', '/proc/asound', '/proc/kcore', '/proc/keys', '/proc/latency_stats', '/proc/scsi'],
  ...['/proc/timer_list', '/proc/timer_stats', '/proc/sched_debug', '/proc/interrupts', '/sys/firmware'],
  '/sys/devices/virtual/powercap',
];
const READONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

export interface ConfigFacts {
  readonly rootfs: string;
  readonly user: ContainerUser;
  /** Absolute within each hierarchy. */
  readonly cgroup: string;
  readonly limitsSwap: boolean;
  readonly pids_max: number;
  /** The daemon's own hard limit of open files, which may not be exceeded. */
  readonly nofile_max: number;
  /** As `process.arch`. */
  readonly arch: string;
}

/** The `process` object, which `exec` uses too. */
export function ociProcess(
  spec: Pick<ContainerSpec, 'env' | 'workingDir'>,
  argv: readonly string[],
  facts: Pick<ConfigFacts, 'user' | 'nofile_max'>,
): object {
  const { user } = facts;
  // A process of another user gains none by starting, but may by a setuid program where new privileges are allowed.
  const held = user.uid === 0 ? CAPABILITIES : [];
  const env = { PATH: DEFAULT_PATH, HOME: user.home, ...spec.env };
  return {
    terminal: false,
    user: {
      uid: user.uid,
      gid: user.gid,
      ...(user.additionalGids.length > 0 ? { additionalGids: user.additionalGids } : {}),
    },
    args: argv,
    env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    cwd: spec.workingDir.startsWith('/') ? spec.workingDir : `/${spec.workingDir}`,
    capabilities: { bounding: CAPABILITIES, effective: held, permitted: held },
    noNewPrivileges: true,
    rlimits: [{ type: 'RLIMIT_NOFILE', soft: facts.nofile_max, hard: facts.nofile_max }],
  };
}

export function ociConfig(spec: ContainerSpec, facts: ConfigFacts): object {
  const { cpu_millis, memory_bytes } = spec.resources;
  const namespaces: object[] = ['pid', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type }));
  if (spec.netns !== null) namespaces.push({ type: 'network', path: spec.netns });
  const mount = (destination: string, type: string, options: string[], source = type): object => ({
    destination,
    type,
    source,
    options,
  });
  return {
    ociVersion: '1.0.2',
    process: ociProcess(spec, spec.argv, facts),
    root: { path: facts.rootfs, readonly: false },
    hostname: spec.hostname,
    mounts: [
      mount('/proc', 'proc', ['nosuid', 'noexec', 'nodev']),
      mount('/dev', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
      mount('/dev/pts', 'devpts', ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5']),
      mount('/dev/shm', 'tmpfs', ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${SHM_BYTES}`], 'shm'),
      mount('/dev/mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']),
      mount('/sys', 'sysfs', ['nosuid', 'noexec', 'nodev', 'ro']),
      mount('/sys/fs/cgroup', 'cgroup', ['nosuid', 'noexec', 'nodev', 'relatime', 'ro']),
      ...spec.mounts.map((each) =>
        mount(each.destination, 'bind', ['rbind', 'rprivate', each.readonly ? 'ro' : 'rw'], each.source),
      ),
    ],
    linux: {
      cgroupsPath: facts.cgroup,
      namespaces,
      resources: {
        devices: [{ allow: false, access: 'rwm' }],
        cpu: {
          period: CPU_PERIOD_US,
          quota: Math.max(CPU_QUOTA_US_MIN, Math.round((cpu_millis * CPU_PERIOD_US) / 1000)),
          shares: Math.max(CPU_SHARES_MIN, Math.round((cpu_millis * 1024) / 1000)),
        },
        memory: { limit: memory_bytes, ...(facts.limitsSwap ? { swap: memory_bytes } : {}) },
        pids: { limit: facts.pids_max },
      },
      // Of the container's own network only: every user may listen on low ports, as in Docker.
      ...(spec.netns === null ? {} : { sysctl: { 'net.ipv4.ip_unprivileged_port_start': '0' } }),
      maskedPaths: MASKED,
      readonlyPaths: READONLY,
      seccomp: seccompProfile(facts.arch),
    },
  };
}
