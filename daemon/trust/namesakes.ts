/**
 * Members that bear one name: what people are told of it. Names are for people, and keys tell hosts apart, so nothing
 * fails by it but what names a node. One that has failed may have been installed anew under its name, and is none. Pure.
 */
import { type NodeId, shortId } from '../../protocols/base/ids.ts';
import type { ClusterView } from '../../protocols/view/view.ts';

/** Ids in one message. */
const IDS_TOLD_MAX = 8;

/** Those that are not failed, by names that several of them bear. */
export function namesakes(members: ClusterView['members']): ReadonlyMap<string, readonly NodeId[]> {
  const byName = new Map<string, NodeId[]>();
  for (const { id, name, status } of members.values()) {
    if (status === 'failed') continue;
    const ids = byName.get(name);
    if (ids === undefined) byName.set(name, [id]);
    else ids.push(id);
  }
  return new Map([...byName].filter(([, ids]) => ids.length > 1));
}

/** What it is and what to do about it. At most 512 characters. */
export function namesakesText(name: string, ids: readonly NodeId[]): string {
  const told = ids.slice(0, IDS_TOLD_MAX).map(shortId);
  const more = ids.length > told.length ? ` and ${ids.length - told.length} more` : '';
  return (
    `${ids.length} members are called ${name} (${told.join(', ')}${more}), so that commands take them by their ids only: ` +
    'restart the daemon of one with another --name, or `shoal node rm` one that is gone for good'
  );
}
