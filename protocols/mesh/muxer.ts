/**
 * yamux as the mesh uses it, with three habits of @chainsafe/libp2p-yamux 8.0.1 mended:
 * - It writes the parts of a frame one by one, and each becomes a TLS record and a TCP segment of its own: small
 *   frames are put together here.
 * - It sends a window update after every frame that it reads (window-updates.ts).
 * - A new stream announces itself from a microtask, and when the connection closes before that runs, the write throws
 *   where nobody can catch it and ends the process. Writes to a connection that is closed are dropped here; its
 *   streams learn of the close anyway.
 */
import { type YamuxMuxerInit, yamux } from '@chainsafe/libp2p-yamux';
import type { StreamMuxerFactory } from '@libp2p/interface';
import { WindowUpdates } from './window-updates.ts';

/**
 * Membership probes a few peers only, so most connections are idle for hours; a NAT or a firewall in between forgets
 * them after some minutes. One side's ping is enough for both, and the sockets' own timeout (libp2p-node.ts) is twice
 * as long, so that a host that has vanished is let go, with all that was queued for it, even when nobody watches it.
 */
export const KEEP_ALIVE_MS = 60_000;

/** What fits into one TLS record (RFC 8446, section 5.1); larger frames are worth more than their copy saves. */
const JOINED_BYTES_MAX = 16 << 10;

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
        const updates = new WindowUpdates();
        connection.send = (data) => {
          const frame = data.byteLength <= JOINED_BYTES_MAX ? updates.pass(data.subarray()) : data;
          if (frame === undefined) return true;
          try {
            return send(frame);
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
