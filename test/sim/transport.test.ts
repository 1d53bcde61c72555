import { readFile } from 'node:fs/promises';
import t from 'tap';
import { KEEP_ALIVE_MS } from '../../protocols/mesh/muxer.ts';
import { ACCESS, GOOD } from './network.ts';
import { pair, worldOf } from './recorder.ts';
import { BROKEN_AFTER_MS, MESSAGE_BYTES_MAX, SEND_QUEUE_MAX } from './transport.ts';

const BODY = Uint8Array.of(1, 2, 3);
const CHANNEL = 1;

t.test('both sides learn of a connection, and of its end', async (t) => {
  const { world, a, b } = pair();
  t.equal(a.count('connected') + b.count('connected'), 2);
  a.host.disconnect('b');
  world.runUntil(600);
  t.equal(a.count('disconnected') + b.count('disconnected'), 2);
});

t.test('two dials that cross are one connection to those who use it', async (t) => {
  const { world, nodes } = worldOf('ab');
  nodes[0]!.host.connect('b');
  nodes[1]!.host.connect('a');
  world.runUntil(100);
  t.equal(nodes[0]!.count('connected') + nodes[1]!.count('connected'), 2);
  t.equal(world.host('a').ends.get('b')?.length, 2);
  nodes[0]!.host.disconnect('b');
  world.runUntil(200);
  t.equal(nodes[1]!.count('disconnected'), 1);
});

t.test('a connection takes four round trips', async (t) => {
  const { world, nodes } = worldOf('ab', ACCESS.hop20);
  nodes[0]!.host.connect('b');
  world.runUntil(159);
  t.equal(nodes[0]!.count('connected'), 0);
  world.runUntil(161);
  t.equal(nodes[0]!.count('connected'), 1);
});

t.test('who is not admitted is refused, by either side', async (t) => {
  const { world, nodes } = worldOf('ab');
  nodes[1]!.strangers.add('a');
  nodes[0]!.host.connect('b');
  nodes[1]!.host.connect('a');
  world.runUntil(100);
  t.equal(nodes[0]!.count('connected') + nodes[1]!.count('connected'), 0);
});

t.test('loss is delay, and order is kept', async (t) => {
  const { world, a, b } = pair();
  world.network.quality = { ...GOOD, loss: 0.3 };
  for (let at = 0; at < 200; at += 1) {
    world.at(500 + at * 50, () => a.host.send('b', CHANNEL, Uint8Array.of(at)));
  }
  world.runUntil(60_000);
  t.same(
    b.bodies.map(([byte]) => byte),
    Array.from({ length: 200 }, (_, at) => at),
  );
});

t.test('a loss is noticed soon when more is sent behind it, and by the timer when not', async (t) => {
  for (const [isFollowed, from_ms, to_ms] of [
    [true, 30, 35],
    [false, 200, 210],
  ] as const) {
    const { world, a, b } = pair();
    world.network.quality = { ...GOOD, loss: 1 };
    a.host.send('b', CHANNEL, Uint8Array.of(1));
    world.network.quality = GOOD;
    if (isFollowed) world.at(530, () => a.host.send('b', CHANNEL, Uint8Array.of(2)));
    world.runUntil(500 + from_ms);
    t.equal(b.count('message'), 0);
    world.runUntil(500 + to_ms);
    t.same(
      b.bodies.map(([byte]) => byte),
      isFollowed ? [1, 2] : [1],
    );
  }
});

t.test('a busy link that loses a tenth keeps up with what is sent', async (t) => {
  const { world, a, b } = pair();
  world.network.quality = { ...GOOD, loss: 0.1 };
  const count = 3000;
  for (let at = 0; at < count; at += 1) world.at(500 + at * 7, () => a.host.send('b', CHANNEL, BODY));
  world.runUntil(500 + count * 7 + 2000);
  t.equal(b.count('message'), count);
  t.equal(world.transport.dropped_count, 0);
});

