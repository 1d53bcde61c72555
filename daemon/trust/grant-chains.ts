/** By which grants of one key each host was let in. Pure. All grants are listed once, for as many hosts as are asked about. */
import type { KeyId } from '../../protocols/base/ids.ts';
import type { Role } from '../../protocols/base/records.ts';
import { isTokenGrant } from '../../protocols/trust/listing.ts';
import type { GrantState } from '../../protocols/trust/standing.ts';
import { byAge, byGift, type Claim, type Link, TokenUses } from './token-uses.ts';

/** A grant of a host, with what it hangs on. */
interface Chain {
  readonly grant: Link;
  /** Digests of its links that the key signed, by itself or as the maker of a token. */
  readonly signed: readonly string[];
  /** Of those issued by them, and by tokens that others of those have made. */
  readonly issued: readonly string[];
  /** Grants of others that it hangs on, up to the key: of hosts, and of tokens that another token has made. */
  readonly through: readonly Link[];
  /** The use that it takes of a token of few uses which the key made: the grant, or what that prolongs. */
  readonly use: Link | undefined;
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
  readonly #issuer: KeyId;
  readonly #kept: ReadonlySet<KeyId>;
  /** Of hosts that stay. */
  readonly #chains = new Map<KeyId, readonly Chain[]>();
  /** Digests of grants by which a token of few uses lets in hosts that stay, and of those for which it has no use left. */
  readonly #uses = new Set<string>();
  readonly #surplus = new Set<string>();

  /**
   * @param issuer whose grants hosts were let in by.
   * @param kept hosts that stay. A chain through any other is only taken where there is none without.
   */
  constructor(grants: Iterable<Link>, issuer: KeyId, kept: ReadonlySet<KeyId>) {
    this.#issuer = issuer;
    this.#kept = kept;
    for (const grant of grants) {
      this.#byDigest.set(grant.digest, grant);
      if (grant.parent !== null) this.#parents.add(grant.parent);
      const own = this.#bySubject.get(grant.subject);
      if (own === undefined) this.#bySubject.set(grant.subject, [grant]);
      else own.push(grant);
    }
    this.#allot();
  }

  /** Does the host have a grant in force, or to be renewed, that hangs on one by the issuer? */
  stands(host: KeyId): boolean {
    return this.#chainsOf(host).some(({ grant }) => isStanding(grant));
  }

