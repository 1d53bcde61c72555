/** Lost, doubled and late messages, crashes, old clocks and quotas: whatever happened, calm brings all to one ledger. */
import t from 'tap';
import { HLC_AHEAD_MS_MAX, HLC_FOLLOWED_MS_MAX, hlcCompare } from '../../../protocols/base/clock.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { isShoalError } from '../../../protocols/base/errors.ts';
import type { NodeId } from '../../../protocols/base/ids.ts';
import type { LedgerEffect } from '../../../protocols/ledger/effects.ts';
import { UNWANTED_MS } from '../../../protocols/ledger/exchange.ts';
import type { LedgerEvent, LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { QuotaConfig } from '../../../protocols/ledger/quota.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import fc from '../../laws.ts';
import { cluster, NOW, seededRandom, TAG } from './fixtures.ts';
import { LedgerDisk } from './ledger-disk.ts';
import { digestsOf, StandingWrites } from './standing-writes.ts';

const HOUR_MS = 3_600_000;
const KEYS = Array.from({ length: 6 }, (_, at) => `app:${at}`);
/** Less than an author writes: its member record, its acknowledgement, and each of the keys. */
const QUOTAS = {
  none: { author_records_max: 1_000, author_bytes_max: 1 << 20 },
  records: { author_records_max: 4, author_bytes_max: 1 << 20 },
  bytes: { author_records_max: 1_000, author_bytes_max: 750 },
};
const CONFIG = { give_bytes_max: 1500, tombstone_ms: HOUR_MS };

interface Timer {
  readonly token: string;
  readonly at_ms: number;
}

/** One node on a disk that does what effects say; timers and messages are lists that the test looks through. */
class Node {
  readonly signer: Signer;
  readonly disk: LedgerDisk;
  machine!: LedgerMachine;
  timers: Timer[] = [];
  /** By which this clock is ahead of the true time. */
  skew_ms = 0;
  readonly world: World;

  constructor(world: World, signer: Signer, records: Iterable<LedgerRecord>) {
    this.world = world;
    this.signer = signer;
    this.disk = LedgerDisk.with(records);
    this.start();
  }

  start(): void {
    this.timers = [];
    this.machine = this.disk.machine(this.signer, { ...CONFIG, ...this.world.quota });
    this.feed({ kind: 'start' });
  }

  feed(event: LedgerEvent): readonly LedgerEffect[] {
    const env = { now: this.world.now + this.skew_ms, random: this.world.random };
    const effects = this.machine.handle(event, env);
    for (const effect of effects) this.#carryOut(effect);
    return effects;
  }

  #carryOut(effect: LedgerEffect): void {
    this.disk.keep(effect);
    if (effect.kind === 'schedule') {
      this.timers = this.timers.filter(({ token }) => token !== effect.token);
      this.timers.push({ token: effect.token, at_ms: effect.at_ms - this.skew_ms });
    }
    if (effect.kind === 'publish')
      for (const to of this.world.nodes) if (to !== this) this.world.post(this, to, 'gossip', effect.body);
    if (effect.kind === 'send') {
      const to = this.world.nodes.find(({ signer }) => signer.id === effect.to);
      if (to !== undefined) this.world.post(this, to, 'message', effect.body);
    }
  }
}

interface Letter {
  readonly from: Node;
  readonly to: Node;
  readonly kind: 'gossip' | 'message';
  readonly body: Uint8Array;
}

class World {
  now = NOW + 10;
  nodes: Node[] = [];
  letters: Letter[] = [];
  readonly random: () => number;
  /** Pairs that hear one another, as `<from> <to>`. */
  readonly links = new Set<string>();
  loss = 0;
  readonly quota: QuotaConfig;

  constructor(count: number, seed: number, quota: QuotaConfig) {
    this.quota = quota;
    this.random = seededRandom(seed);
    const founders = cluster(count);
    const grants = [...founders[0]!.machine.ledger.records()];
    this.nodes = founders.map(({ signer }) => new Node(this, signer, grants));
    for (const one of this.nodes)
      one.feed({
        kind: 'write',
        author: one.signer.id,
        recordKind: 'member',
        key: one.signer.id,
        body: { name: 'x' },
      });
    for (const one of this.nodes) for (const other of this.nodes) if (one !== other) this.link(one, other);
  }

