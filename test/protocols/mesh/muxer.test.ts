import { randomBytes } from 'node:crypto';
import type { Connection, Logger, MessageStream, Stream } from '@libp2p/interface';
import t from 'tap';
import { CHUNKS_MAX } from '../../../protocols/mesh/frames.ts';
import { OPEN_GUARD } from '../../../protocols/mesh/mesh.ts';
import { meshMuxer } from '../../../protocols/mesh/muxer.ts';
import { meterStreams } from '../../../protocols/mesh/stream-meter.ts';
import { DATA, muxerHeader, SYN, WINDOW_UPDATE } from './muxer-header.ts';

const WINDOW_BYTES = 256 << 10;
const LOG = Object.assign(() => undefined, {
  enabled: false,
  trace: () => undefined,
  error: () => undefined,
  newScope: () => LOG,
}) as unknown as Logger;

/** The accepting side of a connection, of which the test is the other side. */
function accepted() {
  const failures: string[] = [];
  const target = Object.assign(new EventTarget(), {
    direction: 'inbound',
    status: 'open',
    log: LOG,
    send: () => true,
    abort: (error: Error) => failures.push(error.name),
  });
  const init = { streamOptions: { maxStreamWindowSize: WINDOW_BYTES } };
  const muxer = meshMuxer(init)().createStreamMuxer(target as unknown as MessageStream);
  const got: Buffer[] = [];
  muxer.addEventListener('stream', (event: CustomEvent<Stream>) =>
    event.detail.addEventListener('message', ({ data }) => got.push(Buffer.from(data.subarray()))),
  );
  return {
    muxer,
    failures,
    got,
    receive: (data: Uint8Array): unknown =>
      target.dispatchEvent(Object.assign(new Event('message'), { data })),
  };
}

t.test('a frame that fits no window ends the connection, and the largest that fits does not', async (t) => {
  const { failures, got, receive } = accepted();
  receive(Buffer.concat([muxerHeader(DATA, SYN, 1, WINDOW_BYTES), Buffer.alloc(WINDOW_BYTES)]));
  t.same([failures, got.length], [[], 1]);
  receive(muxerHeader(DATA, 0, 1, WINDOW_BYTES + 1));
  t.same(failures, ['InvalidFrameError']);
});

t.test('a length that is a window and no data is not bounded by it', async (t) => {
  const { failures, receive } = accepted();
  receive(muxerHeader(WINDOW_UPDATE, SYN, 1, 16 << 20));
  t.same(failures, []);
});

t.test('frames that come byte by byte are read like any others', async (t) => {
  const { failures, got, receive } = accepted();
  receive(muxerHeader(WINDOW_UPDATE, SYN, 1, 0));
  const sent = [1, 255, 256, 257, 1000].map((length) => randomBytes(length));
  for (const body of sent)
    for (const byte of Buffer.concat([muxerHeader(DATA, 0, 1, body.length), body]))
      receive(Uint8Array.of(byte));
  t.same([failures, got], [[], sent]);
});

t.test('what waits in the smallest pieces in a stream that nobody reads is kept in few', async (t) => {
  const { muxer, receive } = accepted();
  const opened: (Stream & { readBuffer: Iterable<Uint8Array> })[] = [];
  meterStreams({ remotePeer: 'peer', muxer } as unknown as Connection, OPEN_GUARD, () => 0);
  muxer.addEventListener('stream', ({ detail }: CustomEvent) => {
    detail.pause();
    opened.push(detail);
  });
  receive(muxerHeader(WINDOW_UPDATE, SYN, 1, 0));
  const sent = randomBytes(5_000);
  for (const byte of sent) receive(Buffer.concat([muxerHeader(DATA, 0, 1, 1), Uint8Array.of(byte)]));
  const kept = [...opened[0]!.readBuffer];
  t.ok(kept.length <= CHUNKS_MAX, `${kept.length} chunks`);
  t.ok(Buffer.concat(kept).equals(sent));
});
