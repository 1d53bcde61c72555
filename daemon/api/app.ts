/**
 * The HTTP API as a fastify application: routes, validation, errors, OpenAPI. It listens on nothing;
 * server.ts puts it on a socket. The routes are in routes/, one file per resource.
 */
import swagger from '@fastify/swagger';
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import type { TSchema } from 'typebox';
import { ShoalError } from '../../protocols/base/errors.ts';
import type { Log } from '../log.ts';
import type { Backend } from './backend.ts';
import { BODY_BYTES_MAX, PARAM_LENGTH_MAX, REQUEST_MS_MAX } from './limits.ts';
import { PROBLEM_TYPE, toProblem } from './problem.ts';
import { allocationsRoutes } from './routes/allocations.ts';
import { clusterRoutes } from './routes/cluster.ts';
import { clusterInfoRoutes } from './routes/cluster-info.ts';
import { execRoutes } from './routes/exec.ts';
import { grantsRoutes } from './routes/grants.ts';
import { historyRoutes } from './routes/history.ts';
import { imagesRoutes } from './routes/images.ts';
import { logsRoutes } from './routes/logs.ts';
import { nodeStateRoutes } from './routes/node-state.ts';
import { nodesRoutes } from './routes/nodes.ts';
import { operatorsRoutes } from './routes/operators.ts';
import { tokensRoutes } from './routes/tokens.ts';
import { watchRoutes } from './routes/watch.ts';
import { workloadsRoutes } from './routes/workloads.ts';
import { ProblemSchema } from './schemas.ts';
import { type StreamLimits, Streams } from './stream.ts';
import { checker } from './validate.ts';

export interface ApiInit {
  readonly backend: Backend;
  readonly log: Log;
  /** For tests: smaller limits of streams. */
  readonly limits?: Partial<StreamLimits>;
}

export interface ApiApp {
  readonly app: FastifyInstance;
  readonly streams: Streams;
}

export async function createApiApp({ backend, log, limits }: ApiInit): Promise<ApiApp> {
  const answer = (error: unknown, reply: FastifyReply) => {
    const problem = toProblem(error, log);
    return reply.code(problem.status).type(PROBLEM_TYPE).send(problem);
  };
  const app = fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_MS_MAX,
    routerOptions: { maxParamLength: PARAM_LENGTH_MAX },
    forceCloseConnections: true,
    // Found before there is a route: a URL that cannot be decoded.
    frameworkErrors: (error, _request, reply) => void answer(error, reply as FastifyReply),
    clientErrorHandler: (_error, socket) => {
      // Bytes that are no HTTP: there is no request to answer, so the answer is written by hand.
      if (!socket.writable) return;
      const body = JSON.stringify(toProblem(new ShoalError('E_MALFORMED', 'this is not HTTP/1.1'), log));
      socket.end(
        `HTTP/1.1 400 Bad Request\r\ncontent-type: ${PROBLEM_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      );
    },
  });
  app.removeContentTypeParser('text/plain');
  const streams = new Streams(log, limits);
  app.setValidatorCompiler(({ schema, httpPart }) => checker(schema as TSchema, httpPart ?? 'body'));
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  app.setErrorHandler((error, _request, reply) => answer(error, reply));
  app.setNotFoundHandler((request) => {
    const route = `${request.method} ${request.url.split('?')[0]?.slice(0, 200)}`;
    throw new ShoalError('E_NOT_FOUND', `there is no ${route}; see GET /v1/openapi.json`);
  });
  app.addHook('preClose', async () => streams.closeAll());

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'shoal',
        version: 'v1',
        description: 'The API of one daemon, on its Unix socket. Every node answers for the whole cluster.',
      },
      servers: [{ url: 'http://localhost', description: 'curl --unix-socket /run/shoal/shoal.sock' }],
    },
  });
  // Every route may answer with a problem; said once here rather than in each file.
  app.addHook('onRoute', (route) => {
    if (!route.schema) return;
    route.schema.response = {
      ...(route.schema.response as object),
      default: {
        description: 'Problem (RFC 9457)',
        content: { 'application/problem+json': { schema: ProblemSchema } },
      },
    };
  });
  nodeStateRoutes(app, backend);
  clusterRoutes(app, backend);
  clusterInfoRoutes(app, backend);
  historyRoutes(app, backend, streams);
  tokensRoutes(app, backend);
  grantsRoutes(app, backend);
  operatorsRoutes(app, backend);
  nodesRoutes(app, backend);
  workloadsRoutes(app, backend);
  allocationsRoutes(app, backend);
  watchRoutes(app, backend, streams);
  logsRoutes(app, backend, streams);
  execRoutes(app, backend, streams);
  imagesRoutes(app, backend);
  app.get('/v1/openapi.json', { schema: { hide: true } }, () => app.swagger());
  return { app, streams };
}
