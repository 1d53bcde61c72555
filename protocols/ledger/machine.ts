/**
 * The ledger's core: local writes, gossip and anti-entropy in, effects out (DESIGN sections 1 and 2).
 *
 * The driver must carry out the effects of one call in order, and a `persist` must be durable before any effect
 * after it leaves the node. Everything here is deterministic in (state, event, env).
 */
import { type Env, HLC_AHEAD_MS_MAX, type Hlc, hlcNext, hlcSeen } from '../base/clock.ts';
import type { Crypto, Signer } from '../base/crypto.ts';
import { isShoalError, ShoalError } from '../base/errors.ts';
import type { KeyId, NodeId } from '../base/ids.ts';
import type { GenesisBody } from '../base/records.ts';
import { Authority } from '../trust/authority.ts';
import { Ledger } from './ledger.ts';
import {
  CONTEXT_ENTRIES_MAX,
  type LedgerRecord,
  NO_CLUSTER,
  openRecord,
  type StreamId,
  sealRecord,
  streamId,
  streamParts,
  verifyRecord,
} from './record.ts';
import {
  CHUNK_BYTES,
  DIGESTS_MAX,
  decodeGossip,
  decodeSync,
  encodeGossip,
  encodeSync,
  type Range,
  type SyncMessage,
  VECTOR_ENTRIES_MAX,
} from './sync.ts';

const GENERATION_MAX = Number.MAX_SAFE_INTEGER;

export interface LedgerConfig {
  /** Own writes wait this long for company before they are gossiped. Well under the round trip of a LAN's p99. */
  readonly batch_ms: number;
  /** Anti-entropy with one random peer this often, jittered by half. Bounds how long a lost gossip stays lost. */
  readonly exchange_ms: number;
  /** Records of authors whose grant has not arrived; the oldest go first beyond it, anti-entropy brings them again. */
  readonly pending_records_max: number;
  /** The same, in bytes of envelopes. */
  readonly pending_bytes_max: number;
}

export const LEDGER_DEFAULTS: LedgerConfig = {
  batch_ms: 3,
  exchange_ms: 5_000,
  pending_records_max: 2_048,
  pending_bytes_max: 8 << 20,
};

export type LedgerEvent =
  | { readonly kind: 'start' }
  | {
      readonly kind: 'write';
      readonly author: KeyId;
      readonly recordKind: string;
      readonly key: string;
      /** null deletes. */
      readonly body: unknown;
    }
  /** Records handed in by other ways than the mesh's own, such as a knock at the door; they are gossiped on. */
  | { readonly kind: 'introduce'; readonly envelopes: readonly Uint8Array[] }
  | { readonly kind: 'gossip'; readonly from: NodeId; readonly body: Uint8Array }
  | { readonly kind: 'message'; readonly from: NodeId; readonly body: Uint8Array }
  | { readonly kind: 'connected'; readonly peer: NodeId }
  | { readonly kind: 'disconnected'; readonly peer: NodeId }
  | { readonly kind: 'timer'; readonly token: string };

/** Why a record was not taken. */
export const REJECTIONS = [
  'malformed',
  'other-cluster',
  'unknown-author',
  'not-allowed',
  'from-the-future',
  'bad-signature',
] as const;
export type Rejection = (typeof REJECTIONS)[number];

export type LedgerEffect =
  | {
      readonly kind: 'persist';
      readonly put: readonly LedgerRecord[];
      readonly remove: readonly LedgerRecord[];
      readonly streams: readonly (readonly [StreamId, number])[];
    }
  | { readonly kind: 'publish'; readonly body: Uint8Array }
  | { readonly kind: 'send'; readonly to: NodeId; readonly body: Uint8Array }
  | { readonly kind: 'schedule'; readonly token: string; readonly at_ms: number }
  /** The live set changed. */
  | { readonly kind: 'changed'; readonly records: readonly LedgerRecord[] }
  /** Answers a write; follows its `persist`. */
  | { readonly kind: 'written'; readonly record: LedgerRecord }
  | {
      readonly kind: 'rejected';
      readonly from: NodeId | null;
      readonly reason: Rejection;
      readonly author: KeyId | null;
    }
  | {
      readonly kind: 'equivocation';
      readonly author: KeyId;
      readonly records: readonly [LedgerRecord, LedgerRecord];
    }
  /** Our own records came from elsewhere: this disk is older than the ledger. Later writes use the new epoch. */
  | { readonly kind: 'epoch'; readonly author: KeyId; readonly epoch: number };

