/** Strangers that open connections and prove nothing: they are soon gone, and leave places for others. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { multiaddr } from '@multiformats/multiaddr';
import t from 'tap';
import { createDoor } from '../../../protocols/mesh/door.ts';
import { PENDING_EACH_MAX, PlaceCap, placeOf } from '../../../protocols/mesh/inbound.ts';
import { createLibp2pMesh } from '../../../protocols/mesh/libp2p-mesh.ts';
import { capProposals, PROPOSALS_MAX, settle } from '../../../protocols/mesh/negotiation.ts';

t.test('one address has so many handshakes at a time, and others are none the worse', async (t) => {
  const cap = new PlaceCap(2);
  const from = (address: string) => ({ remoteAddr: multiaddr(address) });
  const gates: PromiseWithResolvers<string>[] = [];
  const open = (address: string) => {
    const gate = Promise.withResolvers<string>();
    gates.push(gate);
    return cap.run(from(address), () => gate.promise);
  };
  const first = open('/ip4/192.0.2.1/tcp/1');
  const second = open('/ip4/192.0.2.1/tcp/2');
  await t.rejects(open('/ip4/192.0.2.1/tcp/3'));
  const other = open('/ip4/192.0.2.2/tcp/1');
  const here = Array.from({ length: 9 }, (_, at) => open(`/ip4/127.0.0.1/tcp/${at + 1}`));
  gates[0]!.resolve('done');
  t.equal(await first, 'done');
  const third = open('/ip4/192.0.2.1/tcp/4');
  await t.rejects(open('/ip4/192.0.2.1/tcp/5'));
  gates[1]!.reject(new Error('failed'));
  await t.rejects(second, { message: 'failed' });
  const fourth = open('/ip4/192.0.2.1/tcp/6');
  for (const { resolve } of gates) resolve('done');
  t.same(new Set(await Promise.all([third, fourth, other, ...here])), new Set(['done']));
});

t.test('a host has one place for all addresses of its IPv6 network', async (t) => {
  for (const [address, place] of [
    ['/ip4/192.0.2.1/tcp/1', '192.0.2.1'],
    ['/ip6/2001:db8::1/tcp/1', '2001:db8:0:0'],
    ['/ip6/2001:db8:0:0:ffff::2/tcp/1', '2001:db8:0:0'],
    ['/ip6/2001:db8:0:1::/tcp/1', '2001:db8:0:1'],
    ['/ip6/fe80::1/tcp/1', 'fe80:0:0:0'],
    ['/ip6/::ffff:c000:201/tcp/1', '::ffff:c000:201'],
    ['/ip4/127.0.0.1/tcp/1', undefined],
    ['/ip6/::1/tcp/1', undefined],
    ['/memory/1', undefined],
  ] as const)
    t.equal(placeOf(address), place, address);
});

const own = Object.values(networkInterfaces())
  .flat()
  .find((one) => one?.family === 'IPv4' && !one.internal)?.address;

t.test(
  'mesh and door end what one address opens beyond its part, and silent ones after a while',
  { skip: own === undefined && 'no address but loopback' },
  async (t) => {
    const seed = new Uint8Array(32).fill(7);
    const log = () => undefined;
    const listen = [`/ip4/${own}/tcp/0`];
    const mesh = await createLibp2pMesh({
      seed,
      cluster: 'c',
      listen,
      mdns: false,
      log,
      isMember: () => true,
    });
    t.teardown(() => mesh[Symbol.asyncDispose]());
    const door = await createDoor({ seed, listen, log, onKnock: async (_, body) => body });
    t.teardown(() => door[Symbol.asyncDispose]());
    for (const { addresses, kept } of [
      { addresses: mesh.addresses(), kept: PENDING_EACH_MAX },
      { addresses: door.addresses(), kept: 4 },
    ]) {
      const port = Number(addresses[0]!.split('/')[4]);
      const sockets: Socket[] = [];
      const ends: Promise<unknown>[] = [];
      const beyond = Promise.withResolvers<void>();
      let count = 0;
      for (let at = 0; at < kept + 3; at += 1) {
        const socket = connect({ host: own!, port });
        socket.on('error', () => undefined);
        ends.push(new Promise((resolve) => socket.once('close', resolve)));
        socket.once('close', () => {
          count += 1;
          if (count === 3) beyond.resolve();
        });
        sockets.push(socket);
      }
      await beyond.promise;
      const left = sockets.filter((socket) => !socket.destroyed);
      t.equal(left.length, kept);
      const answers = left.map((socket) => once(socket, 'data'));
      for (const socket of left) socket.write('\x13/multistream/1.0.0\n');
      const heard = await Promise.race([Promise.all(answers), ends[sockets.indexOf(left[0]!)]]);
      t.equal((heard as unknown[] | undefined)?.length, kept, 'the others are answered still');
      await Promise.all(ends);
      t.equal(count, kept + 3, 'who is silent then goes too');
    }
  },
);

t.test('a stranger that proposes one protocol after another is soon gone', async (t) => {
  const seed = new Uint8Array(32).fill(8);
  const log = () => undefined;
  const listen = ['/ip4/127.0.0.1/tcp/0'];
  const mesh = await createLibp2pMesh({ seed, cluster: 'c', listen, mdns: false, log, isMember: () => true });
  t.teardown(() => mesh[Symbol.asyncDispose]());
  const door = await createDoor({ seed, listen, log, onKnock: async (_, body) => body });
  t.teardown(() => door[Symbol.asyncDispose]());
  const greeting = '\x13/multistream/1.0.0\n';
  for (const [name, address] of [
    ['mesh', mesh.addresses()[0]!],
    ['door', door.addresses()[0]!],
  ] as const) {
    for (const proposal of ['\x02x\n', '\x03ls\n', greeting]) {
      const socket = connect({ host: '127.0.0.1', port: Number(address.split('/')[4]) });
      socket.on('error', () => undefined);
      let bytes = 0;
      socket.on('data', (data) => {
        bytes += data.byteLength;
      });
      socket.write(greeting + proposal.repeat(2_000));
      // A reset is a close as well.
      await new Promise((resolve) => socket.once('close', resolve));
      t.ok(bytes <= PROPOSALS_MAX * greeting.length, `${name}: ${bytes} bytes of answers`);
    }
  }
});

t.test('on one thing so many protocols are proposed, and more is sent once it is settled', async (t) => {
  const stream = () => {
    const sent: unknown[] = [];
    let aborted = 0;
    const send = (data: unknown) => sent.push(data) > 0;
    const abort = () => {
      aborted += 1;
    };
    return { send, abort, sent, aborts: () => aborted };
  };
  const proposed = stream();
  capProposals(proposed);
  for (let n = 0; n < PROPOSALS_MAX; n++) proposed.send(Uint8Array.of(n));
  t.throws(() => proposed.send(Uint8Array.of(1)));
  t.equal(proposed.sent.length, PROPOSALS_MAX);
  t.equal(proposed.aborts(), 1);
  const secured = stream();
  capProposals(secured);
  secured.send(Uint8Array.of(1));
  settle(secured);
  for (let n = 0; n < 3 * PROPOSALS_MAX; n++) secured.send(Uint8Array.of(n));
  t.equal(secured.aborts(), 0);
});
