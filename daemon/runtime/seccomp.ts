/**
 * The default seccomp filter: what no contained service needs and what has opened containers before. A deny list, so
 * that images built for newer kernels keep working; what is refused for want of a capability is refused here again.
 * Source: OCI runtime spec, config-linux.md, Seccomp; seccomp(2).
 */

const EPERM = 1;
const ENOSYS = 38;

const DENIED: readonly string[] = [
  // the kernel itself
  ...['init_module', 'finit_module', 'delete_module', 'create_module', 'query_module', 'get_kernel_syms'],
  ...['kexec_load', 'kexec_file_load', 'reboot', 'bpf', 'perf_event_open', 'iopl', 'ioperm', 'syslog'],
  ...['userfaultfd', 'io_uring_setup', 'io_uring_enter', 'io_uring_register'],
  // mounts and namespaces
  ...['mount', 'umount', 'umount2', 'pivot_root', 'setns', 'fsopen', 'fsconfig', 'fsmount', 'fspick'],
  ...['open_tree', 'move_mount', 'mount_setattr'],
  // files by handle, which lead out of the root
  ...['open_by_handle_at', 'name_to_handle_at', 'lookup_dcookie', 'fanotify_init'],
  // keyrings are not separated by namespaces
  ...['add_key', 'keyctl', 'request_key'],
  // of the whole host
  ...['acct', 'quotactl', 'quotactl_fd', 'swapon', 'swapoff', 'settimeofday', 'stime', 'clock_settime'],
  ...[
    'clock_settime64',
    'clock_adjtime',
    'clock_adjtime64',
    'adjtimex',
    'sethostname',
    'setdomainname',
    'vhangup',
  ],
  // of other processes and of memory nodes
  ...['kcmp', 'process_madvise', 'move_pages', 'migrate_pages'],
  // obsolete
  ...['_sysctl', 'sysfs', 'ustat', 'uselib', 'nfsservctl', 'vm86', 'vm86old', 'bdflush'],
];

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const NEW_NAMESPACES = [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000];
/** AF_ALG and AF_VSOCK: kernel crypto and the line to the hypervisor. */
const DENIED_FAMILIES = [38, 40];

const ARCHITECTURES: Readonly<Record<string, readonly string[]>> = {
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
  arm: ['SCMP_ARCH_ARM'],
  ppc64: ['SCMP_ARCH_PPC64LE'],
  s390x: ['SCMP_ARCH_S390X', 'SCMP_ARCH_S390'],
  riscv64: ['SCMP_ARCH_RISCV64'],
};

/** The `linux.seccomp` object. @param arch As `process.arch`; the default of libseccomp for one that is not known. */
export function seccompProfile(arch: string): object {
  const deny = (names: readonly string[], errnoRet: number, args?: object[]): object => ({
    names,
    action: 'SCMP_ACT_ERRNO',
    errnoRet,
    ...(args ? { args } : {}),
  });
  const architectures = ARCHITECTURES[arch];
  // s390x takes the flags of clone as its second argument.
  const flags = arch === 's390x' ? 1 : 0;
  return {
    defaultAction: 'SCMP_ACT_ALLOW',
    ...(architectures ? { architectures } : {}),
    syscalls: [
      deny(DENIED, EPERM),
      // Its flags are in memory, where no filter can look: programs fall back to clone.
      deny(['clone3'], ENOSYS),
      ...NEW_NAMESPACES.flatMap((bit) => [
        deny(['clone'], EPERM, [{ index: flags, value: bit, valueTwo: bit, op: 'SCMP_CMP_MASKED_EQ' }]),
        deny(['unshare'], EPERM, [{ index: 0, value: bit, valueTwo: bit, op: 'SCMP_CMP_MASKED_EQ' }]),
      ]),
      ...DENIED_FAMILIES.map((family) =>
        deny(['socket'], EPERM, [{ index: 0, value: family, op: 'SCMP_CMP_EQ' }]),
      ),
    ],
  };
}
