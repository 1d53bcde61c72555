import t from 'tap';
import { MEMBERSHIP_DEFAULTS, MEMBERSHIP_LIMITS } from '../../../protocols/membership/config.ts';
import { isWatcher, rankedFor, watchersOf } from '../../../protocols/membership/duties.ts';
import { memberStatus } from '../../../protocols/membership/membership.ts';
import { decodeMessage, type Message } from '../../../protocols/membership/messages.ts';
import { noteRoundTrip } from '../../../protocols/membership/weather.ts';
import { Machine } from './harness.ts';

const FAILED_B = { kind: 'verdict', subject: 'b', incarnation: 1, verdict: 'failed' } as const;

t.test('a member that answers stays alive', async (t) => {
  const a = new Machine('a').join('b', 'c');
  for (let round = 0; round < 20; round += 1) {
    for (const { to, message } of a.sent()) {
      if (message.type === 'ping') a.hear(to, { type: 'ack', seq: message.seq, incarnation: 1 });
    }
    a.effects = [];
    a.pass(250);
  }
  t.equal(memberStatus(a.state, 'b'), 'alive');
  t.same(a.of('verdict'), []);
  t.equal(a.state.health, 0);
});

t.test('a closed connection starts suspicion and a redial at once', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.now += 1000;
  const effects = a.give({ kind: 'disconnected', peer: 'b' });
  t.equal(memberStatus(a.state, 'b'), 'suspect');
  t.ok(effects.some((effect) => effect.kind === 'connect' && effect.peer === 'b'));
});

t.test('a suspicion without an answer ends in a verdict within its time', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.give({ kind: 'disconnected', peer: 'b' });
  a.pass(1100);
  t.same(a.of('verdict'), []);
  a.pass(150);
  t.match(a.of('verdict'), [{ subject: 'b', incarnation: 1, verdict: 'failed' }]);
});

t.test('a doubt lasts longer in a large cluster, until other watchers share it', async (t) => {
  const crowd = Array.from({ length: 99 }, (_, at) => `m${at}`);
  const a = new Machine('a').join(...crowd);
  const [subject] = [...a.state.targets] as [string];
  const wait_ms = () => a.state.members.get(subject)!.suspicion!.wait_ms;
  a.give({ kind: 'disconnected', peer: subject });
  const alone_ms = wait_ms();
  t.ok(alone_ms >= 2 * a.state.config.suspicion_ms, 'twice as long among a hundred');
  const doubt = { type: 'suspect', subject, incarnation: 1 } as const;
  const ranked = rankedFor(a.state, subject);
  for (const from of crowd.filter((id) => id !== subject && !ranked.includes(id))) a.hear(from, doubt);
  t.equal(wait_ms(), alone_ms, 'others may say what they like');
  a.hear(ranked.find((id) => id !== 'a')!, doubt);
  t.ok(wait_ms() < alone_ms);
});

t.test('who is not on duty gives no verdict, however long its doubt lasts', async (t) => {
  const others = Array.from({ length: 12 }, (_, at) => `m${at}`);
  const a = new Machine('a').join(...others);
  const subject = others.find((id) => !a.state.targets.has(id))!;
  a.give({ kind: 'disconnected', peer: subject });
  for (let round = 0; round < 100; round += 1) {
    a.pass(100);
    for (const peer of others) if (peer !== subject) a.give({ kind: 'heard', peer });
  }
  t.same(a.of('verdict'), []);
  t.not(memberStatus(a.state, subject), 'failed');
});

t.test(
  'a verdict of this node that was taken back does not count again when its record comes late',
  async (t) => {
    const a = new Machine('a').join('b', 'c');
    a.give({ kind: 'disconnected', peer: 'b' });
    a.pass(1300);
    t.match(a.of('verdict'), [{ subject: 'b', verdict: 'failed' }]);
    a.give({ kind: 'connected', peer: 'b' });
    a.hear('b', { type: 'ack', seq: a.state.seq, incarnation: 1 });
    t.equal(memberStatus(a.state, 'b'), 'alive');
    a.give({ ...FAILED_B, watcher: 'a' });
    t.equal(memberStatus(a.state, 'b'), 'alive');
  },
);

t.test('one watcher of two who can be heard is not enough', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.give({ ...FAILED_B, watcher: 'a' });
  t.equal(memberStatus(a.state, 'b'), 'suspect');
  a.give({ ...FAILED_B, watcher: 'c' });
  t.equal(memberStatus(a.state, 'b'), 'failed');
});

t.test('a watcher that stays silent, or is accused, has no say and is not waited for', async (t) => {
  const silent = new Machine('a').join('b', 'c');
  silent.give({ ...FAILED_B, watcher: 'a' });
  silent.give({ kind: 'disconnected', peer: 'c' });
  silent.pass(1000);
  t.equal(memberStatus(silent.state, 'b'), 'suspect', 'a doubt alone takes no say away');
  silent.pass(300);
  t.equal(memberStatus(silent.state, 'b'), 'failed', 'a is the only one left to hear');

  const accused = new Machine('a').join('b', 'c', 'd');
  accused.give({ ...FAILED_B, watcher: 'a' });
  accused.give({ ...FAILED_B, watcher: 'd' });
  accused.give({ ...FAILED_B, watcher: 'd', subject: 'c' });
  t.equal(memberStatus(accused.state, 'b'), 'failed');
});

t.test('most of four watchers must agree, and others have no vote', async (t) => {
  const others = ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'];
  const a = new Machine('a').join(...others);
  const watchers = ['a', ...others].filter((id) => isWatcher(a.state, 'b', id));
  const strangers = others.filter((id) => id !== 'b' && !isWatcher(a.state, 'b', id));
  for (const watcher of strangers) a.give({ ...FAILED_B, watcher });
  t.equal(memberStatus(a.state, 'b'), 'suspect');
  for (const watcher of watchers.slice(0, 2)) a.give({ ...FAILED_B, watcher });
  t.equal(memberStatus(a.state, 'b'), 'suspect');
  a.give({ ...FAILED_B, watcher: watchers[2]! });
  t.equal(memberStatus(a.state, 'b'), 'failed');
});

t.test('nobody has a say about itself', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  a.give({ ...FAILED_B, watcher: 'b' });
  t.equal(memberStatus(a.state, 'b'), 'alive');
  a.give({ ...FAILED_B, watcher: 'b', subject: 'c' });
  t.equal(memberStatus(a.state, 'c'), 'suspect', 'nor did it lose its say about others');
});

t.test('a verdict on an older incarnation is void', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.give({ ...FAILED_B, watcher: 'a' });
  a.give({ ...FAILED_B, watcher: 'c' });
  a.give({
    kind: 'members',
    members: [
      ['b', 2],
      ['c', 1],
    ],
  });
  t.equal(memberStatus(a.state, 'b'), 'alive');
  a.give({ ...FAILED_B, watcher: 'c' });
  t.equal(memberStatus(a.state, 'b'), 'alive');
});

t.test('verdicts that came before the list of members stand when that comes', async (t) => {
  const a = new Machine('a');
  for (const watcher of ['c', 'd', 'e']) a.give({ ...FAILED_B, watcher });
  const members = ['b', 'c', 'd', 'e'].map((id) => [id, 1] as const);
  a.give({ kind: 'members', members });
  t.equal(memberStatus(a.state, 'b'), 'failed', 'nothing tells them again before the start');
});

t.test('a verdict that came before the incarnation it is about stands when that comes', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  for (const watcher of ['c', 'd']) a.give({ ...FAILED_B, watcher, incarnation: 2 });
  a.give({ kind: 'member', id: 'b', incarnation: 2 });
  t.equal(memberStatus(a.state, 'b'), 'failed');
  a.give({ kind: 'member', id: 'b', incarnation: 3 });
  t.equal(memberStatus(a.state, 'b'), 'alive');
});

t.test('the verdict of a member that leaves the list goes with it', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  a.give({ ...FAILED_B, watcher: 'c' });
  t.equal(memberStatus(a.state, 'b'), 'suspect');
  a.give({
    kind: 'members',
    members: [
      ['b', 1],
      ['d', 1],
    ],
  });
  t.equal(memberStatus(a.state, 'b'), 'alive');
});

t.test('a verdict on an incarnation that its subject would not follow is no verdict', async (t) => {
  const a = new Machine('a').join('b', 'c');
  const leap = MEMBERSHIP_LIMITS.incarnationLeap_max;
  a.give({ ...FAILED_B, watcher: 'c', incarnation: 1 + leap + 1 });
  t.equal(memberStatus(a.state, 'b'), 'alive', 'nobody could take it back');
  t.equal(a.state.counters.verdictsDropped_count, 1);
  a.give({ ...FAILED_B, watcher: 'c', incarnation: 1 + leap });
  t.equal(memberStatus(a.state, 'b'), 'suspect', 'this one b can refute');

  const b = new Machine('b').join('a', 'c');
  b.give({ kind: 'member', id: 'b', incarnation: 1 });
  b.give({ ...FAILED_B, watcher: 'c', incarnation: 1 + leap + 1 });
  t.same(b.of('refute'), []);
  b.give({ ...FAILED_B, watcher: 'c', incarnation: 1 + leap });
  t.match(b.of('refute'), [{ incarnation: leap + 2 }]);
});

