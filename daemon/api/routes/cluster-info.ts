/** `/v1/cluster`: the cluster as a whole, as the node that answers knows it. */
import type { FastifyInstance } from 'fastify';
import type { Backend } from '../backend.ts';
import { ClusterInfoSchema } from '../trust-schemas.ts';

export function clusterInfoRoutes(app: FastifyInstance, backend: Backend): void {
  app.get(
    '/v1/cluster',
    {
      schema: {
        operationId: 'clusterInfo',
        summary: 'The cluster: operators, members, ledger, and keys that are refused or flagged',
        response: { 200: ClusterInfoSchema },
      },
    },
    () => backend.clusterInfo(),
  );
}
