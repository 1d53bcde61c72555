/**
 * What every Mesh must do. Run by test/protocols/mesh/*-mesh.test.ts for each implementation.
 * Not here: what only one of them has (processes that die, strangers on the wire, cut pairs).
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { ShoalError } from '../../protocols/base/errors.ts';
import { type Digest, publicKeyFromKeyId } from '../../protocols/base/ids.ts';
import {
  MESH_LIMITS,
  type Mesh,
  type MeshEvents,
  type MeshGuard,
  type MeshInit,
} from '../../protocols/mesh/mesh.ts';

export type CreateMesh = (init: MeshInit) => Promise<Mesh>;

const STREAM_BYTES = 32 << 20;
/** What may be between a writer and a reader that does not read: buffers of both ends, and the window of one stream. */
const UNDER_WAY_BYTES_MAX = 8 << 20;

/** A cluster for one test: its nodes are members of it and are closed with the test. */
export class TestCluster {
  readonly members = new Set<string>();
  readonly nodes: Mesh[] = [];
  readonly #create: CreateMesh;
  readonly #cluster = randomBytes(32).toString('hex');

  constructor(t: Test, create: CreateMesh) {
    this.#create = create;
    t.teardown(async () => {
      await Promise.all(this.nodes.map((node) => node[Symbol.asyncDispose]()));
    });
  }

  async node(changes: Partial<MeshInit> = {}): Promise<Mesh> {
    const node = await this.#create({
      seed: randomBytes(32),
      cluster: this.#cluster,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      isMember: (peer) => this.members.has(peer),
      mdns: false,
      log: () => undefined,
      ...changes,
    });
    this.nodes.push(node);
    this.members.add(node.self);
    return node;
  }

  async pair(changes: Partial<MeshInit> = {}): Promise<[Mesh, Mesh]> {
    const [a, b] = [await this.node(changes), await this.node(changes)];
    await connected(a, b);
    return [a, b];
  }
}

/** Resolves with the arguments of the first such event that `accept` takes. */
export function event<E extends keyof MeshEvents>(
  mesh: Mesh,
  name: E,
  accept: (...args: Parameters<MeshEvents[E]>) => boolean = () => true,
): Promise<Parameters<MeshEvents[E]>> {
  return new Promise((resolve) => {
    const listener = ((...args: Parameters<MeshEvents[E]>) => {
      if (!accept(...args)) return;
      mesh.off(name, listener);
      resolve(args);
    }) as MeshEvents[E];
    mesh.on(name, listener);
  });
}

/** Connects and waits until both sides know. */
export async function connected(from: Mesh, to: Mesh): Promise<void> {
  const known = to.peers().includes(from.self)
    ? undefined
    : event(to, 'connected', (peer) => peer === from.self);
  await from.connect(to.self, to.addresses());
  await known;
}

/** Waits for a condition that no event tells of. The test's own timeout bounds it. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(10);
}

function code(error: unknown): string {
  return error instanceof ShoalError ? error.code : String(error);
}

/** The code that `promise` fails with, or 'no error'. */
export async function failure(promise: Promise<unknown>): Promise<string> {
  return await promise.then(() => 'no error', code);
}

