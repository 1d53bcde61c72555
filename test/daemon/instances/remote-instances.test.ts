/** Asking other nodes for their instances: who may, and what a strange answer does. */
import t from 'tap';
import { signerFromSeed } from '../../../daemon/crypto.ts';
import { RemoteInstances } from '../../../daemon/instances/remote-instances.ts';
import { silentLog } from '../../../daemon/log.ts';
import { slotName } from '../../../protocols/base/workload.ts';
import { MemoryNetwork } from '../../../protocols/mesh/memory-mesh.ts';

const SLOT = slotName('default', 'web', 0);

async function pair(mayExec: boolean, progress: readonly unknown[] = []) {
  const network = new MemoryNetwork();
  const seeds = [1, 2].map((byte) => new Uint8Array(32).fill(byte));
  const ran: (readonly string[])[] = [];
  const meshes = await Promise.all(
    seeds.map((seed) =>
      network.createMesh({
        seed,
        cluster: 'ab'.repeat(32),
        listen: ['/ip4/127.0.0.1/tcp/0'],
        mdns: false,
        log: silentLog,
        isMember: () => true,
      }),
    ),
  );
  const [asking, serving] = meshes.map((mesh, at) => {
    const remote = new RemoteInstances({
      self: signerFromSeed(seeds[at]!).id,
      instances: { get: () => ({ container: 'web-0' }) } as never,
      runtime: {
        exec: async (_id: string, argv: readonly string[]) => {
          ran.push(argv);
          return { code: 0 };
        },
        logs: async function* () {
          yield { at_ms: null, stream: 'stdout', text: 'hello' };
        },
      } as never,
      images: { progress: () => progress } as never,
      mayExec: () => mayExec,
    });
    remote.attach(mesh);
    return remote;
  });
  await meshes[0]!.connect(signerFromSeed(seeds[1]!).id, meshes[1]!.addresses());
  return { asking: asking!, serving: serving!, node: signerFromSeed(seeds[1]!).id, ran, meshes };
}

t.test('a node that may not deploy reads logs of other nodes, and runs no commands there', async (t) => {
  const { asking, node, ran, meshes } = await pair(false);
  t.teardown(() => Promise.all(meshes.map((mesh) => mesh[Symbol.asyncDispose]())));
  const { signal } = new AbortController();
  await t.rejects(asking.exec(node, SLOT, ['id'], { onOutput: () => {}, signal }), { code: 'E_NOT_ALLOWED' });
  t.same(ran, []);
  const lines: string[] = [];
  for await (const { text } of asking.logs(node, SLOT, { follow: false, signal })) lines.push(text);
  t.same(lines, ['hello']);
});

t.test('a node that may deploy runs commands in instances of other nodes', async (t) => {
  const { asking, node, ran, meshes } = await pair(true);
  t.teardown(() => Promise.all(meshes.map((mesh) => mesh[Symbol.asyncDispose]())));
  const { signal } = new AbortController();
  t.equal(await asking.exec(node, SLOT, ['id'], { onOutput: () => {}, signal }), 0);
  t.same(ran, [['id']]);
});

t.test('progress that another node tells is taken as far as it has the right shape', async (t) => {
  const good = { digest: `sha256:${'a'.repeat(64)}`, size: 9, done: 3, phase: 'fetching', sources: { x: 3 } };
  const bad = [
    null,
    7,
    'text',
    {},
    { ...good, digest: 'sha256:x' },
    { ...good, done: '3' },
    { ...good, phase: 'lost' },
    { ...good, sources: null },
    { ...good, sources: { x: '3' } },
  ];
  const { asking, node, meshes } = await pair(true, [good, ...bad]);
  t.teardown(() => Promise.all(meshes.map((mesh) => mesh[Symbol.asyncDispose]())));
  t.same(await asking.progress(node, `sha256:${'b'.repeat(64)}`), [good]);
});
