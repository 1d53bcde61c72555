/**
 * Deletions are collected by all in the end and bring nothing back, whatever happened before: restarts, crashes between two
 * effects, disks put back as they once were, members that come late or are revoked, clocks that are off by hours.
 * Not here: messages that are lost, doubled or late, and quotas (turmoil.test.ts).
 */
import t from 'tap';
import type { Signer } from '../../../protocols/base/crypto.ts';
import type { NodeId } from '../../../protocols/base/ids.ts';
import type { LedgerEffect } from '../../../protocols/ledger/effects.ts';
import { HORIZON_UNKNOWN } from '../../../protocols/ledger/horizon.ts';
import { COLLECT_TIMER, type LedgerEvent, type LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { type LedgerRecord, streamId } from '../../../protocols/ledger/record.ts';
import { EPOCH_END } from '../../../protocols/ledger/record-reader.ts';
import { startEpoch } from '../../../protocols/ledger/start-epoch.ts';
import { revokeBody } from '../../../protocols/trust/acts.ts';
import fc from '../../laws.ts';
import {
  CAUGHT_UP,
  cluster,
  genesis,
  memberGrant,
  NOW,
  operator,
  sealedAct,
  seededRandom,
  TAG,
  testSigner,
} from './fixtures.ts';
import { LedgerDisk } from './ledger-disk.ts';
import { digestsOf, StandingWrites } from './standing-writes.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const CONFIG = { tombstone_ms: HOUR_MS, ...CAUGHT_UP };
const KEYS = ['app:0', 'app:1', 'app:2'];
const FOUNDERS_COUNT = 3;
const MEMBERS_MAX = 6;
/** Of one meeting. Two that answer one another for ever are to fail, not to hang. */
const MESSAGES_MAX = 1_000;
/** A life that begins in one second with another of this disk may share its numbers: nothing tells (start-epoch.ts). */
const RESTORE_MS = 2_000;
/** Enough for the stamps of all clocks to be past, and for those to be acknowledged and collected that came late. */
const CALM_TURNS = 6;

/** One node on a disk that does what effects say, as far as power lasts. */
class Node {
  readonly signer: Signer;
  readonly world: World;
  disk: LedgerDisk;
  /** The disk as it was at times. */
  readonly images: LedgerDisk[] = [];
  machine!: LedgerMachine;
  /** By which this clock is ahead of the true time. */
  skew_ms = 0;
  /** Deletions that went, with all that was under their key, since it started: it remembers no longer. */
  readonly collected = new Map<string, Set<string>>();
  /** The timer by which it greets a peer again. */
  #exchange = '';
  /** Before power fails. */
  #effects_left = Number.POSITIVE_INFINITY;

  constructor(world: World, signer: Signer, records: Iterable<LedgerRecord>) {
    this.world = world;
    this.signer = signer;
    this.disk = LedgerDisk.with(records);
    this.start();
    this.write('member', signer.id, { name: 'x' });
  }

  get id(): NodeId {
    return this.signer.id as NodeId;
  }

  start(): void {
    this.#effects_left = Number.POSITIVE_INFINITY;
    const { now, random } = this.world;
    const records = this.disk.records();
    this.disk.epoch = startEpoch(this.disk.epoch, now + this.skew_ms, records, random);
    this.machine = this.disk.machine(this.signer, CONFIG, records);
    this.collected.clear();
    this.feed({ kind: 'start' });
  }

  /** Power fails after so many of the effects of what is done with it, and comes back. */
  crash(effects_count: number, work: () => void): void {
    this.#effects_left = effects_count;
    work();
    this.start();
  }

  restore(image: LedgerDisk): void {
    this.disk = image.image();
    this.start();
  }

  /** @returns what was done: nothing any more where power has failed. */
  feed(event: LedgerEvent): readonly LedgerEffect[] {
    if (this.#effects_left === 0) return [];
    const env = { now: this.world.now + this.skew_ms, random: this.world.random };
    const all = this.machine.handle(event, env);
    const effects = all.slice(0, this.#effects_left);
    this.#effects_left -= effects.length;
    // What goes with a horizon is kept with it, or none of it is: the daemon writes all of one call at once.
    const next = all[effects.length];
    if (effects.at(-1)?.kind === 'horizon' && next?.kind === 'persist') effects.push(next);
    for (const effect of effects) {
      this.disk.keep(effect);
      if (effect.kind === 'schedule' && effect.token.startsWith('exchange/')) this.#exchange = effect.token;
      if (effect.kind !== 'persist') continue;
      for (const record of effect.put) if (record.author === this.id) this.world.promises.number(record);
      for (const record of effect.remove) if (record.isTombstone) this.#noteCollected(record);
    }
    return effects;
  }

  #noteCollected({ kind, key, digest }: LedgerRecord): void {
    if (this.machine.ledger.siblings(kind, key).length > 0) return;
    this.collected.set(key, (this.collected.get(key) ?? new Set()).add(digest));
  }

  write(recordKind: string, key: string, body: unknown): LedgerRecord {
    const effects = this.feed({ kind: 'write', author: this.id, recordKind, key, body });
    return effects.find((effect) => effect.kind === 'written')!.record;
  }

  greet(): readonly LedgerEffect[] {
    return this.feed({ kind: 'timer', token: this.#exchange });
  }

  collect(): void {
    this.feed({ kind: 'timer', token: COLLECT_TIMER });
  }

  /**
   * By another way than over the mesh. Grants come first: who collects before it has heard of a member that has to
   * acknowledge cannot know that, and for the others its word is as good as any.
   */
  hear(from: Node, records: readonly LedgerRecord[]): void {
    this.introduce([...from.records('grant'), ...records]);
  }

  /** Old records. One in doubt knows no better than to take them, and when all are nobody does. */
  beShown(records: readonly LedgerRecord[]): void {
    if (this.disk.horizon_ms !== HORIZON_UNKNOWN) this.introduce(records);
  }

  introduce(records: readonly LedgerRecord[]): void {
    this.feed({ kind: 'introduce', envelopes: records.map(({ bytes }) => bytes) });
  }

  /** What an operator has signed at its door is as late as it is, whatever its own clock says. */
  act(record: LedgerRecord): void {
    this.feed({ kind: 'introduce', envelopes: [record.bytes], now_ms: this.world.now });
  }

  records(kind: string): LedgerRecord[] {
    return [...this.machine.ledger.ofKind(kind)].flatMap(([, records]) => records);
  }

  tags(key: string): readonly LedgerRecord[] {
    return this.machine.ledger.siblings('tag', key);
  }
}

/** What the law is about, told from the writes alone. */
class Promises {
  readonly written: LedgerRecord[] = [];
  readonly #standing = new StandingWrites();
  readonly #numbers = new Map<string, string>();
  /** Of an author under a key. */
  readonly #last = new Map<string, LedgerRecord>();
  readonly #seen = new Set<string>();
  readonly #unseen = new Set<string>();
  /** What was written under a key by who had collected these deletions of it. */
  readonly #anew: { readonly record: LedgerRecord; readonly collected: ReadonlySet<string> }[] = [];

  number({ author, epoch, seq, digest }: LedgerRecord): void {
    const number = `${streamId(author, epoch)}/${seq}`;
    if ((this.#numbers.get(number) ?? digest) !== digest) throw new Error('a number was given twice');
    this.#numbers.set(number, digest);
  }

  /** @param seen what its author held under this key when it wrote, and @param collected what it had let go of before. */
  write(record: LedgerRecord, seen: readonly LedgerRecord[], collected: ReadonlySet<string>): void {
    const { author, key, isTombstone } = record;
    this.written.push(record);
    this.#standing.add(record, seen);
    for (const { digest } of seen) this.#seen.add(digest);
    // Of one author's records the latest stays, whether it knew the others or not: an older disk does not.
    const last = this.#last.get(`${author} ${key}`);
    if (last !== undefined && !last.isTombstone && !this.#seen.has(last.digest)) this.#unseen.add(key);
    this.#last.set(`${author} ${key}`, record);
    if (!isTombstone && seen.length === 0) this.#anew.push({ record, collected: new Set(collected) });
  }

  /** @throws when one is not kept. All nodes are equal to this one. */
  check(node: Node): void {
    for (const { record, collected } of this.#anew) {
      const live = digestsOf(node.tags(record.key));
      if (live.slice(0, live.indexOf(record.digest) + 1).some((digest) => collected.has(digest)))
        throw new Error('what was written anew is hidden by the deletion that its author had collected');
    }
    for (const key of KEYS) {
      const live = node.tags(key);
      if (live.length === 1 && live[0]!.isTombstone) throw new Error('a deletion that stands alone stays');
      if (this.#unseen.has(key)) continue;
      const [have, want] = [digestsOf(live), this.#standing.of(key)];
      if (want.some((digest) => !have.includes(digest))) throw new Error('a write was lost');
      if (have.some((digest) => !want.includes(digest))) throw new Error('a write came back');
    }
  }
}

class World {
  now = NOW + 10;
  nodes: Node[] = [];
  readonly promises = new Promises();
  readonly random: () => number;
  #acts_count = 0;

  constructor(seed: number) {
    this.random = seededRandom(seed);
    const founders = cluster(FOUNDERS_COUNT);
    const grants = [...founders[0]!.machine.ledger.records()];
    this.nodes = founders.map(({ signer }) => new Node(this, signer, grants));
    this.spread();
  }

  node(number: number): Node {
    return this.nodes[number % this.nodes.length]!;
  }

  /** @param messages_max after so many the connection breaks. */
  meet(one: Node, other: Node, messages_max = MESSAGES_MAX): void {
    if (one === other) return;
    const queue: { to: Node; from: Node; body: Uint8Array }[] = [];
    const post = (from: Node, effects: readonly LedgerEffect[]) => {
      const to = from === one ? other : one;
      for (const effect of effects) if (effect.kind === 'send') queue.push({ to, from, body: effect.body });
    };
    let messages_count = 0;
    const deliver = () => {
      for (; queue.length > 0 && messages_count < messages_max; messages_count += 1) {
        if (messages_count === MESSAGES_MAX - 1) throw new Error('two that meet come to no end');
        const { to, from, body } = queue.shift()!;
        post(to, to.feed({ kind: 'message', from: from.id, body }));
      }
    };
    post(one, one.feed({ kind: 'connected', peer: other.id }));
    post(other, other.feed({ kind: 'connected', peer: one.id }));
    deliver();
    for (const node of [one, other]) {
      post(node, node.greet());
      deliver();
    }
    one.feed({ kind: 'disconnected', peer: other.id });
    other.feed({ kind: 'disconnected', peer: one.id });
  }

  /** Twice, so that what came last reaches the first. */
  spread(): void {
    for (let time = 0; time < 2; time += 1)
      for (const one of this.nodes) for (const other of this.nodes) if (one !== other) this.meet(one, other);
  }

  collect(): void {
    for (const node of this.nodes) node.collect();
  }

  /** All acknowledge and know it of one another; the first so many collect. */
  agree(collecting_count: number): void {
    this.spread();
    this.now += 2 * HOUR_MS;
    this.collect();
    this.spread();
    for (const node of this.nodes.slice(0, collecting_count)) node.collect();
  }

  write(node: Node, key: string, body: unknown): void {
    const seen = node.tags(key);
    const record = node.write('tag', key, body);
    this.promises.write(record, seen, node.collected.get(key) ?? new Set());
  }

  /** Is all that the one knows known to the other? What nobody else has is lost with its disk, and no law can help that. */
  hasTold(one: Node, other: Node): boolean {
    if (one === other) return false;
    this.meet(one, other);
    this.meet(other, one);
    return one.machine.ledger.hash === other.machine.ledger.hash;
  }

  restore(node: Node, other: Node, number: number): void {
    const image = node.images[number % node.images.length];
    if (image === undefined || !this.hasTold(node, other)) return;
    this.now += RESTORE_MS;
    node.restore(image);
  }

  join(at: Node, isTold: boolean): void {
    if (this.nodes.length >= MEMBERS_MAX) return;
    const signer = testSigner(50 + this.#acts_count);
    at.act(this.#act('grant', memberGrant(signer.id)));
    const node = new Node(this, signer, [genesis, ...at.records('grant')]);
    this.nodes.push(node);
    if (isTold) this.meet(node, at);
  }

  /** What it wrote stays. */
  revoke(node: Node, at: Node): void {
    if (this.nodes.length <= 2 || !this.hasTold(node, at)) return;
    const cut = { epoch: EPOCH_END - 1, last: Number.MAX_SAFE_INTEGER };
    at.act(this.#act('revoke', revokeBody({ subject: node.id, reason: '', cut })));
    this.nodes = this.nodes.filter((other) => other !== node);
  }

  #act(kind: 'grant' | 'revoke', body: Parameters<typeof sealedAct>[3]): LedgerRecord {
    this.#acts_count += 1;
    return sealedAct(genesis.digest, operator, kind, body, { seq: 1_000 + this.#acts_count, ms: this.now });
  }

  /** Clocks are right, all hear one another, and whatever was written is shown to all once more. */
  calm(): void {
    // Without the deletions, which would undo it at once.
    const late = this.promises.written.filter(({ isTombstone }) => !isTombstone);
    for (const node of this.nodes) node.skew_ms = 0;
    this.spread();
    // Without a round to agree on a doubt need not end.
    this.nodes[0]!.write('tag', 'end:1', null);
    for (let turn = 0; turn < CALM_TURNS; turn += 1) {
      this.now += 2 * HOUR_MS;
      for (let look = 0; look < 2; look += 1) {
        this.collect();
        this.spread();
      }
      if (turn < CALM_TURNS / 2) for (const node of this.nodes) node.beShown(late);
    }
  }

  check(): void {
    const [first, ...others] = this.nodes as [Node, ...Node[]];
    if (others.some(({ machine }) => machine.ledger.hash !== first.machine.ledger.hash))
      throw new Error('not equal in the end');
    if (others.some(({ machine }) => machine.horizon_ms !== first.machine.horizon_ms))
      throw new Error('horizons are not equal in the end');
    for (const { disk, machine } of this.nodes) {
      if (!disk.isOf(machine)) throw new Error('the disk is not what is live');
      if (disk.horizon_ms !== machine.horizon_ms) throw new Error('a doubt does not end');
    }
    this.promises.check(first);
  }
}

const at = fc.nat(MEMBERS_MAX - 1);
/** Of those who have agreed. */
const collecting_count = fc.constantFrom(0, 1, 2, MEMBERS_MAX, MEMBERS_MAX);
const arbitraries = {
  write: fc.record({ op: fc.constant('write' as const), node: at, key: fc.nat(2), isDeletion: fc.boolean() }),
  meet: fc.record({
    op: fc.constant('meet' as const),
    node: at,
    other: at,
    messages_max: fc.constantFrom(2, 5, MESSAGES_MAX, MESSAGES_MAX),
  }),
  hand: fc.record({ op: fc.constant('hand' as const), node: at, other: at, part: fc.constantFrom(0.3, 0.7) }),
  handAcks: fc.record({ op: fc.constant('handAcks' as const), node: at, other: at }),
  gather: fc.record({ op: fc.constant('gather' as const), node: at }),
  collect: fc.record({ op: fc.constant('collect' as const), node: at }),
  round: fc.record({ op: fc.constant('round' as const) }),
  spread: fc.record({ op: fc.constant('spread' as const) }),
  agree: fc.record({ op: fc.constant('agree' as const), collecting_count }),
  /** What all have seen is deleted. */
  forget: fc.record({ op: fc.constant('forget' as const), node: at, key: fc.nat(2), collecting_count }),
  wait: fc.record({ op: fc.constant('wait' as const), minutes: fc.constantFrom(1, 20, 40, 130) }),
  restart: fc.record({ op: fc.constant('restart' as const), node: at }),
  crash: fc.record({ op: fc.constant('crash' as const), node: at, effects_count: fc.nat(3) }),
  crashMeeting: fc.record({
    op: fc.constant('crashMeeting' as const),
    node: at,
    other: at,
    effects_count: fc.nat(8),
  }),
  skew: fc.record({ op: fc.constant('skew' as const), node: at, seconds: fc.constantFrom(-20, 0, 20) }),
  skewFar: fc.record({ op: fc.constant('skewFar' as const), node: at, hours: fc.constantFrom(-3, 0, 3) }),
  replay: fc.record({ op: fc.constant('replay' as const), node: at, record: fc.nat(20) }),
  image: fc.record({ op: fc.constant('image' as const), node: at }),
  restore: fc.record({ op: fc.constant('restore' as const), node: at, other: at, image: fc.nat(5) }),
  join: fc.record({ op: fc.constant('join' as const), node: at, isTold: fc.boolean() }),
  revoke: fc.record({ op: fc.constant('revoke' as const), node: at, other: at }),
} as const;
type Op = keyof typeof arbitraries;
type Step<Of extends Op = Op> = {
  [Each in Of]: (typeof arbitraries)[Each] extends fc.Arbitrary<infer S> ? S : never;
}[Of];

const TAKEN: { readonly [Each in Op]: (world: World, step: Step<Each>) => void } = {
  write: (world, { node, key, isDeletion }) => {
    world.write(world.node(node), KEYS[key]!, isDeletion ? null : TAG);
  },
  meet: (world, { node, other, messages_max }) => {
    world.meet(world.node(node), world.node(other), messages_max);
  },
  /** Some of what one holds comes to the other by another way. */
  hand: (world, { node, other, part }) => {
    const records = [...world.node(node).machine.ledger.records()];
    world.node(other).hear(
      world.node(node),
      records.filter(() => world.random() < part),
    );
  },
  handAcks: (world, { node, other }) => {
    world.node(other).hear(world.node(node), world.node(node).records('ack'));
  },
  /** Acknowledgements of all come to one, which looks at them. */
  gather: (world, { node }) => {
    for (const other of world.nodes) world.node(node).hear(other, other.records('ack'));
    world.node(node).collect();
  },
  collect: (world, { node }) => {
    world.node(node).collect();
  },
  /** All say what they hold, and nobody hears of it. */
  round: (world) => {
    world.now += 2 * HOUR_MS;
    world.collect();
  },
  spread: (world) => {
    world.spread();
  },
  agree: (world, { collecting_count }) => {
    world.agree(collecting_count);
  },
  forget: (world, { node, key, collecting_count }) => {
    world.spread();
    world.write(world.node(node), KEYS[key]!, null);
    world.agree(collecting_count);
  },
  wait: (world, { minutes }) => {
    world.now += minutes * MINUTE_MS;
  },
  restart: (world, { node }) => {
    world.node(node).start();
  },
  crash: (world, { node, effects_count }) => {
    world.node(node).crash(effects_count, () => world.node(node).collect());
  },
  crashMeeting: (world, { node, other, effects_count }) => {
    world.node(node).crash(effects_count, () => world.meet(world.node(node), world.node(other)));
  },
  skew: (world, { node, seconds }) => {
    world.node(node).skew_ms = seconds * 1_000;
  },
  skewFar: (world, { node, hours }) => {
    world.node(node).skew_ms = hours * HOUR_MS;
  },
  /** What was written once comes again, nobody knows where from. */
  replay: (world, { node, record }) => {
    world.node(node).beShown(world.promises.written.slice(record, record + 1));
  },
  image: (world, { node }) => {
    world.node(node).images.push(world.node(node).disk.image());
  },
  restore: (world, { node, other, image }) => {
    world.restore(world.node(node), world.node(other), image);
  },
  join: (world, { node, isTold }) => {
    world.join(world.node(node), isTold);
  },
  revoke: (world, { node, other }) => {
    world.revoke(world.node(node), world.node(other));
  },
};

function take(world: World, step: Step): void {
  world.now += 1;
  (TAKEN[step.op] as (world: World, step: Step) => void)(world, step);
}

type Weights = { readonly [Each in Op]?: number };
const USUAL: Weights = {
  ...{
    write: 8,
    meet: 6,
    hand: 2,
    handAcks: 4,
    gather: 7,
    collect: 5,
    round: 4,
    spread: 5,
    agree: 4,
    forget: 5,
    wait: 4,
  },
  ...{ restart: 2, crash: 2, crashMeeting: 1, skew: 2, replay: 2 },
};
const OLD_DISKS: Weights = { image: 5, restore: 4 };
const MEMBERS: Weights = { join: 3, revoke: 2 };
const CLOCKS: Weights = { skewFar: 3 };

const TROUBLES: readonly (readonly [what: string, weights: Weights, runs: number])[] = [
  ['restarts and crashes', USUAL, 20],
  ['disks put back as they once were', { ...USUAL, ...OLD_DISKS }, 20],
  ['members that come late or are revoked', { ...USUAL, ...MEMBERS }, 20],
  ['clocks that are off by hours', { ...USUAL, ...CLOCKS }, 20],
  ['all of that', { ...USUAL, ...OLD_DISKS, ...MEMBERS, ...CLOCKS }, 20],
];

/** How many times as many runs as by default, for a long look. */
const TIMES = Number(process.env['RUNS'] ?? 1);

for (const [what, weights, runs] of TROUBLES)
  t.test(`deletions are collected by all and bring nothing back: ${what}`, async (t) => {
    const step = fc.oneof(
      ...Object.entries(weights).map(([kind, weight]) => ({
        weight,
        arbitrary: arbitraries[kind as Op] as fc.Arbitrary<Step>,
      })),
    );
    let collected_count = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 45, size: 'max' }), fc.nat(), (steps, seed) => {
        const world = new World(seed);
        for (const step of steps) take(world, step);
        if (world.nodes.some(({ collected }) => collected.size > 0)) collected_count += 1;
        world.calm();
        world.check();
      }),
      { numRuns: runs * TIMES },
    );
    t.ok(collected_count > 0, `${collected_count} runs collected something before the end`);
  });