t.test('a verdict that came long before the life that it is about stands when that comes', async (t) => {
  const inNextLife = 1 + 3 * MEMBERSHIP_LIMITS.incarnationLeap_max;
  const verdicts = ['c', 'd'].map((watcher) => ({ ...FAILED_B, watcher, incarnation: inNextLife }));
  const record = { kind: 'member', id: 'b', incarnation: inNextLife } as const;
  const orders = { 'verdicts first': [...verdicts, record], 'member first': [record, ...verdicts] };
  for (const [name, events] of Object.entries(orders)) {
    const a = new Machine('a').join('b', 'c', 'd');
    for (const event of events) a.give(event);
    t.equal(memberStatus(a.state, 'b'), 'failed', name);
    a.give({ kind: 'member', id: 'b', incarnation: inNextLife + 1 });
    t.equal(memberStatus(a.state, 'b'), 'alive', name);
  }
  const b = new Machine('b').join('c');
  b.give({ ...FAILED_B, watcher: 'c', incarnation: inNextLife });
  b.give(record);
  t.match(b.of('refute'), [{ incarnation: inNextLife + 1 }], 'nor does b itself miss it');
});

t.test('who dies before its refutation is on record is failed where that was heard, too', async (t) => {
  const crowd = ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'];
  for (const isRecorded of [false, true]) {
    const a = new Machine('a').join(...crowd);
    const subject = crowd.find((id) => !watchersOf(a.state, id).includes('a'))!;
    const verdicts = watchersOf(a.state, subject).map((watcher) => {
      return { ...FAILED_B, watcher, subject, incarnation: 1 };
    });
    const passWithOthers = (duration_ms: number) => {
      for (let left_ms = duration_ms; left_ms > 0; left_ms -= 100) {
        a.pass(100);
        for (const peer of crowd) if (peer !== subject) a.give({ kind: 'heard', peer });
      }
    };
    a.hear(subject, { type: 'beat', incarnation: 2, next_ms: 2400 });
    for (const verdict of verdicts) a.give(verdict);
    passWithOthers(MEMBERSHIP_DEFAULTS.takeBack_ms - 500);
    t.equal(memberStatus(a.state, subject), 'alive', 'its record may be on its way');
    if (isRecorded) a.give({ kind: 'member', id: subject, incarnation: 2 });
    passWithOthers(2000);
    t.equal(memberStatus(a.state, subject), isRecorded ? 'alive' : 'failed');
    a.hear(subject, { type: 'beat', incarnation: 2, next_ms: 2400 });
    t.equal(memberStatus(a.state, subject), 'alive');
  }
});

t.test('then the verdicts of those who may be stand-ins later count again too', async (t) => {
  const crowd = Array.from({ length: 20 }, (_, at) => `m${at}`);
  const a = new Machine('a').join(...crowd);
  const [subject] = crowd as [string, ...string[]];
  const ranked = rankedFor(a.state, subject);
  const standIn = crowd.find((id) => id !== subject && !ranked.includes(id))!;
  for (const watcher of [...ranked.slice(0, 3), standIn]) a.give({ ...FAILED_B, watcher, subject });
  a.hear(subject, { type: 'ack', seq: a.state.seq, incarnation: 2 });
  a.give({ kind: 'disconnected', peer: subject });
  for (let left_ms = 10_000; left_ms > 0; left_ms -= 100) {
    a.pass(100);
    for (const peer of crowd) if (peer !== subject) a.give({ kind: 'heard', peer });
  }
  const { incarnation, verdicts } = a.state.members.get(subject)!;
  t.equal(incarnation, 1);
  t.same(verdicts.get(standIn), { incarnation: 1, verdict: 'failed' });
});

t.test(
  'nor is it forgotten before, by a node of a large cluster that has nothing to do with it',
  async (t) => {
    const crowd = Array.from({ length: 40 }, (_, at) => `m${at}`);
    const a = new Machine('a');
    const { state } = a;
    a.give({ kind: 'members', members: crowd.map((id) => [id, 1] as const) });
    a.give({ kind: 'start' });
    for (const peer of state.wanted) a.give({ kind: 'connected', peer });
    const subject = crowd.find((id) => !state.wanted.has(id) && !state.targets.has(id))!;
    const passWithOthers = (duration_ms: number) => {
      for (let left_ms = duration_ms; left_ms > 0; left_ms -= 100) {
        a.pass(100);
        for (const peer of state.connected.keys()) if (peer !== subject) a.give({ kind: 'heard', peer });
      }
    };
    for (const watcher of watchersOf(state, subject).slice(0, 3)) a.give({ ...FAILED_B, watcher, subject });
    passWithOthers(1000);
    t.equal(memberStatus(state, subject), 'failed');
    a.give({ kind: 'connected', peer: subject });
    a.hear(subject, { type: 'beat', incarnation: 2, next_ms: 2400 });
    a.give({ kind: 'disconnected', peer: subject });
    t.equal(memberStatus(state, subject), 'alive');
    passWithOthers(10_000);
    t.equal(memberStatus(state, subject), 'failed');
  },
);

t.test('who lives and answers is not failed again while the record of its refutation is late', async (t) => {
  const crowd = ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'];
  const a = new Machine('a').join(...crowd);
  const subject = crowd.find((id) => !watchersOf(a.state, id).includes('a'))!;
  for (const watcher of watchersOf(a.state, subject))
    a.give({ ...FAILED_B, watcher, subject, incarnation: 1 });
  t.equal(memberStatus(a.state, subject), 'failed');
  a.hear(subject, { type: 'beat', incarnation: 2, next_ms: 600 });
  for (let left_ms = 10_000; left_ms > 0; left_ms -= 100) {
    a.effects = [];
    a.pass(100);
    for (const peer of crowd) if (peer !== subject) a.give({ kind: 'heard', peer });
    for (const { to, message } of a.sent())
      if (to === subject && message.type === 'ping')
        a.hear(to, { type: 'ack', seq: message.seq, incarnation: 2 });
    t.equal(memberStatus(a.state, subject), 'alive');
  }
});

t.test(
  'no verdict that counts is lost to who hears of the members last, however many there are',
  async (t) => {
    const crowd = Array.from({ length: 900 }, (_, at) => `m${at}`);
    const members = crowd.map((id) => ({ kind: 'member', id, incarnation: 1 }) as const);
    const knowing = new Machine('a').join(...crowd);
    const dead = crowd.slice(0, 250);
    const verdicts = dead.flatMap((subject) =>
      rankedFor(knowing.state, subject)
        .filter((watcher) => !dead.includes(watcher))
        .map((watcher) => ({ ...FAILED_B, watcher, subject })),
    );
    t.ok(verdicts.length > MEMBERSHIP_LIMITS.verdictsPending_max);
    for (const event of verdicts) knowing.give(event);
    const late = new Machine('a');
    late.give({ kind: 'start' });
    for (const event of [...verdicts, ...members]) late.give(event);
    for (const id of crowd) t.equal(memberStatus(late.state, id), memberStatus(knowing.state, id), id);
    // A few have too few watchers left.
    t.ok(dead.filter((id) => memberStatus(late.state, id) === 'failed').length > 200);
  },
);

t.test('a verdict that comes before its member waits for it', async (t) => {
  const a = new Machine('a').join('c');
  a.give({ ...FAILED_B, watcher: 'c' });
  a.give({
    kind: 'members',
    members: [
      ['b', 1],
      ['c', 1],
    ],
  });
  t.equal(memberStatus(a.state, 'b'), 'suspect');
});

t.test(
  'who is accused refutes at once with a higher incarnation, once, in whatever way it learns of it',
  async (t) => {
    const byVerdict = new Machine('a').join('b', 'c');
    byVerdict.give({ kind: 'verdict', watcher: 'b', subject: 'a', incarnation: 0, verdict: 'failed' });
    t.match(byVerdict.of('refute'), [{ incarnation: 1 }]);
    const byPing = new Machine('a').join('b', 'c');
    byPing.hear('c', { type: 'ping', seq: 1, suspected: 0 });
    t.match(byPing.of('refute'), [{ incarnation: 1 }]);
    t.match(byPing.sent().at(-1), { to: 'c', message: { type: 'ack', seq: 1, incarnation: 1 } });
    byPing.hear('b', { type: 'ping', seq: 2, suspected: 0 });
    byPing.give({ kind: 'verdict', watcher: 'b', subject: 'a', incarnation: 1, verdict: 'alive' });
    t.equal(byPing.of('refute').length, 1);
  },
);

t.test('who is accused by messages without end writes no more than one record in a while', async (t) => {
  const a = new Machine('a').join('b', 'c');
  const accuse = (times: number) => {
    for (let time = 0; time < times; time += 1) {
      a.hear('b', { type: 'ping', seq: 1, suspected: a.state.incarnation });
      a.pass(1);
    }
  };
  accuse(1000);
  t.equal(a.of('refute').length, 1);
  t.ok(a.state.health <= 1, 'nor does it doubt itself for more than that');
  a.now -= 3_600_000;
  accuse(10);
  t.equal(a.of('refute').length, 1);
  accuse(a.state.config.takeBack_ms);
  t.equal(a.of('refute').length, 2, 'by a clock that was set back too');
  a.give({
    kind: 'verdict',
    watcher: 'b',
    subject: 'a',
    incarnation: a.state.incarnation,
    verdict: 'failed',
  });
  t.equal(a.of('refute').length, 3, 'a verdict on record is refuted at once');
});

t.test(
  'a mere doubt is answered, not refuted: a record for each would flood a network that loses much',
  async (t) => {
    const a = new Machine('a').join('b', 'c');
    a.hear('c', { type: 'suspect', subject: 'a', incarnation: 0 });
    t.same(a.of('refute'), []);
    t.match(a.sent(), [{ to: 'c', message: { type: 'ack' } }]);
    a.effects = [];
    a.give({ kind: 'disconnected', peer: 'b' });
    a.pass(500);
    const asked = a.sent().filter(({ message }) => message.type === 'request');
    t.ok(
      asked.length > 0 &&
        asked.every(({ message }) => (message as { suspected: unknown }).suspected === null),
    );
  },
);

