/** `/v1/cluster/history`: who changed what and when, as the node that answers has seen it; and as it happens. */
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Backend } from '../backend.ts';
import type { Streams } from '../stream.ts';
import { ChangeSchema, type HistoryQuery, HistoryQuerySchema } from '../trust-schemas.ts';

export function historyRoutes(app: FastifyInstance, backend: Backend, streams: Streams): void {
  app.get<{ Querystring: HistoryQuery }>(
    '/v1/cluster/history',
    {
      schema: {
        operationId: 'history',
        summary: 'The latest changes, the oldest of them first',
        querystring: HistoryQuerySchema,
        response: { 200: Type.Array(ChangeSchema) },
      },
    },
    (request) => backend.history(request.query),
  );
  app.get<{ Querystring: HistoryQuery }>(
    '/v1/cluster/history/watch',
    {
      schema: {
        operationId: 'watchHistory',
        summary: 'The latest changes, then each new one (NDJSON)',
        querystring: HistoryQuerySchema,
        response: { 200: { content: { 'application/x-ndjson': { schema: ChangeSchema } } } },
      },
    },
    async (request, reply) => {
      await streams.run(reply, async (writer) => {
        // What cannot be followed is refused before the stream begins.
        const changes = backend.watchHistory(request.query, { signal: writer.signal });
        writer.open();
        for await (const change of changes) await writer.write(change);
      });
    },
  );
}
