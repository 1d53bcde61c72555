/** `/v1/init`, `/v1/join` and `/v1/tokens`: how a cluster begins and grows. Tokens are secrets: never logged. */
import type { FastifyInstance } from 'fastify';
import type { Backend } from '../backend.ts';
import {
  ClusterSchema,
  type InitRequest,
  InitRequestSchema,
  JoinedSchema,
  type JoinRequest,
  JoinRequestSchema,
  type TokenRequest,
  TokenRequestSchema,
  TokenSchema,
} from '../schemas.ts';

export function clusterRoutes(app: FastifyInstance, backend: Backend): void {
  app.post<{ Body: InitRequest }>(
    '/v1/init',
    {
      schema: {
        operationId: 'init',
        summary: 'Begin a cluster with this node',
        body: InitRequestSchema,
        response: { 200: ClusterSchema },
      },
    },
    (request) => backend.init(request.body),
  );
  app.post<{ Body: JoinRequest }>(
    '/v1/join',
    {
      schema: {
        operationId: 'join',
        summary: 'Join the cluster that a token is for',
        body: JoinRequestSchema,
        response: { 200: JoinedSchema },
      },
    },
    (request) => backend.join(request.body),
  );
  app.post<{ Body: TokenRequest }>(
    '/v1/tokens',
    {
      schema: {
        operationId: 'createToken',
        summary: 'Make a join token',
        body: TokenRequestSchema,
        response: { 201: TokenSchema },
      },
      // All of it is optional.
      preValidation: async (request) => {
        request.body ??= {};
      },
    },
    async (request, reply) => {
      reply.code(201);
      return backend.createToken(request.body);
    },
  );
}
