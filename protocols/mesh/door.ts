/**
 * The door: where a stranger may knock once, with one bounded request, and gets one bounded answer. It is a libp2p
 * node of its own that speaks one protocol; nothing of the mesh can be reached through it.
 * Not here: what is in a knock, and who is let in (protocols/trust and the daemon).
 */

import type { Connection, Stream } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { tcp } from '@libp2p/tcp';
import { createLibp2p } from 'libp2p';
import { type ErrorCode, isShoalError, ShoalError } from '../base/errors.ts';
import type { NodeId } from '../base/ids.ts';
import { parseAddress } from './addresses.ts';
import { CappedDatastore } from './capped-datastore.ts';
import { answer, ask } from './exchange.ts';
import { checkSize } from './frames.ts';
import { PlaceCap, UPGRADE_MS, withPendingCap } from './inbound.ts';
import { keyFromSeed, listenError } from './libp2p-node.ts';
import { DOOR_LIMITS, type Door, type DoorInit, type DoorLimits, type Knock } from './mesh.ts';
import { meshMuxer } from './muxer.ts';
import { meshTls, type OnUntimely } from './tls.ts';

const KNOCK = '/shoal/knock/1';
/** A knock, and one that is being refused. */
const STREAMS_MAX = 2;
/** What one door says, and another may not. */
const PASSED_OVER: ReadonlySet<ErrorCode> = new Set([
  'E_BUSY',
  'E_UNREACHABLE',
  'E_CLOCK_AHEAD',
  'E_TOKEN_UNKNOWN',
]);
/** The smallest that yamux knows. */
const STREAM_WINDOW_BYTES = 256 << 10;

/**
 * @throws ShoalError E_PORT_IN_USE, E_PORT_DENIED, E_ADDRESS_NOT_HERE, E_BAD_INPUT for an address that cannot be listened
 * on. Nothing stays open.
 */
export async function createDoor(init: DoorInit): Promise<Door> {
  const limits = { ...DOOR_LIMITS, ...init.limits };
  const node = await createDoorNode(init.seed, init.listen, () => true, limits);
  const places = new PlaceCap(limits.connectionsEach_max);
  let knocks = 0;

  /** Who opens a stream and says nothing has not knocked, and must not be in the way of those who do. */
  const onRequest = async (from: NodeId, body: Uint8Array, signal: AbortSignal): Promise<Uint8Array> => {
    if (knocks >= limits.knocks_max) throw new ShoalError('E_BUSY', 'too many knock at this door');
    knocks++;
    try {
      return await init.onKnock(from, body, signal);
    } finally {
      knocks--;
    }
  };

  const onKnock = async (stream: Stream, connection: Connection): Promise<void> => {
    const from = connection.remotePeer.toString();
    await answer(stream, {
      request_bytes_max: limits.knock_bytes_max,
      answer_bytes_max: limits.answer_bytes_max,
      timeout_ms: limits.timeout_ms,
      handler: (body, signal) => onRequest(from, body, signal),
      // Connections are few, and so are the bytes of their answers: one for each, and large ones for members alone.
      reserve: () => true,
      release: () => undefined,
      onOversize: () => undefined,
      onFailure: (error) => {
        const expected = isShoalError(error) && error.code !== 'E_INTERNAL';
        init.log(expected ? 'info' : 'warn', 'a knock was not answered', {
          peer: from,
          error: expected ? String(error) : String((error as Error)?.stack ?? error),
        });
      },
    });
  };

  node.addEventListener('connection:open', ({ detail: connection }) => {
    places
      .run(connection, () => stay(connection, limits.timeout_ms))
      .catch((error: Error) => connection.abort(error));
  });
  // One knock for each connection; the rest of the streams would only be ways around the limits.
  await node.handle(KNOCK, (stream, connection) => void onKnock(stream, connection), {
    maxInboundStreams: 1,
  });
  try {
    await node.start();
  } catch (cause) {
    await node.stop();
    throw listenError(init.listen, cause);
  }
  return {
    addresses: () => node.getMultiaddrs().map((address) => address.toString()),
    [Symbol.asyncDispose]: async () => {
      await node.stop();
    },
  };
}

/** Until the connection is closed, which it is after this time at the latest. */
async function stay(connection: Connection, time_ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    resolve();
    connection.abort(new Error('stayed too long'));
  }, time_ms);
  timer.unref();
  connection.addEventListener('close', () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
}

