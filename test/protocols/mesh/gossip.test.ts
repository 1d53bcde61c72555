/** What the mesh adds to gossipsub, on one that does nothing by itself. Frames and peers that are real: hostile.test.ts. */

import { setImmediate } from 'node:timers/promises';
import { RPC } from '@chainsafe/libp2p-gossipsub/message';
import t from 'tap';
import type { Uint8ArrayList } from 'uint8arraylist';
import { Gossip, IDS_PER_MESSAGE, UNWANTED_MESSAGES_MAX } from '../../../protocols/mesh/gossip.ts';
import type { MeshNode } from '../../../protocols/mesh/libp2p-node.ts';
import type { MeshUse } from '../../../protocols/mesh/mesh.ts';
import { STANDING_DEFAULTS } from '../../../protocols/standing/config.ts';
import { until } from '../../conformance/mesh.ts';
import { prefixed } from './varint.ts';

/** Of gossipsub what the mesh takes hold of. */
class Pubsub extends EventTarget {
  readonly opts = {};
  readonly topicValidators = new Map();
  readonly streamsInbound = new Map<string, { readonly rawStream: AsyncIterable<Uint8Array> }>();
  readonly streamsOutbound = new Map<string, unknown>();
  readonly told: Uint8Array[] = [];
  readonly handled: RPC[] = [];

  /** Streams that are being opened, in order, and how each ends. */
  readonly opened: { readonly peer: string; readonly connection: string; readonly end: () => void }[] = [];
  #queue = Promise.resolve();

  async createOutboundStream(peer: string, connection: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.opened.push({ peer, connection, end: resolve });
    await promise;
  }

  /** As gossipsub does it for each connection, and for each stream that a peer opens. */
  onStream(peer: string, connection: string): void {
    this.#queue = this.#queue.then(() => this.createOutboundStream(peer, connection));
  }

  getPeers(): string[] {
    return [];
  }

  decodeRpc(bytes: Uint8Array): RPC {
    return RPC.decode(bytes);
  }

  sendIDontWants(id: Uint8Array): void {
    this.told.push(id);
  }

  async pipePeerReadStream(_peer: string, frames: AsyncIterable<Uint8ArrayList> = nothing()): Promise<void> {
    for await (const frame of frames) this.handled.push(this.decodeRpc(frame.subarray()));
  }
}

function gossipOn(pubsub: Pubsub) {
  const uses: { readonly use: MeshUse; readonly bytes: number; readonly count: number }[] = [];
  new Gossip({ services: { pubsub } } as unknown as MeshNode, {
    topic: TOPIC,
    message_bytes_max: 1 << 20,
    guard: {
      admit: (_peer, use, bytes, count = 1) => uses.push({ use, bytes, count }) > 0,
      offence: () => undefined,
    },
    isFullMesh: () => true,
    log: () => undefined,
    connectionOf: () => undefined,
    onBroken: () => undefined,
  });
  return { uses, beat: () => pubsub.dispatchEvent(new Event('gossipsub:heartbeat')) };
}

const TOPIC = 'topic';
const NOTHING = { ihave: [], iwant: [], graft: [], prune: [], idontwant: [] };

async function* nothing(): AsyncGenerator<never> {}

/** As they come on the stream of a peer. */
async function* framesOf(...rpcs: Parameters<typeof RPC.encode>[0][]): AsyncGenerator<Uint8Array> {
  for (const rpc of rpcs) yield prefixed(RPC.encode(rpc));
}

t.test('neighbours are told of no more messages between two heartbeats than they heed', async (t) => {
  const pubsub = new Pubsub();
  const { beat } = gossipOn(pubsub);
  const tell = () => pubsub.sendIDontWants(Uint8Array.of(1));
  for (let n = 0; n < 2 * UNWANTED_MESSAGES_MAX; n++) tell();
  t.equal(pubsub.told.length, UNWANTED_MESSAGES_MAX);
  beat();
  tell();
  t.equal(pubsub.told.length, UNWANTED_MESSAGES_MAX + 1);
});

t.test('a frame costs what there is to do for it, and that of an honest member never much', async (t) => {
  const pubsub = new Pubsub();
  const { uses } = gossipOn(pubsub);
  const message = (n: number) => ({ topic: TOPIC, data: Buffer.from(`${n}`) });
  const ids = Array.from({ length: 5_000 }, (_, n) => Buffer.alloc(20, n));
  const told = { ...NOTHING, ihave: [{ topicID: TOPIC, messageIDs: ids }] };
  const rawStream = framesOf(
    { subscriptions: [{ subscribe: true, topic: TOPIC }], messages: [] },
    { subscriptions: [], messages: [message(0)] },
    { subscriptions: [], messages: [], control: { ...NOTHING, idontwant: [{ messageIDs: [ids[0]!] }] } },
    { subscriptions: [], messages: [], control: told },
    { subscriptions: [], messages: Array.from({ length: 100 }, (_, n) => message(n)) },
  );
  pubsub.streamsInbound.set('peer', { rawStream });
  await pubsub.pipePeerReadStream('peer');
  t.equal(pubsub.handled.length, 5);
  const counts = uses.map(({ count }) => count);
  t.same(counts, [1, 1, 1, 1, Math.floor(5_000 / IDS_PER_MESSAGE), 1, 99]);
  // All that gossipsub asks of one peer, or tells it, in a second; and as long as a message is kept for.
  const { capacity, perSecond } = STANDING_DEFAULTS.allowances.messages;
  t.ok((5_000 * 2) / IDS_PER_MESSAGE < perSecond / 2);
  t.ok(5_000 * 3 < capacity);
});

t.test('a peer that is silent holds up the streams to nobody else, however many it opens', async (t) => {
  const pubsub = new Pubsub();
  gossipOn(pubsub);
  const opened = () => pubsub.opened.map(({ peer, connection }) => `${peer} ${connection}`);
  pubsub.onStream('silent', 'a');
  for (let n = 0; n < 20; n++) pubsub.onStream('silent', 'a');
  pubsub.onStream('silent', 'b');
  pubsub.onStream('other', 'c');
  await until(() => pubsub.opened.length >= 2);
  t.same(opened(), ['silent a', 'other c'], 'one at a time for each');
  pubsub.opened[0]!.end();
  await until(() => pubsub.opened.length >= 3);
  t.same(opened().slice(2), ['silent b'], 'and once more, on the connection that came last');
  pubsub.opened[2]!.end();
  pubsub.opened[1]!.end();
  await setImmediate();
  pubsub.onStream('silent', 'd');
  await until(() => pubsub.opened.length >= 4);
  t.same(opened().slice(3), ['silent d']);
});
