/**
 * TLS 1.3 between libp2p nodes, as @libp2p/tls 3.1.10 speaks it, for less work: that one makes a key and a certificate
 * anew for every connection and checks what each peer shows as if it had never seen it, which is half of what a
 * connection costs. Here a key has one certificate for as long as it is used, and a certificate that was found good is
 * known again: by the node's mesh what its door has seen, and the other way round. The keys of a connection are of that connection alone in TLS 1.3, so nothing is less secret for it.
 * Source: the libp2p TLS specification, "Handshake Protocol" (a certificate for each connection is not asked for).
 * Not here: what a certificate is and how it is checked, which is the library's.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { connect, createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import {
  type ConnectionEncrypter,
  InvalidCryptoExchangeError,
  type MessageStream,
  type PeerId,
  type PrivateKey,
  type SecureConnectionOptions,
  type SecuredConnection,
  type StreamMuxerFactory,
  serviceCapabilities,
  UnexpectedPeerError,
} from '@libp2p/interface';
import { PROTOCOL, type TLSComponents } from '@libp2p/tls';
import { generateCertificate, toMessageStream, toNodeDuplex, verifyPeerCertificate } from '@libp2p/tls/utils';
import { capProposals, settle } from './negotiation.ts';

/** What a side names that wants its muxer chosen later (the specification, "ALPN"). */
const NO_MUXER = 'libp2p';
/** Certificates found good that are known again; the oldest goes. Each restart of a peer brings another one. */
export const CERTIFICATES_KNOWN_MAX = 1024;

/**
 * A certificate that is not valid yet by our clock, or not any more. It is made to be valid from an hour before for a
 * century, so one of the two clocks is wrong.
 */
class UntimelyCertificateError extends Error {
  static override readonly name = 'UntimelyCertificateError';
  /** By how much the clock of who made it is ahead of ours at least; negative: behind. */
  readonly ahead_ms: number;

  constructor(ahead_ms: number) {
    super(
      `the certificate of the peer ${ahead_ms > 0 ? 'is not valid yet' : 'has ended'} by the clock of this host`,
    );
    this.name = UntimelyCertificateError.name;
    this.ahead_ms = ahead_ms;
  }
}

/** Told of a peer that was dialled and has such a certificate: of the error libp2p keeps no more than the text. */
export type OnUntimely = (peer: string, ahead_ms: number) => void;

export function meshTls(onUntimely?: OnUntimely): (components: TLSComponents) => ConnectionEncrypter {
  return (components) => new MeshTls(components, onUntimely);
}

class MeshTls implements ConnectionEncrypter {
  readonly protocol = PROTOCOL;
  readonly [Symbol.toStringTag] = 'shoal-tls';
  readonly [serviceCapabilities] = ['@libp2p/connection-encryption'];
  readonly #components: TLSComponents;
  readonly #memory: KeyMemory;
  readonly #onUntimely: OnUntimely | undefined;

  constructor(components: TLSComponents, onUntimely: OnUntimely | undefined) {
    this.#components = components;
    this.#onUntimely = onUntimely;
    this.#memory = memoryOf(components.privateKey);
  }

  secureInbound(connection: MessageStream, options?: SecureConnectionOptions): Promise<SecuredConnection> {
    return this.#secure(connection, true, options);
  }

  secureOutbound(connection: MessageStream, options?: SecureConnectionOptions): Promise<SecuredConnection> {
    return this.#secure(connection, false, options);
  }

