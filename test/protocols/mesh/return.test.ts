/** A member that dials again while its old connection still looks open here: after a cut, or in a new life. */
import { randomBytes } from 'node:crypto';
import t, { type Test } from 'tap';
import { createLibp2pMesh } from '../../../protocols/mesh/libp2p-mesh.ts';
import { event } from '../../conformance/mesh.ts';

const LONG_MS = 6_000;

async function node(t: Test, seed: Uint8Array, name: string) {
  const mesh = await createLibp2pMesh({
    seed,
    cluster: 'ab'.repeat(32),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    isMember: () => true,
    mdns: false,
    log: () => undefined,
  });
  mesh.handle('who', async () => Buffer.from(name));
  t.teardown(() => mesh[Symbol.asyncDispose]());
  return mesh;
}

async function answerer(mesh: Awaited<ReturnType<typeof node>>, peer: string): Promise<string> {
  return Buffer.from(await mesh.request(peer, 'who', new Uint8Array())).toString();
}

t.test(
  'a member that dials anew is served on the new connection alone, whatever the clock says',
  async (t) => {
    const seed = randomBytes(32);
    const here = await node(t, randomBytes(32), 'here');
    const before = await node(t, seed, 'before');
    await before.connect(here.self, here.addresses());
    t.equal(await answerer(here, before.self), 'before');

    const { now } = Date;
    const elapsed = performance.now.bind(performance);
    Date.now = () => now() - LONG_MS;
    performance.now = () => elapsed() + LONG_MS;
    t.teardown(() => {
      Date.now = now;
      performance.now = elapsed;
    });
    const after = await node(t, seed, 'after');
    const lost = event(here, 'disconnected');
    const found = event(here, 'connected');
    await after.connect(here.self, here.addresses());
    t.same(await lost, [after.self]);
    t.same(await found, [after.self], 'whoever keeps something for a connection begins anew');
    t.equal(await answerer(here, after.self), 'after');
  },
);

t.test('connections of one moment stand beside one another: both sides may have dialled', async (t) => {
  const seed = randomBytes(32);
  const here = await node(t, randomBytes(32), 'here');
  const one = await node(t, seed, 'one');
  const two = await node(t, seed, 'two');
  await one.connect(here.self, here.addresses());
  await two.connect(here.self, here.addresses());
  t.same(one.peers(), [here.self]);
  t.same(two.peers(), [here.self]);
});
