/**
 * The datagrams to one peer: a bounded queue in front of one libp2p stream that is kept open. In order, at most
 * once; what is queued when the stream breaks is lost. Not here: reading datagrams (message-reader.ts).
 */
import type { Stream } from '@libp2p/interface';
import { Uint8ArrayList } from 'uint8arraylist';
import type { MeshLimits } from './mesh.ts';
import { onceWritten } from './writable.ts';

/** Frames are handed to the stream in batches of about this many bytes. */
const BATCH_BYTES = 64 << 10;

export class MessageChannel {
  readonly #limits: MeshLimits;
  readonly #openStream: () => Promise<Stream>;
  readonly #onFailure: (error: unknown) => void;
  #queue: Uint8Array[] = [];
  #queue_bytes = 0;
  #stream: Stream | undefined;
  /** Frames wait for the stream to open or to drain. */
  #blocked = false;
  /** A microtask that writes is on its way. */
  #scheduled = false;
  #closed = false;

  constructor(limits: MeshLimits, openStream: () => Promise<Stream>, onFailure: (error: unknown) => void) {
    this.#limits = limits;
    this.#openStream = openStream;
    this.#onFailure = onFailure;
  }

  /** Opens the stream when it is not open. @throws what kept it from opening. */
  async open(): Promise<void> {
    this.#blocked = true;
    try {
      const stream = await this.#openStream();
      if (this.#closed) stream.abort(new Error('the channel is closed'));
      else this.#stream = stream;
    } finally {
      this.#blocked = false;
    }
    this.#pump();
  }

  /** @returns false when the queue is full: `frame` was dropped. */
  send(frame: Uint8Array): boolean {
    if (
      this.#closed ||
      this.#queue.length >= this.#limits.sendQueue_messages_max ||
      this.#queue_bytes + frame.byteLength > this.#limits.sendQueue_bytes_max
    ) {
      return false;
    }
    this.#queue.push(frame);
    this.#queue_bytes += frame.byteLength;
    if (!this.#scheduled) {
      this.#scheduled = true;
      // Everything that is sent in one turn travels in one write.
      queueMicrotask(() => {
        this.#scheduled = false;
        this.#pump();
      });
    }
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#clear();
    this.#stream?.abort(new Error('the channel is closed'));
    this.#stream = undefined;
  }

  #pump(): void {
    while (!this.#closed && !this.#blocked && this.#queue.length > 0) {
      const stream = this.#stream;
      if (stream === undefined || stream.writeStatus !== 'writable') {
        this.#stream = undefined;
        this.open().catch((error) => this.#fail(error));
        return;
      }
      try {
        if (stream.send(this.#batch())) continue;
      } catch (error) {
        this.#fail(error);
        return;
      }
      this.#blocked = true;
      onceWritten(stream, (error) => {
        this.#blocked = false;
        if (error !== undefined) this.#fail(error);
        else this.#pump();
      });
    }
  }

  #batch(): Uint8ArrayList {
    const batch = new Uint8ArrayList();
    let count = 0;
    while (count < this.#queue.length && batch.byteLength < BATCH_BYTES) batch.append(this.#queue[count++]!);
    this.#queue.splice(0, count);
    this.#queue_bytes -= batch.byteLength;
    return batch;
  }

  /** The stream broke: what waited is lost, and the next `send` opens another. */
  #fail(error: unknown): void {
    if (this.#closed) return;
    this.#clear();
    this.#stream?.abort(new Error('the channel failed'));
    this.#stream = undefined;
    this.#onFailure(error);
  }

  #clear(): void {
    this.#queue = [];
    this.#queue_bytes = 0;
  }
}
