/** The build, started as an installed package is: what bundling could break shows only when it runs. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { eventually } from '../daemon/node/eventually.ts';

type Package = typeof import('../../daemon/index.ts');

const root = path.resolve(import.meta.dirname, '../..');
const dist = path.join(t.testdir(), 'dist');

/** Without what tap loads into the processes of its tests. */
function run(...argv: readonly string[]) {
  const options = { encoding: 'utf8', cwd: root, input: '{}\n' } as const;
  return spawnSync('env', ['-u', 'NODE_OPTIONS', process.execPath, ...argv], options);
}

t.test('the build is made whole', (t) => {
  const { status, stderr } = run('scripts/build.ts', dist);
  t.equal(status, 0, stderr);
  t.ok(readdirSync(dist).includes('index.js'));
  t.notOk(readdirSync(path.dirname(dist)).includes('dist.making'));
  t.end();
});

t.test('the command runs', (t) => {
  const { status, stdout, stderr } = run(path.join(dist, 'main.js'), '--help');
  t.equal(status, 0, stderr);
  t.match(stdout, /^Usage: shoal /);
  t.end();
});

t.test('the program that unpacks runs, and is beside the code that starts it', (t) => {
  t.equal(JSON.parse(run(path.join(dist, 'unpack-process.js')).stdout).ok, false);
  const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.js'),
  );
  const naming = files.filter((name) =>
    readFileSync(path.join(dist, name), 'utf8').includes('./unpack-process'),
  );
  t.ok(naming.length > 0);
  for (const name of naming) t.equal(path.dirname(name), '.');
  t.end();
});

t.test('two nodes of the build make a cluster', async (t) => {
  const { createNode } = (await import(path.join(dist, 'index.js'))) as Package;
  const any = { host: '127.0.0.1', port: 0 };
  const given = { listen: any, door: any, host: '127.0.0.1', driver: 'process', mdns: false } as const;
  const at = (name: string) => ({
    name,
    data: path.join(dist, name),
    socket: path.join(dist, `${name}.sock`),
  });
  await using first = await createNode({ ...given, ...at('a') });
  await using second = await createNode({ ...given, ...at('b') });
  await first.api.init({});
  const { token } = await first.api.createToken({});
  await second.api.join({ token });
  for (const { api } of [first, second])
    await eventually('both are there', async () => {
      const nodes = await api.nodes();
      return nodes.length === 2 && nodes.every(({ status }) => status === 'alive');
    });
  t.pass('they found one another');
});