t.test('an accuser cannot push an incarnation to where it could not be refuted', async (t) => {
  const a = new Machine('a').join('b');
  a.hear('b', { type: 'ping', seq: 1, suspected: Number.MAX_SAFE_INTEGER });
  t.same(a.of('refute'), []);
});

t.test('a connection of a failed member counts at once, and it is told of what others hold', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.give({ kind: 'disconnected', peer: 'b' });
  a.pass(1300);
  a.give({ ...FAILED_B, watcher: 'c' });
  t.equal(memberStatus(a.state, 'b'), 'failed');
  a.effects = [];
  a.give({ kind: 'connected', peer: 'b' });
  t.equal(memberStatus(a.state, 'b'), 'suspect', 'both would have to agree');
  t.match(a.sent(), [{ to: 'b', message: { type: 'ping', suspected: 1 } }], 'so that it may refute');
  a.hear('b', { type: 'ack', seq: a.state.seq, incarnation: 2 });
  t.equal(memberStatus(a.state, 'b'), 'alive');
});

/** A machine that has given a failed verdict on b and hears b again. */
function heardAgain(others: readonly string[] = ['b', 'c', 'd', 'e']): Machine {
  const a = new Machine('a').join(...others);
  a.give({ kind: 'disconnected', peer: 'b' });
  a.hear('c', { type: 'suspect', subject: 'b', incarnation: 1 });
  for (let left_ms = 1300; left_ms > 0; left_ms -= 100) {
    a.pass(100);
    for (const peer of others.slice(1)) a.give({ kind: 'heard', peer });
  }
  a.effects = [];
  a.give({ kind: 'connected', peer: 'b' });
  return a;
}

t.test('who refutes on record voids a verdict, which nobody then takes back in a record too', async (t) => {
  const a = heardAgain();
  t.match(a.sent()[0], { to: 'b', message: { type: 'ping', suspected: 1 } }, 'so that it refutes soon');
  a.hear('b', { type: 'ack', seq: a.state.seq, incarnation: 2 });
  a.give({ kind: 'member', id: 'b', incarnation: 2 });
  t.equal(a.state.members.get('b')!.charge, null);
  a.pass(10_000);
  t.notOk(a.of('verdict').some(({ verdict }) => verdict === 'alive'));
});

t.test(
  'a verdict is taken back on record when its subject refutes it by word only, or not at all',
  async (t) => {
    const taken = { subject: 'b', incarnation: 1, verdict: 'alive' };
    for (const incarnation of [1, 2]) {
      const a = heardAgain();
      a.hear('b', { type: 'ack', seq: a.state.seq, incarnation });
      t.equal(memberStatus(a.state, 'b'), 'alive', 'here at once');
      a.pass(a.state.config.takeBack_ms - 1);
      t.notOk(a.of('verdict').some(({ verdict }) => verdict === 'alive'));
      a.pass(1);
      t.match(a.of('verdict').at(-1), taken);
    }
    const restarted = new Machine('a').join('b', 'c', 'd');
    restarted.give({ ...FAILED_B, watcher: 'a' });
    restarted.give({ kind: 'heard', peer: 'b' });
    restarted.pass(restarted.state.config.takeBack_ms);
    t.match(restarted.of('verdict'), [taken], 'by a later life too');
  },
);

// A round of upkeep or not comes first after the stall.
for (const before_ms of [50, 650])
  t.test(
    `a stall in which a refutation lapses confuses nobody about its own record, ${before_ms}`,
    async (t) => {
      const others = ['c', 'd', 'e'];
      const a = new Machine('a').join('b', ...others);
      const { state } = a;
      const passWithOthers = (duration_ms: number) => {
        for (let left_ms = duration_ms; left_ms > 0; left_ms -= 50) {
          a.pass(50);
          for (const peer of others) a.hear(peer, { type: 'ack', seq: state.seq, incarnation: 1 });
        }
      };
      a.give({ kind: 'disconnected', peer: 'b' });
      passWithOthers(3000);
      a.give({ ...FAILED_B, watcher: 'a' });
      a.give({ kind: 'connected', peer: 'b' });
      a.hear('b', { type: 'ack', seq: state.seq, incarnation: 2 });
      a.give({ kind: 'disconnected', peer: 'b' });
      passWithOthers(before_ms);
      a.stall(3000);
      passWithOthers(10_000);
      const { incarnation, verdict } = a.of('verdict').at(-1)!;
      t.equal(verdict, 'failed');
      const { charge, verdicts } = state.members.get('b')!;
      t.same(verdicts.get('a'), { incarnation, verdict });
      t.equal(charge?.incarnation, incarnation);
    },
  );

t.test('a verdict that stands on record is not written again', async (t) => {
  const a = heardAgain();
  a.hear('b', { type: 'ack', seq: a.state.seq, incarnation: 1 });
  t.equal(memberStatus(a.state, 'b'), 'alive');
  a.give({ kind: 'disconnected', peer: 'b' });
  a.hear('c', { type: 'suspect', subject: 'b', incarnation: 1 });
  a.pass(1250);
  t.same(a.of('verdict'), []);
  t.equal(memberStatus(a.state, 'b'), 'suspect', 'but it counts again');
  a.give({ ...FAILED_B, watcher: 'c' });
  a.give({ ...FAILED_B, watcher: 'd' });
  t.equal(memberStatus(a.state, 'b'), 'failed');
  a.pass(10_000);
  t.notOk(
    a.of('verdict').some(({ subject }) => subject === 'b'),
    'nor taken back',
  );
});

t.test('an own verdict that was taken back stays so for whom there is nothing else to know', async (t) => {
  const crowd = Array.from({ length: 120 }, (_, at) => `m${at}`);
  const a = new Machine('a').join(...crowd);
  const other = crowd.find((id) => !a.state.wanted.has(id) && !a.state.targets.has(id))!;
  const failed = { ...FAILED_B, watcher: 'a', subject: other };
  const passWith = (peers: readonly string[]) => {
    for (let left_ms = 10_000; left_ms > 0; left_ms -= 100) {
      a.pass(100);
      for (const peer of peers) a.give({ kind: 'heard', peer });
    }
  };
  a.give({ kind: 'disconnected', peer: other });
  a.give(failed);
  a.give({ kind: 'connected', peer: other });
  passWith(crowd);
  t.match(a.of('verdict'), [{ subject: other, verdict: 'alive' }]);
  a.give({ kind: 'disconnected', peer: other });
  passWith(crowd.filter((id) => id !== other));
  a.give(failed);
  t.notOk(a.state.doubted.has(other), 'its record of before has come late');
});

t.test('who was cut off takes its verdicts back at once', async (t) => {
  const others = ['b', 'c', 'd', 'e'];
  const a = new Machine('a').join(...others);
  for (const peer of others) a.give({ kind: 'disconnected', peer });
  a.pass(5000);
  t.ok(a.state.cutOff !== null);
  a.effects = [];
  a.give({ kind: 'connected', peer: 'b' });
  t.match(a.of('verdict'), [{ subject: 'b', verdict: 'alive' }]);
});

/** The last of b's four watchers, while the three before it doubt b as it does itself. */
function lastInRank(): { last: Machine; needed: readonly string[] } {
  const crowd = ['a', 'c', 'd', 'e', 'f', 'g', 'h'];
  const watchers = new Machine('b').join(...crowd).state.roster.watchers('b', 4);
  const self = watchers[3]!;
  const last = new Machine(self).join('b', ...crowd.filter((id) => id !== self));
  const needed = watchers.slice(0, 3);
  last.give({ kind: 'disconnected', peer: 'b' });
  for (const from of needed) last.hear(from, { type: 'suspect', subject: 'b', incarnation: 1, closed: true });
  last.effects = [];
  return { last, needed };
}

t.test('a watcher that is not needed gives no verdict when the others have agreed', async (t) => {
  const { last, needed } = lastInRank();
  last.pass(260);
  t.same(last.of('verdict'), []);
  for (const watcher of needed) last.give({ ...FAILED_B, watcher });
  t.equal(memberStatus(last.state, 'b'), 'failed');
  const hearOthers = (duration_ms: number) => {
    for (let left_ms = duration_ms; left_ms > 0; left_ms -= 100) {
      last.pass(100);
      for (const peer of last.state.connected.keys()) if (peer !== 'b') last.give({ kind: 'heard', peer });
    }
  };
  hearOthers(5000);
  t.same(last.of('verdict'), []);
  last.give({ ...FAILED_B, watcher: 'b', subject: needed[0]! });
  last.give({ ...FAILED_B, watcher: 'b', subject: needed[1]! });
  t.match(
    last.of('verdict'),
    [{ subject: 'b', verdict: 'failed' }],
    'it does when they have no say any more',
  );
});

t.test('a watcher that is not needed gives its verdict when the others do not', async (t) => {
  const { last } = lastInRank();
  last.pass(260);
  t.same(last.of('verdict'), []);
  last.pass(last.state.config.spare_ms);
  t.match(last.of('verdict'), [{ subject: 'b', verdict: 'failed' }]);
});

