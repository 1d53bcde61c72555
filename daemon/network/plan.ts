/**
 * The commands that bring one host's container network about: state in, plain lines out, nothing is run.
 * Lines are for `ip -batch`, `bridge -batch` and `nft -f`. Whatever comes from records of others must have been
 * checked before (`peerTable`): a line is text, and text from a stranger could carry a command.
 *
 * Shape (as flannel's): each host has a /24, `.1` is its bridge and gateway, `.0/32` its VXLAN end. Frames to a
 * remote /24 are routed to that host's `.0`, whose MAC and endpoint are entered by hand: no multicast, no learning.
 */
import { parseAddress } from '../../protocols/discovery/ip-address.ts';
import { isSubnetOf, type SubnetRange } from '../../protocols/discovery/subnet.ts';
import type { NetworkPeer } from './network.ts';

/** RFC 7348. */
export const VXLAN_PORT = 4789;
/** An Ethernet path of 1500 less outer IP, UDP, VXLAN and inner Ethernet headers: 50 bytes over IPv4, 70 over IPv6. */
const UNDERLAY_MTU = 1500;
/** Peers looked at by one `setPeers`. */
export const PEERS_MAX = 4096;
/** Linux, IFNAMSIZ less the zero. */
export const INTERFACE_NAME_MAX = 15;

export interface NetworkNames {
  readonly bridge: string;
  readonly vxlan: string;
  /** Of nft, family ip. */
  readonly table: string;
  readonly vethPrefix: string;
  readonly netnsPrefix: string;
}

/** @param tag six characters that no other daemon of this machine has. */
export function networkNames(tag: string): NetworkNames {
  return {
    bridge: `shb${tag}`,
    vxlan: `shx${tag}`,
    table: `shoal_${tag}`,
    vethPrefix: `shv${tag}`,
    netnsPrefix: `shoal-${tag}-`,
  };
}

export interface HostPlan {
  readonly names: NetworkNames;
  /** This host's own address: the VXLAN endpoint. */
  readonly host: string;
  readonly subnet: string;
  readonly range: string;
  readonly vni: number;
}

/** `10.210.3.0/24` and 7 give `10.210.3.7`. */
export function addressIn(subnet: string, last: number): string {
  return `${subnet.slice(0, subnet.lastIndexOf('.'))}.${last}`;
}

/** Locally administered, and the same on every host that computes it. */
export function macOf(address: string): string {
  const octets = address.split('.').map((octet) => Number(octet).toString(16).padStart(2, '0'));
  return `0a:58:${octets.join(':')}`;
}

export function mtuOf(host: string): number {
  return UNDERLAY_MTU - (host.includes(':') ? 70 : 50);
}

/** Lines for `ip -batch` that make the bridge. */
export function planBridge({ names, host, subnet }: HostPlan): string[] {
  const gateway = addressIn(subnet, 1);
  return [
    `link add ${names.bridge} address ${macOf(gateway)} mtu ${mtuOf(host)} type bridge stp_state 0 forward_delay 0`,
    `addr add ${gateway}/24 dev ${names.bridge}`,
    `link set ${names.bridge} up`,
  ];
}

/** Lines for `ip -batch` that make the VXLAN device. */
export function planVxlan({ names, host, subnet, vni }: HostPlan): string[] {
  const end = addressIn(subnet, 0);
  return [
    `link add ${names.vxlan} address ${macOf(end)} mtu ${mtuOf(host)} type vxlan id ${vni} local ${host} dstport ${VXLAN_PORT} nolearning`,
    `addr add ${end}/32 dev ${names.vxlan}`,
    `link set ${names.vxlan} up`,
  ];
}

/** Kernel settings, by path under /proc/sys. */
export function planSysctls({ bridge, vxlan }: NetworkNames): [path: string, value: string][] {
  return [
    ['net/ipv4/ip_forward', '1'],
    // Where br_netfilter is on, frames within the bridge would take a turn through the host's firewall.
    ['net/bridge/bridge-nf-call-iptables', '0'],
    [`net/ipv4/conf/${bridge}/rp_filter`, '2'],
    [`net/ipv4/conf/${vxlan}/rp_filter`, '2'],
  ];
}

/** Text for `nft -f`: what containers send out of the cluster's range goes out under the host's address. */
export function planMasquerade({ names, subnet, range }: HostPlan): string {
  return [
    `add table ip ${names.table}`,
    `delete table ip ${names.table}`,
    `table ip ${names.table} {`,
    '  chain post {',
    '    type nat hook postrouting priority srcnat; policy accept;',
    `    ip saddr ${subnet} ip daddr != ${range} oifname != "${names.bridge}" masquerade`,
    '  }',
    '}',
    '',
  ].join('\n');
}

