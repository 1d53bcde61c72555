/** The socket file: who may use it, and whose it is. */
import { statSync } from 'node:fs';
import { chmod, chown, lstat, mkdir, readdir, rename, writeFile } from 'node:fs/promises';
import { createServer, Server } from 'node:net';
import path from 'node:path';
import t from 'tap';
import { ApiClient } from '../../../daemon/api/client.ts';
import { createApiServer } from '../../../daemon/api/server.ts';
import { type Log, silentLog } from '../../../daemon/log.ts';
import { apiFixture, temporaryDirectory } from './api-fixture.ts';
import { fakeBackend } from './fake-backend.ts';

const init = (socket: string) => ({ backend: fakeBackend(), socket, log: silentLog });

t.test('only the owner may connect when the host lacks the group', async (t) => {
  const socket = path.join(await temporaryDirectory(t), 'deep', 's.sock');
  const made: unknown[] = [];
  const log: Log = (_level, message, fields) => {
    if (message.startsWith('made')) made.push(fields);
  };
  const server = await createApiServer({ ...init(socket), log, group: 'no-such-group' });
  t.teardown(() => server.close());
  t.equal((await lstat(socket)).mode & 0o777, 0o600);
  t.same(made, [{ directory: path.dirname(socket) }], 'a directory that was made for it is told');
});

t.test('nobody else finds the socket before it has its mode, whatever the umask', async (t) => {
  const directory = await temporaryDirectory(t);
  const backend = fakeBackend();
  const before = process.umask(0);
  t.teardown(() => process.umask(before));
  // From when it listens to when its group is looked up, the file is where only its owner may look.
  const open: string[] = [];
  const parents: string[] = [];
  const listen = Server.prototype.listen;
  Server.prototype.listen = function (this: Server, ...given: unknown[]) {
    const [{ path: file }] = given as [{ path: string }];
    const nursery = path.dirname(file);
    parents.push(path.dirname(nursery));
    const { mode } = statSync(nursery);
    if ((mode & 0o077) !== 0) open.push(file);
    return Reflect.apply(listen, this, given) as Server;
  } as typeof listen;
  t.teardown(() => {
    Server.prototype.listen = listen;
  });
  await chmod(directory, 0o755);
  const socket = path.join(directory, 's.sock');
  const server = await createApiServer({ backend, socket, log: silentLog, group: 'no-such-group' });
  t.teardown(() => server.close());
  t.same(open, []);
  t.same(parents, [directory], 'what is above may be another file system, or may not be written');
  t.same(await readdir(directory), ['s.sock'], 'and nothing is left behind');
  t.equal((await new ApiClient(socket).version()).api, 'v1');
});

t.test('a client uses no socket that another user has put where all may write', async (t) => {
  const skip = process.getuid?.() !== 0 && 'needs root: gives the socket to another user';
  t.test('E_SOCKET_DENIED', { skip }, async (t) => {
    const { socket, client } = await apiFixture(t);
    await chown(socket, 4242, 4242);
    t.equal((await client.version()).api, 'v1', 'where only its owner may write it is fine');
    await chmod(path.dirname(socket), 0o1777);
    await t.rejects(client.version(), { code: 'E_SOCKET_DENIED', message: /of another user/ });
    await chown(socket, 0, 0);
    t.equal((await client.version()).api, 'v1');
  });
});

t.test('a group that the user has may connect', async (t) => {
  const skip = process.getuid?.() !== 0 && 'needs root: hands the socket to another group';
  t.test('mode 0660', { skip }, async (t) => {
    const socket = path.join(await temporaryDirectory(t), 's.sock');
    const server = await createApiServer({ ...init(socket), group: 'daemon' });
    t.teardown(() => server.close());
    const { mode, gid } = await lstat(socket);
    t.equal(mode & 0o777, 0o660);
    t.not(gid, 0);
  });
});

t.test('the socket file goes away with the server, twice closed', async (t) => {
  const { server, socket } = await apiFixture(t);
  await server.close();
  await server.close();
  await t.rejects(lstat(socket), { code: 'ENOENT' });
});

t.test('a live daemon keeps its socket', async (t) => {
  const { socket, client } = await apiFixture(t);
  await t.rejects(createApiServer(init(socket)), { code: 'E_SOCKET_IN_USE' });
  t.equal((await client.version()).api, 'v1');
});

t.test('the socket file of a dead daemon is replaced', async (t) => {
  const directory = await temporaryDirectory(t);
  const socket = path.join(directory, 's.sock');
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(`${socket}.old`, resolve));
  await rename(`${socket}.old`, socket);
  await new Promise((resolve) => dead.close(resolve));
  t.ok((await lstat(socket)).isSocket());
  const server = await createApiServer(init(socket));
  t.teardown(() => server.close());
  t.equal((await new ApiClient(socket).version()).api, 'v1');
});

t.test('a file that is no socket is left alone', async (t) => {
  const socket = path.join(await temporaryDirectory(t), 's.sock');
  await writeFile(socket, 'precious');
  await t.rejects(createApiServer(init(socket)), { code: 'E_SOCKET_IN_USE' });
  t.ok((await lstat(socket)).isFile());
});

t.test('a server does not remove a socket that has replaced its own', async (t) => {
  const { server, socket } = await apiFixture(t);
  await rename(socket, `${socket}.moved`);
  const other = await createApiServer(init(socket));
  t.teardown(() => other.close());
  await server.close();
  t.equal((await new ApiClient(socket).version()).api, 'v1');
});

t.test('a path that is too long says so', async (t) => {
  const socket = path.join(await temporaryDirectory(t), 'x'.repeat(120));
  await t.rejects(createApiServer(init(socket)), { code: 'E_USAGE' });
});

t.test('a socket that nobody listens on, or no socket, is E_NO_DAEMON', async (t) => {
  const directory = await temporaryDirectory(t);
  await t.rejects(new ApiClient(path.join(directory, 'none')).version(), { code: 'E_NO_DAEMON' });
  await writeFile(path.join(directory, 'file'), '');
  await t.rejects(new ApiClient(path.join(directory, 'file')).version(), { code: 'E_NO_DAEMON' });
});

const isRoot = process.getuid?.() === 0;
t.test(
  'a directory that may not be written is E_SOCKET_DENIED',
  { skip: isRoot && 'root may write anywhere' },
  async (t) => {
    const directory = path.join(await temporaryDirectory(t), 'closed');
    await mkdir(directory);
    await chmod(directory, 0o500);
    await t.rejects(createApiServer(init(path.join(directory, 's.sock'))), { code: 'E_SOCKET_DENIED' });
  },
);

t.test(
  'a directory that cannot be made is E_SOCKET_DENIED, at once',
  { skip: process.platform !== 'linux' && 'needs /proc' },
  async (t) => {
    await t.rejects(createApiServer(init('/proc/shoal/s.sock')), { code: 'E_SOCKET_DENIED' });
  },
);

t.test('something else that answers on the socket is not taken for a daemon', async (t) => {
  const socket = path.join(await temporaryDirectory(t), 's.sock');
  const other = createServer((connection) => {
    connection.on('error', () => {});
    connection.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello');
  });
  await new Promise<void>((resolve) => other.listen(socket, resolve));
  t.teardown(() => other.close());
  await t.rejects(new ApiClient(socket).version(), { code: 'E_MALFORMED' });
});
