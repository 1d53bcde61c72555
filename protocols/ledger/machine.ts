/**
 * The ledger's core: local writes, gossip and anti-entropy in, effects out (DESIGN sections 1 and 2).
 *
 * The driver must carry out the effects of one call in order, and a `persist` must be durable before any effect
 * after it leaves the node. Everything here is deterministic in (state, event, env).
 */
import { type Env, HLC_AHEAD_MS_MAX, type Hlc, hlcLater, hlcNext, hlcSeen } from '../base/clock.ts';
import type { Crypto, Signer } from '../base/crypto.ts';
import { isShoalError, ShoalError } from '../base/errors.ts';
import type { KeyId, NodeId } from '../base/ids.ts';
import { firstPart, type GenesisBody, recordKey } from '../base/records.ts';
import { Authority } from '../trust/authority.ts';
import { isOwned } from '../trust/rules.ts';
import { Collected } from './collected.ts';
import {
  Acknowledgements,
  ackOf,
  besidePast,
  COLLECTION_DEFAULTS,
  type CollectionConfig,
  collectable,
  following,
  hashed,
  heldOf,
  isRoundOpen,
  keptBesidePast,
  type Members,
  type Round,
  roundEnd_ms,
  tombstones,
  tombstonesUpTo,
} from './collection.ts';
import { gossipVerdict, type LedgerEffect, netOf, recordsIn, withLost } from './effects.ts';
import { BATCH_RECORDS_MAX } from './envelope.ts';
import { ENVELOPE_READER, type EnvelopeReader } from './envelope-reader.ts';
import { EVIDENCE_BYTES_MAX, evidenceBody, evidenceKey, flagged, type Pair } from './evidence.ts';
import { EXCHANGE_DEFAULTS, Exchange, type ExchangeConfig, inChunks } from './exchange.ts';
import { Expulsion, type ExpulsionParts } from './expulsion.ts';
import { Horizon } from './horizon.ts';
import { Intake, type Source, type Taken } from './intake.ts';
import { isGrowOnly, Ledger } from './ledger.ts';
import { Lots } from './lots.ts';
import { PENDING_DEFAULTS, type PendingConfig } from './pending.ts';
import { QUOTA_DEFAULTS, Quota, type QuotaConfig } from './quota.ts';
import {
  type Draft,
  type LedgerRecord,
  NO_CLUSTER,
  type RecordHeader,
  type StreamId,
  sealRecord,
  sealRecords,
  streamId,
} from './record.ts';
import { CONTEXT_ENTRIES_MAX, type ContextEntry } from './record-reader.ts';
import { epochAfter } from './start-epoch.ts';
import { decodeSync, encodeGossip, isLaterVersion, type SyncMessage } from './sync.ts';

const GENERATION_MAX = Number.MAX_SAFE_INTEGER;
/** After so many times that long an agreement is acted on whatever comes: a member can write what is old for ever. */
const CATCHING_UP_TIMES_MAX = 15;
/** Looks after tombstones. A driver that cannot make records durable withholds it: an acknowledgement is a promise. */
export const COLLECT_TIMER = 'collect';
/** Authors of whom evidence is to be written; more at once are told in the log only. */
export const ACCUSED_MAX = 64;
export const TOLD_MAX = 4096;
/**
 * Of own stamps that are further ahead it is they that are wrong. Nearer, it may be the clock: set back by mistake, or one
 * without a battery, which goes on from where it was kept last. Others hold what was written then, and would let it win
 * over what is written anew.
 */
const AHEAD_MS_MAX = 86_400_000;
/** How often it is looked whose stamps are ahead. */
const AHEAD_LOOK_MS = 60_000;
/** Whoever notices first writes the evidence; the others wait for it by lot, up to so long. */
const EVIDENCE_MS = 5_000;

export interface LedgerConfig extends ExchangeConfig, CollectionConfig, PendingConfig, QuotaConfig {
  /** Own writes wait this long for company before they are gossiped. Well under the round trip of a LAN's p99. */
  readonly batch_ms: number;
}

export const LEDGER_DEFAULTS: LedgerConfig = {
  ...EXCHANGE_DEFAULTS,
  ...COLLECTION_DEFAULTS,
  ...PENDING_DEFAULTS,
  ...QUOTA_DEFAULTS,
  batch_ms: 3,
};

export interface Write {
  readonly recordKind: string;
  readonly key: string;
  /** null deletes. */
  readonly body: unknown;
}

export type LedgerEvent =
  | { readonly kind: 'start' }
  | ({ readonly kind: 'write'; readonly author: KeyId } & Write)
  /** All or none, under one signature. At most BATCH_RECORDS_MAX. */
  | { readonly kind: 'writes'; readonly author: KeyId; readonly writes: readonly Write[] }
  /**
   * Records handed in by other ways than the mesh's own, such as a knock at the door; they are gossiped on. With `now_ms` it is
   * at least as late as that: of what was signed here, where this clock is behind what is known.
   */
  | { readonly kind: 'introduce'; readonly envelopes: readonly Uint8Array[]; readonly now_ms?: number }
  | { readonly kind: 'gossip'; readonly from: NodeId; readonly body: Uint8Array }
  | { readonly kind: 'message'; readonly from: NodeId; readonly body: Uint8Array }
  | { readonly kind: 'connected'; readonly peer: NodeId }
  | { readonly kind: 'disconnected'; readonly peer: NodeId }
  | { readonly kind: 'timer'; readonly token: string };

