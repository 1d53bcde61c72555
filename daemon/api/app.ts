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

/** Which methods a path takes: the router itself knows a path with a method only. */
class RouteMethods {
  readonly #routes: { readonly path: RegExp; readonly methods: readonly string[] }[] = [];

  /** @param url with parameters such as `:name`. */
  add(method: string | string[], url: string): void {
    const pattern = url.replaceAll('.', '\\.').replaceAll(/:\w+/g, '[^/]+');
    this.#routes.push({ path: new RegExp(`^${pattern}$`), methods: [method].flat() });
  }

  of(path: string): string[] {
    const found = this.#routes.filter((route) => route.path.test(path)).flatMap((route) => route.methods);
    return [...new Set(found)].sort();
  }
}

function headTooLarge(): ShoalError {
  return new ShoalError('E_TOO_LARGE', 'the path and the headers of the request are over the limit');
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
    clientErrorHandler: ({ code }, socket) => {
      // Bytes that are no HTTP: there is no request to answer, so the answer is written by hand.
      if (!socket.writable) return;
      const [status, problem] =
        code === 'HPE_HEADER_OVERFLOW'
          ? ['431 Request Header Fields Too Large', { ...toProblem(headTooLarge(), log), status: 431 }]
          : ['400 Bad Request', toProblem(new ShoalError('E_MALFORMED', 'this is not HTTP/1.1'), log)];
      const body = JSON.stringify(problem);
      socket.end(
        `HTTP/1.1 ${status}\r\ncontent-type: ${PROBLEM_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      );
    },
  });
  app.removeContentTypeParser('text/plain');
  const streams = new Streams(log, limits);
  app.setValidatorCompiler(({ schema, httpPart }) => checker(schema as TSchema, httpPart ?? 'body'));
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  app.setErrorHandler((error, _request, reply) => answer(error, reply));
  const methods = new RouteMethods();
  app.addHook('onRoute', ({ method, url }) => methods.add(method, url));
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] ?? '';
    const route = `${request.method} ${path.slice(0, 200)}`;
    const allowed = methods.of(path).join(', ');
    if (allowed === '') throw new ShoalError('E_NOT_FOUND', `there is no ${route}; see GET /v1/openapi.json`);
    reply.header('allow', allowed);
    throw new ShoalError('E_BAD_METHOD', `there is no ${route}; it takes ${allowed}`);
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
