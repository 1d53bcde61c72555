import t from 'tap';
import { MemoryNetwork } from '../../../protocols/mesh/memory-mesh.ts';
import { connected, event, failure, meshConformance, TestCluster } from '../../conformance/mesh.ts';

const network = new MemoryNetwork();
meshConformance(t, (init) => network.createMesh(init));

t.test('a pair that is cut loses its connection and gets none until it is healed', async (t) => {
  const cluster = new TestCluster(t, (init) => network.createMesh(init));
  const [a, b] = await cluster.pair();
  const told = [event(a, 'disconnected'), event(b, 'disconnected')];
  network.cut(a.self, b.self);
  await Promise.all(told);
  t.equal(await failure(a.connect(b.self, b.addresses())), 'E_UNREACHABLE');
  t.equal(await failure(b.connect(a.self, a.addresses())), 'E_UNREACHABLE');
  network.heal(b.self, a.self);
  await connected(a, b);
  t.same(b.peers(), [a.self]);
});

t.test('nodes on one LAN discover each other, when they want to', async (t) => {
  const own = new MemoryNetwork();
  const cluster = new TestCluster(t, (init) => own.createMesh(init));
  const a = await cluster.node({ mdns: true });
  await cluster.node({ mdns: false });
  const seen = event(a, 'discovered');
  const b = await cluster.node({ mdns: true });
  t.same(await seen, [b.self, b.addresses()]);
  t.same(await event(b, 'discovered'), [a.self, a.addresses()]);
});
