/** DNS over TCP framing: a length of two bytes before each message (RFC 1035 section 4.2.2, RFC 7766). */

export function frame(message: Uint8Array): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.byteLength);
  return Buffer.concat([length, message]);
}

/** Cuts a byte stream into messages. It holds at most one unfinished message of 65,535 bytes. */
export class FrameReader {
  #held: Buffer[] = [];
  #held_bytes = 0;

  /** Bytes held of an unfinished message. */
  get held_bytes(): number {
    return this.#held_bytes;
  }

  /** The length that the unfinished message announces, or null before its two bytes are there. */
  get announced_bytes(): number | null {
    if (this.#held_bytes < 2) return null;
    this.#held = [Buffer.concat(this.#held)];
    return this.#held[0]!.readUInt16BE(0);
  }

  push(chunk: Buffer): Buffer[] {
    this.#held.push(chunk);
    this.#held_bytes += chunk.byteLength;
    const announced = this.announced_bytes;
    if (announced === null || this.#held_bytes < announced + 2) return [];
    const bytes = Buffer.concat(this.#held);
    const messages: Buffer[] = [];
    let at = 0;
    while (bytes.byteLength - at >= 2) {
      const length = bytes.readUInt16BE(at);
      if (bytes.byteLength - at - 2 < length) break;
      messages.push(bytes.subarray(at + 2, at + 2 + length));
      at += 2 + length;
    }
    this.#held = [bytes.subarray(at)];
    this.#held_bytes = bytes.byteLength - at;
    return messages;
  }
}