t.test('a silent member is asked, through relays too, then suspected, then cut off', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd', 'e');
  const answer = () => {
    for (const { to, message } of a.sent()) {
      if (to === 'b') continue;
      if (message.type === 'request') a.hear(to, { type: 'nack', seq: message.seq, subject: 'b' });
    }
  };
  let requests_count = 0;
  for (let round = 0; round < 100; round += 1) {
    a.pass(50);
    for (const peer of ['c', 'd', 'e']) a.hear(peer, { type: 'beat', incarnation: 1, next_ms: 2400 });
    requests_count += a.sent().filter(({ message }) => message.type === 'request').length;
    const isCut = a.of('disconnect').some(({ peer }) => peer === 'b');
    if (isCut) break;
    answer();
    a.effects = [];
  }
  t.ok(requests_count >= 3);
  t.match(a.of('disconnect'), [{ peer: 'b' }]);
  t.match(a.of('verdict'), [{ subject: 'b', verdict: 'failed' }]);
  t.equal(a.state.health, 0, 'relays said nack, so it is not us');
});

t.test('relays that do not even say that there was no answer make a node doubt itself', async (t) => {
  for (const saysNack of [true, false]) {
    const a = new Machine('a').join('b', 'c', 'd', 'e');
    for (let round = 0; round < 100 && memberStatus(a.state, 'b') === 'alive'; round += 1) {
      a.effects = [];
      a.pass(50);
      for (const { to, message } of a.sent())
        if (saysNack && message.type === 'request')
          a.hear(to, { type: 'nack', seq: message.seq, subject: 'b' });
      for (const peer of ['c', 'd', 'e']) a.give({ kind: 'heard', peer });
    }
    t.equal(memberStatus(a.state, 'b'), 'suspect');
    t.equal(a.state.health > 0, !saysNack);
    t.equal(a.state.lateness > 0, !saysNack, 'or the network loses what is sent');
  }
});

t.test('a relayed answer ends a suspicion, and an old one does not', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  const old = a.state.seq;
  a.give({ kind: 'disconnected', peer: 'b' });
  a.pass(5);
  a.hear('c', { type: 'relayed', seq: old, subject: 'b', incarnation: 1 });
  t.equal(memberStatus(a.state, 'b'), 'suspect');
  a.hear('c', { type: 'relayed', seq: a.state.seq, subject: 'b', incarnation: 1 });
  t.equal(memberStatus(a.state, 'b'), 'alive');
});

t.test('an answer that was waited for in vain ends no doubt long after the verdict', async (t) => {
  const answered = (after_ms: number, isNew: boolean) => {
    const a = new Machine('a').join('b', 'c', 'd');
    const passWithOthers = (duration_ms: number) => {
      for (let left_ms = duration_ms; left_ms > 0; left_ms -= 100) {
        a.pass(100);
        for (const peer of ['c', 'd']) a.give({ kind: 'heard', peer });
      }
    };
    a.give({ kind: 'disconnected', peer: 'b' });
    a.pass(200);
    const asked = a.sent().find(({ to, message }) => to === 'c' && message.type === 'request');
    passWithOthers(1500);
    t.equal(a.of('verdict').length, 1);
    passWithOthers(after_ms);
    const seq = isNew ? a.state.seq : (asked!.message as Message & { type: 'request' }).seq;
    a.hear('c', { type: 'relayed', seq, subject: 'b', incarnation: 1 });
    return a.state.members.get('b')!.suspicion === null;
  };
  const { lossSilence_ms_max } = MEMBERSHIP_LIMITS;
  t.ok(answered(lossSilence_ms_max - 2000, false), 'loss may have held it back');
  t.notOk(answered(lossSilence_ms_max + 1000, false));
  t.ok(answered(lossSilence_ms_max + 1000, true), 'what was asked since counts');
});

t.test(
  'whom others reach is not doubted for want of a connection, whatever another one doubts',
  async (t) => {
    const a = new Machine('a').join('b', 'c', 'd', 'e');
    const { state } = a;
    const passWithRelay = (duration_ms: number) => {
      for (let left_ms = duration_ms; left_ms > 0; left_ms -= 50) {
        a.pass(50);
        for (const peer of ['c', 'd', 'e']) a.give({ kind: 'heard', peer });
        for (const { to, message } of a.sent())
          if (to === 'd' && message.type === 'request')
            a.hear('d', { type: 'relayed', seq: message.seq, subject: 'b', incarnation: 1 });
        a.effects = a.of('status');
      }
    };
    a.give({ kind: 'disconnected', peer: 'b' });
    passWithRelay(1000);
    t.equal(memberStatus(state, 'b'), 'alive');
    a.effects = [];
    for (let round = 0; round < 20; round += 1) {
      // It has no connection either.
      a.hear('c', { type: 'suspect', subject: 'b', incarnation: 1 });
      t.ok(
        a.sent().some(({ message }) => message.type === 'request'),
        'who may have one is asked at once',
      );
      passWithRelay(500);
    }
    t.same(a.of('status'), []);
  },
);

t.test('only who was asked answers for another', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd', 'e', 'f', 'g');
  const askedSoFar = () =>
    new Set(
      a
        .sent()
        .filter(({ message }) => message.type === 'request')
        .map(({ to }) => to),
    );
  const answer = (from: string) =>
    a.hear(from, { type: 'relayed', seq: a.state.seq, subject: 'b', incarnation: 1 });
  a.give({ kind: 'disconnected', peer: 'b' });
  a.pass(5);
  const asked = askedSoFar();
  t.equal(asked.size, a.state.config.relays_count);
  for (const id of ['c', 'd', 'e', 'f', 'g']) if (!asked.has(id)) answer(id);
  t.equal(memberStatus(a.state, 'b'), 'suspect');
  answer([...asked][0]!);
  t.equal(memberStatus(a.state, 'b'), 'alive');

  const probing = new Machine('a').join('b', 'c', 'd', 'e', 'f', 'g');
  while (probing.state.members.get('b')!.probe === null) {
    probing.pass(50);
    for (const id of ['c', 'd', 'e', 'f', 'g']) probing.give({ kind: 'heard', peer: id });
  }
  const { seq, relays } = probing.state.members.get('b')!.probe!;
  for (const id of ['c', 'd', 'e', 'f', 'g'])
    if (!relays.has(id)) probing.hear(id, { type: 'nack', seq, subject: 'b' });
  t.equal(probing.state.members.get('b')!.probe!.nacks_count, 0);
  for (const id of ['c', 'd', 'e', 'f', 'g'])
    if (!relays.has(id)) probing.hear(id, { type: 'relayed', seq, subject: 'b', incarnation: 1 });
  t.not(probing.state.members.get('b')!.probe, null);
  probing.hear([...relays][0]!, { type: 'relayed', seq, subject: 'b', incarnation: 1 });
  t.equal(probing.state.members.get('b')!.probe, null);
  t.equal(memberStatus(probing.state, 'b'), 'alive', 'it was never in doubt');
});

t.test('no message lifts an incarnation to where nobody could be accused', async (t) => {
  const leap = MEMBERSHIP_LIMITS.incarnationLeap_max;
  const lies = {
    beat: (incarnation: number) => ({ type: 'beat', incarnation, next_ms: 600 }) as const,
    ack: (incarnation: number) => ({ type: 'ack', seq: 0, incarnation }) as const,
  };
  for (const [name, lie] of Object.entries(lies)) {
    const a = new Machine('a').join('b', 'c', 'd');
    a.hear('b', lie(1 + leap + 1));
    t.equal(a.state.members.get('b')!.incarnation, 1, name);
    a.hear('b', lie(1 + leap));
    t.equal(a.state.members.get('b')!.incarnation, 1 + leap, name);
    for (const watcher of ['c', 'd']) a.give({ ...FAILED_B, watcher, incarnation: 1 + leap });
    t.equal(memberStatus(a.state, 'b'), 'failed', name);
    a.give({ kind: 'member', id: 'b', incarnation: 1_000_000 });
    a.hear('b', lie(1_000_001));
    t.equal(a.state.members.get('b')!.incarnation, 1_000_001, 'after its record it is told on');
  }
});

t.test('a relay asks for others, hands the answer on, and says nack when there is none', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.hear('c', { type: 'request', seq: 77, subject: 'b', suspected: null });
  const ping = a.sent().find(({ to, message }) => to === 'b' && message.type === 'ping')!;
  a.hear('b', { type: 'ack', seq: (ping.message as { seq: number }).seq, incarnation: 4 });
  t.match(a.sent().at(-1), { to: 'c', message: { type: 'relayed', seq: 77, subject: 'b', incarnation: 4 } });
  a.hear('c', { type: 'request', seq: 78, subject: 'b', suspected: null });
  a.pass(450);
  t.ok(a.sent().some(({ to, message }) => to === 'c' && message.type === 'nack' && message.seq === 78));
});

t.test('confirmations of other watchers shorten a suspicion', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  a.give({ kind: 'disconnected', peer: 'b' });
  a.hear('c', { type: 'suspect', subject: 'b', incarnation: 1 });
  a.hear('d', { type: 'suspect', subject: 'b', incarnation: 1 });
  a.pass(650);
  t.match(a.of('verdict'), [{ subject: 'b', verdict: 'failed' }]);
});

t.test('what others doubted of an earlier life confirms nothing', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  a.give({ kind: 'member', id: 'b', incarnation: 2 });
  a.give({ kind: 'disconnected', peer: 'b' });
  for (const from of ['c', 'd']) a.hear(from, { type: 'suspect', subject: 'b', incarnation: 1 });
  a.pass(650);
  t.same(a.of('verdict'), []);
  for (const from of ['c', 'd']) a.hear(from, { type: 'suspect', subject: 'b', incarnation: 2 });
  a.pass(10);
  t.match(a.of('verdict'), [{ subject: 'b', verdict: 'failed' }]);
});

