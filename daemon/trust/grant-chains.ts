/** By which grants of one key each host was let in. Pure. All grants are listed once, for as many hosts as are asked about. */
import type { KeyId } from '../../protocols/base/ids.ts';
import type { Role } from '../../protocols/base/records.ts';
import { type GrantInfo, isTokenGrant } from '../../protocols/trust/listing.ts';
import type { GrantState } from '../../protocols/trust/standing.ts';

type Link = Pick<
  GrantInfo,
  | 'digest'
  | 'subject'
  | 'issuer'
  | 'parent'
  | 'renews'
  | 'roles'
  | 'admits'
  | 'granted_ms'
  | 'notAfter_ms'
  | 'state'
>;

/** A grant of a host, with what it hangs on. */
interface Chain {
  readonly grant: Link;
  /** Digests of its links that the key signed, by itself or as the maker of a token. */
  readonly signed: readonly string[];
  /** Of those issued by them, and by tokens that others of those have made. */
  readonly issued: readonly string[];
  /** Grants of others that it hangs on, up to the key: of hosts, and of tokens that another token has made. */
  readonly through: readonly Link[];
}

/** Digests of grants, by which hosts stay when a key is revoked. */
export interface Kept {
  /** Those that the key signed. */
  readonly signed: readonly string[];
  /** Those that were issued by them: of a token that the key has made, or one of its tokens, nothing else stays. */
  readonly issued: readonly string[];
  /** Keys that stay for them, and are not among those that are to: no tokens, for those are closed. */
  readonly unnamed: readonly KeyId[];
}

/** Which grant its host is best kept by. */
const RANKS: ReadonlyMap<GrantState, number> = new Map([
  ['valid', 0],
  ['used-up', 0],
  // It may be renewed.
  ['expired', 1],
  ['over-used', 2],
]);
const RANK_STANDING_MAX = 1;
const RANK_LAST = 3;

export class GrantChains {
  readonly #byDigest = new Map<string, Link>();
  readonly #bySubject = new Map<KeyId, Link[]>();
  /** Digests of grants by which others were issued. */
  readonly #parents = new Set<string>();

  constructor(grants: Iterable<Link>) {
    for (const grant of grants) {
      this.#byDigest.set(grant.digest, grant);
      if (grant.parent !== null) this.#parents.add(grant.parent);
      const own = this.#bySubject.get(grant.subject);
      if (own === undefined) this.#bySubject.set(grant.subject, [grant]);
      else own.push(grant);
    }
  }

  /** Does the host have a grant in force, or to be renewed, that hangs on one by `issuer`? */
  stands(issuer: KeyId, host: KeyId): boolean {
    return (this.#bySubject.get(host) ?? []).some(
      (grant) => isStanding(grant) && this.#chain(grant, issuer).signed.length > 0,
    );
  }

