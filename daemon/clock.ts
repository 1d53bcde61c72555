/** The clock and the dice of a daemon, injected from `createNode` down. The real ones are here; tests bring their own. */

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Uniform in [0, 1). */
  random(): number;
  /** Runs `action` once after `delay_ms`. @returns how to cancel it. Never keeps the process alive by itself. */
  after(delay_ms: number, action: () => void): () => void;
}

/** A longer one would end at once. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  after(delay_ms, action) {
    let timer: NodeJS.Timeout;
    const wait = (left_ms: number) => {
      const now_ms = Math.min(Math.max(0, left_ms), TIMEOUT_MS_MAX);
      timer = setTimeout(() => (left_ms > now_ms ? wait(left_ms - now_ms) : action()), now_ms);
      timer.unref();
    };
    wait(delay_ms);
    return () => clearTimeout(timer);
  },
};

/** Resolves after `delay_ms`, or at once when `signal` aborts; it never rejects. */
export function pause(clock: Clock, delay_ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(delay_ms, done);
    signal?.addEventListener('abort', done, { once: true });
  });
}
