import assert from 'node:assert/strict';
import t from 'tap';
import type { NodeId } from '../../../protocols/base/ids.ts';
import { MEMBERSHIP_LIMITS, type MembershipConfig } from '../../../protocols/membership/config.ts';
import { isWatcher, watchersOf } from '../../../protocols/membership/duties.ts';
import { type MembershipEvent, memberStatus } from '../../../protocols/membership/membership.ts';
import { encodeMessage, type Message } from '../../../protocols/membership/messages.ts';
import type { Member, MembershipState } from '../../../protocols/membership/state.ts';
import fc from '../../laws.ts';
import { Machine } from './harness.ts';

const IDS = ['a', 'b', 'c', 'd', 'e', 'f', 'stranger'];
const id = fc.constantFrom(...IDS);
const small = fc.nat(6);
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ type: fc.constant('ping' as const), seq: small, suspected: fc.option(small) }),
  fc.record({ type: fc.constant('ack' as const), seq: fc.nat(40), incarnation: small }),
  fc.record({ type: fc.constant('request' as const), seq: small, subject: id, suspected: fc.option(small) }),
  fc.record({ type: fc.constant('relayed' as const), seq: fc.nat(40), subject: id, incarnation: small }),
  fc.record({ type: fc.constant('nack' as const), seq: fc.nat(40), subject: id }),
  fc.record({ type: fc.constant('suspect' as const), subject: id, incarnation: small }),
  fc.record({
    type: fc.constant('suspect' as const),
    subject: id,
    incarnation: small,
    closed: fc.constant(true as const),
  }),
  fc.record({ type: fc.constant('beat' as const), incarnation: small, next_ms: fc.nat(100_000) }),
);
const event: fc.Arbitrary<MembershipEvent> = fc.oneof(
  fc.constant({ kind: 'start' as const }),
  fc.uniqueArray(fc.tuple(id, small), { selector: ([name]) => name }).map((entries) => ({
    kind: 'members' as const,
    members: entries,
  })),
  fc.record({ kind: fc.constant('member' as const), id, incarnation: small }),
  fc.record({ kind: fc.constantFrom('removed' as const), id }),
  fc.record({ kind: fc.constant('heard' as const), peer: id }),
  fc.record({ kind: fc.constantFrom('connected' as const, 'disconnected' as const), peer: id }),
  fc.record({
    kind: fc.constant('message' as const),
    from: id,
    body: fc.oneof(message.map(encodeMessage), fc.uint8Array({ maxLength: 40 })),
  }),
  fc.record({ kind: fc.constant('timer' as const), token: fc.nat(100) }),
  fc.record({
    kind: fc.constant('verdict' as const),
    watcher: id,
    subject: id,
    incarnation: small,
    verdict: fc.constantFrom('alive' as const, 'failed' as const),
  }),
);
/** An event, or time that goes by, forwards or (a clock set back) backwards. */
const step = fc.oneof(
  { weight: 4, arbitrary: event },
  { weight: 1, arbitrary: fc.integer({ min: -500, max: 5000 }) },
);

/** A node that was connected to all others, and has started: else hardly any doubt would come about. */
const JOINED: readonly MembershipEvent[] = [
  { kind: 'members', members: IDS.map((name) => [name, 1] as const) },
  { kind: 'start' },
  ...IDS.slice(1).map((peer) => ({ kind: 'connected', peer }) as const),
];
const stepsOf = (count_max: number): fc.Arbitrary<readonly (MembershipEvent | number)[]> =>
  fc
    .tuple(fc.constantFrom(JOINED, []), fc.array(step, { maxLength: count_max, size: 'max' }))
    .map(([before, steps]) => [...before, ...steps]);

function play(
  steps: readonly (MembershipEvent | number)[],
  check?: (machine: Machine) => void,
  config?: Partial<MembershipConfig>,
): Machine {
  const machine = new Machine('a', config);
  for (const next of steps) {
    if (typeof next !== 'number') machine.give(next);
    else if (next >= 0) machine.pass(next);
    else machine.now += next;
    check?.(machine);
  }
  return machine;
}

t.test('no interleaving of events throws, and what is kept stays bounded', async () => {
  fc.assert(
    fc.property(stepsOf(120), (steps) => {
      const { state } = play(steps);
      assert.ok(state.timers.size <= 5 * state.members.size + state.relays.size + 1);
      assert.ok(state.relays.size <= MEMBERSHIP_LIMITS.relays_max);
      assert.ok(state.health >= 0 && state.health <= state.config.health_max);
    }),
    { numRuns: 200 },
  );
});

/** Longer than the record of a refutation is waited for. */
const RECORD_WAIT_MS_MAX = 60_000;
/** A member whose link was given to another tells an incarnation that is on no record yet: by chance, once in thousands of runs. */
const REFUTED_BY_WORD: readonly MembershipEvent[] = [
  {
    kind: 'members',
    members: [
      ['e', 0],
      ['b', 0],
    ],
  },
  { kind: 'member', id: 'd', incarnation: 0 },
  { kind: 'message', from: 'e', body: encodeMessage({ type: 'beat', incarnation: 1, next_ms: 300 }) },
];

/** Those whom a node keeps though it has nothing to do with them. */
function idleOf(state: MembershipState): NodeId[] {
  const needed = [state.wanted, state.targets, state.connected, state.doubted];
  const isIdle = ({ id, probe, suspicion, redial, charge, verdicts }: Member) =>
    !needed.some((ids) => ids.has(id)) &&
    [probe, suspicion, redial, charge].every((each) => each === null) &&
    !verdicts.has(state.self);
  return [...state.members.values()].filter(isIdle).map((member) => member.id);
}

