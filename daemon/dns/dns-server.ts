/**
 * The DNS server of one host: answers the cluster's zone from the view, forwards everything else.
 * UDP and TCP on each address. Nothing that arrives can make it throw. Not here: what a name means
 * (protocols/discovery) and bytes (dns-wire.ts).
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { ShoalError } from '../../protocols/base/errors.ts';
import { answer } from '../../protocols/discovery/answer.ts';
import { parseAddress } from '../../protocols/discovery/ip-address.ts';
import { buildNameIndex, type NameIndex } from '../../protocols/discovery/name-index.ts';
import type { ClusterView } from '../../protocols/view/view.ts';
import { listenError } from '../listen-error.ts';
import type { Log } from '../log.ts';
import { FrameReader, frame } from './dns-frame.ts';
import { encodeAnswer, encodeError, encodeTruncated, parseQuery, RCODE, TCP_BYTES_MAX } from './dns-wire.ts';
import { type ServerAddress, Upstream } from './upstream.ts';

export const DNS_ZONE = 'internal';
/** TCP connections per listening address, in all and from one address; more are closed at once. */
export const TCP_CONNECTIONS_MAX = 128;
export const TCP_CONNECTIONS_EACH_MAX = 32;
/** A TCP connection without a whole query for this long is closed, milliseconds. */
export const TCP_IDLE_MS = 5000;
/** A query larger than this is nothing a resolver sends. */
export const QUERY_BYTES_MAX = 4096;
/** Queries of one TCP connection under way; with more the connection is closed. */
export const TCP_PIPELINE_MAX = 32;
/** A client that asks and does not read is closed when this much waits for it. */
export const TCP_UNREAD_BYTES_MAX = 1 << 20;
/** UDP and TCP must get one port; with port 0 the second may be taken. */
const PORT_TRIES_MAX = 8;

export interface DnsServerInit {
  /** null while it is not known yet: names of the zone are then SERVFAIL, which is asked again, and not NXDOMAIN. */
  readonly view: () => ClusterView | null;
  /** Port 0: any free one. */
  readonly listen: readonly ServerAddress[];
  /** Servers for other zones, as of now. */
  readonly upstream: () => readonly ServerAddress[];
  readonly log: Log;
  /** Uniform in [0, 1). It also draws the ids of forwarded queries: give it a source that cannot be foretold. */
  readonly random: () => number;
  /** A view could not be read; `read` throws at those that hold what is at fault. The last good one is answered. */
  readonly onBroken?: (read: (view: ClusterView) => void) => void;
  /** For tests. */
  readonly tcpIdle_ms?: number;
  readonly upstreamTimeout_ms?: number;
}

export interface DnsServer extends AsyncDisposable {
  /**
   * Listens on the addresses of `init`. One that fails does not stop the others.
   * @returns the failures: E_PORT_IN_USE, E_PORT_DENIED, E_ADDRESS_NOT_HERE or E_NETWORK_FAILED, each naming its address.
   */
  start(): Promise<readonly ShoalError[]>;
  /** Listens on one more; an address and port that is open already is fine. @throws as `start` returns */
  listenOn(address: ServerAddress): Promise<void>;
  /** What is open, with real ports. */
  addresses(): readonly ServerAddress[];
}

export function createDnsServer(init: DnsServerInit): DnsServer {
  return new Dns(init);
}

interface Listener {
  readonly asked: ServerAddress;
  readonly bound: ServerAddress;
  readonly udp: UdpSocket;
  readonly tcp: Server;
}

class Dns implements DnsServer {
  readonly #init: DnsServerInit;
  readonly #upstream: Upstream;
  readonly #listeners: Listener[] = [];
  readonly #connections = new Set<Socket>();
  #index: { readonly view: ClusterView; readonly names: NameIndex | null } | null = null;
  #serial = 0;
  #closed = false;

  constructor(init: DnsServerInit) {
    this.#init = init;
    this.#upstream = new Upstream(init.upstream, init.random, init.upstreamTimeout_ms);
  }

  async start(): Promise<readonly ShoalError[]> {
    const failures: ShoalError[] = [];
    for (const address of this.#init.listen) {
      try {
        await this.listenOn(address);
      } catch (error) {
        if (!(error instanceof ShoalError)) throw error;
        failures.push(error);
      }
    }
    return failures;
  }

  async listenOn(asked: ServerAddress): Promise<void> {
    const open = (at: ServerAddress) => at.address === asked.address && at.port === asked.port;
    if (this.#listeners.some((listener) => open(listener.asked) || open(listener.bound))) return;
    for (let attempt = 1; ; attempt++) {
      const udp = await this.#openUdp(asked).catch((cause) =>
        Promise.reject(listenError('DNS', asked.address, asked.port, cause)),
      );
      const port = udp.address().port;
      try {
        const tcp = await this.#openTcp({ address: asked.address, port });
        if (this.#closed) {
          tcp.close();
          udp.close();
          return;
        }
        this.#listeners.push({ asked, bound: { address: asked.address, port }, udp, tcp });
        return;
      } catch (cause) {
        udp.close();
        if (asked.port !== 0 || attempt === PORT_TRIES_MAX)
          throw listenError('DNS', asked.address, asked.port, cause);
      }
    }
  }

