/**
 * How this node revokes: what a revocation would change, and writing it, with those that close the tokens which it keeps.
 * What it changes follows from protocols/trust; who is kept by which grants is for grant-chains.ts.
 */
import { HLC_AHEAD_MS_MAX } from '../../protocols/base/clock.ts';
import type { Crypto, Signer } from '../../protocols/base/crypto.ts';
import { ShoalError } from '../../protocols/base/errors.ts';
import { type KeyId, type NodeId, shortId } from '../../protocols/base/ids.ts';
import { KEEPS_MAX, type RevokeBody } from '../../protocols/base/records.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { isWord, readGrant, revokeBody } from '../../protocols/trust/acts.ts';
import type { Authority } from '../../protocols/trust/authority.ts';
import { type Cut, compareCuts, cutAfter, isAfter, NOTHING } from '../../protocols/trust/cut.ts';
import { STAMP_LATE_MS } from '../../protocols/trust/cuts.ts';
import {
  type GrantInfo,
  isStanding,
  isTokenGrant,
  type RevocationInfo,
} from '../../protocols/trust/listing.ts';
import { foresee, type Outcome } from '../../protocols/trust/outcome.ts';
import type { ClusterView } from '../../protocols/view/view.ts';
import { sealAct } from '../admission.ts';
import type { Clock } from '../clock.ts';
import type { LedgerDriver } from '../drivers/ledger-driver.ts';
import { type ActWriter, type Author, keyOf } from './act-writer.ts';

/** By how much a host's stamps may be ahead of this clock for that to be behind, whatever others say. */
const SUBJECT_AHEAD_MS_MAX = 86_400_000;
/** What users wrote: told to them before a revocation voids it. */
const WANTED_KINDS = ['workload', 'tag', 'image', 'intent'] as const;
/** Hosts that a message names: any number may have let in the same one. */
const HOSTS_TOLD_MAX = 8;
/** Of a draft that goes nowhere. */
const NO_SIGNATURE = new Uint8Array(64);

export interface RevokeRequest {
  readonly subject: KeyId;
  /** What people call it, for the message when that is refused. */
  readonly name?: string;
  readonly reason: string;
  /** The last record of the subject that counts; absent: the last that is known here. */
  readonly cut?: Cut;
  /** Void also what it granted before the cut. Default false. */
  readonly descendants?: boolean;
  /** Digests of grants by it, and of revocations, that stay in any case. */
  readonly keeps?: readonly string[];
  /** Of what was issued by those: what stays. Nothing else does that was issued by their tokens, or will be. */
  readonly issued?: readonly string[];
  /** Hosts that are to stay by that. Nothing closes their keys: a thief may have granted one like a token. */
  readonly hosts?: readonly KeyId[];
  /** Of them those that people named, operators that they named, and keys that stay although nobody did: told in the plan. */
  readonly named?: readonly KeyId[];
  readonly namedOperators?: readonly KeyId[];
  readonly unnamed?: readonly KeyId[];
  /** An operator's key to do it with; absent: the one kept here, or this node's own. */
  readonly signer?: Signer;
}

export interface RevocationsInit {
  readonly self: NodeId;
  readonly ledger: LedgerDriver;
  readonly crypto: Crypto;
  readonly clock: Clock;
  /** The operator's key that is kept on this host, if any. */
  readonly operator: Signer | undefined;
  readonly members: () => ClusterView['members'];
  readonly writer: ActWriter;
}

export class Revocations {
  readonly #init: RevocationsInit;

  constructor(init: RevocationsInit) {
    this.#init = init;
  }

