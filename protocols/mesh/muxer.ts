/**
 * yamux as the mesh uses it, with four habits of @chainsafe/libp2p-yamux 8.0.1 mended:
 * - It keeps what arrives of a frame until all of it is there, however long the frame says that it is, and asks for the
 *   window only then. A frame that no window could hold ends the connection here once its header has come.
 * - It writes the parts of a frame one by one, and each becomes a TLS record and a TCP segment of its own: small
 *   frames are put together here.
 * - It sends a window update after every frame that it reads (window-updates.ts).
 * - A new stream announces itself from a microtask, and when the connection closes before that runs, the write throws
 *   where nobody can catch it and ends the process. Writes to a connection that is closed are dropped here; its
 *   streams learn of the close anyway.
 */
import { type YamuxMuxerInit, yamux } from '@chainsafe/libp2p-yamux';
import type { StreamMuxer, StreamMuxerFactory } from '@libp2p/interface';
import { Uint8ArrayList } from 'uint8arraylist';
import { CHUNKS_MAX } from './frames.ts';
import { capProposals, settle } from './negotiation.ts';
import { WindowUpdates } from './window-updates.ts';

/**
 * Membership probes a few peers only, so most connections are idle for hours; a NAT or a firewall in between forgets
 * them after some minutes. One side's ping is enough for both, and the sockets' own timeout (libp2p-node.ts) is twice
 * as long, so that a host that has vanished is let go, with all that was queued for it, even when nobody watches it.
 */
export const KEEP_ALIVE_MS = 60_000;

/** What fits into one TLS record (RFC 8446, section 5.1); larger frames are worth more than their copy saves. */
const JOINED_BYTES_MAX = 16 << 10;

/** Source: the yamux specification, "Framing". */
const HEADER_BYTES = 12;
const TYPE_OFFSET = 1;
const LENGTH_OFFSET = 8;
const DATA = 0;

interface Init extends Omit<YamuxMuxerInit, 'enableKeepAlive' | 'keepAliveInterval' | 'streamOptions'> {
  readonly streamOptions: YamuxMuxerInit['streamOptions'] & { readonly maxStreamWindowSize: number };
}

export function meshMuxer(init: Init): () => StreamMuxerFactory {
  const dialled = yamux({ ...init, enableKeepAlive: true, keepAliveInterval: KEEP_ALIVE_MS });
  const accepted = yamux({ ...init, enableKeepAlive: false });
  return () => {
    const [ours, theirs] = [dialled(), accepted()];
    return {
      protocol: ours.protocol,
      createStreamMuxer: (connection) => {
        settle(connection);
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
        const factory = connection.direction === 'outbound' ? ours : theirs;
        const muxer = factory.createStreamMuxer(connection);
        muxer.addEventListener('stream', ({ detail: stream }) =>
          capProposals(stream, () => stream.protocol !== ''),
        );
        return bounded(muxer, init.streamOptions.maxStreamWindowSize);
      },
    };
  };
}

/** What was read of a frame that is not whole yet. Of the pinned version of yamux. */
interface Decoder {
  buffer: Uint8ArrayList;
  readFrame(): unknown;
}

/** Goes the way of the errors that yamux throws itself: the connection ends. */
class FrameTooLongError extends Error {
  override readonly name = 'InvalidFrameError';
  /** As the specification names it: a protocol error. */
  readonly reason = 1;
}

function bounded(muxer: StreamMuxer, data_bytes_max: number): StreamMuxer {
  const { decoder } = muxer as unknown as { decoder: Decoder };
  const readFrame = decoder.readFrame.bind(decoder);
  let chunks_count = 0;
  decoder.readFrame = () => {
    const { buffer } = decoder;
    if (buffer.byteLength >= HEADER_BYTES && buffer.get(TYPE_OFFSET) === DATA) {
      const length = buffer.getUint32(LENGTH_OFFSET);
      if (length > data_bytes_max) throw new FrameTooLongError(`a frame of ${length} bytes fits no window`);
    }
    const frame = readFrame();
    chunks_count = frame === undefined ? chunks_count + 1 : 0;
    if (chunks_count > CHUNKS_MAX) {
      decoder.buffer = new Uint8ArrayList(buffer.subarray());
      chunks_count = 0;
    }
    return frame;
  };
  return muxer;
}
