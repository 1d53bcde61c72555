/** `/v1/images`: the images that the cluster knows, and ways to bring one in. Paths are those of the daemon's host. */
import type { FastifyInstance, FastifyReply } from 'fastify';
import Type from 'typebox';
import type { Backend } from '../backend.ts';
import {
  type BuildRequest,
  BuildRequestSchema,
  ImageInfoSchema,
  ImportedSchema,
  type ImportRequest,
  ImportRequestSchema,
} from '../schemas.ts';

/** Aborts the work when the client goes away before it has its answer. */
async function whileWanted<T>(reply: FastifyReply, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const gone = () => controller.abort();
  reply.raw.on('close', gone);
  try {
    return await work(controller.signal);
  } finally {
    reply.raw.off('close', gone);
  }
}

export function imagesRoutes(app: FastifyInstance, backend: Backend): void {
  app.get(
    '/v1/images',
    {
      schema: {
        operationId: 'images',
        summary: 'Known images',
        response: { 200: Type.Array(ImageInfoSchema) },
      },
    },
    () => backend.images(),
  );
  app.post<{ Body: ImportRequest }>(
    '/v1/images/import',
    {
      schema: {
        operationId: 'importImage',
        summary: 'Import an OCI layout or a docker archive',
        body: ImportRequestSchema,
        response: { 201: Type.Array(ImportedSchema) },
      },
    },
    async (request, reply) => {
      const imported = await whileWanted(reply, (signal) => backend.importImage(request.body, { signal }));
      reply.code(201);
      return imported;
    },
  );
  app.post<{ Body: BuildRequest }>(
    '/v1/images/build',
    {
      schema: {
        operationId: 'buildImage',
        summary: 'Build an image from a directory',
        body: BuildRequestSchema,
        response: { 201: ImportedSchema },
      },
    },
    async (request, reply) => {
      const built = await whileWanted(reply, (signal) => backend.buildImage(request.body, { signal }));
      reply.code(201);
      return built;
    },
  );
}
