import t from 'tap';
import { Prng } from './prng.ts';
import { pair, type Recorder, worldOf } from './recorder.ts';
import { EPOCH_MS } from './simulator.ts';
import { UNWANTED } from './transport.ts';

const CHANNEL = 1;

t.test('equal seeds give equal chances, others give others', async (t) => {
  const draw = (seed: string) => Array.from({ length: 20 }, new Prng(seed).next);
  t.same(draw('x'), draw('x'));
  t.notSame(draw('x'), draw('y'));
  t.ok(draw('x').every((value) => value >= 0 && value < 1));
});

t.test('chances are even', async (t) => {
  const prng = new Prng('even');
  const counts = new Array(10).fill(0);
  for (let at = 0; at < 100_000; at += 1) counts[Math.floor(prng.next() * 10)] += 1;
  for (const count of counts) t.ok(count > 9500 && count < 10_500, String(count));
});

t.test('a node that asks to be called again at once, for ever, ends a run', async (t) => {
  const { world, b } = pair();
  const again = () => b.host.schedule(0, 7, b.host.now());
  b.timer = again;
  again();
  world.still_max = 1000;
  t.throws(() => world.runUntil(2000), /time stands still at/);
});

t.test('a paused node gets everything later, in order', async (t) => {
  const { world, a, b } = pair();
  b.host.schedule(0, 7, b.host.now() + 10);
  world.pause('b', 1000);
  for (const byte of [1, 2, 3]) {
    world.at(600 + byte * 20, () => a.host.send('b', CHANNEL, Uint8Array.of(byte)));
  }
  world.runUntil(1400);
  t.equal(b.count('message') + b.count('timer'), 0);
  world.runUntil(2000);
  t.same(b.seen.slice(-4), ['timer 0 7', 'message a 1', 'message a 1', 'message a 1']);
  t.same(
    b.bodies.map(([byte]) => byte),
    [1, 2, 3],
  );
});

t.test('a node that is blocked goes on with what it waited for, before all else', async (t) => {
  const { world, a, b } = pair();
  b.host.block(100, () => b.seen.push('written'));
  a.host.send('b', CHANNEL, Uint8Array.of(1));
  world.runUntil(700);
  t.same(b.seen.slice(-2), ['written', 'message a 1']);
});

t.test('what waits keeps its order, however often the node is busy again', async (t) => {
  const { world, a, b } = pair();
  const take = b.message.bind(b);
  b.message = (...message) => {
    take(...message);
    b.host.block(10, () => b.seen.push('written'));
  };
  b.host.block(100, () => b.seen.push('written'));
  world.pause('b', 300);
  for (const byte of [1, 2, 3]) world.at(510 + byte, () => a.host.send('b', CHANNEL, Uint8Array.of(byte)));
  world.runUntil(2000);
  t.same(b.seen.slice(-7), ['written', ...new Array(3).fill(['message a 1', 'written']).flat()]);
  t.same(
    b.bodies.map(([byte]) => byte),
    [1, 2, 3],
  );
});

t.test('nothing of a former life reaches the next one', async (t) => {
  const { world, a, b } = pair();
  b.host.schedule(0, 1, b.host.now() + 100);
  world.crash('b', false);
  world.start('b');
  const next = world.host('b').node!;
  b.host.connect('a');
  b.host.schedule(0, 2, 0);
  a.host.send('b', CHANNEL, Uint8Array.of(1));
  world.runUntil(2000);
  t.equal(next.host.life, 2);
  t.same(next.seen, ['start']);
});

t.test('what waits for a node that is not there keeps the next life from nothing', async (t) => {
  const { world, b } = pair();
  b.host.schedule(0, 1, b.host.now() + 100);
  world.crash('b', false);
  // The timer of the former life comes while it is paused, and waits.
  world.pause('b', 300);
  world.runUntil(world.now_ms + 200);
  world.start('b');
  const next = world.host('b').node!;
  world.runUntil(world.now_ms + 10);
  next.host.schedule(0, 2, next.host.now() + 50);
  world.pause('b', 100);
  world.runUntil(world.now_ms + 1000);
  t.same(next.seen, ['start', 'timer 0 2']);
});