t.test('who was heard to doubt a member before its connection closed here confirms the doubt', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  for (const from of ['c', 'd'])
    a.hear(from, { type: 'suspect', subject: 'b', incarnation: 1, closed: true });
  t.equal(memberStatus(a.state, 'b'), 'alive', 'it is asked first');
  a.give({ kind: 'disconnected', peer: 'b' });
  a.pass(a.state.config.suspicionClosed_ms);
  t.match(a.of('verdict'), [{ subject: 'b', verdict: 'failed' }]);
});

t.test('when most of whom it watches are in doubt a node asks others too, some at a time', async (t) => {
  for (const [members_count, targets_count, lost_count, asked_count] of [
    [43, 4, 2, 0],
    [30, 5, 3, MEMBERSHIP_LIMITS.widened_max],
  ] as const) {
    const a = new Machine('a').join(...Array.from({ length: members_count }, (_, at) => `m${at}`));
    const targets = [...a.state.targets];
    t.equal(targets.length, targets_count);
    const passWithTargets = (duration_ms: number, alive: readonly string[]) => {
      for (let left_ms = duration_ms; left_ms > 0; left_ms -= 100) {
        a.pass(100);
        for (const peer of alive) a.give({ kind: 'heard', peer });
      }
    };
    passWithTargets(4 * a.state.config.beat_interval_ms + 1000, targets);
    const lost = targets.slice(0, lost_count);
    for (const peer of lost) a.give({ kind: 'disconnected', peer });
    a.effects = [];
    passWithTargets(
      2 * a.state.config.beat_interval_ms,
      targets.filter((id) => !lost.includes(id)),
    );
    const asked = a.sent().filter(({ to, message }) => message.type === 'ping' && !targets.includes(to));
    t.equal(asked.length, asked_count);
  }
});

t.test('a stalled loop gives no verdict, and pushes its deadlines', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  a.give({ kind: 'disconnected', peer: 'b' });
  a.pass(1000);
  a.stall(5000);
  t.same(a.of('verdict'), []);
  t.equal(a.state.counters.stalls_count, 1, 'one stall, though many timers were late');
  t.ok(a.state.health > 0);
  a.pass(400);
  t.same(a.of('verdict'), [], 'answers that waited have time to be read');
  a.hear('b', { type: 'ack', seq: 0, incarnation: 1 });
  t.equal(memberStatus(a.state, 'b'), 'suspect', 'it came over no connection');
  a.state.health = 0;
  a.pass(1500);
  t.match(a.of('verdict'), [{ subject: 'b', verdict: 'failed' }], 'it is put off, not given up');
});

t.test('a question that was open while the loop stood still has its whole time again', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  a.hear('b', { type: 'beat', incarnation: 1, next_ms: 500 });
  const isAsked = () => a.sent().some(({ to, message }) => to === 'b' && message.type === 'ping');
  while (!isAsked() && a.now < 1_010_000) {
    a.pass(10);
    for (const peer of ['c', 'd']) a.give({ kind: 'heard', peer });
  }
  const { seq } = a.state.members.get('b')!.probe!;
  a.stall(1000);
  t.equal(memberStatus(a.state, 'b'), 'alive', 'its answer may be waiting');
  t.equal(a.state.members.get('b')!.probe?.seq, seq);
  a.hear('b', { type: 'ack', seq, incarnation: 1 });
  t.equal(a.state.members.get('b')!.probe, null);
  t.equal(memberStatus(a.state, 'b'), 'alive');
});

t.test('a node whose loop stalls again and again comes to its verdict all the same', async (t) => {
  for (const roundTrip_ms of [0, 400]) {
    for (const work_ms of [100, 400]) {
      const a = new Machine('a').join('b', 'c');
      const b = a.state.members.get('b')!;
      noteRoundTrip(b, roundTrip_ms);
      for (let round = 0; round < 100 && a.of('verdict').length === 0; round += 1) {
        a.give({ kind: 'heard', peer: 'c' });
        a.pass(work_ms);
        a.give({ kind: 'heard', peer: 'c' });
        a.hear('c', { type: 'suspect', subject: 'b', incarnation: 1 });
        a.stall(400);
      }
      t.match(a.of('verdict'), [{ subject: 'b', verdict: 'failed' }], `${roundTrip_ms} ms, ${work_ms} ms`);
    }
  }
  const alone = new Machine('a').join('b');
  for (let round = 0; round < 60 && alone.of('verdict').length === 0; round += 1) {
    alone.pass(400);
    alone.stall(400);
  }
  t.match(alone.of('verdict'), [{ subject: 'b', verdict: 'failed' }], 'alone too');
});

t.test('nor does it judge anybody wrongly who answers, however long and often it stalls', async (t) => {
  for (const stall_ms of [200, 500, 1000, 5000]) {
    for (const work_ms of [60, 100, 400, 1000]) {
      const a = new Machine('a').join('b', 'c');
      let heard_count = 0;
      const answer = () => {
        for (const { to, message } of a.sent().slice(heard_count))
          if (message.type === 'ping') a.hear(to, { type: 'ack', seq: message.seq, incarnation: 1 });
        heard_count = a.of('send').length;
      };
      for (let round = 0; round < 60; round += 1) {
        for (let left_ms = work_ms; left_ms > 0; left_ms -= 20) {
          a.pass(20);
          answer();
        }
        // What waited is read after the timers that came due.
        a.stall(stall_ms);
        a.hear('c', { type: 'suspect', subject: 'b', incarnation: 1 });
      }
      t.same(a.of('verdict'), [], `${stall_ms} ms, ${work_ms} ms`);
    }
  }
});

t.test('a clock that leaps ahead puts off no suspicion that begins after it', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  a.now += 30 * 86_400_000;
  // Before any timer of before the leap has come.
  a.give({ kind: 'disconnected', peer: 'b' });
  a.hear('c', { type: 'suspect', subject: 'b', incarnation: 1 });
  a.pass(0);
  t.equal(a.state.counters.stalls_count, 1);
  a.pass(3000);
  t.match(a.of('verdict'), [{ subject: 'b', verdict: 'failed' }]);
});

/** The clock is set back by so much; the timers that run are not put off by it. */
function setBack(a: Machine, by_ms: number): void {
  a.now -= by_ms;
  for (const [token, at_ms] of a.due) a.due.set(token, at_ms - by_ms);
}

t.test('a clock that was set back puts off no beat and no question', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.hear('b', { type: 'beat', incarnation: 1, next_ms: 1200 });
  a.pass(1000);
  setBack(a, 3_600_000);
  a.effects = [];
  for (let round = 0; round < 40; round += 1) {
    a.pass(100);
    a.give({ kind: 'heard', peer: 'c' });
  }
  const sentTo = (type: Message['type']) =>
    new Set(a.sent().flatMap(({ to, message }) => (message.type === type ? [to] : [])));
  t.same(sentTo('beat'), new Set(['b', 'c']), 'each watcher is told');
  t.same(sentTo('ping'), new Set(['b']), 'the silent one is asked');
});

t.test('a clock that was set back makes nobody dial more often than for a new loss', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  const dialled = (): number => {
    a.effects = [];
    for (let second = 0; second < 60; second += 1) {
      a.pass(1000);
      for (const peer of ['b', 'c']) a.give({ kind: 'heard', peer });
    }
    return a.of('connect').length;
  };
  a.give({ kind: 'disconnected', peer: 'd' });
  const first = dialled();
  t.ok(dialled() < first);
  setBack(a, 3_600_000);
  const again = dialled();
  t.ok(again > 0 && again < 1.5 * first, `${again} times, and ${first} before`);
});

t.test('a beat that comes late does not put off the next', async (t) => {
  const a = new Machine('a').join('b');
  /** Until the next beat, at most so many milliseconds. @returns when it came. */
  const beatWithin = (ms_max: number): number => {
    a.effects = [];
    const until_ms = a.now + ms_max;
    while (!a.sent().some(({ message }) => message.type === 'beat') && a.now < until_ms) a.pass(1);
    return a.now;
  };
  const first_ms = beatWithin(1000);
  const interval_ms = beatWithin(1000) - first_ms;
  a.stall(interval_ms + 100);
  t.equal(beatWithin(1000), first_ms + 3 * interval_ms, 'it was promised for then');
});

t.test('a node in poor health declares nobody dead alone', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  a.state.health = 8;
  a.give({ kind: 'disconnected', peer: 'b' });
  a.pass(3000);
  t.same(a.of('verdict'), []);
  a.give({ ...FAILED_B, watcher: 'c' });
  a.pass(1000);
  t.match(a.of('verdict'), [{ subject: 'b', verdict: 'failed' }], 'with another it does');
});

t.test('a node in poor health that hears nobody else decides in the end', async (t) => {
  const a = new Machine('a').join('b');
  a.state.health = 8;
  a.give({ kind: 'disconnected', peer: 'b' });
  a.pass(4000);
  t.equal(memberStatus(a.state, 'b'), 'failed');
});

