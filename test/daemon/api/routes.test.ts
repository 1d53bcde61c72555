/** The routes over a real Unix socket: each answers what its schema says, and refuses what it should. */
import { request } from 'node:http';
import { connect } from 'node:net';
import t from 'tap';
import Type, { type TSchema } from 'typebox';
import { Check } from 'typebox/value';
import { BODY_BYTES_MAX, EXEC_STDIN_BYTES_MAX } from '../../../daemon/api/limits.ts';
import {
  AllocationInfoSchema,
  ClusterSchema,
  ImageInfoSchema,
  ImportedSchema,
  NodeSchema,
  ProblemSchema,
  StatusSchema,
  TokenSchema,
  VersionSchema,
  WorkloadInfoSchema,
} from '../../../daemon/api/schemas.ts';
import {
  AppointmentSchema,
  ChangeSchema,
  ClusterInfoSchema,
  GrantSchema,
  HISTORY_LIMIT_MAX,
  OperatorSchema,
  RevocationSchema,
  TokenInfoSchema,
} from '../../../daemon/api/trust-schemas.ts';
import { ShoalError } from '../../../protocols/base/errors.ts';
import { apiFixture } from './api-fixture.ts';
import { NODE_2 } from './fake-trust.ts';

const ref = { namespace: 'default', name: 'web' };

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly allow: string | undefined;
  readonly body: string;
}

/** One request, told exactly: nothing of the project's client is in the way. */
function send(socketPath: string, method: string, path: string, body?: string, type = 'application/json') {
  return new Promise<Answer>((resolve, reject) => {
    const headers =
      body === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(body) };
    const call = request({ socketPath, method, path, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          type: response.headers['content-type'] ?? '',
          allow: response.headers.allow,
          body: text,
        }),
      );
    });
    call.on('error', reject);
    call.end(body);
  });
}

t.test('every resource answers what its schema says', async (t) => {
  const { client } = await apiFixture(t);
  const matches = (schema: TSchema, value: unknown, name: string) => t.ok(Check(schema, value), name);
  matches(VersionSchema, await client.version(), 'version');
  matches(StatusSchema, await client.status(), 'status');
  matches(ClusterSchema, await client.init({ name: 'shop' }), 'init');
  matches(ClusterSchema, await client.join({ token: 'shoal1-x' }), 'join');
  matches(TokenSchema, await client.createToken({ uses: 2, ttl_ms: 60_000 }), 'token');
  matches(Type.Array(TokenInfoSchema), await client.tokens(), 'tokens');
  matches(TokenInfoSchema, await client.revokeToken('4f5c0e91', { hosts: true }), 'token revoked');
  matches(Type.Array(GrantSchema), await client.grants({ all: true }), 'grants');
  matches(RevocationSchema, await client.revokeNode('two', { reason: 'x', keep: ['one'] }), 'node revoked');
  matches(RevocationSchema, await client.removeNode('two', { force: true }), 'node removed');
  matches(Type.Array(OperatorSchema), await client.operators(), 'operators');
  matches(AppointmentSchema, await client.appoint({ key: 'second' }), 'appointed');
  matches(RevocationSchema, await client.revokeOperator('second', { since_ms: 1 }), 'operator revoked');
  await t.rejects(client.removeNode('two'), { code: 'E_STILL_ALIVE' });
  await t.rejects(client.revokeToken('no hex'), { code: 'E_NOT_FOUND' });
  matches(ClusterInfoSchema, await client.clusterInfo(), 'cluster');
  matches(Type.Array(ChangeSchema), await client.history(), 'history');
  matches(Type.Array(NodeSchema), await client.nodes(), 'nodes');
  matches(NodeSchema, await client.setIntent('two', 'draining'), 'intent');
  matches(WorkloadInfoSchema, await client.run({ name: 'web', image: 'web:1', replicas: 2 }), 'run');
  matches(Type.Array(WorkloadInfoSchema), await client.workloads(), 'workloads');
  matches(WorkloadInfoSchema, await client.scale(ref, 3), 'scale');
  matches(Type.Array(AllocationInfoSchema), await client.allocations(), 'allocations');
  matches(Type.Array(ImageInfoSchema), await client.images(), 'images');
  matches(Type.Array(ImportedSchema), await client.importImage({ path: '/x', name: 'a:1' }), 'import');
  matches(ImportedSchema, await client.buildImage({ directory: '/x', name: 'a:1' }), 'build');
  matches(WorkloadInfoSchema, await client.stop(ref), 'stop');
  t.equal(await client.remove(ref), undefined, 'remove');
  await t.rejects(client.workload(ref), { code: 'E_NOT_FOUND' });
});

t.test('a query string is converted by its schema, and an unknown field in it is refused', async (t) => {
  const { client, backend, socket } = await apiFixture(t);
  await client.allocations({ workload: 'web', all: true });
  t.match(backend.calls.at(-1), { method: 'allocations', args: [{ workload: 'web', all: true }] });
  const answer = await send(socket, 'GET', '/v1/allocations?nod=two');
  t.equal(answer.status, 400);
  t.match(JSON.parse(answer.body), {
    code: 'E_BAD_INPUT',
    detail: /"nod" is not known here/,
    particulars: { field: 'nod' },
  });
});