export interface LedgerInit {
  readonly genesis: LedgerRecord;
  readonly crypto: Crypto;
  /** Keys that this node writes with; the first is its own. */
  readonly signers: readonly [Signer, ...Signer[]];
  readonly config?: Partial<LedgerConfig>;
  /** As last told by an `epoch` effect; 0 for a new disk. */
  readonly epochs?: ReadonlyMap<KeyId, number>;
  /** What the disk holds, as `persist` effects left it. */
  readonly stored?: {
    readonly records: Iterable<LedgerRecord>;
    readonly streams: Iterable<readonly [StreamId, number]>;
  };
}

export class LedgerMachine {
  readonly cluster: string;
  readonly ledger = new Ledger();
  readonly authority: Authority;
  readonly #config: LedgerConfig;
  readonly #crypto: Crypto;
  readonly #self: NodeId;
  readonly #signers = new Map<KeyId, Signer>();
  readonly #epochs: Map<KeyId, number>;
  readonly #peers = new Set<NodeId>();
  readonly #pending = new Map<string, LedgerRecord>();
  #pending_bytes = 0;
  #outbox: Uint8Array[] = [];
  #clock: Hlc = { ms: 0, n: 0 };

  constructor(init: LedgerInit) {
    this.cluster = init.genesis.digest;
    this.#config = { ...LEDGER_DEFAULTS, ...init.config };
    this.#crypto = init.crypto;
    this.#self = init.signers[0].id;
    this.#epochs = new Map(init.epochs);
    this.authority = new Authority(this.cluster, init.genesis.body as GenesisBody);
    for (const signer of init.signers) this.addSigner(signer);
    for (const record of [init.genesis, ...(init.stored?.records ?? [])]) {
      this.ledger.merge(record);
      this.ledger.seen.add(streamId(record.author, record.epoch), record.seq);
      this.authority.add(record);
      this.#clock = hlcSeen(this.#clock, record.hlc, record.hlc.ms);
    }
    for (const [stream, high] of init.stored?.streams ?? []) this.ledger.seen.adopt(stream, 0, high);
  }

