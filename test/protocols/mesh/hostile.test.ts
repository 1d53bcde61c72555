/**
 * A member that keeps to no rule: it has a key that is let in, and then floods, lies, sends too much or nonsense, or
 * goes silent in the middle. Each time it must end limited and banned, and the other member must not notice.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { RPC } from '@chainsafe/libp2p-gossipsub/message';
import { yamux } from '@chainsafe/libp2p-yamux';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import type { Connection, Stream, StreamMuxer } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import t, { type Test } from 'tap';
import { systemClock } from '../../../daemon/clock.ts';
import { GuardDriver } from '../../../daemon/drivers/guard-driver.ts';
import { encodeFrame, encodeNamed } from '../../../protocols/mesh/frames.ts';
import { IDS_PER_MESSAGE } from '../../../protocols/mesh/gossip.ts';
import { gossipTopic } from '../../../protocols/mesh/gossip-options.ts';
import { createLibp2pMesh } from '../../../protocols/mesh/libp2p-mesh.ts';
import { MESH_LIMITS, type MeshInit, type Verdict } from '../../../protocols/mesh/mesh.ts';
import { PROPOSALS_MAX } from '../../../protocols/mesh/negotiation.ts';
import {
  type Allowance,
  RESOURCES,
  type Resource,
  STANDING_DEFAULTS,
} from '../../../protocols/standing/config.ts';
import { connected, failure, TestCluster, until } from '../../conformance/mesh.ts';
import { DATA, muxerHeader, PING, SYN, WINDOW_UPDATE } from './muxer-header.ts';
import { prefixed } from './varint.ts';

const MESSAGES = '/shoal/messages/1';
const REQUEST = '/shoal/request/1';
const STREAM = '/shoal/stream/1';
const GOSSIP = '/meshsub/1.2.0';
const IDENTIFY = '/shoal/id/1.0.0';
/** An allowance that is used up within moments. */
const SMALL = { capacity: 120, perSecond: 40 };
/** Far beyond what any of it takes: a test that hangs should say where. */
const GIVE_UP_MS = 20_000;
const HUGE_FRAME = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1, 99);
const NAMELESS_FRAME = Uint8Array.of(0, 0, 0, 1, 0);

interface RawMuxer {
  send(bytes: Uint8Array): boolean;
  handlePing(header: unknown): void;
}