  /**
   * Grants that `issuer` signed and that are enough for a host to stay what it is. Who has the key of an admitter can write
   * thousands of grants of one host: these few are those that give it its roles, and on which others hang.
   * @param kept hosts that stay. A chain through any other is only taken where there is none without.
   */
  above(issuer: KeyId, host: KeyId, kept: ReadonlySet<KeyId>): Kept {
    const chains = (this.#bySubject.get(host) ?? [])
      .map((grant) => this.#chain(grant, issuer))
      .filter(({ signed }) => signed.length > 0);
    const among = chains.filter(({ through }) => through.every(({ subject }) => kept.has(subject)));
    // One that others have displaced stands again once the token is closed: a thief that has its text does that.
    const chosen = this.#enough(among.some(({ grant }) => rankOf(grant) < RANK_LAST) ? among : chains);
    const others = chosen.flatMap(({ through }) => through.filter((link) => !isTokenGrant(link)));
    const unnamed = others.map(({ subject }) => subject).filter((key) => key !== issuer && !kept.has(key));
    return {
      signed: [...new Set(chosen.flatMap(({ signed }) => signed))],
      issued: [...new Set(chosen.flatMap(({ issued }) => issued))],
      unnamed: [...new Set(unnamed)],
    };
  }

  /** With the chain of what it prolongs: a renewal shares the fate of that. */
  #chain(grant: Link, issuer: KeyId): Chain {
    const signed: string[] = [];
    const issued: string[] = [];
    const through: Link[] = [];
    const original = grant.renews === null ? undefined : this.#byDigest.get(grant.renews);
    for (const start of [grant, ...(original === undefined ? [] : [original])]) {
      let passed: Link[] = [];
      let found: string[] = [];
      let below: Link | undefined;
      for (let link: Link | undefined = start; link !== undefined; ) {
        const above: Link | undefined = link.parent === null ? undefined : this.#byDigest.get(link.parent);
        // No host that joins makes a token of the one that it was given: only a thief of that does.
        const isTokens = above !== undefined && isTokenGrant(link) && isTokenGrant(above);
        if (link !== start && (isTokens || !isTokenGrant(link))) passed.push(link);
        if (below !== undefined && (isTokens || link.issuer === issuer)) found.push(below.digest);
        if (link.issuer === issuer) {
          signed.push(link.digest);
          issued.push(...found);
          through.push(...passed);
          [passed, found] = [[], []];
        }
        below = link;
        link = above;
      }
    }
    return { grant, signed, issued, through };
  }

  /**
   * Those that give all roles which the chains give, that let in what the host may let in, and that others hang on. Each role
   * by the one that lasts longest: with a fuller grant that ends in an hour a thief would have the others left out. So is
   * what may be let in, and the one grant that lets in the most together: so many roles a token or a renewal may need. And
   * the oldest: on another side of a broken network, where the thief has written others, the same command names it too.
   */
  #enough(chains: readonly Chain[]): Chain[] {
    const sorted = chains.toSorted(byWorth);
    const standing = sorted.filter(({ grant }) => isStanding(grant));
    if (standing.length === 0) return sorted.slice(0, 1);
    const admitting = standing.filter(({ grant }) => grant.roles.includes('admitter')).sort(byAdmits);
    const [most] = admitting.toSorted(
      (a, b) => byRank(a, b) || b.grant.admits.length - a.grant.admits.length,
    );
    const hungOn = standing.filter(({ grant }) => this.#parents.has(grant.digest));
    const chosen = [
      ...covering(standing, ({ roles }) => roles),
      ...covering(admitting, ({ admits }) => admits),
      ...(most === undefined ? [] : [most]),
      ...oldest(standing),
      ...hungOn,
    ];
    return [...new Set(chosen)];
  }
}

/** Of these, in their order, those that give what none before them does. */
function covering(chains: readonly Chain[], giving: (grant: Link) => readonly Role[]): Chain[] {
  const given = new Set<Role>();
  return chains.filter(({ grant }) => {
    const givesMore = giving(grant).some((role) => !given.has(role));
    for (const role of giving(grant)) given.add(role);
    return givesMore;
  });
}

/** One of those in force, and one of those to be renewed. */
function oldest(chains: readonly Chain[]): Chain[] {
  const byAge = (a: Chain, b: Chain) =>
    a.grant.granted_ms - b.grant.granted_ms || (a.grant.digest < b.grant.digest ? -1 : 1);
  const ranked = Map.groupBy(chains, ({ grant }) => rankOf(grant));
  return Array.from(ranked.values(), (alike) => alike.toSorted(byAge)[0]!);
}

function rankOf({ state }: Link): number {
  return RANKS.get(state) ?? RANK_LAST;
}

function isStanding(grant: Link): boolean {
  return rankOf(grant) <= RANK_STANDING_MAX;
}

function byRank(a: Chain, b: Chain): number {
  return rankOf(a.grant) - rankOf(b.grant);
}

/** The last to end first. */
function byEnd(a: Chain, b: Chain): number {
  const end = ({ grant }: Chain) => grant.notAfter_ms ?? Number.MAX_SAFE_INTEGER;
  return end(b) - end(a);
}

/** The last to end first, then the one that lets in more. */
function byAdmits(a: Chain, b: Chain): number {
  return byRank(a, b) || byEnd(a, b) || b.grant.admits.length - a.grant.admits.length;
}

/** The one through fewer hosts first, then the last to end, then the fuller one. */
function byWorth(a: Chain, b: Chain): number {
  return (
    byRank(a, b) ||
    a.through.length - b.through.length ||
    byEnd(a, b) ||
    b.grant.roles.length - a.grant.roles.length ||
    b.grant.admits.length - a.grant.admits.length ||
    (a.grant.digest < b.grant.digest ? -1 : 1)
  );
}
