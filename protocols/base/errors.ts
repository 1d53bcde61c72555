/**
 * Every error that a user, an operator or a caller can expect, in one table: stable code, exit code of the CLI,
 * HTTP status and what to do next. Programmer errors are plain Error, RangeError or assertions, and not here.
 */

/** Exit codes of the CLI; docs/reference/exit-codes.md is generated from the table below. */
export const EXIT = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  daemon: 3,
  notFound: 4,
  refused: 5,
  badInput: 6,
  state: 7,
  capacity: 8,
  unavailable: 9,
} as const;

interface ErrorKind {
  readonly exit: number;
  readonly http: number;
  /** What to do next, one sentence. */
  readonly next: string;
}

const kind = (exit: number, http: number, next: string): ErrorKind => ({ exit, http, next });

/** Grouped by part; a part adds its own at the end of its group. A code is never renamed or given new meaning. */
export const ERRORS = {
  // base
  E_INTERNAL: kind(EXIT.unexpected, 500, "This is a defect: please report it with the daemon's log."),
  E_USAGE: kind(EXIT.usage, 400, 'See --help.'),
  E_UNCONFIRMED: kind(
    EXIT.usage,
    400,
    'Look at it, with --dry-run where there is one, then run it again with --yes.',
  ),
  E_BAD_INPUT: kind(EXIT.badInput, 400, 'Correct the named field and send it again.'),
  E_BAD_KEY_ID: kind(
    EXIT.badInput,
    400,
    'Copy the whole id; `shoal operator create` prints that of an operator to be.',
  ),
  E_MALFORMED: kind(EXIT.badInput, 400, 'Check that the sender runs a compatible version.'),
  E_BAD_METHOD: kind(EXIT.badInput, 405, 'Use a method that the answer names in Allow.'),
  E_TOO_LARGE: kind(EXIT.badInput, 413, 'Send less at once.'),
  E_NOT_FOUND: kind(EXIT.notFound, 404, 'List what there is and check the name.'),
  E_CANCELLED: kind(EXIT.unavailable, 499, 'Run it again when you want to go on.'),
  E_TIMEOUT: kind(EXIT.unavailable, 504, "Try again; if it persists see the daemon's log."),
  E_AMBIGUOUS: kind(EXIT.badInput, 409, 'Name the one that is meant by its id, or by the end of it.'),
  // daemon and its directory
  E_NO_DAEMON: kind(EXIT.daemon, 503, 'Start it with `shoal daemon`, or name its socket with --socket.'),
  E_SOCKET_DENIED: kind(EXIT.daemon, 403, 'Join the group that owns the socket, or run as its owner.'),
  E_SOCKET_IN_USE: kind(EXIT.state, 409, 'Another daemon answers on this socket: stop it or choose another.'),
  E_PORT_IN_USE: kind(EXIT.state, 409, 'Choose another port or address, or stop what holds it.'),
  E_PORT_DENIED: kind(
    EXIT.refused,
    403,
    'Ports below 1024 need root or CAP_NET_BIND_SERVICE: choose a higher one.',
  ),
  E_DATA_LOCKED: kind(EXIT.state, 409, 'Stop it, or choose another with --data.'),
  E_DATA_NEWER: kind(EXIT.state, 409, 'Run the newer shoal that wrote this directory, or choose another.'),
  E_DATA_OTHER_CLUSTER: kind(
    EXIT.state,
    409,
    'Choose another --data, or remove this one if its cluster is gone.',
  ),
  E_DATA_CORRUPT: kind(EXIT.state, 500, 'Restore the file, or move the directory away and join again.'),
  E_NO_CLUSTER: kind(EXIT.state, 409, 'Run `shoal init` on the first host, or `shoal join` with a token.'),
  E_ALREADY_CLUSTER: kind(EXIT.state, 409, 'For another cluster start a daemon with a fresh --data.'),
  E_BUSY: kind(EXIT.unavailable, 503, 'Close a stream that is not needed, or try again later.'),
  E_DATA_DENIED: kind(
    EXIT.state,
    403,
    'Make the directory writable for this user, or choose another --data.',
  ),
  E_DISK_FAILED: kind(
    EXIT.state,
    500,
    "See the kernel's log and the quota; replace the disk, or move the data directory to another.",
  ),
  E_ADDRESS_NOT_HERE: kind(
    EXIT.state,
    409,
    'Choose an address that this host has, as `ip address` lists them, or 0.0.0.0 for all of them.',
  ),
  // ledger and trust
  E_QUOTA: kind(EXIT.capacity, 507, 'Remove what is no longer needed, then try again.'),
  E_BAD_SIGNATURE: kind(EXIT.refused, 403, 'Do not trust the sender; the record was dropped.'),
  E_NOT_ALLOWED: kind(EXIT.refused, 403, 'Do it at a node that may: `shoal grant ls` tells which.'),
  E_TOKEN_MALFORMED: kind(EXIT.refused, 400, 'Copy the whole token again, or create a new one.'),
  E_TOKEN_EXPIRED: kind(EXIT.refused, 403, 'Create a new one with `shoal token create` on a member.'),
  E_TOKEN_USED: kind(EXIT.refused, 403, 'Create a new one with `shoal token create` on a member.'),
  E_TOKEN_UNKNOWN: kind(
    EXIT.refused,
    403,
    'Try again once the members are connected; else create a new one with `shoal token create` on a member of that cluster.',
  ),
  E_TOKEN_REFUSED: kind(
    EXIT.refused,
    403,
    'Create a new one with `shoal token create` on a member of that cluster.',
  ),
  E_REVOKED: kind(
    EXIT.refused,
    403,
    'A revoked key never comes back: join again with a fresh --data and a new token.',
  ),
  E_UNREACHABLE: kind(
    EXIT.unavailable,
    502,
    'Check that a member runs at one of the addresses, and the firewall.',
  ),
  E_STILL_ALIVE: kind(
    EXIT.state,
    409,
    'Stop its daemon first, or give --force; `shoal node revoke` shuts out one that lives.',
  ),
  E_PLAN_CHANGED: kind(EXIT.state, 409, 'Run it once more: it shows what would go now.'),
  E_KEY_COPIED: kind(
    EXIT.state,
    409,
    'Stop one of the two and move its data directory away; if neither can be reached: `shoal node revoke`.',
  ),
  E_CLOCK_AHEAD: kind(
    EXIT.state,
    409,
    'Set the clock of the host that is ahead, with an NTP client, or ask another host.',
  ),
  E_CLOCK_BEHIND: kind(EXIT.state, 409, 'Set the clock of the host that is behind, with an NTP client.'),
  // workloads
  E_BAD_SPEC: kind(EXIT.badInput, 400, 'Correct the named field of the spec; nothing was changed.'),
  E_UNSATISFIABLE: kind(EXIT.capacity, 409, 'Ask for less, or add a host that has it; nothing was changed.'),
  E_EXISTS: kind(EXIT.state, 409, 'Choose another name, or change the one that exists.'),
  // images
  E_IMAGE_INVALID: kind(
    EXIT.badInput,
    400,
    'Give an OCI layout, an OCI or docker archive, or a build directory.',
  ),
  E_IMAGE_UNKNOWN: kind(
    EXIT.notFound,
    404,
    'Import it on any host, or check the name with `shoal image ls`.',
  ),
  E_BLOB_CORRUPT: kind(EXIT.badInput, 422, 'Get the image again from its source; nothing was kept.'),
  E_LAYER_HOSTILE: kind(EXIT.badInput, 422, 'Do not use this image; nothing was kept.'),
  E_NO_SOURCE: kind(EXIT.unavailable, 503, 'Bring back a host that has the image, or import it again.'),
  E_DISK_FULL: kind(EXIT.capacity, 507, 'Free space in the data directory.'),
  // runtime
  E_RUNTIME_MISSING: kind(EXIT.state, 501, 'Install runc, or use the process driver.'),
  E_RUNTIME_FAILED: kind(EXIT.unexpected, 500, 'See the message of the runtime above.'),
  E_NOT_RUNNING: kind(EXIT.state, 409, 'Start it first, or choose a running instance with `shoal ps`.'),
  E_COMMAND_NOT_FOUND: kind(EXIT.badInput, 422, 'Check the command and the image it should be in.'),
  // network
  E_NETWORK_FAILED: kind(
    EXIT.unexpected,
    500,
    'See the message above; run as root, with iproute2 installed.',
  ),
} satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** An expected failure. `message` says what happened and what state it left; the table says what to do next. */
export class ShoalError extends Error {
  static override readonly name = 'ShoalError';
  readonly code: ErrorCode;
  /** Machine-readable particulars, such as the field at fault. Never a secret. */
  readonly detail: Readonly<Record<string, unknown>> | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; detail?: Record<string, unknown> } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = 'ShoalError';
    this.code = code;
    this.detail = options.detail;
  }

  /** As logs have it. */
  override toString(): string {
    return `${this.code}: ${this.message}`;
  }
  get exit(): number {
    return ERRORS[this.code].exit;
  }
  get http(): number {
    return ERRORS[this.code].http;
  }
  get next(): string {
    return ERRORS[this.code].next;
  }
}

export function isShoalError(error: unknown, code?: ErrorCode): error is ShoalError {
  return error instanceof ShoalError && (code === undefined || error.code === code);
}