/** A victim with its guard, a friend that must not notice anything, and the hostile member's bare libp2p node. */
async function scene(
  t: Test,
  changes: Partial<MeshInit> = {},
  verdict: Verdict = 'accept',
  special: Partial<Record<Resource, Allowance>> = {},
) {
  const topicOf = randomBytes(32).toString('hex');
  const cluster = new TestCluster(t, (init) => createLibp2pMesh({ ...init, cluster: topicOf }));
  const allowances = Object.fromEntries(RESOURCES.map((name) => [name, SMALL])) as Record<
    Resource,
    typeof SMALL
  >;
  // What honest use needs more of than these tests are long.
  const { bytes, frames, connections } = STANDING_DEFAULTS.allowances;
  const guard = new GuardDriver({
    self: 'victim',
    clock: systemClock,
    log: () => undefined,
    config: { allowances: { ...allowances, bytes, frames, connections, ...special } },
  });
  const victim = await cluster.node({
    guard,
    isMember: (peer) => cluster.members.has(peer) && !guard.isBanned(peer),
    ...changes,
  });
  guard.start(victim);
  const friend = await cluster.node();
  await connected(friend, victim);
  const seen = { datagrams: 0, gossip: [] as string[] };
  victim.on('message', (from) => (seen.datagrams += from === friend.self ? 0 : 1));
  victim.handle('echo', async (_from, body) => body);
  victim.handlePublished(() => verdict);
  friend.handlePublished((_from, body) => {
    seen.gossip.push(Buffer.from(body).toString());
    return 'accept';
  });
  let friendLost = false;
  friend.on('disconnected', () => (friendLost = true));

  const raw = await createLibp2p({
    privateKey: await generateKeyPairFromSeed('Ed25519', randomBytes(32)),
    transports: [tcp()],
    connectionEncrypters: [tls()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  });
  t.teardown(() => raw.stop());
  // It lets the victim in, as any member does, and answers nothing.
  await raw.handle(MESSAGES, () => undefined);
  const self = raw.peerId.toString();
  cluster.members.add(self);
  const target = victim.addresses().map((address) => multiaddr(address));
  const open = async (protocol: string): Promise<Stream> => await raw.dialProtocol(target, protocol);
  await open(MESSAGES);
  /** Bytes on the connection below all streams; nothing when there is no connection any more. */
  const send = (bytes: Uint8Array): void => {
    const connection = raw.getConnections().find(({ status }) => status === 'open');
    const { muxer } = (connection ?? {}) as { muxer?: RawMuxer };
    if (muxer === undefined) return;
    // It never asked, so it would take an answer for an offence.
    muxer.handlePing = () => undefined;
    muxer.send(bytes);
  };

  return {
    victim,
    send,
    /** Another connection beside those that there are. */
    dial: async (): Promise<Connection> => await raw.dial(target, { force: true }),
    connections: (): Connection[] => raw.getConnections().filter(({ status }) => status === 'open'),
    guard,
    seen,
    open,
    self,
    topic: gossipTopic(topicOf),
    dht: `/shoal/${topicOf}/kad/1`,
    /** Does something again and again until the victim has had enough; it may fail once that is so. */
    untilBanned: async (act: (n: number) => unknown): Promise<number> => {
      const deadline_ms = Date.now() + GIVE_UP_MS;
      let n = 0;
      for (; !guard.isBanned(self); n++) {
        await Promise.resolve(act(n)).catch(() => undefined);
        if (n % 50 === 0) await sleep(1);
        if (Date.now() > deadline_ms) throw new Error('nothing follows from it');
      }
      await until(() => raw.getConnections().every(({ status }) => status !== 'open'));
      t.rejects(open(MESSAGES), 'and it is not let in again');
      return n;
    },
    friendIsWell: async (): Promise<void> => {
      t.notOk(friendLost);
      t.same(Buffer.from(await friend.request(victim.self, 'echo', Buffer.from('hi'))).toString(), 'hi');
      t.notOk(guard.isBanned(friend.self));
    },
  };
}

/** A frame of gossipsub: a varint and an RPC. */
function gossipFrame(rpc: Parameters<typeof RPC.encode>[0]): Uint8Array {
  return prefixed(RPC.encode(rpc));
}

t.test('a flood of datagrams', async (t) => {
  const { open, untilBanned, friendIsWell, seen } = await scene(t);
  const stream = await open(MESSAGES);
  const frame = encodeFrame(encodeNamed('c', Uint8Array.of(1)));
  await untilBanned(() => stream.send(frame));
  t.ok(seen.datagrams <= SMALL.capacity + SMALL.perSecond * 10, `${seen.datagrams} were handled`);
  await friendIsWell();
});

t.test('frames that are too large or no frames, on every protocol', async (t) => {
  for (const bytes of [HUGE_FRAME, NAMELESS_FRAME]) {
    for (const protocol of [MESSAGES, REQUEST, STREAM]) {
      const { open, untilBanned, friendIsWell } = await scene(t);
      const tries = await untilBanned(async () => {
        const stream = await open(protocol);
        stream.send(bytes);
        await until(() => stream.status !== 'open' || stream.remoteWriteStatus === 'closed');
      });
      t.ok(tries < 10, `${protocol}: ${tries} tries`);
      await friendIsWell();
    }
  }
});

t.test('frames of the muxer that fit no window, or more than the window of their stream', async (t) => {
  for (const length of [0xffff_ffff, 300 << 10]) {
    const { open, send, untilBanned, friendIsWell } = await scene(t);
    const tries = await untilBanned(async () => {
      const stream = await open(MESSAGES);
      send(muxerHeader(DATA, SYN, 9_999, length));
      if (length <= 1 << 20) send(new Uint8Array(length));
      await until(() => stream.status !== 'open');
    });
    t.ok(tries < 10, `${length}: ${tries} tries`);
    await friendIsWell();
  }
});

t.test(
  'a flood of frames that the muxer answers or drops by itself, or of which no message becomes whole',
  async (t) => {
    for (const kind of ['pings', 'of no stream', 'bytes of one message'] as const) {
      const frames = { capacity: 5_000, perSecond: 500 };
      const { open, send, guard, seen, friendIsWell } = await scene(t, {}, 'accept', { frames });
      const stream = await open(MESSAGES);
      const one = {
        pings: muxerHeader(PING, SYN, 0, 7),
        'of no stream': muxerHeader(WINDOW_UPDATE, 0, 99_999, 1),
        'bytes of one message': Buffer.concat([muxerHeader(DATA, 0, Number(stream.id), 1), Uint8Array.of(0)]),
      }[kind];
      const many = Buffer.concat(Array.from({ length: 500 }, () => one));
      if (kind === 'bytes of one message') stream.send(Uint8Array.of(0, 16, 0, 0));
      const deadline_ms = Date.now() + GIVE_UP_MS;
      while (stream.status === 'open') {
        if (Date.now() > deadline_ms) throw new Error('nothing follows from it');
        send(many);
        await sleep(1);
      }
      t.ok(guard.counters.refused.frames > 0, kind);
      t.ok(guard.counters.offences.flood > 0, kind);
      t.equal(seen.datagrams, 0);
      await friendIsWell();
    }
  },
);

t.test('one member has few connections, and those that it had first go on', async (t) => {
  const { open, dial, connections, guard, self, friendIsWell } = await scene(t);
  const stream = await open(MESSAGES);
  let refused = 0;
  // One after another: dials of one moment are one.
  for (let n = 0; n < 8; n++) {
    const connection = await dial();
    await connection.newStream(MESSAGES).catch(() => (refused += 1));
  }
  t.equal(refused, 5, 'three are let in beside the first');
  await until(() => connections().length <= 4);
  t.equal(stream.status, 'open');
  t.notOk(guard.isBanned(self));
  await friendIsWell();
});

t.test('a flood of connections that are opened and given up', async (t) => {
  const connections = { capacity: 5, perSecond: 0.25 };
  const { dial, untilBanned, guard, friendIsWell } = await scene(t, {}, 'accept', { connections });
  await untilBanned(async () => {
    const connection = await dial();
    // Else it would be given up before the other side has seen whose it is.
    await connection.newStream(MESSAGES);
    connection.abort(new Error('next'));
  });
  t.ok(guard.counters.refused.connections > 0);
  await friendIsWell();
});

t.test('gossip that cannot be decoded, or whose length is no length', async (t) => {
  const nonsense = prefixed(Buffer.from('nonsense that is no protobuf'));
  const tooLong = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3);
  for (const bytes of [nonsense, tooLong]) {
    const { open, untilBanned, friendIsWell } = await scene(t);
    let stream = await open(GOSSIP);
    const tries = await untilBanned(async () => {
      if (stream.status !== 'open') stream = await open(GOSSIP);
      stream.send(bytes);
      await sleep(20);
    });
    t.ok(tries < 50, `${tries} tries`);
    await friendIsWell();
  }
});

