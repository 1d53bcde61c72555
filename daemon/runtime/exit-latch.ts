/** The end of one container, which any number of callers wait for. Knows nothing of processes. */
import { ShoalError } from '../../protocols/base/errors.ts';
import type { ExitStatus } from './runtime.ts';

export class ExitLatch {
  #exit: ExitStatus | null = null;
  readonly #waiters = new Set<{ resolve(exit: ExitStatus): void; reject(error: Error): void }>();

  get exit(): ExitStatus | null {
    return this.#exit;
  }

  /** Only the first end counts. */
  set(exit: ExitStatus): void {
    if (this.#exit !== null) return;
    this.#exit = exit;
    for (const waiter of this.#waiters) waiter.resolve(exit);
    this.#waiters.clear();
  }

  /** Lets all go who wait, because nobody watches any more; the container itself is not touched. */
  abandon(): void {
    for (const waiter of this.#waiters)
      waiter.reject(new ShoalError('E_CANCELLED', 'The runtime driver was closed; the container goes on.'));
    this.#waiters.clear();
  }

  /** @throws E_CANCELLED */
  wait(signal?: AbortSignal): Promise<ExitStatus> {
    if (this.#exit !== null) return Promise.resolve(this.#exit);
    return new Promise((resolve, reject) => {
      const cancel = (): void =>
        waiter.reject(new ShoalError('E_CANCELLED', 'Waiting for the exit was cancelled.'));
      const leave = (): void => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener('abort', cancel);
      };
      const waiter = {
        resolve: (exit: ExitStatus): void => {
          leave();
          resolve(exit);
        },
        reject: (error: Error): void => {
          leave();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
      if (signal?.aborted) cancel();
      else signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  /** As `wait`, but null when it takes longer. */
  async waitFor(limit_ms: number): Promise<ExitStatus | null> {
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), limit_ms);
    try {
      return await this.wait(deadline.signal);
    } catch (error) {
      if (deadline.signal.aborted) return null;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}