t.test('a question about the history is taken by its schema, and no answer is without end', async (t) => {
  const { client, backend, socket } = await apiFixture(t);
  const query = {
    since_ms: 1_700_000_000_000,
    kind: 'workload',
    key: 'default/web',
    by: 'one',
    limit: 0,
  } as const;
  await client.history(query);
  t.same(backend.calls.at(-1)?.args, [query]);
  for (const bad of [
    'limit=-1',
    `limit=${HISTORY_LIMIT_MAX + 1}`,
    'since_ms=then',
    'kind=',
    'kind=zzz',
    'who=one',
  ]) {
    const answer = await send(socket, 'GET', `/v1/cluster/history?${bad}`);
    t.match(JSON.parse(answer.body), { code: 'E_BAD_INPUT' }, bad);
  }
});

t.test('a key in a request that is none is refused, and not repeated', async (t) => {
  const { socket } = await apiFixture(t);
  const secret = 'c0ffee'.repeat(10);
  const answer = await send(socket, 'POST', '/v1/nodes/two/revoke', JSON.stringify({ operatorKey: secret }));
  t.match(JSON.parse(answer.body), { code: 'E_BAD_INPUT', particulars: { field: 'operatorKey' } });
  t.notMatch(answer.body, secret);
});

t.test('a wrong body names its field', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const bad = async (path: string, body: unknown) =>
    JSON.parse((await send(socket, 'POST', path, JSON.stringify(body))).body);
  t.match(await bad('/v1/tokens', { uses: 'two' }), { code: 'E_BAD_INPUT', particulars: { field: 'uses' } });
  t.match(await bad('/v1/tokens', { roles: ['member', 'king'] }), {
    code: 'E_BAD_INPUT',
    detail: /"roles\.1" must be one of member, worker, deployer, admitter$/,
    particulars: { field: 'roles.1' },
  });
  t.match(await bad('/v1/tokens', { roles: ['member', 'admit'] }), { code: 'E_BAD_INPUT' }, 'of no host');
  t.match(await bad('/v1/join', {}), { detail: /"token" is missing/ });
  t.match(await bad('/v1/images/import', { path: 'relative' }), { particulars: { field: 'path' } });
  t.match(await bad('/v1/init', [1]), { code: 'E_BAD_INPUT' });
  t.equal(backend.calls.length, 0, 'the backend saw none of them');
});

t.test('what is not a request is answered with a problem, and the server lives on', async (t) => {
  const { socket, client } = await apiFixture(t);
  const problem = async (status: number, code: string, ...args: [string, string, string?, string?]) => {
    const answer = await send(socket, ...args);
    t.equal(answer.status, status, `${args[0]} ${args[1]}`);
    t.match(answer.type, 'application/problem+json');
    const body = JSON.parse(answer.body);
    t.ok(Check(ProblemSchema, body));
    t.equal(body.code, code);
    t.ok(body.next);
  };
  await problem(404, 'E_NOT_FOUND', 'GET', '/');
  await problem(404, 'E_NOT_FOUND', 'GET', '/v2/version');
  await problem(405, 'E_BAD_METHOD', 'PATCH', '/v1/nodes');
  await problem(405, 'E_BAD_METHOD', 'DELETE', '/v1/nodes/two/intent?x=1');
  await problem(431, 'E_TOO_LARGE', 'GET', `/v1/${'x'.repeat(20_000)}`);
  await problem(413, 'E_TOO_LARGE', 'GET', `/v1/workloads/default/${'x'.repeat(200)}`);
  await problem(404, 'E_NOT_FOUND', 'GET', '/v1/workloads/default/none/watch');
  await problem(400, 'E_BAD_INPUT', 'GET', '/v1/workloads/default/No_Label');
  await problem(400, 'E_BAD_INPUT', 'GET', '/v1/%ff');
  await problem(400, 'E_BAD_INPUT', 'POST', '/v1/init', '{"name":');
  await problem(400, 'E_BAD_INPUT', 'POST', '/v1/init', '');
  await problem(400, 'E_BAD_INPUT', 'POST', '/v1/init', '{"__proto__":{"x":1}}');
  await problem(400, 'E_BAD_INPUT', 'POST', '/v1/init', 'name=shop', 'application/x-www-form-urlencoded');
  await problem(413, 'E_TOO_LARGE', 'POST', '/v1/workloads', `"${'x'.repeat(BODY_BYTES_MAX)}"`);
  const path = '/v1/workloads/default/web/exec';
  const tooMuch = 'A'.repeat(Math.ceil(EXEC_STDIN_BYTES_MAX / 3) * 4 + 4);
  await problem(413, 'E_TOO_LARGE', 'POST', path, JSON.stringify({ argv: ['cat'], stdin: tooMuch }));
  await problem(400, 'E_BAD_INPUT', 'POST', path, JSON.stringify({ argv: ['cat'], stdin: 'not base64!' }));
  t.equal((await client.version()).api, 'v1');
});