t.test('a stream on which one protocol is proposed after another is ended', async (t) => {
  const { dial, friendIsWell } = await scene(t);
  const { muxer } = (await dial()) as unknown as { muxer: StreamMuxer };
  const stream = await muxer.createStream({});
  const greeting = prefixed(Buffer.from('/multistream/1.0.0\n'));
  let bytes = 0;
  stream.addEventListener('message', ({ data }) => {
    bytes += data.byteLength;
  });
  stream.send(Buffer.concat([greeting, ...Array<Uint8Array>(2_000).fill(prefixed(Buffer.from('x\n')))]));
  await until(() => stream.status !== 'open');
  t.ok(bytes <= PROPOSALS_MAX * greeting.byteLength, `${bytes} bytes of answers`);
  await friendIsWell();
});

t.test('a published message over the limit', async (t) => {
  const { open, untilBanned, friendIsWell, topic, seen } = await scene(t);
  const stream = await open(GOSSIP);
  await untilBanned(async (n) => {
    const data = Buffer.alloc(MESH_LIMITS.message_bytes_max + 1, n);
    stream.send(gossipFrame({ subscriptions: [], messages: [{ topic, data }] }));
    await sleep(50);
  });
  t.same(seen.gossip, [], 'nobody else got it');
  await friendIsWell();
});

