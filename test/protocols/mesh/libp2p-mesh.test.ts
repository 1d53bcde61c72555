import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { RPC } from '@chainsafe/libp2p-gossipsub/message';
import { yamux } from '@chainsafe/libp2p-yamux';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import t, { type Test } from 'tap';
import { UNWANTED_MESSAGE_BYTES_MIN } from '../../../protocols/mesh/gossip.ts';
import { createLibp2pMesh } from '../../../protocols/mesh/libp2p-mesh.ts';
import { MESH_LIMITS, type Mesh, type MeshGuard } from '../../../protocols/mesh/mesh.ts';
import { connected, event, meshConformance, TestCluster, until } from '../../conformance/mesh.ts';

/** Nothing else that gossip sends is as small. */
const UNWANTED_FRAME_BYTES = RPC.encode({
  subscriptions: [],
  messages: [],
  control: { ihave: [], iwant: [], graft: [], prune: [], idontwant: [{ messageIDs: [new Uint8Array(20)] }] },
}).byteLength;

/** Of the node in a process of its own. */
const OTHERS_CLUSTER = 'ab'.repeat(32);
const GOSSIP_HEARTBEAT_MS = 1000;
/** In a stream's window and in the buffers of two sockets. */
const UNDER_WAY_BYTES_MAX = 16 << 20;

meshConformance(t, createLibp2pMesh);

t.test('says what it need not be sent in a full mesh, and elsewhere of large messages alone', async (t) => {
  const cluster = new TestCluster(t, createLibp2pMesh);
  let isFull = true;
  let unwanted_count = 0;
  let published_count = 0;
  const admit: MeshGuard['admit'] = (_peer, use, bytes) => {
    if (use === 'message' && bytes === UNWANTED_FRAME_BYTES) unwanted_count += 1;
    return true;
  };
  const guard: MeshGuard = { admit, offence: () => undefined };
  const nodes = [];
  for (let at = 0; at < 3; at++) nodes.push(await cluster.node({ guard, isFullMesh: () => isFull }));
  const [author, ...readers] = nodes as [Mesh, Mesh, Mesh];
  for (const reader of readers) {
    reader.handlePublished(() => {
      published_count += 1;
      return 'accept';
    });
  }
  for (const [at, node] of nodes.entries())
    for (const other of nodes.slice(at + 1)) await connected(node, other);
  const publish = async (bytes: number) => await author.publish(randomBytes(bytes));
  await until(async () => {
    await publish(100);
    await sleep(50);
    return unwanted_count > 0;
  });
  // What was on its way comes first.
  await sleep(200);
  isFull = false;
  const before = { unwanted_count, published_count };
  for (let n = 0; n < 5; n++) await publish(UNWANTED_MESSAGE_BYTES_MIN - 1);
  await until(() => published_count === before.published_count + 5 * readers.length);
  await sleep(200);
  t.equal(unwanted_count, before.unwanted_count);
  await publish(UNWANTED_MESSAGE_BYTES_MIN);
  await until(() => unwanted_count > before.unwanted_count);
});

/** A libp2p node that knows nothing of the mesh and keeps to none of its rules. */
async function rawNode(t: Test, seed: Uint8Array = randomBytes(32)) {
  const node = await createLibp2p({
    privateKey: await generateKeyPairFromSeed('Ed25519', seed),
    transports: [tcp()],
    connectionEncrypters: [tls()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  });
  t.teardown(() => node.stop());
  return node;
}

interface Other {
  readonly child: ChildProcess;
  readonly self: string;
  readonly addresses: string[];
}

async function startProcess(t: Test): Promise<Other> {
  const child = spawn(process.execPath, [`${import.meta.dirname}/mesh-process.ts`], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {},
  });
  t.teardown(() => child.kill('SIGKILL'));
  child.stdin!.write(
    `${JSON.stringify({ seed: randomBytes(32).toString('hex'), cluster: OTHERS_CLUSTER })}\n`,
  );
  const [line] = await once(createInterface({ input: child.stdout! }), 'line');
  return { child, ...(JSON.parse(line as string) as { self: string; addresses: string[] }) };
}

async function besideProcess(t: Test): Promise<{ mesh: Mesh; other: Other }> {
  const cluster = new TestCluster(t, createLibp2pMesh);
  const mesh = await cluster.node({ isMember: () => true, cluster: OTHERS_CLUSTER });
  const other = await startProcess(t);
  await mesh.connect(other.self, other.addresses);
  return { mesh, other };
}

t.test('a process that is killed is noticed by its closed connection', async (t) => {
  const { mesh, other } = await besideProcess(t);
  const told = event(mesh, 'disconnected');
  other.child.kill('SIGKILL');
  t.same(await told, [other.self]);
  t.same(mesh.peers(), []);
});

t.test('a silent process is let go at once, and can be connected again when it is back', async (t) => {
  const { mesh, other } = await besideProcess(t);
  other.child.kill('SIGSTOP');
  const waiting = mesh.request(other.self, 'echo', new Uint8Array(1 << 20));
  const told = event(mesh, 'disconnected');
  await mesh.disconnect(other.self);
  t.same(await told, [other.self]);
  await t.rejects(waiting, { code: 'E_UNREACHABLE' });
  other.child.kill('SIGCONT');
  await mesh.connect(other.self, other.addresses);
  t.same(await mesh.request(other.self, 'echo', Uint8Array.of(5)), Uint8Array.of(5));
});