  /**
   * Grants that the issuer signed and that are enough for a host to stay what it is. Who has the key of an admitter can write
   * thousands of grants of one host: these few are those that give it its roles, and on which others hang.
   */
  above(host: KeyId): Kept {
    const all = this.#chainsOf(host);
    const chains = all.filter(({ use }) => use === undefined || !this.#surplus.has(use.digest));
    const among = chains.filter((chain) => this.#isAmong(chain));
    // One that others have displaced stands again once the token is closed: a thief that has its text does that.
    const chosen = this.#enough(among.some((chain) => this.#rankOf(chain) < RANK_LAST) ? among : chains);
    // What there is no use left for would take that of another host. The token alone is named: a thief's host may have renewed it.
    if (chosen.length === 0 && all.length > 0) {
      const [oldest] = all.map(({ use }) => use!).toSorted(byAge);
      return { signed: [oldest!.parent!], issued: [], unnamed: [] };
    }
    const others = chosen.flatMap(({ through }) => through.filter((link) => !isTokenGrant(link)));
    const unnamed = others
      .map(({ subject }) => subject)
      .filter((key) => key !== this.#issuer && !this.#kept.has(key));
    return {
      signed: [...new Set(chosen.flatMap(({ signed }) => signed))],
      issued: [...new Set(chosen.flatMap(({ issued }) => issued))],
      unnamed: [...new Set(unnamed)],
    };
  }

  /**
   * Which grants of hosts that stay take the uses of tokens that have few: who has the text of one can write more for each of
   * them, that give it less, or for a host that has no need of it. So each has one use first, of those that need one.
   */
  #allot(): void {
    const taken = new TokenUses();
    /** Of each host, until when other grants give it each role. */
    const given = new Map<KeyId, Map<Role, number>>();
    const claims: Claim[] = [];
    for (const host of this.#kept) {
      const times = new Map<Role, number>();
      given.set(host, times);
      const among = this.#chainsOf(host).filter((chain) => this.#isAmong(chain));
      const lasting = among.filter(({ grant }) => rankOf(grant) < RANK_LAST);
      // A thief has sent a host away altogether, and given its place to another: it is kept by what is void.
      const chains = lasting.length > 0 ? lasting : among;
      for (const [use, alike] of Map.groupBy(chains, (chain) => chain.use)) {
        if (use === undefined) {
          for (const chain of alike.filter(({ grant }) => isStanding(grant)))
            for (const role of chain.grant.roles)
              times.set(role, Math.max(times.get(role) ?? 0, endOf(chain)));
        } else {
          const until_ms = alike.reduce((last, chain) => Math.max(last, endOf(chain)), 0);
          claims.push({ use, token: this.#byDigest.get(use.parent!)!, until_ms });
        }
      }
    }
    claims.sort((a, b) => byGift(a, b) || byAge(a.use, b.use));
    const isNeeded = ({ use, until_ms }: Claim) =>
      use.roles.some((role) => role !== 'admit' && (given.get(use.subject)?.get(role) ?? 0) < until_ms);
    const needed = Map.groupBy(claims.filter(isNeeded), ({ use }) => use.subject);
    const isMember = (host: KeyId) => Number(given.get(host)?.has('member') ?? false);
    taken.fill([...needed].sort(([a], [b]) => isMember(a) - isMember(b)).map(([, own]) => own));
    for (const claim of claims) {
      const isIn = taken.has(claim) || taken.hold(claim);
      (isIn ? this.#uses : this.#surplus).add(claim.use.digest);
    }
  }

  #chainsOf(host: KeyId): readonly Chain[] {
    let chains = this.#chains.get(host);
    if (chains === undefined) {
      const all = (this.#bySubject.get(host) ?? []).map((grant) => this.#chain(grant, this.#issuer));
      chains = all.filter(({ signed }) => signed.length > 0);
      this.#chains.set(host, chains);
    }
    return chains;
  }

  #isAmong({ through }: Chain): boolean {
    return through.every(({ subject }) => this.#kept.has(subject));
  }

  /** As it will be: what has a use of a token was not too much of it. */
  #rankOf({ grant, use }: Chain): number {
    const isIn = use !== undefined && this.#uses.has(use.digest);
    return isIn && grant.state === 'over-used' ? 0 : rankOf(grant);
  }

  #useOf(grant: Link): Link | undefined {
    const use = grant.renews === null ? grant : this.#byDigest.get(grant.renews);
    const token = use?.parent == null ? undefined : this.#byDigest.get(use.parent);
    if (token === undefined || token.uses === null || token.issuer !== this.#issuer) return undefined;
    return isTokenGrant(token) ? use : undefined;
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
    return { grant, signed, issued, through, use: this.#useOf(grant) };
  }

  /**
   * Those that give all roles which the chains give, that let in what the host may let in, and that others hang on. Each role
   * by the one that lasts longest: with a fuller grant that ends in an hour a thief would have the others left out. So is
   * what may be let in, and the one grant that lets in the most together: so many roles a token or a renewal may need. And
   * the oldest: on another side of a broken network, where the thief has written others, the same command names it too.
   */
  #enough(chains: readonly Chain[]): Chain[] {
    const sorted = chains.toSorted((a, b) => this.#rankOf(a) - this.#rankOf(b) || byWorth(a, b));
    const standing = sorted.filter((chain) => this.#rankOf(chain) <= RANK_STANDING_MAX);
    if (standing.length === 0) return sorted.slice(0, 1);
    const admitting = standing
      .filter(({ grant }) => grant.roles.includes('admitter'))
      .sort((a, b) => this.#rankOf(a) - this.#rankOf(b) || byAdmits(a, b));
    const [most] = admitting.toSorted(
      (a, b) => this.#rankOf(a) - this.#rankOf(b) || b.grant.admits.length - a.grant.admits.length,
    );
    const hungOn = standing.filter(({ grant }) => this.#parents.has(grant.digest));
    const chosen = [
      ...covering(standing, ({ roles }) => roles),
      ...covering(admitting, ({ admits }) => admits),
      ...(most === undefined ? [] : [most]),
      ...this.#oldest(standing),
      ...hungOn,
    ];
    return [...new Set(chosen)];
  }

  /** One of those in force, and one of those to be renewed. */
  #oldest(chains: readonly Chain[]): Chain[] {
    const ranked = Map.groupBy(chains, (chain) => this.#rankOf(chain));
    return Array.from(ranked.values(), (alike) => alike.toSorted((a, b) => byAge(a.grant, b.grant))[0]!);
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

function rankOf({ state }: Link): number {
  return RANKS.get(state) ?? RANK_LAST;
}

function isStanding(grant: Link): boolean {
  return rankOf(grant) <= RANK_STANDING_MAX;
}

function endOf({ grant }: Chain): number {
  return grant.notAfter_ms ?? Number.MAX_SAFE_INTEGER;
}

/** The last to end first. */
function byEnd(a: Chain, b: Chain): number {
  return endOf(b) - endOf(a);
}

/** The last to end first, then the one that lets in more. */
function byAdmits(a: Chain, b: Chain): number {
  return byEnd(a, b) || b.grant.admits.length - a.grant.admits.length;
}

/** The one through fewer hosts first, then the last to end, then the fuller one. */
function byWorth(a: Chain, b: Chain): number {
  return (
    a.through.length - b.through.length ||
    byEnd(a, b) ||
    b.grant.roles.length - a.grant.roles.length ||
    b.grant.admits.length - a.grant.admits.length ||
    (a.grant.digest < b.grant.digest ? -1 : 1)
  );
}
