/** Each command against a server with a fake backend: data on stdout, the rest on stderr, documented exit codes. */
import { access, mkdir, readFile, stat, unlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import t from 'tap';
import type { WatchEvent } from '../../../daemon/api/schemas.ts';
import { signerFromSeed } from '../../../daemon/crypto.ts';
import { ERRORS, ShoalError } from '../../../protocols/base/errors.ts';
import { apiFixture, temporaryDirectory } from '../api/api-fixture.ts';
import { runCli } from './run-cli.ts';

const json = (text: string): unknown => JSON.parse(text);
// Each call is a process: a few at a time, and slow ones on a loaded machine.
t.jobs = 4;
t.setTimeout(120_000);
const WEB = { name: 'web', image: 'web:1', replicas: 2 };

t.test('wrong use exits with 2, in one line', async (t) => {
  for (const args of [
    ['nope'],
    ['ps', '--nope'],
    ['scale', 'web'],
    ['scale', 'web', 'x'],
    ['run', 'web'],
    ['logs', 'a/b/c/d'],
    ['cluster', 'history', '--since', 'yesterday'],
    ['cluster', 'history', '-n', 'all'],
    ['cluster', 'history', '-n', '0'],
    ['cluster', 'history', '--kind', 'workloads'],
    ['run', 'web', 'web:1', '--env-file', '/nonexistent'],
  ]) {
    const { code, stdout, stderr } = await runCli('/nonexistent', args);
    t.equal(code, 2, args.join(' '));
    t.equal(stdout, '');
    t.match(stderr, /^shoal: E_USAGE: .+\n$/);
  }
});

t.test('a file without an end is not read to its end', async (t) => {
  for (const [code, told, ...args] of [
    [5, 'E_TOKEN_MALFORMED: this is no token: it is too long', 'join', '--token-file', '/dev/zero'],
    [6, 'E_TOO_LARGE: the spec is over 1048576 bytes', 'run', '--file', '/dev/zero'],
    [6, 'E_TOO_LARGE: the spec is over 1048576 bytes', 'run', '--file', '-'],
    [2, 'E_USAGE: --env-file /dev/zero is over 1048576 bytes', 'run', 'a', 'b', '--env-file', '/dev/zero'],
    [
      2,
      'E_USAGE: --operator-key /dev/zero: this is no key',
      'operator',
      'revoke',
      'a',
      '--operator-key',
      '/dev/zero',
    ],
  ] as const) {
    const stdin = args.includes('-' as never) ? { stdin: ' '.repeat(2 << 20) } : {};
    const done = await runCli('/nonexistent', args, stdin);
    t.equal(done.code, code, args.join(' '));
    t.ok(done.stderr.startsWith(`shoal: ${told}`), done.stderr);
  }
});

t.test('no daemon exits with 3, and version says so and goes on', async (t) => {
  const socket = path.join(await temporaryDirectory(t), 'none.sock');
  const { code, stderr } = await runCli(socket, ['ps']);
  t.equal(code, 3);
  t.equal(stderr, `shoal: E_NO_DAEMON: no daemon listens on ${socket}. ${ERRORS.E_NO_DAEMON.next}\n`);
  const version = await runCli(socket, ['version', '--json']);
  t.equal(version.code, 0);
  t.match(json(version.stdout), { version: /^\d+\.\d+\.\d+$/, daemon: null });
});

t.test('--socket wins over the environment, before and after the command', async (t) => {
  const { socket } = await apiFixture(t);
  for (const args of [
    ['--socket', socket, 'status'],
    ['status', '--socket', socket],
  ]) {
    const { code, stdout } = await runCli('/nonexistent', args);
    t.equal(code, 0);
    t.match(stdout, /cluster {2}shop/);
  }
});

t.test('init prints the id of the cluster', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const { stdout, stderr } = await runCli(socket, ['init', '--name', 'shop']);
  t.equal(stdout, `${'f'.repeat(64)}\n`);
  t.match(stderr, /"shop"/);
  t.match(backend.calls, [{ method: 'init', args: [{ name: 'shop' }] }]);
});