  post(from: Node, to: Node, kind: Letter['kind'], body: Uint8Array): void {
    if (!this.links.has(`${from.signer.id} ${to.signer.id}`)) return;
    if (this.letters.length < 5000 && this.random() >= this.loss) this.letters.push({ from, to, kind, body });
  }

  link(one: Node, other: Node): void {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      if (this.links.has(`${from.signer.id} ${to.signer.id}`)) continue;
      this.links.add(`${from.signer.id} ${to.signer.id}`);
      from.feed({ kind: 'connected', peer: to.signer.id as NodeId });
    }
  }

  cut(one: Node, other: Node): void {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      if (!this.links.delete(`${from.signer.id} ${to.signer.id}`)) continue;
      from.feed({ kind: 'disconnected', peer: to.signer.id as NodeId });
    }
    this.letters = this.letters.filter(
      ({ from, to }) => !(from === one && to === other) && !(from === other && to === one),
    );
  }

  deliver(count: number, isShuffled: boolean): void {
    for (let turn = 0; turn < count && this.letters.length > 0; turn += 1) {
      const at = isShuffled ? Math.floor(this.random() * this.letters.length) : 0;
      const [letter] = this.letters.splice(at, 1);
      const { from, to, kind, body } = letter!;
      to.feed({ kind, from: from.signer.id as NodeId, body });
      if (isShuffled && this.random() < 0.1) this.letters.push(letter!);
    }
  }

  /** Time goes on in steps, and whatever is due fires. */
  pass(ms: number, step_ms: number): void {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += step_ms;
      for (const node of this.nodes) {
        const due = node.timers.filter(({ at_ms }) => at_ms <= this.now);
        node.timers = node.timers.filter(({ at_ms }) => at_ms > this.now);
        for (const { token } of due) node.feed({ kind: 'timer', token });
      }
      this.deliver(3000, false);
    }
  }
}

const at = fc.nat(2);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('write' as const),
      node: at,
      key: fc.constantFrom(...KEYS),
      isDeletion: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('cut' as const), node: at, other: at }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('link' as const), node: at, other: at }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('deliver' as const), count: fc.nat(20) }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant('wait' as const), ms: fc.constantFrom(5, 500, 5_000, 60_000) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('sleep' as const), hours: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('restart' as const), node: at }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('skew' as const),
      node: at,
      ms: fc.integer({ min: -29_000, max: 29_000 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('loss' as const), part: fc.constantFrom(0, 0.3, 0.7) }),
  },
);

/** @returns undefined when its author has written all that it may. */
function writeTag(node: Node, key: string, body: unknown): LedgerRecord | undefined {
  try {
    const effects = node.feed({ kind: 'write', author: node.signer.id, recordKind: 'tag', key, body });
    return effects.find((effect) => effect.kind === 'written')!.record;
  } catch (error) {
    if (isShoalError(error, 'E_QUOTA')) return undefined;
    throw error;
  }
}

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** An author's deletions fill its quota, and those who have collected some of them took in what it acknowledged. */
const FILLED_BY_DELETIONS: [Step[], number, keyof typeof QUOTAS] = [
  [
    { op: 'write', node: 0, key: 'app:2', isDeletion: false },
    { op: 'write', node: 1, key: 'app:2', isDeletion: true },
    { op: 'loss', part: 0.3 },
    { op: 'write', node: 1, key: 'app:4', isDeletion: true },
    { op: 'write', node: 1, key: 'app:0', isDeletion: true },
    { op: 'sleep', hours: 2 },
    { op: 'write', node: 1, key: 'app:2', isDeletion: false },
    { op: 'sleep', hours: 1 },
  ],
  478_640_378,
  'records',
];

const RUNS = 80;
let refused_count = 0;

