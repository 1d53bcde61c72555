/** Whether an act of trust reaches any other host: said once it is done, for it is no less done here when it does not. */
import type { ApiClient } from '../api/client.ts';
import { note, type Terminal } from './terminal.ts';

const THEN =
  'It brings to their doors what makes it a member. If `shoal status` does not show them alive within some minutes, ' +
  'run the same at a host that they hold as alive.';

/**
 * Asked before the act, which may change how this host stands here.
 * @returns what is to be said after it; undefined: others are connected, or there are none.
 */
export async function reachOf(terminal: Terminal, client: ApiClient): Promise<string | undefined> {
  const { standing, members } = await client.status({ signal: terminal.signal });
  if (standing === null) return undefined;
  if (standing.state !== 'member')
    return `No other host has this yet: they refuse this one, which was ${standing.state}. ${THEN}`;
  // This host is one of them.
  const others = members.alive + members.suspect - 1;
  if (others > 0 || members.failed === 0) return undefined;
  return `No other host has this yet: of the ${members.failed} others this one reaches none. ${THEN}`;
}

export function noteReach(terminal: Terminal, reach: string | undefined): void {
  if (reach !== undefined) note(terminal, reach);
}
