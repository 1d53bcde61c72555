/** `/v1/workloads/…/watch`: the state of one workload, again whenever it changes. What `shoal run` shows. */
import type { FastifyInstance } from 'fastify';
import type { Backend, WorkloadRef } from '../backend.ts';
import { WatchEventSchema, WorkloadRefSchema } from '../schemas.ts';
import type { Streams } from '../stream.ts';

export function watchRoutes(app: FastifyInstance, backend: Backend, streams: Streams): void {
  app.get<{ Params: WorkloadRef }>(
    '/v1/workloads/:namespace/:name/watch',
    {
      schema: {
        operationId: 'watch',
        summary: 'Progress of a workload (NDJSON)',
        params: WorkloadRefSchema,
        response: { 200: { content: { 'application/x-ndjson': { schema: WatchEventSchema } } } },
      },
    },
    async (request, reply) => {
      await backend.workload(request.params);
      await streams.run(reply, async (writer) => {
        writer.open();
        for await (const event of backend.watch(request.params, { signal: writer.signal }))
          await writer.write(event);
      });
    },
  );
}