t.test('when most vanish at once we are cut off, and redial them for ever', async (t) => {
  const others = ['b', 'c', 'd', 'e'];
  const a = new Machine('a').join(...others);
  a.now += 2000;
  for (const peer of others) a.give({ kind: 'disconnected', peer });
  a.pass(5000);
  t.match(a.of('isolated'), [{ isolated: true }]);
  for (const id of others) t.equal(memberStatus(a.state, id), 'failed');
  a.effects = [];
  a.pass(3_600_000);
  for (const id of others) {
    const dials = a.of('connect').filter(({ peer }) => peer === id).length;
    t.ok(dials >= 160 && dials <= 200, `${id} was dialled ${dials} times in an hour`);
  }
  for (const peer of others) {
    a.give({ kind: 'connected', peer });
    a.hear(peer, { type: 'ack', seq: a.state.seq, incarnation: 1 });
  }
  t.match(a.of('isolated'), [{ isolated: false }]);
  for (const id of others) t.equal(memberStatus(a.state, id), 'alive');
});

t.test('a node is cut off no more when no more than half of those it lost are missing', async (t) => {
  const others = ['b', 'c', 'd', 'e', 'f', 'g'];
  const a = new Machine('a').join(...others);
  const lost = others.slice(0, 4);
  for (const subject of lost)
    for (const watcher of ['a', ...others.slice(4)])
      a.give({ kind: 'verdict', watcher, subject, incarnation: 1, verdict: 'failed' });
  const told = () => a.of('isolated').map(({ isolated }) => isolated);
  t.same(told(), [true]);
  for (const back of lost.slice(0, 2)) a.give({ kind: 'member', id: back, incarnation: 2 });
  t.same(told(), [true, false], 'two of seven are missing still');
});

t.test('one of two members that vanishes is not most of them', async (t) => {
  const a = new Machine('a').join('b');
  a.give({ kind: 'disconnected', peer: 'b' });
  a.pass(5000);
  t.equal(memberStatus(a.state, 'b'), 'failed');
  t.same(a.of('isolated'), []);
});

t.test('a new record of a lost member has it dialled at once', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.give({ kind: 'disconnected', peer: 'b' });
  a.pass(600_000);
  const effects = a.give({
    kind: 'members',
    members: [
      ['b', 2],
      ['c', 1],
    ],
  });
  t.ok(effects.some((effect) => effect.kind === 'connect' && effect.peer === 'b'));
});

t.test('a member that leaves the list is dropped whole', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.give({ kind: 'disconnected', peer: 'b' });
  a.pass(1300);
  a.give({ kind: 'members', members: [['c', 1]] });
  t.equal(memberStatus(a.state, 'b'), undefined);
  t.notOk(a.state.doubted.has('b') || a.state.failed.has('b') || a.state.redialling.has('b'));
  t.notOk(a.state.targets.has('b'));
});

t.test('a member that was never met is not doubted before its time', async (t) => {
  const a = new Machine('a');
  a.give({ kind: 'members', members: [['b', 1]] });
  a.give({ kind: 'start' });
  a.pass(4900);
  t.equal(memberStatus(a.state, 'b'), 'alive');
  a.pass(10_000);
  t.equal(memberStatus(a.state, 'b'), 'failed');
});

t.test('a member that was never met is missed in its time by a clock that was set back too', async (t) => {
  const a = new Machine('a').join('c');
  a.give({ kind: 'member', id: 'b', incarnation: 1 });
  a.now -= 3_600_000;
  a.due.clear();
  for (const { token } of [...a.state.timers.values()]) a.due.set(token, a.now + 1);
  for (let left_ms = 12_000; left_ms > 0; left_ms -= 100) {
    a.pass(100);
    a.give({ kind: 'heard', peer: 'c' });
  }
  t.not(memberStatus(a.state, 'b'), 'alive');
});

t.test('a connection that flaps is not redialled in a tight loop', async (t) => {
  const a = new Machine('a').join('b', 'c');
  for (let round = 0; round < 50; round += 1) {
    a.give({ kind: 'disconnected', peer: 'b' });
    a.give({ kind: 'connected', peer: 'b' });
    a.pass(10);
  }
  t.ok(a.of('connect').length <= 2, `${a.of('connect').length} dials in half a second`);
});

t.test('malformed messages are counted and change nothing', async (t) => {
  const a = new Machine('a').join('b');
  const bodies = [
    new Uint8Array(),
    Uint8Array.of(0xc1),
    new Uint8Array(MEMBERSHIP_LIMITS.message_bytes_max + 1),
  ];
  for (const body of bodies) t.same(a.give({ kind: 'message', from: 'b', body }), []);
  t.equal(a.state.counters.malformed_count, bodies.length);
});

t.test('caps hold when they are exceeded', async (t) => {
  const a = new Machine('a').join('b', 'c');
  for (let seq = 1; seq <= MEMBERSHIP_LIMITS.relays_max + 10; seq += 1) {
    a.hear('c', { type: 'request', seq, subject: 'b', suspected: null });
  }
  t.equal(a.state.relays.size, MEMBERSHIP_LIMITS.relays_max);
  t.equal(a.state.counters.relaysRefused_count, 10);
  t.match(a.sent().at(-1), { to: 'c', message: { type: 'nack' } });

  for (let at = 0; at < MEMBERSHIP_LIMITS.verdictsPending_max + 10; at += 1) {
    a.give({ ...FAILED_B, watcher: `unknown-${at}` });
  }
  t.equal(a.state.pending.length, MEMBERSHIP_LIMITS.verdictsPending_max);
  t.equal(a.state.counters.verdictsDropped_count, 10);

  const crowd = Array.from({ length: 100 }, (_, at) => `m${at}`);
  const big = new Machine('a').join('b', ...crowd);
  for (const watcher of crowd) big.give({ ...FAILED_B, watcher });
  t.equal(big.state.members.get('b')!.verdicts.size, MEMBERSHIP_LIMITS.verdictsPerSubject_max);
  const ranked = crowd.filter((id) => rankedFor(big.state, 'b').includes(id));
  t.ok(
    ranked.every((id) => big.state.members.get('b')!.verdicts.has(id)),
    'those who vote have room',
  );
  for (const peer of crowd) big.give({ kind: 'disconnected', peer });
  t.ok(big.state.redialling.size <= MEMBERSHIP_LIMITS.redials_max);
});

t.test('a clock that is set back delays no verdict by more than its time', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  a.stall(3000);
  t.equal(a.state.counters.stalls_count, 1);
  a.give({ kind: 'disconnected', peer: 'b' });
  a.due.clear();
  a.now -= 3_600_000;
  a.hear('c', { type: 'suspect', subject: 'b', incarnation: 1 });
  a.pass(2000);
  t.match(a.of('verdict'), [{ subject: 'b', verdict: 'failed' }]);
});

t.test('a watcher that takes its verdict back ends the agreement, and the others ask again', async (t) => {
  const a = new Machine('a').join('b', 'c');
  const passWithC = (duration_ms: number) => {
    for (let left_ms = duration_ms; left_ms > 0; left_ms -= 100) {
      a.pass(100);
      a.hear('c', { type: 'ack', seq: a.state.seq, incarnation: 1 });
    }
  };
  a.give({ kind: 'disconnected', peer: 'b' });
  a.give({ ...FAILED_B, watcher: 'c' });
  passWithC(3000);
  t.equal(memberStatus(a.state, 'b'), 'failed');
  a.effects = [];
  passWithC(3000);
  t.notOk(
    a.sent().some(({ message }) => message.type === 'request'),
    'a failed member is dialled, not asked',
  );
  a.give({ ...FAILED_B, watcher: 'c', verdict: 'alive' });
  t.equal(memberStatus(a.state, 'b'), 'suspect');
  passWithC(3000);
  t.ok(a.sent().some(({ message }) => message.type === 'request'));
});

t.test(
  'an agreement holds for one incarnation, and a member that dies in the next is asked anew',
  async (t) => {
    const others = ['c', 'd', 'e'];
    const a = new Machine('a').join('b', ...others);
    const passWithOthers = (duration_ms: number) => {
      for (let left_ms = duration_ms; left_ms > 0; left_ms -= 100) {
        a.pass(100);
        for (const peer of others) a.hear(peer, { type: 'ack', seq: a.state.seq, incarnation: 1 });
      }
    };
    a.give({ kind: 'disconnected', peer: 'b' });
    for (const watcher of ['c', 'd']) a.give({ ...FAILED_B, watcher });
    passWithOthers(3000);
    t.match(a.of('verdict'), [{ subject: 'b', incarnation: 1, verdict: 'failed' }]);
    t.equal(memberStatus(a.state, 'b'), 'failed');
    // It has told c and d that it lives, and died. They have missed it again before its record is here.
    for (const watcher of ['c', 'd']) a.give({ ...FAILED_B, watcher, incarnation: 2 });
    t.equal(memberStatus(a.state, 'b'), 'failed');
    a.effects = [];
    a.give({ kind: 'member', id: 'b', incarnation: 2 });
    t.equal(memberStatus(a.state, 'b'), 'suspect', 'two of four do not agree');
    passWithOthers(5000);
    t.match(a.of('verdict'), [{ subject: 'b', incarnation: 2, verdict: 'failed' }], 'they wait for it');
    t.equal(memberStatus(a.state, 'b'), 'failed');
  },
);

/**
 * A node that is started where `dead` was failed by its watchers, which are dead too by the verdicts of others: it is a
 * stand-in for them now.
 */