async function readAll(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** How a stream came to its end: 'end', or the code of its error. */
function fate(stream: Duplex): Promise<string> {
  return new Promise((resolve) => {
    stream.once('end', () => resolve('end'));
    stream.once('error', (error) => resolve(code(error)));
    stream.once('close', () => resolve(stream.readableEnded ? 'end' : 'closed'));
    stream.resume();
  });
}

export function meshConformance(t: Test, create: CreateMesh): void {
  t.test('the id of a node is the KeyId of its seed, on every start', async (t) => {
    const cluster = new TestCluster(t, create);
    // RFC 8032, section 7.1, TEST 1.
    const seed = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex');
    const node = await cluster.node({ seed });
    t.equal(
      Buffer.from(publicKeyFromKeyId(node.self)).toString('hex'),
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    );
    t.ok(node.addresses().length > 0);
    t.ok(node.addresses().every((address) => address.endsWith(`/p2p/${node.self}`)));
  });

  t.test('an address in use is refused by its code', async (t) => {
    const cluster = new TestCluster(t, create);
    const first = await cluster.node();
    const listen = first.addresses().map((address) => address.split('/p2p/')[0]!);
    t.equal(await failure(cluster.node({ listen })), 'E_PORT_IN_USE');
    await first[Symbol.asyncDispose]();
    t.equal(await failure(cluster.node({ listen })), 'no error', 'free again once its node is closed');
  });

  t.test('connecting is told to both sides, once', async (t) => {
    const cluster = new TestCluster(t, create);
    const [a, b] = [await cluster.node(), await cluster.node()];
    const told: string[] = [];
    a.on('connected', (peer) => told.push(`a ${peer}`));
    b.on('connected', (peer) => told.push(`b ${peer}`));
    await Promise.all([connected(a, b), a.connect(b.self, b.addresses()), b.connect(a.self, a.addresses())]);
    await a.connect(b.self, []);
    t.same(told.sort(), [`a ${b.self}`, `b ${a.self}`]);
    t.same(a.peers(), [b.self]);
    t.same(b.peers(), [a.self]);
  });

  t.test('connecting fails by its code', async (t) => {
    const cluster = new TestCluster(t, create);
    const [a, b, gone] = [await cluster.node(), await cluster.node(), await cluster.node()];
    const closed = gone.addresses();
    await gone[Symbol.asyncDispose]();
    t.equal(await failure(a.connect(gone.self, closed)), 'E_UNREACHABLE', 'nobody listens');
    t.equal(
      await failure(a.connect(gone.self, b.addresses())),
      'E_UNREACHABLE',
      'the addresses are of another',
    );
    t.equal(await failure(a.connect(b.self, ['nonsense', ''])), 'E_UNREACHABLE', 'no address can be read');
    t.equal(await failure(a.connect(a.self, a.addresses())), 'E_UNREACHABLE', 'the address is our own');
    t.same(a.peers(), []);
    await a.connect(b.self, ['nonsense', ...closed, ...b.addresses()]);
    t.same(a.peers(), [b.self], 'one good address is enough');
  });

  t.test('strangers are refused from both sides', async (t) => {
    const cluster = new TestCluster(t, create);
    const inside = await cluster.node();
    const outside = await cluster.node({ isMember: () => true });
    cluster.members.delete(outside.self);
    const told: string[] = [];
    for (const node of [inside, outside]) node.on('connected', (peer) => told.push(peer));
    t.equal(await failure(inside.connect(outside.self, outside.addresses())), 'E_NOT_ALLOWED');
    t.equal(await failure(outside.connect(inside.self, inside.addresses())), 'E_UNREACHABLE');
    t.same([...inside.peers(), ...outside.peers(), ...told], []);
    cluster.members.add(outside.self);
    await connected(outside, inside);
    t.same(inside.peers(), [outside.self], 'let in at once when it becomes a member');
  });

  t.test('datagrams arrive in order, on their channels', async (t) => {
    const cluster = new TestCluster(t, create);
    const [a, b] = await cluster.pair();
    const got: string[] = [];
    const sent: string[] = [];
    b.on('message', (from, channel, body) => got.push(`${from === a.self} ${channel} ${Buffer.from(body)}`));
    for (let n = 0; n < 1000; n++) {
      const body = `${n} ${'x'.repeat((n * 37) % 2000)}`;
      t.ok(a.send(b.self, n % 2 ? 'odd' : 'even', Buffer.from(body)) || `refused ${n}`);
      sent.push(`true ${n % 2 ? 'odd' : 'even'} ${body}`);
    }
    await until(() => got.length === sent.length);
    t.same(got, sent);
    const echo = event(a, 'message');
    t.equal(b.send(a.self, 'ä', new Uint8Array()), true);
    t.same(await echo, [b.self, 'ä', new Uint8Array()]);
  });

  t.test('a full queue and a missing peer refuse datagrams; an oversized one throws', async (t) => {
    const cluster = new TestCluster(t, create);
    const limits = { sendQueue_messages_max: 16, sendQueue_bytes_max: 4096, message_bytes_max: 3000 };
    const [a, b] = await cluster.pair({ limits });
    const got: number[] = [];
    b.on('message', (_from, _channel, body) => got.push(body[0]!));
    const taken = Array.from({ length: 40 }, (_, n) => a.send(b.self, 'c', Uint8Array.of(n)));
    t.same(
      taken,
      Array.from({ length: 40 }, (_, n) => n < 16),
      'sixteen are queued, the rest is dropped',
    );
    await until(() => got.length === 16);
    t.same(
      got,
      Array.from({ length: 16 }, (_, n) => n),
    );
    t.same(
      [a.send(b.self, 'c', new Uint8Array(3000)), a.send(b.self, 'c', new Uint8Array(3000))],
      [true, false],
    );
    await until(() => got.length === 17);
    t.equal(a.send(b.self, 'c', Uint8Array.of(99)), true, 'and it takes more once it is empty');
    await until(() => got.includes(99));
    t.throws(() => a.send(b.self, 'c', new Uint8Array(3001)), { code: 'E_TOO_LARGE' });
    t.equal(a.send('12D3KooWnobody', 'c', new Uint8Array(1)), false);
  });

  t.test('a listener that throws harms nobody', async (t) => {
    const cluster = new TestCluster(t, create);
    const [a, b] = await cluster.pair();
    let throws = true;
    const good: string[] = [];
    b.on('message', () => {
      if (throws) throw new Error('on purpose');
      good.push('got');
    });
    a.send(b.self, 'c', new Uint8Array(1));
    await sleep(20);
    throws = false;
    await until(() => {
      a.send(b.self, 'c', new Uint8Array(1));
      return good.length > 0;
    });
    t.same(a.peers(), [b.self]);
  });

  t.test('requests are answered', async (t) => {
    const cluster = new TestCluster(t, create);
    const [a, b] = await cluster.pair();
    b.handle('echo', async (from, body) => Buffer.concat([Buffer.from(from.slice(-4)), body]));
    b.handle('big', async () => Buffer.alloc(MESH_LIMITS.response_bytes_max, 7));
    const whole = randomBytes(MESH_LIMITS.message_bytes_max);
    t.equal(Buffer.from(await a.request(b.self, 'echo', new Uint8Array())).toString(), a.self.slice(-4));
    t.ok(
      Buffer.from(await a.request(b.self, 'echo', whole))
        .subarray(4)
        .equals(whole),
      'the largest body',
    );
    t.equal((await a.request(b.self, 'big', new Uint8Array())).byteLength, MESH_LIMITS.response_bytes_max);
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) => a.request(b.self, 'echo', Uint8Array.of(n))),
    );
    t.same(
      answers.map((answer) => answer[4]),
      Array.from({ length: 50 }, (_, n) => n),
      'fifty at once',
    );
  });

  t.test('requests fail by their codes', async (t) => {
    const cluster = new TestCluster(t, create);
    const limits = { request_timeout_ms: 300, message_bytes_max: 1000, response_bytes_max: 2000 };
    const [a, b] = await cluster.pair({ limits });
    b.handle('refuse', async () => {
      throw new ShoalError('E_TOKEN_USED', 'that one is spent', { detail: { inside: 'secret' } });
    });
    b.handle('defect', async () => {
      throw new Error('a secret path');
    });
    b.handle('large', async (_from, body) => new Uint8Array(2001 - body.byteLength));
    const gone: Promise<void>[] = [];
    b.handle('never', (_from, _body, signal) => {
      gone.push(new Promise((resolve) => signal.addEventListener('abort', () => resolve())));
      return new Promise(() => undefined);
    });
    const body = Uint8Array.of(1);
    await t.rejects(a.request(b.self, 'refuse', body), {
      code: 'E_TOKEN_USED',
      message: 'that one is spent',
    });
    const defect = await a.request(b.self, 'defect', body).catch((error: ShoalError) => error);
    t.match(defect, { code: 'E_INTERNAL' });
    t.notMatch(String((defect as ShoalError).message), /secret/);
    t.equal(await failure(a.request(b.self, 'nobody', body)), 'E_NOT_FOUND');
    t.equal(await failure(a.request(b.self, 'large', body)), 'no error');
    t.equal(await failure(a.request(b.self, 'large', new Uint8Array())), 'E_TOO_LARGE');
    t.equal(await failure(a.request(b.self, 'echo', new Uint8Array(1001))), 'E_TOO_LARGE');
    t.equal(await failure(a.request(b.self, 'never', body)), 'E_TIMEOUT');
    const caller = new AbortController();
    const given = failure(a.request(b.self, 'never', body, { signal: caller.signal }));
    await until(() => gone.length === 2);
    caller.abort();
    t.equal(await given, 'E_CANCELLED');
    t.equal(await failure(a.request(b.self, 'refuse', body, { signal: caller.signal })), 'E_CANCELLED');
    await Promise.all(gone);
    t.equal(await failure(a.request('12D3KooWnobody', 'echo', body)), 'E_UNREACHABLE');
    const cut = failure(a.request(b.self, 'never', body));
    await until(() => gone.length === 3);
    await b.disconnect(a.self);
    t.equal(await cut, 'E_UNREACHABLE');
  });

  for (const size of [2, 3, 5]) {
    t.test(`what one of ${size} publishes reaches all others, over a line of connections`, async (t) => {
      const cluster = new TestCluster(t, create);
      for (let n = 0; n < size; n++) {
        const node = await cluster.node();
        if (n > 0) await connected(node, cluster.nodes[n - 1]!);
      }
      const got = cluster.nodes.map(() => new Set<string>());
      cluster.nodes.forEach((node, n) => {
        node.handlePublished((_from, body) => {
          got[n]!.add(Buffer.from(body).toString());
          return 'accept';
        });
      });
      // Who is subscribed becomes known a moment after the connection.
      let probe = 0;
      await until(async () => {
        for (const [n, node] of cluster.nodes.entries())
          await node.publish(Buffer.from(`probe ${n} ${probe}`));
        probe++;
        return cluster.nodes.every((_, n) =>
          cluster.nodes.every(
            (_, by) => n === by || [...got[n]!].some((text) => text.startsWith(`probe ${by} `)),
          ),
        );
      });
      const large = 'x'.repeat(200_000);
      for (const [n, node] of cluster.nodes.entries()) await node.publish(Buffer.from(`from ${n} ${large}`));
      await until(() =>
        got.every((texts, n) => cluster.nodes.every((_, by) => n === by || texts.has(`from ${by} ${large}`))),
      );
      t.notOk(got[0]!.has(`from 0 ${large}`), 'and never oneself');
    });
  }

  t.test('what a node does not accept goes no further than it', async (t) => {
    const cluster = new TestCluster(t, create);
    const [a, b, c] = [await cluster.node(), await cluster.node(), await cluster.node()];
    await connected(a, b);
    await connected(b, c);
    const asked = new Set<string>();
    b.handlePublished((from, body) => {
      t.equal(from, a.self);
      const text = Buffer.from(body).toString();
      asked.add(text.split(' ')[0]!);
      if (text.startsWith('throw')) throw new Error('on purpose');
      return text.startsWith('accept') ? 'accept' : text.startsWith('ignore') ? 'ignore' : 'reject';
    });
    const got: string[] = [];
    c.handlePublished((_from, body) => {
      got.push(Buffer.from(body).toString());
      return 'accept';
    });
    let round = 0;
    // Nothing of it is asked again: each round is new bytes.
    await until(async () => {
      for (const verdict of ['reject', 'throw', 'ignore', 'accept'])
        await a.publish(Buffer.from(`${verdict} ${round}`));
      round++;
      return asked.size === 4 && got.length > 0;
    });
    await sleep(100);
    t.same([...new Set(got.map((text) => text.split(' ')[0]))], ['accept']);
    t.same(new Set(got).size, got.length, 'each once');
  });

  t.test('a guard is asked first: what it refuses is dropped, and the rest goes on', async (t) => {
    const cluster = new TestCluster(t, create);
    const used = { connection: 0, message: 0, stream: 0, frame: 0, bytes: 0 };
    let open = false;
    const guard: MeshGuard = {
      admit: (peer, use, bytes) => {
        t.equal(peer, a.self);
        used[use]++;
        used.bytes += bytes;
        // Without frames there is no connection at all.
        return open || use === 'frame';
      },
      offence: () => t.fail('nobody did anything wrong'),
    };
    const b = await cluster.node({ guard });
    const a = await cluster.node();
    open = true;
    await connected(a, b);
    const got: string[] = [];
    b.on('message', (_from, _channel, body) => got.push(Buffer.from(body).toString()));
    b.handle('echo', async (_from, body) => body);
    b.handleStream('echo', (_from, _header, stream) => void stream.pipe(stream));
    const echoed = async (): Promise<string> => {
      const stream = await a.open(b.self, 'echo', new Uint8Array());
      stream.end('there and back');
      return (await readAll(stream)).toString();
    };
    t.equal(await echoed(), 'there and back');
    const before = { ...used };
    open = false;
    a.send(b.self, 'c', Buffer.from('refused'));
    await until(() => used.message > before.message);
    t.equal(await failure(a.request(b.self, 'echo', new Uint8Array())), 'E_UNREACHABLE');
    t.not(await echoed().catch(code), 'there and back');
    open = true;
    await until(() => {
      a.send(b.self, 'c', Buffer.from('admitted'));
      return got.length > 0;
    });
    t.equal(got[0], 'admitted');
    t.same(await a.request(b.self, 'echo', Uint8Array.of(1)), Uint8Array.of(1));
    t.equal(await echoed(), 'there and back');
    t.ok(used.stream > before.stream && used.bytes > before.bytes);
    t.same(b.peers(), [a.self]);
  });

  t.test('publishing alone is no error; publishing too much is', async (t) => {
    const cluster = new TestCluster(t, create);
    const node = await cluster.node();
    await node.publish(Buffer.from('alone'));
    await node.publish(Buffer.from('alone'));
    t.equal(await failure(node.publish(new Uint8Array(MESH_LIMITS.message_bytes_max + 1))), 'E_TOO_LARGE');
  });

  t.test('streams carry a header and bytes both ways, and each side ends on its own', async (t) => {
    const cluster = new TestCluster(t, create);
    const [a, b] = await cluster.pair();
    const served = Promise.withResolvers<string>();
    b.handleStream('upper', async (from, header, stream) => {
      const text = (await readAll(stream)).toString();
      served.resolve(`${from === a.self} ${Buffer.from(header)} ${text.length}`);
      stream.end(text.toUpperCase());
    });
    const stream = await a.open(b.self, 'upper', Buffer.from('head'));
    const text = 'abc'.repeat(100_000);
    stream.end(text);
    t.equal((await readAll(stream)).toString(), text.toUpperCase());
    t.equal(await served.promise, `true head ${text.length}`);
    const empty = await a.open(b.self, 'upper', new Uint8Array(MESH_LIMITS.header_bytes_max));
    empty.end();
    t.equal((await readAll(empty)).length, 0);
    t.equal(
      await failure(a.open(b.self, 'upper', new Uint8Array(MESH_LIMITS.header_bytes_max + 1))),
      'E_TOO_LARGE',
    );
    t.equal(await failure(a.open('12D3KooWnobody', 'upper', new Uint8Array())), 'E_UNREACHABLE');
  });

  t.test('a reader that is slow or stops holds the writer back, and all bytes arrive', async (t) => {
    const cluster = new TestCluster(t, create);
    const [a, b] = await cluster.pair();
    let accepted = 0;
    let consumed = 0;
    let most = 0;
    const received = createHash('sha256');
    const done = Promise.withResolvers<void>();
    const stalled = Promise.withResolvers<void>();
    b.handleStream('sink', async (_from, _header, stream) => {
      await stalled.promise;
      let chunks = 0;
      for await (const chunk of stream) {
        consumed += chunk.length;
        received.update(chunk);
        if (++chunks % 64 === 0) await sleep(1);
      }
      done.resolve();
    });
    const stream = await a.open(b.self, 'sink', new Uint8Array());
    const sent = createHash('sha256');
    const chunk = randomBytes(64 << 10);
    const writing = (async () => {
      while (accepted < STREAM_BYTES) {
        sent.update(chunk);
        accepted += chunk.length;
        most = Math.max(most, accepted - consumed);
        if (!stream.write(chunk)) await once(stream, 'drain');
      }
      stream.end();
    })();
    // Until nothing moves any more: the writer is held back by a reader that has not begun.
    for (let before = -1; before !== accepted; await sleep(200)) before = accepted;
    t.ok(accepted < UNDER_WAY_BYTES_MAX, `${accepted} bytes were taken while nobody read`);
    stalled.resolve();
    await writing;
    await done.promise;
    t.equal(consumed, STREAM_BYTES);
    t.equal(received.digest('hex'), sent.digest('hex'));
    t.ok(most < UNDER_WAY_BYTES_MAX, `at most ${most} bytes were under way`);
  });

  t.test('a stream that breaks is an error on both sides, never an end', async (t) => {
    const cluster = new TestCluster(t, create);
    const [a, b] = await cluster.pair();
    const taken: Duplex[] = [];
    b.handleStream('keep', (_from, _header, stream) => taken.push(stream));
    const openOne = async (): Promise<[Duplex, Duplex]> => {
      const count = taken.length;
      const near = await a.open(b.self, 'keep', new Uint8Array());
      near.write('some');
      await until(() => taken.length > count);
      return [near, taken[count]!];
    };
    const [byDialler, its] = await openOne();
    byDialler.destroy();
    t.equal(await fate(its), 'E_UNREACHABLE', 'the dialler destroyed it');
    const [by, handlers] = await openOne();
    handlers.destroy();
    t.equal(await fate(by), 'E_UNREACHABLE', 'the handler destroyed it');
    const [near, far] = await openOne();
    const fates = [fate(near), fate(far)];
    const told = event(b, 'disconnected');
    await a.disconnect(b.self);
    t.same(await Promise.all(fates), ['E_UNREACHABLE', 'E_UNREACHABLE'], 'the connection was lost');
    await told;
    await connected(b, a);
    const unknown = await a.open(b.self, 'nobody', new Uint8Array());
    t.equal(await fate(unknown), 'E_UNREACHABLE', 'nobody takes such streams');
    const [, half] = await openOne();
    const ended = fate(half);
    await a[Symbol.asyncDispose]();
    t.equal(await ended, 'E_UNREACHABLE', 'the other node was closed');
  });

  t.test('more streams than the other side takes are refused, and harm no other', async (t) => {
    const cluster = new TestCluster(t, create);
    const a = await cluster.node();
    const b = await cluster.node({ limits: { inboundStreams_max: 4 } });
    await connected(a, b);
    b.handleStream('echo', (_from, _header, stream) => void stream.pipe(stream));
    const streams: Duplex[] = [];
    for (let n = 0; n < 4; n++) streams.push(await a.open(b.self, 'echo', new Uint8Array()));
    const excess = await a.open(b.self, 'echo', new Uint8Array()).then(fate, code);
    t.equal(excess, 'E_UNREACHABLE');
    for (const stream of streams) {
      stream.end('still here');
      t.equal((await readAll(stream)).toString(), 'still here');
    }
    const after = async () => {
      const stream = await a.open(b.self, 'echo', new Uint8Array());
      stream.end('room again');
      return (await readAll(stream)).toString();
    };
    await until(async () => (await after().catch(() => '')) === 'room again');
  });

  t.test('who provides a blob is found by the others', async (t) => {
    const cluster = new TestCluster(t, create);
    const [a, b, c] = [await cluster.node(), await cluster.node(), await cluster.node()];
    await Promise.all([connected(a, b), connected(b, c)]);
    const digest: Digest = `sha256:${randomBytes(32).toString('hex')}`;
    const find = async (node: Mesh, what: Digest): Promise<string[]> => {
      const found: string[] = [];
      for await (const peer of node.findProviders(what)) found.push(peer);
      return found;
    };
    await until(async () => {
      await c.provide(digest);
      return (await find(b, digest)).includes(c.self) && (await find(a, digest)).includes(c.self);
    });
    t.same(await find(a, digest), [c.self]);
    t.same(await find(c, digest), [], 'oneself is no hint');
    t.same(await find(a, `sha256:${randomBytes(32).toString('hex')}`), []);
    const signal = AbortSignal.abort();
    for await (const _ of a.findProviders(digest, { signal })) t.fail('given up before it began');
  });

  t.test('disconnecting is told to both sides and lasts; connecting again works at once', async (t) => {
    const cluster = new TestCluster(t, create);
    const [a, b] = await cluster.pair();
    for (let round = 0; round < 5; round++) {
      const [leaver, other] = round % 2 ? [a, b] : [b, a];
      const told = [event(leaver, 'disconnected'), event(other, 'disconnected')];
      await leaver.disconnect(other.self);
      t.same(leaver.peers(), []);
      t.equal(leaver.send(other.self, 'c', new Uint8Array(1)), false);
      t.same(await Promise.all(told), [[other.self], [leaver.self]]);
      await connected(leaver, other);
      const message = event(other, 'message');
      t.equal(leaver.send(other.self, 'c', Uint8Array.of(round)), true);
      t.same(await message, [leaver.self, 'c', Uint8Array.of(round)]);
    }
    const parted = event(b, 'disconnected');
    await a.disconnect(b.self);
    await a.disconnect(b.self);
    await parted;
    await sleep(100);
    t.same([...a.peers(), ...b.peers()], [], 'nobody comes back by itself');
  });

  t.test('what races with the loss of its connection fails and does no more', async (t) => {
    const cluster = new TestCluster(t, create);
    const [a, b] = await cluster.pair();
    b.handle('echo', async (_from, body) => body);
    b.handleStream('keep', () => undefined);
    const { self } = b;
    const outcomes = [
      a.open(self, 'keep', new Uint8Array()).then(fate, code),
      failure(a.request(self, 'echo', new Uint8Array(1))),
    ];
    a.send(self, 'c', new Uint8Array(1));
    const told = event(b, 'disconnected');
    await a.disconnect(self);
    await told;
    t.same(await Promise.all(outcomes), ['E_UNREACHABLE', 'E_UNREACHABLE']);
    await connected(b, a);
    t.same(await a.request(self, 'echo', Uint8Array.of(3)), Uint8Array.of(3));
  });

  t.test('a closed mesh refuses everything and stays closed', async (t) => {
    const cluster = new TestCluster(t, create);
    const [a, b] = await cluster.pair();
    const left = event(b, 'disconnected');
    await Promise.all([a[Symbol.asyncDispose](), a[Symbol.asyncDispose]()]);
    await a[Symbol.asyncDispose]();
    await left;
    t.same(a.peers(), []);
    t.equal(a.send(b.self, 'c', new Uint8Array(1)), false);
    t.equal(await failure(a.request(b.self, 'echo', new Uint8Array(1))), 'E_UNREACHABLE');
    t.equal(await failure(a.open(b.self, 'keep', new Uint8Array())), 'E_UNREACHABLE');
    t.equal(await failure(a.connect(b.self, b.addresses())), 'E_UNREACHABLE');
    await a.publish(Buffer.from('too late'));
    await a.provide(`sha256:${'00'.repeat(32)}`);
    for await (const _ of a.findProviders(`sha256:${'00'.repeat(32)}`)) t.fail('nothing to be found');
    t.equal(await failure(b.connect(a.self, [])), 'E_UNREACHABLE');
  });
}
