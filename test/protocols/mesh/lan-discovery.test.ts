import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import type { PeerDiscovery } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import t from 'tap';
import { chanceToAsk, lanDiscovery } from '../../../protocols/mesh/lan-discovery.ts';

t.test('whoever says that it is somewhere is told to us, and kept nowhere else', async (t) => {
  const discovered: string[] = [];
  let service: PeerDiscovery | undefined;
  const hooks = { onDiscovered: (peer: string) => discovered.push(peer), peers_count: () => 0 };
  const node = await createLibp2p({
    start: false,
    peerDiscovery: [
      (components) => {
        service = lanDiscovery('ab'.repeat(32), hooks)(components as never);
        return service;
      },
    ],
  });
  t.teardown(() => node.stop());
  const ids = await Promise.all(
    Array.from({ length: 3 }, async () => {
      return peerIdFromPrivateKey(await generateKeyPairFromSeed('Ed25519', randomBytes(32)));
    }),
  );
  for (const id of ids) {
    const multiaddrs = [multiaddr('/ip4/192.0.2.1/tcp/1')];
    service!.dispatchEvent(new CustomEvent('peer', { detail: { id, multiaddrs } }));
  }
  await sleep(100);
  t.same(discovered, ids.map(String));
  t.same(await node.peerStore.all(), []);
});

t.test(
  'who is alone always asks, and connected members together ask as often however many they are',
  async (t) => {
    t.equal(chanceToAsk(0), 1);
    for (const members of [2, 3, 10, 1000]) {
      const questions = members * chanceToAsk(members - 1);
      t.ok(Math.abs(questions - 1 / 60) < 1e-9, `${members} members: ${questions} in ten seconds`);
    }
  },
);
