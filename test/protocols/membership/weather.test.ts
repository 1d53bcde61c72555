import assert from 'node:assert/strict';
import t from 'tap';
import { MEMBERSHIP_DEFAULTS, MEMBERSHIP_LIMITS } from '../../../protocols/membership/config.ts';
import { memberStatus } from '../../../protocols/membership/membership.ts';
import { confirmed_ms } from '../../../protocols/membership/suspicion.ts';
import {
  lossSilence_ms,
  noteAnswer,
  noteBeat,
  noteRoundTrip,
} from '../../../protocols/membership/weather.ts';
import fc from '../../laws.ts';
import { Machine } from './harness.ts';

const STEP_MS = 5;

/** A machine that has had all its questions for round trips answered, each after so long. */
function gauged(took_ms: number): Machine {
  const a = new Machine('a', { roundTrips_count: MEMBERSHIP_DEFAULTS.roundTrips_count }).join('b', 'c', 'd');
  const answers: { at_ms: number; from: string; seq: number }[] = [];
  for (let step = 0; step < 5000; step += 1) {
    a.effects = [];
    a.pass(STEP_MS);
    for (const { to, message } of a.sent()) {
      if (message.type === 'ping') answers.push({ at_ms: a.now + took_ms, from: to, seq: message.seq });
    }
    while (answers[0] !== undefined && answers[0].at_ms <= a.now) {
      const { from, seq } = answers.shift()!;
      a.hear(from, { type: 'ack', seq, incarnation: 1 });
    }
    if (step % 100 === 0) hearFrom(a, 'b', 'c', 'd');
  }
  a.effects = [];
  return a;
}

function hearFrom(a: Machine, ...peers: readonly string[]): void {
  for (const peer of peers) a.give({ kind: 'heard', peer });
}

function passWith(a: Machine, duration_ms: number, ...peers: readonly string[]): void {
  for (let left_ms = Math.ceil(duration_ms); left_ms > 0; left_ms -= 100) {
    a.pass(Math.min(100, left_ms));
    hearFrom(a, ...peers);
  }
}

t.test('a node asks whom it watches for the round trip, and no more once it knows', async (t) => {
  const a = gauged(2);
  const { roundTrips_ms, gauges_count } = a.state.members.get('b')!;
  t.strictSame([roundTrips_ms.length, gauges_count], [MEMBERSHIP_DEFAULTS.roundTrips_count, 0]);
  t.ok(a.state.members.get('b')!.roundTrip_ms < 5 * STEP_MS);
  t.equal(memberStatus(a.state, 'b'), 'alive');
});

t.test('after a doubt it asks again: the way may have become longer', async (t) => {
  const a = gauged(2);
  a.give({ kind: 'disconnected', peer: 'b' });
  a.pass(10);
  a.give({ kind: 'connected', peer: 'b' });
  t.equal(memberStatus(a.state, 'b'), 'alive');
  a.effects = [];
  const asked: string[] = [];
  for (let round = 0; round < 100; round += 1) {
    passWith(a, 100, 'b', 'c', 'd');
    for (const { to, message } of a.sent()) {
      if (message.type !== 'ping') continue;
      asked.push(to);
      a.hear(to, { type: 'ack', seq: message.seq, incarnation: 1 });
    }
    a.effects = [];
  }
  t.same(asked, Array(MEMBERSHIP_DEFAULTS.roundTrips_count).fill('b'));
});

t.test('over a slow link an answer is awaited for its round trip longer', async (t) => {
  for (const [took_ms, isPatient] of [
    [2, false],
    [600, true],
  ] as const) {
    const a = gauged(took_ms);
    a.hear('b', { type: 'beat', incarnation: 1, next_ms: 2400 });
    const late_ms = 2400 + MEMBERSHIP_DEFAULTS.late_ms + a.state.members.get('b')!.roundTrip_ms;
    passWith(a, late_ms, 'c', 'd');
    t.match(
      a.sent().find(({ to, message }) => to === 'b' && message.type === 'ping'),
      { to: 'b' },
    );
    passWith(a, MEMBERSHIP_DEFAULTS.probe_timeout_ms + 100, 'c', 'd');
    t.equal(memberStatus(a.state, 'b'), isPatient ? 'alive' : 'suspect', `${took_ms} ms`);
  }
});

t.test('the path is what the quickest of recent answers took: the others waited for a program', async (t) => {
  const a = new Machine('a').join('b');
  const b = a.state.members.get('b')!;
  for (const took_ms of [900, 20, 900, 900]) noteRoundTrip(b, took_ms);
  t.equal(b.roundTrip_ms, 0);
  for (let answer = 0; answer < 8; answer += 1) noteRoundTrip(b, 900);
  t.ok(b.roundTrip_ms > 900, 'a path that became longer is known in the end');
});

