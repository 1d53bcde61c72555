/**
 * NDJSON streams: one JSON value a line, as long as both sides want it.
 *
 * A stream ends when its source ends, when the client goes away, when the client reads nothing for too long, or when
 * the server closes. What fails after the first line is sent as a last line `{"error": problem}`.
 */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import { ShoalError } from '../../protocols/base/errors.ts';
import type { Log } from '../log.ts';
import { STREAM_STALL_MS_MAX, STREAMS_MAX } from './limits.ts';
import { toProblem } from './problem.ts';

export const NDJSON_TYPE = 'application/x-ndjson; charset=utf-8';

export interface StreamLimits {
  readonly streams_max: number;
  readonly stall_ms_max: number;
}

/** One response that is being streamed. */
export interface LineWriter {
  /** Aborted when the client is gone or the server closes. */
  readonly signal: AbortSignal;
  /** Resolves when the client can take more. @throws E_CANCELLED when it went away or stalled. */
  write(value: unknown): Promise<void>;
  /** Writes without waiting: for a source that cannot wait. The caller bounds `unread_bytes`. */
  push(value: unknown): void;
  /** Sends the head, so that a client knows that it is connected before there is a line. */
  open(): void;
  /** Bytes written and not yet taken by the client. */
  readonly unread_bytes: number;
}

export class Streams {
  readonly #open = new Set<AbortController>();
  readonly #log: Log;
  readonly #limits: StreamLimits;

  constructor(log: Log, limits: Partial<StreamLimits> = {}) {
    this.#log = log;
    this.#limits = { streams_max: STREAMS_MAX, stall_ms_max: STREAM_STALL_MS_MAX, ...limits };
  }

  get count(): number {
    return this.#open.size;
  }

  closeAll(): void {
    for (const controller of this.#open) controller.abort();
  }

  /**
   * Runs `work` with a writer for `reply`. An error before the first line becomes an ordinary problem response.
   * @throws ShoalError E_BUSY when STREAMS_MAX streams are open
   */
  async run(reply: FastifyReply, work: (writer: LineWriter) => Promise<void>): Promise<void> {
    if (this.#open.size >= this.#limits.streams_max) {
      throw new ShoalError('E_BUSY', `${this.#limits.streams_max} streams are open, which is the limit`);
    }
    const controller = new AbortController();
    const raw = reply.raw;
    const gone = () => controller.abort();
    raw.on('close', gone);
    this.#open.add(controller);
    const open = () => {
      if (raw.headersSent) return;
      reply.hijack();
      raw.writeHead(200, { 'content-type': NDJSON_TYPE, 'cache-control': 'no-store' });
      raw.flushHeaders();
    };
    const push = (value: unknown) => {
      if (controller.signal.aborted) return true;
      open();
      return raw.write(`${JSON.stringify(value)}\n`);
    };
    try {
      await work({
        signal: controller.signal,
        open,
        push,
        write: async (value) => {
          if (controller.signal.aborted) throw new ShoalError('E_CANCELLED', 'the client is gone');
          if (!push(value)) await this.#drained(raw, controller);
        },
        get unread_bytes() {
          return raw.writableLength;
        },
      });
      open();
    } catch (error) {
      if (!raw.headersSent) throw error;
      if (!controller.signal.aborted)
        raw.write(`${JSON.stringify({ error: toProblem(error, this.#log) })}\n`);
    } finally {
      const wasCut = controller.signal.aborted;
      raw.off('close', gone);
      this.#open.delete(controller);
      controller.abort();
      // The end of a whole body would tell the client that this was all.
      if (raw.headersSent) {
        if (wasCut) raw.destroy();
        else raw.end();
      }
    }
  }

  async #drained(raw: ServerResponse, controller: AbortController): Promise<void> {
    const stalled = new AbortController();
    const timer = setTimeout(() => {
      stalled.abort();
      controller.abort();
      raw.destroy();
    }, this.#limits.stall_ms_max);
    try {
      await once(raw, 'drain', { signal: AbortSignal.any([stalled.signal, controller.signal]) });
    } catch {
      throw new ShoalError('E_CANCELLED', 'the client is gone or does not read');
    } finally {
      clearTimeout(timer);
    }
  }
}
