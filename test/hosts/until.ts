/** Waiting for a condition by asking, with a deadline: never a sleep that is taken for an assertion. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Generous: past it something is wrong and not slow. */
const UNTIL_MS_MAX = 45_000;
const POLL_MS = 100;

/** An answer of `until` that is none, with what was seen instead. */
export class NotYet {
  readonly seen: string;
  constructor(seen: string) {
    this.seen = seen;
  }
}

/** What `ask` throws when waiting on is of no use. */
export class Fatal extends Error {}

/**
 * Asks again and again until there is an answer other than undefined, false and NotYet. What `ask` throws counts as
 * no answer yet. @throws Error with what was seen last when it took too long.
 */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined | false | NotYet>,
  ms_max = UNTIL_MS_MAX,
): Promise<T> {
  const start = performance.now();
  let seen = '';
  for (;;) {
    try {
      const answer = await ask();
      if (answer instanceof NotYet) seen = answer.seen;
      else if (answer !== undefined && answer !== false) return answer;
    } catch (error) {
      if (error instanceof Fatal) throw error;
      seen = String(error);
    }
    if (performance.now() - start > ms_max)
      throw new Error(`not so after ${ms_max / 1000} s: ${what}\n${seen}`);
    await sleep(POLL_MS);
  }
}