export interface LedgerInit {
  readonly genesis: LedgerRecord;
  readonly crypto: Crypto;
  /** Its own when nothing is given. */
  readonly reader?: EnvelopeReader;
  /** Keys that this node writes with; the first is its own. */
  readonly signers: readonly [Signer, ...Signer[]];
  readonly config?: Partial<LedgerConfig>;
  /** As last told by an `epoch` effect; 0 for a new disk. */
  readonly epochs?: ReadonlyMap<KeyId, number>;
  /** As last told by a `horizon` effect; 0 for a new disk, HORIZON_UNKNOWN for one that has lost records. */
  readonly horizon_ms?: number;
  /** What the disk holds, as `persist` effects left it. */
  readonly stored?: {
    readonly records: Iterable<LedgerRecord>;
    readonly streams: Iterable<readonly [StreamId, number]>;
  };
  /** 32 bits, by lot for each life (ledger.ts); 0 when nothing is given. */
  readonly secret?: number;
  /** Instead of merging `stored.records` one by one: a ledger and an authority that hold them, and genesis, already. */
  readonly prepared?: { readonly ledger: Ledger; readonly authority: Authority };
}

interface Own {
  readonly signer: Signer;
  epoch: number;
  /** The last number that was given in this epoch. */
  seq: number;
}

/** What is to be gossiped in messages of its own, so that what is relayed, and known to others, stops nothing that is new. */
interface Outgoing {
  readonly isRelayed: boolean;
  readonly envelopes: Uint8Array[];
}

const NO_EFFECTS: readonly LedgerEffect[] = [];
const NO_RECORDS: readonly LedgerRecord[] = [];
const NO_STREAMS: readonly (readonly [StreamId, number])[] = [];

/** Records that come from no member: nothing is known of how far it has collected. */
const NOBODY: Source = { from: null, horizon_ms: 0 };

export class LedgerMachine {
  readonly cluster: string;
  readonly ledger: Ledger;
  readonly authority: Authority;
  readonly #config: LedgerConfig;
  readonly #crypto: Crypto;
  readonly #reader: EnvelopeReader;
  readonly #self: NodeId;
  readonly #own = new Map<KeyId, Own>();
  readonly #epochs: ReadonlyMap<KeyId, number>;
  /** The last number of each own stream of an earlier life that the disk knows of. */
  readonly #numbers: Map<StreamId, number>;
  readonly #exchange: Exchange;
  readonly #intake: Intake<LedgerEffect>;
  #outbox: Outgoing[] = [];
  #clock: Hlc = { ms: 0, n: 0 };
  /** When it was looked last whose stamps are ahead. */
  #looked_ms = Number.NEGATIVE_INFINITY;
  readonly #horizon: Horizon;
  readonly #collected = new Collected();
  /** Since when a look has found the agreement that is to be acted on. */
  #agreed: { readonly upTo_ms: number; readonly since_ms: number } | undefined;
  /** When something came last that others have had for long: this node is catching up with them. */
  #late_ms = Number.NEGATIVE_INFINITY;
  readonly #accused = new Map<KeyId, Pair>();
  /** Authors whose equivocation was reported: repeated, it is no news. The oldest goes first. */
  readonly #told = new Set<KeyId>();
  readonly #quota: Quota;
  readonly #expulsion: ExpulsionParts;
  /**
   * What the disk holds and must not: earlier versions kept what their own renewals had come in the place of, and any number
   * of an author's lives.
   */
  #leftOver: readonly LedgerRecord[] = NO_RECORDS;

