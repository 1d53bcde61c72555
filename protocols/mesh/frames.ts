/**
 * Frames on a mesh stream: a length of four bytes, big-endian, then that many bytes; and names inside of frames.
 * A length over the limit is refused as soon as it is read, before anything is kept for it.
 * Not here: what the frames mean (exchange.ts, message-channel.ts, mesh-stream.ts).
 */
import { ShoalError } from '../base/errors.ts';

export const FRAME_HEADER_BYTES = 4;
/** A channel's or protocol's name in UTF-8: its length travels in one byte. */
export const NAME_BYTES_MAX = 255;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** @returns header and `body` in one array. */
export function encodeFrame(body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + body.byteLength);
  new DataView(frame.buffer).setUint32(0, body.byteLength);
  frame.set(body, FRAME_HEADER_BYTES);
  return frame;
}

/** Chunks of one thing that are kept as they came, here and below: each costs many times what the smallest holds. */
export const CHUNKS_MAX = 256;

/** Cuts a stream of bytes into frames. It never holds more than one frame and the chunk that came last. */
export class FrameReader {
  readonly #body_bytes_max: number;
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(body_bytes_max: number) {
    this.#body_bytes_max = body_bytes_max;
  }

  push(chunk: Uint8Array): void {
    if (chunk.byteLength === 0) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    if (this.#chunks.length > CHUNKS_MAX) this.#chunks = [this.#gather(this.#bytes)];
  }

  /**
   * @returns the body of the next frame, a copy, or undefined when it is not whole yet.
   * @throws ShoalError E_TOO_LARGE: the stream cannot be read any further.
   */
  next(): Uint8Array | undefined {
    if (this.#bytes < FRAME_HEADER_BYTES) return undefined;
    const header = this.#peek(FRAME_HEADER_BYTES);
    const length = new DataView(header.buffer, header.byteOffset, header.byteLength).getUint32(0);
    if (length > this.#body_bytes_max) {
      throw new ShoalError(
        'E_TOO_LARGE',
        `a frame of ${length} bytes is over the limit of ${this.#body_bytes_max}`,
      );
    }
    if (this.#bytes < FRAME_HEADER_BYTES + length) return undefined;
    const frame = this.#peek(FRAME_HEADER_BYTES + length);
    this.#skip(frame.byteLength);
    return frame.slice(FRAME_HEADER_BYTES);
  }

  /** Hands out what follows the frames read so far, as it came, and forgets it. */
  rest(): Uint8Array[] {
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#bytes = 0;
    return chunks;
  }

  /** The first `count` bytes, which must be there, as one array. */
  #peek(count: number): Uint8Array {
    const first = this.#chunks[0]!;
    if (first.byteLength >= count) return first.subarray(0, count);
    if (count <= FRAME_HEADER_BYTES) return this.#gather(count);
    const all = this.#gather(this.#bytes);
    this.#chunks = [all];
    return all.subarray(0, count);
  }

  #gather(count: number): Uint8Array {
    const out = new Uint8Array(count);
    let at = 0;
    for (const chunk of this.#chunks) {
      if (at === count) break;
      const part = chunk.subarray(0, count - at);
      out.set(part, at);
      at += part.byteLength;
    }
    return out;
  }

  #skip(count: number): void {
    let left = count;
    while (left > 0) {
      const first = this.#chunks[0]!;
      if (first.byteLength > left) {
        this.#chunks[0] = first.subarray(left);
        break;
      }
      left -= first.byteLength;
      this.#chunks.shift();
    }
    this.#bytes -= count;
  }
}

/** @returns one byte of length, `name`, then `body`. @throws RangeError when the name is empty or too long. */
export function encodeNamed(name: string, body: Uint8Array): Uint8Array {
  const text = new TextEncoder().encode(name);
  if (text.byteLength === 0 || text.byteLength > NAME_BYTES_MAX) {
    throw new RangeError(`a name has 1 to ${NAME_BYTES_MAX} bytes`);
  }
  const out = new Uint8Array(1 + text.byteLength + body.byteLength);
  out[0] = text.byteLength;
  out.set(text, 1);
  out.set(body, 1 + text.byteLength);
  return out;
}

/** @returns the name and a view of the rest. @throws ShoalError E_MALFORMED */
export function decodeNamed(bytes: Uint8Array): { name: string; body: Uint8Array } {
  const length = bytes[0] ?? 0;
  if (length === 0 || bytes.byteLength < 1 + length) {
    throw new ShoalError('E_MALFORMED', 'a mesh message has no name');
  }
  try {
    return { name: utf8.decode(bytes.subarray(1, 1 + length)), body: bytes.subarray(1 + length) };
  } catch (cause) {
    throw new ShoalError('E_MALFORMED', 'the name of a mesh message is not UTF-8', { cause });
  }
}

/** @throws ShoalError E_TOO_LARGE when `bytes` has more than `bytes_max`. */
export function checkSize(what: string, bytes: Uint8Array, bytes_max: number): void {
  if (bytes.byteLength > bytes_max) {
    throw new ShoalError(
      'E_TOO_LARGE',
      `${what} of ${bytes.byteLength} bytes is over the limit of ${bytes_max}`,
    );
  }
}