/**
 * Addresses must end in /p2p/<id>: TLS proves that who answers has that key. A door that is busy or cannot be
 * reached, that has not heard of the token, or where a clock is wrong, is passed over; what any other door says is the
 * answer.
 */
export const knock: Knock = async (init, body) => {
  checkSize('a knock', body, DOOR_LIMITS.knock_bytes_max);
  let last: unknown = new Error('no address with a peer id');
  let clock: ShoalError | undefined;
  let unknown: ShoalError | undefined;
  const node = await createDoorNode(
    init.seed,
    [],
    () => false,
    DOOR_LIMITS,
    (peer, ahead_ms) => (clock ??= untimely(peer, ahead_ms)),
  );
  const opened = new Set<string>();
  node.addEventListener('connection:open', ({ detail }) => opened.add(detail.remotePeer.toString()));
  try {
    await node.start();
    for (const text of init.addresses) {
      const parsed = parseAddress(text);
      if (parsed?.peer === undefined) continue;
      const timeout = AbortSignal.timeout(DOOR_LIMITS.timeout_ms);
      const signal = init.signal === undefined ? timeout : AbortSignal.any([init.signal, timeout]);
      try {
        const stream = await node.dialProtocol(parsed.address, KNOCK, { signal });
        return await ask(stream, body, DOOR_LIMITS.answer_bytes_max, signal);
      } catch (error) {
        if (init.signal?.aborted)
          throw new ShoalError('E_CANCELLED', 'given up by the caller', { cause: error });
        if (isShoalError(error) && !PASSED_OVER.has(error.code)) throw error;
        if (isShoalError(error, 'E_CLOCK_AHEAD')) clock ??= error;
        if (isShoalError(error, 'E_TOKEN_UNKNOWN')) unknown ??= error;
        last = error;
      }
    }
  } finally {
    await node.stop();
  }
  if (clock !== undefined) throw clock;
  if (unknown !== undefined) throw unknown;
  if (isShoalError(last, 'E_BUSY')) throw last;
  const silent = init.addresses.find((text) => opened.has(parseAddress(text)?.peer ?? ''));
  const message =
    silent === undefined
      ? `nobody answers at ${init.addresses.join(', ')}`
      : `a member is at ${silent}, and gave no answer: the clock of this host may be more than an hour ahead of that of the ` +
        'member, or too many ask it at once';
  throw new ShoalError('E_UNREACHABLE', message, { cause: last });
};

/** What this host can do something about, where no other door answers. */
function untimely(peer: NodeId, ahead_ms: number): ShoalError {
  const [code, how, which] =
    ahead_ms > 0
      ? (['E_CLOCK_BEHIND', 'is not valid yet', 'behind, or that one ahead'] as const)
      : (['E_CLOCK_AHEAD', 'has ended', 'ahead, or that one behind'] as const);
  const seconds = Math.round(Math.abs(ahead_ms) / 1000);
  const message = `the certificate of ${peer} ${how} by the clock of this host: it is ${which}, by ${seconds} s at least; nothing was changed`;
  return new ShoalError(code, message);
}

/** What listens at a door, or knocks at one. @returns a node that is not started yet. */
export async function createDoorNode(
  seed: Uint8Array,
  listen: readonly string[],
  denyDial: () => boolean,
  limits: DoorLimits,
  onUntimely?: OnUntimely,
) {
  const key = keyFromSeed(seed);
  return await createLibp2p({
    start: false,
    privateKey: key,
    // Every stranger that opens a stream leaves an entry.
    datastore: new CappedDatastore(peerIdFromPrivateKey(key).toString(), () => false),
    addresses: { listen: [...listen] },
    transports: [withPendingCap(tcp(), limits.pendingEach_max)],
    connectionEncrypters: [meshTls(onUntimely)],
    streamMuxers: [
      meshMuxer({
        maxInboundStreams: STREAMS_MAX,
        streamOptions: { maxStreamWindowSize: STREAM_WINDOW_BYTES },
      }),
    ],
    connectionGater: { denyDialPeer: denyDial, filterMultiaddrForPeer: () => false },
    connectionManager: {
      maxConnections: limits.connections_max,
      maxIncomingPendingConnections: limits.knocks_max,
      inboundConnectionThreshold: limits.inbound_per_second_max,
      inboundUpgradeTimeout: Math.min(UPGRADE_MS, limits.timeout_ms),
      inboundStreamProtocolNegotiationTimeout: limits.timeout_ms,
      resolvers: {},
    },
    connectionMonitor: { enabled: false },
  });
}
