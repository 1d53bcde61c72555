/** At the end every living node holds the living as alive and the dead as failed, and nobody thinks itself cut off. */
import { shortId } from '../../../protocols/base/ids.ts';
import { memberStatus } from '../../../protocols/membership/membership.ts';
import type { Checker } from './checker.ts';

export const viewsConverge: Checker = ({ world, living }) => {
  const violations: string[] = [];
  for (const [observer, node] of living) {
    for (const member of world.hosts.keys()) {
      const expected = living.has(member) ? 'alive' : 'failed';
      const status = memberStatus(node.membership, member);
      if (status !== expected) {
        violations.push(`${shortId(observer)} holds ${shortId(member)} as ${status}, and it is ${expected}`);
      }
    }
    if (node.membership.cutOff !== null)
      violations.push(`${shortId(observer)} still thinks that it is cut off`);
  }
  return violations;
};
