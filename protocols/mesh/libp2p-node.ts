/**
 * The libp2p node of a mesh: which parts it has and how each is set. Not here: what travels (libp2p-mesh.ts) and
 * the door's much smaller node (door.ts).
 */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { gossipsub } from '@chainsafe/libp2p-gossipsub';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import { identify } from '@libp2p/identify';
import type { PrivateKey } from '@libp2p/interface';
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { ping } from '@libp2p/ping';
import { createLibp2p } from 'libp2p';
import { ShoalError } from '../base/errors.ts';
import type { NodeId } from '../base/ids.ts';
import { CappedDatastore } from './capped-datastore.ts';
import { gossipOptions, gossipTopic } from './gossip-options.ts';
import { PENDING_EACH_MAX, UPGRADE_MS, withPendingCap } from './inbound.ts';
import { type LanDiscoveryHooks, lanDiscovery } from './lan-discovery.ts';
import type { MeshInit, MeshLimits } from './mesh.ts';
import { KEEP_ALIVE_MS, meshMuxer } from './muxer.ts';
import { meshTcp } from './tcp.ts';
import { meshTls } from './tls.ts';

/**
 * Above 4 MB, which is what a paused stream may hold, yamux kills the stream. One window is also what a sender may
 * have under way to a reader that does not read.
 */
const STREAM_WINDOW_BYTES_MAX = 2 << 20;
/** Two for each of a thousand members, as when both sides dial at once. Members are never pruned. */
const CONNECTIONS_MAX = 2048;
/** New connections per second from one address, and handshakes at a time: a whole cluster may restart at once. */
const INBOUND_PER_SECOND_MAX = 200;
const INBOUND_PENDING_MAX = 256;
/** A socket on which nothing came through for this long, keep-alives included, leads nowhere. */
const SOCKET_SILENCE_MS = 2.5 * KEEP_ALIVE_MS;
const DHT_REFRESH_INTERVAL_MS = 3_600_000;

export interface NodeHooks extends LanDiscoveryHooks {
  /** May this node dial that member now? */
  readonly mayDial: (peer: NodeId) => boolean;
  /** A member has dialled us and proved its key. Its new connection is not open yet. @returns whether it may be. */
  readonly onDialled: (peer: NodeId) => boolean;
  readonly onUntimely: (peer: NodeId, ahead_ms: number) => void;
}

/** DER before a raw private key. Source: RFC 8410, section 7. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

/** A node's mesh, its door and its knocks have one seed, and so one key and what the key remembers (tls.ts). */
const keys = new WeakMap<Uint8Array, PrivateKey>();

/** As the library's generateKeyPairFromSeed, which multiplies in JavaScript. @param seed 32 bytes (RFC 8032). */
export function keyFromSeed(seed: Uint8Array): PrivateKey {
  let key = keys.get(seed);
  if (key === undefined) {
    const der = Buffer.concat([PKCS8_PREFIX, seed]);
    const secret = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    const { x = '' } = createPublicKey(secret).export({ format: 'jwk' });
    key = privateKeyFromRaw(Buffer.concat([seed, Buffer.from(x, 'base64url')]));
    keys.set(seed, key);
  }
  return key;
}

/** What to tell of a node that failed to start. libp2p has the cause of it in the text of its error only. */
export function listenError(listen: readonly string[], cause: unknown): ShoalError {
  const where = listen.join(', ');
  const text = String(cause);
  if (text.includes('EADDRINUSE'))
    return new ShoalError('E_PORT_IN_USE', `one of ${where} is in use`, { cause });
  if (text.includes('EADDRNOTAVAIL')) {
    return new ShoalError('E_ADDRESS_NOT_HERE', `this host does not have the address of one of ${where}`, {
      cause,
    });
  }
  if (text.includes('EACCES')) {
    return new ShoalError('E_PORT_DENIED', `one of ${where} may not be listened on`, { cause });
  }
  return new ShoalError('E_BAD_INPUT', `cannot listen on ${where}`, { cause });
}

/** To be answered at one address, and then to shake hands: a link that came back late must not cost the other half. */
export function addressTimeout_ms({ dial_timeout_ms }: MeshLimits): number {
  return 2 * dial_timeout_ms;
}

/** @returns a node that is not started yet. */
export async function createNode(init: MeshInit, limits: MeshLimits, hooks: NodeHooks) {
  const isStranger = (peer: { toString(): string }): boolean => !init.isMember(peer.toString());
  const key = keyFromSeed(init.seed);
  return await createLibp2p({
    start: false,
    privateKey: key,
    datastore: new CappedDatastore(peerIdFromPrivateKey(key).toString(), init.isMember),
    nodeInfo: { name: 'shoal', version: '1', userAgent: 'shoal' },
    addresses: { listen: [...init.listen] },
    transports: [
      withPendingCap(
        meshTcp(
          {
            inboundSocketInactivityTimeout: SOCKET_SILENCE_MS,
            outboundSocketInactivityTimeout: SOCKET_SILENCE_MS,
          },
          limits.dial_timeout_ms,
        ),
        PENDING_EACH_MAX,
      ),
    ],
    // Measured with @chainsafe/libp2p-noise 17.0.0 in its place: TLS, done in C, moves a burst of gossip at four to
    // seven times the rate, and bulk bytes no slower. Noise dials some milliseconds faster; connections last for days.
    connectionEncrypters: [meshTls(hooks.onUntimely)],
    streamMuxers: [meshMuxer({ streamOptions: { maxStreamWindowSize: STREAM_WINDOW_BYTES_MAX } })],
    connectionGater: {
      denyDialPeer: (peer) => isStranger(peer) || !hooks.mayDial(peer.toString()),
      denyInboundEncryptedConnection: (peer) => isStranger(peer) || !hooks.onDialled(peer.toString()),
      denyOutboundEncryptedConnection: isStranger,
      filterMultiaddrForPeer: (peer) => !isStranger(peer),
    },
    connectionManager: {
      maxConnections: CONNECTIONS_MAX,
      inboundConnectionThreshold: INBOUND_PER_SECOND_MAX,
      maxIncomingPendingConnections: INBOUND_PENDING_MAX,
      inboundUpgradeTimeout: UPGRADE_MS,
      addressDialTimeout: addressTimeout_ms(limits),
      dialTimeout: addressTimeout_ms(limits),
      outboundStreamProtocolNegotiationTimeout: limits.dial_timeout_ms,
      addressSorter: () => 0,
      resolvers: {},
      // The DHT asks for one redial of its neighbours; `mayDial` refuses it. Membership redials, not libp2p.
      reconnectRetries: 0,
    },
    // It would ping every connection every ten seconds. Membership probes its peers itself.
    connectionMonitor: { enabled: false },
    ...(init.mdns ? { peerDiscovery: [lanDiscovery(init.cluster, hooks)] } : {}),
    services: {
      identify: identify({ protocolPrefix: 'shoal' }),
      ping: ping({ protocolPrefix: 'shoal' }),
      dht: kadDHT({
        protocol: `/shoal/${init.cluster}/kad/1`,
        clientMode: false,
        peerInfoMapper: passthroughMapper,
        allowQueryWithZeroPeers: true,
        querySelfInterval: DHT_REFRESH_INTERVAL_MS,
      }),
      pubsub: gossipsub(gossipOptions(gossipTopic(init.cluster))),
    },
  });
}

export type MeshNode = Awaited<ReturnType<typeof createNode>>;
