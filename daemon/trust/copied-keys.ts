/**
 * Two daemons that run with one node's key, such as a cloned disk and its original: what people are told of it. Each
 * of the two says where the other is in its member record, so every member knows, and that for as long as both run.
 * Not here: how they notice one another (own-member.ts). Pure.
 */
import { ERRORS } from '../../protocols/base/errors.ts';
import type { NodeId } from '../../protocols/base/ids.ts';
import type { ClusterView, MemberView } from '../../protocols/view/view.ts';

export const COPIED_CODE = 'E_KEY_COPIED';

/** A member as it tells of itself. */
interface Copied {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly copy?: readonly string[];
}

/** Multiaddrs that people need see no peer id of. */
function place(addresses: readonly string[]): string {
  const short = addresses.map((address) => address.replace(/\/p2p\/.*$/, ''));
  return short.join(' ') || 'an address that it has not told';
}

/** What it is and what to do about it. At most 1024 characters. */
export function copiedText({ name, addresses, copy = [] }: Copied): string {
  const what = `two daemons run with the key of ${name}, at ${place(addresses)} and at ${place(copy)}`;
  return `${COPIED_CODE}: ${what}`.slice(0, 700).concat(`. ${ERRORS[COPIED_CODE].next}`);
}

/**
 * Members with whose key two daemons run, as they say themselves.
 * @param own where another one runs with this node's key, as it knows itself; null: nowhere.
 */
export function copiedKeys(
  members: ClusterView['members'],
  self: NodeId,
  own: readonly string[] | null,
): ReadonlySet<NodeId> {
  const others = copiedMembers(members, self).map(({ id }) => id);
  return new Set(own === null ? others : [self, ...others]);
}

/** Members that say of themselves that two run; one that has failed runs nowhere, whatever it said last. */
export function copiedMembers(members: ClusterView['members'], self: NodeId): MemberView[] {
  return [...members.values()].filter(
    ({ id, copy, status }) => copy !== undefined && id !== self && status !== 'failed',
  );
}
