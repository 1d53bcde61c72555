/** `/v1/allocations`: what runs where. */
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Backend } from '../backend.ts';
import { type AllocationFilter, AllocationFilterSchema, AllocationInfoSchema } from '../schemas.ts';

export function allocationsRoutes(app: FastifyInstance, backend: Backend): void {
  app.get<{ Querystring: AllocationFilter }>(
    '/v1/allocations',
    {
      schema: {
        operationId: 'allocations',
        summary: 'Instances of workloads',
        querystring: AllocationFilterSchema,
        response: { 200: Type.Array(AllocationInfoSchema) },
      },
    },
    (request) => backend.allocations(request.query),
  );
}