t.test('a node whose own timers are late learns nothing of the network', async (t) => {
  const { state } = new Machine('a');
  state.lag_ms = 100;
  for (let beat = 0; beat < 20; beat += 1) noteBeat(state, 1000);
  t.equal(lossSilence_ms(state, 0.001), 0);
  state.lag_ms = 0;
  for (let beat = 0; beat < 20; beat += 1) noteBeat(state, 1000);
  t.ok(lossSilence_ms(state, 0.001) > 0);
});

t.test('whatever is measured, no wait grows by more than its caps', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { maxLength: 400 }),
      fc.double({ min: 1e-6, max: 0.5, noNaN: true }),
      (lates, chance) => {
        const { state } = new Machine('a');
        for (const isLate of lates) noteAnswer(state, isLate);
        const wait_ms = lossSilence_ms(state, chance);
        assert.ok(wait_ms >= 0 && wait_ms <= MEMBERSHIP_LIMITS.lossSilence_ms_max);
        noteAnswer(state, true);
        assert.ok(lossSilence_ms(state, chance) >= wait_ms, 'worse weather, shorter wait');
      },
    ),
  );
  const far = gauged(60_000).state.members.get('b')!;
  assert.ok(far.roundTrip_ms <= MEMBERSHIP_LIMITS.roundTrip_ms_max);
});

t.test(
  'on a network that loses nothing nothing is added, and a single late beat is soon forgotten',
  async (t) => {
    const { state } = new Machine('a');
    for (let beat = 0; beat < 100; beat += 1) noteBeat(state, 20);
    t.equal(lossSilence_ms(state, MEMBERSHIP_DEFAULTS.silenceChance), 0);
    noteBeat(state, 210);
    t.ok(lossSilence_ms(state, MEMBERSHIP_DEFAULTS.silenceChance) < 500);
    for (let beat = 0; beat < 10; beat += 1) noteBeat(state, 20);
    t.equal(lossSilence_ms(state, MEMBERSHIP_DEFAULTS.silenceChance), 0);
  },
);

t.test('the part of late beats that is assumed comes near to what there is', async (t) => {
  for (const [part, losses_count] of [
    [0.1, 2.5],
    [0.3, 4.8],
  ] as const) {
    const { state } = new Machine('a');
    let sum_ms = 0;
    for (let beat = 0; beat < 4000; beat += 1) {
      noteBeat(state, (beat * 7) % 10 < part * 10 ? 210 : 0);
      if (beat >= 2000) sum_ms += lossSilence_ms(state, MEMBERSHIP_DEFAULTS.silenceChance) / 2000;
    }
    const expected_ms = 200 * (2 ** losses_count - 1);
    t.ok(sum_ms > expected_ms / 2 && sum_ms < expected_ms * 2, `${part}: ${sum_ms} ms`);
  }
});

t.test('what came while this node was stalled says nothing of the weather', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.hear('b', { type: 'beat', incarnation: 1, next_ms: 1200 });
  a.pass(100);
  a.stall(3000);
  const { lateness } = a.state;
  a.hear('b', { type: 'beat', incarnation: 1, next_ms: 1200 });
  t.equal(a.state.lateness, lateness);
});

t.test('a suspicion outlasts weather that has become worse since it began', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd', 'e');
  a.give({ kind: 'disconnected', peer: 'b' });
  passWith(a, 1000, 'c', 'd', 'e');
  for (let beat = 0; beat < 20; beat += 1) noteAnswer(a.state, beat % 3 === 0);
  const wait_ms = lossSilence_ms(a.state, MEMBERSHIP_DEFAULTS.silenceChance);
  t.ok(wait_ms > 1000);
  passWith(a, 250, 'c', 'd', 'e');
  t.same(a.of('verdict'), []);
  passWith(a, wait_ms, 'c', 'd', 'e');
  t.match(a.of('verdict'), [{ subject: 'b', verdict: 'failed' }], 'and ends all the same');
});

