/** `/v1/workloads/…/logs`: the output of one instance, wherever it runs. */
import type { FastifyInstance } from 'fastify';
import type { Backend, WorkloadRef } from '../backend.ts';
import { LogEventSchema, type LogsQuery, LogsQuerySchema, WorkloadRefSchema } from '../schemas.ts';
import type { Streams } from '../stream.ts';

export function logsRoutes(app: FastifyInstance, backend: Backend, streams: Streams): void {
  app.get<{ Params: WorkloadRef; Querystring: LogsQuery }>(
    '/v1/workloads/:namespace/:name/logs',
    {
      schema: {
        operationId: 'logs',
        summary: 'Output of an instance (NDJSON)',
        params: WorkloadRefSchema,
        querystring: LogsQuerySchema,
        response: { 200: { content: { 'application/x-ndjson': { schema: LogEventSchema } } } },
      },
    },
    async (request, reply) => {
      const { follow = false, tail, index, node } = request.query;
      const ref = {
        ...request.params,
        ...(index === undefined ? {} : { index }),
        ...(node === undefined ? {} : { node }),
      };
      await backend.workload(request.params);
      await streams.run(reply, async (writer) => {
        const options = { follow, signal: writer.signal, ...(tail === undefined ? {} : { tail }) };
        if (follow) writer.open();
        for await (const line of backend.logs(ref, options)) await writer.write(line);
      });
    },
  );
}
