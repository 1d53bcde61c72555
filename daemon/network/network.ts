/**
 * The container network of one host: subnet, addresses, links to other hosts.
 * Implementations: `vxlan-network.ts` (bridge, veth, VXLAN; Linux, root) and `host-network.ts` (no isolation:
 * instances share the host's address). Both pass `test/conformance/network.ts`.
 */
import type { NodeId } from '../../protocols/base/ids.ts';

export interface Attachment {
  /** Path of the network namespace for the runtime, or null for the host's own network. */
  readonly netns: string | null;
  /** The address at which clients on any host reach the instance. */
  readonly address: string;
  /** What the container's /etc/resolv.conf names, or null when the host's is right as it is. */
  readonly resolver: string | null;
}

/** Another host, from its member record. */
export interface NetworkPeer {
  readonly id: NodeId;
  /** Address of the host itself: the VXLAN endpoint. */
  readonly host: string;
  /** Its /24, or null when its containers use the host's network. */
  readonly subnet: string | null;
}

export interface Network extends AsyncDisposable {
  readonly kind: 'vxlan' | 'host';
  /** Address that the DNS server must listen on for containers, or null. Known after `start`. */
  readonly gateway: string | null;
  /** @param subnet this host's /24; ignored by `host`. Idempotent: finds what a killed daemon left. */
  start(subnet: string | null): Promise<void>;
  /** Gives `container` an address; the same one again when it already has one (after a restart of the daemon). */
  attach(container: string): Promise<Attachment>;
  /** Idempotent. */
  detach(container: string): Promise<void>;
  /** Takes away what belongs to no container of `keep`: leftovers of a crash. */
  sweep(keep: ReadonlySet<string>): Promise<void>;
  /** Makes routes and forwarding entries equal to this list. Idempotent, incremental. */
  setPeers(peers: readonly NetworkPeer[]): Promise<void>;
  /**
   * The host is reached at another address from now on; the peers must be set again.
   * @returns whether instances have other addresses than before: each must be attached, and started, again.
   */
  setHost(host: string): Promise<boolean>;
  /** Takes everything away, links and namespaces included: for `shoal leave` and tests, not for a restart. */
  teardown(): Promise<void>;
}
