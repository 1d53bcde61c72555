/** `/v1/tokens`: join tokens that were made. Making one is in cluster.ts. No secret is known here. */
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Backend } from '../backend.ts';
import { Given } from '../schema-parts.ts';
import {
  type ListQuery,
  ListQuerySchema,
  RevocationPlanSchema,
  type RevokeTokenRequest,
  RevokeTokenRequestSchema,
  TokenInfoSchema,
} from '../trust-schemas.ts';

const TokenParams = Type.Object({ token: Given(64) });

export function tokensRoutes(app: FastifyInstance, backend: Backend): void {
  app.get<{ Querystring: ListQuery }>(
    '/v1/tokens',
    {
      schema: {
        operationId: 'tokens',
        summary: 'Join tokens, and who joined with them',
        querystring: ListQuerySchema,
        response: { 200: Type.Array(TokenInfoSchema) },
      },
    },
    (request) => backend.tokens(request.query),
  );
  app.post<{ Params: { token: string }; Body: RevokeTokenRequest }>(
    '/v1/tokens/:token/revoke',
    {
      schema: {
        operationId: 'revokeToken',
        summary: 'Let nobody join with a token any more',
        params: TokenParams,
        body: RevokeTokenRequestSchema,
        response: { 200: TokenInfoSchema },
      },
    },
    (request) => backend.revokeToken(request.params.token, request.body),
  );
  app.post<{ Params: { token: string }; Body: RevokeTokenRequest }>(
    '/v1/tokens/:token/revoke/plan',
    {
      schema: {
        operationId: 'planRevokeToken',
        summary: 'What revoking a token would change; nothing is changed',
        params: TokenParams,
        body: RevokeTokenRequestSchema,
        response: { 200: RevocationPlanSchema },
      },
    },
    (request) => backend.planRevokeToken(request.params.token, request.body),
  );
}
