/**
 * Who may write what: chains of grants back to genesis (DESIGN section 3).
 *
 * Two questions are kept apart so that every node ends with the same set of records, in whatever order they came:
 * - may a record enter the ledger? Its author has, or had, a chain to genesis. This never changes from yes to no.
 * - does it count? Its author's grant is in force: not revoked, and within the uses of its token. This may change,
 *   and is asked when the view is derived.
 */
import Value from 'typebox/value';
import type { KeyId } from '../base/ids.ts';
import { type GenesisBody, type GrantBody, GrantSchema, RevokeSchema, type Role } from '../base/records.ts';
import type { LedgerRecord } from '../ledger/record.ts';

export type Admission = 'yes' | 'unknown-author' | 'refused';

interface Grant {
  readonly record: LedgerRecord;
  readonly body: GrantBody;
}

/** Kind to the roles of which the author needs one. Owner-written kinds have the author as the first key part. */
const RULES = new Map<string, { readonly roles: readonly Role[]; readonly owner: boolean }>([
  ['member', { roles: ['member'], owner: true }],
  ['verdict', { roles: ['member'], owner: true }],
  ['ack', { roles: ['member'], owner: true }],
  ['evidence', { roles: ['member'], owner: true }],
  ['alloc', { roles: ['worker'], owner: true }],
  ['image', { roles: ['deployer', 'operator'], owner: true }],
  ['tag', { roles: ['deployer', 'operator'], owner: false }],
  ['workload', { roles: ['deployer', 'operator'], owner: false }],
  ['intent', { roles: ['deployer', 'operator'], owner: false }],
  ['revoke', { roles: ['operator'], owner: false }],
]);
const CHAIN_LENGTH_MAX = 8;

/** The last record that counts. */
interface Cut {
  readonly epoch: number;
  readonly last: number;
}

export class Authority {
  readonly #operators: ReadonlySet<KeyId>;
  readonly #genesis: string;
  readonly #grants = new Map<string, Grant>();
  readonly #bySubject = new Map<KeyId, Grant[]>();
  readonly #byParent = new Map<string, Grant[]>();
  readonly #revoked = new Map<KeyId, Cut>();
  #rolesInForce = new Map<KeyId, ReadonlySet<Role>>();

  /** @param genesis the digest of the genesis record, hex: the cluster's id. */
  constructor(genesis: string, body: GenesisBody) {
    this.#genesis = genesis;
    this.#operators = new Set(body.operators);
  }

  /** May this record enter the ledger? Asked before its signature is checked. */
  admission(record: LedgerRecord): Admission {
    if (record.kind === 'genesis') return record.digest === this.#genesis ? 'yes' : 'refused';
    if (record.kind === 'grant') return this.#grantAdmission(record);
    if (RULES.get(record.kind)?.owner && record.key.split('/', 1)[0] !== record.author) return 'refused';
    // Revocations only grow: one cannot be taken back, and one that nobody can read would say nothing.
    if (record.kind === 'revoke' && !isRevocation(record)) return 'refused';
    const roles = this.#rolesEver(record.author);
    if (roles.size === 0) return 'unknown-author';
    return permits(roles, record.kind) ? 'yes' : 'refused';
  }

