/**
 * Inbound connections of strangers, and of those whose key is not proven yet: how long a handshake may take, and how
 * many one address may have. Whoever can reach the port can open such, so they must not take the places of others.
 * Not here: how many there may be in all, and new ones per second (the connection manager of libp2p).
 */
import type { MultiaddrConnection, Transport, Upgrader } from '@libp2p/interface';
import type { TCPComponents } from '@libp2p/tcp';
import { capProposals } from './negotiation.ts';

/**
 * From the accepted socket to the muxer. A handshake is three round trips: which encryption, TLS, which muxer. At
 * 600 ms each that is 1.8 s. One packet that is lost costs three round trips more on a young connection (RFC 6298:
 * the first timeout is the round trip and four times its half), so two that are lost, of different flights, still pass.
 */
export const UPGRADE_MS = 6_000;
/** One peer on a slow link has a few: its dial tries fresh sockets (tcp.ts). */
export const PENDING_EACH_MAX = 8;

/** No more at a time of one address, or of one IPv6 network of a host. Those of this very host are not counted. */
export class PlaceCap {
  readonly #max: number;
  readonly #open = new Map<string, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /** @throws when there are so many already: `use` is not called then, and who asked ends the connection. */
  async run<T>(connection: Pick<MultiaddrConnection, 'remoteAddr'>, use: () => Promise<T>): Promise<T> {
    const place = placeOf(connection.remoteAddr.toString());
    if (place === undefined) return await use();
    const open = this.#open.get(place) ?? 0;
    if (open >= this.#max) throw new Error(`more than ${this.#max} of one address`);
    this.#open.set(place, open + 1);
    try {
      return await use();
    } finally {
      const left = this.#open.get(place)! - 1;
      if (left === 0) this.#open.delete(place);
      else this.#open.set(place, left);
    }
  }
}

type CreateTransport = (components: TCPComponents) => Transport;

export function withPendingCap(create: CreateTransport, max: number): CreateTransport {
  return (components) => {
    const transport = create(components);
    const cap = new PlaceCap(max);
    const createListener = transport.createListener.bind(transport);
    transport.createListener = (options) => {
      const { upgrader } = options;
      const gate: Pick<Upgrader, 'upgradeInbound'> = {
        upgradeInbound: (connection: MultiaddrConnection, given: Parameters<Upgrader['upgradeInbound']>[1]) =>
          cap.run(connection, () => {
            capProposals(connection);
            return upgrader.upgradeInbound(connection, given);
          }),
      };
      // The listener asks for nothing else.
      return createListener({ ...options, upgrader: gate as Upgrader });
    };
    return transport;
  };
}

/** @param address a multiaddr. @returns undefined for this host itself, and for what is no IP address. */
export function placeOf(address: string): string | undefined {
  const [, kind, host = ''] = address.split('/');
  if (kind === 'ip4') return host.startsWith('127.') ? undefined : host;
  if (kind !== 'ip6' || host === '::1') return undefined;
  const [head = '', tail] = host.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0');
  const network = [...left, ...zeros, ...right].slice(0, 4).join(':');
  return network === '0:0:0:0' ? host : network;
}
