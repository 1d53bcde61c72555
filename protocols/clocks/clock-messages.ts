/**
 * The question for a peer's time and its answer, over the mesh's requests: msgpack arrays with a version first.
 *
 *   question  [1]
 *   answer    [1, milliseconds since the Unix epoch]
 *
 * Further fields are passed over. Who does not know the question answers E_NOT_FOUND, and is not compared with. Pure.
 */
import { decode, encode } from '../base/codec.ts';
import { ShoalError } from '../base/errors.ts';

export const CLOCK_PROTOCOL = '/shoal/clock/1';
const CLOCK_VERSION = 1;
const CLOCK_BYTES_MAX = 64;

export function encodeClockQuestion(): Uint8Array {
  return encode([CLOCK_VERSION]);
}

export function encodeClockAnswer(now: number): Uint8Array {
  return encode([CLOCK_VERSION, now]);
}

/** @returns milliseconds. @throws E_TOO_LARGE, E_MALFORMED */
export function decodeClockAnswer(bytes: Uint8Array): number {
  const fields = decode(bytes, CLOCK_BYTES_MAX);
  const [version, now] = Array.isArray(fields) ? (fields as unknown[]) : [];
  if (version === CLOCK_VERSION && Number.isSafeInteger(now) && (now as number) >= 0) return now as number;
  throw new ShoalError('E_MALFORMED', 'the answer of a clock has an unknown shape');
}
