/**
 * One request and one answer on a libp2p stream of its own. Used by the mesh and by the door.
 * Each side reads one frame and no more: what is sent after it is thrown away unread.
 */
import type { Stream } from '@libp2p/interface';
import { messageStreamToDuplex } from '@libp2p/utils';
import { pipe } from 'it-pipe';
import type { Uint8ArrayList } from 'uint8arraylist';
import { isShoalError, ShoalError } from '../base/errors.ts';
import { decodeAnswer, encodeAnswer, encodeFailure } from './answers.ts';
import { checkSize, encodeFrame, FrameReader } from './frames.ts';

/** The status byte before an answer. */
const STATUS_BYTES = 1;

type Chunks = AsyncIterable<Uint8Array | Uint8ArrayList>;

async function readFrame(source: Chunks, body_bytes_max: number): Promise<Uint8Array> {
  const reader = new FrameReader(body_bytes_max);
  for await (const chunk of source) {
    reader.push(chunk.subarray());
    const frame = reader.next();
    if (frame !== undefined) return frame;
  }
  throw new ShoalError('E_UNREACHABLE', 'the other side closed the stream before it said anything whole');
}

/**
 * Sends `request` and reads the answer; `signal` aborts the stream.
 * @throws the ShoalError of the other side, E_TOO_LARGE, E_MALFORMED, or whatever broke the stream.
 */
export async function ask(
  stream: Stream,
  request: Uint8Array,
  answer_bytes_max: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const abort = (): void => stream.abort(new Error('given up'));
  signal.addEventListener('abort', abort, { once: true });
  try {
    signal.throwIfAborted();
    const answer = await pipe([encodeFrame(request)], messageStreamToDuplex(stream), (source: Chunks) =>
      readFrame(source, STATUS_BYTES + answer_bytes_max),
    );
    return decodeAnswer(answer);
  } catch (error) {
    stream.abort(new Error('the exchange failed'));
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

export interface AnswerOptions {
  readonly request_bytes_max: number;
  readonly answer_bytes_max: number;
  /** Reading, handling and answering together. */
  readonly timeout_ms: number;
  readonly handler: (request: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>;
  /** Asked for an answer's size before it waits to be taken, and told when it need not wait any more. */
  readonly reserve: (bytes: number) => boolean;
  readonly release: (bytes: number) => void;
  /** Told of every failure, also of those that the other side is told. */
  readonly onFailure: (error: unknown) => void;
  /** Told of a request that is too large: nobody reads any further. */
  readonly onOversize: () => void;
}

/** Answers the one request of `stream`. Never rejects. The handler's signal fires when nobody waits any more. */
export async function answer(stream: Stream, options: AnswerOptions): Promise<void> {
  const gone = new AbortController();
  const giveUp = (): void => {
    gone.abort();
    stream.abort(new Error('given up'));
  };
  stream.addEventListener('close', () => gone.abort(), { once: true });
  const timer = setTimeout(giveUp, options.timeout_ms);
  timer.unref();
  let reserved_bytes = 0;
  const reserve = (bytes: number): boolean => {
    if (!options.reserve(bytes)) return false;
    reserved_bytes += bytes;
    return true;
  };
  try {
    const duplex = messageStreamToDuplex(stream);
    await pipe(
      duplex,
      async function* (source: Chunks) {
        const request = await readRequest(source, options);
        yield encodeFrame(await respond(request, options, reserve, gone.signal));
      },
      duplex,
    );
  } catch (error) {
    if (!gone.signal.aborted) options.onFailure(error);
    stream.abort(new Error('the exchange failed'));
  } finally {
    clearTimeout(timer);
    options.release(reserved_bytes);
  }
}

async function readRequest(source: Chunks, options: AnswerOptions): Promise<Uint8Array> {
  try {
    return await readFrame(source, options.request_bytes_max);
  } catch (error) {
    if (isShoalError(error, 'E_TOO_LARGE')) options.onOversize();
    throw error;
  }
}

async function respond(
  request: Uint8Array,
  options: AnswerOptions,
  reserve: (bytes: number) => boolean,
  signal: AbortSignal,
): Promise<Uint8Array> {
  try {
    const body = await options.handler(request, signal);
    checkSize('an answer', body, options.answer_bytes_max);
    if (!reserve(body.byteLength)) throw new ShoalError('E_BUSY', 'too many answers have not been taken yet');
    return encodeAnswer(body);
  } catch (error) {
    options.onFailure(error);
    return encodeFailure(error);
  }
}