t.test('init writes a recovery key that the daemon never sees, and overwrites none', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const file = path.join(await temporaryDirectory(t), 'shop.key');
  const { code, stderr } = await runCli(socket, ['init', '--recovery-key', file, '--threshold', '1']);
  t.equal(code, 0, stderr);
  t.match(stderr, /Recovery keys/);
  t.equal((await stat(file)).mode & 0o777, 0o600);
  const seed = (await readFile(file, 'utf8')).trim();
  const { id } = signerFromSeed(new Uint8Array(Buffer.from(seed, 'hex')));
  t.match(backend.calls, [{ method: 'init', args: [{ recovery: [id], threshold: 1 }] }]);
  const again = await runCli(socket, ['init', '--recovery-key', file]);
  t.same([again.code, again.stderr.includes('never overwritten')], [2, true], again.stderr);
  t.equal((await readFile(file, 'utf8')).trim(), seed);
  t.equal(backend.calls.length, 1, 'and no cluster was begun');
});

t.test('a recovery key is kept only where it may be the key of a cluster', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const directory = await temporaryDirectory(t);
  const file = path.join(directory, 'shop.key');
  const isThere = () =>
    access(file).then(
      () => true,
      () => false,
    );
  const init = (on: string) => runCli(on, ['init', '--recovery-key', file]);
  const unheard = await init(path.join(directory, 'none.sock'));
  t.match(unheard.stderr, /^shoal: E_NO_DAEMON/);
  t.strictSame([unheard.code, await isThere()], [3, false]);
  for (const code of ['E_PORT_IN_USE', 'E_DISK_FULL', 'E_NETWORK_FAILED', 'E_ALREADY_CLUSTER'] as const) {
    backend.init = () => Promise.reject(new ShoalError(code, 'no cluster was begun'));
    t.match((await init(socket)).stderr, new RegExp(`^shoal: ${code}`));
    t.equal(await isThere(), false, code);
  }
  backend.init = () => Promise.reject(new Error('a defect'));
  const unknown = await init(socket);
  t.match(unknown.stderr, /^The cluster may have begun: .*shop\.key may be the key of it\. .*operator ls/);
  t.equal(await isThere(), true, 'a daemon that failed by a defect');
  await unlink(file);
  const deaf = path.join(directory, 'deaf.sock');
  const server = createServer((connection) => connection.on('data', () => connection.destroy()));
  await new Promise<void>((resolve) => server.listen(deaf, resolve));
  t.teardown(() => server.close());
  const lost = await init(deaf);
  t.match(lost.stderr, /^The cluster may have begun.*\nshoal: E_NO_DAEMON: the daemon went away/);
  t.equal(await isThere(), true, 'a daemon that went away before it had answered');
});

t.test('token create may limit how long hosts are let in', async (t) => {
  const { socket, backend } = await apiFixture(t);
  await runCli(socket, ['token', 'create', '--node-ttl', '30d']);
  t.match(backend.calls, [{ method: 'createToken', args: [{ nodeTtl_ms: 30 * 86_400_000 }] }]);
});

t.test('token create prints the token alone', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const { stdout } = await runCli(socket, [
    'token',
    'create',
    '--ttl',
    '1h',
    '--uses',
    '3',
    '--role',
    'member',
    '--role',
    'worker',
  ]);
  t.equal(stdout, 'shoal1-token\n');
  t.strictSame(backend.calls[0]?.args, [{ roles: ['member', 'worker'], ttl_ms: 3_600_000, uses: 3 }]);
});

t.test('join takes a token from stdin, a file or the environment, and never as an argument', async (t) => {
  const { socket, backend, directory } = await apiFixture(t);
  const file = path.join(directory, 'token');
  await writeFile(file, 'shoal1-file\n');
  t.equal((await runCli(socket, ['join'], { stdin: 'shoal1-stdin\n' })).code, 0);
  t.equal((await runCli(socket, ['join', '--token-file', file])).code, 0);
  t.equal((await runCli(socket, ['join'], { env: { SHOAL_TOKEN: 'shoal1-env' } })).code, 0);
  t.strictSame(
    backend.calls.map((call) => call.args[0]),
    [{ token: 'shoal1-stdin' }, { token: 'shoal1-file' }, { token: 'shoal1-env' }],
  );
  const argument = await runCli(socket, ['join', 'shoal1-argument']);
  t.equal(argument.code, 2);
  t.match(argument.stderr, /--token-file/);
  t.notMatch(argument.stderr, 'shoal1-argument');
  t.equal(backend.calls.length, 3);
  t.equal((await runCli(socket, ['join'], { stdin: 'nonsense' })).code, 5);
  t.equal((await runCli(socket, ['join'])).code, 5, 'an empty token');
  t.equal((await runCli(socket, ['join'], { stdin: 'x'.repeat(100_000) })).code, 5, 'an endless token');
  t.equal((await runCli(socket, ['join', '--token-file', '/nonexistent'])).code, 2);
});

