/**
 * Withholds the window updates of yamux until they are worth a packet. @chainsafe/libp2p-yamux 8.0.1 sends one after
 * every frame that it reads: of an idle cluster's traffic that is more than the datagrams themselves. What is withheld
 * is always less than a quarter of the smallest window, so no sender ever waits for it.
 * Source: the yamux specification, "Framing": version, type, flags (2), stream (4), length (4), big-endian.
 */

const HEADER_BYTES = 12;
const TYPE_OFFSET = 1;
const FLAGS_OFFSET = 2;
const STREAM_OFFSET = 4;
const LENGTH_OFFSET = 8;
const WINDOW_UPDATE = 1;
/** A quarter of the window that every stream begins with. */
export const WITHHELD_BYTES_MAX = 64 << 10;
/** Streams with something withheld; the oldest gets its update when there is one more. */
export const WITHHELD_STREAMS_MAX = 1024;

export class WindowUpdates {
  /** Bytes by stream. */
  readonly #withheld = new Map<number, number>();

  /** @param frame as yamux sends it. @returns what is to be sent for it, or undefined for nothing now. */
  pass(frame: Uint8Array): Uint8Array | undefined {
    if (frame.byteLength !== HEADER_BYTES || frame[TYPE_OFFSET] !== WINDOW_UPDATE) return frame;
    const view = new DataView(frame.buffer, frame.byteOffset, HEADER_BYTES);
    // Flags open and close a stream: they are for now.
    if (view.getUint16(FLAGS_OFFSET) !== 0) return frame;
    const stream = view.getUint32(STREAM_OFFSET);
    const bytes = (this.#withheld.get(stream) ?? 0) + view.getUint32(LENGTH_OFFSET);
    this.#withheld.delete(stream);
    if (bytes >= WITHHELD_BYTES_MAX) return windowUpdate(stream, bytes);
    this.#withheld.set(stream, bytes);
    return this.#withheld.size > WITHHELD_STREAMS_MAX ? this.#oldest() : undefined;
  }

  #oldest(): Uint8Array | undefined {
    for (const [stream, bytes] of this.#withheld) {
      this.#withheld.delete(stream);
      return windowUpdate(stream, bytes);
    }
    return undefined;
  }
}

function windowUpdate(stream: number, bytes: number): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES);
  const view = new DataView(frame.buffer);
  view.setUint8(TYPE_OFFSET, WINDOW_UPDATE);
  view.setUint32(STREAM_OFFSET, stream);
  view.setUint32(LENGTH_OFFSET, bytes);
  return frame;
}