  /**
   * Writes a revocation, and those that close the tokens which it keeps: whoever made a token may have its secret still. All
   * at once, for in the place of who joined with an open one its thief can put others. What its author has said before is
   * not written again: nothing would come of it, and revocations are kept for ever; but what it said by a clock that was
   * ahead is, for nobody else takes that in. Of an operator's key each is one vote of several that it may take.
   * @throws E_NOT_ALLOWED when neither key here may: nothing was changed.
   */
  async revoke(request: RevokeRequest): Promise<RevocationInfo> {
    // One that changes nothing is refused here: the ledger would take it from whoever once had the right.
    const { closings, outcome } = this.#plan(request);
    const signer = request.signer ?? this.#revoker(request);
    const author = keyOf(signer);
    const before = Map.groupBy(this.#authority.revocations(), ({ subject }) => subject);
    const saidOf = (one: RevokeRequest) => {
      const upTo_ms = this.#stamp_ms(author, one.subject) + HLC_AHEAD_MS_MAX;
      const body = this.#revokeBody(one);
      const said = before.get(one.subject) ?? [];
      return said.filter((each) => each.written_ms <= upTo_ms && saysAgain(each, author, body));
    };
    const said = saidOf(request).find(
      ({ effective, votes }) => effective || votes === outcome.revocation.votes,
    );
    const lacking = closings.filter((closing) => !saidOf(closing).some(({ effective }) => effective));
    const written = await this.#write(signer, said === undefined ? [...lacking, request] : lacking);
    return said ?? this.#revocation(written.at(-1)!.digest);
  }

  /** What `revoke` would change. @throws E_NOT_ALLOWED as `revoke` */
  foresee(request: RevokeRequest): Outcome {
    return this.#plan(request).outcome;
  }

  /**
   * All trust as it would be once this was written, and with it, for those who have joined, that which closes the tokens of
   * the key that have ended themselves.
   * @throws E_NOT_ALLOWED as `revoke`
   */
  imagine(request: RevokeRequest): Authority {
    const { subject: key, reason } = request;
    const ended = new Set<KeyId>();
    for (const { subject, by } of this.#authority.revocations()) if (by === subject) ended.add(subject);
    const grants = [...this.#authority.grants(this.#init.clock.now())];
    const tokens = grants.filter(
      (grant) => grant.issuer === key && isTokenGrant(grant) && ended.has(grant.subject),
    );
    const issued = Map.groupBy(
      grants.filter(({ renews }) => renews === null),
      ({ issuer }) => issuer,
    );
    const closings = Array.from(new Set(tokens.map(({ subject }) => subject)), (subject) => {
      return { subject, reason, ...keeping(issued.get(subject) ?? []) };
    });
    const after = this.#authority.fork();
    for (const draft of this.#draft(request, closings)) after.add(draft);
    return after;
  }

  /**
   * Revocations by a key that count up to the cut, but for those of who is to stay. Where its descendants go so do those of its
   * revocations that are not named: its thief could sign more of them under old numbers. There may be thousands of nobody: of
   * more than there is room for first those of who would be something again, then those of who was ever granted anything; one
   * of each key, the strictest, before its others; then by digest, so that nothing hangs on the order in which they came.
   * @param request with the grants that it keeps.
   */
  rightful(request: RevokeRequest, staying: ReadonlySet<KeyId>): string[] {
    const { subject: key, cut } = request;
    const { ledger, authority } = this.#init.ledger.machine;
    const written = [...ledger.recordsOf(key)].filter(
      (record) => record.kind === 'revoke' && (cut === undefined || !isAfter(record, cut)),
    );
    if (written.length === 0) return [];
    const upTo = new Set(written.map(({ digest }) => digest));
    const counting = [...authority.revocations()].filter(
      ({ digest, subject, effective }) =>
        effective && upTo.has(digest) && subject !== key && !staying.has(subject),
    );
    return this.#foremost(counting, request);
  }

  /**
   * Revocations and votes by a key that count up to the cut, and that a revocation would leave out for its stamp alone, where
   * the clock is behind: it has to name them. Of more than there is room for votes for operators first, then as of `rightful`.
   */
  outstamped(request: RevokeRequest): string[] {
    const { subject: key, cut, keeps = [] } = request;
    const { ledger, authority } = this.#init.ledger.machine;
    const author = keyOf(request.signer ?? this.#revoker(request));
    const upTo_ms = this.#stamp_ms(author, key) + STAMP_LATE_MS;
    const late = [...ledger.recordsOf(key)].filter(
      (record) => record.hlc.ms > upTo_ms && isWord(record) && (cut === undefined || !isAfter(record, cut)),
    );
    const digests = late.map(({ digest }) => digest);
    const room = KEEPS_MAX - keeps.length;
    if (late.length <= room) return digests;
    const operators = new Set(authority.operators().map((operator) => operator.key));
    const votes = new Map<KeyId, string>();
    for (const record of late) {
      const { body } = readGrant(record) ?? {};
      if (body !== undefined && operators.has(body.subject)) votes.set(body.subject, record.digest);
    }
    const named = [...votes.values()].slice(0, room);
    const among = new Set(digests);
    const counting = [...authority.revocations()].filter(
      ({ digest, effective }) => effective && among.has(digest),
    );
    return [...named, ...this.#foremost(counting, { ...request, keeps: [...keeps, ...named] })];
  }

  /** As many of these as there is room for beside what is kept: those first that matter most. */
  #foremost(counting: readonly RevocationInfo[], request: RevokeRequest): string[] {
    const room = KEEPS_MAX - (request.keeps?.length ?? 0);
    if (counting.length <= room) return counting.map(({ digest }) => digest);
    const granted = new Set(
      Array.from(this.#authority.grants(this.#init.clock.now()), ({ subject }) => subject),
    );
    const returning = this.#inForceAfter(request);
    const rankOf = (subject: KeyId) => (returning.has(subject) ? 0 : granted.has(subject) ? 1 : 2);
    const strictness = (a: RevocationInfo, b: RevocationInfo) =>
      Number(b.descendants) - Number(a.descendants) || compareCuts(a, b) || (a.digest < b.digest ? -1 : 1);
    return Array.from(
      Map.groupBy(counting, ({ subject }) => subject),
      ([subject, cast]) =>
        cast.toSorted(strictness).map(({ digest }, place) => ({ digest, place, rank: rankOf(subject) })),
    )
      .flat()
      .sort((a, b) => a.rank - b.rank || a.place - b.place || (a.digest < b.digest ? -1 : 1))
      .slice(0, room)
      .map(({ digest }) => digest);
  }

  /** The same once so many operators have said this as it takes: a vote that waits names what is to stay then. */
  imagineAgreed(request: RevokeRequest): Authority {
    const after = this.imagine(request);
    for (const { key, inForce } of this.#authority.operators()) {
      if (!inForce || key === request.subject) continue;
      const [vote] = this.#draft({ ...request, signer: unsigned(key) });
      after.add(vote!);
    }
    return after;
  }

  /** Keys that may do something then, or could until their grant ended. */
  #inForceAfter(request: RevokeRequest): Set<KeyId> {
    const after = this.imagineAgreed(request);
    const found = new Set<KeyId>();
    for (const { key, inForce } of after.operators()) if (inForce) found.add(key);
    for (const grant of after.grants(this.#init.clock.now())) if (isStanding(grant)) found.add(grant.subject);
    return found;
  }

  /** @returns besides what it would change which tokens it closes: those that its author may close once all is written. */
  #plan(request: RevokeRequest): { readonly outcome: Outcome; readonly closings: readonly RevokeRequest[] } {
    const bare = this.#outcome(request, []);
    if (bare.kept.length === 0) return { outcome: bare, closings: [] };
    const tried = this.#closings(bare.kept, request);
    const all = this.#outcome(request, tried);
    const open = new Set(all.kept.map(({ subject }) => subject));
    const closings = tried.filter(({ subject }) => !open.has(subject));
    const outcome = open.size === 0 ? all : this.#outcome(request, closings);
    const { effective, votes, needed } = outcome.revocation;
    if (effective || votes >= needed || closings.length === 0) return { outcome, closings };
    // A vote that waits for others ends nobody: who joined goes with the one that makes it enough.
    const closed = bare.kept.filter(({ subject }) => !open.has(subject));
    const waiting = this.#closings(closed, request, true);
    return { outcome: { ...this.#outcome(request, waiting), open: outcome.open }, closings: waiting };
  }

  #outcome(request: RevokeRequest, closings: readonly RevokeRequest[]): Outcome {
    const { ledger, clock } = this.#init;
    const now = clock.now();
    const drafts = this.#draft(request, closings);
    const { author } = drafts.at(-1)!;
    const wanted = WANTED_KINDS.flatMap((kind) =>
      [...ledger.machine.ledger.ofKind(kind)].flatMap(([, records]) => records),
    );
    const planned = {
      revocation: drafts.at(-1)!,
      others: drafts.slice(0, -1),
      issued: new Set(request.issued),
      hosts: request.hosts ?? [],
      named: request.named ?? [],
      namedOperators: request.namedOperators ?? [],
      unnamed: request.unnamed ?? [],
      up: new Set(Array.from(ledger.machine.ledger.ofKind('member'), ([key]) => key)),
    };
    const outcome = foresee(this.#authority, planned, wanted, now);
    // The votes of others against the same key say nothing of this one.
    if (!outcome.revocation.effective && !this.#authority.mayRevoke(author, request.subject, now))
      throw new ShoalError(
        'E_NOT_ALLOWED',
        `the key ${shortId(author)} is no operator of this cluster, or is one no more, and may not revoke ${request.name ?? shortId(request.subject)}; nothing was changed`,
      );
    return outcome;
  }

  /**
   * That no host may join with this token any more; those that did stay.
   * @param subject the token's key. @throws E_NOT_FOUND
   */
  tokenRevocation(subject: KeyId, reason: string): RevokeRequest {
    const grants = [...this.#authority.grants(this.#init.clock.now())];
    if (!grants.some((grant) => grant.subject === subject && grant.roles.includes('admit')))
      throw new ShoalError('E_NOT_FOUND', `there is no token with the key ${shortId(subject)}`);
    const joined = grants.filter(({ issuer, renews }) => issuer === subject && renews === null);
    return { subject, reason, ...keeping(joined) };
  }

  /**
   * The same of each key of these tokens, but that of who joined only those stay that are named.
   * @param waits all stay that do now, until there are enough votes.
   */
  #closings(
    tokens: readonly GrantInfo[],
    { reason, signer, issued = [] }: RevokeRequest,
    waits = false,
  ): RevokeRequest[] {
    const staying = new Set(issued);
    const kept = [...this.#authority.grants(this.#init.clock.now())].filter(
      (grant) => staying.has(grant.digest) || (waits && grant.renews === null && isLeft(grant)),
    );
    const byIssuer = Map.groupBy(kept, ({ issuer }) => issuer);
    const signed = signer === undefined ? {} : { signer };
    return Array.from(new Set(tokens.map(({ subject }) => subject)), (subject) => {
      return { subject, reason, ...keeping(byIssuer.get(subject) ?? [], staying), ...signed };
    });
  }

  /** @param before what its author writes before it. */
  #revokeBody(
    { subject, reason, cut, descendants = false, keeps = [] }: RevokeRequest,
    before: readonly LedgerRecord[] = [],
  ): RevokeBody {
    const { ledger } = this.#init.ledger.machine;
    // All by one signer. A key that ends itself closes its tokens first, and by its cut, or with its descendants, that would go
    // too. It has room before other revocations: there may be thousands, and an open token lets in others for those that stay.
    const own = before[0]?.author === subject ? before.map(({ digest }) => digest) : [];
    const isGrant = (digest: string) => this.#authority.grant(digest) !== undefined;
    const grants = keeps.filter(isGrant);
    const words = keeps.filter((digest) => !isGrant(digest));
    const named = own.length === 0 ? keeps : [...grants, ...own, ...words].slice(0, KEEPS_MAX);
    const last = cut ?? cutAfter([...ledger.recordsOf(subject), ...(own.length === 0 ? [] : before)]);
    return revokeBody({ subject, reason, cut: last, descendants, keeps: named });
  }

  /** As they would be written, but that nobody has signed them. */
  #draft(request: RevokeRequest, closings: readonly RevokeRequest[] = []): LedgerRecord[] {
    return this.#seal(unsigned(keyOf(request.signer ?? this.#revoker(request))), [...closings, request]);
  }

  /** In their order: so a key that revokes itself closes tokens while it may. */
  #seal(signer: Signer, requests: readonly RevokeRequest[]): LedgerRecord[] {
    const { ledger, crypto } = this.#init;
    const { machine } = ledger;
    const sealed: LedgerRecord[] = [];
    for (const request of requests) {
      const record = sealAct({
        cluster: machine.cluster,
        signer,
        kind: 'revoke',
        body: this.#revokeBody(request, sealed),
        // Each comes after the one before.
        known: sealed.length > 0 ? sealed.slice(-1) : machine.ledger.recordsOf(signer.id),
        crypto,
        now: this.#stamp_ms(signer.id, request.subject),
      });
      sealed.push(record);
    }
    return sealed;
  }

  /**
   * Of a revocation that is written now. A clock may be behind, as without a battery: what the subject wrote up to the cut
   * would not count by a stamp of before. Acts may be this host's own by a clock that was ahead, and those that are later are
   * named (`outstamped`). By more than a day others have to be as far: while this clock was ahead, one of ill will can have
   * written what all others would refuse a revocation for.
   */
  #stamp_ms(author: KeyId, subject: KeyId): number {
    const { self, ledger, clock } = this.#init;
    const { machine } = ledger;
    const now = clock.now();
    if (author === self) return Math.max(now, machine.stamped_ms);
    const latest_ms = (records: Iterable<LedgerRecord>) => {
      let latest = now;
      for (const { kind, hlc } of records)
        if (kind !== 'grant' && kind !== 'revoke') latest = Math.max(latest, hlc.ms);
      return latest;
    };
    const written_ms = latest_ms(machine.ledger.recordsOf(subject));
    if (written_ms <= now + SUBJECT_AHEAD_MS_MAX) return written_ms;
    const others = [...machine.ledger.records()].filter(
      (record) => record.author !== subject && record.author !== self,
    );
    return Math.min(written_ms, latest_ms(others));
  }

  /** All or none: by the node's own key in one batch, by another in one transaction. */
  async #write(signer: Author, requests: readonly RevokeRequest[]): Promise<readonly LedgerRecord[]> {
    if (requests.length === 0) return [];
    if (typeof signer === 'string')
      return await Promise.all(
        requests.map((request) => this.#init.writer.write(signer, 'revoke', this.#revokeBody(request))),
      );
    const records = this.#seal(signer, requests);
    await this.#init.writer.introduce(records);
    return records;
  }

  #revoker({ subject, name = shortId(subject) }: RevokeRequest): Author {
    const { self, operator, clock } = this.#init;
    const now = clock.now();
    if (operator !== undefined && this.#authority.mayRevoke(operator.id, subject, now)) return operator;
    if (this.#authority.mayRevoke(self, subject, now)) return self;
    const hosts = this.#admittersOf(subject, now).slice(0, HOSTS_TOLD_MAX);
    const there = hosts.length === 0 ? '' : `at ${hosts.join(' or ')}, or `;
    throw new ShoalError(
      'E_NOT_ALLOWED',
      `neither this node nor a key kept on it may revoke ${name}: do it ${there}where an operator's key is, or give one with --operator-key`,
    );
  }

  /** Names of members that may revoke it by their own keys: those first that let it in, then who let in those. */
  #admittersOf(subject: KeyId, now: number): string[] {
    const above = new Set<string>();
    const keys = new Set<KeyId>();
    for (const grant of this.#authority.grants(now)) {
      if (grant.subject !== subject || grant.renews !== null) continue;
      for (let { parent } = grant; parent !== null && !above.has(parent); ) {
        above.add(parent);
        const by = this.#authority.grant(parent);
        if (by === undefined) break;
        keys.add(by.subject);
        parent = by.parent;
      }
    }
    const members = this.#init.members();
    return [...keys]
      .filter((key) => key !== subject && members.has(key) && this.#authority.mayRevoke(key, subject, now))
      .map((key) => members.get(key)!.name);
  }

  #revocation(digest: string): RevocationInfo {
    for (const revocation of this.#authority.revocations())
      if (revocation.digest === digest) return revocation;
    throw new Error('a revocation that was written is not there');
  }

  get #authority(): Authority {
    return this.#init.ledger.machine.authority;
  }
}

/**
 * What a revocation of a token leaves of what was issued with it. That hangs on any of the grants of the token's key: who
 * made the token may have granted it again, and a thief of that key has.
 * @param named digests of those that are kept by name, also where others have taken the uses.
 */
function keeping(
  joined: readonly GrantInfo[],
  named: ReadonlySet<string> = new Set(),
): Pick<RevokeRequest, 'keeps' | 'cut'> {
  // Of more than fit the first to go are those that are void already: a thief may have written them.
  const standing = joined.filter((grant) => named.has(grant.digest) || isLeft(grant));
  const kept = joined.length <= KEEPS_MAX ? joined : standing;
  if (kept.length <= KEEPS_MAX) return { keeps: kept.map(({ digest }) => digest), cut: NOTHING };
  // Too many to name: all stay, and the doors alone see to it that no more come.
  return { cut: { epoch: Number.MAX_SAFE_INTEGER, last: Number.MAX_SAFE_INTEGER } };
}

function unsigned(id: KeyId): Signer {
  return { id, sign: () => NO_SIGNATURE };
}

function isLeft({ state }: GrantInfo): boolean {
  return state !== 'void' && state !== 'over-used';
}

/** Does a revocation say the same as one by this key would? */
function saysAgain(said: RevocationInfo, by: KeyId, body: RevokeBody): boolean {
  const { keeps = [] } = body;
  return (
    said.subject === body.subject &&
    said.by === by &&
    said.epoch === body.epoch &&
    said.last === body.last &&
    said.reason === body.reason &&
    said.descendants === (body.descendants ?? false) &&
    said.keeps.length === keeps.length &&
    said.keeps.every((kept) => keeps.includes(kept))
  );
}
