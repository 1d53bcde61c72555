/** Asking other nodes for their instances: who may, and what a strange question or answer does. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { signerFromSeed } from '../../../daemon/crypto.ts';
import {
  LINE_BYTES_MAX,
  PLAIN_REQUEST_BYTES_MAX,
  RemoteInstances,
} from '../../../daemon/instances/remote-instances.ts';
import { silentLog } from '../../../daemon/log.ts';
import type { ExecIo } from '../../../daemon/runtime/exec.ts';
import { slotName } from '../../../protocols/base/workload.ts';
import { MemoryNetwork } from '../../../protocols/mesh/memory-mesh.ts';
import type { Mesh } from '../../../protocols/mesh/mesh.ts';
import { until } from '../../conformance/mesh.ts';

const SLOT = slotName('default', 'web', 0);

/** Far more in all than may wait for a reader. */
const PIECES = 1000;
const PIECE_BYTES = 64 << 10;

/** Whose timers run when the test says so. */
class StoppedClock {
  readonly timers = new Set<{ readonly action: () => void }>();
  set_count = 0;

  after(_delay_ms: number, action: () => void): () => void {
    const timer = { action };
    this.timers.add(timer);
    this.set_count += 1;
    return () => this.timers.delete(timer);
  }
}

async function pair(mayExec: boolean, progress: readonly unknown[] = []) {
  const clock = new StoppedClock();
  const network = new MemoryNetwork();
  const seeds = [1, 2].map((byte) => new Uint8Array(32).fill(byte));
  const ran: (readonly string[])[] = [];
  /** By each command that says much: how many pieces so far. */
  const said: number[] = [];
  const meshes = await Promise.all(
    seeds.map((seed) =>
      network.createMesh({
        seed,
        cluster: 'ab'.repeat(32),
        listen: ['/ip4/127.0.0.1/tcp/0'],
        mdns: false,
        log: silentLog,
        isMember: () => true,
      }),
    ),
  );
  const [asking, serving] = meshes.map((mesh, at) => {
    const remote = new RemoteInstances({
      self: signerFromSeed(seeds[at]!).id,
      instances: { get: () => ({ container: 'web-0' }) } as never,
      runtime: {
        exec: async (_id: string, argv: readonly string[], io: ExecIo) => {
          ran.push(argv);
          return { code: argv[0] === 'yes' ? await sayMuch(io, said) : 0 };
        },
        logs: async function* () {
          yield { at_ms: null, stream: 'stdout', text: 'hello' };
        },
      } as never,
      images: { progress: () => progress } as never,
      mayExec: () => mayExec,
      clock,
    });
    remote.attach(mesh);
    return remote;
  });
  await meshes[0]!.connect(signerFromSeed(seeds[1]!).id, meshes[1]!.addresses());
  return { asking: asking!, serving: serving!, node: signerFromSeed(seeds[1]!).id, ran, said, meshes, clock };
}

/** Says so many pieces. @returns how many. */
async function sayMuch({ onOutput }: ExecIo, said: number[]): Promise<number> {
  const at = said.push(0) - 1;
  while (said[at]! < PIECES) {
    await onOutput('stdout', Buffer.alloc(PIECE_BYTES));
    said[at]! += 1;
  }
  return said[at]!;
}

/** The last line of what is answered to these bytes. */
async function answerTo(mesh: Mesh, node: string, chunks: Iterable<Uint8Array>) {
  const stream = await mesh.open(node, '/shoal/instance/1', new Uint8Array());
  const heard: Uint8Array[] = [];
  stream.on('data', (chunk) => heard.push(chunk));
  const end = once(stream, 'end');
  for (const chunk of chunks) if (!stream.write(chunk)) await once(stream, 'drain');
  await end;
  stream.destroy();
  return JSON.parse(Buffer.concat(heard).toString().trimEnd().split('\n').at(-1)!);
}

t.test('a node that may not deploy reads logs of other nodes, and runs no commands there', async (t) => {
  const { asking, node, ran, meshes } = await pair(false);
  t.teardown(() => Promise.all(meshes.map((mesh) => mesh[Symbol.asyncDispose]())));
  const { signal } = new AbortController();
  await t.rejects(asking.exec(node, SLOT, ['id'], { onOutput: () => {}, signal }), { code: 'E_NOT_ALLOWED' });
  t.same(ran, []);
  const lines: string[] = [];
  for await (const { text } of asking.logs(node, SLOT, { follow: false, signal })) lines.push(text);
  t.same(lines, ['hello']);
});

t.test('a node that may deploy runs commands in instances of other nodes', async (t) => {
  const { asking, node, ran, meshes } = await pair(true);
  t.teardown(() => Promise.all(meshes.map((mesh) => mesh[Symbol.asyncDispose]())));
  const { signal } = new AbortController();
  t.equal(await asking.exec(node, SLOT, ['id'], { onOutput: () => {}, signal }), 0);
  t.same(ran, [['id']]);
});

