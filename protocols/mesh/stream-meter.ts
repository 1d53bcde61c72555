/**
 * Meters what a peer opens and sends on a connection, below all protocols: identify, ping and the DHT are answered
 * deep inside libp2p, where nobody asks whether there is too much of it. What is metered elsewhere, frame by frame
 * (datagrams, gossip) or by backpressure (byte streams), counts here as an open stream only.
 */
import type { Connection, Stream } from '@libp2p/interface';
import type { MeshGuard } from './mesh.ts';

/** libp2p 3.3.11, pinned: a connection's muxer tells of new streams, and a stream takes all its data in `onData`. */
interface Inside {
  readonly muxer?: {
    onData(bytes: unknown): void;
    addEventListener(type: 'stream', listener: (event: CustomEvent<Metered>) => void): void;
  };
}
/** Of yamux, by name: what breaks its protocol. All of them end the connection. */
const PROTOCOL_ERRORS = ['InvalidFrameError', 'ReceiveWindowExceededError'];
type Metered = Stream & { onData(data: { readonly byteLength: number }): void };

/** @param isMeteredElsewhere of a protocol; of '' it must be false, which is a stream that is being negotiated. */
export function meterStreams(
  connection: Connection,
  guard: MeshGuard,
  isMeteredElsewhere: (protocol: string) => boolean,
): void {
  const peer = connection.remotePeer.toString();
  const { muxer } = connection as unknown as Inside;
  if (muxer === undefined) return;
  const onBytes = muxer.onData.bind(muxer);
  muxer.onData = (bytes) => {
    try {
      onBytes(bytes);
    } catch (error) {
      if (PROTOCOL_ERRORS.includes((error as Error).name)) guard.offence(peer, 'malformed');
      throw error;
    }
  };
  muxer.addEventListener('stream', ({ detail: stream }) => {
    if (!guard.admit(peer, 'stream', 0)) {
      stream.abort(new Error('too many streams'));
      return;
    }
    const onData = stream.onData.bind(stream);
    stream.onData = (data) => {
      if (isMeteredElsewhere(stream.protocol) || guard.admit(peer, 'message', data.byteLength)) onData(data);
      else stream.abort(new Error('too much data'));
    };
  });
}
