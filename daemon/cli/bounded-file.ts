/** Reads files that users name. One may have no end, such as a device: no more is read than it may hold, and a bit. */
import { createReadStream } from 'node:fs';

/** @returns all of a text, or its beginning, which is longer than `bytes_max`. @throws Error when it cannot be read. */
export async function readTextUpTo(file: string, bytes_max: number): Promise<string> {
  const chunks: Buffer[] = [];
  // `end` is the last byte that is read, counted from 0.
  for await (const chunk of createReadStream(file, { end: bytes_max }) as AsyncIterable<Buffer>)
    chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}