t.test('what is rejected or ignored goes no further, and what is accepted does', async (t) => {
  for (const verdict of ['reject', 'ignore', 'accept'] as const) {
    const { open, friendIsWell, topic, seen, victim } = await scene(t, {}, verdict);
    const stream = await open(GOSSIP);
    stream.send(gossipFrame({ subscriptions: [{ subscribe: true, topic }], messages: [] }));
    stream.send(gossipFrame({ subscriptions: [], messages: [{ topic, data: Buffer.from('a lie') }] }));
    let told = 0;
    await until(async () => {
      // Who is subscribed becomes known a moment after the connection.
      await victim.publish(Buffer.from(`marker ${told++}`));
      return seen.gossip.some((text) => text.startsWith('marker'));
    });
    await sleep(100);
    t.equal(seen.gossip.includes('a lie'), verdict === 'accept', verdict);
    await friendIsWell();
  }
});

t.test('a flood of gossip: replays, IHAVE and IWANT of what nobody has', async (t) => {
  const ids = Array.from({ length: 100 }, (_, n) => Buffer.alloc(20, n));
  const control = { ihave: [], iwant: [], graft: [], prune: [], idontwant: [] };
  for (const kind of ['replay', 'ihave', 'iwant', 'idontwant', 'graft'] as const) {
    const { open, untilBanned, friendIsWell, topic, seen } = await scene(t);
    const rpc = {
      replay: { subscriptions: [], messages: [{ topic, data: Buffer.from('again') }] },
      ihave: {
        subscriptions: [],
        messages: [],
        control: { ...control, ihave: [{ topicID: topic, messageIDs: ids }] },
      },
      iwant: { subscriptions: [], messages: [], control: { ...control, iwant: [{ messageIDs: ids }] } },
      idontwant: {
        subscriptions: [],
        messages: [],
        control: { ...control, idontwant: [{ messageIDs: ids }] },
      },
      graft: { subscriptions: [], messages: [], control: { ...control, graft: [{ topicID: topic }] } },
    }[kind];
    const stream = await open(GOSSIP);
    await untilBanned(() => stream.send(gossipFrame(rpc)));
    t.ok(seen.gossip.filter((text) => text === 'again').length <= 1, kind);
    await friendIsWell();
  }
});

t.test('what is packed into one frame of gossip counts one by one', async (t) => {
  const ids = (count: number) => Array.from({ length: count }, (_, n) => Buffer.alloc(20, n));
  const control = { ihave: [], iwant: [], graft: [], prune: [], idontwant: [] };
  const many = 50;
  for (const kind of ['messages', 'entries', 'ids'] as const) {
    const { open, guard, self, friendIsWell, topic } = await scene(t);
    const messages = Array.from({ length: many }, () => ({ topic, data: Buffer.from('again') }));
    const entries = Array.from({ length: many }, () => ({ messageIDs: [] }));
    const frame = gossipFrame({
      subscriptions: [],
      messages: kind === 'messages' ? messages : [],
      control: {
        ...control,
        idontwant: kind === 'entries' ? entries : [],
        iwant: kind === 'ids' ? [{ messageIDs: ids(many * IDS_PER_MESSAGE) }] : [],
      },
    });
    const stream = await open(GOSSIP);
    const deadline_ms = Date.now() + GIVE_UP_MS;
    // As single frames they would be far from any limit.
    for (let n = 0; n < SMALL.perSecond; n++) stream.send(frame);
    while (guard.counters.refused.messages === 0) {
      if (Date.now() > deadline_ms) throw new Error(`nothing follows from it: ${kind}`);
      await sleep(10);
    }
    t.ok(guard.counters.offences.flood > 0, kind);
    t.notOk(guard.reports().some(({ peer }) => peer !== self));
    await friendIsWell();
  }
});

