/** `/v1/version` and `/v1/status`: the daemon that answers. Both work before there is a cluster. */
import type { FastifyInstance } from 'fastify';
import type { Backend } from '../backend.ts';
import { StatusSchema, VersionSchema } from '../schemas.ts';

export function nodeStateRoutes(app: FastifyInstance, backend: Backend): void {
  app.get(
    '/v1/version',
    {
      schema: {
        operationId: 'version',
        summary: 'Version of daemon and API',
        response: { 200: VersionSchema },
      },
    },
    () => backend.version(),
  );
  app.get(
    '/v1/status',
    { schema: { operationId: 'status', summary: 'State of this node', response: { 200: StatusSchema } } },
    () => backend.status(),
  );
}
