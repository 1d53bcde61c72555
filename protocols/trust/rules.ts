/**
 * Which role may write which kind of record, and under which keys. Not here: who has which role (authority.ts).
 *
 * Kinds that this version does not know follow one rule that all versions share, or nodes of different versions would
 * hold different ledgers: under keys that begin with its own id any member may write them, under other keys deployers
 * and operators. Every kind that is ever added must be admitted by exactly this rule; whatever more it wants to
 * demand, it demands where the record is read. The table below is for the kinds of the first version.
 */
import type { KeyId } from '../base/ids.ts';
import type { Role } from '../base/records.ts';

interface Rule {
  /** The author needs one of them. */
  readonly roles: readonly Role[];
  /** The first part of the key must be the author. */
  readonly owner: boolean;
}

/** Grants and revocations have rules of their own, in authority.ts; genesis is the cluster itself. */
const RULES = new Map<string, Rule>([
  ['member', { roles: ['member'], owner: true }],
  ['verdict', { roles: ['member'], owner: true }],
  ['ack', { roles: ['member'], owner: true }],
  ['evidence', { roles: ['member'], owner: true }],
  ['alloc', { roles: ['worker'], owner: true }],
  ['image', { roles: ['deployer', 'operator'], owner: true }],
  ['tag', { roles: ['deployer', 'operator'], owner: false }],
  ['workload', { roles: ['deployer', 'operator'], owner: false }],
  ['intent', { roles: ['deployer', 'operator'], owner: false }],
]);
const UNKNOWN_OWN: Rule = { roles: ['member', 'deployer', 'operator'], owner: true };
const UNKNOWN_SHARED: Rule = { roles: ['deployer', 'operator'], owner: false };

/** Of an operator's key, besides what grants may add. */
export const OPERATOR_ROLES: ReadonlySet<Role> = new Set(['operator', 'deployer', 'admitter']);

interface Written {
  readonly kind: string;
  readonly key: string;
  readonly author: KeyId;
}

/** @returns the roles of which the author needs one, or undefined when nobody but another may write this key. */
export function rolesFor(record: Written): readonly Role[] | undefined {
  const rule = ruleFor(record);
  return rule.owner && !isOwn(record.key, record.author) ? undefined : rule.roles;
}

/** Can nobody but its author write the key of this record, which was admitted? */
export function isOwned(record: Written): boolean {
  return ruleFor(record).owner;
}

function ruleFor({ kind, key, author }: Written): Rule {
  return RULES.get(kind) ?? (isOwn(key, author) ? UNKNOWN_OWN : UNKNOWN_SHARED);
}

/** Does the first part of the key name the author? */
function isOwn(key: string, author: KeyId): boolean {
  return key.startsWith(author) && (key.length === author.length || key[author.length] === '/');
}