  /** What waits for a grant of its author. */
  get pending(): { readonly records: number; readonly bytes: number } {
    return { records: this.#pending.size, bytes: this.#pending_bytes };
  }

  addSigner(signer: Signer): void {
    this.#signers.set(signer.id, signer);
    if (!this.#epochs.has(signer.id)) this.#epochs.set(signer.id, 0);
  }

  /** @throws ShoalError on a write that is refused (E_NOT_ALLOWED, E_TOO_LARGE, E_MALFORMED): nothing was changed. Else never. */
  handle(event: LedgerEvent, env: Env): LedgerEffect[] {
    switch (event.kind) {
      case 'start':
        return [this.#scheduleExchange(env)];
      case 'write':
        return this.#write(event, env);
      case 'introduce':
        return this.#ingest(this.#openAll(event.envelopes), null, env, true);
      case 'gossip':
        return this.#gossip(event, env);
      case 'message':
        return this.#message(event, env);
      case 'connected':
        this.#peers.add(event.peer);
        // One of the two begins: from both sides at once everything would be sent twice.
        return this.#self < event.peer ? [this.#hello(event.peer)] : [];
      case 'disconnected':
        this.#peers.delete(event.peer);
        return [];
      case 'timer':
        return event.token === 'flush' ? this.#flush() : this.#exchange(env);
    }
  }

  #write(event: Extract<LedgerEvent, { kind: 'write' }>, env: Env): LedgerEffect[] {
    const { author, recordKind, key, body } = event;
    const signer = this.#signers.get(author);
    if (signer === undefined) throw new Error(`no signer for ${author}`);
    const epoch = this.#epochs.get(author) ?? 0;
    const stream = streamId(author, epoch);
    const context = this.ledger.context(recordKind, key).filter((entry) => entry.author !== author);
    if (context.length > CONTEXT_ENTRIES_MAX) {
      throw new ShoalError('E_TOO_LARGE', `${recordKind}/${key} has too many authors; nothing was changed`);
    }
    const clock = hlcNext(this.#clock, env.now);
    // At the highest number that a record may bear the stamps decide: nobody can put a key out of reach.
    const generation = this.ledger
      .siblings(recordKind, key)
      .reduce((highest, { generation }) => Math.max(highest, Math.min(generation + 1, GENERATION_MAX)), 1);
    const sealed = sealRecord(
      {
        cluster: this.cluster,
        author,
        epoch,
        seq: this.ledger.seen.high(stream) + 1,
        hlc: clock,
        kind: recordKind,
        key,
        generation,
        context,
      },
      body,
      signer,
      this.#crypto,
    );
    // Read back: what is kept here is what others and the next start will read, or it is not written at all.
    const record = openRecord(sealed.bytes, this.#crypto);
    const admission = this.authority.admission(record);
    if (admission !== 'yes' || this.authority.roles(author).size === 0) {
      throw new ShoalError(
        'E_NOT_ALLOWED',
        `the key of this node may not write ${recordKind}/${key}; nothing was changed`,
      );
    }
    this.#clock = clock;
    const merge = this.ledger.merge(record);
    this.#see(record);
    return [
      {
        kind: 'persist',
        put: [record],
        remove: merge.removed,
        streams: [[stream, this.ledger.seen.high(stream)]],
      },
      { kind: 'written', record },
      { kind: 'changed', records: [record] },
      ...this.#enqueue([record.bytes], env),
    ];
  }

  #gossip(event: Extract<LedgerEvent, { kind: 'gossip' }>, env: Env): LedgerEffect[] {
    try {
      return this.#ingest(this.#openAll(decodeGossip(event.body)), event.from, env, false);
    } catch (error) {
      return rejectMalformed(error, event.from);
    }
  }

  #message(event: Extract<LedgerEvent, { kind: 'message' }>, env: Env): LedgerEffect[] {
    let message: SyncMessage;
    try {
      message = decodeSync(event.body);
    } catch (error) {
      return rejectMalformed(error, event.from);
    }
    switch (message.kind) {
      case 'hello':
        return message.hash === this.ledger.hash ? [] : [this.#vector(event.from, true)];
      case 'vector':
        return this.#answerVector(event.from, message);
      case 'digests':
        return this.#answerDigests(event.from, message.digests);
      case 'records': {
        const records = this.#openAll(message.envelopes);
        return [...this.#ingest(records, event.from, env, false), ...this.#adopt(message.ranges, records)];
      }
    }
  }

  #answerVector(from: NodeId, message: Extract<SyncMessage, { kind: 'vector' }>): LedgerEffect[] {
    const theirs = new Map(message.entries.map(({ author, epoch, high }) => [streamId(author, epoch), high]));
    const effects: LedgerEffect[] = this.#missing(from, theirs);
    const theyAreAhead = [...theirs].some(([stream, high]) => high > this.ledger.seen.high(stream));
    if (message.back) effects.push(this.#vector(from, false));
    else if (effects.length === 0 && !theyAreAhead && message.hash !== this.ledger.hash) {
      const digests = [...this.ledger.digests()].slice(0, DIGESTS_MAX);
      effects.push({ kind: 'send', to: from, body: encodeSync({ kind: 'digests', digests }) });
    }
    return effects;
  }

  /** Streams what the peer lacks, authors nearest to genesis first so that no record comes before its grant. */
  #missing(to: NodeId, theirs: ReadonlyMap<StreamId, number>): LedgerEffect[] {
    const behind = [...this.ledger.seen.entries()]
      .map(([stream, high]) => {
        const { author, epoch } = streamParts(stream);
        const from = theirs.get(stream) ?? 0;
        return { stream, author, epoch, from, to: high, depth: this.authority.depth(author) };
      })
      .filter(({ from, to: high }) => high > from)
      .sort((a, b) => a.depth - b.depth || (a.stream < b.stream ? -1 : 1));
    const effects: LedgerEffect[] = [];
    let ranges: Range[] = [];
    let envelopes: Uint8Array[] = [];
    let bytes = 0;
    const send = () => {
      if (ranges.length + envelopes.length === 0) return;
      effects.push({ kind: 'send', to, body: encodeSync({ kind: 'records', ranges, envelopes }) });
      [ranges, envelopes, bytes] = [[], [], 0];
    };
    for (const { stream, author, epoch, from, to: high } of behind) {
      let start = from;
      for (const record of this.ledger.range(stream, from, high)) {
        if (bytes + record.bytes.byteLength > CHUNK_BYTES) {
          if (record.seq - 1 > start) ranges.push({ author, epoch, from: start, to: record.seq - 1 });
          start = Math.max(start, record.seq - 1);
          send();
        }
        envelopes.push(record.bytes);
        bytes += record.bytes.byteLength;
      }
      ranges.push({ author, epoch, from: start, to: high });
      if (ranges.length >= VECTOR_ENTRIES_MAX) send();
    }
    send();
    return effects;
  }

  /** Equal vectors, unequal sets: one of us took a record that the other never will have seen by number. */
  #answerDigests(from: NodeId, digests: readonly string[]): LedgerEffect[] {
    const theirs = new Set(digests);
    const envelopes: Uint8Array[] = [];
    let bytes = 0;
    for (const record of this.ledger.records()) {
      if (theirs.has(record.digest)) continue;
      bytes += record.bytes.byteLength;
      if (bytes > CHUNK_BYTES) break;
      envelopes.push(record.bytes);
    }
    if (envelopes.length === 0) return [];
    return [{ kind: 'send', to: from, body: encodeSync({ kind: 'records', ranges: [], envelopes }) }];
  }

  /** @param records what came with the ranges, after it was ingested. */
  #adopt(ranges: readonly Range[], records: readonly (LedgerRecord | undefined)[]): LedgerEffect[] {
    const refused = new Set<StreamId>();
    for (const record of records) {
      if (record !== undefined && !this.#isSettled(record)) {
        refused.add(streamId(record.author, record.epoch));
      }
    }
    const effects: LedgerEffect[] = [];
    const streams: [StreamId, number][] = [];
    for (const { author, epoch, from, to } of ranges) {
      const stream = streamId(author, epoch);
      if (refused.has(stream) || this.authority.depth(author) === Number.POSITIVE_INFINITY) continue;
      const before = this.ledger.seen.high(stream);
      if (to <= before) continue;
      // Nobody signed a range: it may cost us one epoch, and never more than that.
      if (epoch === this.#epochs.get(author)) effects.push(...this.#newEpoch(author, epoch));
      if (this.ledger.seen.adopt(stream, from, to)) streams.push([stream, this.ledger.seen.high(stream)]);
    }
    if (streams.length > 0) effects.unshift({ kind: 'persist', put: [], remove: [], streams });
    return effects;
  }

  /** @param records undefined stands for an envelope that could not be opened. */
  #ingest(
    records: readonly (LedgerRecord | undefined)[],
    from: NodeId | null,
    env: Env,
    relay: boolean,
  ): LedgerEffect[] {
    const taken: LedgerRecord[] = [];
    const removed: LedgerRecord[] = [];
    const added: LedgerRecord[] = [];
    const reports: LedgerEffect[] = [];
    const queue = [...records];
    // The queue grows while it is walked: a grant brings back what waited for it.
    for (const record of queue) {
      const before = added.length;
      const rejection =
        record === undefined ? 'malformed' : this.#take(record, env, { taken, removed, added, reports });
      if (rejection !== undefined) {
        reports.push({ kind: 'rejected', from, reason: rejection, author: record?.author ?? null });
      } else if (record?.kind === 'grant' && added.length > before) {
        queue.push(...this.#ready());
      }
    }
    if (taken.length === 0) return reports;
    const live = added.filter((record) => this.ledger.byDigest(record.digest) !== undefined);
    const streams = new Map(
      taken.map(({ author, epoch }) => {
        const stream = streamId(author, epoch);
        return [stream, this.ledger.seen.high(stream)] as const;
      }),
    );
    const effects: LedgerEffect[] = [{ kind: 'persist', put: live, remove: removed, streams: [...streams] }];
    if (live.length > 0 || removed.length > 0) effects.push({ kind: 'changed', records: live });
    if (relay)
      effects.push(
        ...this.#enqueue(
          live.map((record) => record.bytes),
          env,
        ),
      );
    return [...effects, ...reports];
  }

  #take(
    record: LedgerRecord,
    env: Env,
    out: { taken: LedgerRecord[]; removed: LedgerRecord[]; added: LedgerRecord[]; reports: LedgerEffect[] },
  ): Rejection | undefined {
    if (record.cluster !== this.cluster && record.digest !== this.cluster) return 'other-cluster';
    const known = this.ledger.seen.has(streamId(record.author, record.epoch), record.seq);
    // A number that was seen says nothing by itself: another record may bear it, and vectors are not signed.
    if (known && this.#isSettled(record) && this.ledger.twin(record) === undefined) return undefined;
    const admission = this.authority.admission(record);
    if (admission === 'unknown-author') {
      this.#await(record);
      return 'unknown-author';
    }
    if (admission === 'refused') return 'not-allowed';
    if (record.hlc.ms > env.now + HLC_AHEAD_MS_MAX) return 'from-the-future';
    if (!verifyRecord(record, this.#crypto)) return 'bad-signature';
    // Ours, and not from us: an older life of this disk wrote it, or a copy of our key.
    if (this.#signers.has(record.author)) out.reports.push(...this.#newEpoch(record.author, record.epoch));
    this.#clock = hlcSeen(this.#clock, record.hlc, env.now);
    const merge = this.ledger.merge(record);
    this.#see(record);
    out.taken.push(record);
    out.removed.push(...merge.removed);
    if (merge.added) out.added.push(record);
    if (merge.equivocation !== undefined) {
      out.reports.push({
        kind: 'equivocation',
        author: record.author,
        records: [merge.equivocation, record],
      });
    }
    return undefined;
  }

  /** It is here, or something that stands in its place. */
  #isSettled(record: LedgerRecord): boolean {
    return this.ledger.byDigest(record.digest) !== undefined || this.ledger.isReplaced(record);
  }

  #see(record: LedgerRecord): void {
    this.ledger.seen.add(streamId(record.author, record.epoch), record.seq);
    this.authority.add(record);
  }

  #await(record: LedgerRecord): void {
    if (this.#pending.has(record.digest)) return;
    const { pending_records_max, pending_bytes_max } = this.#config;
    this.#pending.set(record.digest, record);
    this.#pending_bytes += record.bytes.byteLength;
    for (const oldest of this.#pending.values()) {
      if (this.#pending.size <= pending_records_max && this.#pending_bytes <= pending_bytes_max) break;
      this.#unawait(oldest);
    }
  }

  #unawait(record: LedgerRecord): void {
    if (this.#pending.delete(record.digest)) this.#pending_bytes -= record.bytes.byteLength;
  }

  /** Records whose author has become known: they wait no longer. */
  #ready(): LedgerRecord[] {
    const ready = [...this.#pending.values()].filter(
      (record) => this.authority.admission(record) !== 'unknown-author',
    );
    for (const record of ready) this.#unawait(record);
    return ready;
  }

  #newEpoch(author: KeyId, seenEpoch: number): LedgerEffect[] {
    const epoch = this.#epochs.get(author) ?? 0;
    if (seenEpoch < epoch) return [];
    this.#epochs.set(author, seenEpoch + 1);
    return [{ kind: 'epoch', author, epoch: seenEpoch + 1 }];
  }

  #openAll(envelopes: readonly Uint8Array[]): (LedgerRecord | undefined)[] {
    return envelopes.map((bytes) => this.#open(bytes));
  }

  #open(bytes: Uint8Array): LedgerRecord | undefined {
    try {
      return openRecord(bytes, this.#crypto);
    } catch (error) {
      if (isShoalError(error)) return undefined;
      throw error;
    }
  }

  #enqueue(envelopes: readonly Uint8Array[], env: Env): LedgerEffect[] {
    const idle = this.#outbox.length === 0;
    this.#outbox.push(...envelopes);
    return idle && envelopes.length > 0
      ? [{ kind: 'schedule', token: 'flush', at_ms: env.now + this.#config.batch_ms }]
      : [];
  }

  #flush(): LedgerEffect[] {
    const effects: LedgerEffect[] = [];
    let batch: Uint8Array[] = [];
    let bytes = 0;
    const publish = () => {
      if (batch.length > 0) effects.push({ kind: 'publish', body: encodeGossip(batch) });
      [batch, bytes] = [[], 0];
    };
    for (const envelope of this.#outbox) {
      if (bytes + envelope.byteLength > CHUNK_BYTES) publish();
      batch.push(envelope);
      bytes += envelope.byteLength;
    }
    publish();
    this.#outbox = [];
    return effects;
  }

  #exchange(env: Env): LedgerEffect[] {
    const peers = [...this.#peers];
    const peer = peers[Math.floor(env.random() * peers.length)];
    return [this.#scheduleExchange(env), ...(peer === undefined ? [] : [this.#hello(peer)])];
  }

  #scheduleExchange(env: Env): LedgerEffect {
    const jitter = 0.75 + env.random() / 2;
    return { kind: 'schedule', token: 'exchange', at_ms: env.now + this.#config.exchange_ms * jitter };
  }

  #hello(to: NodeId): LedgerEffect {
    const message: SyncMessage = { kind: 'hello', hash: this.ledger.hash, records: this.ledger.size };
    return { kind: 'send', to, body: encodeSync(message) };
  }

  #vector(to: NodeId, back: boolean): LedgerEffect {
    const entries = [...this.ledger.seen.entries()].slice(0, VECTOR_ENTRIES_MAX).map(([stream, high]) => {
      return { ...streamParts(stream), high };
    });
    return { kind: 'send', to, body: encodeSync({ kind: 'vector', hash: this.ledger.hash, entries, back }) };
  }
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

function rejectMalformed(error: unknown, from: NodeId): LedgerEffect[] {
  if (!isShoalError(error)) throw error;
  return [{ kind: 'rejected', from, reason: 'malformed', author: null }];
}
