/**
 * A bare libp2p node, with the kinds of transport, encryption and muxer that the mesh uses and nothing of shoal. It
 * tells its peer id at once. Then it takes one command a line: `listen ADDRESS`, `dial ADDRESSES` as JSON; and tells
 * `listening`, and for each peer that it is connected to `peer ID`.
 */
import { createInterface } from 'node:readline';
import { yamux } from '@chainsafe/libp2p-yamux';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p, type Libp2p } from 'libp2p';

const CONNECTIONS_MAX = 1024;

const tell = (line: string) => process.stdout.write(`${line}\n`);
const privateKey = await generateKeyPair('Ed25519');
let node: Libp2p | undefined;

async function listen(address: string): Promise<void> {
  node = await createLibp2p({
    privateKey,
    addresses: { listen: [address] },
    transports: [tcp()],
    connectionEncrypters: [tls()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    connectionManager: { inboundConnectionThreshold: CONNECTIONS_MAX, maxConnections: CONNECTIONS_MAX },
    connectionMonitor: { enabled: false },
  });
  node.addEventListener('peer:connect', ({ detail }) => tell(`peer ${detail.toString()}`));
  tell('listening');
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [command = '', rest = ''] = line.split(/ (.*)/);
    if (command === 'listen') void listen(rest);
    else for (const address of JSON.parse(rest) as string[]) void node?.dial(multiaddr(address));
  })
  .on('close', () => process.exit(0));
tell(peerIdFromPrivateKey(privateKey).toString());
