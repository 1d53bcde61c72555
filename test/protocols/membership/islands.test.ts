/** Parts of a large cluster that are cut off: each comes to know it, with links to few of those who are lost. */
import t from 'tap';
import type { NodeId } from '../../../protocols/base/ids.ts';
import { MEMBERSHIP_DEFAULTS, MEMBERSHIP_LIMITS } from '../../../protocols/membership/config.ts';
import { type MembershipEvent, memberStatus } from '../../../protocols/membership/membership.ts';
import { decodeMessage } from '../../../protocols/membership/messages.ts';
import { isGivenUp } from '../../../protocols/membership/votes.ts';
import { Machine } from './harness.ts';

const STEP_MS = 100;
const { meshMembers_max } = MEMBERSHIP_DEFAULTS;

/** With whom it has connections, and nothing to do. */
function needless({ state: { connected, wanted, targets } }: Machine): NodeId[] {
  return [...connected.keys()].filter((peer) => !wanted.has(peer) && !targets.has(peer));
}

/** A lot for all that is asked of one test. */
function lots(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}

/**
 * Some members of a cluster, with all that they do to one another; the others are heard until the network breaks. Or all of
 * it, which breaks into two.
 */
class Island {
  readonly machines: Map<NodeId, Machine>;
  readonly crowd: readonly NodeId[];
  /** Who has refuted. */
  readonly refuted = new Set<NodeId>();
  /** One here that reaches one of the lost. */
  bridge: { readonly between: NodeId; readonly and: NodeId } | null = null;
  dials_count = 0;
  /** Whom each has dialled. */
  readonly #dialled = new Map<NodeId, Set<NodeId>>();
  /** By side, until it heals: what each of its members has on record. */
  #sides: readonly ReadonlySet<NodeId>[];
  readonly #records: { readonly side: ReadonlySet<NodeId>; readonly event: MembershipEvent }[] = [];
  readonly #random: () => number;

