/**
 * One piece of work per key, however many ask for it. Who gives up only stops waiting; when all have given up the
 * work itself is told to stop, and who asks then waits for its end and starts it anew.
 */
import { ShoalError } from '../protocols/base/errors.ts';

interface Running<V> {
  readonly promise: Promise<V>;
  readonly abort: AbortController;
  waiting: number;
}

export class SharedWork<K, V> {
  readonly #running = new Map<K, Running<V>>();

  /** @throws E_CANCELLED when `signal` aborts, or what `work` throws. */
  async run(key: K, signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<V>): Promise<V> {
    for (;;) {
      if (signal?.aborted) throw cancelled();
      const running = this.#running.get(key);
      if (running === undefined) return this.#wait(this.#start(key, work), signal);
      if (!running.abort.signal.aborted) return this.#wait(running, signal);
      await running.promise.catch(() => undefined);
    }
  }

  /** Tells all work to stop, and waits until it has. */
  async stop(): Promise<void> {
    const all = [...this.#running.values()];
    for (const running of all) running.abort.abort();
    await Promise.allSettled(all.map((running) => running.promise));
  }

  #start(key: K, work: (signal: AbortSignal) => Promise<V>): Running<V> {
    const abort = new AbortController();
    const promise = (async () => {
      try {
        return await work(abort.signal);
      } finally {
        this.#running.delete(key);
      }
    })();
    promise.catch(() => undefined);
    const running = { promise, abort, waiting: 0 };
    this.#running.set(key, running);
    return running;
  }

  async #wait(running: Running<V>, signal: AbortSignal | undefined): Promise<V> {
    running.waiting += 1;
    let leave: () => void = () => undefined;
    const left = new Promise<never>((_resolve, reject) => {
      leave = () => reject(cancelled());
      signal?.addEventListener('abort', leave, { once: true });
    });
    left.catch(() => undefined);
    try {
      return await Promise.race([running.promise, left]);
    } finally {
      signal?.removeEventListener('abort', leave);
      running.waiting -= 1;
      if (running.waiting === 0) running.abort.abort();
    }
  }
}

function cancelled(): ShoalError {
  return new ShoalError('E_CANCELLED', 'it was cancelled; what was fetched so far is kept for the next try');
}
