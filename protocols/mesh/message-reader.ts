/** Reads the datagrams of one inbound stream: the other end of message-channel.ts. */
import type { Stream, StreamMessageEvent } from '@libp2p/interface';
import { decodeNamed, FrameReader, NAME_BYTES_MAX } from './frames.ts';

/**
 * Calls `onMessage` for each datagram, in order, synchronously. A malformed or oversized frame aborts the stream.
 * @param message_bytes_max of the body, without the channel's name.
 * @param admit asked for each datagram with its size; what it refuses is dropped.
 */
export function readMessages(
  stream: Stream,
  message_bytes_max: number,
  admit: (bytes: number) => boolean,
  onMessage: (channel: string, body: Uint8Array) => void,
  onFailure: (error: unknown) => void,
): void {
  const reader = new FrameReader(1 + NAME_BYTES_MAX + message_bytes_max);
  stream.addEventListener('message', (event: StreamMessageEvent) => {
    if (stream.status !== 'open') return;
    try {
      reader.push(event.data.subarray());
      for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
        if (!admit(frame.byteLength)) continue;
        const { name, body } = decodeNamed(frame);
        onMessage(name, body);
      }
    } catch (error) {
      onFailure(error);
      stream.abort(new Error('not a datagram'));
    }
  });
  // The other side ends its channel: so do we, or half of the stream would stay.
  stream.addEventListener('remoteCloseWrite', () => void stream.close().catch(() => undefined));
}