function heir(lost_count: number): { a: Machine; dead: string; passWithRest: (duration_ms: number) => void } {
  const crowd = Array.from({ length: 15 }, (_, at) => `m${at}`);
  const members = crowd.map((id) => [id, 1] as const);
  const failed = (watcher: string, subject: string) =>
    a.give({ kind: 'verdict', watcher, subject, incarnation: 1, verdict: 'failed' });
  const a = new Machine('a');
  a.give({ kind: 'members', members });
  const { roster } = a.state;
  const dead = crowd.find((id) => {
    const watchers = roster.watchers(id, 4);
    if (watchers.includes('a')) return false;
    const left = watchers.reduce((others, watcher) => others.without(watcher), roster);
    return left.watchers(id, 2).includes('a');
  })!;
  const watchers = roster.watchers(dead, 4);
  for (const watcher of watchers.slice(0, 3)) failed(watcher, dead);
  const lost = watchers.slice(0, lost_count);
  const rest = crowd.filter((id) => id !== dead && !lost.includes(id));
  for (const subject of lost) for (const watcher of roster.watchers(subject, 4)) failed(watcher, subject);
  a.give({ kind: 'start' });
  for (const peer of rest) a.give({ kind: 'connected', peer });
  a.effects = [];
  const passWithRest = (duration_ms: number) => {
    for (let left_ms = duration_ms; left_ms > 0; left_ms -= 100) {
      a.pass(100);
      for (const peer of rest) a.hear(peer, { type: 'ack', seq: a.state.seq, incarnation: 1 });
    }
  };
  return { a, dead, passWithRest };
}

t.test('where those who agreed have lost their say, who has it now asks and agrees anew', async (t) => {
  const { a, dead, passWithRest } = heir(4);
  t.ok(a.state.targets.has(dead));
  t.equal(memberStatus(a.state, dead), 'failed');
  passWithRest(6000);
  const asked = a.sent().filter(({ message }) => message.type === 'request' && message.subject === dead);
  t.ok(asked.length > 0, 'perhaps others reach it');
  t.match(
    a.of('verdict').filter(({ subject }) => subject === dead),
    [{ incarnation: 1, verdict: 'failed' }],
  );
  t.same(
    a.of('status').filter(({ member }) => member === dead),
    [],
    'it is held as failed all the while',
  );
  a.effects = [];
  passWithRest(60_000);
  t.notOk(
    a.sent().some(({ message }) => message.type === 'request'),
    'and nobody is asked for ever',
  );
  t.same(a.of('verdict'), []);
});

t.test('and whom others reach it does not accuse', async (t) => {
  const { a, dead, passWithRest } = heir(4);
  let answers_count = 0;
  for (let left_ms = 30_000; left_ms > 0; left_ms -= 100) {
    passWithRest(100);
    for (const { to, message } of a.sent()) {
      if (message.type !== 'request' || message.subject !== dead) continue;
      a.hear(to, { type: 'relayed', seq: message.seq, subject: dead, incarnation: 1 });
      answers_count += 1;
    }
    if (a.of('verdict').some(({ subject }) => subject === dead)) t.fail('it lives');
    a.effects = [];
  }
  t.ok(answers_count > 0);
});

t.test('where enough of those who agreed have their say nobody is asked', async (t) => {
  const { a, dead, passWithRest } = heir(1);
  passWithRest(30_000);
  t.equal(memberStatus(a.state, dead), 'failed');
  t.notOk(a.sent().some(({ message }) => message.type === 'request' && message.subject === dead));
});

t.test('who is watched tells its watchers in turn that it lives, and when it will again', async (t) => {
  const others = ['b', 'c', 'd', 'e', 'f', 'g', 'h'];
  const a = new Machine('a').join(...others);
  a.pass(600 * 8);
  const beats = a.sent().filter(({ message }) => message.type === 'beat');
  const heard = beats.map(({ to }) => to);
  t.equal(beats.length, 8);
  t.same(new Set(heard), new Set(a.state.roster.watchers('a', 4)), 'nobody else');
  t.same(heard.slice(0, 4), heard.slice(4), 'each has its turn');
  t.match(beats[0]!.message, { incarnation: 0, next_ms: 4 * 600 });
});

t.test('no watcher waits for longer than was promised to it when others come and go', async (t) => {
  const others = ['b', 'c', 'd', 'e', 'f', 'g', 'h'];
  const a = new Machine('a').join(...others);
  const watchers = a.state.roster.watchers('a', 4);
  const due = new Map<string, number>();
  for (let tick = 0; tick < 60; tick += 1) {
    const gone = watchers[tick % 3 === 0 ? 0 : 1]!;
    if (tick % 2 === 0) a.give({ kind: 'disconnected', peer: gone });
    else for (const peer of watchers.slice(0, 2)) a.give({ kind: 'connected', peer });
    for (const peer of a.state.connected.keys()) if (peer !== gone) a.give({ kind: 'heard', peer });
    for (const effect of a.pass(600)) {
      if (effect.kind !== 'send') continue;
      const message = decodeMessage(effect.body)!;
      if (message.type !== 'beat' || !watchers.slice(2).includes(effect.to)) continue;
      t.ok(a.now <= (due.get(effect.to) ?? a.now), `${a.now}`);
      due.set(effect.to, a.now + message.next_ms);
    }
  }
  t.equal(due.size, 2);
});

t.test('a promise is kept for as long as it said, and no promise is for ever', async (t) => {
  const a = new Machine('a').join('b');
  a.hear('b', { type: 'beat', incarnation: 1, next_ms: 5000 });
  a.pass(5100);
  t.same(
    a.sent().filter(({ message }) => message.type === 'ping'),
    [],
  );
  a.pass(200);
  t.match(a.sent().at(-1), { to: 'b', message: { type: 'ping', suspected: null } });
  const deaf = new Machine('a').join('b');
  deaf.hear('b', { type: 'beat', incarnation: 1, next_ms: Number.MAX_SAFE_INTEGER });
  deaf.pass(30_000);
  t.equal(memberStatus(deaf.state, 'b'), 'failed');
});

t.test('a member that has said other things is missed at its promised beat all the same', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.hear('b', { type: 'beat', incarnation: 1, next_ms: 2400 });
  a.pass(2300);
  a.give({ kind: 'heard', peer: 'b' });
  const pings = () => a.sent().filter(({ to, message }) => to === 'b' && message.type === 'ping');
  a.pass(299);
  t.same(pings(), []);
  a.pass(1);
  t.equal(pings().length, 1);
  a.hear('b', { type: 'ack', seq: a.state.seq, incarnation: 1 });
  a.pass(2000);
  t.equal(pings().length, 1, 'once it has answered it has its time again');
});

t.test('whatever comes from a member is a sign of life, so that a busy one is never asked', async (t) => {
  const a = new Machine('a').join('b');
  for (let round = 0; round < 20; round += 1) {
    a.pass(1000);
    a.give({ kind: 'heard', peer: 'b' });
  }
  t.same(
    a.sent().filter(({ message }) => message.type === 'ping'),
    [],
  );
});

t.test(
  'a beat moves the timer that looks for the next one: what has come is looked for no more',
  async (t) => {
    const a = new Machine('a').join('b');
    for (let count = 0; count < 4; count += 1) {
      a.hear('b', { type: 'beat', incarnation: 1, next_ms: 2400 });
      const late = [...a.state.timers.values()].filter(({ kind }) => kind === 'late');
      t.same(
        late.map(({ at_ms }) => at_ms),
        [a.now + 2400 + a.state.config.late_ms],
      );
      a.pass(2400);
    }
  },
);

t.test('needless questions make a node patient, and beats in time make it quick again', async (t) => {
  const a = new Machine('a').join('b', 'c', 'd');
  for (const peer of ['b', 'c', 'd']) a.hear(peer, { type: 'beat', incarnation: 1, next_ms: 2400 });
  for (let round = 0; round < 5; round += 1) {
    a.pass(2700);
    for (const peer of ['b', 'c', 'd']) a.hear(peer, { type: 'ack', seq: a.state.seq, incarnation: 1 });
  }
  t.ok(a.state.health >= 3);
  for (let beat = 0; beat < 40; beat += 1) a.hear('b', { type: 'beat', incarnation: 1, next_ms: 2400 });
  t.equal(a.state.health, 0);
});

t.test('connections that close all around end a suspicion soon, one alone does not', async (t) => {
  const all = new Machine('a').join('b', 'c', 'd');
  all.give({ kind: 'disconnected', peer: 'b' });
  all.hear('c', { type: 'suspect', subject: 'b', incarnation: 1, closed: true });
  all.pass(260);
  t.match(all.of('verdict'), [{ subject: 'b', verdict: 'failed' }]);

  const open = new Machine('a').join('b', 'c', 'd');
  open.hear('c', { type: 'suspect', subject: 'b', incarnation: 1, closed: true });
  open.hear('d', { type: 'suspect', subject: 'b', incarnation: 1, closed: true });
  open.pass(100);
  open.hear('b', { type: 'ack', seq: open.state.seq, incarnation: 1 });
  open.pass(1000);
  t.same(open.of('verdict'), [], 'ours is open, and it answers');
  t.equal(memberStatus(open.state, 'b'), 'alive');

  // Silent on a connection that is open here: that others' have closed hastens it no more than their doubt does.
  const silent = new Machine('a').join('b', 'c', 'd');
  for (let left = 2000; left > 0 && silent.state.members.get('b')?.suspicion == null; left -= 1) {
    silent.pass(10);
    for (const peer of ['c', 'd']) silent.give({ kind: 'heard', peer });
  }
  for (const from of ['c', 'd'])
    silent.hear(from, { type: 'suspect', subject: 'b', incarnation: 1, closed: true });
  silent.pass(300);
  t.same(silent.of('verdict'), []);
  silent.pass(1200);
  t.match(silent.of('verdict'), [{ subject: 'b', verdict: 'failed' }]);

  const pair = new Machine('a').join('b');
  pair.give({ kind: 'disconnected', peer: 'b' });
  pair.pass(1100);
  t.same(pair.of('verdict'), [], 'one connection says too little');
});