t.test('run sends what was given, shows progress on stderr, and ends when all is healthy', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const { code, stdout, stderr } = await runCli(
    socket,
    [
      'run',
      'web',
      'web:1',
      '--replicas',
      '2',
      '--cpu',
      '0.5',
      '--memory',
      '64Mi',
      '-p',
      'http:8080',
      '-p',
      '9090',
      '--env',
      'A=1=2',
      '--env',
      'HERE',
      '--constraint',
      'zone=a',
      '--health-http',
      '/ok',
      '--health-interval',
      '500ms',
      '--restart',
      'never',
      '--stop-grace',
      '3s',
      '--namespace',
      'shop',
      '--',
      'serve',
      '--fast',
    ],
    { env: { HERE: 'yes' } },
  );
  t.equal(code, 0);
  t.strictSame(backend.calls[0]?.args[0], {
    name: 'web',
    image: 'web:1',
    namespace: 'shop',
    replicas: 2,
    command: ['serve', '--fast'],
    ports: [
      { name: 'http', port: 8080 },
      { name: 'p9090', port: 9090 },
    ],
    restart: 'never',
    stop_grace_ms: 3000,
    resources: { cpu_millis: 500, memory_bytes: 64 << 20 },
    health: { kind: 'http', path: '/ok', interval_ms: 500 },
    env: { A: '1=2', HERE: 'yes' },
    constraints: { zone: 'a' },
  });
  t.match(stdout, /shop\/web\/0 +one +healthy +10\.210\.1\.2/);
  t.match(stderr, /web\/0 on one: pulling/);
  t.match(stderr, /layer aaaaaaaaaaaa on two: fetching 25% of 3\.0 MiB from one 1\.0 MiB/);
  t.match(stderr, /layer aaaaaaaaaaaa on two: ready of 3\.0 MiB from one 3\.0 MiB/);
  t.match(stderr, /shop\/web: 2 of 2 healthy/);
});

t.test('run takes a spec from a file or stdin, and flags win', async (t) => {
  const { socket, backend, directory } = await apiFixture(t);
  const spec = { name: 'api', image: 'api:1', env: { A: '1', B: '2' }, resources: { cpu_millis: 200 } };
  const file = path.join(directory, 'spec.json');
  await writeFile(file, JSON.stringify(spec));
  await writeFile(path.join(directory, 'env'), '# comment\n\nC=3\n');
  await runCli(socket, [
    'run',
    '-f',
    file,
    '--env',
    'B=9',
    '--env-file',
    path.join(directory, 'env'),
    '--memory',
    '1G',
    '--detach',
  ]);
  t.strictSame(backend.calls[0]?.args[0], {
    ...spec,
    env: { A: '1', B: '9', C: '3' },
    resources: { cpu_millis: 200, memory_bytes: 1e9 },
  });
  const piped = await runCli(socket, ['run', '-f', '-', '--detach', '--json'], {
    stdin: JSON.stringify(spec),
  });
  t.match(json(piped.stdout), { name: 'api', generation: 1 });
  for (const bad of ['{', '[]', '7']) {
    t.equal((await runCli(socket, ['run', '-f', '-'], { stdin: bad })).code, 6, bad);
  }
});

t.test('run exits with 8 when no node can take it', async (t) => {
  const { socket } = await apiFixture(t);
  const { code, stderr } = await runCli(socket, ['run', 'web', 'web:1', '--cpu', '2.5']);
  t.equal(code, 8);
  t.match(stderr, /^shoal: E_UNSATISFIABLE: /);
});

