/** Revocation over real connections: who was revoked is let go by all and let in by none. */
import path from 'node:path';
import t from 'tap';
import { systemClock } from '../../../daemon/clock.ts';
import { silentLog } from '../../../daemon/log.ts';
import { ShoalNode } from '../../../daemon/node.ts';
import { createMemoryRuntime, MemoryHost } from '../../../daemon/runtime/memory-runtime.ts';
import { createLibp2pMesh } from '../../../protocols/mesh/libp2p-mesh.ts';
import type { Mesh } from '../../../protocols/mesh/mesh.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { eventually } from './eventually.ts';

t.setTimeout(120_000);
const NODES = 4;

interface Host {
  readonly node: ShoalNode;
  readonly mesh: () => Mesh;
}

async function start(directory: string, name: string): Promise<Host> {
  let mesh: Mesh | undefined;
  const runtime = createMemoryRuntime({ time: systemClock, host: new MemoryHost() });
  const node = await ShoalNode.start(
    {
      data: path.join(directory, name),
      socket: path.join(directory, `${name}.sock`),
      listen: { host: '127.0.0.1', port: 0 },
      door: { host: '127.0.0.1', port: 0 },
      dns: [],
      name,
      labels: {},
      driver: 'process',
      host: '127.0.0.1',
      capacity: { cpu_millis: 1000, memory_bytes: 2 ** 30 },
      upstream: [],
      mdns: false,
      logLevel: 'warn',
    },
    {
      log: silentLog,
      // Nothing here may touch the networks of the host.
      runtime: Object.assign(runtime, { isolatesNetwork: false }),
      createMesh: async (init) => {
        mesh = await createLibp2pMesh(init);
        return mesh;
      },
    },
  );
  return { node, mesh: () => mesh! };
}

t.test('a revoked member is let go by all and let in by none', async (t) => {
  const directory = await temporaryDirectory(t);
  const hosts: Host[] = [];
  const alive = setInterval(() => {}, 1000);
  t.teardown(async () => {
    await Promise.all(hosts.map(({ node }) => node[Symbol.asyncDispose]()));
    clearInterval(alive);
  });
  for (let at = 0; at < NODES; at += 1) hosts.push(await start(directory, `n${at}`));
  const [first, ...others] = hosts as [Host, ...Host[]];
  await first.node.backend.init({});
  for (const { node } of others)
    await node.backend.join({ token: (await first.node.backend.createToken({})).token });
  for (const { node, mesh } of hosts)
    await eventually(`${node.name} is connected to all`, () => mesh().peers().length === NODES - 1);
  const gone = others.at(-1)!;
  const rest = hosts.filter((host) => host !== gone);

  const start_ms = performance.now();
  await first.node.cluster!.trust.revocations.revoke({ subject: gone.node.id, reason: 'lost' });
  await eventually('nobody is connected to it', () =>
    rest.every(({ mesh }) => !mesh().peers().includes(gone.node.id)),
  );
  t.comment(`from the write to the last connection closed: ${Math.round(performance.now() - start_ms)} ms`);

  for (const { node, mesh } of rest) {
    await t.rejects(gone.mesh().connect(node.id, mesh().addresses()), { code: 'E_UNREACHABLE' });
    t.notOk(mesh().peers().includes(gone.node.id), `${node.name} let it in`);
  }
  await eventually('it knows', async () => (await gone.node.backend.status()).standing?.state === 'revoked');
  for (const { node, mesh } of rest)
    await eventually(`${node.name} has the others`, () => mesh().peers().length === NODES - 2);
});
