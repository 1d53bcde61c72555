/**
 * What was deleted, and the deletion acknowledged, is on no living node at the end: neither before its tombstone was
 * collected nor after, whatever old disks have come back, unless the only disk that held the tombstone lost it.
 */
import { shortId } from '../../../protocols/base/ids.ts';
import type { Checker } from './checker.ts';

export const deletedStayDeleted: Checker = ({ chronicle, living, stage }) => {
  const violations: string[] = [];
  for (const { key, digest, writer } of chronicle.deletions) {
    if (stage.lost.has(digest) || stage.byzantine.includes(writer) || stage.revoked.has(writer)) continue;
    for (const [id, { ledger }] of living) {
      // A name is written once: whatever stands there is what was deleted.
      const isBack = ledger.ledger.siblings('tag', key).some(({ isTombstone }) => !isTombstone);
      if (isBack) violations.push(`${shortId(id)} holds tag ${key}, which ${shortId(writer)} has deleted`);
    }
  }
  return violations;
};
