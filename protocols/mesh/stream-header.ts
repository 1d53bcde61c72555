/** Reads what the dialler of a byte stream says first: one frame with the protocol's name and its header. */
import type { Stream, StreamMessageEvent } from '@libp2p/interface';
import { decodeNamed, FrameReader, NAME_BYTES_MAX } from './frames.ts';

/**
 * Calls one of the two once, or neither when the stream closes first.
 * @param onHeader also gets the bytes that came along behind the header; it must listen on the stream before it
 * returns, or what follows is lost. A throw of it goes to `onFailure`.
 * @param timeout_ms after which the stream is aborted.
 */
export function readHeader(
  stream: Stream,
  header_bytes_max: number,
  timeout_ms: number,
  onHeader: (name: string, header: Uint8Array, early: readonly Uint8Array[]) => void,
  onFailure: (error: unknown) => void,
): void {
  const reader = new FrameReader(1 + NAME_BYTES_MAX + header_bytes_max);
  const timer = setTimeout(() => stream.abort(new Error('no header came')), timeout_ms);
  timer.unref();
  const stop = (): void => {
    clearTimeout(timer);
    stream.removeEventListener('message', onData);
    stream.removeEventListener('close', stop);
  };
  const onData = (event: StreamMessageEvent): void => {
    try {
      reader.push(event.data.subarray());
      const frame = reader.next();
      if (frame === undefined) return;
      stop();
      const { name, body } = decodeNamed(frame);
      onHeader(name, body, reader.rest());
    } catch (error) {
      stop();
      onFailure(error);
    }
  };
  stream.addEventListener('close', stop);
  stream.addEventListener('message', onData);
}
