/**
 * Meters what a peer opens and sends on a connection, below all protocols: identify, ping and the DHT are answered
 * deep inside libp2p, where nobody asks whether there is too much of it. What is metered elsewhere, message by message
 * (datagrams, gossip) or by backpressure (byte streams), counts here as an open stream only. Frames of the muxer count
 * besides, all of them: each costs something, also when it is for no stream, or one byte of a message that never ends.
 */
import type { Connection, Stream } from '@libp2p/interface';
import { Uint8ArrayList } from 'uint8arraylist';
import { CHUNKS_MAX } from './frames.ts';
import type { MeshGuard } from './mesh.ts';

/** libp2p 3.3.11, pinned: a connection's muxer tells of new streams, and a stream takes all its data in `onData`. */
interface Inside {
  readonly muxer?: {
    onData(bytes: unknown): void;
    handleFrame(frame: unknown): void;
    addEventListener(type: 'stream', listener: (event: CustomEvent<Metered>) => void): void;
  };
}
/** Of yamux, by name: what breaks its protocol. All of them end the connection. */
const PROTOCOL_ERRORS = ['InvalidFrameError', 'ReceiveWindowExceededError'];
/** So many are asked for at a time. */
const FRAMES_AT_ONCE = 64;
type Metered = Stream & { readBuffer: Uint8ArrayList; onData(data: { readonly byteLength: number }): void };

/**
 * @param messagesIn how many messages to count for so many bytes of a protocol: 0 when it is metered elsewhere. Of '',
 * which is a stream that is being negotiated, there must be some.
 */
export function meterStreams(
  connection: Connection,
  guard: MeshGuard,
  messagesIn: (protocol: string, bytes: number) => number,
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
  const onFrame = muxer.handleFrame.bind(muxer);
  let frames_count = 0;
  muxer.handleFrame = (frame) => {
    frames_count += 1;
    if (frames_count === FRAMES_AT_ONCE) {
      frames_count = 0;
      // What is thrown here ends the connection.
      if (!guard.admit(peer, 'frame', 0, FRAMES_AT_ONCE)) throw new Error('too many frames');
    }
    onFrame(frame);
  };
  muxer.addEventListener('stream', ({ detail: stream }) => {
    if (!guard.admit(peer, 'stream', 0)) {
      stream.abort(new Error('too many streams'));
      return;
    }
    const onData = stream.onData.bind(stream);
    let waiting_count = 0;
    stream.onData = (data) => {
      const count = messagesIn(stream.protocol, data.byteLength);
      if (count > 0 && !guard.admit(peer, 'message', data.byteLength, count)) {
        stream.abort(new Error('too much data'));
        return;
      }
      onData(data);
      waiting_count = stream.readBufferLength > 0 ? waiting_count + 1 : 0;
      if (waiting_count < CHUNKS_MAX) return;
      stream.readBuffer = new Uint8ArrayList(stream.readBuffer.subarray());
      waiting_count = 0;
    };
  });
}
