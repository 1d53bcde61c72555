/** What nodes keep, and what is on its way between them, stays under its caps. */
import { shortId } from '../../../protocols/base/ids.ts';
import { LEDGER_DEFAULTS } from '../../../protocols/ledger/machine.ts';
import { MEMBERSHIP_LIMITS } from '../../../protocols/membership/config.ts';
import type { Checker } from './checker.ts';

/** Of one node: a timer for each use of each member, and the relays'. */
const TIMERS_PER_MEMBER_MAX = 4;
/** Things on their way at one time: for each node, and for each pair of nodes in a full mesh. */
const QUEUE_PER_NODE_MAX = 4096;
const QUEUE_PER_PAIR_MAX = 64;
const PAIRED_MAX = 64;

export const boundsHold: Checker = ({ world, living }) => {
  const violations: string[] = [];
  const nodes_count = world.hosts.length;
  const bound = (what: string, value: number, max: number) => {
    if (value > max) violations.push(`${what}: ${value}, and the cap is ${max}`);
  };
  const peers_count = Math.min(nodes_count, PAIRED_MAX);
  const queue_max = nodes_count * (QUEUE_PER_NODE_MAX + QUEUE_PER_PAIR_MAX * peers_count);
  bound('things on their way', world.queue_max, queue_max);
  for (const [id, { membership, ledger }] of living) {
    const of = (what: string) => `${what} of ${shortId(id)}`;
    const timers_max = TIMERS_PER_MEMBER_MAX * nodes_count + MEMBERSHIP_LIMITS.relays_max + 1;
    bound(of('timers'), membership.timers.size, timers_max);
    bound(of('relays'), membership.relays.size, MEMBERSHIP_LIMITS.relays_max);
    bound(of('redials'), membership.redialling.size, MEMBERSHIP_LIMITS.redials_max);
    bound(of('waiting verdicts'), membership.pending.length, MEMBERSHIP_LIMITS.verdictsPending_max);
    bound(of('records without a grant'), ledger.pending.records, LEDGER_DEFAULTS.pending_records_max);
    bound(of('bytes without a grant'), ledger.pending.bytes, LEDGER_DEFAULTS.pending_bytes_max);
    for (const { verdicts } of membership.members.values()) {
      bound(of('verdicts'), verdicts.size, MEMBERSHIP_LIMITS.verdictsPerSubject_max);
    }
  }
  return violations;
};
