/** At the end every living node holds the living as alive and the dead as failed, and nobody thinks itself cut off. */
import { type NodeId, shortId } from '../../../protocols/base/ids.ts';
import { memberStatus } from '../../../protocols/membership/membership.ts';
import type { MemberStatus } from '../../../protocols/view/view.ts';
import type { ShoalNode } from '../shoal-node.ts';
import type { Simulator } from '../simulator.ts';
import type { Stage } from '../stage.ts';
import type { Checker } from './checker.ts';

/** In larger clusters each view is looked at in part: members that are dead or held as failed, and this many others in turn. */
const LOOKED_AT_MAX = 100;

/** What every view shall hold of a member in the end; undefined: nothing, since it is none. */
function expected(stage: Stage, id: NodeId): MemberStatus | undefined {
  const host = stage.world.host(id);
  if (stage.revoked.has(id) || host.life === 0) return undefined;
  return host.node === null ? 'failed' : 'alive';
}

/** The first thing that is wrong in a view; undefined when it is whole. */
export function flawOf(world: Simulator<ShoalNode>, stage: Stage, node: ShoalNode, observer: NodeId) {
  const { hosts } = world;
  const looked_count = Math.min(hosts.length, LOOKED_AT_MAX);
  const first = world.host(observer).at;
  const look = (id: NodeId) => {
    // Those that ban it cannot hear it: what they make of that is no error.
    if (stage.byzantine.includes(id)) return undefined;
    const status = memberStatus(node.membership, id);
    const right = expected(stage, id);
    if (status === right || (id === observer && right !== 'failed')) return undefined;
    return `holds ${shortId(id)} as ${status}, and it is ${right}`;
  };
  for (let at = 0; at < looked_count; at += 1) {
    const flaw = look(hosts[(first + at) % hosts.length]!.id);
    if (flaw !== undefined) return flaw;
  }
  for (const id of [...stage.dead.keys(), ...stage.revoked.keys(), ...node.membership.failed.keys()]) {
    const flaw = look(id);
    if (flaw !== undefined) return flaw;
  }
  return node.membership.cutOff === null ? undefined : 'still thinks that it is cut off';
}

export const viewsConverge: Checker = ({ world, stage, living }) => {
  const violations: string[] = [];
  for (const [observer, node] of living) {
    const flaw = flawOf(world, stage, node, observer);
    if (flaw !== undefined) violations.push(`${shortId(observer)} ${flaw}`);
  }
  return violations;
};
