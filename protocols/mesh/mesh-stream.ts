/**
 * A libp2p stream as a node:stream Duplex with real backpressure in both directions.
 *
 * What it has to get right, all of it found the hard way:
 * - `resume()` first hands out what was buffered and then reopens the receive window, so a `pause()` made inside
 *   of it is undone: fullness is only noted there, and the pause made afterwards. For the same reason it is called
 *   from a microtask and never inside a 'message' handler.
 * - `resume()` and `pause()` throw once the stream is closed.
 * - A connection that closes looks like an orderly end of each stream: only the other side's own end of writing
 *   ends ours, everything else is an error. Bytes are never cut short silently.
 */
import { Duplex } from 'node:stream';
import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface';
import { Uint8ArrayList } from 'uint8arraylist';
import { ShoalError } from '../base/errors.ts';
import { onceWritten } from './writable.ts';

/** Of each direction, in this process; the window of yamux comes on top. */
const BUFFER_BYTES = 256 << 10;

type Callback = (error?: Error | null) => void;

export class MeshStream extends Duplex {
  readonly #stream: Stream;
  /** The consumer's buffer is full: nothing more may be pushed than what is already here. */
  #full = false;
  #resuming = false;
  /** The other side ended its writing in an orderly way. */
  #remoteEnded = false;

  /** @param early bytes that were read from `stream` before it came here. */
  constructor(stream: Stream, early: readonly Uint8Array[] = []) {
    super({ readableHighWaterMark: BUFFER_BYTES, writableHighWaterMark: BUFFER_BYTES });
    this.#stream = stream;
    for (const chunk of early) this.#accept(chunk);
    stream.addEventListener('remoteCloseWrite', () => {
      this.#remoteEnded = true;
    });
    stream.addEventListener('end', () => this.#onEnd());
    stream.addEventListener('close', (event: StreamCloseEvent) => this.#onClose(event));
    // It may all have happened before we listened; then no event tells.
    this.#remoteEnded = stream.remoteWriteStatus === 'closed' && stream.status === 'open';
    stream.addEventListener('message', (event: StreamMessageEvent) => {
      for (const chunk of event.data instanceof Uint8Array ? [event.data] : event.data) this.#accept(chunk);
      if (this.#full && !this.#resuming) this.#pause();
    });
    if (stream.status !== 'open' && stream.status !== 'closing') {
      queueMicrotask(() => this.destroy(broken(undefined)));
    } else if (this.#remoteEnded && stream.readBufferLength === 0) {
      queueMicrotask(() => this.#onEnd());
    }
  }

  /** Bytes that wait in this process to be sent. */
  get queued_bytes(): number {
    return this.writableLength + this.#stream.writeBufferLength;
  }

  override _read(): void {
    this.#full = false;
    if (this.#resuming) return;
    this.#resuming = true;
    queueMicrotask(() => this.#resume());
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Callback): void {
    this.#send(new Uint8ArrayList(chunk), done);
  }

  override _writev(chunks: { chunk: Uint8Array }[], done: Callback): void {
    this.#send(new Uint8ArrayList(...chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: Callback): void {
    this.#stream.close().then(
      () => done(),
      (error: unknown) => done(broken(error)),
    );
  }

  override _destroy(error: Error | null, done: Callback): void {
    if (this.#stream.status === 'open' || this.#stream.status === 'closing') {
      this.#stream.abort(error ?? new Error('destroyed'));
    }
    done(error);
  }

  #send(bytes: Uint8ArrayList, done: Callback): void {
    try {
      if (this.#stream.send(bytes)) done();
      else onceWritten(this.#stream, (error) => done(error === undefined ? null : broken(error)));
    } catch (error) {
      done(broken(error));
    }
  }

  #accept(chunk: Uint8Array): void {
    if (this.destroyed || this.readableEnded) return;
    if (!this.push(chunk)) this.#full = true;
  }

  #pause(): void {
    try {
      this.#stream.pause();
    } catch {
      // Closed meanwhile: its own event tells.
    }
  }

  #resume(): void {
    try {
      if (!this.destroyed && !this.#full) this.#stream.resume();
    } catch {
      // Closed meanwhile: its own event tells.
    }
    this.#resuming = false;
    if (this.#full) this.#pause();
  }

  #onEnd(): void {
    if (this.destroyed || this.readableEnded) return;
    const { status } = this.#stream;
    if (this.#remoteEnded && status !== 'aborted' && status !== 'reset') this.push(null);
  }

  #onClose(event: StreamCloseEvent): void {
    if (this.destroyed) return;
    const orderly = this.#remoteEnded && this.writableEnded && event.error == null;
    if (!orderly) this.destroy(broken(event.error));
  }
}

function broken(cause: unknown): ShoalError {
  return new ShoalError('E_UNREACHABLE', 'the stream broke before its end', { cause });
}
