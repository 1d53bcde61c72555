/**
 * The one configuration object of a daemon: what `shoal daemon` takes as flags and `createNode` as an argument.
 * Pure data and its defaults; `daemon/main.ts` acts on it. Checked once, here, before anything is opened.
 */
import { isIP } from 'node:net';
import { ShoalError } from '../../protocols/base/errors.ts';
import { LABEL_PATTERN } from '../../protocols/base/label.ts';
import { RESOURCE_BOUNDS, type Resources } from '../../protocols/base/workload.ts';
import type { LogLevel } from '../log.ts';

export type DriverChoice = 'auto' | 'oci' | 'process';

/** sockaddr_un has 108 bytes; one is for the end, one for the name under which the socket is made. */
export const SOCKET_BYTES_MAX = 106;
/** TCP port of the mesh when `--listen` names none. */
export const MESH_PORT_DEFAULT = 4747;
/** TCP port of the door, where strangers with a token are let in. */
export const DOOR_PORT_DEFAULT = 4748;
export const DNS_LISTENERS_MAX = 16;
export const LABELS_MAX = 64;

/** An address to listen on. Port 0: any free one. */
export interface Listen {
  /** IP address. */
  readonly host: string;
  readonly port: number;
}

export interface DaemonOptions {
  /** Directory of everything that this node keeps; made with mode 0700 when absent. Change it to run two nodes. */
  readonly data: string;
  /** Path of the Unix socket of the HTTP API, at most SOCKET_BYTES_MAX bytes. */
  readonly socket: string;
  /** Where members connect: libp2p over TCP. Default 0.0.0.0:4747. */
  readonly listen: Listen;
  /** Where hosts with a join token connect. Default: the host of `listen`, port 4748. */
  readonly door: Listen;
  /** Where the DNS server answers, UDP and TCP. The container gateway is added by the daemon. Default: none. */
  readonly dns: readonly Listen[];
  /** Name of this node: an RFC 1123 label. Null: from the host's name. */
  readonly name: string | null;
  /** Labels for constraints of workloads. */
  readonly labels: Readonly<Record<string, string>>;
  /** `auto`: `oci` when root and a trial container runs, otherwise `process`. */
  readonly driver: DriverChoice;
  /** IP address that other hosts reach this one at. Null: that of the default route, or of `listen`. */
  readonly host: string | null;
  /** What workloads may reserve here in total; a null part is measured from the host. */
  readonly capacity: { readonly [K in keyof Resources]: Resources[K] | null };
  /** DNS servers for names outside the cluster. Null: those of the host's resolv.conf. Empty: none. */
  readonly upstream: readonly Listen[] | null;
  /** Find members on the LAN by multicast DNS. Default true. */
  readonly mdns: boolean;
  /** Least level that is logged, to stderr. Default info. */
  readonly logLevel: LogLevel;
}

/**
 * `10.0.0.1:4747`, `[::1]:4747`, `10.0.0.1` or the multiaddr `/ip4/10.0.0.1/tcp/4747` (also ip6 and udp).
 * @param field the option, for the error. @throws ShoalError E_USAGE
 */
export function parseListen(text: string, port: number, field: string): Listen {
  const multiaddr = /^\/(?:ip4|ip6)\/([^/]+)(?:\/(?:tcp|udp)\/(\d{1,5}))?$/.exec(text);
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text);
  const plain = isIP(text) === 6 ? [text, text, undefined] : /^([^:/]+)(?::(\d{1,5}))?$/.exec(text);
  const [, host, portText] = multiaddr ?? bracketed ?? plain ?? [];
  const number = portText === undefined ? port : Number(portText);
  if (host === undefined || isIP(host) === 0 || number > 65535) {
    throw new ShoalError(
      'E_USAGE',
      `${field} "${text}" is not an address: write 10.0.0.1:${port} or /ip4/10.0.0.1/tcp/${port}`,
      {
        detail: { field },
      },
    );
  }
  return { host, port: number };
}

/** @throws ShoalError E_USAGE when a field cannot be as it is. */
export function checkOptions(options: DaemonOptions): DaemonOptions {
  const fail = (field: string, why: string): never => {
    throw new ShoalError('E_USAGE', `${field} ${why}`, { detail: { field } });
  };
  // As a variable that is not set becomes; it would be the directory in which the daemon was started.
  if (options.data === '') fail('--data', 'is empty');
  if (Buffer.byteLength(options.socket) > SOCKET_BYTES_MAX)
    fail('--socket', `is longer than ${SOCKET_BYTES_MAX} bytes, which a Unix socket cannot be`);
  if (options.name !== null && !new RegExp(LABEL_PATTERN).test(options.name)) {
    fail('--name', `"${options.name}" is not a name: lower-case letters, digits and "-", at most 63`);
  }
  if (options.host !== null && isIP(options.host) === 0)
    fail('--host', `"${options.host}" is not an IP address`);
  for (const [part, value] of Object.entries(options.capacity)) {
    // Beyond these bounds no other node would take this one's member record.
    const { minimum, maximum } = RESOURCE_BOUNDS[part as keyof Resources];
    if (value === null || (Number.isInteger(value) && value >= minimum && value <= maximum)) continue;
    fail(`--capacity-${part.split('_')[0]}`, `must be from ${minimum} to ${maximum} (${part})`);
  }
  if (options.dns.length > DNS_LISTENERS_MAX) fail('--dns', `is given more than ${DNS_LISTENERS_MAX} times`);
  if (Object.keys(options.labels).length > LABELS_MAX)
    fail('--label', `is given more than ${LABELS_MAX} times`);
  for (const [key, value] of Object.entries(options.labels)) {
    if (key.length === 0 || key.length > 128 || value.length > 256)
      fail('--label', `"${key.slice(0, 64)}" is too long or empty`);
    if (key === 'name') fail('--label', '"name" is the name of the node: use --name');
  }
  return options;
}