  constructor(init: LedgerInit) {
    this.cluster = init.genesis.digest;
    this.#config = { ...LEDGER_DEFAULTS, ...init.config };
    this.#crypto = init.crypto;
    this.#reader = init.reader ?? ENVELOPE_READER;
    this.#self = init.signers[0].id;
    this.#epochs = new Map(init.epochs);
    this.#numbers = new Map(init.stored?.streams);
    this.ledger = init.prepared?.ledger ?? new Ledger(init.secret);
    this.authority =
      init.prepared?.authority ?? new Authority(this.cluster, init.genesis.body as GenesisBody);
    if (init.prepared === undefined) {
      const leftOver: LedgerRecord[] = [];
      for (const record of [init.genesis, ...(init.stored?.records ?? [])]) {
        const finding = this.ledger.find(record);
        if (finding.isReplaced) leftOver.push(record);
        append(leftOver, this.ledger.merge(record, finding));
        this.authority.add(record);
      }
      this.#leftOver = leftOver;
    }
    this.#quota = new Quota(this.#config, this.ledger, {
      keeperOf: (record) => this.authority.keeperOf(record),
      linksOf: (record) => this.authority.linksOf(record),
    });
    const lots = new Lots(this.ledger);
    this.#expulsion = { ledger: this.ledger, authority: this.authority, quota: this.#quota, lots };
    if (init.prepared === undefined)
      this.#leftOver = [
        ...this.#leftOver,
        ...Expulsion.expel(this.#expulsion, this.authority.surplusRenewals()),
      ];
    this.#clock = this.ledger.latest;
    this.#horizon = new Horizon(init.horizon_ms ?? 0, ackOf(this.ledger, this.#self));
    this.#horizon.recall((round) => heldOf(this.ledger, round, this.#horizon.told_ms));
    for (const record of this.ledger.recordsOf(this.#self)) this.#remember(record);
    for (const signer of init.signers) this.addSigner(signer);
    this.#intake = new Intake(this.#config, {
      cluster: this.cluster,
      crypto: this.#crypto,
      reader: this.#reader,
      ledger: this.ledger,
      authority: this.authority,
      horizon: this.#horizon,
      quota: this.#quota,
      onTwins: (one, other, env) => this.#accuse(one, other, env),
      isForgotten: (record) => this.#isForgotten(record),
      onNews: (record, env) => this.#onNews(record, env),
      onLate: (record, env) => {
        if (!this.#mayVouchFor(record)) this.#horizon.tookLate(record, env.now);
      },
      onRefused: (record, horizon_ms, env) => {
        this.#exchange.refuse(record, horizon_ms, env.now);
      },
      onAct: () => {
        this.#exchange.reconsider();
      },
      expel: (records) => this.#expel(records),
    });
    this.#exchange = new Exchange(this.#config, {
      self: this.#self,
      ledger: this.ledger,
      inOrder: (acts) => this.authority.inOrder(acts),
      horizon_ms: () => this.#horizon.told_ms,
      believed_ms: (peer, theirs_ms) => this.#believed_ms(peer, theirs_ms),
      mayGive: (records, { believed_ms, told_ms }, env) =>
        records.filter(
          (record) => !this.#isDoubted(record, believed_ms, env) && !this.#isRefused(record, told_ms),
        ),
      coverOf: (theirs_ms) => this.#horizon.coverOf(theirs_ms),
      onEqual: (theirs_ms) => {
        this.#horizon.equals(theirs_ms);
      },
    });
  }

  /** What waits for a grant of its author. */
  get pending(): { readonly records: number; readonly bytes: number } {
    return this.#intake.pending;
  }

  get horizon_ms(): number {
    return this.#horizon.ms;
  }

  /** Is what its disk holds from before a collection in doubt? */
  get isInDoubt(): boolean {
    return this.#horizon.isInDoubt;
  }

  /** Members that have not acknowledged the tombstones that are to go next. */
  unacknowledged(now: number): NodeId[] {
    return this.#acknowledgements().missing(roundEnd_ms(this.#config, now));
  }

  /** The last stamp that this node gave, or has seen and follows, milliseconds: what it writes next bears no earlier one. */
  get stamped_ms(): number {
    return this.#clock.ms;
  }

  /** Authors that signed two records with one number, and who says so. */
  flagged(): ReadonlyMap<KeyId, readonly NodeId[]> {
    return flagged(this.ledger);
  }

  addSigner(signer: Signer): void {
    if (this.#own.has(signer.id)) return;
    let epoch = this.#epochs.get(signer.id) ?? 0;
    const live = [...this.ledger.recordsOf(signer.id)];
    for (const record of live) epoch = Math.max(epoch, record.epoch);
    let seq = this.#numbers.get(streamId(signer.id, epoch)) ?? 0;
    for (const record of live) if (record.epoch === epoch) seq = Math.max(seq, record.seq);
    this.#own.set(signer.id, { signer, epoch, seq });
  }

  /**
   * @throws ShoalError on a write that is refused (E_NOT_ALLOWED, E_TOO_LARGE, E_MALFORMED, E_QUOTA): nothing was
   * changed. Else never.
   */
  handle(event: LedgerEvent, env: Env): LedgerEffect[] {
    this.#exchange.onClock(env.now);
    switch (event.kind) {
      case 'start':
        this.#startClock(env);
        this.#doubtLate(besidePast(this.ledger, this.#horizon.told_ms), env);
        return [
          ...this.#mended(),
          ...this.#mendClock(env),
          ...this.#exchange.start(env),
          this.#scheduleCollect(env),
        ];
      case 'write':
        return this.#write(event.author, [event], env);
      case 'writes':
        return this.#write(event.author, event.writes, env);
      case 'introduce':
        return this.#ingest(event.envelopes, { ...NOBODY, now_ms: event.now_ms ?? env.now }, env, true);
      case 'gossip':
        return this.#onGossip(event.from, event.body, env);
      case 'message':
        return this.#onMessage(event.from, event.body, env);
      case 'connected':
        return this.#exchange.connected(event.peer, env);
      case 'disconnected':
        return this.#exchange.disconnected(event.peer, env);
      case 'timer':
        return [...this.#mendClock(env), ...this.#onTimer(event.token, env)];
    }
  }

  /** What was found too much on the disk leaves it. */
  #mended(): LedgerEffect[] {
    const remove = this.#leftOver;
    this.#leftOver = NO_RECORDS;
    return remove.length === 0 ? [] : [{ kind: 'persist', put: [], remove, streams: NO_STREAMS }];
  }

  // The clock

  /**
   * What others have written is followed no further than if it came now; own stamps only grow, whatever the clock says. Where
   * the latest is further ahead than anything is accepted it is the clock that is wrong, and that stamp is as near as is known.
   */
  #startClock(env: Env): void {
    const seen = this.#clock;
    if (seen.ms > env.now + HLC_AHEAD_MS_MAX) return;
    let clock: Hlc = { ms: 0, n: 0 };
    for (const author of this.#own.keys())
      for (const { hlc } of this.ledger.recordsOf(author)) clock = hlcLater(clock, hlc);
    this.#clock = hlcSeen(clock, seen, env.now);
  }

  /**
   * What was written by a clock far ahead no other takes in before its time, nor what is written after it, for stamps only
   * grow. So once the clock is right those records are written anew, in a new epoch. Not where there is no other member, and
   * not where others' stamps are ahead as well: then this clock is behind.
   */
  #mendClock(env: Env): LedgerEffect[] {
    const upTo_ms = env.now + HLC_AHEAD_MS_MAX;
    const ahead_ms = this.#clock.ms - env.now;
    if (ahead_ms <= AHEAD_MS_MAX) return [];
    if (Math.abs(env.now - this.#looked_ms) < AHEAD_LOOK_MS) return [];
    this.#looked_ms = env.now;
    const ahead: LedgerRecord[] = [];
    let clock: Hlc = { ms: 0, n: 0 };
    for (const record of this.ledger.records()) {
      const isOthers = !this.#own.has(record.author);
      const isKept = isGrowOnly(record.kind);
      if (record.hlc.ms <= upTo_ms) {
        clock = hlcLater(clock, record.hlc);
      } else if (record.kind === 'genesis' || (isOthers && !isKept)) {
        return [];
      } else if (!isOthers && !isKept) {
        ahead.push(record);
      }
    }
    if (this.#members().size < 2) return [];
    this.#clock = clock;
    const effects: LedgerEffect[] = [{ kind: 'clock', ahead_ms, records_count: ahead.length }];
    for (const [author, own] of this.#own) {
      this.#numbers.set(streamId(author, own.epoch), own.seq);
      own.epoch += 1;
      own.seq = 0;
      effects.push({ kind: 'epoch', author, epoch: own.epoch });
      const theirs = ahead.filter((record) => record.author === author);
      for (let at = 0; at < theirs.length; at += BATCH_RECORDS_MAX)
        append(effects, this.#writeAnew(own, theirs.slice(at, at + BATCH_RECORDS_MAX), env));
    }
    return effects;
  }

  #writeAnew(own: Own, records: readonly LedgerRecord[], env: Env): LedgerEffect[] {
    const author = own.signer.id;
    const drafts = records.flatMap(({ kind, key, body }): Draft[] => {
      if (body === undefined) return [];
      this.#clock = hlcNext(this.#clock, env.now);
      own.seq += 1;
      // While it is still here: the new one must replace what it did.
      return [{ header: this.#header(author, own.epoch, own.seq, this.#clock, kind, key), body }];
    });
    const anew = drafts.length === 0 ? [] : sealRecords(drafts, own.signer, this.#crypto);
    const removed = [...records];
    for (const record of records) this.ledger.remove(record);
    for (const record of anew) removed.push(...this.ledger.merge(record));
    const live = this.#live(anew);
    return [
      { kind: 'persist', put: live, remove: removed, streams: [[streamId(author, own.epoch), own.seq]] },
      ...anew.map((record): LedgerEffect => ({ kind: 'written', record })),
      { kind: 'changed', records: [...live, ...records] },
      ...this.#exchange.changed(anew, removed, env),
      ...this.#enqueue(envelopesOf(anew), env),
    ];
  }

  // Writing

  #write(author: KeyId, writes: readonly Write[], env: Env): LedgerEffect[] {
    const own = this.#own.get(author);
    if (own === undefined) throw new Error(`no signer for ${author}`);
    if (writes.length === 0) return [];
    if (writes.length > BATCH_RECORDS_MAX)
      throw new ShoalError(
        'E_TOO_LARGE',
        `more than ${BATCH_RECORDS_MAX} writes at once; nothing was changed`,
      );
    let clock = this.#clock;
    const drafts = writes.map(({ recordKind, key, body }, at): Draft => {
      clock = hlcNext(hlcLater(clock, this.#replacedStamp(recordKind, key)), env.now);
      const seq = own.seq + 1 + at;
      return { header: this.#header(author, own.epoch, seq, clock, recordKind, key), body };
    });
    const records = sealRecords(drafts, own.signer, this.#crypto);
    for (const record of records) this.#assertWritable(record);
    this.#quota.assertFits(records);
    const displaced = this.#admit(records);
    this.#clock = clock;
    own.seq += records.length;
    const removed: LedgerRecord[] = [];
    for (const record of records) removed.push(...this.ledger.merge(record));
    const evicted = this.#evict(records[0]!, displaced);
    // What was refused it may keep.
    if (records.some(({ kind }) => kind === 'revoke')) this.#exchange.reconsider();
    const live = this.#live(records);
    const streams = [[streamId(author, own.epoch), own.seq] as const];
    return [
      { kind: 'persist', put: live, remove: without([...removed, ...evicted], records), streams },
      ...records.map((record): LedgerEffect => ({ kind: 'written', record })),
      { kind: 'changed', records: [...live, ...evicted] },
      ...this.#exchange.changed(records, removed, env, evicted),
      ...this.#enqueue(envelopesOf(records), env),
      ...this.#granted(records, env),
    ];
  }

  /**
   * The latest stamp of what a write of this key is to replace: only what bears an earlier one than the write is replaced by
   * it. It may be further ahead than this node follows, and what is written next of any key is as far ahead then: of one author's
   * records the later stamp wins, and once its own was evicted here nothing tells that a later write must be past it.
   */
  #replacedStamp(kind: string, key: string): Hlc {
    let latest: Hlc = { ms: 0, n: 0 };
    if (isGrowOnly(kind)) return latest;
    for (const { hlc } of this.ledger.siblings(kind, key)) latest = hlcLater(latest, hlc);
    return latest;
  }

  #granted(records: readonly LedgerRecord[], env: Env): LedgerEffect[] {
    const grants = records.filter(({ kind }) => kind === 'grant');
    return grants.length === 0 ? [] : this.#taken(this.#intake.granted(grants, env), env, true);
  }

  /**
   * Tells the authority of own records. @returns grants in whose place they come: those must go, here as everywhere.
   * @throws E_NOT_ALLOWED when one of them would be one of those, or void: by its stamp the grant of its author may have
   * ended, and it would take the place of a renewal that counts. Nothing was changed.
   */
  #admit(records: readonly LedgerRecord[]): readonly LedgerRecord[] {
    let displaced = NO_RECORDS;
    for (let at = 0; at < records.length; at += 1) {
      const record = records[at]!;
      const surplus = record.kind === 'grant' ? this.authority.surplus(record) : NO_RECORDS;
      const isExcess = surplus.includes(record);
      if (!isExcess) this.authority.add(record);
      if (isExcess || this.authority.stateOf(record.digest, record.hlc.ms) === 'void') {
        this.authority.removeAll(records.slice(0, at + 1));
        const what = `${record.kind}/${record.key}`;
        const why = isExcess ? 'has no place beside what is there' : 'would count nowhere';
        throw new ShoalError('E_NOT_ALLOWED', `${what} ${why}; nothing was changed`);
      }
      if (surplus.length > 0) displaced = [...displaced, ...surplus];
    }
    return displaced;
  }

  /** What this node must say may be one too many: then others of its records go, here as everywhere. */
  #evict(written: LedgerRecord, displaced: readonly LedgerRecord[]): readonly LedgerRecord[] {
    if (displaced.length === 0 && this.#quota.isKept(written)) return NO_RECORDS;
    const evicted = [...this.#expel(displaced)];
    if (this.#quota.isKept(written)) return evicted;
    for (const record of this.#quota.excess(written)) append(evicted, this.#expel([record]));
    return evicted;
  }

  #expel(records: readonly LedgerRecord[]): readonly LedgerRecord[] {
    const gone = Expulsion.expel(this.#expulsion, records);
    // What was refused for one of them may be allowed now.
    if (gone.some(({ kind }) => isGrowOnly(kind))) this.#exchange.reconsider();
    return gone;
  }

  /** Of itself, as a timer asks: a refusal is told, and takes nothing else with it. */
  #say(writes: readonly Write[], env: Env): LedgerEffect[] {
    try {
      return this.#write(this.#self, writes, env);
    } catch (error) {
      if (!isShoalError(error)) throw error;
      return [{ kind: 'unsaid', what: writes.map((write) => write.recordKind), error }];
    }
  }

  #header(author: KeyId, epoch: number, seq: number, hlc: Hlc, kind: string, key: string): RecordHeader {
    const siblings = this.ledger.siblings(kind, key);
    // Authors that could never write this key are left out: a peer could fill a context with inventions.
    const seen = this.ledger
      .context(kind, key, { author, epoch })
      .filter((entry) =>
        isGrowOnly(kind)
          ? this.authority.depth(entry.author) < Number.POSITIVE_INFINITY
          : this.authority.admission({ kind, key, author: entry.author } as LedgerRecord) === 'yes',
      );
    const context = mostNeeded(seen, siblings);
    const known = siblings.reduce(
      (highest, { generation }) => Math.max(highest, generation),
      this.#collected.generationOf(kind, key),
    );
    // At the highest number that a record may bear the stamps decide: nobody can put a key out of reach.
    const generation = Math.min(known + 1, GENERATION_MAX);
    return { cluster: this.cluster, author, epoch, seq, hlc, kind, key, generation, context };
  }

  #assertWritable(record: LedgerRecord): void {
    const what = `${record.kind}/${record.key}`;
    if (record.body === undefined)
      throw new ShoalError('E_MALFORMED', `${what} is no plain data; nothing was changed`);
    const isAdmitted = this.authority.admission(record) === 'yes';
    if (!isAdmitted || !this.authority.hasRole(record.author))
      throw new ShoalError(
        'E_NOT_ALLOWED',
        `the key of this node may not write ${what}; nothing was changed`,
      );
  }

  // Taking in

  #onGossip(from: NodeId, body: Uint8Array, env: Env): LedgerEffect[] {
    if (isLaterVersion(body)) return [];
    try {
      const envelopes = this.#reader.envelopesOf(body);
      const taken = this.#take(envelopes, { from, horizon_ms: 0, isGossip: true }, env);
      const effects = this.#taken(taken, env, false, true);
      // Whoever gets it from here holds this node to all of it.
      if (taken.checked_count < envelopes.length && gossipVerdict(effects) === 'accept')
        effects.push({ kind: 'unchecked' });
      // Whoever has the last one of a key knows all that came before it in this message, and counts each.
      const known_count = Math.max(taken.known.length, envelopes.length - recordsIn(effects));
      if (known_count > 0) effects.push({ kind: 'known', records_count: known_count });
      return effects;
    } catch (error) {
      return rejectMalformed(error, from);
    }
  }

  #onMessage(from: NodeId, body: Uint8Array, env: Env): LedgerEffect[] {
    // A daemon that was upgraded before this one: it will find that it is not answered, and is no liar for that.
    if (isLaterVersion(body)) return [];
    let message: SyncMessage;
    try {
      message = decodeSync(body);
    } catch (error) {
      return rejectMalformed(error, from);
    }
    switch (message.kind) {
      case 'hello':
        return this.#withHorizon(() => this.#exchange.onHello(from, message, env));
      case 'compare':
        return this.#withHorizon(() => [...this.#exchange.onCompare(from, message, env), ...this.#dropped()]);
      case 'records': {
        const source = { from, horizon_ms: this.#exchange.horizonOf(from) };
        const effects = this.#ingest(message.envelopes, source, env, false);
        const changed = effects.some((effect) => effect.kind === 'changed');
        return [...effects, ...this.#exchange.onRecords(from, message, changed, env)];
      }
    }
  }

  #ingest(envelopes: readonly Uint8Array[], source: Source, env: Env, relay: boolean): LedgerEffect[] {
    return this.#taken(this.#take(envelopes, source, env), env, relay);
  }

  #take(envelopes: readonly Uint8Array[], source: Source, env: Env): Taken<LedgerEffect> {
    const taken = this.#intake.take(envelopes, source, env);
    const old_ms = roundEnd_ms(this.#config, env.now);
    if (taken.added.some(({ hlc }) => hlc.ms <= old_ms)) this.#late_ms = env.now;
    this.#horizon.took(
      taken.added,
      source.from === null ? 0 : this.#believed_ms(source.from, source.horizon_ms),
    );
    return taken;
  }

  #taken(taken: Taken<LedgerEffect>, env: Env, relay: boolean, isGossip = false): LedgerEffect[] {
    if (taken.added.length + taken.removed.length + taken.evicted.length === 0) return [...taken.reports];
    const { added, removed, evicted } = taken;
    const { put, remove } = netOf(added, removed, evicted);
    if (put.length + remove.length === 0) return [...taken.reports];
    const effects: LedgerEffect[] = [
      evicted.length === 0 || isGossip
        ? { kind: 'persist', put, remove, streams: NO_STREAMS }
        : { kind: 'persist', put, remove, streams: NO_STREAMS, evicted_count: evicted.length },
      { kind: 'changed', records: evicted.length === 0 ? withLost(put, remove) : [...put, ...remove] },
    ];
    if (relay) append(effects, this.#enqueue(envelopesOf(put), env, true));
    append(effects, this.#exchange.changed(added, removed, env, evicted));
    append(effects, taken.reports);
    return effects;
  }

  #live(records: readonly LedgerRecord[]): LedgerRecord[] {
    return records.filter((record) => this.ledger.has(record));
  }

  #onNews(record: LedgerRecord, env: Env): readonly LedgerEffect[] {
    this.#clock = hlcSeen(this.#clock, record.hlc, env.now);
    if (!this.#own.has(record.author)) return NO_EFFECTS;
    const isForgotten = this.#isForgotten(record);
    const effects = this.#newEpoch(record, env);
    if (isForgotten) {
      this.#remember(record);
      effects.push(...this.#withHorizon(() => this.#doubt()));
    }
    return effects;
  }

  /** Of an earlier life, and unknown to the disk: the disk is an older one, or has lost what it held. */
  #isForgotten({ author, epoch, seq }: LedgerRecord): boolean {
    return (
      author === this.#self &&
      epoch !== this.#own.get(author)?.epoch &&
      seq > (this.#numbers.get(streamId(author, epoch)) ?? 0)
    );
  }

  #remember({ author, epoch, seq }: LedgerRecord): void {
    const stream = streamId(author, epoch);
    this.#numbers.set(stream, Math.max(seq, this.#numbers.get(stream) ?? 0));
  }

  #doubt(): LedgerEffect[] {
    this.#horizon.doubt();
    return [];
  }

  /** Ours, and not from us: an older life of this disk wrote it, or a copy of our key. */
  #newEpoch(record: LedgerRecord, env: Env): LedgerEffect[] {
    const own = this.#own.get(record.author);
    if (own === undefined || record.epoch < own.epoch) return [];
    const isFuture = record.epoch > own.epoch || record.seq > own.seq;
    const epoch = epochAfter(record.epoch, env.random);
    // What it has written so far is no news when that comes back as well.
    this.#numbers.set(streamId(record.author, own.epoch), own.seq);
    // Where none is left it goes on behind that record.
    own.seq = epoch > record.epoch ? 0 : record.seq;
    own.epoch = epoch;
    return [
      { kind: 'epoch', author: record.author, epoch: own.epoch },
      ...this.#withHorizon(() => (isFuture ? this.#doubt() : [])),
    ];
  }

  // Equivocation

  #accuse(first: LedgerRecord, second: LedgerRecord, env: Env): LedgerEffect[] {
    const { author } = first;
    if (this.#told.has(author)) return [];
    this.#told.add(author);
    if (this.#told.size > TOLD_MAX) this.#told.delete(this.#told.values().next().value!);
    const effects: LedgerEffect[] = [{ kind: 'equivocation', author, records: [first, second] }];
    const fits = first.bytes.byteLength + second.bytes.byteLength <= EVIDENCE_BYTES_MAX;
    if (!fits || this.#accused.size >= ACCUSED_MAX || this.#accused.has(author)) return effects;
    if (this.flagged().has(author)) return effects;
    const [one, other] = first.digest < second.digest ? [first, second] : [second, first];
    this.#accused.set(author, { first: one, second: other });
    effects.push({ kind: 'schedule', token: 'evidence', at_ms: env.now + env.random() * EVIDENCE_MS });
    return effects;
  }

  #testify(env: Env): LedgerEffect[] {
    const known = this.flagged();
    const writes = [...this.#accused]
      .filter(([author]) => !known.has(author))
      .map(([author, pair]): Write => {
        return { recordKind: 'evidence', key: evidenceKey(this.#self, author), body: evidenceBody(pair) };
      });
    this.#accused.clear();
    return this.#mayWrite() ? this.#say(writes, env) : [];
  }

  #mayWrite(): boolean {
    return this.authority.isMember(this.#self);
  }

  // Timers, gossip

  #onTimer(token: string, env: Env): LedgerEffect[] {
    switch (token) {
      case 'flush':
        return this.#flush();
      case COLLECT_TIMER:
        return [this.#scheduleCollect(env), ...this.#collect(env)];
      case 'evidence':
        return this.#testify(env);
      default:
        return this.#exchange.onTimer(token, env) ?? [];
    }
  }

  #enqueue(envelopes: readonly Uint8Array[], env: Env, isRelayed = false): LedgerEffect[] {
    if (envelopes.length === 0) return [];
    const last = this.#outbox.at(-1);
    if (last?.isRelayed === isRelayed) append(last.envelopes, envelopes);
    else this.#outbox.push({ isRelayed, envelopes: [...envelopes] });
    return last === undefined
      ? [{ kind: 'schedule', token: 'flush', at_ms: env.now + this.#config.batch_ms }]
      : [];
  }

  /** In the order in which it came: a record may hang on a grant before it. */
  #flush(): LedgerEffect[] {
    const outbox = this.#outbox;
    this.#outbox = [];
    const chunks = outbox.flatMap(({ envelopes }) => inChunks(envelopes));
    return chunks.map((chunk) => ({ kind: 'publish', body: encodeGossip(chunk) }));
  }

  // Collection

  #scheduleCollect(env: Env): LedgerEffect {
    const jitter = 0.75 + env.random() / 2;
    return { kind: 'schedule', token: COLLECT_TIMER, at_ms: env.now + this.#config.collect_ms * jitter };
  }

  #collect(env: Env): LedgerEffect[] {
    if (!isRoundOpen(this.ledger, this.#horizon.ms)) return [];
    const effects = this.#withHorizon(() => this.#advance(env));
    const past_ms = this.#horizon.told_ms;
    const due = this.#acknowledgements().due(this.ledger, this.#config, past_ms, env.now);
    if (due === undefined || !this.#mayWrite()) return effects;
    const body = following(ackOf(this.ledger, this.#self), due, this.#horizon);
    const write = { recordKind: 'ack', key: recordKey.ack(this.#self), body };
    const said = this.#say([write], env);
    if (said.some(({ kind }) => kind === 'written'))
      this.#horizon.acknowledge(due, hashed(this.ledger, due.upTo_ms, past_ms));
    return [...effects, ...said];
  }

  #advance(env: Env): LedgerEffect[] {
    const acknowledgements = this.#acknowledgements();
    const until_ms = roundEnd_ms(this.#config, env.now);
    if (acknowledgements.isNew || acknowledgements.hasMissed(until_ms)) this.#horizon.doubt();
    const [round, ...others] = acknowledgements.agreed(until_ms);
    if (round === undefined) return [];
    if (this.#agreed?.upTo_ms !== round.upTo_ms) this.#agreed = { upTo_ms: round.upTo_ms, since_ms: env.now };
    if (!this.#isCaughtUp(this.#agreed.since_ms, env.now)) return [];
    const past_ms = this.#horizon.told_ms;
    const isAcknowledged = this.#horizon.hasAcknowledged(round);
    const gone = new Set(isAcknowledged ? this.#collectable(round) : tombstones(this.ledger, round.upTo_ms));
    // Somebody may have collected one of these, and written anew what the other is not about for that.
    for (const other of others)
      if (!other.isDisputed && this.#horizon.hasAcknowledged(other))
        for (const record of this.#collectable(other)) gone.add(record);
    const kept = isAcknowledged ? keptBesidePast(this.ledger, round.upTo_ms, past_ms) : [];
    for (const record of gone) {
      this.ledger.remove(record);
      // Of what is owned the latest of its owner wins, whatever its generation.
      if (!isOwned(record)) this.#collected.add(record);
    }
    // Others may have collected what stays here, or lack what keeps it, and take neither from who could not write the like.
    this.#doubtLate([...kept, ...tombstonesUpTo(this.ledger, round.upTo_ms)], env);
    if (round.isDisputed) this.#horizon.doubt();
    this.#horizon.advance(round, acknowledgements.areAllInDoubt);
    const effects: LedgerEffect[] = [{ kind: 'persist', put: [], remove: [...gone], streams: [] }];
    // What stood beside it may show now.
    const changed = [...gone].filter(({ kind, key }) => this.ledger.siblings(kind, key).length > 0);
    return changed.length === 0 ? effects : [...effects, { kind: 'changed', records: changed }];
  }

  /** Of a round that this very disk has acknowledged. */
  #collectable(round: Round): LedgerRecord[] {
    return collectable(this.ledger, round, this.#horizon.told_ms, this.#horizon.acknowledgedOf(round));
  }

  /** @param since_ms when the agreement that is to be acted on was seen first. */
  #isCaughtUp(since_ms: number, now: number): boolean {
    const { caughtUp_ms } = this.#config;
    // A clock that was set back does not hold it up for longer.
    const seen_ms = Math.abs(now - since_ms);
    if (seen_ms >= CATCHING_UP_TIMES_MAX * caughtUp_ms) return true;
    return seen_ms >= caughtUp_ms && Math.abs(now - this.#late_ms) >= caughtUp_ms;
  }

  /** Others may lack these, and would not take them from here: then they go in time. */
  #doubtLate(records: readonly LedgerRecord[], env: Env): void {
    for (const record of records) if (!this.#mayVouchFor(record)) this.#horizon.tookLate(record, env.now);
  }

  #acknowledgements(): Acknowledgements {
    return new Acknowledgements(this.ledger, this.#members(), this.#self, this.#horizon.ms);
  }

  /** Also those of whom nothing but their grant has come: they may hold what was deleted here. */
  #members(): Members {
    const members = new Map<NodeId, number>();
    for (const [key, grants] of this.ledger.ofKind('grant')) {
      const subject = firstPart(key);
      if (!this.authority.isMember(subject)) continue;
      for (const { hlc } of grants)
        members.set(subject, Math.min(members.get(subject) ?? Number.POSITIVE_INFINITY, hlc.ms));
    }
    return members;
  }

  /** What `work` makes of the horizon is durable before any of its effects. */
  #withHorizon(work: () => LedgerEffect[]): LedgerEffect[] {
    const before = this.#horizon.durable_ms;
    const effects = work();
    const after = this.#horizon.durable_ms;
    return after === before ? effects : [{ kind: 'horizon', horizon_ms: after }, ...effects];
  }

  /**
   * Who may delete what all share gains nothing by a lie about it. By that of another a node in doubt would let go of
   * anything, or vouch for what was deleted.
   */
  #believed_ms(peer: NodeId, theirs_ms: number): number {
    return theirs_ms > 0 && this.authority.mayDeploy(peer) ? theirs_ms : 0;
  }

  /**
   * From before the horizon of a peer that tells this one, as well as from before ours, and this node could not write the
   * like: refused over there as stale (intake.ts), and held against this node.
   */
  #isRefused(record: LedgerRecord, told_ms: number): boolean {
    return record.hlc.ms <= told_ms && this.#horizon.isPast(record) && !this.#mayVouchFor(record);
  }

  /** Is it this node that others believe about the past of what this record is about? */
  #mayVouchFor(record: LedgerRecord): boolean {
    const { kind, key } = record;
    return (
      isOwned(record) || this.authority.admission({ kind, key, author: this.#self } as LedgerRecord) === 'yes'
    );
  }

  readonly #toDrop = new Set<LedgerRecord>();

  /** A peer that has collected as far lacks it, and what is held here may be older than that, or be one peer's lie. */
  #isDoubted(record: LedgerRecord, theirs_ms: number, env: Env): boolean {
    const isDoubted = this.#horizon.isDoubtful(record, theirs_ms, env.now);
    if (isDoubted) this.#toDrop.add(record);
    return isDoubted;
  }

  #dropped(): LedgerEffect[] {
    if (this.#toDrop.size === 0) return [];
    const remove = [...this.#toDrop];
    this.#toDrop.clear();
    for (const record of remove) this.ledger.remove(record);
    return [
      { kind: 'persist', put: [], remove, streams: [] },
      { kind: 'changed', records: remove },
    ];
  }
}

/**
 * As many as a record may name, so that no number of authors closes a key, nor does one that writes down all of them.
 * First those whose records are live, the winner's first: they are replaced. Then those of later starts. What is left
 * out was replaced long since, most likely; a node that still holds it or hears of it late shows it as a sibling again,
 * which does not win, for its generation is lower, and whoever writes next names it.
 */
function mostNeeded(seen: ContextEntry[], siblings: readonly LedgerRecord[]): ContextEntry[] {
  if (seen.length <= CONTEXT_ENTRIES_MAX) return seen;
  const live = new Map(siblings.map(({ author }, at) => [author, at]));
  const rank = ({ author }: ContextEntry) => live.get(author) ?? siblings.length;
  const later = (a: ContextEntry, b: ContextEntry) =>
    rank(a) - rank(b) || b.epoch - a.epoch || b.seq - a.seq || (a.author < b.author ? -1 : 1);
  return seen.sort(later).slice(0, CONTEXT_ENTRIES_MAX);
}

/** The record that begins a cluster: operator-signed, its digest is the cluster's id. */
export function sealGenesis(body: GenesisBody, signer: Signer, crypto: Crypto, now: number): LedgerRecord {
  return sealRecord(
    {
      cluster: NO_CLUSTER,
      author: signer.id,
      epoch: 0,
      seq: 1,
      hlc: { ms: now, n: 0 },
      kind: 'genesis',
      key: 'genesis',
      generation: 1,
      context: [],
    },
    body,
    signer,
    crypto,
  );
}

function envelopesOf(records: readonly LedgerRecord[]): Uint8Array[] {
  return records.map(({ bytes }) => bytes);
}

function without(records: readonly LedgerRecord[], others: readonly LedgerRecord[]): readonly LedgerRecord[] {
  if (records.length === 0) return records;
  const left = new Set(others);
  return records.filter((record) => !left.has(record));
}

function append<Item>(list: Item[], more: readonly Item[]): void {
  for (let at = 0; at < more.length; at += 1) list.push(more[at]!);
}

function rejectMalformed(error: unknown, from: NodeId): LedgerEffect[] {
  if (!isShoalError(error)) throw error;
  return [{ kind: 'rejected', from, reason: 'malformed', author: null }];
}