t.test('a command on another node waits while its output is not taken, and loses none of it', async (t) => {
  const { asking, node, said, meshes } = await pair(true);
  t.teardown(() => Promise.all(meshes.map((mesh) => mesh[Symbol.asyncDispose]())));
  const { signal } = new AbortController();
  const gate = Promise.withResolvers<void>();
  let taken_bytes = 0;
  const exit = asking.exec(node, SLOT, ['yes'], {
    onOutput: async (_, chunk) => {
      taken_bytes += chunk.byteLength;
      await gate.promise;
    },
    signal,
  });
  await until(() => taken_bytes > 0);
  const stream = await meshes[0]!.open(node, '/shoal/instance/1', new Uint8Array());
  stream.write(`${JSON.stringify({ op: 'exec', slot: SLOT, argv: ['yes'], stdin: null })}\n`);
  await once(stream, 'readable');
  await sleep(100);
  t.equal(said.length, 2);
  t.ok(Math.max(...said) < PIECES / 10, `${said} pieces were said to readers that had stopped`);
  stream.destroy();
  gate.resolve();
  t.equal(await exit, PIECES);
  t.equal(taken_bytes, PIECES * PIECE_BYTES);
});

t.test('a request of a node that may not deploy is short', async (t) => {
  const { node, meshes } = await pair(false);
  t.teardown(() => Promise.all(meshes.map((mesh) => mesh[Symbol.asyncDispose]())));
  const chunks = Array.from({ length: PLAIN_REQUEST_BYTES_MAX / 1024 + 1 }, () => Buffer.alloc(1024, 'x'));
  t.match(await answerTo(meshes[0]!, node, chunks), { error: { code: 'E_NOT_ALLOWED' } });
});

t.test('a request of a node that may deploy has a limit too, and may come in any pieces', async (t) => {
  const { node, ran, meshes } = await pair(true);
  t.teardown(() => Promise.all(meshes.map((mesh) => mesh[Symbol.asyncDispose]())));
  const chunks = Array.from({ length: LINE_BYTES_MAX / (64 << 10) + 1 }, () => Buffer.alloc(64 << 10, 'x'));
  t.match(await answerTo(meshes[0]!, node, chunks), { error: { code: 'E_TOO_LARGE' } });
  const argv = ['echo', 'ä'.repeat(3000)];
  const request = Buffer.from(`${JSON.stringify({ op: 'exec', slot: SLOT, argv, stdin: null })}\n`);
  t.match(await answerTo(meshes[0]!, node, [request]), { end: 0 });
  t.match(
    await answerTo(
      meshes[0]!,
      node,
      Array.from(request, (byte) => Uint8Array.of(byte)),
    ),
    { end: 0 },
  );
  t.same(ran, [argv, argv]);
});

t.test('a request that does not come is given up, and a long one is waited for as it comes', async (t) => {
  const { node, ran, meshes, clock } = await pair(true);
  t.teardown(() => Promise.all(meshes.map((mesh) => mesh[Symbol.asyncDispose]())));
  const late = answerTo(meshes[0]!, node, [Buffer.from('{"op"')]);
  await until(() => clock.timers.size > 0);
  for (const { action } of clock.timers) action();
  t.match(await late, { error: { code: 'E_TIMEOUT' } });
  clock.set_count = 0;
  const stdin = Buffer.alloc(300 << 10).toString('base64');
  const request = Buffer.from(`${JSON.stringify({ op: 'exec', slot: SLOT, argv: ['x'], stdin })}\n`);
  const chunks = Array.from({ length: Math.ceil(request.length / 8192) }, (_, at) =>
    request.subarray(at * 8192, (at + 1) * 8192),
  );
  t.match(await answerTo(meshes[0]!, node, chunks), { end: 0 });
  t.same(ran, [['x']]);
  t.equal(clock.set_count, 1 + Math.floor(request.length / (64 << 10)), 'the more is here the later it ends');
  t.equal(clock.timers.size, 0, 'no timer is left behind');
});

t.test('progress that another node tells is taken as far as it has the right shape', async (t) => {
  const good = { digest: `sha256:${'a'.repeat(64)}`, size: 9, done: 3, phase: 'fetching', sources: { x: 3 } };
  const bad = [
    null,
    7,
    'text',
    {},
    { ...good, digest: 'sha256:x' },
    { ...good, done: '3' },
    { ...good, phase: 'lost' },
    { ...good, sources: null },
    { ...good, sources: { x: '3' } },
  ];
  const { asking, node, meshes } = await pair(true, [good, ...bad]);
  t.teardown(() => Promise.all(meshes.map((mesh) => mesh[Symbol.asyncDispose]())));
  t.same(await asking.progress(node, `sha256:${'b'.repeat(64)}`), [good]);
});
