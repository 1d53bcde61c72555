/**
 * Frames on a mesh stream: a length of four bytes, big-endian, or one that gossipsub writes, then that many bytes; and
 * names inside of frames.
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

/** Chunks of one thing that are kept as they came, below this: each costs many times what the smallest holds. */
export const CHUNKS_MAX = 256;
/** Smaller ones are joined here, each time to twice the size: few are left, and each byte is copied a few times only. */
const JOINED_BYTES_MIN = 4096;

/** What is before the body of a frame. */
export interface FrameHeader {
  /** At most. */
  readonly bytes_max: number;
  /**
   * @param bytes of the frame, as many as `bytes_max` where they are there.
   * @returns undefined when it is not whole yet. @throws ShoalError E_MALFORMED
   */
  read(bytes: Uint8Array): { readonly bytes: number; readonly body_bytes: number } | undefined;
}

const FIXED_HEADER: FrameHeader = {
  bytes_max: FRAME_HEADER_BYTES,
  read: (bytes) =>
    bytes.byteLength < FRAME_HEADER_BYTES
      ? undefined
      : {
          bytes: FRAME_HEADER_BYTES,
          body_bytes: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0),
        },
};

/** Seven bits a byte, the least first. Source: the libp2p pubsub specification, and the multiformats unsigned-varint. */
export const VARINT_HEADER: FrameHeader = {
  bytes_max: 5,
  read(bytes) {
    let body_bytes = 0;
    for (const [at, byte] of bytes.entries()) {
      body_bytes += (byte & 0x7f) * 2 ** (7 * at);
      if (byte < 0x80) return { bytes: at + 1, body_bytes };
    }
    if (bytes.byteLength < this.bytes_max) return undefined;
    throw new ShoalError('E_MALFORMED', 'a frame begins with what is no length');
  },
};

/** Cuts a stream of bytes into frames. It never holds more than one frame and the chunk that came last. */
export class FrameReader {
  readonly #body_bytes_max: number;
  readonly #header: FrameHeader;
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(body_bytes_max: number, header = FIXED_HEADER) {
    this.#body_bytes_max = body_bytes_max;
    this.#header = header;
  }

  push(chunk: Uint8Array): void {
    if (chunk.byteLength === 0) return;
    const chunks = this.#chunks;
    let last = chunk;
    for (;;) {
      const before = chunks.at(-1);
      if (before === undefined || before.byteLength > last.byteLength || last.byteLength >= JOINED_BYTES_MIN)
        break;
      chunks.pop();
      last = joined([before, last], before.byteLength + last.byteLength);
    }
    chunks.push(last);
    this.#bytes += chunk.byteLength;
  }

  /**
   * @returns the body of the next frame, a copy, or undefined when it is not whole yet.
   * @throws ShoalError E_TOO_LARGE, E_MALFORMED: the stream cannot be read any further.
   */
  next(): Uint8Array | undefined {
    if (this.#bytes === 0) return undefined;
    const header = this.#header.read(this.#peek(Math.min(this.#bytes, this.#header.bytes_max)));
    if (header === undefined) return undefined;
    const { bytes, body_bytes } = header;
    if (body_bytes > this.#body_bytes_max) {
      throw new ShoalError(
        'E_TOO_LARGE',
        `a frame of ${body_bytes} bytes is over the limit of ${this.#body_bytes_max}`,
      );
    }
    if (this.#bytes < bytes + body_bytes) return undefined;
    const frame = this.#peek(bytes + body_bytes);
    this.#skip(frame.byteLength);
    return frame.slice(bytes);
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
    if (count <= this.#header.bytes_max) return joined(this.#chunks, count);
    const all = joined(this.#chunks, this.#bytes);
    this.#chunks = [all];
    return all.subarray(0, count);
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

/** The first `count` bytes of these, which must be there. */
function joined(chunks: readonly Uint8Array[], count: number): Uint8Array {
  const out = new Uint8Array(count);
  let at = 0;
  for (const chunk of chunks) {
    if (at === count) break;
    const part = chunk.subarray(0, count - at);
    out.set(part, at);
    at += part.byteLength;
  }
  return out;
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
