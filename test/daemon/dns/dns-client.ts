/** A raw DNS client and a fake upstream for the tests: bytes in, bytes out, on loopback. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { FrameReader, frame } from '../../../daemon/dns/dns-frame.ts';

export interface Server {
  readonly address: string;
  readonly port: number;
}

interface QueryOptions {
  readonly id?: number;
  readonly type?: number;
  readonly class?: number;
  readonly flags?: number;
  /** EDNS0 payload size and version. */
  readonly edns?: number;
  readonly ednsVersion?: number;
}

/** A query, written by hand so that nothing is shared with the code under test. */
export function queryBytes(name: string, options: QueryOptions = {}): Buffer {
  const labels = name.split('.').filter((label) => label !== '');
  const encoded = labels.map((label) =>
    Buffer.concat([Buffer.of(label.length), Buffer.from(label, 'latin1')]),
  );
  const words = (...values: number[]) => Buffer.from(values.flatMap((value) => [value >> 8, value & 255]));
  const opt =
    options.edns === undefined ? [] : [Buffer.of(0), words(41, options.edns, options.ednsVersion ?? 0, 0, 0)];
  return Buffer.concat([
    words(options.id ?? 0x1234, options.flags ?? 0x0100, 1, 0, 0, opt.length === 0 ? 0 : 1),
    ...encoded,
    Buffer.of(0),
    words(options.type ?? 1, options.class ?? 1),
    ...opt,
  ]);
}

export function header(message: Buffer) {
  const flags = message.readUInt16BE(2);
  return {
    id: message.readUInt16BE(0),
    response: (flags & 0x8000) !== 0,
    aa: (flags & 0x0400) !== 0,
    tc: (flags & 0x0200) !== 0,
    ra: (flags & 0x0080) !== 0,
    rcode: flags & 15,
    questions: message.readUInt16BE(4),
    answers: message.readUInt16BE(6),
    authorities: message.readUInt16BE(8),
    additionals: message.readUInt16BE(10),
  };
}

/** @returns the first response, or null when none comes within `wait_ms`. */
export async function askUdp(server: Server, message: Uint8Array, wait_ms = 5000): Promise<Buffer | null> {
  const socket = createSocket('udp4');
  try {
    const response = once(socket, 'message', { signal: AbortSignal.timeout(wait_ms) });
    socket.send(message, server.port, server.address);
    return (await response)[0] as Buffer;
  } catch {
    return null;
  } finally {
    socket.close();
  }
}

/** Sends raw bytes over one connection. @returns the responses until `count` have come or the server closes. */
export async function askTcp(server: Server, bytes: Uint8Array, count = 1): Promise<Buffer[]> {
  const socket = connect({ host: server.address, port: server.port });
  const frames = new FrameReader();
  const responses: Buffer[] = [];
  socket.on('error', () => {});
  socket.write(bytes);
  await new Promise<void>((resolve) => {
    socket.on('close', () => resolve());
    socket.on('data', (chunk) => {
      responses.push(...frames.push(chunk));
      if (responses.length >= count) socket.destroy();
    });
  });
  return responses;
}

export interface FakeUpstream extends AsyncDisposable {
  readonly server: Server;
  readonly seen: Buffer[];
}

/** Answers by `respond`; over TCP by `respondTcp`. Null: silence. */
export async function fakeUpstream(
  respond: (message: Buffer) => Buffer | null,
  respondTcp: (message: Buffer) => Buffer | null = respond,
): Promise<FakeUpstream> {
  for (;;) {
    const seen: Buffer[] = [];
    const udp = createSocket('udp4');
    udp.on('message', (message, from) => {
      seen.push(message);
      const response = respond(message);
      if (response !== null) udp.send(response, from.port, from.address);
    });
    udp.bind(0, '127.0.0.1');
    await once(udp, 'listening');
    const tcp = createServer((socket) => {
      const frames = new FrameReader();
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        for (const message of frames.push(chunk)) {
          const response = respondTcp(message);
          if (response !== null) socket.end(frame(response));
        }
      });
    });
    const { port } = udp.address();
    const opened = await new Promise<boolean>((resolve) => {
      tcp.once('error', () => resolve(false));
      tcp.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!opened) {
      udp.close();
      continue;
    }
    return {
      server: { address: '127.0.0.1', port },
      seen,
      [Symbol.asyncDispose]: async () => {
        udp.close();
        tcp.close();
      },
    };
  }
}

/** A response with one A record of 192.0.2.53, or the same bytes padded to `bytes`. */
export function responseTo(message: Buffer, { truncated = false, bytes = 0 } = {}): Buffer {
  const end = message.indexOf(0, 12) + 5;
  const head = Buffer.from(message.subarray(0, end));
  head.writeUInt16BE(truncated ? 0x8380 : 0x8180, 2);
  head.writeUInt16BE(1, 6);
  head.writeUInt16BE(0, 10);
  const record = Buffer.from('c00c00010001000000050004c0000235', 'hex');
  return Buffer.concat([head, record, Buffer.alloc(Math.max(0, bytes - head.length - record.length))]);
}
