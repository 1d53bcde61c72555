/**
 * How trust changes at this node: it appoints, renews the grants of others, answers keys that appeal at its door, and
 * notices when its own key may do no more. What it decides follows from protocols/trust; here it is signed, written and
 * told. Not here: who is let in with a token (admission.ts), and who is revoked (trust/revocations.ts).
 */

import { HLC_AHEAD_MS_MAX } from '../protocols/base/clock.ts';
import type { Crypto, Signer } from '../protocols/base/crypto.ts';
import { isShoalError, ShoalError } from '../protocols/base/errors.ts';
import { type KeyId, type NodeId, shortId } from '../protocols/base/ids.ts';
import type { GrantBody } from '../protocols/base/records.ts';
import { type LedgerRecord, openRecord, verifyRecord } from '../protocols/ledger/record.ts';
import { operatorGrant } from '../protocols/trust/acts.ts';
import { actsFor, heeded, inPlaceOf, isAct, ownGrant } from '../protocols/trust/appeal.ts';
import type { Authority } from '../protocols/trust/authority.ts';
import type { GrantInfo } from '../protocols/trust/listing.ts';
import { OPERATORS_EVER_MAX } from '../protocols/trust/operators.ts';
import { renewableUntil, renewalOnAppeal, renewalsDue, worriesAt } from '../protocols/trust/renewal.ts';
import type { ClusterView } from '../protocols/view/view.ts';
import {
  ACTS_BYTES_MAX,
  type Appeal,
  encodeAppeal,
  encodeWelcome,
  OWN_BYTES_MAX,
  openAnswer,
} from './admission.ts';
import type { Appointment } from './api/trust-schemas.ts';
import { attempt } from './attempt.ts';
import type { Clock } from './clock.ts';
import type { LedgerDriver } from './drivers/ledger-driver.ts';
import type { Log } from './log.ts';
import { isKnown } from './stored-ledger.ts';
import { ActWriter, type Author, keyOf } from './trust/act-writer.ts';
import { Appeals, type MemberDoors } from './trust/appeals.ts';
import { COPIED_CODE, copiedMembers } from './trust/copied-keys.ts';
import { flaggedKeys } from './trust/flagged-keys.ts';
import { inHeardOrder } from './trust/heard-order.ts';
import { Hearings } from './trust/hearings.ts';
import { namesakes, namesakesText } from './trust/namesakes.ts';
import { Revocations } from './trust/revocations.ts';

/** How often it says that its own end is near. */
const WORRY_MS = 3_600_000;
/** Between two lines of the log about one key that two daemons run with. */
const COPIED_SAID_MS = 3_600_000;
/**
 * All grants and revocations are told to a newcomer up to this size; beyond it, what it needs to begin with, and no more
 * than this either. With genesis and where members are it is an answer that a door may give.
 */
const TOLD_BYTES_MAX = 512 << 10;

/** An appeal that no door answered is followed by one that brings less than this part of it. */
const SHRINKING = 4;

/** Why a node whose disk is damaged may be no member in its own eyes alone. */
const MISSING = 'grants that make it a member are missing on its damaged disk';

/** How this node's own key stands. */
export interface OwnStanding {
  /**
   * `expired`: it may be renewed, or join anew. `revoked`: for good. `evicted`: its grant was never good, or is no more,
   * by what became known of its token or of who made that; or what it hangs on is missing here.
   */
  readonly state: 'member' | 'expired' | 'revoked' | 'evicted';
  /** When its grant ends or ended; null: never. */
  readonly until_ms: number | null;
  /** Until when an admitter may renew it, as far as is known here; null: it has no end, or cannot be renewed. */
  readonly renewableUntil_ms: number | null;
  /** Why, in the words of who revoked it, or of this node. */
  readonly reason: string | null;
}