  /** @param side_count so many of them are on the one side, the others on the other; else all are on one. */
  constructor(count: number, of: number, seed = 1, side_count = count) {
    this.#random = lots(seed);
    const random = this.#random;
    this.crowd = Array.from({ length: of }, () => `k${Math.floor(random() * 2 ** 32).toString(36)}`);
    this.#sides = [new Set(this.crowd.slice(0, count))];
    this.machines = new Map(this.crowd.slice(0, count).map((id) => [id, this.#start(id)]));
    for (const machine of this.machines.values())
      for (const peer of machine.state.wanted) machine.give({ kind: 'connected', peer });
    for (let at = 0; at < 20; at += 1) {
      this.pass(STEP_MS);
      for (const machine of this.machines.values())
        for (const peer of machine.state.connected.keys())
          if (!this.machines.has(peer)) machine.give({ kind: 'heard', peer });
    }
    this.#part([new Set(this.crowd.slice(0, side_count)), new Set(this.crowd.slice(side_count, count))]);
  }

  #part(sides: readonly ReadonlySet<NodeId>[]): void {
    this.#sides = sides;
    for (const [id, machine] of this.machines)
      for (const peer of [...machine.state.connected.keys()])
        if (!this.#reaches(id, peer)) machine.give({ kind: 'disconnected', peer });
  }

  /** Each has the records of the others before it has heard anything else of them. */
  #join(sides: readonly ReadonlySet<NodeId>[]): void {
    this.#sides = sides;
    for (const { side, event } of this.#records)
      for (const [id, machine] of this.machines) if (!side.has(id)) machine.give(event);
  }

  /** Each of those that are left is alone for so long. */
  apart(duration_ms: number): void {
    const together = this.#sides;
    this.#part([...this.machines.keys()].map((id) => new Set([id])));
    this.pass(duration_ms);
    this.#join(together);
  }

  #start(id: NodeId, now = 1_000_000): Machine {
    const machine = new Machine(id, { jitter: 0.05 }, now, this.#random);
    machine.give({ kind: 'members', members: this.crowd.map((each) => [each, 1] as const) });
    machine.give({ kind: 'start' });
    return machine;
  }

  #sideOf(id: NodeId): ReadonlySet<NodeId> | undefined {
    return this.#sides.find((side) => side.has(id));
  }

  #reaches(id: NodeId, peer: NodeId): boolean {
    const side = this.#sideOf(id);
    return side !== undefined && side === this.#sideOf(peer);
  }

  /** All clocks are set back by so much; the timers that run are not put off by it. */
  setBack(by_ms: number): void {
    for (const machine of this.machines.values()) {
      machine.now -= by_ms;
      for (const [token, at_ms] of machine.due) machine.due.set(token, at_ms - by_ms);
    }
  }

  /** Its process has ended. */
  kill(id: NodeId): void {
    this.machines.delete(id);
    this.#sides = this.#sides.map((side) => side.difference(new Set([id])));
    for (const other of this.machines.values()) other.give({ kind: 'disconnected', peer: id });
  }

  restart(id: NodeId): void {
    for (const other of this.machines.values()) other.give({ kind: 'disconnected', peer: id });
    this.machines.set(id, this.#start(id, this.machines.get(id)!.now));
  }

  heal(): void {
    this.#join([new Set(this.crowd)]);
  }

  pass(duration_ms: number): void {
    for (let left_ms = duration_ms; left_ms > 0; left_ms -= STEP_MS) {
      for (const machine of this.machines.values()) machine.pass(STEP_MS);
      for (let turn = 0; turn < 3; turn += 1) this.#exchange();
    }
  }

  #exchange(): void {
    for (const [id, machine] of this.machines) {
      for (const effect of machine.effects.splice(0)) {
        if (effect.kind === 'connect') {
          this.dials_count += 1;
          this.#dialledBy(id).add(effect.peer);
          this.#connect(id, effect.peer);
        }
        if (effect.kind === 'disconnect') this.#disconnect(id, effect.peer);
        if (effect.kind === 'send' && machine.state.connected.has(effect.to))
          this.#send(id, effect.to, effect.body);
        if (effect.kind === 'verdict') this.#tell(id, { ...effect, watcher: id });
        if (effect.kind === 'refute') {
          this.refuted.add(id);
          this.#tell(id, { kind: 'member', id, incarnation: effect.incarnation });
        }
      }
    }
  }

  #tell(id: NodeId, event: MembershipEvent): void {
    const side = this.#sideOf(id)!;
    this.#records.push({ side, event });
    for (const other of side) this.machines.get(other)!.give(event);
  }

  #send(from: NodeId, to: NodeId, body: Uint8Array): void {
    if (this.#isBridge(from, to)) {
      const message = decodeMessage(body);
      if (message?.type === 'ping') this.#answer(from, to, message.seq);
    } else if (this.#reaches(from, to)) this.machines.get(to)?.give({ kind: 'message', from, body });
  }

