/** Ports that somebody else holds, through the real command: told in one line by init and by a start, nothing changed. */
import net from 'node:net';
import t, { type Test } from 'tap';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { RealDaemon, refusedWith, TIMEOUT_MS } from './real-daemon.ts';

t.setTimeout(TIMEOUT_MS);

t.test('what cannot be listened on is told by a start, also of one that has no cluster yet', async (t) => {
  const directory = await temporaryDirectory(t);
  const { port } = await listen(t);
  for (const option of ['--listen', '--door', '--dns']) {
    for (const [host, code] of [
      ['127.0.0.1', 'E_PORT_IN_USE'],
      // TEST-NET-1 (RFC 5737) is nobody's.
      ['192.0.2.1', 'E_ADDRESS_NOT_HERE'],
    ] as const) {
      const args = [option, `${host}:${port}`];
      const result = await RealDaemon.fail(t, { directory, name: 'a', args });
      refusedWith(t, result, code, `${option} ${host}`);
      t.match(result.stderr, `${host} port ${port}`, 'it says which');
    }
  }
});

t.test('a port that is taken meanwhile is told by init and by a start, and nothing is changed', async (t) => {
  const directory = await temporaryDirectory(t);
  const free = await listen(t);
  await free.close();
  const args = ['--listen', `127.0.0.1:${free.port}`];
  const mesh = await RealDaemon.start(t, { directory, name: 'mesh', args });
  const door = await RealDaemon.start(t, {
    directory,
    name: 'door',
    args: ['--door', `127.0.0.1:${free.port}`],
  });
  const busy = await listen(t, free.port);
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
  const gone = ['--listen', `192.0.2.1:${busy.port}`];
  const failed = await RealDaemon.fail(t, { directory, name: 'mesh', args: gone });
  refusedWith(t, failed, 'E_ADDRESS_NOT_HERE', 'a start with an address that is gone');
  const back = await RealDaemon.start(t, { directory, name: 'mesh', args });
  t.match(await back.client.status(), { cluster: { name: 'shoal' } }, 'its cluster is as it was');
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
