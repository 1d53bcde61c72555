/**
 * How gossipsub is set, and why. Not here: what the mesh adds to it, and IDONTWANT (gossip.ts).
 */
import { createHash } from 'node:crypto';
import type { GossipsubOpts } from '@chainsafe/libp2p-gossipsub';
import { createTopicScoreParams } from '@chainsafe/libp2p-gossipsub/score';

/** What may wait for a slow peer; its gossip stream is reset beyond it, and with it the connection (gossip.ts). */
const GOSSIP_OUTBOUND_BYTES_MAX = 8 << 20;
/** An answer to IWANT carries many messages in one frame: as much as may wait for a peer. */
export const GOSSIP_FRAME_BYTES_MAX = GOSSIP_OUTBOUND_BYTES_MAX;
/** One is enough; a second one comes while the first is being given up. */
const GOSSIP_STREAMS_MAX = 4;
/** Of a message's SHA-256: what identifies it in IHAVE, IWANT and IDONTWANT. Nobody gains by a collision. */
const MESSAGE_ID_BYTES = 20;
/** As in /meshsub/1.2.0. */
export const GOSSIP_PROTOCOL_PREFIX = '/meshsub/';

/** Hex digits of the cluster's id in the topic. */
const TOPIC_CLUSTER_LENGTH = 16;

export function gossipTopic(cluster: string): string {
  // It travels with every message. Strangers are refused by their keys, so it need not be the whole id.
  return `/shoal/${cluster.slice(0, TOPIC_CLUSTER_LENGTH)}/gossip/1`;
}

/**
 * Four neighbours: the fewest with which a random graph of ten to ten thousand members hangs together whoever fails,
 * and with which a message needs log3(members) hops. In a full mesh they carry almost nothing (gossip.ts).
 */
export function gossipOptions(topic: string): Partial<GossipsubOpts> {
  return {
    // Records are signed by their authors; signing each hop's message again would cost three times the CPU.
    globalSignaturePolicy: 'StrictNoSign',
    msgIdFn: (message) => createHash('sha256').update(message.data).digest().subarray(0, MESSAGE_ID_BYTES),
    allowedTopics: [topic],
    fallbackToFloodsub: false,
    emitSelf: false,
    doPX: false,
    tagMeshPeers: false,
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    batchPublish: true,
    maxInboundStreams: GOSSIP_STREAMS_MAX,
    maxOutboundStreams: GOSSIP_STREAMS_MAX,
    maxInboundDataLength: GOSSIP_FRAME_BYTES_MAX,
    maxOutboundBufferSize: GOSSIP_OUTBOUND_BYTES_MAX,
    D: 4,
    Dlo: 3,
    Dhi: 5,
    Dscore: 2,
    Dout: 1,
    // IHAVE mends what the neighbours missed within a second or two; what it misses, anti-entropy finds.
    Dlazy: 2,
    gossipFactor: 0.1,
    mcacheGossip: 1,
    mcacheLength: 3,
    scoreThresholds: { gossipThreshold: -10, publishThreshold: -20, graylistThreshold: -40 },
    scoreParams: {
      // Members are known by their keys; many of them may share one address.
      IPColocationFactorWeight: 0,
      decayInterval: 10_000,
      decayToZero: 0.1,
      // Who comes back has been away at least as long as a ban lasts: our own standing remembers what it did.
      retainScore: 60_000,
      // Broken IWANT promises and GRAFTs against a backoff happen when a link is slow; a dozen within a minute do not.
      behaviourPenaltyWeight: -1,
      behaviourPenaltyThreshold: 6,
      behaviourPenaltyDecay: 0.8,
      topics: {
        [topic]: createTopicScoreParams({
          topicWeight: 1,
          // Nothing is gained by being first or by having stayed: an idle cluster delivers nothing for days.
          timeInMeshWeight: 0,
          firstMessageDeliveriesWeight: 0,
          meshMessageDeliveriesWeight: 0,
          meshFailurePenaltyWeight: 0,
          // Four refused messages at once end the exchange of gossip, seven all of it, for about half a minute: a
          // revocation that some know of and others do not must pass without lasting harm.
          invalidMessageDeliveriesWeight: -1,
          invalidMessageDeliveriesDecay: 0.5,
        }),
      },
    },
  };
}