t.test('the longer a member is gone the rarer it is dialled, by a part of that time', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.now += 2000;
  a.give({ kind: 'disconnected', peer: 'b' });
  const lost_ms = a.now;
  let last_ms = a.now;
  for (let at = 0; at < 400; at += 1) {
    a.effects = [];
    a.pass(250);
    if (a.of('connect').length === 0) continue;
    const gap_ms = a.now - last_ms;
    t.ok(gap_ms <= Math.max(500, (a.now - lost_ms) / 16 + 250), `${gap_ms} after ${a.now - lost_ms}`);
    last_ms = a.now;
  }
});

t.test('when one lost member is back the others that are lost are dialled at once', async (t) => {
  const others = ['b', 'c', 'd', 'e'];
  const a = new Machine('a').join(...others);
  a.now += 2000;
  for (const peer of others) a.give({ kind: 'disconnected', peer });
  a.pass(600_000);
  const effects = a.give({ kind: 'connected', peer: 'b' });
  const dialled = effects.flatMap((effect) => (effect.kind === 'connect' ? [effect.peer] : []));
  t.same(dialled.sort(), ['c', 'd', 'e']);
});

t.test('a node of a large cluster has to do with few, and knows all', async (t) => {
  const crowd = Array.from({ length: 2000 }, (_, at) => `m${at}`);
  const a = new Machine('a');
  a.give({ kind: 'members', members: crowd.map((id) => [id, 1] as const) });
  a.give({ kind: 'start' });
  const { watchers_count } = a.state.config;
  const links_max = watchers_count ** 2 + watchers_count;
  t.ok(a.state.wanted.size <= links_max && a.state.wanted.size > 2 * watchers_count);
  t.equal(a.state.members.size, a.state.wanted.size);
  t.equal(memberStatus(a.state, 'm1999'), 'alive');
  t.equal(memberStatus(a.state, 'm2000'), undefined);
  const [stranger] = crowd.filter((id) => !a.state.wanted.has(id));
  a.give({ kind: 'connected', peer: stranger! });
  t.same(a.give({ kind: 'disconnected', peer: stranger! }), [], 'nobody needed that connection');
  for (const id of a.state.targets) t.ok(a.state.roster.watchers(id, watchers_count).includes('a'));
});

t.test('links are wanted by both sides or by none', async (t) => {
  const crowd = Array.from({ length: 60 }, (_, at) => `m${at}`);
  const wanted = new Map(
    crowd.map((self) => {
      const machine = new Machine(self);
      machine.give({ kind: 'members', members: crowd.map((id) => [id, 1] as const) });
      return [self, machine.state.wanted];
    }),
  );
  for (const [self, links] of wanted)
    for (const id of links) t.ok(wanted.get(id)!.has(self), `${self} ${id}`);
});

t.test('of too many links that serve nothing the quietest is closed, and no other', async (t) => {
  const crowd = Array.from({ length: 200 }, (_, at) => `m${at}`);
  const a = new Machine('a').join(...crowd);
  // Quieter still, and needed; nobody here watches its other end.
  const needed = [...a.state.wanted].find((id) => !a.state.targets.has(id) && id !== 'm7')!;
  a.pass(10);
  a.give({ kind: 'heard', peer: 'm7' });
  for (let second = 0; second < 62; second += 1) {
    a.pass(1000);
    for (const peer of crowd) if (peer !== 'm7' && peer !== needed) a.give({ kind: 'heard', peer });
  }
  const closed = a.of('disconnect').map(({ peer }) => peer);
  t.ok(closed.length > 0);
  t.same(new Set(closed), new Set(['m7']));
});

t.test('stand-ins watch where too few watchers are left, and go back off duty', async (t) => {
  const others = Array.from({ length: 12 }, (_, at) => `m${at}`);
  const a = new Machine('a').join(...others);
  const subject = others.find((id) => !a.state.targets.has(id))!;
  const watchers = a.state.roster.watchers(subject, 4);
  const rest = others.filter((id) => id !== subject && !watchers.includes(id));
  const accuse = (ids: readonly string[], incarnation: number) => {
    for (const id of ids) {
      a.give({ kind: 'verdict', watcher: subject, subject: id, incarnation, verdict: 'failed' });
    }
  };
  accuse(watchers.slice(0, 3), 1);
  accuse(rest, 1);
  t.ok(a.state.targets.has(subject), 'nobody else is left');
  for (const id of [...watchers, ...rest]) a.give({ kind: 'member', id, incarnation: 2 });
  t.notOk(a.state.targets.has(subject));
  t.equal(a.state.hearable, a.state.roster);
});

t.test('a clock that is set back hides no later stall', async (t) => {
  const a = new Machine('a').join('b', 'c');
  a.stall(3000);
  t.equal(a.state.counters.stalls_count, 1);
  a.now -= 3_600_000;
  // What was due comes in its time, whatever the clock says.
  for (const token of [...a.due.keys()]) {
    a.due.delete(token);
    a.give({ kind: 'timer', token });
  }
  a.pass(1000);
  a.stall(3000);
  t.equal(a.state.counters.stalls_count, 2);
});

t.test('what a stalled node did not read in time was not late', async (t) => {
  const a = new Machine('a').join('b', 'c');
  for (const peer of ['b', 'c']) a.hear(peer, { type: 'beat', incarnation: 1, next_ms: 2400 });
  a.pass(2300);
  a.effects = [];
  a.stall(3000);
  a.pass(150);
  t.same(
    a.sent().filter(({ message }) => message.type === 'ping'),
    [],
    'there is time to read what came meanwhile',
  );
  a.pass(100);
  t.same(
    a.sent().flatMap(({ to, message }) => (message.type === 'ping' ? [to] : [])),
    ['b', 'c'],
  );
});

t.test(
  'a cut-off node of a large cluster dials all who are lost, by lot, not its own links alone',
  async (t) => {
    const crowd = Array.from({ length: 120 }, (_, at) => `m${at}`);
    let lot = 0;
    const a = new Machine('a', {}, 1_000_000, () => (lot = (lot + 0.618034) % 1));
    a.give({ kind: 'members', members: crowd.map((id) => [id, 1] as const) });
    a.give({ kind: 'start' });
    for (const subject of crowd) {
      for (const watcher of a.state.roster.watchers(subject, 4)) {
        a.give({ kind: 'verdict', watcher, subject, incarnation: 1, verdict: 'failed' });
      }
    }
    t.match(a.of('isolated'), [{ isolated: true }]);
    a.effects = [];
    a.pass(5000);
    const dialled = new Set(a.of('connect').map(({ peer }) => peer));
    t.ok([...a.state.wanted].every((id) => dialled.has(id)));
    t.ok([...dialled].filter((id) => !a.state.wanted.has(id)).length >= 8, 'others too');
    t.ok(a.state.redialling.size <= MEMBERSHIP_LIMITS.redials_max);
    a.pass(595_000);
    for (const { peer } of a.of('connect')) dialled.add(peer);
    t.same(
      crowd.filter((id) => !dialled.has(id)),
      [],
      'one of them may be all that can be reached',
    );
    a.effects = [];
    a.pass(600_000);
    // As a small cluster does, each place waits up to half a minute.
    const dials = a.of('connect').length;
    t.ok(
      dials >= 20 * MEMBERSHIP_LIMITS.redials_max && dials <= 60 * MEMBERSHIP_LIMITS.redials_max,
      `${dials}`,
    );
  },
);

t.test('a cut-off node that can hear some dials those too for whom it has no duty', async (t) => {
  const crowd = Array.from({ length: 120 }, (_, at) => `m${at}`);
  let lot = 0;
  const a = new Machine('a', {}, 1_000_000, () => (lot = (lot + 0.618) % 1));
  a.join(...crowd);
  const isOurs = (id: string) => a.state.wanted.has(id) || a.state.targets.has(id);
  const [ours, others] = [crowd.filter(isOurs), crowd.filter((id) => !isOurs(id))];
  const lost = [...ours.slice(0, Math.ceil(ours.length * 0.7)), ...others.slice(0, 20)];
  for (const subject of lost) {
    for (const watcher of a.state.roster.watchers(subject, 4))
      a.give({ kind: 'verdict', watcher, subject, incarnation: 1, verdict: 'failed' });
    a.give({ kind: 'disconnected', peer: subject });
  }
  t.ok(a.state.cutOff !== null);
  const lostOthers = others.slice(0, 20).filter((id) => a.state.failed.has(id) && !isOurs(id));
  t.ok(lostOthers.length > 5, `${lostOthers.length} are lost for whom it has no duty`);
  a.effects = [];
  for (let left_ms = 10_000; left_ms > 0; left_ms -= 100) {
    a.pass(100);
    for (const peer of crowd) if (!lost.includes(peer)) a.give({ kind: 'heard', peer });
  }
  t.ok(a.state.cutOff !== null);
  const dialled = new Set(a.of('connect').map(({ peer }) => peer));
  t.same(
    lostOthers.filter((id) => !dialled.has(id)),
    [],
  );
});

t.test('a member that floods with beats has no timers pile up', async (t) => {
  const a = new Machine('a').join('b', 'c');
  for (let beat = 0; beat < 2000; beat += 1) {
    a.now += 0.5;
    a.hear('b', { type: 'beat', incarnation: 1, next_ms: 60_000 });
  }
  const pending = a.of('schedule').filter(({ at_ms }) => at_ms > a.now);
  t.ok(pending.length < 10, `${pending.length}`);
});
