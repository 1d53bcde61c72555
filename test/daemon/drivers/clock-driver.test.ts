/** How a node learns that its clock is wrong, and what it says of it. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import type { Clock } from '../../../daemon/clock.ts';
import { ClockDriver } from '../../../daemon/drivers/clock-driver.ts';
import { HLC_AHEAD_MS_MAX } from '../../../protocols/base/clock.ts';
import { ShoalError } from '../../../protocols/base/errors.ts';
import type { NodeId } from '../../../protocols/base/ids.ts';
import { encodeClockAnswer } from '../../../protocols/clocks/clock-messages.ts';
import { CLOCK_OFF_MS, CLOCK_RIGHT_MS, COMPARED_MAX } from '../../../protocols/clocks/clock-offsets.ts';
import type { MeshEvents } from '../../../protocols/mesh/mesh.ts';

const NOW = 1_900_000_000_000;
const FAR_MS = 300_000;

/** A host whose clock is ahead of the right time by so much, and members that answer as each is told to. */
class Stage {
  ahead_ms = 0;
  /** By how much the clock of each is ahead of the right time; undefined: it does not answer. */
  readonly members = new Map<NodeId, number | undefined>();
  readonly lines: [level: string, detail: unknown][] = [];
  questions_count = 0;
  stamped_ms = 0;
  others_count = 2;
  readonly driver: ClockDriver;
  readonly #listeners = new Map<string, (peer: NodeId, ahead_ms?: number) => void>();
  #turn: (() => void) | undefined;

  constructor() {
    const clock: Clock = {
      now: () => NOW + this.ahead_ms,
      random: () => 0.5,
      after: (_delay_ms, action) => {
        this.#turn ??= action;
        return () => undefined;
      },
    };
    this.driver = new ClockDriver({
      clock,
      log: (level, message, detail) => {
        if (level === 'warn') this.lines.push([message.replace(/^the clock of this host /, ''), detail]);
      },
      others_count: () => this.others_count,
      stamped_ms: () => this.stamped_ms,
    });
    this.driver.start({
      peers: () => [...this.members.keys()],
      handle: () => undefined,
      on: <E extends keyof MeshEvents>(event: E, listener: MeshEvents[E]) =>
        void this.#listeners.set(event, listener as (peer: NodeId) => void),
      request: async (peer) => {
        this.questions_count += 1;
        const ahead_ms = this.members.get(peer);
        if (ahead_ms === undefined) throw new ShoalError('E_NOT_FOUND', 'nobody answers that here');
        return encodeClockAnswer(NOW + ahead_ms);
      },
    });
  }

  async connect(peer: NodeId, ahead_ms?: number): Promise<void> {
    this.members.set(peer, ahead_ms);
    this.#listeners.get('connected')!(peer);
    await nextTurn();
  }

  dialInVain(peer: NodeId, ahead_ms: number): void {
    this.#listeners.get('untimely')!(peer, ahead_ms);
  }

  disconnect(peer: NodeId): void {
    this.members.delete(peer);
    this.#listeners.get('disconnected')!(peer);
  }

  async turn(): Promise<void> {
    const action = this.#turn!;
    this.#turn = undefined;
    action();
    await nextTurn();
  }
}

t.test('a wrong clock is told once when it begins and once when it ends', async (t) => {
  const stage = new Stage();
  stage.ahead_ms = FAR_MS;
  await stage.connect('a', 0);
  t.equal(stage.driver.off_ms, null, 'one of two alone says nothing');
  await stage.connect('b', 0);
  t.equal(stage.driver.off_ms, FAR_MS);
  await stage.turn();
  t.match(stage.lines, [[/wrong/, { code: 'E_CLOCK_AHEAD', off_s: 300 }]]);
  stage.ahead_ms = CLOCK_RIGHT_MS + 1;
  await stage.turn();
  t.equal(stage.driver.off_ms, CLOCK_RIGHT_MS + 1, 'it is not right yet');
  stage.ahead_ms = 0;
  await stage.turn();
  t.equal(stage.driver.off_ms, null);
  stage.ahead_ms = -CLOCK_OFF_MS;
  await stage.turn();
  t.equal(stage.driver.off_ms, null, 'and it is not wrong yet');
  stage.ahead_ms = -CLOCK_OFF_MS - 1;
  // It drifts: each has told in its turn.
  for (let turn = 0; turn < 2; turn += 1) await stage.turn();
  t.equal(stage.driver.off_ms, -CLOCK_OFF_MS - 1);
  t.match(stage.lines.slice(1), [
    [/again/, { off_s: 0 }],
    [/wrong/, { code: 'E_CLOCK_BEHIND', off_s: -30 }],
  ]);
});