t.test(
  'where fewer must agree each of them outlasts rarer silences, and nobody waits for longer without loss',
  async (t) => {
    const others = ['b', 'c', 'd', 'e', 'f'];
    const waits_ms = (isLate: (beat: number) => boolean) =>
      others.map((_, at) => {
        const { state } = new Machine('a').join(...others.slice(0, at + 1));
        for (let beat = 0; beat < 40; beat += 1) noteAnswer(state, isLate(beat));
        return confirmed_ms(state, state.members.get('b')!);
      });
    const { suspicionConfirmed_ms } = MEMBERSHIP_DEFAULTS;
    t.same(
      waits_ms(() => false),
      others.map(() => suspicionConfirmed_ms),
    );
    const [ofTwo, ofThree, ofFour, ofFive, ofSix] = waits_ms((beat) => beat % 10 === 0) as number[];
    t.ok(
      ofTwo! > ofThree! && ofFour! > ofFive!,
      'one watcher, two, and two of three; three of four and more',
    );
    t.equal(ofThree, ofFour);
    t.equal(ofFive, ofSix);
    t.ok(ofTwo! <= suspicionConfirmed_ms + MEMBERSHIP_LIMITS.lossSilence_ms_max);
  },
);

t.test('that connections closed all around is no matter of loss', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  for (let beat = 0; beat < 20; beat += 1) noteAnswer(a.state, beat % 3 === 0);
  a.give({ kind: 'disconnected', peer: 'b' });
  for (const from of ['c', 'd'])
    a.hear(from, { type: 'suspect', subject: 'b', incarnation: 1, closed: true });
  a.pass(MEMBERSHIP_DEFAULTS.suspicionClosed_ms);
  t.match(a.of('verdict'), [{ subject: 'b', verdict: 'failed' }]);
});

t.test('a relay serves for a peer that is no member yet', async (t) => {
  const a = new Machine('a').join('c');
  a.give({ kind: 'connected', peer: 'newcomer' });
  a.hear('c', { type: 'request', seq: 77, subject: 'newcomer', suspected: null });
  t.match(a.sent().at(-1), { to: 'newcomer', message: { type: 'ping' } });
});

t.test('a relay passes on an answer that comes after it has said that there was none', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.hear('c', { type: 'request', seq: 77, subject: 'b', suspected: null });
  const [seq] = a.state.relays.keys();
  a.pass(MEMBERSHIP_DEFAULTS.probe_timeout_ms);
  t.match(
    a.sent().find(({ message }) => message.type === 'nack'),
    { to: 'c', message: { seq: 77 } },
  );
  a.hear('b', { type: 'ack', seq: seq!, incarnation: 1 });
  t.match(
    a.sent().find(({ message }) => message.type === 'relayed'),
    { to: 'c', message: { seq: 77, subject: 'b' } },
  );
  a.hear('c', { type: 'request', seq: 78, subject: 'b', suspected: null });
  a.pass(
    MEMBERSHIP_DEFAULTS.probe_timeout_ms +
      MEMBERSHIP_LIMITS.roundTrip_ms_max +
      MEMBERSHIP_LIMITS.relay_ms_max,
  );
  t.equal(a.state.relays.size, 0, 'but not for ever');
});

t.test(
  'one member that is always late makes no bad weather, and who is not watched makes none',
  async (t) => {
    const others = Array.from({ length: 12 }, (_, at) => `m${at}`);
    const silenceAfter_ms = (
      isLiar: (id: string, isTarget: boolean, at: number) => boolean,
      step_ms: number,
      next_ms: number,
    ) => {
      const a = new Machine('a').join(...others);
      const { targets } = a.state;
      const order = [...targets];
      for (let at_ms = 0; at_ms < 120_000; at_ms += 10) {
        a.pass(10);
        for (const id of others) {
          const isLying = isLiar(id, targets.has(id), order.indexOf(id));
          if (isLying && at_ms % step_ms === 0) a.hear(id, { type: 'beat', incarnation: 1, next_ms });
          if (!isLying && at_ms % 2400 === 0) a.hear(id, { type: 'beat', incarnation: 1, next_ms: 2400 });
        }
      }
      return lossSilence_ms(a.state, MEMBERSHIP_DEFAULTS.silenceChance);
    };
    t.equal(
      silenceAfter_ms(() => false, 1, 0),
      0,
    );
    t.equal(
      silenceAfter_ms((_, isTarget) => !isTarget, 190, 0),
      0,
    );
    const { suspicion_ms } = MEMBERSHIP_DEFAULTS;
    t.ok(silenceAfter_ms((_, __, at) => at === 0, 190, 0) < suspicion_ms);
    t.ok(silenceAfter_ms((_, __, at) => at === 0, 800, 600) < suspicion_ms);
    t.ok(silenceAfter_ms((_, isTarget) => isTarget, 2600, 2400) > 3 * suspicion_ms, 'all of them do');
  },
);
