/** The small pieces of an instance: what is run, on which ports, and whether it is healthy. */
import { createServer } from 'node:http';
import net from 'node:net';
import t, { type Test } from 'tap';
import { assignPorts } from '../../../daemon/instances/assign-ports.ts';
import { containerId, planContainer } from '../../../daemon/instances/container-plan.ts';
import { checkHealth, type HealthTarget } from '../../../daemon/instances/health-check.ts';
import { checkContainerId } from '../../../daemon/runtime/container-id.ts';
import type { ImageConfig } from '../../../images/images.ts';
import { ShoalError } from '../../../protocols/base/errors.ts';
import { type Health, SPEC_DEFAULTS, type WorkloadSpec } from '../../../protocols/base/workload.ts';

const CONFIG: ImageConfig = {
  entrypoint: ['/bin/app'],
  command: ['--default'],
  env: ['A=image', 'B=image', 'EMPTY=', 'broken'],
  workingDir: '',
  user: '1000',
  exposedPorts: [],
  stopSignal: '',
};
const HERE = { netns: null, address: '127.0.0.1', resolver: null };

function planOf(
  spec: Partial<WorkloadSpec> = {},
  config: Partial<ImageConfig> = {},
  netns: string | null = null,
) {
  return planContainer({
    slot: 'default/web/1',
    index: 1,
    attempt: 3,
    spec: { ...SPEC_DEFAULTS, name: 'web', image: 'web:1', ...spec },
    image: {
      digest: `sha256:${'ab'.repeat(32)}`,
      config: { ...CONFIG, ...config },
      lowerDirs: ['/base', '/top'],
    },
    attachment: { ...HERE, netns },
    ports: { http: 8080, 'my-admin': 81 },
    nodeName: 'here',
    mounts: [],
  });
}

t.test(
  'the command of a spec replaces that of the image; with neither there is nothing to run',
  async (t) => {
    t.same(planOf().argv, ['/bin/app', '--default']);
    t.same(planOf({ command: ['sh', '-c', 'x'] }).argv, ['sh', '-c', 'x']);
    t.throws(() => planOf({}, { entrypoint: [], command: [] }), { code: 'E_BAD_SPEC' });
  },
);

t.test('the environment is that of the image, then where it runs, then that of the spec', async (t) => {
  const ports = [{ name: 'http', port: 80 }];
  const { env, stopSignal, workingDir, user } = planOf({ ports, env: { B: 'spec', SHOAL_SLOT: 'mine' } });
  t.match(env, {
    A: 'image',
    B: 'spec',
    EMPTY: '',
    SHOAL_NODE: 'here',
    SHOAL_INDEX: '1',
    SHOAL_SLOT: 'mine',
  });
  t.match(env, { SHOAL_PORT_HTTP: '8080', SHOAL_PORT_MY_ADMIN: '81', HOST: '127.0.0.1', PORT: '8080' });
  t.notOk('broken' in env);
  t.notOk(
    'PORT' in planOf({ ports }, {}, '/run/netns/x').env,
    'one with a network of its own has its own ports',
  );
  t.same({ stopSignal, workingDir, user }, { stopSignal: 'SIGTERM', workingDir: '/', user: '1000' });
});

t.test('the id of a container is good for any driver, and differs by slot and attempt', async (t) => {
  const long = 'x'.repeat(63);
  const ids = [
    containerId('default/web/1', 1),
    containerId('default/web/1', 2),
    containerId('other/web/1', 1),
    containerId(`${long}/${long}/999`, 1_000_000),
  ];
  t.equal(new Set(ids).size, ids.length);
  for (const id of ids) {
    t.ok(id.length <= 63);
    t.doesNotThrow(() => checkContainerId(id));
  }
});

