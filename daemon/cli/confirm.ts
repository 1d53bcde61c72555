/**
 * Asks before a command does more than its words say. On a terminal a person answers; without one only `--yes` does.
 */
import { ShoalError } from '../../protocols/base/errors.ts';
import { ask } from './question.ts';
import { note, type Terminal } from './terminal.ts';

/**
 * @param what is told first, on stderr. @param why it cannot be done unasked. @throws E_UNCONFIRMED, E_CANCELLED;
 * nothing was changed then.
 */
export async function confirm(
  terminal: Terminal,
  what: string,
  isYes: boolean,
  why = 'this takes more than what was named',
): Promise<void> {
  note(terminal, what);
  if (isYes) return;
  if (!terminal.stdin.isTTY) throw new ShoalError('E_UNCONFIRMED', `${why}; nothing was changed`);
  const answer = await ask(terminal, 'Go on? [y/N] ');
  if (/^y(?:es)?$/i.test((answer ?? '').trim())) return;
  throw new ShoalError('E_CANCELLED', 'the answer was not yes; nothing was changed');
}
