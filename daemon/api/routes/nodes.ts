/** `/v1/nodes`: the members of the cluster as this node sees them, and what operators intend with them. */
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Backend } from '../backend.ts';
import { type IntentRequest, IntentRequestSchema, NodeSchema } from '../schemas.ts';

export function nodesRoutes(app: FastifyInstance, backend: Backend): void {
  app.get(
    '/v1/nodes',
    { schema: { operationId: 'nodes', summary: 'Members', response: { 200: Type.Array(NodeSchema) } } },
    () => backend.nodes(),
  );
  app.put<{ Params: { node: string }; Body: IntentRequest }>(
    '/v1/nodes/:node/intent',
    {
      schema: {
        operationId: 'setIntent',
        summary: 'Cordon, drain or activate a node',
        params: Type.Object({ node: Type.String({ minLength: 1, maxLength: 64 }) }),
        body: IntentRequestSchema,
        response: { 200: NodeSchema },
      },
    },
    (request) => backend.setIntent(request.params.node, request.body),
  );
}
