/** Parts of a large cluster that are cut off: each comes to know it, with links to few of those who are lost. */
import t from 'tap';
import type { NodeId } from '../../../protocols/base/ids.ts';
import { MEMBERSHIP_DEFAULTS, MEMBERSHIP_LIMITS } from '../../../protocols/membership/config.ts';
import { memberStatus } from '../../../protocols/membership/membership.ts';
import { Machine } from './harness.ts';

const STEP_MS = 100;
const { meshMembers_max } = MEMBERSHIP_DEFAULTS;

/** A lot for all that is asked of one test. */
function lots(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}

/** Some members of a cluster, with all that they do to one another; the others are heard until the network breaks. */
class Island {
  readonly machines: ReadonlyMap<NodeId, Machine>;
  readonly crowd: readonly NodeId[];
  dials_count = 0;

  constructor(count: number, of: number, seed = 1) {
    const random = lots(seed);
    this.crowd = Array.from({ length: of }, () => `k${Math.floor(random() * 2 ** 32).toString(36)}`);
    const machines = this.crowd.slice(0, count).map((id) => {
      const machine = new Machine(id, { jitter: 0.05 }, 1_000_000, random);
      machine.give({ kind: 'members', members: this.crowd.map((each) => [each, 1] as const) });
      machine.give({ kind: 'start' });
      for (const peer of machine.state.wanted) machine.give({ kind: 'connected', peer });
      return [id, machine] as const;
    });
    this.machines = new Map(machines);
    for (let at = 0; at < 20; at += 1) {
      this.pass(STEP_MS);
      for (const machine of this.machines.values())
        for (const peer of machine.state.connected.keys())
          if (!this.machines.has(peer)) machine.give({ kind: 'heard', peer });
    }
    for (const machine of this.machines.values())
      for (const peer of [...machine.state.connected.keys()])
        if (!this.machines.has(peer)) machine.give({ kind: 'disconnected', peer });
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
          this.#connect(id, effect.peer);
        }
        if (effect.kind === 'send' && machine.state.connected.has(effect.to))
          this.machines.get(effect.to)?.give({ kind: 'message', from: id, body: effect.body });
        for (const other of this.machines.values()) {
          if (effect.kind === 'verdict') other.give({ ...effect, watcher: id });
          if (effect.kind === 'refute') other.give({ kind: 'member', id, incarnation: effect.incarnation });
        }
      }
    }
  }

  #connect(id: NodeId, peer: NodeId): void {
    const [one, other] = [this.machines.get(id)!, this.machines.get(peer)];
    if (other === undefined) return;
    if (!one.state.connected.has(peer)) one.give({ kind: 'connected', peer });
    if (!other.state.connected.has(id)) other.give({ kind: 'connected', peer: id });
  }

  /** How many of the lost somebody here does not hold as failed, and how many of its own somebody does. */
  wrong(): { lost: number; own: number } {
    let [lost, own] = [0, 0];
    for (const { state } of this.machines.values())
      for (const id of this.crowd) {
        const isFailed = memberStatus(state, id) === 'failed';
        if (id !== state.self && this.machines.has(id) === isFailed) this.machines.has(id) ? own++ : lost++;
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

t.test(
  'some of many that are cut off dial all others in time, and hold none of themselves as failed',
  async (t) => {
    const island = new Island(6, 40);
    island.pass(10_000);
    for (const { state } of island.machines.values())
      t.ok(state.cutOff !== null, 'it knows that it is cut off');
    t.equal(island.wrong().own, 0);
    island.pass(600_000);
    t.equal(island.wrong().own, 0);
    for (const { state } of island.machines.values()) {
      const { self, cutOff, connected } = state;
      t.ok(cutOff !== null);
      const isReached = (id: NodeId) => id === self || connected.has(id) || cutOff?.dialled.has(id) === true;
      t.ok(island.crowd.every(isReached), 'all others were dialled');
    }
  },
);

t.test('the larger part of a broken cluster is not searched for those of whom it hears', async (t) => {
  const island = new Island(66, 120);
  island.pass(30_000);
  const { machines } = island;
  t.equal(island.wrong().own, 0);
  for (const { state } of machines.values()) {
    const strangers = [...state.connected.keys()].filter(
      (id) => !state.wanted.has(id) && !state.targets.has(id),
    );
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
