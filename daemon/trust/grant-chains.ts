/** By which grants of one key each host was let in. Pure. All grants are listed once, for as many hosts as are asked about. */
import type { KeyId } from '../../protocols/base/ids.ts';
import type { GrantInfo } from '../../protocols/trust/listing.ts';

type Link = Pick<GrantInfo, 'digest' | 'subject' | 'issuer' | 'parent'>;

export class GrantChains {
  readonly #byDigest = new Map<string, Link>();
  readonly #bySubject = new Map<KeyId, Link[]>();

  constructor(grants: Iterable<Link>) {
    for (const grant of grants) {
      this.#byDigest.set(grant.digest, grant);
      const own = this.#bySubject.get(grant.subject);
      if (own === undefined) this.#bySubject.set(grant.subject, [grant]);
      else own.push(grant);
    }
  }

  /** Digests of all links of the chains of a host that `issuer` signed: by itself, or as the maker of a token. */
  above(issuer: KeyId, host: KeyId): string[] {
    const found = new Set<string>();
    for (const grant of this.#bySubject.get(host) ?? []) {
      for (let link: Link | undefined = grant; link !== undefined; ) {
        if (link.issuer === issuer) found.add(link.digest);
        link = link.parent === null ? undefined : this.#byDigest.get(link.parent);
      }
    }
    return [...found];
  }
}
