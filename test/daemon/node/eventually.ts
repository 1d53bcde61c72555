/** Waiting for what a cluster comes to by itself: a condition is looked at often, and a deadline says what it was. */
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_MS = 20;

/** @returns what `look` found, once it is neither false nor undefined. @throws after `deadline_ms`, naming `what`. */
export async function eventually<T>(
  what: string,
  look: () => T | Promise<T>,
  deadline_ms = 30_000,
): Promise<Exclude<T, false | undefined>> {
  const deadline = Date.now() + deadline_ms;
  for (;;) {
    const found = await look();
    if (found !== false && found !== undefined) return found as Exclude<T, false | undefined>;
    if (Date.now() > deadline) throw new Error(`not in ${deadline_ms} ms: ${what}`);
    await sleep(LOOK_MS);
  }
}