  addresses(): readonly ServerAddress[] {
    return this.#listeners.map(({ bound }) => bound);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#upstream.close();
    for (const socket of this.#connections) socket.destroy();
    await Promise.all(
      this.#listeners
        .splice(0)
        .map(({ udp, tcp }) =>
          Promise.all([
            new Promise<void>((done) => udp.close(() => done())),
            new Promise<void>((done) => tcp.close(() => done())),
          ]),
        ),
    );
  }

  #openUdp({ address, port }: ServerAddress): Promise<UdpSocket> {
    return new Promise((resolve, reject) => {
      const family = parseAddress(address)?.family === 6 ? 'udp6' : 'udp4';
      const socket = createSocket({ type: family, ipv6Only: family === 'udp6' });
      socket.once('error', reject);
      socket.bind(port, address, () => {
        socket.off('error', reject);
        socket.on('error', (error) => this.#init.log('warn', 'dns socket failed', { error: error.message }));
        socket.on('message', (message, from) => {
          this.#respond(message, from.address, false)
            .then((response) => {
              if (response !== null && !this.#closed)
                socket.send(response, from.port, from.address, () => {});
            })
            .catch((error) => this.#defect(error));
        });
        resolve(socket);
      });
    });
  }

  #openTcp({ address, port }: ServerAddress): Promise<Server> {
    return new Promise((resolve, reject) => {
      const server = createServer((socket) => this.#serve(socket));
      server.maxConnections = TCP_CONNECTIONS_MAX;
      server.once('error', reject);
      server.listen({ host: address, port, ipv6Only: true }, () => {
        server.off('error', reject);
        server.on('error', (error) => this.#init.log('warn', 'dns socket failed', { error: error.message }));
        resolve(server);
      });
    });
  }

  #serve(socket: Socket): void {
    const { remoteAddress: asker = '' } = socket;
    const others = [...this.#connections].filter(({ remoteAddress }) => remoteAddress === asker);
    if (others.length >= TCP_CONNECTIONS_EACH_MAX) {
      socket.destroy();
      return;
    }
    const frames = new FrameReader();
    let pending = 0;
    this.#connections.add(socket);
    // Counted from the last whole query, so that a byte now and then does not hold a connection.
    const idle = setTimeout(() => socket.destroy(), this.#init.tcpIdle_ms ?? TCP_IDLE_MS);
    socket.on('close', () => {
      clearTimeout(idle);
      this.#connections.delete(socket);
    });
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      const messages = frames.push(chunk);
      if ((frames.announced_bytes ?? 0) > QUERY_BYTES_MAX) {
        socket.destroy();
        return;
      }
      if (messages.length > 0) idle.refresh();
      for (const message of messages) {
        pending += 1;
        if (pending > TCP_PIPELINE_MAX || socket.writableLength > TCP_UNREAD_BYTES_MAX) {
          socket.destroy();
          return;
        }
        this.#respond(message, asker, true)
          .then((response) => {
            if (response === null) socket.destroy();
            else if (!socket.destroyed) socket.write(frame(response));
          })
          .catch((error) => this.#defect(error))
          .finally(() => {
            pending -= 1;
          });
      }
    });
  }

  /** @returns null when nothing is to be said. */
  async #respond(message: Buffer, asker: string, tcp: boolean): Promise<Buffer | null> {
    if (message.byteLength > QUERY_BYTES_MAX) return null;
    const parsed = parseQuery(message);
    if (parsed === null) return null;
    if (parsed.error !== null) return encodeError(parsed.query, parsed.error);
    const { query } = parsed;
    const bytes_max = tcp ? TCP_BYTES_MAX : query.udp_bytes;
    const random = this.#init.random();
    const names = this.#names();
    if (names === null && isInZone(query.question.name)) return encodeError(query, RCODE.SERVFAIL);
    const found = names && answer(names, query.question, { serial: this.#serial, random });
    if (found !== null) return encodeAnswer(query, found, bytes_max);
    if (!query.recursionDesired) return encodeError(query, RCODE.REFUSED);
    const response = await this.#upstream.forward(asker, message, query, this.addresses(), tcp);
    if (response === null) return encodeError(query, RCODE.SERVFAIL);
    return response.byteLength <= bytes_max ? response : encodeTruncated(query);
  }

  /** The index of the present view, or the last that could be made; built again only when the snapshot is another. */
  #names(): NameIndex | null {
    const view = this.#init.view();
    if (view === null) return null;
    if (this.#index?.view !== view) {
      try {
        this.#index = { view, names: buildNameIndex(view, DNS_ZONE) };
        this.#serial += 1;
      } catch (error) {
        this.#init.onBroken?.((other) => void buildNameIndex(other, DNS_ZONE));
        this.#init.log('warn', 'names cannot be read from the view', { error: String(error) });
        this.#index = { view, names: this.#index?.names ?? null };
      }
    }
    return this.#index.names;
  }

  #defect(error: unknown): void {
    this.#init.log('warn', 'a dns query could not be answered', { error: String(error) });
  }
}

function isInZone(name: string): boolean {
  return `.${name.replace(/\.$/, '').toLowerCase()}`.endsWith(`.${DNS_ZONE}`);
}
