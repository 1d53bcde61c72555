/**
 * Who names which grants as good, in revocations of the key that issued them. Counts what it is told; whose word counts
 * is for gate.ts.
 */
import type { KeyId } from '../base/ids.ts';
import type { Revocation } from './acts.ts';

/** By digest of a grant: how many revocations of one author name it. */
export type Named = ReadonlyMap<string, number>;

const NOBODY: ReadonlyMap<KeyId, Named> = new Map();

export class Keepers {
  /** By issuer, and by author of the revocations. */
  readonly #named = new Map<KeyId, Map<KeyId, Map<string, number>>>();
  /** The same by author of the revocations, and by issuer. */
  readonly #namedBy = new Map<KeyId, Map<KeyId, Named>>();

  constructor(revocations: Iterable<readonly [KeyId, readonly Revocation[]]>) {
    for (const [, cast] of revocations) for (const revocation of cast) this.add(revocation);
  }

  /** What others than the issuer itself name of its grants, by author. */
  of(issuer: KeyId): ReadonlyMap<KeyId, Named> {
    return this.#named.get(issuer) ?? NOBODY;
  }

  /** What an author names of others' grants, by issuer. */
  by(author: KeyId): ReadonlyMap<KeyId, Named> {
    return this.#namedBy.get(author) ?? NOBODY;
  }

  add({ record: { author }, body: { subject, keeps } }: Revocation): void {
    if (keeps === undefined || author === subject) return;
    const byAuthor = this.#named.get(subject) ?? new Map<KeyId, Map<string, number>>();
    const named = byAuthor.get(author) ?? new Map<string, number>();
    this.#named.set(subject, byAuthor.set(author, named));
    const bySubject = this.#namedBy.get(author) ?? new Map<KeyId, Named>();
    this.#namedBy.set(author, bySubject.set(subject, named));
    for (const digest of new Set(keeps)) named.set(digest, (named.get(digest) ?? 0) + 1);
  }

  remove({ record: { author }, body: { subject, keeps } }: Revocation): void {
    const byAuthor = this.#named.get(subject);
    const named = byAuthor?.get(author);
    if (keeps === undefined || byAuthor === undefined || named === undefined) return;
    for (const digest of new Set(keeps)) {
      const count = named.get(digest) ?? 0;
      if (count > 1) named.set(digest, count - 1);
      else named.delete(digest);
    }
    if (named.size > 0) return;
    byAuthor.delete(author);
    if (byAuthor.size === 0) this.#named.delete(subject);
    const bySubject = this.#namedBy.get(author);
    bySubject?.delete(subject);
    if (bySubject?.size === 0) this.#namedBy.delete(author);
  }
}