t.test(
  'what is sent in one moment comes in one segment, and its rest waits for a busy process',
  async (t) => {
    const { world, a, b } = pair();
    const { steps_count } = world;
    for (let at = 0; at < 10; at += 1) a.host.send('b', CHANNEL, Uint8Array.of(at));
    world.runUntil(600);
    t.equal(world.steps_count - steps_count, 1);
    t.same(b.seen.slice(-10), Array(10).fill(`message a ${CHANNEL}`));
    for (let at = 0; at < 3; at += 1) a.host.send('b', CHANNEL, Uint8Array.of(at));
    world.at(600.1, () => a.host.send('b', CHANNEL, Uint8Array.of(3)));
    b.message = (from, channel, body) => {
      b.seen.push(`message ${from} ${channel}`);
      b.bodies.push(body);
      if (body[0] === 0) world.pause('b', 50);
    };
    world.runUntil(640);
    t.equal(b.count('message'), 11);
    world.runUntil(700);
    t.same(
      b.bodies.slice(-4).map(([byte]) => byte),
      [0, 1, 2, 3],
    );
  },
);

t.test('duplication doubles and reordering lets others overtake', async (t) => {
  const { world, a, b } = pair();
  world.network.quality = { ...GOOD, duplication: 1 };
  a.host.send('b', CHANNEL, BODY);
  world.runUntil(700);
  t.equal(b.count('message'), 2);
  world.network.quality = { ...GOOD, reordering: 0.5 };
  for (let at = 0; at < 100; at += 1) {
    world.at(700 + at / 10, () => a.host.send('b', CHANNEL, Uint8Array.of(at)));
  }
  world.runUntil(800);
  const order = b.bodies.slice(2).map(([byte]) => byte!);
  t.notSame(
    order,
    order.toSorted((x, y) => x - y),
  );
  t.equal(order.length, 100);
});

t.test('a one-way cut is one way, and what was sent comes after it, within the backoff', async (t) => {
  const { world, a, b } = pair();
  world.network.cut(0, 1);
  a.host.send('b', CHANNEL, BODY);
  b.host.send('a', CHANNEL, BODY);
  world.runUntil(20_000);
  t.equal(b.count('message'), 0);
  t.equal(a.count('message'), 1);
  t.equal(a.count('disconnected'), 0);
  world.network.heal();
  world.runUntil(46_000);
  t.equal(b.count('message'), 1);
});

t.test('what stays unacknowledged breaks, whichever way is cut', async (t) => {
  for (const [from, to] of [
    [0, 1],
    [1, 0],
  ] as const) {
    const { world, a, b } = pair();
    world.network.cut(from, to);
    a.host.send('b', CHANNEL, BODY);
    world.runUntil(500 + BROKEN_AFTER_MS * 2);
    t.equal(a.count('disconnected'), 1);
    t.equal(b.count('message'), from === 0 ? 0 : 1);
  }
});

t.test('connections are given up as late as those of the daemon', async (t) => {
  const source = await readFile(new URL('../../protocols/mesh/libp2p-node.ts', import.meta.url), 'utf8');
  const [, factor] = /^const SOCKET_SILENCE_MS = ([\d.]+) \* KEEP_ALIVE_MS;$/m.exec(source) ?? [];
  t.equal(Number(factor) * KEEP_ALIVE_MS, BROKEN_AFTER_MS);
});

t.test('a full queue and an oversize message are dropped, and counted', async (t) => {
  const { world, a, b } = pair();
  world.network.cut(0, 1);
  for (let at = 0; at < SEND_QUEUE_MAX + 5; at += 1) a.host.send('b', CHANNEL, BODY);
  t.equal(world.transport.dropped_count, 5);
  world.network.heal();
  a.host.send('b', CHANNEL, new Uint8Array(MESSAGE_BYTES_MAX + 1));
  t.equal(world.transport.refused_count, 1);
  world.runUntil(2000);
  t.equal(b.count('message'), SEND_QUEUE_MAX);
});

