/**
 * mDNS, for members that have lost one another's addresses: heard by us alone, as libp2p would keep for ever whatever
 * anybody on the LAN says of whomever, and asked seldom. Every question is answered by every member on the LAN to all of them, so
 * asking at a fixed interval costs each the square of their number; here the cluster as a whole asks once in some
 * minutes. One answer is heard by a whole half of a cluster that had lost the other.
 */
import type { PeerDiscovery, PeerInfo, Startable } from '@libp2p/interface';
import { mdns } from '@libp2p/mdns';
import type { NodeId } from '../base/ids.ts';

/** A member without any connection asks this often. */
const ALONE_INTERVAL_MS = 10_000;
/** All connected members together ask this often. */
const TOGETHER_INTERVAL_MS = 600_000;
/** Of libp2p's own timer, which asks once at the start: longer than any process lives between two such. */
const OWN_INTERVAL_MS = 2 ** 31 - 1;

export interface LanDiscoveryHooks {
  readonly onDiscovered: (peer: NodeId, addresses: readonly string[]) => void;
  /** Members connected now. */
  readonly peers_count: () => number;
}

/** @libp2p/mdns 12, pinned: its socket is public, its question is not. */
interface Service extends PeerDiscovery, Startable {
  readonly mdns?: { query(packet: { questions: { name: string; type: 'PTR' }[] }): void };
}

export function lanDiscovery(
  cluster: string,
  hooks: LanDiscoveryHooks,
): (components: Parameters<ReturnType<typeof mdns>>[0]) => PeerDiscovery {
  return (components) => {
    const serviceTag = `_shoal-${cluster.slice(0, 8)}._udp.local`;
    const service = mdns({ serviceTag, interval: OWN_INTERVAL_MS })(components) as Service;
    service.addEventListener('peer', (event: CustomEvent<PeerInfo>) => {
      hooks.onDiscovered(
        event.detail.id.toString(),
        event.detail.multiaddrs.map((address) => address.toString()),
      );
    });
    // libp2p listens to each service that it is given.
    service.addEventListener = () => undefined;
    const ask = (): void => {
      if (Math.random() < chanceToAsk(hooks.peers_count()))
        service.mdns?.query({ questions: [{ name: serviceTag, type: 'PTR' }] });
    };
    let timer: NodeJS.Timeout | undefined;
    const start = service.start.bind(service);
    const stop = service.stop.bind(service);
    service.start = async () => {
      await start();
      timer = setInterval(ask, ALONE_INTERVAL_MS).unref();
    };
    service.stop = async () => {
      clearInterval(timer);
      await stop();
    };
    return service;
  };
}

/** Of asking in this interval. */
export function chanceToAsk(peers_count: number): number {
  return peers_count === 0 ? 1 : ALONE_INTERVAL_MS / TOGETHER_INTERVAL_MS / (peers_count + 1);
}
