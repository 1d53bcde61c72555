/**
 * All grants and revocations that entered the ledger, found by what they are about. Keeps what it is told; what may
 * enter and what is in force is for authority.ts. Lists are replaced, never changed, so that forks share them.
 */
import type { KeyId } from '../base/ids.ts';
import { type Grant, isAppointment, type Revocation } from './acts.ts';
import { LayeredMap } from './layered-map.ts';
import { type RoleBits, roleBits } from './rules.ts';

export class GrantBook {
  readonly #grants: LayeredMap<string, Grant>;
  readonly #bySubject: LayeredMap<KeyId, readonly Grant[]>;
  /** What the grants of a subject give it together, in force or not. */
  readonly #given: LayeredMap<KeyId, { readonly bits: RoleBits }>;
  /** By digest of the issuer's grant, the smallest digest first; renewals are apart, in `renewalsUnder`. */
  readonly #children: LayeredMap<string, readonly Grant[]>;
  readonly #renewalsUnder: LayeredMap<string, readonly Grant[]>;
  /** By digest of the grant that they prolong. */
  readonly #renewalsOf: LayeredMap<string, readonly Grant[]>;
  /** When the last of those ends, milliseconds, as far as it was asked: a grant can have thousands. */
  readonly #lastEnds: LayeredMap<string, { readonly end_ms: number }>;
  readonly #appointments: LayeredMap<KeyId, readonly Grant[]>;
  /** Who has voted for a key, and for whom a key has voted: each once, however often it did. */
  readonly #voters: LayeredMap<KeyId, readonly KeyId[]>;
  readonly #votedFor: LayeredMap<KeyId, readonly KeyId[]>;
  readonly #revocations: LayeredMap<KeyId, readonly Revocation[]>;

  /** @param from what to begin with, shared with it. */
  constructor(from?: GrantBook) {
    this.#grants = from === undefined ? new LayeredMap() : from.#grants.fork();
    this.#bySubject = from === undefined ? new LayeredMap() : from.#bySubject.fork();
    this.#given = from === undefined ? new LayeredMap() : from.#given.fork();
    this.#children = from === undefined ? new LayeredMap() : from.#children.fork();
    this.#renewalsUnder = from === undefined ? new LayeredMap() : from.#renewalsUnder.fork();
    this.#renewalsOf = from === undefined ? new LayeredMap() : from.#renewalsOf.fork();
    this.#lastEnds = from === undefined ? new LayeredMap() : from.#lastEnds.fork();
    this.#appointments = from === undefined ? new LayeredMap() : from.#appointments.fork();
    this.#voters = from === undefined ? new LayeredMap() : from.#voters.fork();
    this.#votedFor = from === undefined ? new LayeredMap() : from.#votedFor.fork();
    this.#revocations = from === undefined ? new LayeredMap() : from.#revocations.fork();
  }