t.test('run exits with 9 and says why when it is not healthy in time', async (t) => {
  const { socket, backend } = await apiFixture(t);
  backend.watch = async function* (ref, { signal }): AsyncGenerator<WatchEvent> {
    const workload = { ...(await backend.workload(ref)), healthy: 0 };
    yield {
      at_ms: 1,
      workload,
      allocations: [],
      images: [],
      waiting: [{ index: 0, reasons: ['no node\x1b[2J has zone=b'] }],
    };
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  };
  const { code, stderr } = await runCli(socket, ['run', 'web', 'web:1', '--timeout', '4s']);
  t.equal(code, 9);
  t.match(stderr, /E_TIMEOUT: default\/web is not healthy after 4 s \(0 of 1\): no node/);
  t.notMatch(stderr, '\x1b', 'a reason from elsewhere does not write on the terminal');
});

t.test('an older generation is not taken for the one that was submitted', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const watch = backend.watch;
  backend.watch = async function* (ref, options) {
    for await (const event of watch(ref, options)) {
      const old = { ...event.workload, generation: 0 };
      yield {
        ...event,
        workload: old,
        allocations: event.allocations.map((one) => ({ ...one, generation: 0 })),
      };
      yield event;
    }
  };
  const { code, stderr } = await runCli(socket, ['run', 'web', 'web:1']);
  t.equal(code, 0);
  t.match(stderr, /pulling/);
});

t.test('listings are tables, and JSON with --json', async (t) => {
  const { socket, client, backend } = await apiFixture(t);
  await client.run(WEB);
  const table = await runCli(socket, ['ps', 'web', '--all']);
  t.match(
    table.stdout,
    /^INSTANCE +NODE +PHASE.*\ndefault\/web\/0 +one +running +healthy +10\.210\.1\.2 +http:8080/,
  );
  t.match(backend.calls.at(-1), { args: [{ namespace: 'default', workload: 'web', all: true }] });
  t.match(json((await runCli(socket, ['ps', 'web/1', '--json'])).stdout), [{ slot: 'default/web/1' }]);
  t.match((await runCli(socket, ['ps', '-w'])).stdout, /default\/web +web:1 +2\/2/);
  t.match(json((await runCli(socket, ['ps', '-w', '--json'])).stdout), [{ name: 'web' }]);
  t.match((await runCli(socket, ['node', 'ls'])).stdout, /one\* +NodeOne1111|one\* +\S+ +alive/);
  const listed = await runCli(socket, ['node', 'ls']);
  t.match(listed.stdout, /^two +\S+ +alive, copied, flagged/m);
  t.match(
    listed.stderr,
    /^two is copied: two daemons run with its key.* `shoal status` says where.*\ntwo is flagged: .*shoal node revoke two\)\.\n$/,
  );
  t.notMatch(listed.stdout, /^one.*copied/m);
  t.match(json((await runCli(socket, ['node', 'ls', '--json'])).stdout), [
    { name: 'one', self: true },
    { name: 'two' },
  ]);
  t.match((await runCli(socket, ['image', 'ls'])).stdout, /web:1 +bbbbbbbbbbbb +3\.0 MiB/);
  t.match(json((await runCli(socket, ['image', 'ls', '--json'])).stdout), [{ names: ['web:1'] }]);
  t.match(json((await runCli(socket, ['status', '--json'])).stdout), { cluster: { name: 'shop' } });
});

t.test('scale, stop and rm change a workload; one that is not there exits with 4', async (t) => {
  const { socket, client, backend } = await apiFixture(t);
  await client.run(WEB);
  t.match(json((await runCli(socket, ['scale', 'web', '5', '--json'])).stdout), { desired: 5 });
  t.match(json((await runCli(socket, ['stop', 'default/web', '--json'])).stdout), { stopped: true });
  t.equal((await runCli(socket, ['rm', 'web'])).stdout, 'default/web\n');
  t.equal(backend.specs.size, 0);
  for (const args of [
    ['scale', 'web', '1'],
    ['stop', 'web'],
    ['rm', 'web'],
    ['logs', 'web'],
  ]) {
    t.equal((await runCli(socket, args)).code, 4, args.join(' '));
  }
  t.equal((await runCli(socket, ['rm', 'web/1'])).code, 2, 'an instance is not a workload');
});

