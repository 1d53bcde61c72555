/** `/v1/workloads`: what should run. Its instances are in allocations.ts, its streams in streams of their own. */
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Backend, WorkloadRef } from '../backend.ts';
import {
  type ScaleRequest,
  ScaleRequestSchema,
  SpecInputSchema,
  WorkloadInfoSchema,
  WorkloadRefSchema,
} from '../schemas.ts';

export function workloadsRoutes(app: FastifyInstance, backend: Backend): void {
  app.get(
    '/v1/workloads',
    {
      schema: {
        operationId: 'workloads',
        summary: 'All workloads',
        response: { 200: Type.Array(WorkloadInfoSchema) },
      },
    },
    () => backend.workloads(),
  );
  app.post<{ Body: unknown }>(
    '/v1/workloads',
    {
      schema: {
        operationId: 'run',
        summary: 'Run a workload, or a new generation of one',
        body: SpecInputSchema,
        response: { 200: WorkloadInfoSchema },
      },
      // The scheduler's parser checks a spec, with better errors (E_BAD_SPEC); the schema here is for OpenAPI.
      validatorCompiler: () => (value) => ({ value }),
    },
    (request) => backend.run(request.body),
  );
  app.get<{ Params: WorkloadRef }>(
    '/v1/workloads/:namespace/:name',
    {
      schema: {
        operationId: 'workload',
        summary: 'One workload',
        params: WorkloadRefSchema,
        response: { 200: WorkloadInfoSchema },
      },
    },
    (request) => backend.workload(request.params),
  );
  app.post<{ Params: WorkloadRef; Body: ScaleRequest }>(
    '/v1/workloads/:namespace/:name/scale',
    {
      schema: {
        operationId: 'scale',
        summary: 'Change the number of replicas',
        params: WorkloadRefSchema,
        body: ScaleRequestSchema,
        response: { 200: WorkloadInfoSchema },
      },
    },
    (request) => backend.scale(request.params, request.body.replicas),
  );
  app.post<{ Params: WorkloadRef }>(
    '/v1/workloads/:namespace/:name/stop',
    {
      schema: {
        operationId: 'stop',
        summary: 'Keep the spec, run nothing',
        params: WorkloadRefSchema,
        response: { 200: WorkloadInfoSchema },
      },
    },
    (request) => backend.stop(request.params),
  );
  app.delete<{ Params: WorkloadRef }>(
    '/v1/workloads/:namespace/:name',
    {
      schema: {
        operationId: 'remove',
        summary: 'Remove a workload and stop its instances',
        params: WorkloadRefSchema,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await backend.remove(request.params);
      return reply.code(204).send();
    },
  );
}
