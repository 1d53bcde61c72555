/**
 * The kinds of records that people decide on, and that a history tells of. What nodes tell all the time (allocations,
 * verdicts, a raised incarnation) is not among them.
 */
import type { RecordKind } from './records.ts';

export const CHANGE_KINDS = [
  'workload',
  'tag',
  'image',
  'intent',
  'grant',
  'revoke',
  'member',
  'evidence',
  'genesis',
] as const satisfies RecordKind[];

export type ChangeKind = (typeof CHANGE_KINDS)[number];
