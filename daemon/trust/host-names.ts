/** Whom a request about trust means by a name or an id. */
import { ShoalError } from '../../protocols/base/errors.ts';
import type { KeyId, NodeId } from '../../protocols/base/ids.ts';
import type { Cluster } from '../cluster.ts';
import type { Named } from '../contacts.ts';
import { ambiguousNode, isCalled } from '../view-answers.ts';
import type { KeyNames } from './key-names.ts';

/** What tells more of hosts of one name. */
const WHO_IS_WHO =
  '`shoal node ls` tells where members are, and `shoal grant ls --all` who let in whom, and when';

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
 * @throws E_NOT_FOUND, E_AMBIGUOUS
 */
export function everMember(node: string, { present, former }: Hosts): Named {
  const called = (hosts: readonly Named[]) => hosts.filter(({ id, name }) => isCalled(node, id, name));
  const [now, before] = [called(present), called(former)];
  const found = now.length > 0 && !before.some(({ id }) => id === node) ? now : before;
  const host = found.find(({ id }) => id === node) ?? found[0];
  if (host === undefined)
    throw new ShoalError(
      'E_NOT_FOUND',
      `there is no node ${node}; \`shoal node ls\` has their ids, and \`shoal grant ls --all\` those of former ones`,
    );
  if (host.id !== node && found.length > 1) throw ambiguousNode(node, found, WHO_IS_WHO);
  return host;
}

/**
 * The same of a host that is to stay, but that a name does not tell a member from a host that the key has sent away: who has
 * stolen a key can send a host away, and let in another one by its name.
 * @param isSentAway whether one is a member again where the word of the key that is revoked counts no more.
 * @throws E_NOT_FOUND, E_AMBIGUOUS
 */
export function keptHost(node: string, hosts: Hosts, isSentAway: (id: KeyId) => boolean): Named {
  const called = (list: readonly Named[]) => list.filter(({ id, name }) => isCalled(node, id, name));
  const meant = [...called(hosts.present), ...called(hosts.former).filter(({ id }) => isSentAway(id))];
  if (meant.length < 2 || [...hosts.present, ...hosts.former].some(({ id }) => id === node))
    return everMember(node, hosts);
  throw ambiguousNode(node, meant, WHO_IS_WHO);
}

/** Members that are named by a name that hosts had which are none any more: how many of those there are. */
export function namesakesOf(
  named: readonly string[],
  { present, former }: Hosts,
): { readonly host: Named; readonly others: number }[] {
  return present
    .filter(({ name }) => named.includes(name))
    .map((host) => ({ host, others: former.filter(({ name }) => name === host.name).length }))
    .filter(({ others }) => others > 0);
}

/** Is it the key of a host that was up once? Grants say so of any key: whoever admits can write them. */
export function isHosts({ view, ledger }: Cluster, key: NodeId | KeyId): boolean {
  return view.members.has(key) || ledger.machine.ledger.get('member', key) !== undefined;
}
