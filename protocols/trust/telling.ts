/**
 * What is told of a key: by a door to a host that appeals, to a newcomer, and by a host that is refused elsewhere. The
 * records by which the key stands as it does: its chain of grants up to genesis, what revoked any of it and by what
 * right, and what ended the office of those whose revocations are void.
 *
 * Grants and revocations are for ever, and whoever has one key of an admitter or an operator writes as many as it likes
 * of any other key, which stay when that key has long been revoked. So nothing is told for being there: of each link and
 * each reason one record is, what the key hangs on first, and the rest as far as there is room.
 * Pure. Not here: who is told, and whether it believes it.
 */
import type { Hlc } from '../base/clock.ts';
import type { KeyId } from '../base/ids.ts';
import type { LedgerRecord } from '../ledger/record.ts';
import { type Grant, isAppointment, isWord, type Revocation } from './acts.ts';
import { compareCuts } from './cut.ts';
import { Cuts, silences, voids } from './cuts.ts';
import { type Gate, isPast } from './gate.ts';
import { type GrantBook, placeOf } from './grant-book.ts';
import type { Standing } from './standing.ts';

/** Of one key: one that stands is enough to be a member. */
export const GRANTS_TOLD_MAX = 8;
/** Of a token with more uses nobody is told who used it. */
const SIBLINGS_TOLD_MAX = 64;
/** Of all keys that are asked about together, whatever room there is. */
const RECORDS_TOLD_MAX = 4096;
/** No record of a grant or revocation is smaller. */
const RECORD_BYTES_LEAST = 256;
/** Of a chain of grants that nobody has made large: eight links with room to spare. Others come later. */
const CHAIN_BYTES_PLAIN = 32 << 10;

type Said = readonly (Grant | Revocation)[];

export class Telling {
  readonly #book: GrantBook;
  readonly #gate: Gate;
  readonly #standing: Standing;
  readonly #told = new Set<LedgerRecord>();
  #left_bytes: number;
  /** Whose office was told, whose dismissal, and of whom it was asked by whose office they spoke. */
  readonly #backed = new Set<KeyId>();
  readonly #dismissed = new Set<KeyId>();
  readonly #passed = new Set<KeyId>();
  readonly #judged = new Set<Grant>();
  readonly #defended = new Set<KeyId>();
  readonly #weights = new Map<Grant, number>();
  readonly #void = new Map<Grant, boolean>();

  /** @param bytes_max of all envelopes together: what has no room is left out. */
  constructor(book: GrantBook, gate: Gate, standing: Standing, bytes_max: number) {
    this.#book = book;
    this.#gate = gate;
    this.#standing = standing;
    this.#left_bytes = bytes_max;
  }

  /** In the order of their weight. */
  get records(): LedgerRecord[] {
    return [...this.#told];
  }

  /** Nothing more has room. */
  get isFull(): boolean {
    return this.#left_bytes < RECORD_BYTES_LEAST || this.#told.size >= RECORDS_TOLD_MAX;
  }

  /** By what a key stands, and nothing of what was said against any that it hangs on: that can be made large. */
  tellChain(key: KeyId): void {
    const [foremost] = this.#foremost(key);
    if (foremost === undefined) return;
    for (const { record, body } of this.#links([foremost])) {
      this.#add(record);
      if (body.parent === null) this.#appointed(record.author);
    }
  }

  tell(key: KeyId): void {
    const grants = this.#foremost(key);
    const displaced: Grant[] = [];
    this.#against(key, undefined, []);
    for (const grant of grants) {
      const links = this.#chain([grant]);
      for (const link of links) this.#judge(link);
      displaced.push(...links);
    }
    for (const link of displaced)
      for (const sibling of this.#smaller(link).standing) {
        this.#keep(sibling);
        this.#add(sibling.record);
      }
  }

  #add(record: LedgerRecord): void {
    const bytes = record.bytes.byteLength;
    if (this.#told.has(record) || bytes > this.#left_bytes || this.#told.size >= RECORDS_TOLD_MAX) return;
    this.#told.add(record);
    this.#left_bytes -= bytes;
  }

  /** Of the grants of a key those that say the most: what makes it a member, and for the longest; then why others do not. */
  #foremost(key: KeyId): Grant[] {
    const grants = this.#book.ofSubject(key).filter(({ body }) => !isAppointment(body));
    const weighed = grants.map((grant) => {
      const { count, bytes } = this.#extent(grant);
      const isMembership = grant.body.roles.includes('member');
      const rank = [this.#state(grant), Number(!isMembership), Number(bytes > CHAIN_BYTES_PLAIN)];
      return { grant, rank, end_ms: grant.body.notAfter_ms ?? Number.MAX_SAFE_INTEGER, count };
    });
    weighed.sort((a, b) => {
      const at = a.rank.findIndex((each, index) => each !== b.rank[index]);
      if (at >= 0) return a.rank[at]! - b.rank[at]!;
      return b.end_ms - a.end_ms || a.count - b.count;
    });
    return weighed.slice(0, GRANTS_TOLD_MAX).map(({ grant }) => grant);
  }

  /** 0 for what stands; what is void can be made by the thousand. */
  #state(grant: Grant): number {
    if (this.#standing.stands(grant, undefined)) return 0;
    return this.#standing.issueFault(grant) === 'over-used' ? 1 : 2;
  }

  /** All that some grants need to be let into a ledger: what they prolong, and those above them, up to genesis. */
  #chain(grants: readonly Grant[]): Set<Grant> {
    const links = this.#links(grants);
    for (const { record, body } of links) {
      this.#add(record);
      if (body.parent === null) this.#office(record.author);
    }
    return links;
  }