t.test('logs keep stdout and stderr apart, and follow ends with ^C', async (t) => {
  const { socket, client, backend } = await apiFixture(t);
  await client.run(WEB);
  const { code, stdout, stderr } = await runCli(socket, ['logs', 'web/1', '--tail', '9']);
  t.strictSame([code, stdout, stderr], [0, 'hello\n', 'careful\n']);
  t.match(backend.calls.at(-1), { args: [{ index: 1 }, { follow: false, tail: 9 }] });
  const followed = await runCli(socket, ['logs', '-f', 'web'], {
    onOutput: (text, interrupt) => text.includes('tick') && interrupt(),
  });
  t.match(followed.stdout, /^hello\ntick\n/);
  t.equal(followed.code, 0);
});

t.test('exec hands over stdin and exits with the exit code of the command', async (t) => {
  const { socket, client, backend } = await apiFixture(t);
  await client.run(WEB);
  const { code, stdout, stderr } = await runCli(socket, ['exec', 'web/1', 'cat', '-n', '--help'], {
    stdin: '<in>',
  });
  t.strictSame([code, stdout, stderr], [7, 'cat -n --help<in>', 'done']);
  t.match(backend.calls.at(-1), {
    args: [{ namespace: 'default', name: 'web', index: 1 }, ['cat', '-n', '--help']],
  });
  const quiet = await runCli(socket, ['exec', '--no-stdin', 'web', '--', 'ls', '-l'], { stdin: '<in>' });
  t.equal(quiet.stdout, 'ls -l');
  t.equal((await runCli(socket, ['exec', 'web', 'missing'])).code, 6);
});

t.test('paths of images are made absolute', async (t) => {
  const { socket, backend, directory } = await apiFixture(t);
  await mkdir(path.join(directory, 'site'));
  const made = await runCli(socket, ['image', 'import', 'a.tar', '--name', 'a:1'], { cwd: directory });
  t.equal(made.stdout, `sha256:${'b'.repeat(64)}\n`);
  t.match(backend.calls.at(-1), { args: [{ path: path.join(directory, 'a.tar'), name: 'a:1' }] });
  const build = [
    'image',
    'build',
    'site',
    '--name',
    's:1',
    '--entrypoint',
    'node',
    '--entrypoint',
    'x.js',
    '-e',
    'A=b',
    '-p',
    '80',
    '--json',
  ];
  t.match(json((await runCli(socket, build, { cwd: directory })).stdout), { names: ['s:1'] });
  t.strictSame(backend.calls.at(-1)?.args, [
    {
      directory: path.join(directory, 'site'),
      name: 's:1',
      entrypoint: ['node', 'x.js'],
      env: { A: 'b' },
      ports: [80],
    },
  ]);
});

t.test('a message of several lines or with control characters stays one line', async (t) => {
  const { socket, backend } = await apiFixture(t);
  backend.nodes = async () => {
    throw new ShoalError('E_TIMEOUT', 'a\nb\x1b[31m');
  };
  const { code, stderr } = await runCli(socket, ['node', 'ls']);
  t.equal(code, 9);
  t.match(stderr, /^shoal: E_TIMEOUT: a\?b\?\[31m\. .*\n$/);
});

t.test('daemon refuses options that cannot be, before anything is opened', async (t) => {
  const bad = [
    ['--listen', 'nowhere'],
    ['--door', '10.0.0.1:99999'],
    ['--dns', 'x:53'],
    ['--name', 'No Name'],
    ['--label', 'x'],
    ['--label', 'name=x'],
    ['--driver', 'docker'],
    ['--host', 'example'],
    ['--capacity-cpu', 'many'],
    ['--log-level', 'loud'],
  ];
  const results = await Promise.all(bad.map((args) => runCli('/nonexistent/s', ['daemon', ...args])));
  for (const [at, { code, stderr }] of results.entries()) {
    t.equal(code, 2, `${bad[at]?.join(' ')}: ${stderr}`);
    t.match(stderr, /^shoal: E_USAGE: .+\n$/);
  }
});