t.test('a flood of streams, of protocols that libp2p answers by itself too', async (t) => {
  for (const protocol of [IDENTIFY, '/shoal/ping/1.0.0', STREAM]) {
    const { open, untilBanned, friendIsWell } = await scene(t);
    await untilBanned(async () => {
      const streams = Array.from({ length: 20 }, () => open(protocol).catch(() => undefined));
      for (const stream of await Promise.all(streams)) stream?.abort(new Error('next'));
    });
    await friendIsWell();
  }
});

t.test('a flood on one stream that libp2p answers by itself', async (t) => {
  const { open, untilBanned, friendIsWell } = await scene(t);
  const stream = await open('/shoal/ping/1.0.0');
  await untilBanned(async () => {
    if (stream.status === 'open') stream.send(randomBytes(32));
    else (await open('/shoal/ping/1.0.0')).send(randomBytes(32));
    await sleep(0);
  });
  await friendIsWell();
});

t.test('messages of the DHT that are packed into few writes count each', async (t) => {
  const { open, untilBanned, friendIsWell, dht } = await scene(t);
  let stream = await open(dht);
  // A length, and a PING: field 1 of the DHT's message is its type.
  const many = Buffer.concat(Array.from({ length: 3_000 }, () => Uint8Array.of(2, 8, 5)));
  const writes = await untilBanned(async () => {
    if (stream.status !== 'open') stream = await open(dht);
    stream.send(many);
    await sleep(20);
  });
  t.ok(writes < 50, `${writes} writes`);
  await friendIsWell();
});

t.test('streams that are opened and never used are few, and run out', async (t) => {
  const { open, friendIsWell, guard, self } = await scene(t, { limits: { inboundStreams_max: 4 } });
  const silent: Stream[] = [];
  for (let n = 0; n < 12; n++) {
    for (const protocol of [STREAM, REQUEST, MESSAGES]) {
      const stream = await open(protocol).catch(() => undefined);
      if (stream !== undefined) silent.push(stream);
    }
  }
  await until(() => silent.filter(({ status }) => status === 'open').length <= 3 * 4);
  t.notOk(guard.isBanned(self), 'silence is no offence');
  await friendIsWell();
});

t.test('a reader that takes none of its answers gets no more of them', async (t) => {
  const limits = { answersQueue_bytes_max: 3 << 20 };
  const { open, friendIsWell, victim } = await scene(t, { limits });
  let asked = 0;
  victim.handle('big', async () => {
    asked++;
    return Buffer.alloc(2 << 20, 7);
  });
  const answers: Promise<Buffer>[] = [];
  for (let n = 0; n < 5; n++) {
    const stream = await open(REQUEST);
    if (n === 0) stream.pause();
    stream.send(encodeFrame(encodeNamed('big', new Uint8Array())));
    if (n === 0) await until(() => asked === 1);
    else answers.push(firstBytes(stream));
  }
  for (const answer of await Promise.all(answers)) t.match(answer.toString('latin1'), /E_BUSY/);
  await friendIsWell();
});

async function firstBytes(stream: Stream): Promise<Buffer> {
  for await (const chunk of stream) return Buffer.from(chunk.subarray());
  return Buffer.alloc(0);
}

t.test('a lie about the size of an answer costs the liar its stream only', async (t) => {
  const cluster = new TestCluster(t, createLibp2pMesh);
  const [a, b] = await cluster.pair({ limits: { response_bytes_max: 1000 } });
  b.handle('large', async () => new Uint8Array(1001));
  t.equal(await failure(a.request(b.self, 'large', new Uint8Array())), 'E_TOO_LARGE');
  t.same(a.peers(), [b.self]);
});
