/** How a node is and what it is connected to, in the terms of the API. Pure, but for what the node's parts tell. */
import { type NodeId, shortId } from '../protocols/base/ids.ts';
import type { Status } from './api/schemas.ts';
import type { BackendNode } from './backend-node.ts';
import { clockTexts, refusalText } from './clock-texts.ts';
import type { Cluster, ClusterProblems } from './cluster.ts';
import type { Named } from './contacts.ts';
import { copiedMembers, copiedText } from './trust/copied-keys.ts';
import { flaggedKeys, flagText } from './trust/flagged-keys.ts';
import { keyNames } from './trust/key-names.ts';
import { namesakes, namesakesText } from './trust/namesakes.ts';
import { packageVersion } from './version.ts';
import { memberCounts, nodeName } from './view-answers.ts';

/** Flagged keys in one answer; `shoal cluster info` has all. */
const FLAGS_TOLD_MAX = 5;
/** Names of several members in one answer. */
const NAMES_TOLD_MAX = 5;
/** Members of whom it waits for records, in one answer. */
const REMEMBERED_TOLD_MAX = 8;
/** Before there is a cluster nobody is let in. */
const NO_COUNTERS = { offences: {}, refused: {}, bans: 0, notRelayed: 0 };

export function nodeStatus(node: BackendNode): Status {
  const { cluster, waiting } = node;
  const own = cluster ?? waiting;
  const { received, sent } = node.images.traffic();
  const nameOf = (id: NodeId) => (cluster === undefined ? shortId(id) : nodeName(cluster.view, id));
  const transfers = (bytes: Readonly<Record<NodeId, number>>) =>
    Object.entries(bytes).map(([id, count]) => ({ node: id, nodeName: nameOf(id), bytes: count }));
  return {
    version: packageVersion(),
    cluster: own === undefined ? null : { id: own.id, name: own.name, node: node.id, nodeName: node.name },
    node: node.id,
    nodeName: node.name,
    driver: node.runtime.driver,
    network: node.networkKind,
    addresses: own?.addresses.mesh ?? [],
    doors: own?.addresses.doors ?? [],
    dns: node.dns
      .addresses()
      .map(({ address, port }) => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`)),
    subnet: cluster?.subnet ?? null,
    standing: cluster?.trust.standing() ?? null,
    historyLost_ms: own?.history.lost_ms ?? null,
    clockRefusal: clockRefusal(cluster),
    pid: process.pid,
    started_ms: node.started_ms,
    members: memberCounts(cluster?.view.members.values() ?? []),
    guard: guardStatus(cluster, nameOf),
    problems:
      cluster === undefined
        ? waitingTexts(waiting)
        : [
            ...problemTexts(cluster.problems),
            ...missingTexts(cluster.problems),
            ...copyTexts(cluster),
            ...flagTexts(cluster, node.clock.now()),
            ...namesakeTexts(cluster),
          ],
    traffic: { received: transfers(received), sent: transfers(sent) },
  };
}

/** The cluster is not up yet, and says why. */
function waitingTexts(waiting: Cluster | undefined): Status['problems'] {
  if (waiting === undefined || waiting.lack === null) return [];
  return [{ kind: 'membership', message: waiting.lack }, ...problemTexts(waiting.problems)];
}

function clockRefusal(cluster: Cluster | undefined): string | null {
  const refusal = cluster?.clocks.refusal ?? null;
  return refusal === null ? null : refusalText(refusal);
}

function guardStatus(cluster: Cluster | undefined, nameOf: (id: NodeId) => string): Status['guard'] {
  const { offences, refused, bans, notRelayed } = cluster?.guard.counters ?? NO_COUNTERS;
  const peers = (cluster?.guard.reports() ?? []).map((report) => ({
    node: report.peer,
    nodeName: nameOf(report.peer),
    standing: report.standing,
    bans: report.bans,
    until_ms: report.until_ms,
  }));
  return { peers, offences, refused, bans, notRelayed };
}

function flagTexts(cluster: Cluster, now: number): Status['problems'] {
  const { machine } = cluster.ledger;
  const names = keyNames(cluster.view, machine, now);
  return [...flaggedKeys(machine).keys()].slice(0, FLAGS_TOLD_MAX).map((key) => {
    return { kind: 'flagged-key' as const, message: flagText(names(key)) };
  });
}

function namesakeTexts({ view }: Cluster): Status['problems'] {
  return [...namesakes(view.members)].slice(0, NAMES_TOLD_MAX).map(([name, ids]) => {
    return { kind: 'same-name' as const, message: namesakesText(name, ids) };
  });
}

function problemTexts({ disk, clock, clocks, quarantined }: ClusterProblems): Status['problems'] {
  const problems: Status['problems'] = [];
  if (disk !== null) {
    const message = `${disk.code}: ${disk.reason}; new writes are refused, all else goes on`;
    problems.push({ kind: 'disk', message });
  }
  if (clock !== null) {
    const at = new Date(clock.mended_ms).toISOString();
    const seconds = Math.round(clock.ahead_ms / 1000);
    const message =
      `until ${at} the clock of this host was ${seconds} s ahead; what this node had written was written anew. ` +
      'Tokens, grants, revocations and votes that it made meanwhile are not valid yet: make them again';
    problems.push({ kind: 'clock', message });
  }
  problems.push(...clockTexts(clocks).map((message) => ({ kind: 'clock' as const, message })));
  if (quarantined > 0) {
    const message = `${quarantined} records make this version of shoal fail and are shown nowhere; see its log`;
    problems.push({ kind: 'quarantine', message });
  }
  return problems;
}

/** Of a node that is up. */
function missingTexts({ missing }: ClusterProblems): Status['problems'] {
  if (missing === null) return [];
  const { remembered, unclaimed } = missing;
  const left = `containers of which nothing tells run on (${unclaimed})`;
  if (remembered.length > 0) {
    const message =
      `records that this disk has lost are missing until a member brings them again (${namesOf(remembered)}); ` +
      `${left}. Members that are gone for good are taken off with \`shoal node rm\``;
    return [{ kind: 'disk', message }];
  }
  if (unclaimed === 0) return [];
  const message =
    `this disk has lost records, and this node knows nobody who could bring them again; ${left}: ` +
    'run their workloads again with `shoal run`, which takes them up, and `shoal rm` what is not wanted';
  return [{ kind: 'disk', message }];
}

function namesOf(remembered: readonly Named[]): string {
  const told = remembered.slice(0, REMEMBERED_TOLD_MAX).map(({ name }) => name);
  const more = remembered.length - told.length;
  return `${remembered.length} remembered: ${told.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** This node first; what it knows of itself may be in no record yet. */
function copyTexts({ self, addresses, problems, view }: Cluster): Status['problems'] {
  const { copy } = problems;
  const own =
    copy === null
      ? []
      : [{ name: view.members.get(self)?.name ?? shortId(self), addresses: addresses.mesh, copy }];
  return [...own, ...copiedMembers(view.members, self)]
    .slice(0, FLAGS_TOLD_MAX)
    .map((one) => ({ kind: 'copied-key' as const, message: copiedText(one) }));
}