export interface ClusterTrustInit {
  readonly self: NodeId;
  readonly genesis: LedgerRecord;
  readonly ledger: LedgerDriver;
  readonly crypto: Crypto;
  readonly clock: Clock;
  readonly log: Log;
  /** The operator's key that is kept on this host, if any. */
  readonly operator: Signer | undefined;
  /** The disk has lost records, and members may bring them again. */
  readonly isPartial: () => boolean;
  readonly members: () => ClusterView['members'];
  /** Doors of those that are in no list of members, and may be members all the same. */
  readonly unlisted: () => readonly Pick<MemberDoors, 'id' | 'doors'>[];
  /** Members connected now. */
  readonly peers: () => readonly NodeId[];
  /** One knock at the doors of one member. */
  readonly knock: (doors: readonly string[], body: Uint8Array) => Promise<Uint8Array>;
}

export class ClusterTrust {
  readonly #init: ClusterTrustInit;
  #told: OwnStanding['state'] | 'missing' | 'ended' = 'member';
  /** Keys that it has told of. */
  readonly #flagged = new Set<KeyId>();
  /** Names of several members, while they are. */
  #sameNames: ReadonlySet<string> = new Set();
  /** Of members of which two daemons run: when the log said so last. */
  readonly #copied = new Map<NodeId, number>();
  #worried_ms = Number.NEGATIVE_INFINITY;
  readonly #appeals: Appeals;
  readonly #hearings = new Hearings();
  /** The same of hosts whose own grants are compared, strangers among them. */
  readonly #comparings = new Hearings();
  #busy = false;
  /** Of what the next appeal brings. */
  #acts_bytes_max = ACTS_BYTES_MAX;
  readonly #writer: ActWriter;
  readonly revocations: Revocations;

