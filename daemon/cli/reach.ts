/** What a host cannot see or reach when it acts on trust, and what follows: told to people. */
import type { ApiClient } from '../api/client.ts';
import { note, type Terminal } from './terminal.ts';

const THEN =
  'They get it once they are connected; should they refuse this host, it brings to their doors what makes it a member. ' +
  'If `shoal status` does not show them alive within some minutes, run the same at a host that they hold as alive.';

/**
 * Whether an act reaches any other host: said once it is done, for it is no less done here when it does not. Asked before
 * the act, which may change how this host stands here.
 * @returns what is to be said after it; undefined: others are connected, or there are none.
 */
export async function reachOf(terminal: Terminal, client: ApiClient): Promise<string | undefined> {
  const { standing, members, clockRefusal } = await client.status({ signal: terminal.signal });
  if (standing === null) return undefined;
  if (standing.state !== 'member')
    return `No other host has this yet: they refuse this one, which was ${standing.state}. ${THEN}`;
  if (clockRefusal !== null)
    return `No other host has this yet: ${clockRefusal}. They take it later; to have it now run the same at another host.`;
  // This host is one of them.
  const others = members.alive + members.suspect - 1;
  if (others > 0 || members.failed === 0) return undefined;
  return `No other host has this yet: of the ${members.failed} others this one reaches none. ${THEN}`;
}

export function noteReach(terminal: Terminal, reach: string | undefined): void {
  if (reach !== undefined) note(terminal, reach);
}

/** Before a token is revoked: hosts that joined with it stay if they are known here, and others may be elsewhere. */
export async function noteAbsent(terminal: Terminal, client: ApiClient): Promise<void> {
  const { members } = await client.status({ signal: terminal.signal });
  const absent = members.suspect + members.failed;
  if (absent === 0) return;
  const who = absent === 1 ? 'One member is' : `${absent} members are`;
  note(
    terminal,
    `${who} not alive here: a host that joined with the token where this one cannot see is not known, and goes too. ` +
      'If the token has ended by itself, wait until all are back.',
  );
}