  /** @returns false when it was there. */
  addGrant(grant: Grant): boolean {
    const { record, body } = grant;
    if (this.#grants.get(record.digest) !== undefined) return false;
    this.#grants.set(record.digest, grant);
    insert(this.#bySubject, body.subject, grant);
    this.#give(body.subject, bitsGiven(body));
    if (body.parent !== null)
      insert(body.renews === undefined ? this.#children : this.#renewalsUnder, body.parent, grant);
    if (body.renews !== undefined) {
      insert(this.#renewalsOf, body.renews, grant);
      this.#lastEnds.delete(body.renews);
    }
    if (isAppointment(body)) {
      insert(this.#appointments, body.subject, grant);
      this.#vote(record.author, body.subject);
    }
    return true;
  }

  removeGrant(grant: Grant): void {
    const { record, body } = grant;
    this.#grants.delete(record.digest);
    takeOut(this.#bySubject, body.subject, record.digest);
    this.#given.delete(body.subject);
    for (const left of this.ofSubject(body.subject)) this.#give(body.subject, bitsGiven(left.body));
    if (body.parent !== null)
      takeOut(body.renews === undefined ? this.#children : this.#renewalsUnder, body.parent, record.digest);
    if (body.renews !== undefined) {
      takeOut(this.#renewalsOf, body.renews, record.digest);
      this.#lastEnds.delete(body.renews);
    }
    if (isAppointment(body)) {
      takeOut(this.#appointments, body.subject, record.digest);
      this.#unvote(record.author, body.subject);
    }
  }

  /** @returns false when it was there. */
  addRevocation(revocation: Revocation): boolean {
    const { digest } = revocation.record;
    const known = this.revocationsOf(revocation.body.subject);
    if (known[placeOf(known, digest)]?.record.digest === digest) return false;
    insert(this.#revocations, revocation.body.subject, revocation);
    return true;
  }

  removeRevocation({ record, body }: Revocation): void {
    takeOut(this.#revocations, body.subject, record.digest);
  }

  grant(digest: string): Grant | undefined {
    return this.#grants.get(digest);
  }

  grants(): Iterable<Grant> {
    return this.#grants.values();
  }

  /** Of one subject, the smallest digest first; so are all lists here. */
  ofSubject(key: KeyId): readonly Grant[] {
    return this.#bySubject.get(key) ?? [];
  }

  /** Roles by any of its grants, in force or not. An appointment gives none: it is a vote. */
  rolesGiven(key: KeyId): RoleBits {
    return this.#given.get(key)?.bits ?? 0;
  }

  #give(subject: KeyId, bits: RoleBits): void {
    const before = this.rolesGiven(subject);
    if ((before | bits) !== before) this.#given.set(subject, { bits: before | bits });
  }

  /** Issued by authority of the grant with this digest, renewals aside. */
  children(parent: string): readonly Grant[] {
    return this.#children.get(parent) ?? [];
  }

  /** Was anything issued by its authority, renewals among it? */
  hasIssued({ record: { digest } }: Grant): boolean {
    return this.#children.get(digest) !== undefined || this.#renewalsUnder.get(digest) !== undefined;
  }

  renewalsOf(original: string): readonly Grant[] {
    return this.#renewalsOf.get(original) ?? [];
  }

  /** When the last of a grant and its renewals ends, milliseconds; null: never. */
  lastEnd({ record, body }: Grant): number | null {
    const renewals = this.renewalsOf(record.digest);
    if (body.notAfter_ms === null || renewals.length === 0) return body.notAfter_ms;
    let last = this.#lastEnds.get(record.digest);
    if (last === undefined) {
      let end_ms = body.notAfter_ms;
      for (const renewal of renewals) end_ms = Math.max(end_ms, renewal.body.notAfter_ms ?? 0);
      last = { end_ms };
      this.#lastEnds.set(record.digest, last);
    }
    return last.end_ms;
  }

  /** Who has voted for a key. */
  votersFor(subject: KeyId): readonly KeyId[] {
    return this.#voters.get(subject) ?? [];
  }

  /** For whom a key has voted. */
  votedForBy(voter: KeyId): readonly KeyId[] {
    return this.#votedFor.get(voter) ?? [];
  }

  /** Has a key voted for another? */
  isVoter(voter: KeyId, subject: KeyId): boolean {
    return isIn(this.votersFor(subject), voter);
  }

  #vote(voter: KeyId, subject: KeyId): void {
    if (this.isVoter(voter, subject)) return;
    insertKey(this.#voters, subject, voter);
    insertKey(this.#votedFor, voter, subject);
  }

  #unvote(voter: KeyId, subject: KeyId): void {
    if (this.appointmentsOf(subject).some(({ record }) => record.author === voter)) return;
    takeOutKey(this.#voters, subject, voter);
    takeOutKey(this.#votedFor, voter, subject);
  }

  appointments(): Iterable<readonly [KeyId, readonly Grant[]]> {
    return this.#appointments.entries();
  }

  appointmentsOf(subject: KeyId): readonly Grant[] {
    return this.#appointments.get(subject) ?? [];
  }

  revocationsOf(subject: KeyId): readonly Revocation[] {
    return this.#revocations.get(subject) ?? [];
  }

  revocations(): Iterable<readonly [KeyId, readonly Revocation[]]> {
    return this.#revocations.entries();
  }

  /** Issued by authority of the grant with this digest, renewals too. */
  *issuedUnder(parent: string): IterableIterator<Grant> {
    yield* this.children(parent);
    yield* this.#renewalsUnder.get(parent) ?? [];
  }

  /** What hangs on the grant with this digest: grants issued by its authority, and renewals of it. */
  *hangingOn(digest: string): IterableIterator<Grant> {
    yield* this.issuedUnder(digest);
    yield* this.renewalsOf(digest);
  }

  /** A grant with all that hangs on it, and on that, and so on. */
  subtree(root: Grant): Grant[] {
    const found = new Set([root]);
    // The set grows while it is walked.
    for (const { record } of found) for (const grant of this.hangingOn(record.digest)) found.add(grant);
    return [...found];
  }
}

/** Roles by a grant. An appointment gives none: it is a vote. */
export function bitsGiven(body: Grant['body']): RoleBits {
  return isAppointment(body) ? 0 : roleBits(body.roles);
}

/** Where a digest is, or would be, in a list in order of digests. */
export function placeOf(list: readonly (Grant | Revocation)[], digest: string): number {
  return placeIn(list, ({ record }) => record.digest < digest);
}

function placeIn<Item>(list: readonly Item[], isBefore: (item: Item) => boolean): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(list[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isIn(keys: readonly KeyId[], key: KeyId): boolean {
  return keys[placeIn(keys, (other) => other < key)] === key;
}

type KeyLists = LayeredMap<KeyId, readonly KeyId[]>;

/** Into a list in order of keys, for one key may have voted for thousands. */
function insertKey(lists: KeyLists, of: KeyId, key: KeyId): void {
  const keys = lists.get(of) ?? [];
  const at = placeIn(keys, (other) => other < key);
  lists.set(of, keys.toSpliced(at, 0, key));
}

function takeOutKey(lists: KeyLists, of: KeyId, key: KeyId): void {
  const keys = lists.get(of) ?? [];
  const at = placeIn(keys, (other) => other < key);
  if (keys[at] === key) lists.set(of, keys.toSpliced(at, 1));
}

function insert<K, V extends Grant | Revocation>(map: LayeredMap<K, readonly V[]>, key: K, value: V): void {
  const list = map.get(key) ?? [];
  map.set(key, list.toSpliced(placeOf(list, value.record.digest), 0, value));
}

function takeOut<K, V extends Grant | Revocation>(
  map: LayeredMap<K, readonly V[]>,
  key: K,
  digest: string,
): void {
  const list = map.get(key) ?? [];
  const at = placeOf(list, digest);
  if (list[at]?.record.digest !== digest) return;
  if (list.length > 1) map.set(key, list.toSpliced(at, 1));
  else map.delete(key);
}
