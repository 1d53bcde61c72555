/**
 * `/v1/workloads/…/exec`: a command in a running instance. Input is whole in the request; output comes as lines.
 * A command is not slowed down by who reads here, so what is unread is bounded, and beyond the bound it is killed.
 */
import type { FastifyInstance } from 'fastify';
import { ShoalError } from '../../../protocols/base/errors.ts';
import type { Backend, WorkloadRef } from '../backend.ts';
import {
  EXEC_BODY_BYTES_MAX,
  EXEC_CHUNK_BYTES_MAX,
  EXEC_STDIN_BYTES_MAX,
  EXEC_UNREAD_BYTES_MAX,
} from '../limits.ts';
import {
  ExecEventSchema,
  type ExecQuery,
  ExecQuerySchema,
  type ExecRequest,
  ExecRequestSchema,
  WorkloadRefSchema,
} from '../schemas.ts';
import type { LineWriter, Streams } from '../stream.ts';

export function execRoutes(app: FastifyInstance, backend: Backend, streams: Streams): void {
  app.post<{ Params: WorkloadRef; Querystring: ExecQuery; Body: ExecRequest }>(
    '/v1/workloads/:namespace/:name/exec',
    {
      bodyLimit: EXEC_BODY_BYTES_MAX,
      schema: {
        operationId: 'exec',
        summary: 'Run a command in an instance (NDJSON)',
        params: WorkloadRefSchema,
        querystring: ExecQuerySchema,
        body: ExecRequestSchema,
        response: { 200: { content: { 'application/x-ndjson': { schema: ExecEventSchema } } } },
      },
    },
    async (request, reply) => {
      const { argv, stdin } = request.body;
      const input = stdin === undefined ? undefined : decodeStdin(stdin);
      const ref = { ...request.params, ...request.query };
      await streams.run(reply, async (writer) => {
        const killed = new AbortController();
        const result = await backend.exec(ref, argv, {
          ...(input ? { stdin: input } : {}),
          signal: AbortSignal.any([writer.signal, killed.signal]),
          onOutput: (stream, chunk) => send(writer, killed, stream, chunk),
        });
        if (killed.signal.aborted) throw killed.signal.reason;
        await writer.write({ exit: result.code });
      });
    },
  );
}

function send(
  writer: LineWriter,
  killed: AbortController,
  stream: 'stdout' | 'stderr',
  chunk: Uint8Array,
): void {
  for (let at = 0; at < chunk.byteLength; at += EXEC_CHUNK_BYTES_MAX) {
    if (killed.signal.aborted || writer.signal.aborted) return;
    if (writer.unread_bytes > EXEC_UNREAD_BYTES_MAX) {
      killed.abort(
        new ShoalError('E_TOO_LARGE', 'the output was not read fast enough; the command was killed'),
      );
      return;
    }
    const piece = chunk.subarray(at, at + EXEC_CHUNK_BYTES_MAX);
    const data = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength).toString('base64');
    writer.push({ stream, data });
  }
}

/** @throws ShoalError E_TOO_LARGE, E_BAD_INPUT */
function decodeStdin(text: string): Uint8Array {
  if (text.length > Math.ceil(EXEC_STDIN_BYTES_MAX / 3) * 4) {
    throw new ShoalError('E_TOO_LARGE', `stdin is over the limit of ${EXEC_STDIN_BYTES_MAX} bytes`);
  }
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) {
    throw new ShoalError('E_BAD_INPUT', 'stdin is not base64', { detail: { field: 'stdin' } });
  }
  return Buffer.from(text, 'base64');
}
