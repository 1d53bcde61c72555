/** What another daemon holds, sockets that cannot be made, and logs that nobody takes, through the real command. */
import { closeSync, openSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { RealDaemon, refusedWith, TIMEOUT_MS } from './real-daemon.ts';

t.setTimeout(TIMEOUT_MS);

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

t.test('a log for which there is no room ends no daemon', async (t) => {
  const directory = await temporaryDirectory(t);
  const stderr = openSync('/dev/full', 'w');
  t.teardown(() => closeSync(stderr));
  const daemon = await RealDaemon.start(t, { directory, name: 'a', stderr, args: ['--log-level', 'debug'] });
  await daemon.client.init({});
  t.match(await daemon.client.status(), { nodeName: 'a' });
  t.equal(await daemon.stop(), 0, 'and it stops as it should');
});

t.test('a directory that is named by nothing is not the one where it was started', async (t) => {
  const directory = await temporaryDirectory(t);
  refusedWith(t, await RealDaemon.fail(t, { directory, name: 'a', args: ['--data', ''] }), 'E_USAGE');
});
