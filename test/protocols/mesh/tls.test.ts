/** Our TLS next to the library's own, which is what the wire is defined by. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:tls';
import { yamux } from '@chainsafe/libp2p-yamux';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import type { ConnectionEncrypter, PrivateKey } from '@libp2p/interface';
import { ping } from '@libp2p/ping';
import { tcp } from '@libp2p/tcp';
import { type TLSComponents, tls } from '@libp2p/tls';
import { generateCertificate, toNodeDuplex } from '@libp2p/tls/utils';
import { multiaddrConnectionPair } from '@libp2p/utils';
import { createLibp2p } from 'libp2p';
import t, { type Test } from 'tap';
import { createLibp2pMesh } from '../../../protocols/mesh/libp2p-mesh.ts';
import { keyFromSeed } from '../../../protocols/mesh/libp2p-node.ts';
import { meshTls } from '../../../protocols/mesh/tls.ts';
import { connected, event, TestCluster } from '../../conformance/mesh.ts';
import { clockAhead } from './clock-ahead.ts';

type Encrypter = (components: TLSComponents) => ConnectionEncrypter;

async function node(t: Test, encrypter: Encrypter) {
  const made = await createLibp2p({
    privateKey: await generateKeyPairFromSeed('Ed25519', randomBytes(32)),
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [encrypter],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
    services: { ping: ping() },
  });
  t.teardown(() => made.stop());
  return made;
}

const KINDS: readonly [string, Encrypter][] = [
  ['ours', meshTls()],
  ['the library', tls()],
];

for (const [dialler, dials] of KINDS)
  for (const [listener, listens] of KINDS)
    t.test(`${dialler} dials ${listener}: both know whom they have, again and again`, async (t) => {
      const near = await node(t, dials);
      const far = await node(t, listens);
      for (let round = 0; round < 3; round += 1) {
        const connection = await near.dial(far.getMultiaddrs());
        t.ok(connection.remotePeer.equals(far.peerId));
        t.equal(connection.multiplexer, yamux()().protocol, 'agreed on in the handshake');
        t.ok((await near.services.ping.ping(far.peerId)) >= 0);
        const [theirs] = far.getConnections(near.peerId);
        t.ok(theirs?.remotePeer.equals(near.peerId));
        await near.hangUp(far.peerId);
      }
    });

t.test('who is not whom it was dialled as is refused, also when its certificate is known', async (t) => {
  const near = await node(t, meshTls());
  const far = await node(t, meshTls());
  const other = await node(t, meshTls());
  await near.dial(far.getMultiaddrs());
  await near.hangUp(far.peerId);
  const [address] = far.getMultiaddrs();
  const claimed = address!.decapsulate('/p2p').encapsulate(`/p2p/${other.peerId.toString()}`);
  await t.rejects(near.dial(claimed));
  t.same(near.getConnections(other.peerId), []);
});

t.test('a key is what the library makes of the seed, and is made once', async (t) => {
  for (let round = 0; round < 20; round += 1) {
    const seed = new Uint8Array(randomBytes(32));
    const key = keyFromSeed(seed);
    t.ok(key.equals(await generateKeyPairFromSeed('Ed25519', seed)));
    t.ok(key.publicKey.verify(seed, await key.sign(seed)));
    t.equal(keyFromSeed(seed), key);
  }
  t.notOk(keyFromSeed(new Uint8Array(32)).equals(keyFromSeed(new Uint8Array(32).fill(1))));
});

/** What a node of this key shows to whoever dials it. */
async function certificateOf(privateKey: PrivateKey): Promise<string> {
  const encrypter = meshTls()({
    privateKey,
    upgrader: { getStreamMuxers: () => new Map() },
  } as TLSComponents);
  const [near, far] = multiaddrConnectionPair();
  const inbound = encrypter.secureInbound(far);
  const socket = connect({
    socket: toNodeDuplex(near),
    rejectUnauthorized: false,
    ALPNProtocols: ['libp2p'],
    ...(await generateCertificate(keyFromSeed(new Uint8Array(randomBytes(32))))),
  });
  await once(socket, 'secureConnect');
  const { raw } = socket.getPeerCertificate();
  await inbound;
  socket.destroy();
  return raw.toString('hex');
}

t.test('all nodes of one key show one certificate, and no other key shows it', async (t) => {
  const [own, other] = [1, 2].map((fill) => keyFromSeed(new Uint8Array(32).fill(fill)));
  const certificate = await certificateOf(own!);
  t.equal(await certificateOf(own!), certificate);
  t.not(await certificateOf(other!), certificate);
});

t.test('who is dialled and has a certificate that is not valid yet is told of', async (t) => {
  const AHEAD_MS = 7_200_000;
  const cluster = new TestCluster(t, createLibp2pMesh);
  const reset = clockAhead(AHEAD_MS);
  t.teardown(reset);
  // A host's certificate is made when it is shown first.
  const [far] = await cluster.pair();
  reset();
  const near = await cluster.node();
  const told = event(near, 'untimely');
  await t.rejects(connected(near, far), { code: 'E_UNREACHABLE' });
  const [peer, ahead_ms] = await told;
  t.equal(peer, far.self);
  t.ok(ahead_ms > 0 && ahead_ms < AHEAD_MS, 'it is valid from an hour before it was made');
});
