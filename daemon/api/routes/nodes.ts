/** `/v1/nodes`: the members of the cluster as this node sees them, what operators intend with them, and an end to them. */
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Backend } from '../backend.ts';
import { type IntentRequest, IntentRequestSchema, NodeSchema } from '../schemas.ts';
import {
  type RemoveNodeRequest,
  RemoveNodeRequestSchema,
  RevocationPlanSchema,
  RevocationSchema,
  type RevokeNodeRequest,
  RevokeNodeRequestSchema,
} from '../trust-schemas.ts';

const NodeParams = Type.Object({ node: Type.String({ minLength: 1, maxLength: 64 }) });

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
        params: NodeParams,
        body: IntentRequestSchema,
        response: { 200: NodeSchema },
      },
    },
    (request) => backend.setIntent(request.params.node, request.body),
  );
  app.post<{ Params: { node: string }; Body: RevokeNodeRequest }>(
    '/v1/nodes/:node/revoke',
    {
      schema: {
        operationId: 'revokeNode',
        summary: 'Refuse the key of a node from now on',
        params: NodeParams,
        body: RevokeNodeRequestSchema,
        response: { 200: RevocationSchema },
      },
    },
    (request) => backend.revokeNode(request.params.node, request.body),
  );
  app.post<{ Params: { node: string }; Body: RevokeNodeRequest }>(
    '/v1/nodes/:node/revoke/plan',
    {
      schema: {
        operationId: 'planRevokeNode',
        summary: 'What revoking a node would change; nothing is changed',
        params: NodeParams,
        body: RevokeNodeRequestSchema,
        response: { 200: RevocationPlanSchema },
      },
    },
    (request) => backend.planRevokeNode(request.params.node, request.body),
  );
  app.post<{ Params: { node: string }; Body: RemoveNodeRequest }>(
    '/v1/nodes/:node/remove',
    {
      schema: {
        operationId: 'removeNode',
        summary: 'Remove a node that is gone for good',
        params: NodeParams,
        body: RemoveNodeRequestSchema,
        response: { 200: RevocationSchema },
      },
    },
    (request) => backend.removeNode(request.params.node, request.body),
  );
}
