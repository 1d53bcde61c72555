/** Who takes part in the benchmarks on hosts, and whether they can here. */

import type { MakeCluster } from './host-cluster.ts';
import { createSerfCluster, serfProgram } from './serf-cluster.ts';
import { createShoalCluster, shoalWhyNot } from './shoal-cluster.ts';

export interface HostContestant {
  readonly name: string;
  readonly make: MakeCluster;
}

export const SHOAL: HostContestant = { name: 'shoal', make: createShoalCluster };
export const SERF_LAN: HostContestant = {
  name: 'serf lan',
  make: (count) => createSerfCluster(count, 'lan'),
};
export const SERF_LOCAL: HostContestant = {
  name: 'serf local',
  make: (count) => createSerfCluster(count, 'local'),
};

/** Why these cannot all run here; null when they can. */
export async function hostsWhyNot(): Promise<string | null> {
  const reason = await shoalWhyNot();
  if (reason !== null) return `${reason} (as root, scripts/bench -y installs Debian packages)`;
  try {
    serfProgram();
    return null;
  } catch (error) {
    return String(error);
  }
}