t.test(
  'after any turmoil all nodes hold one ledger, on disk too, and no number was given twice',
  { timeout: 600_000 },
  async (t) => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60, size: 'max' }),
        fc.nat(),
        fc.constantFrom('none' as const, 'records' as const, 'bytes' as const),
        (steps, seed, full) => {
          const isFull = full !== 'none';
          const world = new World(3, seed, QUOTAS[full]);
          const { nodes } = world;
          const standing = new StandingWrites();
          const numbers = new Set<string>();
          for (const each of steps) {
            world.now += 1;
            if (each.op === 'write') {
              const node = nodes[each.node]!;
              const { ledger } = node.machine;
              const seen = ledger.siblings('tag', each.key);
              // Two authors at their quotas that each write over the other: either may be what stays.
              const isAbove = ({ author }: LedgerRecord) =>
                nodes.slice(each.node + 1).some(({ signer }) => signer.id === author);
              if (isFull && seen.some(isAbove)) continue;
              const record = writeTag(node, each.key, each.isDeletion ? null : TAG);
              if (record === undefined) {
                if (!isFull) throw new Error('a write was refused');
                refused_count += 1;
                continue;
              }
              const { author, epoch, seq } = record;
              if (numbers.has(`${author}/${epoch}/${seq}`)) throw new Error('a number was given twice');
              numbers.add(`${author}/${epoch}/${seq}`);
              const live = ledger.siblings('tag', each.key);
              if (live.length !== 1 || live[0] !== record)
                throw new Error('a write does not win at its author');
              for (const other of ledger.records()) {
                // What others wrote elsewhere is not followed far.
                const isNear = other.author === author || other.key === each.key;
                const isAfter = isNear
                  ? other !== record && hlcCompare(other.hlc, record.hlc) >= 0
                  : other.hlc.ms > record.hlc.ms + HLC_AHEAD_MS_MAX - HLC_FOLLOWED_MS_MAX;
                if (isAfter) throw new Error('a write is not stamped after what its author had seen');
              }
              standing.add(record, seen);
            }
            if (each.op === 'cut' && each.node !== each.other)
              world.cut(nodes[each.node]!, nodes[each.other]!);
            if (each.op === 'link' && each.node !== each.other)
              world.link(nodes[each.node]!, nodes[each.other]!);
            if (each.op === 'deliver') world.deliver(each.count, true);
            if (each.op === 'wait') world.pass(each.ms, Math.max(5, each.ms / 10));
            if (each.op === 'sleep') world.pass(each.hours * HOUR_MS, 60_000);
            if (each.op === 'skew') nodes[each.node]!.skew_ms = each.ms;
            if (each.op === 'loss') world.loss = each.part;
            if (each.op === 'restart') {
              const node = nodes[each.node]!;
              const { hash } = node.machine.ledger;
              for (const other of nodes) if (other !== node) world.cut(node, other);
              node.start();
              if (node.machine.ledger.hash !== hash) throw new Error('the disk is not what was live');
              for (const other of nodes) if (other !== node) world.link(node, other);
            }
          }
          world.loss = 0;
          for (const one of nodes) for (const other of nodes) if (one !== other) world.link(one, other);
          world.pass(180_000, 500);
          const isEqual = () => new Set(nodes.map(({ machine }) => machine.ledger.hash)).size === 1;
          // Some may just have collected what the others are about to, and not ask yet for what they had no room for till then.
          for (let past_ms = 0; past_ms < 1.2 * UNWANTED_MS && !isEqual(); past_ms += 60_000)
            world.pass(60_000, 500);
          if (!isEqual()) throw new Error('not equal in the end');
          for (const { disk, machine } of nodes)
            if (!disk.isOf(machine)) throw new Error('the disk is not what is live');
          for (const { signer } of nodes) {
            const own = [...nodes[0]!.machine.ledger.recordsOf(signer.id)];
            const own_bytes = own.reduce((sum, { payload_bytes }) => sum + payload_bytes, 0);
            if (own.length > QUOTAS[full].author_records_max || own_bytes > QUOTAS[full].author_bytes_max)
              throw new Error('an author fills more than its quota');
          }
          // Where one must go for another nothing of the kind was promised.
          if (isFull) return;
          for (const key of KEYS)
            if (digestsOf(nodes[0]!.machine.ledger.siblings('tag', key)).join() !== standing.of(key).join())
              throw new Error('a write was lost, or came back');
        },
      ),
      { numRuns: RUNS, examples: [FILLED_BY_DELETIONS] },
    );
    t.ok(refused_count > 0, `${refused_count} writes were one too many`);
  },
);
