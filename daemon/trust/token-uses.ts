/** Which hosts have the uses of tokens, where more could have one than a token has. Pure. Who needs one: grant-chains.ts. */
import type { KeyId } from '../../protocols/base/ids.ts';
import type { GrantInfo } from '../../protocols/trust/listing.ts';

export type Link = Pick<
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
  | 'uses'
  | 'state'
>;

/** What a host could have: a use of a token, and until when that lets it in, milliseconds. */
export interface Claim {
  readonly use: Link;
  readonly token: Link;
  readonly until_ms: number;
}

/** One that could have a use, and one that has it. */
interface Move {
  readonly claim: Claim;
  readonly holder: Claim;
}

export function byAge(a: Link, b: Link): number {
  return a.granted_ms - b.granted_ms || (a.digest < b.digest ? -1 : 1);
}

/** The one that gives more first: what a join gives is all that the token may. Then the longer one, then what it lets in. */
export function byGift(a: Claim, b: Claim): number {
  const given = ({ use }: Claim) => use.roles.filter((role) => role !== 'admit').length;
  return given(b) - given(a) || b.until_ms - a.until_ms || b.use.admits.length - a.use.admits.length;
}

export class TokenUses {
  readonly #holders = new Map<Link, Set<Claim>>();
  readonly #claims = new Map<KeyId, readonly Claim[]>();

  has(claim: Claim): boolean {
    return this.#holdersOf(claim).has(claim);
  }

  /** @returns false: none is left. */
  hold(claim: Claim): boolean {
    const holders = this.#holdersOf(claim);
    if (holders.size >= claim.token.uses!) return false;
    holders.add(claim);
    return true;
  }

  /**
   * One for each host, wherever there is one for each: those before it go to others that they could have (augmenting paths,
   * Kuhn 1955), for less than what they had only where it would have none.
   * @param hosts the claims of each, the best first.
   */
  fill(hosts: readonly (readonly Claim[])[]): void {
    for (const claims of hosts) this.#claims.set(claims[0]!.use.subject, claims);
    for (const isForLess of [false, true])
      for (const claims of hosts)
        if (!claims.some((claim) => this.has(claim)))
          for (const alike of levels(claims)) if (this.#place(alike, isForLess)) break;
  }

  /** In a loop: who has stolen a key can make tokens, and with them a path, by the thousand. */
  #place(claims: readonly Claim[], isForLess: boolean): boolean {
    if (claims.some((claim) => this.hold(claim))) return true;
    const seen = new Set<Link>();
    /** What is left to try at each host of the path, and what led from each to the next. */
    const path = [this.#moves(claims, seen)];
    const made: Move[] = [];
    while (path.length > 0) {
      const move = path.at(-1)!.next().value;
      if (move === undefined) {
        path.pop();
        made.pop();
        continue;
      }
      made.push(move);
      const { claim, holder } = move;
      const others = this.#claims
        .get(holder.use.subject)!
        .filter((other) => other.token !== claim.token && (isForLess || byGift(other, holder) <= 0));
      if (others.some((other) => this.hold(other))) {
        for (const each of made) this.#holdersOf(each.claim).delete(each.holder);
        for (const each of made) this.#holdersOf(each.claim).add(each.claim);
        return true;
      }
      path.push(this.#moves(others, seen));
    }
    return false;
  }

  *#moves(claims: readonly Claim[], seen: Set<Link>): Generator<Move, undefined> {
    for (const claim of claims) {
      if (seen.has(claim.token)) continue;
      seen.add(claim.token);
      for (const holder of this.#holdersOf(claim)) yield { claim, holder };
    }
  }

  #holdersOf({ token }: Claim): Set<Claim> {
    let holders = this.#holders.get(token);
    if (holders === undefined) {
      holders = new Set();
      this.#holders.set(token, holders);
    }
    return holders;
  }
}

/** Those that give the same. @param claims the best first. */
function levels(claims: readonly Claim[]): Claim[][] {
  const found: Claim[][] = [];
  for (const claim of claims) {
    const last = found.at(-1);
    if (last !== undefined && byGift(last[0]!, claim) === 0) last.push(claim);
    else found.push([claim]);
  }
  return found;
}
