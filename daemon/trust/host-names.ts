/** Whom a request about trust means by a name or an id. */
import { ShoalError } from '../../protocols/base/errors.ts';
import type { KeyId, NodeId } from '../../protocols/base/ids.ts';
import type { Cluster } from '../cluster.ts';
import type { Named } from '../contacts.ts';
import { isCalled } from '../view-answers.ts';
import type { KeyNames } from './key-names.ts';

/** Ids of hosts of one name in a message. */
const NAMESAKES_TOLD_MAX = 8;

/** Members, and those that were let in and are in no list of members. */
export interface Hosts {
  readonly present: readonly Named[];
  readonly former: readonly Named[];
}

/** All names that a request may use, put together once for all that it names. @param now milliseconds */
export function hostsOf({ view, ledger, remembered }: Cluster, names: KeyNames, now: number): Hosts {
  const { members } = view;
  const former = new Set<KeyId>();
  for (const { subject, roles } of ledger.machine.authority.grants(now))
    if (roles.includes('member') && !members.has(subject)) former.add(subject);
  const named = (id: KeyId) => ({ id, name: names(id) });
  // Of whom a damaged disk may know nothing else.
  const others = remembered.filter(({ id }) => !members.has(id) && !former.has(id));
  return {
    present: Array.from(members.keys(), named),
    former: [...Array.from(former, named), ...others],
  };
}

/**
 * Whoever was let in, whatever has become of its grant: one that was revoked may turn out to have been in wrong hands
 * earlier, and one whose grant has ended, or that never came up, is waited for until it is revoked. A name is that of
 * a member before it is that of one that is none any more.
 * @throws E_NOT_FOUND
 */
export function everMember(node: string, { present, former }: Hosts): Named {
  const called = (hosts: readonly Named[]) => hosts.filter(({ id, name }) => isCalled(node, id, name));
  const [now, before] = [called(present), called(former)];
  const found = now.length > 0 && !before.some(({ id }) => id === node) ? now : before;
  const host = found.find(({ id }) => id === node) ?? found[0];
  if (host !== undefined && (host.id === node || found.length === 1)) return host;
  const why = found.length === 0 ? 'there is no node' : `${found.length} nodes are called`;
  throw new ShoalError(
    'E_NOT_FOUND',
    `${why} ${node}; \`shoal node ls\` has their ids, and \`shoal grant ls --all\` those of former ones`,
  );
}

/**
 * The same of a host that is to stay, but that a name has to be that of one host alone: who has stolen a key can send a host
 * away, and let in another one by its name.
 * @throws E_NOT_FOUND
 */
export function keptHost(node: string, hosts: Hosts): Named {
  const called = [...hosts.present, ...hosts.former].filter(({ id, name }) => isCalled(node, id, name));
  if (called.length < 2 || called.some(({ id }) => id === node)) return everMember(node, hosts);
  const ids = called.map(({ id }) => id).slice(0, NAMESAKES_TOLD_MAX);
  throw new ShoalError(
    'E_NOT_FOUND',
    `${called.length} nodes are called ${node}: say which is to stay by its id, ${ids.join(' or ')}; \`shoal grant ls --all\` has who let them in, and when; nothing was changed`,
  );
}

/** Is it the key of a host that was up once? Grants say so of any key: whoever admits can write them. */
export function isHosts({ view, ledger }: Cluster, key: NodeId | KeyId): boolean {
  return view.members.has(key) || ledger.machine.ledger.get('member', key) !== undefined;
}
