/**
 * What comes back for a request: one byte of status, then the answer, or the code and message of an error.
 * An error's cause, stack and detail stay on the node where it happened.
 */
import { decode, encode } from '../base/codec.ts';
import { ERRORS, type ErrorCode, isShoalError, ShoalError } from '../base/errors.ts';

const OK = 0;
const FAILED = 1;
/** A failed answer with everything around its message; messages are cut to fit. */
const ERROR_BYTES_MAX = 4096;
const ERROR_MESSAGE_LENGTH_MAX = 1000;

export function encodeAnswer(body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(1 + body.byteLength);
  bytes[0] = OK;
  bytes.set(body, 1);
  return bytes;
}

/** What is not a ShoalError is a defect of ours: the other side learns no more than that. */
export function encodeFailure(error: unknown): Uint8Array {
  const code: ErrorCode = isShoalError(error) ? error.code : 'E_INTERNAL';
  const message = isShoalError(error) ? error.message : 'the other side failed to answer';
  const body = encode({ code, message: message.slice(0, ERROR_MESSAGE_LENGTH_MAX) });
  const bytes = new Uint8Array(1 + body.byteLength);
  bytes[0] = FAILED;
  bytes.set(body, 1);
  return bytes;
}

/** @returns the answer. @throws the ShoalError that the other side told, or E_MALFORMED. */
export function decodeAnswer(bytes: Uint8Array): Uint8Array {
  if (bytes[0] === OK) return bytes.subarray(1);
  if (bytes[0] !== FAILED) throw new ShoalError('E_MALFORMED', 'the answer has no known status');
  const told = decode(bytes.subarray(1), ERROR_BYTES_MAX) as { code?: unknown; message?: unknown } | null;
  const { code, message } = told ?? {};
  if (typeof code !== 'string' || typeof message !== 'string') {
    throw new ShoalError('E_MALFORMED', 'the answer is an error without code or message');
  }
  const known = Object.hasOwn(ERRORS, code);
  throw new ShoalError(
    known ? (code as ErrorCode) : 'E_INTERNAL',
    known ? message.slice(0, ERROR_MESSAGE_LENGTH_MAX) : 'the other side answered with an unknown error',
  );
}
