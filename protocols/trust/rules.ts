/**
 * Which role may write which kind of record, and under which keys. Not here: who has which role (authority.ts).
 *
 * Kinds that this version does not know follow one rule that all versions share, or nodes of different versions would
 * hold different ledgers: under keys that begin with its own id any member may write them, under other keys deployers
 * and operators. Every kind that is ever added must be admitted by exactly this rule; whatever more it wants to
 * demand, it demands where the record is read. The table below is for the kinds of the first version.
 */
import type { KeyId } from '../base/ids.ts';
import { firstPart, ROLES, type Role } from '../base/records.ts';

/** Roles as bits of a number: every record that comes is asked for them. */
export type RoleBits = number;

export function roleBits(roles: Iterable<Role>): RoleBits {
  let bits = 0;
  for (const role of roles) bits |= 1 << ROLES.indexOf(role);
  return bits;
}

/** What `roleBits` was given. */
export function rolesOf(bits: RoleBits): readonly Role[] {
  return ROLES.filter((_, at) => (bits & (1 << at)) !== 0);
}

interface Rule {
  /** The author needs one of them. */
  readonly bits: RoleBits;
  /** The first part of the key must be the author. */
  readonly owner: boolean;
}

function rule(owner: boolean, ...roles: readonly Role[]): Rule {
  return { bits: roleBits(roles), owner };
}

/** Grants and revocations have rules of their own, in authority.ts; genesis is the cluster itself. */
const RULES = new Map<string, Rule>([
  ['member', rule(true, 'member')],
  ['verdict', rule(true, 'member')],
  ['ack', rule(true, 'member')],
  ['evidence', rule(true, 'member')],
  ['alloc', rule(true, 'worker')],
  ['image', rule(true, 'deployer', 'operator')],
  ['tag', rule(false, 'deployer', 'operator')],
  ['workload', rule(false, 'deployer', 'operator')],
  ['intent', rule(false, 'deployer', 'operator')],
]);
const UNKNOWN_OWN = rule(true, 'member', 'deployer', 'operator');
const UNKNOWN_SHARED = rule(false, 'deployer', 'operator');

/** Of an operator's key, besides what grants may add. */
export const OPERATOR_BITS = roleBits(['operator', 'deployer', 'admitter']);

interface Written {
  readonly kind: string;
  readonly key: string;
  readonly author: KeyId;
  /** Whether the first part of the key names the author, where that is known already. */
  readonly isOwn?: boolean;
}

/** @returns the roles of which the author needs one; none when nobody but another may write this key. */
export function roleBitsFor(record: Written): RoleBits {
  const rule = ruleFor(record);
  return rule.owner && !isOwn(record) ? 0 : rule.bits;
}

/** Can nobody but its author write the key of this record, which was admitted? */
export function isOwned(record: Written): boolean {
  return ruleFor(record).owner;
}

function ruleFor(record: Written): Rule {
  return RULES.get(record.kind) ?? (isOwn(record) ? UNKNOWN_OWN : UNKNOWN_SHARED);
}

function isOwn(record: Written): boolean {
  return record.isOwn ?? firstPart(record.key) === record.author;
}