t.test(
  'ports are those of the spec while they are free, then any, and always the own ones in a network',
  async (t) => {
    const port = await listen(t, net.createServer());
    const wanted = [{ name: 'http', port }];
    const taken = await assignPorts(wanted, HERE);
    t.ok(taken.http! > 0);
    t.not(taken.http, port, 'somebody listens there');
    t.same(await assignPorts([{ name: 'http', port: taken.http! }], HERE), taken, 'that one was free');
    t.same(await assignPorts(wanted, { ...HERE, netns: '/run/netns/x' }), { http: port });
    t.same(await assignPorts([], HERE), {});
  },
);

t.test('a check is true or false in its time', async (t) => {
  const status = { '/ok': 204, '/moved': 302, '/bad': 500 } as Record<string, number>;
  const server = createServer((request, response) => {
    if (request.url !== '/silent') response.writeHead(status[request.url ?? ''] ?? 404).end('x');
  });
  const web = await listen(t, server);
  t.teardown(() => server.closeAllConnections());
  const nobody = net.createServer();
  const closed = await listen(t, nobody);
  await new Promise((resolve) => nobody.close(resolve));
  const check = (health: Partial<Health>, target: Partial<HealthTarget> = {}) =>
    checkHealth(
      { kind: 'http', interval_ms: 100, timeout_ms: 5000, retries: 1, ...health },
      { address: '127.0.0.1', port: web, exec: async () => 0, ...target },
      new AbortController().signal,
    );
  t.equal(await check({ kind: 'none' }), true);
  t.equal(await check({ path: '/ok' }), true);
  t.equal(await check({ path: '/moved' }), true);
  t.equal(await check({ path: '/bad' }), false);
  t.equal(await check({}), false, 'no such page');
  t.equal(await check({ path: '/silent', timeout_ms: 100 }), false);
  t.equal(await check({ path: '/ok' }, { port: closed }), false);
  t.equal(await check({ path: '/ok' }, { port: undefined }), false);
  t.equal(await check({ kind: 'tcp' }), true);
  t.equal(await check({ kind: 'tcp' }, { port: closed }), false);
  t.equal(await check({ kind: 'tcp' }, { port: undefined }), false);
  t.equal(await check({ kind: 'exec', command: ['x'] }), true);
  t.equal(await check({ kind: 'exec' }, { exec: async () => 1 }), false);
  t.equal(await check({ kind: 'exec' }, { exec: () => Promise.reject(new Error('gone')) }), false);
  const slow: HealthTarget['exec'] = (_argv, signal) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
  t.equal(await check({ kind: 'exec', timeout_ms: 50 }, { exec: slow }), false);
});

t.test('a check that the host could not carry out is no verdict', async (t) => {
  const failsBy = (error: Error) =>
    checkHealth(
      { kind: 'exec', interval_ms: 100, timeout_ms: 5000, retries: 1 },
      { address: '127.0.0.1', port: 80, exec: () => Promise.reject(error) },
      new AbortController().signal,
    );
  for (const code of ['ENOSPC', 'EROFS', 'EMFILE'])
    await t.rejects(failsBy(Object.assign(new Error('refused'), { code })), { code });
  const driver = (message: string, cause?: Error) =>
    failsBy(new ShoalError('E_RUNTIME_FAILED', message, cause === undefined ? {} : { cause }));
  const full = Object.assign(new Error('write'), { code: 'ENOSPC' });
  await t.rejects(driver('the driver could not write', full), { code: 'E_RUNTIME_FAILED' });
  await t.rejects(driver('runc: write state.json: no space left on device'), { code: 'E_RUNTIME_FAILED' });
  t.equal(
    await driver('runc: read init-p: connection reset by peer'),
    false,
    'at its own limit of processes',
  );
  t.equal(await driver('no start', Object.assign(new Error('stat'), { code: 'ENOENT' })), false);
  t.equal(await failsBy(new ShoalError('E_COMMAND_NOT_FOUND', 'not in the image')), false);
  t.equal(await failsBy(Object.assign(new Error('no such file'), { code: 'ENOENT' })), false);
});

async function listen(t: Test, server: net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return (server.address() as net.AddressInfo).port;
}
