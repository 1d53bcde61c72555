/**
 * Forwards queries for other zones to the servers that the host uses: one at a time, over UDP first and TCP when the
 * answer did not fit and the client can take it. Messages pass verbatim but for the id, which is drawn anew.
 * Not here: caching. The host's own resolvers do that.
 */
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { parseAddress } from '../../protocols/discovery/ip-address.ts';
import { FrameReader, frame } from './dns-frame.ts';
import { type DnsQuery, isResponseTo, isTruncated, withId } from './dns-wire.ts';

export interface ServerAddress {
  readonly address: string;
  readonly port: number;
}

/** Queries under way at once, in all and of one address; more are answered SERVFAIL. */
export const IN_FLIGHT_MAX = 512;
export const IN_FLIGHT_EACH_MAX = 128;
/** One server gets this long, milliseconds; a stub resolver gives up after 5 s by default. */
export const SERVER_TIMEOUT_MS = 1500;
/** As many servers as resolv.conf(5) allows. */
export const SERVERS_MAX = 3;

/** @returns the servers of resolv.conf(5); none when the file cannot be read. */
export function systemServers(path = '/etc/resolv.conf'): ServerAddress[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return [];
  }
  return text
    .split('\n')
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1])
    .filter((address) => address !== undefined && parseAddress(address) !== null)
    .map((address) => ({ address: address!, port: 53 }))
    .slice(0, SERVERS_MAX);
}

/** How often the host is asked anew, milliseconds. */
const SYSTEM_SERVERS_MS = 5_000;

/** @returns what the host uses now: DHCP may write the file after the start, and anew in another network. */
export function followSystemServers(now: () => number, path?: string): () => ServerAddress[] {
  let servers: ServerAddress[] = [];
  let read_ms: number | undefined;
  return () => {
    const now_ms = now();
    // A clock that was set back asks anew too.
    if (read_ms === undefined || Math.abs(now_ms - read_ms) >= SYSTEM_SERVERS_MS) {
      read_ms = now_ms;
      servers = systemServers(path);
    }
    return servers;
  };
}

export class Upstream {
  readonly #servers: () => readonly ServerAddress[];
  readonly #random: () => number;
  readonly #timeout_ms: number;
  readonly #closing = new AbortController();
  #inFlight = 0;
  /** The same by who asked. */
  readonly #inFlightOf = new Map<string, number>();

  /** @param servers those to ask as of now; SERVERS_MAX of them are. */
  constructor(servers: () => readonly ServerAddress[], random: () => number, timeout_ms = SERVER_TIMEOUT_MS) {
    this.#servers = servers;
    this.#random = random;
    this.#timeout_ms = timeout_ms;
  }

  /**
   * @param asker the address of who asks: one that asks too much must not take the places of others.
   * @param own addresses that we listen on: a server among them is passed over.
   * @param big whether the client takes more than one datagram.
   * @returns the response under the query's own id, or null when no server gave one.
   */
  async forward(
    asker: string,
    message: Uint8Array,
    query: DnsQuery,
    own: readonly ServerAddress[],
    big: boolean,
  ): Promise<Buffer | null> {
    const before = this.#inFlightOf.get(asker) ?? 0;
    if (this.#inFlight >= IN_FLIGHT_MAX || before >= IN_FLIGHT_EACH_MAX) return null;
    this.#inFlight += 1;
    this.#inFlightOf.set(asker, before + 1);
    try {
      for (const server of this.#servers().slice(0, SERVERS_MAX)) {
        if (this.#closing.signal.aborted) return null;
        if (isOwn(server, own)) continue;
        const response = await this.#ask(server, message, query, big);
        if (response !== null) return withId(response, query.id);
      }
      return null;
    } finally {
      this.#inFlight -= 1;
      const left = this.#inFlightOf.get(asker)! - 1;
      if (left === 0) this.#inFlightOf.delete(asker);
      else this.#inFlightOf.set(asker, left);
    }
  }

  close(): void {
    this.#closing.abort();
  }

  async #ask(
    server: ServerAddress,
    message: Uint8Array,
    query: DnsQuery,
    big: boolean,
  ): Promise<Buffer | null> {
    const id = Math.floor(this.#random() * 0x10000) & 0xffff;
    const sent = withId(message, id);
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(this.#timeout_ms)]);
    const accept = (response: Buffer) => isResponseTo(response, id, query);
    const response = await overUdp(server, sent, accept, signal);
    if (response === null || !big || !isTruncated(response)) return response;
    return (await overTcp(server, sent, accept, signal)) ?? response;
  }
}

type Exchange = (
  server: ServerAddress,
  message: Buffer,
  accept: (response: Buffer) => boolean,
  signal: AbortSignal,
) => Promise<Buffer | null>;

/** A connected socket of its own per query: a random port, and only this server's packets arrive. */
const overUdp: Exchange = (server, message, accept, signal) =>
  new Promise((resolve) => {
    const socket = createSocket(parseAddress(server.address)?.family === 6 ? 'udp6' : 'udp4');
    let open = true;
    const finish = (response: Buffer | null) => {
      if (!open) return;
      open = false;
      signal.removeEventListener('abort', onAbort);
      socket.close();
      resolve(response);
    };
    const onAbort = () => finish(null);
    signal.addEventListener('abort', onAbort);
    socket.on('error', () => finish(null));
    socket.on('message', (response) => {
      if (accept(response)) finish(response);
    });
    // Where there is no route the callback is told, and not 'error'; the types do not know of that.
    socket.connect(server.port, server.address, ((error?: Error) => {
      if (error) finish(null);
      else if (open) socket.send(message);
    }) as () => void);
    if (signal.aborted) finish(null);
  });

const overTcp: Exchange = (server, message, accept, signal) =>
  new Promise((resolve) => {
    const socket = connect({ host: server.address, port: server.port });
    const frames = new FrameReader();
    const finish = (response: Buffer | null) => {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      resolve(response);
    };
    const onAbort = () => finish(null);
    signal.addEventListener('abort', onAbort);
    socket.on('error', () => finish(null));
    socket.on('close', () => finish(null));
    socket.on('data', (chunk) => {
      const response = frames.push(chunk).find(accept);
      if (response !== undefined) finish(response);
    });
    socket.write(frame(message));
    if (signal.aborted) finish(null);
  });

function isOwn(server: ServerAddress, own: readonly ServerAddress[]): boolean {
  const address = parseAddress(server.address)?.text;
  return own.some(({ address: listening, port }) => {
    if (port !== server.port) return false;
    const mine = parseAddress(listening)?.text;
    if (mine === address) return true;
    return (mine === '0.0.0.0' || mine === '0:0:0:0:0:0:0:0') && isLocal(address);
  });
}

function isLocal(address: string | undefined): boolean {
  if (address?.startsWith('127.')) return true;
  return Object.values(networkInterfaces())
    .flat()
    .some((known) => known !== undefined && parseAddress(known.address)?.text === address);
}