  constructor(init: ClusterTrustInit) {
    this.#init = init;
    this.#writer = new ActWriter(init);
    this.revocations = new Revocations({ ...init, writer: this.#writer });
    this.#appeals = new Appeals(init.clock.now());
  }

  get operator(): Signer | undefined {
    return this.#init.operator;
  }

  standing(): OwnStanding {
    const { self, clock } = this.#init;
    const now = clock.now();
    const until_ms = this.#authority.memberUntil(self) ?? null;
    const ends = { until_ms, renewableUntil_ms: renewableUntil(this.#authority, self) ?? null };
    if (this.#authority.isRevoked(self)) {
      const [revocation] = [...this.#authority.revocations()].filter(
        ({ subject, effective }) => subject === self && effective,
      );
      return { ...ends, state: 'revoked', reason: revocation?.reason ?? null };
    }
    // Others are patient with a clock for a while; what is stamped after the end counts nowhere from the first moment.
    if (until_ms !== null && now > until_ms) return { ...ends, state: 'expired', reason: null };
    if (this.#authority.isMember(self, now)) return { ...ends, state: 'member', reason: null };
    const own = [...this.#authority.grants(now)].filter(({ subject }) => subject === self);
    if (this.#init.isPartial() && !this.#isJudged(own)) return { ...ends, state: 'evicted', reason: MISSING };
    const overUsed = own.length === 0 || own.some(({ state }) => state === 'over-used');
    const reason = overUsed ? 'its join token was used by too many hosts' : 'who let it in was revoked';
    return { ...ends, state: 'evicted', reason };
  }

  /** Has its grant ended, and too long ago for an admitter to renew it? */
  isEndedForGood(): boolean {
    const { state, renewableUntil_ms } = this.standing();
    return state === 'expired' && this.#init.clock.now() > (renewableUntil_ms ?? 0);
  }

  /**
   * What users ask of this node once its own grant has ended would count nowhere. One that was revoked or evicted has
   * no role left, and the ledger refuses it. @throws E_NOT_ALLOWED
   */
  assertInForce(): void {
    const { state, until_ms } = this.standing();
    if (until_ms === null || state === 'member') return;
    const next = this.isEndedForGood()
      ? 'it joins with a new token of this cluster'
      : 'an admitter has renewed the grant: connect it to one, or ask another node';
    throw new ShoalError(
      'E_NOT_ALLOWED',
      `the grant of this node ended at ${new Date(until_ms).toISOString()}; nothing was changed, for what it writes counts nowhere until ${next}`,
    );
  }

  /**
   * Votes for a new operator, once, and for none that genesis names.
   * @returns whether it is one now, and whether a vote was written. @throws E_NOT_ALLOWED
   */
  async appoint(
    subject: KeyId,
    signer: Signer | undefined = this.#init.operator,
  ): Promise<Pick<Appointment, 'effective' | 'written'>> {
    if (signer === undefined)
      throw new ShoalError('E_NOT_ALLOWED', "no operator's key is kept on this host; nothing was changed");
    this.#assertVoteCounts(subject, signer.id);
    const isKnown = this.#isOfGenesis(subject) || this.#hasVotedFor(subject, signer.id);
    if (!isKnown) await this.#writer.write(signer, 'grant', operatorGrant(subject));
    return { effective: this.#isOperator(subject), written: !isKnown };
  }

  /** Writes a grant with a key of its own, or that of this node. @throws E_NOT_ALLOWED */
  async grant(signer: Author, body: GrantBody): Promise<LedgerRecord> {
    return await this.#writer.write(signer, 'grant', body);
  }

  /** What a newcomer must know of grants and revocations to begin with. */
  records(newcomer: NodeId, others: Iterable<NodeId>): LedgerRecord[] {
    const { ledger } = this.#init.ledger.machine;
    const all = ['grant', 'revoke'].flatMap((kind) =>
      [...ledger.ofKind(kind)].flatMap(([, records]) => records),
    );
    if (sizeOf(all) <= TOLD_BYTES_MAX) return all;
    return this.#authority.about([newcomer, ...others], TOLD_BYTES_MAX);
  }

  /**
   * Answers a key that was let in before and asks how it stands; renews it when that is due and this node may.
   * Where others are kept in its place, which has so left the ledger: who they are.
   * @param brought acts: see `#heed`.
   * @throws E_TOKEN_REFUSED for keys that nobody let in, E_MALFORMED
   */
  async answerAppeal(
    from: NodeId,
    { acts, own }: Pick<Appeal, 'acts' | 'own'> = { acts: [] },
  ): Promise<Uint8Array> {
    const { self, genesis, log, clock, ledger } = this.#init;
    // Another admitter may have written it a grant since, by which it is known, and no member.
    const isMember = this.#authority.isMember(from, clock.now());
    const others = own === undefined || isMember ? [] : this.#inPlaceOf(from, own);
    if (!isKnown(ledger.machine, from)) {
      if (others.length > 0) return encodeWelcome({ genesis, grants: others, members: [] });
      throw new ShoalError('E_TOKEN_REFUSED', 'the key that knocks is no member: it needs a token');
    }
    if (acts.length > 0) await this.#heed(from, acts);
    const renewal = this.#renewal(from);
    if (renewal !== undefined) {
      // What cannot be written here, as on a full disk, another door may: it is told how it stands all the same.
      const written = await attempt(log, 'renewing the grant of a host that asked', () =>
        this.#writer.write(renewal.signer, 'grant', renewal.body),
      );
      if (written) log('info', 'renewed the grant of a host that asked', { node: from });
    }
    // One that has lost what makes this node a member refuses it, and hears of that nowhere else.
    const about = this.#authority.about([from, self], TOLD_BYTES_MAX - sizeOf(others));
    return encodeWelcome({ genesis, grants: [...others, ...about], members: [] });
  }

  /** What costs nothing is asked first, for anybody may knock. @throws E_MALFORMED */
  #inPlaceOf(from: NodeId, envelope: Uint8Array): LedgerRecord[] {
    const { ledger, crypto, clock } = this.#init;
    if (envelope.byteLength > OWN_BYTES_MAX) return [];
    const own = openRecord(envelope, crypto);
    if (own.cluster !== ledger.machine.cluster) return [];
    const others = inPlaceOf(this.#authority, from, own);
    // Some of them say nothing: of a token of so many uses that they have no room nothing can be told.
    if (others.length === 0 || sizeOf(others) > TOLD_BYTES_MAX) return [];
    return this.#comparings.hear(from, clock.now()) && verifyRecord(own, crypto) ? others : [];
  }

  /**
   * A host that is refused here knows of acts by which it is a member, such as the end of the operator who had revoked it:
   * those are taken in, and go to all others. Nothing else is. @throws E_MALFORMED
   */
  async #heed(from: NodeId, acts: readonly Uint8Array[]): Promise<void> {
    const { ledger, crypto, clock, log } = this.#init;
    const { machine } = ledger;
    const now = clock.now();
    if (this.#authority.isMember(from) || !this.#hearings.hear(from, now)) return;
    const news = acts
      .map((bytes) => openRecord(bytes, crypto))
      .filter(
        (act) =>
          act.cluster === machine.cluster &&
          isAct(act) &&
          !machine.ledger.has(act) &&
          act.hlc.ms <= now + HLC_AHEAD_MS_MAX &&
          verifyRecord(act, crypto),
      );
    const taken = heeded(this.#authority, from, news, now);
    if (taken.length === 0) return;
    const envelopes = taken.map(({ bytes }) => bytes);
    await attempt(log, 'taking in what a host brought', async () => {
      const reason = await ledger.introduce(envelopes);
      const acts = taken.map(({ digest }) => digest);
      if (reason !== undefined)
        log('warn', 'the ledger refused acts that a host brought', { node: from, acts, reason });
      if (this.#authority.isMember(from))
        log('info', 'a host that was refused brought acts by which it is a member again', {
          node: from,
          acts,
        });
    });
  }

  /** Is it known here why none of these grants stands? */
  #isJudged(own: readonly GrantInfo[]): boolean {
    if (own.some(({ state }) => state === 'over-used')) return true;
    const issuers = new Set(own.map(({ issuer }) => issuer));
    return [...this.#authority.revocations()].some(
      ({ subject, effective }) => effective && issuers.has(subject),
    );
  }

  /** Grants or revocations changed, or time went by: says once how this node stands when that is new. */
  notice(): void {
    this.#noticeFlags();
    this.#noticeCopies();
    this.#noticeNamesakes();
    const { log, clock, self } = this.#init;
    const { state, until_ms, reason } = this.standing();
    const end = until_ms === null ? null : new Date(until_ms).toISOString();
    const told = reason === MISSING ? 'missing' : this.isEndedForGood() ? 'ended' : state;
    if (told !== this.#told) {
      this.#told = told;
      if (reason === MISSING) {
        log('warn', 'this node places nothing until a member has brought what this disk has lost', {
          reason,
        });
      } else if (state === 'revoked' || state === 'evicted') {
        log('warn', `this node was ${state}: it places nothing more, and members refuse it`, { reason });
      } else if (told === 'ended') {
        log(
          'warn',
          'the grant of this node has ended, and no admitter renews it any more: let it join with a new token of this cluster',
          { end },
        );
      } else if (state === 'expired') {
        log(
          'warn',
          'the grant of this node has ended: what runs goes on, members refuse it until it is renewed',
          {
            end,
          },
        );
      } else {
        log('info', 'this node is a member again', { end });
      }
    }
    const now = clock.now();
    const worry_ms = worriesAt(this.#authority, self, now);
    if (state !== 'member' || worry_ms === undefined || now < worry_ms) return;
    if (Math.abs(now - this.#worried_ms) < WORRY_MS) return;
    this.#worried_ms = now;
    log('warn', 'the grant of this node ends soon, and no admitter has renewed it', { end });
  }

  /** Who proved it has said so in its log; all others say it here. */
  #noticeFlags(): void {
    for (const [key, by] of flaggedKeys(this.#init.ledger.machine)) {
      if (this.#flagged.has(key)) continue;
      this.#flagged.add(key);
      const message = 'a key signed two records with one number: it was copied or stolen, revoke it if so';
      this.#init.log('warn', message, { key, by });
    }
  }

  /** Every few seconds: renews what is due, and appeals when this node is refused. */
  async tick(): Promise<void> {
    this.notice();
    if (this.#busy) return;
    this.#busy = true;
    try {
      await this.#renewOthers();
      await this.#appeal();
    } finally {
      this.#busy = false;
    }
  }

  /** Once in a while for each: who adds and removes it fills no log. The two themselves have said it already. */
  #noticeCopies(): void {
    const { members, self, clock, log } = this.#init;
    const now = clock.now();
    for (const { id, name, addresses, copy } of copiedMembers(members(), self)) {
      const said_ms = this.#copied.get(id) ?? Number.NEGATIVE_INFINITY;
      if (Math.abs(now - said_ms) < COPIED_SAID_MS) continue;
      this.#copied.set(id, now);
      log('warn', 'two daemons run with the key of one member: stop one of them', {
        code: COPIED_CODE,
        node: id,
        name,
        here: addresses,
        there: copy,
      });
    }
    for (const id of this.#copied.keys()) if (!members().has(id)) this.#copied.delete(id);
  }

  #noticeNamesakes(): void {
    const found = namesakes(this.#init.members());
    for (const [name, ids] of found)
      if (!this.#sameNames.has(name)) this.#init.log('warn', namesakesText(name, ids), { name, nodes: ids });
    this.#sameNames = new Set(found.keys());
  }

  get #authority(): Authority {
    return this.#init.ledger.machine.authority;
  }

  async #renewOthers(): Promise<void> {
    const { self, operator, clock, log } = this.#init;
    if (this.standing().state !== 'member') return;
    const alive = [...this.#init.members().values()]
      .filter(({ status }) => status === 'alive')
      .map(({ id }) => id);
    for (const signer of [self, ...(operator === undefined ? [] : [operator])]) {
      const key = keyOf(signer);
      for (const body of renewalsDue({ authority: this.#authority, self: key, alive, now: clock.now() })) {
        const written = await attempt(log, 'renewing a grant', () =>
          this.#writer.write(signer, 'grant', body),
        );
        if (written) log('info', 'renewed the grant of a member', { node: body.subject });
      }
    }
  }

  /**
   * Of a node that has lost what makes it a member: these tell it, until it is one. Where its grant has ended only some of
   * them may renew it.
   */
  async ask(members: Iterable<Pick<MemberDoors, 'id' | 'doors'>>): Promise<void> {
    const { self, clock } = this.#init;
    for (const member of members) {
      await this.#ask(member, []);
      if (this.#authority.isMember(self, clock.now())) return;
    }
  }

  /** @returns whether it told something. */
  async #ask(
    { id, doors }: Pick<MemberDoors, 'id' | 'doors'>,
    acts: readonly LedgerRecord[],
  ): Promise<boolean> {
    const answer = await this.#init.knock(doors, encodeAppeal(acts, this.#ownGrant())).catch(() => undefined);
    return answer !== undefined && (await this.#hear(id, answer));
  }

  #ownGrant(): LedgerRecord | undefined {
    const own = ownGrant(this.#authority, this.#init.self);
    return own === undefined || own.bytes.byteLength > OWN_BYTES_MAX ? undefined : own;
  }

  async #appeal(): Promise<void> {
    const { clock, peers } = this.#init;
    const { state } = this.standing();
    const now = clock.now();
    const due = this.#appeals.due({
      now,
      isExpired: state === 'expired',
      isRefused: state === 'revoked' || state === 'evicted',
      isConnected: peers().length > 0,
      others: this.#doors(peers().length === 0 || state !== 'member'),
      random: () => clock.random(),
    });
    if (due.length === 0) return;
    const acts = this.#acts();
    this.#acts_bytes_max = sizeOf(acts) / SHRINKING;
    for (const member of due) {
      if (!(await this.#ask(member, acts))) continue;
      this.#acts_bytes_max = ACTS_BYTES_MAX;
      this.notice();
      const after = this.standing().state;
      // Who has something to bring goes on: the member that answered may be the one that it is against.
      if (after !== state || (state === 'member' && acts.length === 0)) return;
    }
  }

  /** @param all also of those that are no members by what this node knows: it may know less than they do. */
  #doors(all: boolean): MemberDoors[] {
    const { self, clock, members, unlisted } = this.#init;
    const now = clock.now();
    const listed = [...members().values()]
      .filter(({ id }) => id !== self)
      .map(({ id, status, doors }) => {
        return { id, status, doors, isAdmitter: this.#authority.roles(id, now).has('admitter') };
      });
    const more = all ? unlisted() : [];
    return [
      ...listed,
      ...more.map(({ id, doors }): MemberDoors => {
        return { id, status: 'alive', doors, isAdmitter: this.#authority.roles(id).has('admitter') };
      }),
    ];
  }

  /** What no door has answered may be too much for the link: less of it each time, and then all of it again. */
  #acts(): LedgerRecord[] {
    const { self } = this.#init;
    const acts = actsFor(this.#authority, self, this.#acts_bytes_max);
    return acts.length > 0 ? acts : actsFor(this.#authority, self, ACTS_BYTES_MAX);
  }

  /** @returns whether it was an answer. */
  async #hear(from: NodeId, answer: Uint8Array): Promise<boolean> {
    const { ledger, crypto, log } = this.#init;
    try {
      const { grants } = openAnswer(answer, ledger.machine.cluster, crypto);
      const ordered = inHeardOrder(grants, this.#authority);
      await ledger.introduce(ordered.map(({ bytes }) => bytes));
    } catch (error) {
      if (!isShoalError(error)) throw error;
      log('debug', 'the answer to an appeal was of no use', { from, error: String(error) });
      return false;
    }
    return true;
  }

  /** Votes are kept for ever: one that never counts is not written. @throws E_NOT_ALLOWED */
  #assertVoteCounts(subject: KeyId, voter: KeyId): void {
    const ever = this.#authority.operators();
    if (ever.length >= OPERATORS_EVER_MAX && !ever.some(({ key }) => key === subject))
      throw new ShoalError(
        'E_NOT_ALLOWED',
        `this cluster has had ${OPERATORS_EVER_MAX} operators, with those that are dismissed, and takes no more: no vote could make ${shortId(subject)} one; nothing was changed`,
      );
    const isDismissed = ever.some(({ key, inForce }) => key === voter && !inForce);
    if (isDismissed || this.#authority.isRevoked(voter))
      throw new ShoalError(
        'E_NOT_ALLOWED',
        `the key ${shortId(voter)} is an operator no more, and its vote counts for nothing; nothing was changed`,
      );
    if (this.#authority.isRevoked(subject))
      throw new ShoalError(
        'E_NOT_ALLOWED',
        `the key ${shortId(subject)} was revoked, and no vote for a revoked key is written: make a new key with \`shoal operator create\`; nothing was changed`,
      );
  }

  /**
   * And that counts, or would if the subject had not been revoked: of an operator in force each vote does, but for one by a
   * clock that was ahead.
   */
  #hasVotedFor(subject: KeyId, voter: KeyId): boolean {
    if (!this.#isOperator(voter)) return false;
    const now = this.#init.clock.now();
    return [...this.#authority.grants(now)].some(
      ({ subject: appointed, issuer, roles, granted_ms }) =>
        appointed === subject &&
        issuer === voter &&
        roles.includes('operator') &&
        granted_ms <= now + HLC_AHEAD_MS_MAX,
    );
  }

  /** In force: no vote adds to that. Who was appointed stays by the votes of some where those of others are void. */
  #isOfGenesis(subject: KeyId): boolean {
    return this.#authority
      .operators()
      .some(({ key, genesis, inForce }) => key === subject && genesis && inForce);
  }

  #isOperator(subject: KeyId): boolean {
    return this.#authority.operators().some(({ key, inForce }) => key === subject && inForce);
  }

  #renewal(subject: KeyId): { readonly signer: Author; readonly body: GrantBody } | undefined {
    const { self, operator, clock } = this.#init;
    const own = renewalOnAppeal(this.#authority, self, subject, clock.now());
    if (own !== undefined) return { signer: self, body: own };
    if (operator === undefined) return undefined;
    const body = renewalOnAppeal(this.#authority, operator.id, subject, clock.now());
    return body && { signer: operator, body };
  }
}

function sizeOf(records: readonly LedgerRecord[]): number {
  return records.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
}
