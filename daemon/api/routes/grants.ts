/** `/v1/grants`: which key may do what, until when, and by whose word. */
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Backend } from '../backend.ts';
import { GrantSchema, type ListQuery, ListQuerySchema } from '../trust-schemas.ts';

export function grantsRoutes(app: FastifyInstance, backend: Backend): void {
  app.get<{ Querystring: ListQuery }>(
    '/v1/grants',
    {
      schema: {
        operationId: 'grants',
        summary: 'Grants, the oldest first',
        querystring: ListQuerySchema,
        response: { 200: Type.Array(GrantSchema) },
      },
    },
    (request) => backend.grants(request.query),
  );
}