t.test('a dial into a cut arrives when the cut ends in time, and is over when it does not', async (t) => {
  for (const [heals_ms, connected_count] of [
    [2000, 1],
    [8000, 0],
  ] as const) {
    const { world, nodes } = worldOf('ab');
    world.network.partition([0]);
    nodes[0]!.host.connect('b');
    world.at(heals_ms, () => world.network.heal());
    world.runUntil(20_000);
    t.equal(nodes[0]!.count('connected'), connected_count);
  }
});

t.test(
  'a dial is answered half a second after a cut, and at the next ask after a link was down',
  async (t) => {
    for (const heals_ms of [1300, 2700, 3800]) {
      const cut = worldOf('ab');
      cut.world.network.cut(0, 1);
      cut.nodes[0]!.host.connect('b');
      cut.world.at(heals_ms, () => cut.world.network.heal());
      cut.world.runUntil(heals_ms);
      t.equal(cut.nodes[0]!.count('connected'), 0);
      cut.world.runUntil(heals_ms + 510);
      t.equal(cut.nodes[0]!.count('connected'), 1);
      const down = worldOf('ab');
      down.world.network.partition([0]);
      for (const [at, peer] of ['b', 'a'].entries()) down.nodes[at]!.host.connect(peer);
      down.world.at(heals_ms, () => down.world.network.heal());
      const asked_ms = Math.ceil(heals_ms / 1000) * 1000;
      down.world.runUntil(asked_ms - 1);
      t.equal(down.nodes[0]!.count('connected'), 0, 'the other has heard nothing yet');
      down.world.runUntil(asked_ms + 10);
      t.equal(down.nodes[0]!.count('connected'), 1);
    }
  },
);

t.test('what is asked for during a dial is dialled after it', async (t) => {
  const { world, nodes } = worldOf('ab');
  world.network.cut(0, 1);
  nodes[0]!.host.connect('b');
  world.at(3000, () => nodes[0]!.host.connect('b'));
  world.at(7000, () => world.network.heal());
  world.runUntil(7510);
  t.equal(nodes[0]!.count('connected'), 1);
  nodes[0]!.host.disconnect('b');
  world.runUntil(20_000);
  t.equal(nodes[0]!.count('connected'), 1, 'and not once more');
});

t.test('who dials anew has given up an old connection, and may have crossed with a young one', async (t) => {
  for (const [age_ms, isEnded] of [
    [6000, true],
    [2000, false],
  ] as const) {
    const { world, b } = pair();
    world.at(500 + age_ms, () => world.crash('a', true));
    world.at(600 + age_ms, () => world.start('a'));
    world.at(700 + age_ms, () => world.host('a').node!.host.connect('b'));
    world.runUntil(1000 + age_ms);
    t.equal(b.count('disconnected'), isEnded ? 1 : 0);
    t.equal(world.host('b').ends.get('a')?.length, isEnded ? 1 : 2);
    t.equal(b.count('connected'), isEnded ? 2 : 1);
  }
});

t.test('a crash of a process is told, that of a host is silence until it answers again', async (t) => {
  const told = pair();
  told.world.crash('b', false);
  told.world.runUntil(1000);
  t.equal(told.a.count('disconnected'), 1);
  const silent = pair();
  silent.world.crash('b', true);
  silent.a.host.send('b', CHANNEL, BODY);
  silent.world.runUntil(3000);
  t.equal(silent.a.count('disconnected'), 0);
  silent.world.start('b');
  silent.world.runUntil(10_000);
  t.equal(silent.a.count('disconnected'), 1, 'a reset, since the new life knows nothing of it');
});

t.test('large messages take their time on slow links', async (t) => {
  const { world, a, b } = pair(ACCESS.mobile);
  world.runUntil(2000);
  const seen_count = b.count('message');
  a.host.send('b', CHANNEL, new Uint8Array(250_000));
  world.runUntil(2900);
  t.equal(b.count('message'), seen_count);
  world.runUntil(4000);
  t.equal(b.count('message'), seen_count + 1);
});
