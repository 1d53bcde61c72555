/** What nodes keep, and what is on its way between them, stays under its caps all the time. */
import { shortId } from '../../../protocols/base/ids.ts';
import { LEDGER_DEFAULTS } from '../../../protocols/ledger/machine.ts';
import { MEMBERSHIP_LIMITS } from '../../../protocols/membership/config.ts';
import { PEAKS, type Peak } from '../peaks.ts';
import type { Checker } from './checker.ts';

/** Of one node: a timer for each use of each member, and the relays'. */
const TIMERS_PER_MEMBER_MAX = 4;
/** Things on their way at one time: for each node, and for each pair of nodes in a full mesh. */
const QUEUE_PER_NODE_MAX = 4096;
const QUEUE_PER_PAIR_MAX = 64;
const PAIRED_MAX = 64;

function capsOf(nodes_count: number): Readonly<Record<Peak, number>> {
  return {
    timers: TIMERS_PER_MEMBER_MAX * nodes_count + MEMBERSHIP_LIMITS.relays_max + 1,
    relays: MEMBERSHIP_LIMITS.relays_max,
    redials: MEMBERSHIP_LIMITS.redials_max,
    'waiting verdicts': MEMBERSHIP_LIMITS.verdictsPending_max,
    'verdicts of one member': MEMBERSHIP_LIMITS.verdictsPerSubject_max,
    'records without a grant': LEDGER_DEFAULTS.pending_records_max,
    'bytes without a grant': LEDGER_DEFAULTS.pending_bytes_max,
  };
}

export const boundsHold: Checker = ({ world, living, peaks }) => {
  const violations: string[] = [];
  const nodes_count = world.hosts.length;
  const bound = (what: string, value: number, max: number) => {
    if (value > max) violations.push(`${what}: ${value}, and the cap is ${max}`);
  };
  const peers_count = Math.min(nodes_count, PAIRED_MAX);
  const queue_max = nodes_count * (QUEUE_PER_NODE_MAX + QUEUE_PER_PAIR_MAX * peers_count);
  bound('things on their way', world.queue_max, queue_max);
  for (const [id, node] of living) peaks.lookClosely(id, node);
  const caps = capsOf(nodes_count);
  for (const peak of PEAKS) {
    const { value, node } = peaks.of[peak];
    bound(`${peak} of ${shortId(node)}`, value, caps[peak]);
  }
  return violations;
};
