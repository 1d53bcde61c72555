/** The caps of the HTTP API, server and client. Each has a test that exceeds it. */

/** Largest request body but that of exec. A workload spec with all its limits used up is smaller. */
export const BODY_BYTES_MAX = 1 << 20;
/** Largest decoded stdin of one exec. */
export const EXEC_STDIN_BYTES_MAX = 4 << 20;
/** The body around it: base64 takes 4 bytes for 3; argv and JSON get one more MiB. */
export const EXEC_BODY_BYTES_MAX = Math.ceil(EXEC_STDIN_BYTES_MAX / 3) * 4 + (1 << 20);
/** Output of an exec that its client has not read yet; beyond it the command is killed. */
export const EXEC_UNREAD_BYTES_MAX = 8 << 20;
/** Output of an exec in one line of the stream. */
export const EXEC_CHUNK_BYTES_MAX = 64 << 10;
/** Streams (logs, watch, exec) open at one time. */
export const STREAMS_MAX = 128;
/** A client that reads nothing for so long loses its stream. */
export const STREAM_STALL_MS_MAX = 30_000;
/** Connections open at one time. */
export const CONNECTIONS_MAX = 512;
/** A request must be whole by then. */
export const REQUEST_MS_MAX = 30_000;
/** How long a join token is good, and how long a host is a member that joins with it. */
export const TOKEN_TTL_MS_RANGE = { minimum: 1000, maximum: 30 * 86_400_000 } as const;
export const NODE_TTL_MS_RANGE = { minimum: 10_000, maximum: 3650 * 86_400_000 } as const;
/** Hosts that may join with one token: no more than its revocation can name, for all others that it let in are void then. */
export const TOKEN_USES_RANGE = { minimum: 1, maximum: 1024 } as const;
/** Longest path parameter: a namespace, a name, a node id. */
export const PARAM_LENGTH_MAX = 128;
/** Longest line that the client takes from a stream, and largest body that it takes. */
export const RESPONSE_BYTES_MAX = 32 << 20;
/** Grants, or tokens and the hosts that joined with them, of one answer. */
export const GRANTS_LISTED_MAX = 32_000;
/** More than any of them takes. */
const GRANT_BYTES_MAX = 1024;

if (GRANTS_LISTED_MAX * GRANT_BYTES_MAX > RESPONSE_BYTES_MAX)
  throw new RangeError('a client must be able to take a list of grants');
if (EXEC_CHUNK_BYTES_MAX * 2 > EXEC_UNREAD_BYTES_MAX)
  throw new RangeError('an exec must be able to send a chunk');
if (EXEC_UNREAD_BYTES_MAX * 2 > RESPONSE_BYTES_MAX)
  throw new RangeError('a client must be able to take a stream');
