/**
 * Errors on the wire: RFC 9457 problem details with the project's stable codes, both ways.
 * An unexpected error is logged with its stack and sent without it.
 */
import { ERRORS, type ErrorCode, isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import type { Log } from '../log.ts';
import type { Problem } from './schemas.ts';

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

const DETAIL_LENGTH_MAX = 4096;

/** Errors that the HTTP server finds itself, by its own codes. */
const SERVER_ERRORS: Readonly<Record<string, [ErrorCode, string]>> = {
  FST_ERR_MAX_PARAM_LENGTH: ['E_TOO_LARGE', 'a part of the path is over the limit'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['E_TOO_LARGE', 'the request body is over the limit'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['E_BAD_INPUT', 'the request body must be application/json'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['E_BAD_INPUT', 'the request body is empty; JSON was expected'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['E_BAD_INPUT', 'the request body is not JSON'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['E_BAD_INPUT', 'the request body is not as long as it says'],
};

/** @returns the error that a client is to see for whatever was thrown. */
function expected(error: unknown, log: Log): ShoalError {
  if (isShoalError(error)) return error;
  const { code, statusCode, name } = (error ?? {}) as {
    code?: unknown;
    statusCode?: unknown;
    name?: unknown;
  };
  const known = typeof code === 'string' ? SERVER_ERRORS[code] : undefined;
  if (known) return new ShoalError(known[0], known[1]);
  if (statusCode === 400) return new ShoalError('E_BAD_INPUT', 'the request cannot be read');
  if (name === 'AbortError') return new ShoalError('E_CANCELLED', 'the request was given up');
  log('warn', 'a request failed unexpectedly', {
    error: error instanceof Error ? (error.stack ?? error.message) : String(error),
  });
  return new ShoalError('E_INTERNAL', 'the daemon failed unexpectedly');
}

export function toProblem(thrown: unknown, log: Log): Problem {
  const error = expected(thrown, log);
  return {
    type: `urn:shoal:error:${error.code}`,
    title: error.code.slice(2).toLowerCase().replaceAll('_', ' '),
    status: error.http,
    detail: error.message.slice(0, DETAIL_LENGTH_MAX),
    code: error.code,
    next: error.next,
    ...(error.detail ? { particulars: error.detail } : {}),
  };
}

/** The other way, in the client. A code of a newer daemon becomes E_INTERNAL with its text kept. */
export function fromProblem(body: unknown): ShoalError {
  const { code, detail, particulars } = (body ?? {}) as {
    code?: unknown;
    detail?: unknown;
    particulars?: unknown;
  };
  const text = typeof detail === 'string' ? detail : 'the daemon answered with an error that cannot be read';
  const options =
    typeof particulars === 'object' && particulars !== null
      ? { detail: particulars as Record<string, unknown> }
      : {};
  if (typeof code === 'string' && Object.hasOwn(ERRORS, code))
    return new ShoalError(code as ErrorCode, text, options);
  return new ShoalError('E_INTERNAL', typeof code === 'string' ? `${text} (${code})` : text, options);
}
