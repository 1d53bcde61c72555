/**
 * TCP that finds a peer within half a second of the moment when it can be reached. The kernel sends its request to
 * connect anew ever more slowly, so while nothing answers a further socket with a fresh request is tried beside the
 * first one, again and again, and the first that connects is the connection. A link with a long round trip is no worse
 * off: the first request stays under way.
 * Not here: how long a dial may take as a whole (libp2p's dial queue) and when it is tried again (protocols/membership).
 */
import type { Connection, DialTransportOptions, Transport, Upgrader } from '@libp2p/interface';
import { type TCPComponents, type TCPOptions, tcp } from '@libp2p/tcp';
import type { Multiaddr } from '@multiformats/multiaddr';

/** A fresh request each time, which must be answered before the next one. */
export const FRESH_MS = 500;

/** @param reach_ms how long an address may take to answer at all. What follows has the time that the dial is given. */
export function meshTcp(options: TCPOptions, reach_ms: number): (components: TCPComponents) => Transport {
  const create = tcp(options);
  return (components) => {
    const transport = create(components);
    const dial = transport.dial.bind(transport);
    transport.dial = (address, given) => new FreshDial(dial, address, given).run(reach_ms);
    return transport;
  };
}

type Dial = (address: Multiaddr, options: DialTransportOptions) => Promise<Connection>;

/** One address: the first socket, and a younger one beside it. */
export class FreshDial {
  readonly #dial: Dial;
  readonly #address: Multiaddr;
  readonly #given: DialTransportOptions;
  readonly #outcome = Promise.withResolvers<Connection>();
  #first: AbortController | undefined;
  #fresh: AbortController | undefined;
  #connected: AbortController | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(dial: Dial, address: Multiaddr, given: DialTransportOptions) {
    this.#dial = dial;
    this.#address = address;
    this.#given = given;
  }

  async run(reach_ms: number): Promise<Connection> {
    const unreached = setTimeout(() => {
      if (this.#connected === undefined) this.#outcome.reject(new Error(`no answer in ${reach_ms} ms`));
    }, reach_ms);
    try {
      this.#first = this.#try();
      return await this.#outcome.promise;
    } finally {
      clearTimeout(unreached);
      this.#endOthers();
    }
  }

  #try(): AbortController {
    const socket = new AbortController();
    const { signal } = this.#given;
    const options = {
      ...this.#given,
      signal: AbortSignal.any([signal, socket.signal]),
      upgrader: this.#gate(socket),
    };
    this.#timer = setTimeout(() => {
      this.#fresh?.abort();
      this.#fresh = this.#try();
    }, FRESH_MS);
    this.#dial(this.#address, options).then(this.#outcome.resolve, (error) => {
      // A refusal is an answer, and the kernel knows whether there is a way at all. Those that were ended say nothing.
      if (!socket.signal.aborted) this.#outcome.reject(error);
    });
    return socket;
  }

  /** Through it goes the socket that connects first. */
  #gate(socket: AbortController): Upgrader {
    const { upgrader, signal } = this.#given;
    const gate: Pick<Upgrader, 'upgradeOutbound'> = {
      upgradeOutbound: async (connection, options) => {
        if (this.#connected !== undefined) throw new Error('another socket connected first');
        this.#connected = socket;
        this.#endOthers();
        return await upgrader.upgradeOutbound(connection, { ...options, signal });
      },
    };
    // The transport asks for nothing else.
    return gate as Upgrader;
  }

  #endOthers(): void {
    clearTimeout(this.#timer);
    for (const socket of [this.#first, this.#fresh]) if (socket !== this.#connected) socket?.abort();
  }
}