t.test('of members with whom a node has nothing to do nothing is kept for more than a round', async () => {
  let forgotten_count = 0;
  let waitedFor_count = 0;
  fc.assert(
    fc.property(stepsOf(120), (steps) => {
      const machine = play(steps, undefined, { meshMembers_max: 2, watchers_count: 1 });
      const { state } = machine;
      const before = new Set(state.members.keys());
      machine.give({ kind: 'start' });
      // What a round ends itself leaves members that the next one forgets.
      const idleForTwoRounds = () => {
        let idle = new Set(idleOf(state));
        for (let tick = 0; tick < 2; tick += 1) {
          const { token } = [...state.timers.values()].find(({ kind }) => kind === 'tick')!;
          machine.give({ kind: 'timer', token });
          idle = new Set(idleOf(state).filter((name) => idle.has(name)));
        }
        return [...idle];
      };
      // A record is waited for that a member has promised, but not for ever.
      const waitedFor = idleForTwoRounds();
      assert.deepEqual(
        waitedFor.filter((name) => !state.unrecorded.has(name)),
        [],
      );
      machine.pass(RECORD_WAIT_MS_MAX);
      assert.deepEqual(idleForTwoRounds(), []);
      waitedFor_count += waitedFor.length;
      forgotten_count += [...before].filter((id) => state.roster.has(id) && !state.members.has(id)).length;
    }),
    { numRuns: 100, examples: [[REFUTED_BY_WORD]] },
  );
  assert.ok(forgotten_count > 0);
  assert.ok(waitedFor_count > 0);
});

t.test('after every event the state agrees with itself', async () => {
  fc.assert(
    fc.property(stepsOf(60), (steps) => {
      play(steps, ({ state }) => {
        const doubted = [...state.doubted].every((name) => state.members.has(name));
        const alive = [...state.members.values()].every(
          (member) => (member.status === 'alive') === !state.doubted.has(member.id),
        );
        const failed = [...state.members.values()].every(
          (member) => (member.status === 'failed') === state.failed.has(member.id),
        );
        const watchers = [...state.members.keys()].every((name) => !watchersOf(state, name).includes(name));
        assert.ok(doubted && alive && failed && watchers);
        for (const { id, isConnected } of [...state.members.values(), ...state.audience])
          assert.equal(isConnected, state.connected.has(id), 'a connection that there is not');
        const unlinked = [...state.wanted, ...state.targets].filter((name) => !state.connected.has(name));
        assert.deepEqual([...state.unlinked].sort(), [...new Set(unlinked)].sort());
        for (const { incarnation, verdicts } of state.members.values()) {
          for (const held of verdicts.values()) assert.ok(held.incarnation >= incarnation, 'a void verdict');
        }
        for (const timer of state.timers.values()) {
          const { of } = timer;
          const isOfMember = of !== null && typeof of !== 'number';
          assert.ok(!isOfMember || state.members.get(of.id) === of, 'a timer of nobody');
        }
      });
    }),
    { numRuns: 100 },
  );
});

t.test('duties are the same as if they were derived from all members after every event', async () => {
  const crowd = Array.from({ length: 24 }, (_, at) => `m${at}`);
  const name = fc.constantFrom(...crowd);
  const change: fc.Arbitrary<MembershipEvent> = fc.oneof(
    fc.record({ kind: fc.constant('member' as const), id: name, incarnation: fc.nat(3) }),
    fc.record({ kind: fc.constant('removed' as const), id: name }),
    fc.record({
      kind: fc.constant('verdict' as const),
      watcher: name,
      subject: name,
      incarnation: fc.nat(3),
      verdict: fc.constantFrom('alive' as const, 'failed' as const),
    }),
  );
  fc.assert(
    fc.property(fc.array(change, { maxLength: 80 }), (changes) => {
      const machine = new Machine('a', { meshMembers_max: 2, watchers_count: 2 });
      machine.give({ kind: 'members', members: crowd.slice(0, 12).map((id) => [id, 1] as const) });
      for (const next of changes) {
        machine.give(next);
        const { state } = machine;
        const names = [...state.roster.entries()].map(([id]) => id);
        const due = names.filter((id) => id !== 'a' && watchersOf(state, id).includes('a'));
        for (const id of due) assert.ok(state.targets.has(id), `${id} is not watched`);
        for (const id of state.targets) assert.ok(due.includes(id) || isWatcher(state, id, 'a'), id);
        const told = state.audience.map(({ id }) => id);
        for (const id of watchersOf(state, 'a')) assert.ok(told.includes(id), `${id} is not told`);
      }
    }),
    { numRuns: 150 },
  );
});

t.test('stale and unknown timers have no effect', async () => {
  fc.assert(
    fc.property(stepsOf(40), fc.nat(1000), (steps, token) => {
      const machine = play(steps);
      if (machine.state.timers.get(token) !== undefined) return;
      assert.deepEqual(machine.give({ kind: 'timer', token }), []);
    }),
    { numRuns: 60 },
  );
});

t.test('equal events give equal effects', async () => {
  fc.assert(
    fc.property(stepsOf(40), (steps) => {
      assert.deepEqual(play(steps).effects, play(steps).effects);
    }),
    { numRuns: 30 },
  );
});

t.test('status effects tell the status that is held', async () => {
  fc.assert(
    fc.property(stepsOf(80), (steps) => {
      const told = new Map<string, string>();
      play(steps, (machine) => {
        for (const { member, status } of machine.of('status')) told.set(member, status);
        machine.effects = [];
        for (const name of IDS) {
          const held = memberStatus(machine.state, name);
          // Should it come back it starts alive anew.
          if (held === undefined) told.delete(name);
          else assert.equal(told.get(name) ?? 'alive', held, name);
        }
      });
    }),
    { numRuns: 100 },
  );
});