  async #secure(
    connection: MessageStream,
    isServer: boolean,
    options: SecureConnectionOptions = {},
  ): Promise<SecuredConnection> {
    settle(connection);
    this.#memory.context ??= ownContext(this.#components);
    const secureContext = await this.#memory.context;
    options.signal?.throwIfAborted();
    const mayChoose = options.skipStreamMuxerNegotiation !== true;
    const muxers = mayChoose
      ? this.#components.upgrader.getStreamMuxers()
      : new Map<string, StreamMuxerFactory>();
    const duplex = toNodeDuplex(connection);
    // Certificates sign themselves: who it is follows from the key that they carry.
    const common = { secureContext, rejectUnauthorized: false } as const;
    const socket = isServer
      ? new TLSSocket(duplex, {
          ...common,
          isServer,
          requestCert: true,
          ALPNCallback: ({ protocols }) => protocols.find((name) => name === NO_MUXER || muxers.has(name)),
        })
      : connect({ ...common, socket: duplex, ALPNProtocols: [...muxers.keys(), NO_MUXER] });
    duplex.on('error', (error) => socket.destroy(error));
    try {
      const remotePeer = await this.#shaken(socket, options);
      const secured = toMessageStream(connection, socket);
      // Who named no muxer in the handshake proposes them now.
      capProposals(secured);
      return {
        remotePeer,
        connection: secured,
        ...chosen(socket, muxers, mayChoose),
      };
    } catch (error) {
      // Who has dialled us has not proved who it is.
      if (error instanceof UntimelyCertificateError && options.remotePeer !== undefined)
        this.#onUntimely?.(options.remotePeer.toString(), error.ahead_ms);
      socket.destroy();
      connection.abort(error as Error);
      throw error;
    }
  }

  /** Resolves with who is at the other end, once the handshake has proved it. */
  async #shaken(socket: TLSSocket, { remotePeer, signal }: SecureConnectionOptions): Promise<PeerId> {
    const secure = Promise.withResolvers<void>();
    const onAbort = (): void => secure.reject(signal?.reason);
    socket.once('secure', () => secure.resolve());
    // Stays for good: what breaks later is told by the stream that is made of the socket.
    socket.on('error', (error) => secure.reject(error));
    socket.once('close', () => secure.reject(new InvalidCryptoExchangeError('closed in the handshake')));
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await secure.promise;
      const { raw } = socket.getPeerCertificate();
      // Without one there is an empty object.
      if (raw === undefined) throw new InvalidCryptoExchangeError('the peer showed no certificate');
      return await this.#memory.known.owner(raw, remotePeer);
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

/** What the libp2p nodes of one key share. */
interface KeyMemory {
  context: Promise<SecureContext> | undefined;
  readonly known: KnownCertificates;
}

const memories = new WeakMap<PrivateKey, KeyMemory>();

function memoryOf(key: PrivateKey): KeyMemory {
  let memory = memories.get(key);
  if (memory === undefined) {
    memory = { context: undefined, known: new KnownCertificates() };
    memories.set(key, memory);
  }
  return memory;
}

/** A certificate of this node's own, with its key, in the form that OpenSSL wants. */
async function ownContext({ privateKey }: TLSComponents): Promise<SecureContext> {
  const certificate = await generateCertificate(privateKey);
  return createSecureContext({ ...certificate, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' });
}

function chosen(
  { alpnProtocol }: TLSSocket,
  muxers: ReadonlyMap<string, StreamMuxerFactory>,
  mayChoose: boolean,
): Pick<SecuredConnection, 'streamMuxer'> {
  if (!mayChoose || typeof alpnProtocol !== 'string' || alpnProtocol === NO_MUXER) return {};
  const streamMuxer = muxers.get(alpnProtocol);
  if (streamMuxer === undefined) throw new InvalidCryptoExchangeError(`there is no muxer ${alpnProtocol}`);
  return { streamMuxer };
}

/** As the library checks it, and what it says of a certificate that is out of time tells by how much. */
async function ownerOf(certificate: Uint8Array): Promise<PeerId> {
  const { validFromDate, validToDate } = new X509Certificate(certificate);
  const now = Date.now();
  const early_ms = validFromDate.getTime() - now;
  const late_ms = now - validToDate.getTime();
  if (early_ms > 0 || late_ms > 0) throw new UntimelyCertificateError(early_ms > 0 ? early_ms : -late_ms);
  return await verifyPeerCertificate(certificate);
}

/** Whose each certificate is. What a signature proved once it proves for as long as this node runs. */
class KnownCertificates {
  readonly #owners = new Map<string, PeerId>();

  /** @param expected who it must be, if that is known. @throws when it is nobody's, or another's. */
  async owner(certificate: Uint8Array, expected: PeerId | undefined): Promise<PeerId> {
    const digest = createHash('sha256').update(certificate).digest('base64');
    const owner = this.#owners.get(digest) ?? (await ownerOf(certificate));
    this.#owners.delete(digest);
    this.#owners.set(digest, owner);
    if (this.#owners.size > CERTIFICATES_KNOWN_MAX) {
      for (const oldest of this.#owners.keys()) {
        this.#owners.delete(oldest);
        break;
      }
    }
    if (expected !== undefined && !expected.equals(owner)) throw new UnexpectedPeerError();
    return owner;
  }
}
