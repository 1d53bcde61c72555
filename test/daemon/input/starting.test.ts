/** Wrong ways to start a daemon, through the real command: one line, the documented exit code, nothing left. */
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t, { type Test } from 'tap';
import { isRoot } from '../../images/fixtures.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { RealDaemon, refusedWith } from './real-daemon.ts';

t.test('what another daemon holds is not taken from it', async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await RealDaemon.start(t, { directory, name: 'first' });
  const [locked, socket] = await Promise.all([
    RealDaemon.fail(t, { directory, name: 'second', args: ['--data', first.data] }),
    RealDaemon.fail(t, { directory, name: 'third', args: ['--socket', first.socket] }),
  ]);
  refusedWith(t, locked, 'E_DATA_LOCKED');
  refusedWith(t, socket, 'E_SOCKET_IN_USE');
  t.match(await first.client.status(), { nodeName: 'first' }, 'the first one goes on');
});

t.test('a port in use is told by init, by join and by a start, and nothing is changed', async (t) => {
  const directory = await temporaryDirectory(t);
  const busy = await listen(t);
  const args = ['--listen', `127.0.0.1:${busy.port}`];
  const [mesh, door, dns] = await Promise.all([
    RealDaemon.start(t, { directory, name: 'mesh', args }),
    RealDaemon.start(t, { directory, name: 'door', args: ['--door', `127.0.0.1:${busy.port}`] }),
    RealDaemon.fail(t, { directory, name: 'dns', args: ['--dns', `127.0.0.1:${busy.port}`] }),
  ]);
  refusedWith(t, dns, 'E_PORT_IN_USE', 'dns');
  for (const daemon of [mesh, door]) {
    const result = await daemon.cli(['init']);
    refusedWith(t, result, 'E_PORT_IN_USE');
    t.ok(result.stderr.includes(String(busy.port)), 'it says which');
    t.match(await daemon.client.status(), { cluster: null });
  }
  await busy.close();
  t.equal((await mesh.cli(['init'])).code, 0, 'once the port is free it goes on');
  await mesh.stop();
  const again = await listen(t, busy.port);
  refusedWith(t, await RealDaemon.fail(t, { directory, name: 'mesh', args }), 'E_PORT_IN_USE', 'a start');
  await again.close();
  const back = await RealDaemon.start(t, { directory, name: 'mesh', args });
  t.match(await back.client.status(), { cluster: { name: 'shoal' } }, 'its cluster is as it was');
});

t.test('data that is newer, damaged or not to be had is left as it is', async (t) => {
  const directory = await temporaryDirectory(t);
  const make = async (name: string) => {
    const place = path.join(directory, name);
    await mkdir(place, { recursive: true });
    return place;
  };
  const newer = new DatabaseSync(path.join(await make('newer'), 'state.db'));
  newer.exec('PRAGMA user_version = 99');
  newer.close();
  await writeFile(path.join(await make('garbage'), 'state.db'), 'this is no database'.repeat(1000));
  await writeFile(path.join(await make('key'), 'node.key'), 'not a key\n');
  await writeFile(path.join(directory, 'file'), 'x');
  const fails = (name: string, data = path.join(directory, name)) =>
    RealDaemon.fail(t, { directory, name, args: ['--data', data] });
  const [tooNew, garbage, key, file, below] = [
    ...(await Promise.all([fails('newer'), fails('garbage'), fails('key')])),
    ...(await Promise.all([fails('file'), fails('below', path.join(directory, 'file', 'data'))])),
  ];
  refusedWith(t, tooNew!, 'E_DATA_NEWER');
  refusedWith(t, garbage!, 'E_DATA_CORRUPT', 'garbage for a database');
  t.match(await readFile(path.join(directory, 'garbage', 'state.db'), 'utf8'), /^this is no database/);
  refusedWith(t, key!, 'E_DATA_CORRUPT', 'a damaged key');
  t.match(key!.stderr, /node\.key/);
  t.equal(await readFile(path.join(directory, 'key', 'node.key'), 'utf8'), 'not a key\n');
  refusedWith(t, file!, 'E_DATA_DENIED', 'a file where the directory should be');
  refusedWith(t, below!, 'E_DATA_DENIED', 'a place below a file');
});

t.test(
  'a directory that may not be written is named',
  { skip: isRoot ? 'root may write everywhere' : false },
  async (t) => {
    const directory = await temporaryDirectory(t);
    const place = path.join(directory, 'readonly');
    await mkdir(place, { mode: 0o500 });
    const data = await RealDaemon.fail(t, {
      directory,
      name: 'a',
      args: ['--data', path.join(place, 'data')],
    });
    refusedWith(t, data, 'E_DATA_DENIED');
    const socket = await RealDaemon.fail(t, {
      directory,
      name: 'b',
      args: ['--socket', path.join(place, 's')],
    });
    refusedWith(t, socket, 'E_SOCKET_DENIED');
    await chmod(place, 0o700);
  },
);

t.test('a socket that cannot be made there is told', async (t) => {
  const directory = await temporaryDirectory(t);
  await writeFile(path.join(directory, 'file'), 'x');
  const [below, over] = await Promise.all([
    RealDaemon.fail(t, { directory, name: 'a', args: ['--socket', path.join(directory, 'file', 's.sock')] }),
    RealDaemon.fail(t, { directory, name: 'b', args: ['--socket', path.join(directory, 'file')] }),
  ]);
  refusedWith(t, below, 'E_SOCKET_DENIED', 'below a file');
  refusedWith(t, over, 'E_SOCKET_IN_USE', 'over a file');
  t.equal(await readFile(path.join(directory, 'file'), 'utf8'), 'x');
});

async function listen(t: Test, port = 0): Promise<{ port: number; close(): Promise<void> }> {
  const server = net.createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const close = () => new Promise<void>((resolve) => server.close(() => resolve()));
  t.teardown(close);
  return { port: (server.address() as net.AddressInfo).port, close };
}