  /** Tells the authority of a record that entered the ledger; records of other kinds change nothing. */
  add(record: LedgerRecord): void {
    if (record.kind === 'grant' && Value.Check(GrantSchema, record.body)) {
      if (this.#grants.has(record.digest)) return;
      const grant = { record, body: record.body };
      this.#grants.set(record.digest, grant);
      push(this.#bySubject, grant.body.subject, grant);
      if (grant.body.parent !== null) push(this.#byParent, grant.body.parent, grant);
      this.#rolesInForce = new Map();
    } else if (record.kind === 'revoke' && Value.Check(RevokeSchema, record.body)) {
      const cut = record.body;
      const known = this.#revoked.get(cut.subject);
      if (known === undefined || isAfter(known, cut)) this.#revoked.set(cut.subject, cut);
      this.#rolesInForce = new Map();
    }
  }

  /** Roles by grants that are in force. */
  roles(key: KeyId): ReadonlySet<Role> {
    let roles = this.#rolesInForce.get(key);
    if (roles === undefined) {
      roles = this.#collectRoles(key, (grant) => this.#inForce(grant));
      this.#rolesInForce.set(key, roles);
    }
    return roles;
  }

  isMember(key: KeyId): boolean {
    return this.roles(key).has('member');
  }

  /** May it say what runs, and so do within what runs as it likes? */
  mayDeploy(key: KeyId): boolean {
    return permits(this.roles(key), 'workload');
  }

  /** Does the record count in the view? */
  counts(record: LedgerRecord): boolean {
    if (record.kind === 'genesis') return true;
    const cut = this.#revoked.get(record.author);
    if (cut !== undefined) return !isAfter({ epoch: record.epoch, last: record.seq }, cut);
    return permits(this.roles(record.author), record.kind);
  }

  /** A grant in force by which `key` may issue grants, with what is left of it; undefined when there is none. */
  issuing(key: KeyId, now: number): { digest: string | null; body: GrantBody | null } | undefined {
    if (this.#operators.has(key)) return { digest: null, body: null };
    const grant = (this.#bySubject.get(key) ?? []).find(
      ({ record, body }) =>
        body.roles.some(issues) &&
        this.#inForce({ record, body }) &&
        (body.notAfter_ms === null || now <= body.notAfter_ms),
    );
    return grant && { digest: grant.record.digest, body: grant.body };
  }

  /** Grants issued by authority of the grant with this digest, smallest digest first: its uses so far. */
  issuedBy(parent: string): readonly GrantBody[] {
    return this.#siblings(parent).map((grant) => grant.body);
  }

  grant(digest: string): GrantBody | undefined {
    return this.#grants.get(digest)?.body;
  }

  /** Steps from genesis: records of lower depth must be sent first. Infinity for unknown keys. */
  depth(key: KeyId): number {
    if (this.#operators.has(key)) return 0;
    let least = Number.POSITIVE_INFINITY;
    for (const grant of this.#bySubject.get(key) ?? []) least = Math.min(least, this.#chainLength(grant));
    return least;
  }

  #rolesEver(key: KeyId): ReadonlySet<Role> {
    return this.#collectRoles(key, () => true);
  }

  #collectRoles(key: KeyId, accepts: (grant: Grant) => boolean): ReadonlySet<Role> {
    const roles = new Set<Role>(this.#operators.has(key) ? ['operator', 'deployer', 'admitter'] : []);
    for (const grant of this.#bySubject.get(key) ?? []) {
      if (accepts(grant)) for (const role of grant.body.roles) roles.add(role);
    }
    return roles;
  }

  /** The chain was checked link by link when each grant entered; only what may change since is checked here. */
  #inForce(grant: Grant): boolean {
    let link: Grant | undefined = grant;
    for (let length = 0; link !== undefined && length <= CHAIN_LENGTH_MAX; length += 1) {
      if (this.#revoked.has(link.body.subject)) return false;
      if (link.body.parent === null) return true;
      const parent: Grant | undefined = this.#grants.get(link.body.parent);
      const uses = parent?.body.uses ?? null;
      if (uses !== null && this.#siblings(link.body.parent).indexOf(link) >= uses) return false;
      link = parent;
    }
    return false;
  }

  #siblings(parent: string): readonly Grant[] {
    const siblings = this.#byParent.get(parent) ?? [];
    return siblings.sort((a, b) => (a.record.digest < b.record.digest ? -1 : 1));
  }

  #chainLength(grant: Grant): number {
    let link: Grant | undefined = grant;
    let length = 1;
    while (link !== undefined && link.body.parent !== null && length <= CHAIN_LENGTH_MAX) {
      link = this.#grants.get(link.body.parent);
      length += 1;
    }
    return length;
  }

  #grantAdmission(record: LedgerRecord): Admission {
    if (!Value.Check(GrantSchema, record.body)) return 'refused';
    const { subject, roles, admits, parent } = record.body;
    if (record.key !== `${subject}/${record.author}`) return 'refused';
    if (this.#operators.has(record.author)) return parent === null ? 'yes' : 'refused';
    if (parent === null) return 'refused';
    const above = this.#grants.get(parent);
    if (above === undefined) return 'unknown-author';
    const allowed =
      above.body.subject === record.author &&
      above.body.roles.some(issues) &&
      roles.every((role) => above.body.admits.includes(role)) &&
      admits.every((role) => above.body.admits.includes(role)) &&
      (above.body.notAfter_ms === null || record.hlc.ms <= above.body.notAfter_ms) &&
      this.#chainLength(above) < CHAIN_LENGTH_MAX;
    return allowed ? 'yes' : 'refused';
  }
}

/** Of kinds that this version does not know, anybody with a role may write; grants have rules of their own. */
function permits(roles: ReadonlySet<Role>, kind: string): boolean {
  const rule = RULES.get(kind);
  return rule === undefined ? roles.size > 0 : rule.roles.some((role) => roles.has(role));
}

function isRevocation(record: LedgerRecord): boolean {
  return Value.Check(RevokeSchema, record.body) && record.key === record.body.subject;
}

function isAfter(a: Cut, b: Cut): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.last > b.last);
}

function issues(role: Role): boolean {
  return role === 'admit' || role === 'admitter';
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
