/**
 * yamux as the mesh uses it, with one defect of @chainsafe/libp2p-yamux 8.0.1 kept from killing the process: a new
 * stream announces itself from a microtask, and when the connection closes before that runs, the write throws where
 * nobody can catch it. Writes to a connection that is closed are dropped here; its streams learn of the close anyway.
 */
import { type YamuxMuxerInit, yamux } from '@chainsafe/libp2p-yamux';
import type { StreamMuxerFactory } from '@libp2p/interface';

/**
 * Membership probes a few peers only, so most connections are idle for hours; a NAT or a firewall in between forgets
 * them after some minutes. One side's ping is enough for both, and the sockets' own timeout (libp2p-node.ts) is twice
 * as long, so that a host that has vanished is let go, with all that was queued for it, even when nobody watches it.
 */
export const KEEP_ALIVE_MS = 60_000;

export function meshMuxer(
  init: Omit<YamuxMuxerInit, 'enableKeepAlive' | 'keepAliveInterval'>,
): () => StreamMuxerFactory {
  const dialled = yamux({ ...init, enableKeepAlive: true, keepAliveInterval: KEEP_ALIVE_MS });
  const accepted = yamux({ ...init, enableKeepAlive: false });
  return () => {
    const [ours, theirs] = [dialled(), accepted()];
    return {
      protocol: ours.protocol,
      createStreamMuxer: (connection) => {
        const send = connection.send.bind(connection);
        connection.send = (data) => {
          try {
            return send(data);
          } catch (error) {
            if (connection.status === 'open') throw error;
            return false;
          }
        };
        return (connection.direction === 'outbound' ? ours : theirs).createStreamMuxer(connection);
      },
    };
  };
}