  #answer(to: NodeId, from: NodeId, seq: number): void {
    this.machines.get(to)!.hear(from, { type: 'ack', seq, incarnation: 1 });
  }

  #isBridge(id: NodeId, peer: NodeId): boolean {
    return this.bridge?.between === id && this.bridge.and === peer;
  }

  #connect(id: NodeId, peer: NodeId): void {
    const [one, other] = [this.machines.get(id)!, this.machines.get(peer)];
    if (!this.#isBridge(id, peer) && !this.#reaches(id, peer)) return;
    if (!one.state.connected.has(peer)) one.give({ kind: 'connected', peer });
    if (other?.state.connected.has(id) === false) other.give({ kind: 'connected', peer: id });
  }

  #disconnect(id: NodeId, peer: NodeId): void {
    this.machines.get(id)!.give({ kind: 'disconnected', peer });
    this.machines.get(peer)?.give({ kind: 'disconnected', peer: id });
  }

  #dialledBy(id: NodeId): Set<NodeId> {
    const dialled = this.#dialled.get(id) ?? new Set();
    this.#dialled.set(id, dialled);
    return dialled;
  }

  /** Is nobody given up here without an attempt to reach it? */
  hasTriedAll(): boolean {
    for (const [id, { state }] of this.machines)
      for (const member of state.members.values())
        if (isGivenUp(member) && !this.#dialledBy(id).has(member.id)) return false;
    return true;
  }

  isWanted(id: NodeId): boolean {
    return [...this.machines.values()].some(({ state }) => state.wanted.has(id));
  }

  /** How many of the lost somebody here does not hold as failed, and how many of its own somebody does. */
  wrong(): { lost: number; own: number } {
    let [lost, own] = [0, 0];
    for (const { state } of this.machines.values())
      for (const id of this.crowd) {
        const isFailed = memberStatus(state, id) === 'failed';
        if (id !== state.self && this.#reaches(state.self, id) === isFailed) isFailed ? own++ : lost++;
      }
    return { lost, own };
  }
}

for (const [of, within_ms] of [
  [meshMembers_max + 2, 30_000],
  [100, 40_000],
] as const)
  t.test(`one of ${of} that is alone comes to hold all others as failed, and tells nobody`, async (t) => {
    const island = new Island(1, of);
    const [[self, machine]] = island.machines as unknown as [[NodeId, Machine]];
    const { state } = machine;
    island.pass(10_000);
    t.ok(state.cutOff !== null, 'it knows that it is cut off');
    island.pass(within_ms - 10_000);
    t.same(island.wrong(), { lost: 0, own: 0 });
    const said = island.crowd.filter((id) => state.members.get(id)?.charge);
    t.same(said, [], 'each of them would have to refute it');
    island.pass(600_000);
    const before_count = island.dials_count;
    island.pass(300_000);
    // No place is free again sooner than in half a minute, less the jitter.
    const dials_count = island.dials_count - before_count;
    t.ok(dials_count <= MEMBERSHIP_LIMITS.redials_max * 11, `${dials_count} dials in five minutes`);
    t.ok(dials_count >= Math.min(of - 1, MEMBERSHIP_LIMITS.redials_max) * 5, `${dials_count} dials`);
    const statuses = () =>
      new Set(island.crowd.filter((id) => id !== self).map((id) => memberStatus(state, id)));
    // One may be as lost as it is. When half of its links are back what it thought of all others is forgotten.
    const links = [...state.wanted];
    machine.give({ kind: 'connected', peer: links[0]! });
    t.same(statuses(), new Set(['failed', 'alive']));
    t.equal(state.failed.size, of - 2);
    for (const peer of links.slice(1, links.length / 2 + 2)) machine.give({ kind: 'connected', peer });
    t.equal(state.cutOff, null);
    t.same(statuses(), new Set(['alive']));
    for (const id of island.crowd) machine.give({ kind: 'connected', peer: id });
    island.pass(1000);
    for (const id of island.crowd) if (id !== self) t.equal(memberStatus(state, id), 'alive');
  });

for (const [count, of, seeds_count, within_ms] of [
  [2, meshMembers_max + 1, 4, 60_000],
  [6, 40, 6, 60_000],
  [5, 100, 4, 60_000],
  [18, 120, 1, 150_000],
  [40, 120, 1, 60_000],
  [5, 1000, 1, 60_000],
] as const)
  t.test(
    `${count} of ${of} that are cut off hold all others as failed in time, and never one another`,
    async (t) => {
      for (let seed = 1; seed <= seeds_count; seed += 1) {
        const island = new Island(count, of, seed);
        const own: number[] = [];
        for (let at = 0; at < within_ms; at += 5000) {
          island.pass(5000);
          own.push(island.wrong().own);
          if (!island.hasTriedAll()) t.fail('some were given up without a try');
        }
        t.same(island.wrong(), { lost: 0, own: 0 }, `seed ${seed}`);
        for (let at = 0; at < 30_000; at += 5000) {
          island.pass(5000);
          t.same(island.wrong(), { lost: 0, own: 0 }, 'and that stays so');
        }
        t.ok(own.every((each) => each === 0));
      }
    },
  );

t.test('whom one of a few reaches the others learn of', async (t) => {
  const island = new Island(5, 100);
  const [self] = island.machines.keys();
  const friend = island.crowd.find((id) => !island.machines.has(id) && !island.isWanted(id))!;
  island.bridge = { between: self!, and: friend };
  island.pass(60_000);
  const alive = new Map<NodeId, number>();
  for (let at = 0; at < 120; at += 1) {
    island.pass(1000);
    for (const [id, { state }] of island.machines)
      if (memberStatus(state, friend) !== 'failed') alive.set(id, (alive.get(id) ?? 0) + 1);
  }
  for (const [id, { state }] of island.machines) {
    t.ok(alive.get(id)! > 60, `for ${alive.get(id)} of 120 s`);
    t.ok(state.failed.size >= 94);
  }
});

t.test('one of a few that is started again while they are cut off learns of all who are lost', async (t) => {
  const island = new Island(5, 100);
  island.pass(60_000);
  island.restart([...island.machines.keys()][0]!);
  island.pass(60_000);
  t.same(island.wrong(), { lost: 0, own: 0 });
});

t.test('one of a few that many answer again is back, whichever of its links are', async (t) => {
  const island = new Island(5, 100);
  island.pass(60_000);
  const [[, machine]] = island.machines as unknown as [[NodeId, Machine]];
  const { state } = machine;
  const strangers = island.crowd.filter((id) => !island.machines.has(id) && !state.wanted.has(id));
  for (const peer of strangers.slice(0, 10)) machine.give({ kind: 'connected', peer });
  island.pass(3000);
  t.ok(state.cutOff !== null, 'ten may be as lost as it is');
  t.equal(state.failed.size, 85);
  for (const peer of strangers) machine.give({ kind: 'connected', peer });
  island.pass(3000);
  t.equal(state.cutOff, null);
  for (const id of island.crowd) t.not(memberStatus(state, id), 'failed');
});

t.test('a clock that was set back silences nobody who has to say that another died', async (t) => {
  const island = new Island(40, 40);
  island.pass(10_000);
  island.setBack(600_000);
  island.pass(5000);
  const [, dead] = island.crowd;
  island.kill(dead!);
  island.pass(30_000);
  const statuses = [...island.machines.values()].map(({ state }) => memberStatus(state, dead!));
  t.same(new Set(statuses), new Set(['failed']));
});

for (const [count, of] of [
  [1, 100],
  [5, 100],
] as const)
  t.test(
    `${count} of ${of} that are cut off, and whose clocks are set back, hold all others as failed`,
    async (t) => {
      const island = new Island(count, of);
      island.pass(4000);
      island.setBack(600_000);
      island.pass(120_000);
      t.same(island.wrong(), { lost: 0, own: 0 });
    },
  );

t.test('a few that are cut off stay so where the cluster shrinks to a small one meanwhile', async (t) => {
  for (let seed = 1; seed <= 6; seed += 1) {
    const island = new Island(3, 33, seed);
    island.pass(90_000);
    const [gone] = island.crowd.filter((id) => !island.machines.has(id));
    for (const machine of island.machines.values()) machine.give({ kind: 'removed', id: gone! });
    island.pass(60_000);
    for (const { state } of island.machines.values()) {
      t.ok(state.cutOff !== null);
      t.equal(state.failed.size, 29);
    }
  }
});

t.test('who is removed meanwhile is forgotten, and who has written anew is asked anew', async (t) => {
  const island = new Island(5, 100);
  island.pass(60_000);
  const [gone, anew] = island.crowd.filter((id) => !island.machines.has(id) && !island.isWanted(id));
  for (const machine of island.machines.values()) {
    machine.give({ kind: 'removed', id: gone! });
    machine.give({ kind: 'member', id: anew!, incarnation: 2 });
    const { state } = machine;
    t.equal(memberStatus(state, gone!), undefined);
    t.equal(memberStatus(state, anew!), 'alive');
    t.notOk(state.failed.has(gone!) || state.cutOff?.strangers.has(gone!));
  }
  island.pass(30_000);
  for (const { state } of island.machines.values()) t.equal(memberStatus(state, anew!), 'failed');
});

for (const [count, of, seed] of [
  [5, 100, 1],
  [5, 100, 2],
  [3, 60, 3],
] as const)
  t.test(`${count} of ${of} are back: all are alive at once, seed ${seed}`, async (t) => {
    const island = new Island(of, of, seed, count);
    for (let at = 0; at < 60_000; at += 5000) {
      island.pass(5000);
      t.equal(island.wrong().own, 0);
    }
    t.same(island.wrong(), { lost: 0, own: 0 });
    t.equal(island.refuted.size, 0);
    for (const id of island.crowd.slice(count)) {
      const strangers = needless(island.machines.get(id)!);
      t.ok(strangers.length < 8, `${strangers.length} connections to those with whom it has nothing to do`);
    }
    island.heal();
    island.pass(15_000);
    t.same(island.wrong(), { lost: 0, own: 0 });
    // Of the larger side those alone whom the others had to watch: four each, and some for whom a watcher was lost.
    const accused = island.crowd.slice(count).filter((id) => island.refuted.has(id));
    t.ok(accused.length <= 6 * count, `${accused.length} had to refute`);
  });

for (const [survivors, of, apart_ms, seed] of [
  [16, 40, 10_000, 3],
  [18, 40, 3_000, 1],
  [20, 40, 10_000, 2],
  [16, 40, 0, 1],
  [30, 100, 15_000, 2],
] as const)
  t.test(
    `${of - survivors} of ${of} die, and the others hear nobody for ${apart_ms / 1000} s: then all of them know who lives`,
    async (t) => {
      const island = new Island(survivors, of, seed);
      island.apart(apart_ms);
      island.pass(120_000);
      t.same(island.wrong(), { lost: 0, own: 0 });
      const doubted = [...island.machines.values()].flatMap(({ state }) =>
        [...island.machines.keys()].filter((id) => id !== state.self && memberStatus(state, id) !== 'alive'),
      );
      t.same(doubted, [], 'of the living nobody is in doubt');
    },
  );

for (const [count, of] of [
  [66, 120],
  [150, 280],
] as const)
  t.test(`${count} of ${of} hosts are not searched for those of whom they hear`, async (t) => {
    const island = new Island(count, of);
    island.pass(30_000);
    t.equal(island.wrong().own, 0);
    for (const machine of island.machines.values()) {
      const strangers = needless(machine);
      t.ok(strangers.length < 20, `${strangers.length} connections to those with whom it has nothing to do`);
    }
  });

/** A node on the larger side of a broken cluster, and those who live and whom it has to watch for others that are lost. */
function standIn(): { readonly machine: Machine; readonly subjects: readonly NodeId[] } {
  for (let trial = 0; trial < 200; trial += 1) {
    const random = lots(trial);
    const machine = new Machine('z', {}, 1_000_000, random);
    const { state } = machine;
    const crowd = Array.from({ length: 300 }, (_, at) => `m${trial}-${at}`);
    machine.give({ kind: 'members', members: crowd.map((id) => [id, 1] as const) });
    machine.give({ kind: 'start' });
    const isLost = new Set(crowd.filter(() => random() < 0.4));
    for (const peer of state.wanted) if (!isLost.has(peer)) machine.give({ kind: 'connected', peer });
    for (const subject of isLost)
      for (const watcher of state.roster.watchers(subject, 4))
        machine.give({ kind: 'verdict', watcher, subject, incarnation: 1, verdict: 'failed' });
    const subjects = [...state.targets].filter((id) => !isLost.has(id) && !state.wanted.has(id));
    if (subjects.length > 0 && state.cutOff === null) return { machine, subjects };
  }
  throw new Error('it never stands in');
}

t.test('a stand-in that is none any more doubts nobody for it', async (t) => {
  const { machine, subjects } = standIn();
  const { state } = machine;
  machine.pass(15_000);
  const doubted = subjects.filter((id) => memberStatus(state, id) === 'suspect');
  t.ok(doubted.length > 0, 'it dials them in vain');
  for (const [id] of state.roster.entries())
    if (id !== state.self && !subjects.includes(id)) machine.give({ kind: 'member', id, incarnation: 2 });
  t.ok(doubted.every((id) => !state.targets.has(id)));
  machine.pass(3000);
  for (const id of doubted) t.equal(memberStatus(state, id), 'alive');
});

t.test('whom a stand-in has to watch it dials at once, however many are lost', async (t) => {
  const { machine, subjects } = standIn();
  t.ok(machine.state.failed.size > MEMBERSHIP_LIMITS.redials_max);
  t.equal(machine.state.cutOff, null);
  machine.pass(2500);
  const dialled = new Set(machine.of('connect').map(({ peer }) => peer));
  t.same(
    subjects.filter((id) => !dialled.has(id)),
    [],
  );
});
