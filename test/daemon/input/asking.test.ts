/** Wrong questions to a daemon, through the real command: each is told in one line, and changes nothing. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import t from 'tap';
import { blobFile, layoutFiles, makeImage, tarOf } from '../../images/fixtures.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { RealDaemon, refusedWith, TIMEOUT_MS } from './real-daemon.ts';

t.setTimeout(TIMEOUT_MS);

t.test('what cannot be is refused in one line, and nothing is changed', async (t) => {
  const directory = await temporaryDirectory(t);
  const daemon = await RealDaemon.start(t, { directory, name: 'one' });
  const cli = (...args: string[]) => daemon.cli(args);
  const file = async (name: string, content: string | Uint8Array) => {
    const place = path.join(directory, name);
    await mkdir(path.dirname(place), { recursive: true });
    await writeFile(place, content);
    return place;
  };

  await t.test('before there is a cluster', async (t) => {
    refusedWith(t, await cli('ps'), 'E_NO_CLUSTER');
    refusedWith(t, await cli('run', 'web', 'web:1'), 'E_NO_CLUSTER');
    refusedWith(t, await cli('token', 'create'), 'E_NO_CLUSTER');
  });
  t.equal((await cli('init')).code, 0);

  await t.test('specs', async (t) => {
    const [garbage, list, wrong, unknown] = await Promise.all([
      cli('run', '-f', await file('garbage.json', '{"name": "web", ')),
      cli('run', '-f', await file('list.json', '[]')),
      cli('run', '-f', await file('wrong.json', '{"name":"web","image":"web:1","replicas":-1}')),
      cli('run', '-f', await file('unknown.json', '{"name":"web","image":"web:1","replica":1}')),
    ]);
    refusedWith(t, garbage, 'E_BAD_SPEC', 'no JSON');
    refusedWith(t, list, 'E_BAD_SPEC', 'no object');
    refusedWith(t, wrong, 'E_BAD_SPEC', 'a bad field');
    t.match(wrong.stderr, /replicas/);
    refusedWith(t, unknown, 'E_BAD_SPEC', 'a misspelt field');
    t.match(unknown.stderr, /replica\b/);
    const [missing, cpu, memory, label, image] = await Promise.all([
      cli('run', '-f', path.join(directory, 'missing.json')),
      cli('run', 'web', 'web:1', '--cpu', '64'),
      cli('run', 'web', 'web:1', '--memory', '64Gi'),
      cli('run', 'web', 'web:1', '--constraint', 'zone=mars'),
      cli('run', 'web', 'web:1'),
    ]);
    refusedWith(t, missing, 'E_USAGE', 'no file');
    refusedWith(t, cpu, 'E_UNSATISFIABLE', 'more cores than any node has');
    t.equal(cpu.code, 8);
    refusedWith(t, memory, 'E_UNSATISFIABLE', 'more memory than any node has');
    refusedWith(t, label, 'E_UNSATISFIABLE', 'a label that no node has');
    refusedWith(t, image, 'E_IMAGE_UNKNOWN');
    t.same(await daemon.client.workloads(), []);
  });

  await t.test('names of nothing', async (t) => {
    const results = await Promise.all([
      cli('scale', 'nope', '2'),
      cli('stop', 'nope'),
      cli('rm', 'nope'),
      cli('logs', 'nope'),
      cli('exec', '--no-stdin', 'nope', '--', 'true'),
      cli('exec', '--no-stdin', '--node', 'nowhere', 'nope', '--', 'true'),
    ]);
    for (const result of results) refusedWith(t, result, 'E_NOT_FOUND');
    t.match(results.at(-1)!.stderr, /nowhere/);
    refusedWith(t, await cli('scale', 'nope', 'many'), 'E_USAGE');
  });

  await t.test('images', async (t) => {
    const image = await makeImage([[{ path: 'file', content: 'x'.repeat(20_000) }]], { plain: true });
    const files = layoutFiles([{ image, annotations: { 'org.opencontainers.image.ref.name': 'web:1' } }]);
    const tar = await tarOf([...files].map(([name, content]) => ({ path: name, content })));
    const layer = blobFile(image.layers[0]!.blob);
    const corrupt = Buffer.from(files.get(layer)!);
    corrupt[1000]! ^= 0xff;
    for (const [name, content] of files) await file(`layout/${name}`, name === layer ? corrupt : content);
    await mkdir(path.join(directory, 'empty'));
    const [absent, text, empty, truncated, damaged, nameless] = await Promise.all([
      cli('image', 'import', path.join(directory, 'absent.tar')),
      cli('image', 'import', await file('image.txt', 'this is no image\n')),
      cli('image', 'import', path.join(directory, 'empty')),
      cli('image', 'import', await file('truncated.tar', tar.subarray(0, tar.byteLength - 15_000))),
      cli('image', 'import', path.join(directory, 'layout')),
      cli('image', 'import', await file('whole.tar', tar), '--name', 'BAD NAME'),
    ]);
    refusedWith(t, absent, 'E_IMAGE_INVALID', 'a path of nothing');
    refusedWith(t, text, 'E_IMAGE_INVALID', 'a file that is no image');
    refusedWith(t, empty, 'E_IMAGE_INVALID', 'an empty directory');
    refusedWith(t, truncated, 'E_IMAGE_INVALID', 'a truncated archive');
    refusedWith(t, damaged, 'E_BLOB_CORRUPT', 'a layer that was changed');
    refusedWith(t, nameless, 'E_BAD_INPUT', 'a name that is none');
    t.same(await daemon.client.images(), []);
    t.equal(
      (await cli('image', 'import', path.join(directory, 'whole.tar'))).code,
      0,
      'the same, whole, is taken',
    );
    refusedWith(t, await cli('run', 'web', 'web:2'), 'E_IMAGE_UNKNOWN', 'another tag');
  });

  await t.test('garbage on the socket is answered, and the daemon goes on', async (t) => {
    for (const bytes of [
      '\0\u0001\u0002 garbage\r\n\r\n',
      'GET / HTTP/9.9\r\n\r\n',
      `POST /v1/join HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n`,
    ]) {
      const answer = await say(daemon.socket, bytes);
      t.match(answer, /^HTTP\/1\.1 400 /);
      t.match(answer, /E_MALFORMED/);
    }
    t.equal((await daemon.client.status()).cluster?.name, 'shoal');
  });

  await t.test('a socket where nobody listens', async (t) => {
    const nobody = path.join(directory, 'nobody.sock');
    const [flag, plain] = await Promise.all([
      cli('--socket', nobody, 'ps'),
      cli('ps', '--socket', await file('plain-file', '')),
    ]);
    refusedWith(t, flag, 'E_NO_DAEMON');
    t.equal(flag.code, 3);
    refusedWith(t, plain, 'E_NO_DAEMON', 'a file that is no socket');
  });

  t.match(await readFile(path.join(daemon.data, 'node.key'), 'utf8'), /^[0-9a-f]{64}\n$/);
});

function say(socket: string, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const connection = net.connect(socket, () => connection.write(bytes));
    connection.setEncoding('utf8').on('data', (chunk: string) => {
      answer += chunk;
    });
    connection.setTimeout(10_000, () => connection.destroy(new Error('no answer')));
    connection.on('error', reject).on('close', () => resolve(answer));
  });
}
