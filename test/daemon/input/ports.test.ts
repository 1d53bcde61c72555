/** Ports that somebody else holds, through the real command: told in one line by init and by a start, nothing changed. */
import net from 'node:net';
import t, { type Test } from 'tap';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { RealDaemon, refusedWith, TIMEOUT_MS } from './real-daemon.ts';

t.setTimeout(TIMEOUT_MS);

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