export interface Endpoint {
  readonly netns: string;
  readonly veth: string;
  readonly address: string;
  /** Written on the interface, so that a new daemon knows whose it is. */
  readonly alias: string;
}

/** Lines for `ip -batch` in the host's namespace; the container's namespace exists. */
export function planAttach({ names, host }: HostPlan, { netns, veth, address }: Endpoint): string[] {
  return [
    `link add ${veth} mtu ${mtuOf(host)} type veth peer name eth0 netns ${netns} address ${macOf(address)} mtu ${mtuOf(host)}`,
    `link set ${veth} master ${names.bridge} up`,
  ];
}

/** Lines for `ip -n <netns> -batch`. A namespace begins with its loopback down, and no runtime raises it. */
export function planInside({ subnet }: HostPlan, { address }: Endpoint): string[] {
  return [
    'link set lo up',
    `addr add ${address}/24 dev eth0`,
    'link set eth0 up',
    `route add default via ${addressIn(subnet, 1)}`,
  ];
}

/** The last line for `ip -batch`: an interface without it was cut short, and is made anew. */
export function planAlias({ veth, alias }: Endpoint): string[] {
  return [`link set ${veth} alias "${alias}"`];
}

/** Remote /24 to the address of its host. */
export type PeerTable = ReadonlyMap<string, string>;

/**
 * What of the peers' claims can be routed. Left out: hosts without a subnet, claims that are malformed or outside
 * the range, our own subnet and our own address; of two that claim one subnet the smaller id is kept.
 */
export function peerTable(
  range: SubnetRange,
  own: { readonly host: string; readonly subnet: string },
  peers: readonly NetworkPeer[],
): PeerTable {
  const table = new Map<string, string>();
  const byId = [...peers].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  for (const { host, subnet } of byId.slice(0, PEERS_MAX)) {
    if (subnet === null || subnet === own.subnet || !isSubnetOf(range, subnet)) continue;
    const address = parseAddress(host);
    if (address === null || address.text === parseAddress(own.host)?.text) continue;
    if (!table.has(subnet)) table.set(subnet, address.text);
  }
  return table;
}

export interface PeerPlan {
  /** Lines for `ip -batch`. */
  readonly ip: string[];
  /** Lines for `bridge -batch`. */
  readonly bridge: string[];
}

/** @param listed what `bridge fdb show dev <vxlan>` printed. @returns the table that a former daemon entered. */
export function parsePeers(listed: string): Map<string, string> {
  const table = new Map<string, string>();
  for (const [, octets = '', host = ''] of listed.matchAll(/^0a:58((?::[0-9a-f]{2}){4}) dst (\S+)/gm)) {
    const subnet = octets
      .slice(1)
      .split(':')
      .map((octet) => Number.parseInt(octet, 16))
      .join('.');
    table.set(`${subnet}/24`, host);
  }
  return table;
}

/**
 * What takes the kernel from one table to another; nothing for what stays.
 * @param renew enter what stays too: `now` was read back, and a crash may have cut its entries short.
 */
export function planPeers(plan: HostPlan, now: PeerTable, wanted: PeerTable, renew = false): PeerPlan {
  const { vxlan } = plan.names;
  const source = addressIn(plan.subnet, 1);
  const ip: string[] = [];
  const bridge: string[] = [];
  for (const [subnet, host] of now) {
    if (wanted.has(subnet)) continue;
    const end = addressIn(subnet, 0);
    ip.push(`route del ${subnet} dev ${vxlan}`, `neigh del ${end} dev ${vxlan}`);
    bridge.push(`fdb del ${macOf(end)} dev ${vxlan} dst ${host} self`);
  }
  for (const [subnet, host] of wanted) {
    const before = now.get(subnet);
    if (before === host && !renew) continue;
    const end = addressIn(subnet, 0);
    // `replace` on VXLAN adds a second destination: the old one goes first.
    if (before !== undefined && before !== host)
      bridge.push(`fdb del ${macOf(end)} dev ${vxlan} dst ${before} self`);
    bridge.push(`fdb replace ${macOf(end)} dev ${vxlan} dst ${host} self permanent`);
    ip.push(
      `neigh replace ${end} lladdr ${macOf(end)} dev ${vxlan} nud permanent`,
      `route replace ${subnet} via ${end} dev ${vxlan} onlink src ${source}`,
    );
  }
  return { ip, bridge };
}
