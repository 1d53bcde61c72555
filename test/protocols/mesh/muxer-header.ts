/** A header of yamux, for what no honest muxer sends. Source: the yamux specification, "Framing". */
export const DATA = 0;
export const WINDOW_UPDATE = 1;
export const PING = 2;
export const SYN = 1;

export function muxerHeader(type: number, flags: number, stream: number, length: number): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt8(type, 1);
  header.writeUInt16BE(flags, 2);
  header.writeUInt32BE(stream, 4);
  header.writeUInt32BE(length, 8);
  return header;
}
