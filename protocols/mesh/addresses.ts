/** Multiaddrs that came from other nodes, made fit to dial. */
import { CODE_P2P, type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import type { NodeId } from '../base/ids.ts';

/** @returns the address and the peer id at its end, or undefined when `text` is no multiaddr. */
export function parseAddress(text: string): { address: Multiaddr; peer: NodeId | undefined } | undefined {
  try {
    const address = multiaddr(text);
    return { address, peer: address.getComponents().findLast(({ code }) => code === CODE_P2P)?.value };
  } catch {
    return undefined;
  }
}

/** @returns the addresses that may be those of `peer`, each with its id at the end. One nobody can read is left out. */
export function addressesOf(peer: NodeId, addresses: readonly string[]): Multiaddr[] {
  return addresses.flatMap((text) => {
    const parsed = parseAddress(text);
    if (parsed === undefined) return [];
    if (parsed.peer === undefined) return [parsed.address.encapsulate(`/p2p/${peer}`)];
    return parsed.peer === peer ? [parsed.address] : [];
  });
}