t.test('clocks are skewed and jump, and timers that run do not', async (t) => {
  const { world, nodes } = worldOf('a');
  const [a] = nodes as [Recorder];
  world.runUntil(100);
  t.equal(a.host.now(), EPOCH_MS + 100);
  a.host.schedule(0, 1, a.host.now() + 1000);
  world.setClock('a', -60_000);
  t.equal(a.host.now(), EPOCH_MS + 100 - 60_000);
  world.runUntil(1099);
  t.equal(a.count('timer'), 0);
  world.runUntil(1101);
  t.equal(a.count('timer'), 1);
});

t.test('what is published reaches all, once, over a mesh of few', async (t) => {
  const names = 'abcdefghijklmnopqrst';
  const { world, nodes } = worldOf(names);
  for (const node of nodes) for (const id of names) if (id > node.host.id) node.host.connect(id);
  world.runUntil(5000);
  for (const host of world.hosts) t.ok(host.mesh.size >= 3 && host.mesh.size <= 5, `${host.mesh.size}`);
  nodes[0]!.host.publish(Uint8Array.of(9));
  world.runUntil(5100);
  for (const node of nodes.slice(1)) t.equal(node.count('published'), 1);
  const copies_count = world.hosts.reduce((sum, host) => sum + host.gossipCopies_count, 0);
  // All are connected to all: the author tells everybody, and hardly anybody needs to relay it.
  t.ok(copies_count < names.length * 1.2, `${copies_count}`);
});

t.test(
  'what is published right after a connection passes the peer by: it has not said what it listens to',
  async (t) => {
    const { world, nodes } = worldOf('ab');
    const [a, b] = nodes as [Recorder, Recorder];
    a.host.connect('b');
    a.connected = () => a.host.publish(Uint8Array.of(1));
    world.runUntil(1000);
    t.equal(b.count('connected'), 1);
    t.equal(b.count('published'), 0);
    a.host.publish(Uint8Array.of(2));
    world.runUntil(2000);
    t.equal(b.count('published'), 1);
  },
);

t.test('where there are too many for all to be connected to all, neighbours relay it at once', async (t) => {
  const names = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN';
  const { world, nodes } = worldOf(names);
  for (const [at, node] of nodes.entries()) {
    for (let step = 1; step <= 3; step += 1) node.host.connect(names[(at + step * step) % names.length]!);
  }
  world.runUntil(5000);
  nodes[0]!.host.publish(Uint8Array.of(9));
  world.runUntil(5010);
  for (const node of nodes.slice(1)) t.equal(node.count('published'), 1);
  t.equal(world.transport.receivedOn_bytes(UNWANTED), 0, 'a small message is not worth to be called off');
  nodes[0]!.host.publish(new Uint8Array(2048));
  world.runUntil(5020);
  t.ok(world.transport.receivedOn_bytes(UNWANTED) > 0);
});

t.test('equal bytes travel once within two minutes, and again after them', async (t) => {
  const { world, a, b } = pair();
  world.runUntil(3000);
  a.host.publish(Uint8Array.of(9));
  a.host.publish(Uint8Array.of(9));
  world.runUntil(4000);
  b.host.publish(Uint8Array.of(9));
  world.runUntil(124_000);
  t.equal(b.count('published') + a.count('published'), 1);
  b.host.publish(Uint8Array.of(9));
  world.runUntil(125_000);
  t.equal(a.count('published'), 1);
});

t.test('what a node does not accept is not relayed', async (t) => {
  const { world, nodes } = worldOf('abc');
  const [a, b, c] = nodes as [Recorder, Recorder, Recorder];
  a.host.connect('b');
  b.host.connect('c');
  world.runUntil(5000);
  b.verdict = 'reject';
  a.host.publish(Uint8Array.of(1));
  world.runUntil(6000);
  b.verdict = 'accept';
  a.host.publish(Uint8Array.of(2));
  world.runUntil(7000);
  t.equal(b.count('published'), 2);
  t.equal(c.count('published'), 1);
});
