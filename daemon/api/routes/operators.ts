/** `/v1/operators`: the keys that rule the cluster. Each request about one is a vote; it may take several. */
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Backend } from '../backend.ts';
import {
  AppointmentSchema,
  type AppointRequest,
  AppointRequestSchema,
  OperatorSchema,
  RevocationPlanSchema,
  RevocationSchema,
  type RevokeOperatorRequest,
  RevokeOperatorRequestSchema,
} from '../trust-schemas.ts';

const OperatorParams = Type.Object({ operator: Type.String({ minLength: 1, maxLength: 64 }) });

export function operatorsRoutes(app: FastifyInstance, backend: Backend): void {
  app.get(
    '/v1/operators',
    {
      schema: {
        operationId: 'operators',
        summary: 'Operators, the most senior first',
        response: { 200: Type.Array(OperatorSchema) },
      },
    },
    () => backend.operators(),
  );
  app.post<{ Body: AppointRequest }>(
    '/v1/operators',
    {
      schema: {
        operationId: 'appoint',
        summary: 'Vote for a new operator',
        body: AppointRequestSchema,
        response: { 200: AppointmentSchema },
      },
    },
    (request) => backend.appoint(request.body),
  );
  app.post<{ Params: { operator: string }; Body: RevokeOperatorRequest }>(
    '/v1/operators/:operator/revoke',
    {
      schema: {
        operationId: 'revokeOperator',
        summary: 'Vote against an operator',
        params: OperatorParams,
        body: RevokeOperatorRequestSchema,
        response: { 200: RevocationSchema },
      },
    },
    (request) => backend.revokeOperator(request.params.operator, request.body),
  );
  app.post<{ Params: { operator: string }; Body: RevokeOperatorRequest }>(
    '/v1/operators/:operator/revoke/plan',
    {
      schema: {
        operationId: 'planRevokeOperator',
        summary: 'What a vote against an operator would change; nothing is changed',
        params: OperatorParams,
        body: RevokeOperatorRequestSchema,
        response: { 200: RevocationPlanSchema },
      },
    },
    (request) => backend.planRevokeOperator(request.params.operator, request.body),
  );
}