t.test(
  'a silent process costs a bounded amount of memory, nobody waits for it, and it is let go',
  async (t) => {
    const { mesh, other } = await besideProcess(t);
    let heard = false;
    mesh.handlePublished(() => {
      heard = true;
      return 'ignore';
    });
    for (let n = 0; !heard; n++) {
      await mesh.publish(Buffer.from(`probe ${n}`));
      await sleep(10);
    }
    // A stream that gossip had at one heartbeat and lost before the next is missed at once, another one much later.
    await sleep(GOSSIP_HEARTBEAT_MS + 100);
    other.child.kill('SIGSTOP');
    const chunk = 64 << 10;
    let taken_bytes = 0;
    for (let n = 0; n < 1000; n++) {
      if (mesh.send(other.self, 'c', new Uint8Array(chunk))) taken_bytes += chunk;
      if (n % 50 === 0) await sleep(1);
    }
    const { sendQueue_bytes_max } = MESH_LIMITS;
    t.ok(taken_bytes <= sendQueue_bytes_max + UNDER_WAY_BYTES_MAX, `${taken_bytes} bytes were taken`);
    t.equal(mesh.send(other.self, 'c', new Uint8Array(chunk)), false, 'and then no more');
    const told = event(mesh, 'disconnected');
    // What gossip keeps for it is bounded as well, and beyond that the connection is given up.
    let gone = false;
    void told.then(() => (gone = true));
    for (let n = 0; !gone; n++) {
      await mesh.publish(Buffer.concat([Buffer.from(`${n} `), Buffer.alloc(chunk)]));
      if (n % 10 === 0) await sleep(1);
      if (n > 400) await sleep(100);
    }
    t.same(await told, [other.self]);
  },
);

t.test('a process ends by itself once its mesh is closed', async (t) => {
  const { other } = await besideProcess(t);
  const ended = once(other.child, 'exit');
  other.child.stdin!.end();
  t.same(await ended, [0, null]);
});

t.test('a stranger on the wire can open no protocol', async (t) => {
  const cluster = new TestCluster(t, createLibp2pMesh);
  const [a] = await cluster.pair();
  const stranger = await rawNode(t);
  const target = a.addresses().map((address) => multiaddr(address));
  const member = await rawNode(t, randomBytes(32));
  cluster.members.add(member.peerId.toString());
  // A member's raw node first: the protocols are there to be opened.
  const protocols = [
    ...['/shoal/messages/1', '/shoal/request/1', '/shoal/stream/1'],
    ...['/shoal/id/1.0.0', '/shoal/ping/1.0.0', '/meshsub/1.1.0'],
  ];
  for (const protocol of protocols) {
    const stream = await member.dialProtocol(target, protocol).catch((error: Error) => error);
    t.notOk(stream instanceof Error, `a member opens ${protocol}`);
    await t.rejects(stranger.dialProtocol(target, protocol), `a stranger does not open ${protocol}`);
  }
  t.notOk(a.peers().includes(stranger.peerId.toString()));
  t.equal(stranger.getConnections().filter(({ status }) => status === 'open').length, 0);
});

t.test('a member that stops being one is dropped when it says anything', async (t) => {
  const cluster = new TestCluster(t, createLibp2pMesh);
  const [a, b] = await cluster.pair();
  b.handle('echo', async (_from, body) => body);
  cluster.members.delete(a.self);
  const told = event(b, 'disconnected');
  await t.rejects(a.request(b.self, 'echo', new Uint8Array()), { code: 'E_UNREACHABLE' });
  t.same(await told, [a.self]);
});

t.test('a member that breaks the framing loses its stream and nothing is kept for it', async (t) => {
  const cluster = new TestCluster(t, createLibp2pMesh);
  const [a, b] = await cluster.pair();
  const got: string[] = [];
  a.on('message', (_from, _channel, body) => got.push(Buffer.from(body).toString()));
  a.handle('echo', async (_from, body) => body);
  const raw = await rawNode(t, randomBytes(32));
  cluster.members.add(raw.peerId.toString());
  const target = a.addresses().map((address) => multiaddr(address));
  const hugeFrame = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1, 99);
  const noName = Uint8Array.of(0, 0, 0, 1, 0);
  for (const bytes of [hugeFrame, noName]) {
    for (const protocol of ['/shoal/messages/1', '/shoal/stream/1']) {
      const stream = await raw.dialProtocol(target, protocol);
      stream.send(bytes);
      await until(() => stream.status === 'reset');
    }
  }
  const request = await raw.dialProtocol(target, '/shoal/request/1');
  request.send(hugeFrame);
  await until(() => request.status === 'reset');
  t.same(got, []);
  b.send(a.self, 'c', Buffer.from('others go on'));
  await until(() => got.length === 1);
  t.same(got, ['others go on']);
});

t.test('a connection that is lost is not brought back by libp2p or the DHT', async (t) => {
  const cluster = new TestCluster(t, createLibp2pMesh);
  const [a, b] = await cluster.pair();
  const c = await cluster.node();
  await connected(c, a);
  await connected(c, b);
  const told = event(b, 'disconnected', (peer) => peer === a.self);
  await a.disconnect(b.self);
  await told;
  await a.provide(`sha256:${randomBytes(32).toString('hex')}`);
  for await (const _ of a.findProviders(`sha256:${randomBytes(32).toString('hex')}`)) t.fail('nobody has it');
  t.same(a.peers(), [c.self]);
});