t.test('a path is told with the methods that it takes, and a token needs no body', async (t) => {
  const { socket, backend } = await apiFixture(t);
  t.equal((await send(socket, 'PUT', '/v1/tokens')).allow, 'GET, HEAD, POST');
  t.equal((await send(socket, 'PUT', '/v1/nodes/a/revoke/plan')).allow, 'POST');
  t.equal((await send(socket, 'PUT', '/v1/nodes/a')).allow, undefined);
  t.equal((await send(socket, 'POST', '/v1/tokens')).status, 201);
  t.same(backend.calls.at(-1), { method: 'createToken', args: [{}] });
});

t.test('bytes that are no HTTP get one answer and the connection is closed', async (t) => {
  const { socket, client } = await apiFixture(t);
  for (const bytes of [Buffer.from('\0\x01garbage\r\n\r\n'), Buffer.alloc(200_000, 'x')]) {
    const text = await new Promise<string>((resolve) => {
      const raw = connect(socket);
      let got = '';
      raw.on('data', (chunk) => {
        got += chunk;
      });
      raw.on('error', () => {});
      raw.on('close', () => resolve(got));
      raw.write(bytes);
    });
    t.match(text, /^HTTP\/1\.1 400 /);
    t.match(text, 'E_MALFORMED');
  }
  t.equal((await client.version()).api, 'v1');
});

t.test('an expected error keeps its code, status and particulars', async (t) => {
  const { client, backend, socket } = await apiFixture(t);
  backend.run = async () => {
    throw new ShoalError('E_BAD_SPEC', 'replicas must be a number', { detail: { field: 'replicas' } });
  };
  const answer = await send(socket, 'POST', '/v1/workloads', '{"replicas":"x"}');
  t.equal(answer.status, 400);
  await t.rejects(client.run({}), {
    code: 'E_BAD_SPEC',
    message: 'replicas must be a number',
    detail: { field: 'replicas' },
  });
});

t.test('a defect is answered without its text, and any JSON may be a spec', async (t) => {
  const { backend, socket } = await apiFixture(t);
  backend.run = async () => {
    throw new TypeError('secret: hunter2');
  };
  for (const body of ['null', '[]', '7', '{}']) {
    const answer = await send(socket, 'POST', '/v1/workloads', body);
    t.equal(answer.status, 500);
    t.equal(JSON.parse(answer.body).code, 'E_INTERNAL');
    t.notMatch(answer.body, /hunter2|routes/);
  }
});

t.test('OpenAPI describes every route', async (t) => {
  const { socket } = await apiFixture(t);
  const answer = await send(socket, 'GET', '/v1/openapi.json');
  const document = JSON.parse(answer.body);
  t.equal(document.openapi, '3.1.0');
  t.strictSame(Object.keys(document.paths).sort(), [
    '/v1/allocations',
    '/v1/cluster',
    '/v1/cluster/history',
    '/v1/cluster/history/watch',
    '/v1/grants',
    '/v1/images',
    '/v1/images/build',
    '/v1/images/import',
    '/v1/init',
    '/v1/join',
    '/v1/nodes',
    '/v1/nodes/{node}/intent',
    '/v1/nodes/{node}/remove',
    '/v1/nodes/{node}/revoke',
    '/v1/nodes/{node}/revoke/plan',
    '/v1/operators',
    '/v1/operators/{operator}/revoke',
    '/v1/operators/{operator}/revoke/plan',
    '/v1/status',
    '/v1/tokens',
    '/v1/tokens/{token}/revoke',
    '/v1/tokens/{token}/revoke/plan',
    '/v1/version',
    '/v1/workloads',
    '/v1/workloads/{namespace}/{name}',
    '/v1/workloads/{namespace}/{name}/exec',
    '/v1/workloads/{namespace}/{name}/logs',
    '/v1/workloads/{namespace}/{name}/scale',
    '/v1/workloads/{namespace}/{name}/stop',
    '/v1/workloads/{namespace}/{name}/watch',
  ]);
  t.ok(document.paths['/v1/workloads'].post.responses.default.content['application/problem+json']);
});

t.test('an image import that nobody waits for is aborted', async (t) => {
  const { client, backend } = await apiFixture(t);
  const started = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<void>();
  backend.importImage = (_request, { signal }) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        aborted.resolve();
        reject(new ShoalError('E_CANCELLED', 'given up'));
      });
      started.resolve();
    });
  const controller = new AbortController();
  const imported = client.importImage({ path: '/x' }, { signal: controller.signal });
  await started.promise;
  controller.abort();
  await t.rejects(imported, { code: 'E_CANCELLED' });
  await aborted.promise;
});

t.test('names with odd characters travel whole in a path', async (t) => {
  const { client, backend } = await apiFixture(t);
  await client.setIntent(NODE_2, 'active');
  await client.setIntent('a b/c?d', 'active');
  t.strictSame(
    backend.calls.map((call) => call.args[0]),
    [NODE_2, 'a b/c?d'],
  );
});
