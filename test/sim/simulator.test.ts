import t from 'tap';
import { EventQueue } from './event-queue.ts';
import { GOOD } from './network.ts';
import { Prng } from './prng.ts';
import type { SimEvent, SimHost, SimNode } from './sim-node.ts';
import { Simulator } from './simulator.ts';

/** Keeps what it is told, and does what the test says. */
class Recorder implements SimNode {
  readonly host: SimHost;
  readonly seen: SimEvent[] = [];

  constructor(host: SimHost) {
    this.host = host;
  }

  handle(event: SimEvent): void {
    this.seen.push(event);
  }

  count(kind: SimEvent['kind']): number {
    return this.seen.filter((event) => event.kind === kind).length;
  }
}

function worldOf(...ids: string[]) {
  const world = new Simulator<Recorder, null>('test', (host) => new Recorder(host));
  for (const id of ids) {
    world.add(id, null);
    world.start(id);
  }
  return { world, nodes: ids.map((id) => world.hosts.get(id)!.node!) };
}

function pair() {
  const { world, nodes } = worldOf('a', 'b');
  const [a, b] = nodes as [Recorder, Recorder];
  a.host.connect('b');
  world.runUntil(100);
  return { world, a, b };
}

const BODY = Uint8Array.of(1, 2, 3);

t.test('the queue gives by time, and in order of arrival within one time', async (t) => {
  const queue = new EventQueue<string>();
  const prng = new Prng('queue');
  const items = Array.from({ length: 500 }, (_, at) => ({ at, time: Math.floor(prng.between(0, 50)) }));
  for (const { at, time } of items) queue.push(time, `${time}/${at}`);
  const given = items.map(() => queue.pop());
  t.same(
    given,
    items.toSorted((a, b) => a.time - b.time || a.at - b.at).map(({ at, time }) => `${time}/${at}`),
  );
  t.equal(queue.pop(), undefined);
});

t.test('equal seeds give equal chances, others give others', async (t) => {
  const draw = (seed: string) => Array.from({ length: 20 }, new Prng(seed).next);
  t.same(draw('x'), draw('x'));
  t.notSame(draw('x'), draw('y'));
  t.ok(draw('x').every((value) => value >= 0 && value < 1));
});

t.test('both sides learn of a connection, and of its end', async (t) => {
  const { world, a, b } = pair();
  t.equal(a.count('connected') + b.count('connected'), 2);
  a.host.disconnect('b');
  world.runUntil(200);
  t.equal(a.count('disconnected') + b.count('disconnected'), 2);
});

t.test('two dials that cross are one connection to those who use it', async (t) => {
  const { world, nodes } = worldOf('a', 'b');
  nodes[0]!.host.connect('b');
  nodes[1]!.host.connect('a');
  world.runUntil(100);
  t.equal(nodes[0]!.count('connected') + nodes[1]!.count('connected'), 2);
});

t.test('loss drops and duplication doubles', async (t) => {
  const { world, a, b } = pair();
  world.network.quality = { ...GOOD, loss: 0.3 };
  for (let at = 0; at < 1000; at += 1) a.host.send('b', 'c', BODY);
  world.runUntil(200);
  t.ok(b.count('message') > 600 && b.count('message') < 800);
  world.network.quality = { ...GOOD, duplication: 1 };
  const before = b.count('message');
  a.host.send('b', 'c', BODY);
  world.runUntil(300);
  t.equal(b.count('message'), before + 2);
});

t.test('a one-way cut is one way, and nobody is told', async (t) => {
  const { world, a, b } = pair();
  world.network.cut('a', 'b');
  a.host.send('b', 'c', BODY);
  b.host.send('a', 'c', BODY);
  world.runUntil(200);
  t.equal(b.count('message'), 0);
  t.equal(a.count('message'), 1);
  t.equal(a.count('disconnected'), 0);
  world.network.heal();
  a.host.send('b', 'c', BODY);
  world.runUntil(300);
  t.equal(b.count('message'), 1);
});

t.test('a paused node gets everything later, in order', async (t) => {
  const { world, a, b } = pair();
  b.host.schedule('x', b.host.now() + 10);
  world.pause('b', 1000);
  for (const byte of [1, 2, 3]) {
    world.at(100 + byte * 20, () => a.host.send('b', 'c', Uint8Array.of(byte)));
  }
  world.runUntil(1000);
  t.equal(b.count('message') + b.count('timer'), 0);
  world.runUntil(1200);
  const bodies = b.seen.flatMap((event) => (event.kind === 'message' ? [event.body[0]] : []));
  t.same(bodies, [1, 2, 3]);
  t.equal(b.count('timer'), 1);
});

t.test(
  'a killed process is told to its peers, a silent host only by what it answers after its return',
  async (t) => {
    const { world, a } = pair();
    world.crash('b', false);
    world.runUntil(200);
    t.equal(a.count('disconnected'), 1);
    world.start('b');
    a.host.connect('b');
    world.runUntil(300);
    world.crash('b', true);
    a.host.send('b', 'c', BODY);
    world.runUntil(400);
    t.equal(a.count('disconnected'), 1);
    world.start('b');
    a.host.send('b', 'c', BODY);
    world.runUntil(500);
    t.equal(a.count('disconnected'), 2);
  },
);

t.test('what an earlier life asked for does not happen', async (t) => {
  const { world, a, b } = pair();
  b.host.schedule('x', b.host.now() + 50);
  world.crash('b', false);
  world.start('b');
  b.host.send('a', 'c', BODY);
  world.runUntil(300);
  t.equal(world.hosts.get('b')!.node!.count('timer'), 0);
  t.equal(a.count('message'), 0);
});

t.test('what is published reaches all through peers, once', async (t) => {
  const ids = Array.from({ length: 10 }, (_, at) => `n${at}`);
  const { world, nodes } = worldOf(...ids);
  for (let at = 0; at < 10; at += 1) nodes[at]!.host.connect(ids[(at + 1) % 10]!);
  world.runUntil(100);
  nodes[0]!.host.publish(BODY);
  world.runUntil(500);
  t.same(
    nodes.map((node) => node.count('published')),
    [0, ...Array(9).fill(1)],
  );
});