t.test('who is gone or does not answer says nothing of the clock', async (t) => {
  const stage = new Stage();
  stage.ahead_ms = FAR_MS;
  await stage.connect('old');
  await stage.connect('a', 0);
  await stage.connect('b', 0);
  t.equal(stage.driver.off_ms, FAR_MS);
  stage.disconnect('a');
  t.equal(stage.driver.off_ms, null);
  t.same(stage.driver.refusal, null, 'a node that is cut off does not know');
  await stage.connect('a', 0);
  t.equal(stage.driver.off_ms, FAR_MS);
  stage.members.set('a', undefined);
  await stage.turn();
  t.equal(stage.driver.off_ms, null);
  t.equal(stage.lines.length, 1);
});

t.test('a member whose clock is wrong is known, and moves that of this node nowhere', async (t) => {
  const stage = new Stage();
  await stage.connect('a', 0);
  await stage.connect('b', FAR_MS);
  t.same(stage.driver.wrong, [{ peer: 'b', ahead_ms: FAR_MS }]);
  t.equal(stage.driver.off_ms, null);
  t.same(stage.lines, []);
});

t.test('what others would not take is refused once they have been asked anew', async (t) => {
  const stage = new Stage();
  stage.ahead_ms = HLC_AHEAD_MS_MAX;
  await stage.connect('a', 0);
  await stage.connect('b', 0);
  t.equal(await stage.driver.lookAtRefusal(), null, 'they take it');
  stage.ahead_ms = FAR_MS;
  await stage.turn();
  const until_ms = NOW + 2 * FAR_MS - HLC_AHEAD_MS_MAX;
  t.same(await stage.driver.lookAtRefusal(), { lead_ms: FAR_MS, until_ms });
  stage.ahead_ms = 0;
  stage.stamped_ms = NOW + FAR_MS;
  t.same(
    await stage.driver.lookAtRefusal(),
    { lead_ms: 0, until_ms: NOW + FAR_MS - HLC_AHEAD_MS_MAX },
    'the clock is right, and the stamps are not',
  );
  stage.stamped_ms = NOW;
  const { questions_count } = stage;
  t.equal(await stage.driver.lookAtRefusal(), null);
  t.equal(stage.questions_count, questions_count, 'nobody is asked where all is well');
});

t.test(
  'a member whose certificate is out of time is told once, until it is connected or the clock is set',
  async (t) => {
    const HOUR_MS = 3_600_000;
    const stage = new Stage();
    stage.dialInVain('a', HOUR_MS);
    stage.dialInVain('a', HOUR_MS);
    stage.dialInVain('b', 2 * HOUR_MS);
    const told = (peer: NodeId, ahead_s: number) => [/out of time/, { peer, ahead_s }];
    t.match(stage.lines, [told('a', 3600), told('b', 7200)]);
    await stage.connect('a', 0);
    t.same(stage.driver.untimely, [{ peer: 'b', ahead_ms: 2 * HOUR_MS }]);
    stage.ahead_ms = 2 * HOUR_MS;
    t.same(stage.driver.untimely, []);
  },
);

t.test(
  'a clock that has leapt since the last turn is found out by the next thing that is asked',
  async (t) => {
    const stage = new Stage();
    await stage.connect('a', 0);
    await stage.connect('b', 0);
    for (const ahead_ms of [FAR_MS, 0]) {
      stage.ahead_ms = ahead_ms;
      const refusal = await stage.driver.lookAtRefusal();
      t.equal(refusal?.lead_ms, ahead_ms === 0 ? undefined : ahead_ms);
      t.equal(stage.driver.off_ms, ahead_ms === 0 ? null : ahead_ms);
    }
  },
);

t.test('what is asked of a node that has just been connected waits for the answers', async (t) => {
  const stage = new Stage();
  stage.ahead_ms = FAR_MS;
  const connected = [stage.connect('a', 0), stage.connect('b', 0)];
  t.match(await stage.driver.lookAtRefusal(), { lead_ms: FAR_MS });
  await Promise.all(connected);
});

t.test('no more members are asked than are compared', async (t) => {
  const stage = new Stage();
  for (let at = 0; at < 2 * COMPARED_MAX; at += 1) await stage.connect(`m${at}`, 0);
  t.equal(stage.questions_count, COMPARED_MAX);
  await stage.turn();
  t.equal(stage.questions_count, COMPARED_MAX + 1, 'one at a time, in turn');
  stage.ahead_ms = FAR_MS;
  await stage.turn();
  t.equal(stage.questions_count, 2 * COMPARED_MAX + 2, 'and all when a clock was set');
  t.equal(stage.driver.off_ms, FAR_MS);
  stage.driver[Symbol.dispose]();
});
