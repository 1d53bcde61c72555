/** Data directories that a daemon cannot use, through the real command: told in one line, and left as they are. */
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t from 'tap';
import { isRoot } from '../../images/fixtures.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { RealDaemon, refusedWith, TIMEOUT_MS } from './real-daemon.ts';

t.setTimeout(TIMEOUT_MS);

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