  #links(grants: readonly Grant[]): Set<Grant> {
    const links = new Set(grants);
    // The set grows while it is walked.
    for (const link of links) {
      const { record, body } = link;
      if (links.size > RECORDS_TOLD_MAX) break;
      for (const above of this.#directlyAbove(link)) {
        links.add(above);
        const lasting = above.record.digest === body.parent ? this.#lasting(above, record.hlc) : undefined;
        if (lasting !== undefined) links.add(lasting);
      }
    }
    return links;
  }

  #directlyAbove({ body }: Grant): Grant[] {
    const digests = [body.renews, body.parent ?? undefined];
    return digests.flatMap((digest) => (digest && this.#book.grant(digest)) || []);
  }

  /** Where a grant had ended by then: a renewal that had not. One that is good, and hangs on little. */
  #lasting(grant: Grant, stamp: Hlc): Grant | undefined {
    if (!isPast(grant.body.notAfter_ms, stamp)) return undefined;
    let best: { renewal: Grant; rank: number } | undefined;
    for (const renewal of this.#book.renewalsOf(grant.record.digest)) {
      if (isPast(renewal.body.notAfter_ms, stamp)) continue;
      const rank = this.#weight(renewal);
      if (best === undefined || rank < best.rank) best = { renewal, rank };
    }
    return best?.renewal;
  }

  /** What a grant hangs on, in bytes; more than any for one that is not good. */
  #weight(grant: Grant): number {
    let weight = this.#weights.get(grant);
    if (weight === undefined) {
      const isGood = this.#standing.issueFault(grant) === undefined;
      weight = this.#extent(grant).bytes + (isGood ? 0 : Number.MAX_SAFE_INTEGER / 2);
      this.#weights.set(grant, weight);
    }
    return weight;
  }

  /** Of a grant with all above it. */
  #extent(grant: Grant): { readonly count: number; readonly bytes: number } {
    const links = new Set([grant]);
    let bytes = 0;
    // The set grows while it is walked.
    for (const link of links) {
      bytes += link.record.bytes.byteLength;
      for (const above of this.#directlyAbove(link)) links.add(above);
    }
    return { count: links.size, bytes };
  }

  /** What was said against who has a grant, and who issued it. */
  #judge(link: Grant): void {
    if (this.#judged.has(link)) return;
    this.#judged.add(link);
    this.#keep(link);
    const { record, body } = link;
    const above = body.parent === null ? undefined : this.#book.grant(body.parent);
    const written = [link, ...this.#smaller(link).void].map((grant) => grant.record);
    this.#against(body.subject, link, []);
    this.#against(record.author, above, written);
    this.#unheard(link);
  }

  /** By whose word a grant stays where others that used its token are known, though that word may count for nothing else. */
  #keep(link: Grant): void {
    const keeping = this.#gate.keeping(link);
    if (keeping === undefined) return;
    this.#add(keeping.record);
    this.#appointed(keeping.record.author);
  }

  /** What made void what admitters above a grant have said against its subject. */
  #unheard(link: Grant): void {
    const cast = this.#book.revocationsOf(link.body.subject);
    if (cast.length === 0) return;
    const counting = new Set(this.#standing.cutsBelow(link).map(({ record }) => record.digest));
    const unheard = Map.groupBy(
      cast.flatMap(({ record }) => (counting.has(record.digest) ? [] : [record])),
      ({ author }) => author,
    );
    const links = new Set([link]);
    // The set grows while it is walked.
    for (const each of links)
      for (const above of this.#directlyAbove(each)) {
        links.add(above);
        const said = unheard.get(above.body.subject);
        if (said !== undefined) this.#against(above.body.subject, above, said);
      }
  }

  /**
   * What revoked a key, and what made void what else was said against it.
   * @param held a grant of the key, that an admitter above it may have revoked. @param written by the key.
   */
  #against(key: KeyId, held: Grant | undefined, written: readonly LedgerRecord[]): void {
    const { operators } = this.#standing;
    this.#office(key);
    const { votes = [] } = this.#standing.judgementUnder(key, held) ?? {};
    if (operators.has(key)) this.#dismissal(key, written);
    else
      for (const { record } of decisive(votes, written)) {
        this.#add(record);
        this.#office(record.author);
      }
    for (const { record } of held === undefined ? [] : decisive(this.#standing.cutsBelow(held), written)) {
      this.#add(record);
      this.#chain(this.#lastingOf(held!, record));
    }
    this.#defend(key);
  }

  /** What ended the office of those whose word against a key is void: once for each, however many it has made speak. */
  #defend(key: KeyId): void {
    if (this.#defended.has(key)) return;
    this.#defended.add(key);
    const byAuthor = Map.groupBy(this.#book.revocationsOf(key), ({ record }) => record.author);
    const byOfficer = new Map<KeyId, LedgerRecord[]>();
    for (const [author, said] of byAuthor)
      for (const [officer, acts] of this.#officersBehind(author, said)) {
        const written = byOfficer.get(officer) ?? [];
        byOfficer.set(officer, written);
        for (const { record } of acts) written.push(record);
      }
    for (const [officer, written] of byOfficer) this.#dismissal(officer, written);
  }

  /** What prolonged the grants above one by which the author of a revocation was an admitter. */
  #lastingOf(held: Grant, { author, hlc }: LedgerRecord): Grant[] {
    const links = new Set([held]);
    // The set grows while it is walked.
    for (const link of links) for (const above of this.#directlyAbove(link)) links.add(above);
    return [...links].flatMap((link) => (link.body.subject === author && this.#lasting(link, hlc)) || []);
  }

  /** By which votes an operator came to office, and what ended it. */
  #office(key: KeyId): void {
    if (!this.#standing.operators.has(key) || this.#backed.has(key)) return;
    this.#backed.add(key);
    for (const author of this.#votesFor(key)) this.#office(author);
    this.#dismissal(key, []);
    this.#defend(key);
  }

  /** The same without what ended it. */
  #appointed(key: KeyId): void {
    const keys = new Set([key]);
    // The set grows while it is walked.
    for (const each of keys) for (const author of this.#votesFor(each)) keys.add(author);
  }

  /** Of each voter one vote. @returns who they are. */
  #votesFor(key: KeyId): KeyId[] {
    const { appointedBy = [] } = this.#standing.operators.get(key) ?? {};
    // The smallest digest of all decides which of two appointments came first.
    const cast = [...Map.groupBy(appointedBy, ({ record }) => record.author)];
    for (const [, [vote]] of cast) this.#add(vote!.record);
    return cast.map(([author]) => author);
  }

  /** @param written by the key, that may be void for it. */
  #dismissal(key: KeyId, written: readonly LedgerRecord[]): void {
    if (written.length === 0 && this.#dismissed.has(key)) return;
    this.#dismissed.add(key);
    // The smallest digest of all decides which of two equal decisions came first.
    for (const cast of this.#bySeniority(this.#standing.operators.get(key)?.revokedBy ?? []))
      for (const { record } of [...decisive(cast, written), least(cast, byDigest)]) {
        this.#add(record);
        this.#office(record.author);
      }
  }

  /** Of each voter. */
  #bySeniority(votes: readonly Revocation[]): (readonly Revocation[])[] {
    const rank = (author: KeyId) => this.#standing.operators.get(author)?.rank ?? Number.POSITIVE_INFINITY;
    const cast = [...Map.groupBy(votes, ({ record }) => record.author)];
    return cast.sort(([a], [b]) => rank(a) - rank(b)).map(([, own]) => own);
  }

  /**
   * By whose office an author spoke: its own, or, where the votes for it are void, that of who cast them, and so on.
   * Nothing is told of the others: who stole the key of an operator can appoint any number.
   * @param said by that author. @returns with what each of them has said.
   */
  *#officersBehind(author: KeyId, said: Said): IterableIterator<readonly [KeyId, Said]> {
    const authors: (readonly [KeyId, Said])[] = [[author, said]];
    // The list grows while it is walked.
    for (const each of authors) {
      const [key] = each;
      if (this.#standing.operators.has(key)) yield each;
      else if (!this.#passed.has(key)) {
        this.#passed.add(key);
        const votes = Map.groupBy(this.#book.appointmentsOf(key), ({ record }) => record.author);
        for (const [voter, cast] of votes) authors.push([voter, cast]);
      }
    }
  }

  /** Of a token of few uses, the grants with smaller digests: those that stand in its place, and those that are void. */
  #smaller({ record, body }: Grant): {
    readonly standing: readonly Grant[];
    readonly void: readonly Grant[];
  } {
    const uses = body.parent === null ? null : (this.#book.grant(body.parent)?.body.uses ?? null);
    if (uses === null || uses > SIBLINGS_TOLD_MAX || body.renews !== undefined)
      return { standing: [], void: [] };
    const siblings = this.#book.children(body.parent!);
    const smaller = siblings.slice(0, placeOf(siblings, record.digest));
    const isVoid = (grant: Grant) => this.#isVoid(grant);
    const standing = smaller.filter((grant) => !isVoid(grant)).slice(0, uses);
    // A revocation can keep any number of grants, each of which another one may have made void.
    const voided = smaller.filter(isVoid).slice(0, SIBLINGS_TOLD_MAX);
    return { standing: standing.length < uses ? [] : standing, void: voided };
  }

  #isVoid(grant: Grant): boolean {
    let isVoid = this.#void.get(grant);
    if (isVoid === undefined) {
      isVoid = this.#standing.issueFault(grant) === 'void';
      this.#void.set(grant, isVoid);
    }
    return isVoid;
  }
}

/** Of revocations any of which is enough: the strictest, the first, and as many as it takes to void all that they void. */
function decisive(votes: readonly Revocation[], written: readonly LedgerRecord[]): Revocation[] {
  if (votes.length === 0) return [];
  const chosen = [least(votes, strictness), least(votes, (a, b) => a.record.hlc.ms - b.record.hlc.ms)];
  if (written.length === 0) return chosen;
  const digests = new Set(written.map(({ digest }) => digest));
  // It may keep far more than is asked about.
  const kept = ({ body }: Revocation) => new Set(body.keeps?.filter((digest) => digests.has(digest)));
  const keeping = new Map(chosen.map((vote) => [vote, kept(vote)]));
  let all: Cuts | undefined;
  let others: [Revocation, ReadonlySet<string>][] | undefined;
  for (const record of written) {
    const unmakes = isWord(record) ? silences : voids;
    if ([...keeping].some(([vote, keeps]) => unmakes(vote, keeps, record))) continue;
    all ??= new Cuts(votes);
    // It was for its author to sign, or something else is against it: who has that key can sign thousands.
    if (!(isWord(record) ? all.silence(record) : all.void(record))) continue;
    others ??= votes.map((vote) => [vote, kept(vote)]);
    const voiding = others.filter(([vote, keeps]) => unmakes(vote, keeps, record));
    const vote = least(
      voiding.map(([each]) => each),
      strictness,
    );
    keeping.set(vote, kept(vote));
  }
  return [...keeping.keys()];
}

function byDigest(a: Revocation, b: Revocation): number {
  return a.record.digest < b.record.digest ? -1 : 1;
}

function strictness(a: Revocation, b: Revocation): number {
  return compareCuts(a.body, b.body);
}

/** Among equals the smallest. */
function least(votes: readonly Revocation[], compare: (a: Revocation, b: Revocation) => number): Revocation {
  return votes.reduce((best, vote) => {
    const order = compare(vote, best) || vote.record.bytes.byteLength - best.record.bytes.byteLength;
    return order < 0 ? vote : best;
  });
}
