/** NDJSON streams over a real Unix socket: they end when either side ends, and a slow reader costs little. */
import { connect } from 'node:net';
import t from 'tap';
import { EXEC_CHUNK_BYTES_MAX, EXEC_UNREAD_BYTES_MAX } from '../../../daemon/api/limits.ts';
import type { ExecEvent, LogEvent } from '../../../daemon/api/schemas.ts';
import { ShoalError } from '../../../protocols/base/errors.ts';
import { apiFixture } from './api-fixture.ts';

const ref = { namespace: 'default', name: 'web' };
const spec = { name: 'web', image: 'web:1' };
const line: LogEvent = { at_ms: 1, stream: 'stdout', text: 'x'.repeat(60_000) };

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}

/** Connects, asks, and reads nothing. */
function askAndStall(socket: string, path: string, method = 'GET', body = '') {
  const raw = connect(socket);
  raw.on('error', () => {});
  raw.pause();
  raw.write(
    `${method} ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  return raw;
}

t.test('logs come line by line and end with their source', async (t) => {
  const { client, backend } = await apiFixture(t);
  await client.run(spec);
  t.match(await all(client.logs(ref, { tail: 5 })), [
    { text: 'hello' },
    { text: 'careful', stream: 'stderr' },
  ]);
  t.match(backend.calls.at(-1), { args: [ref, { follow: false, tail: 5 }] });
  await all(client.logs({ ...ref, index: 2, node: 'two' }));
  t.match(backend.calls.at(-1), { args: [{ ...ref, index: 2, node: 'two' }] });
});

t.test('a stream of nothing is empty, not an error', async (t) => {
  const { client, backend } = await apiFixture(t);
  await client.run(spec);
  backend.logs = async function* () {};
  t.strictSame(await all(client.logs(ref)), []);
});

t.test('watch ends with a state', async (t) => {
  const { client } = await apiFixture(t);
  await client.run({ ...spec, replicas: 2 });
  const events = await all(client.watch(ref));
  t.match(events.at(-1), { workload: { healthy: 2 }, images: [{ layers: [{ phase: 'ready' }] }] });
});

t.test('when the client goes away its source is told', async (t) => {
  const { client, backend } = await apiFixture(t);
  await client.run(spec);
  const over = Promise.withResolvers<void>();
  backend.logs = async function* (_ref, { signal }) {
    try {
      while (!signal.aborted) {
        yield { ...line, text: 'tick' };
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    } finally {
      over.resolve();
    }
  };
  for await (const _line of client.logs(ref, { follow: true })) break;
  await over.promise;
  t.pass('the source ended');
});

t.test('a stream that is cut because the server closes does not look whole', async (t) => {
  const { client, backend, server } = await apiFixture(t);
  await client.run(spec);
  backend.logs = async function* (_ref, { signal }) {
    yield line;
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  };
  const events = client.logs(ref, { follow: true })[Symbol.asyncIterator]();
  await events.next();
  void server.close();
  await t.rejects(events.next(), { code: 'E_NO_DAEMON' });
});

t.test('a failure in the middle of a stream is its last line', async (t) => {
  const { client, backend } = await apiFixture(t);
  await client.run(spec);
  backend.logs = async function* () {
    yield line;
    throw new ShoalError('E_UNREACHABLE', 'its node went away');
  };
  const seen: LogEvent[] = [];
  await t.rejects(
    (async () => {
      for await (const one of client.logs(ref)) seen.push(one);
    })(),
    { code: 'E_UNREACHABLE', message: 'its node went away' },
  );
  t.equal(seen.length, 1);
});

t.test('a failure before the first line is a problem with its status', async (t) => {
  const { client } = await apiFixture(t);
  await t.rejects(all(client.logs(ref)), { code: 'E_NOT_FOUND' });
  await client.run(spec);
  await t.rejects(all(client.exec(ref, { argv: ['missing'] })), { code: 'E_COMMAND_NOT_FOUND' });
});

t.test('exec carries stdin, both outputs and the exit code', async (t) => {
  const { client } = await apiFixture(t);
  await client.run(spec);
  const stdin = Buffer.from([0, 255, 10]);
  const events = await all(client.exec(ref, { argv: ['cat', '-'], stdin: stdin.toString('base64') }));
  const data = (event: ExecEvent) => ('data' in event ? Buffer.from(event.data, 'base64') : Buffer.alloc(0));
  t.equal(data(events[0] as ExecEvent).toString(), 'cat -');
  t.strictSame(data(events[1] as ExecEvent), stdin);
  t.match(events[2], { stream: 'stderr' });
  t.strictSame(events[3], { exit: 7 });
});

t.test('large output comes in bounded lines', async (t) => {
  const { client, backend } = await apiFixture(t);
  backend.exec = async (_ref, _argv, io) => {
    io.onOutput('stdout', Buffer.alloc(EXEC_CHUNK_BYTES_MAX * 2 + 1, 'y'));
    return { code: 0 };
  };
  const events = await all(client.exec(ref, { argv: ['x'] }));
  t.equal(events.length, 4);
});

t.test('a reader that stalls stops a source that can wait, and loses its stream', async (t) => {
  const { socket, backend, client } = await apiFixture(t, { stall_ms_max: 50 });
  await client.run(spec);
  const over = Promise.withResolvers<number>();
  backend.logs = async function* () {
    let lines = 0;
    try {
      for (; lines < 10_000; lines++) yield line;
    } finally {
      over.resolve(lines);
    }
  };
  const raw = askAndStall(socket, '/v1/workloads/default/web/logs');
  t.teardown(() => raw.destroy());
  t.ok((await over.promise) < 200, 'the source was asked for little more than was read');
});

t.test('a command whose output nobody reads is killed', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const killed = Promise.withResolvers<number>();
  backend.exec = async (_ref, _argv, io) => {
    let bytes = 0;
    while (!io.signal.aborted) {
      io.onOutput('stdout', Buffer.alloc(EXEC_CHUNK_BYTES_MAX));
      bytes += EXEC_CHUNK_BYTES_MAX;
      await new Promise((resolve) => setImmediate(resolve));
    }
    killed.resolve(bytes);
    return { code: 137 };
  };
  const raw = askAndStall(socket, '/v1/workloads/default/web/exec', 'POST', '{"argv":["yes"]}');
  t.teardown(() => raw.destroy());
  t.ok((await killed.promise) <= EXEC_UNREAD_BYTES_MAX * 2, 'what was unread stayed bounded');
});

t.test('one stream more than the limit is refused, and works when one has ended', async (t) => {
  const { client } = await apiFixture(t, { streams_max: 1 });
  await client.run(spec);
  const first = client.logs(ref, { follow: true })[Symbol.asyncIterator]();
  await first.next();
  await t.rejects(all(client.logs(ref)), { code: 'E_BUSY' });
  await first.return?.();
  let lines: LogEvent[] = [];
  while (lines.length === 0) lines = await all(client.logs(ref)).catch(() => []);
  t.equal(lines.length, 2);
});

t.test('closing the server ends its streams', async (t) => {
  const { client, server } = await apiFixture(t);
  await client.run(spec);
  const stream = client.logs(ref, { follow: true })[Symbol.asyncIterator]();
  await stream.next();
  await server.close();
  await t.rejects(
    (async () => {
      for (;;) if ((await stream.next()).done) throw new ShoalError('E_NO_DAEMON', 'ended');
    })(),
    { code: 'E_NO_DAEMON' },
  );
  await t.rejects(client.version(), { code: 'E_NO_DAEMON' });
});
