/**
 * The rosters that nodes of one simulation came to lately, so that nodes that come to the same one share it. Bounded:
 * one that is forgotten is built anew by whoever comes to it, and costs memory only.
 */
import type { Roster, RosterMemo } from '../../protocols/membership/roster.ts';

const ROSTERS_MAX = 1024;

export class RecentRosters implements RosterMemo {
  readonly #rosters = new Map<string, Roster>();

  get(fingerprint: string): Roster | undefined {
    const roster = this.#rosters.get(fingerprint);
    if (roster !== undefined) this.set(fingerprint, roster);
    return roster;
  }

  set(fingerprint: string, roster: Roster): void {
    this.#rosters.delete(fingerprint);
    this.#rosters.set(fingerprint, roster);
    if (this.#rosters.size <= ROSTERS_MAX) return;
    for (const oldest of this.#rosters.keys()) {
      this.#rosters.delete(oldest);
      break;
    }
  }
}
