/** Work that goes on in the background: what fails there is said in the log, and nobody waits for it. */
import { isShoalError } from '../protocols/base/errors.ts';
import type { Log } from './log.ts';

/** Writes that may fail without harm to anybody but their own next try. */
export async function attempt(log: Log, what: string, action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    if (!isShoalError(error, 'E_CANCELLED')) log('warn', `${what} failed`, { error: String(error) });
    return false;
  }
}
