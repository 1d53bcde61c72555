/** Who may compare its ledger with a node that is busy: members that keep nodes busy keep no honest ones apart. */
import t from 'tap';
import { Heap } from '../../../protocols/base/heap.ts';
import type { NodeId } from '../../../protocols/base/ids.ts';
import { LEDGER_DEFAULTS, type LedgerEvent } from '../../../protocols/ledger/machine.ts';
import { decodeSync, encodeSync, type SyncMessage } from '../../../protocols/ledger/sync.ts';
import { cluster, env, NOW, TAG, type TestNode, write } from './fixtures.ts';

const { repair_ms_max, repairSilence_ms } = LEDGER_DEFAULTS;
/** Much less than the time after which a repair without messages ends. */
const STEP_MS = 100;
const LINK_MS = 2;
const HELLO: SyncMessage = { kind: 'hello', hash: '0f'.repeat(16), records: 1, horizon_ms: 0 };
const NONE = { splits: [], listings: [], wants: [], horizon_ms: 0 };
/** Of a range that differs, whatever a node holds of it: it asks for more. */
const BUSY: SyncMessage = {
  ...{ kind: 'compare', ...NONE },
  splits: [{ prefix: 'f', parts: [{ prefix: 'f', words: [1, 2, 3, 4], count: 7 }] }],
};
/** Asks for nothing, and so ends a repair. */
const DONE: SyncMessage = { kind: 'compare', ...NONE };

interface Attack {
  readonly hosts: number;
  readonly attackers: number;
  /** Whether this attacker keeps this host busy now. */
  readonly isOn: (attacker: number, host: number, elapsed_ms: number) => boolean;
}

/** Each host writes something that no gossip brings. @returns milliseconds until each has all. */
function untilEqual({ hosts, attackers, isOn }: Attack, ms_max: number): number {
  const nodes = cluster(hosts + attackers);
  const [honest, liars] = [nodes.slice(0, hosts), nodes.slice(hosts)];
  const byId = new Map<NodeId, TestNode>(honest.map((node) => [node.signer.id, node]));
  const steps = new Heap<{ at_ms: number; number: number; run: () => void }>(
    (a, b) => a.at_ms < b.at_ms || (a.at_ms === b.at_ms && a.number < b.number),
  );
  let [now, number, state] = [NOW, 0, 11];
  const random = () => {
    state = (state * 16_807) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  const at = (at_ms: number, run: () => void) => {
    number += 1;
    steps.add({ at_ms, number, run });
    return number;
  };
  const timers = new Map<string, number>();
  const feed = (node: TestNode, event: LedgerEvent) => {
    for (const effect of node.machine.handle(event, { now, random })) {
      const to = effect.kind === 'send' ? byId.get(effect.to) : undefined;
      if (effect.kind === 'send' && to !== undefined) {
        const message = { kind: 'message', from: node.signer.id, body: effect.body } as const;
        at(now + LINK_MS, () => feed(to, message));
      } else if (effect.kind === 'schedule') {
        const { token } = effect;
        const name = `${node.signer.id} ${token}`;
        const timer = at(Math.ceil(effect.at_ms), () => {
          if (timers.get(name) === timer) feed(node, { kind: 'timer', token });
        });
        timers.set(name, timer);
      }
    }
  };
  for (const node of honest) feed(node, { kind: 'start' });
  for (const node of honest)
    for (const { signer } of nodes)
      if (signer !== node.signer) feed(node, { kind: 'connected', peer: signer.id });
  const body = encodeSync(BUSY);
  const tick = () => {
    for (const [host, node] of honest.entries())
      for (const [attacker, { signer }] of liars.entries())
        if (isOn(attacker, host, now - NOW)) feed(node, { kind: 'message', from: signer.id, body });
    at(now + STEP_MS, tick);
  };
  tick();
  const wrote_ms = NOW + repair_ms_max;
  at(wrote_ms, () => {
    for (const node of honest) {
      const { id } = node.signer;
      feed(node, { kind: 'write', author: id, recordKind: 'tag', key: `of:${id}`, body: TAG });
    }
  });
  while (steps.first!.at_ms <= wrote_ms + ms_max) {
    const step = steps.take()!;
    now = step.at_ms;
    step.run();
    if (now > wrote_ms && new Set(honest.map(({ machine }) => machine.ledger.hash)).size === 1)
      return now - wrote_ms;
  }
  return Number.POSITIVE_INFINITY;
}

t.test('members that keep all nodes busy, alone or in turns, keep no ledgers apart', async (t) => {
  const parts = [
    { name: 'one', attackers: 1, isOn: () => true },
    { name: 'three at once', attackers: 3, isOn: () => true },
    {
      name: 'three in turns',
      attackers: 3,
      isOn: (attacker, host, ms) => (Math.floor(ms / repair_ms_max) + host) % 3 === attacker,
    },
    {
      name: 'three, each half of the nodes at a time',
      attackers: 3,
      isOn: (_, host, ms) => (Math.floor(ms / (repair_ms_max / 2)) + host) % 2 === 0,
    },
  ] satisfies (Omit<Attack, 'hosts'> & { name: string })[];
  for (const hosts of [3, 8])
    for (const { name, attackers, isOn } of parts) {
      const took_ms = untilEqual({ hosts, attackers, isOn }, 600_000);
      t.ok(took_ms <= 2 * (attackers + 1) * repair_ms_max, `${hosts} hosts, ${name}: ${took_ms} ms`);
    }
});

/** One node with peers that are played by the test. */
function single() {
  const [node, ...others] = cluster(5) as [TestNode, ...TestNode[]];
  const peers = others.map(({ signer }) => signer.id);
  for (const peer of peers) node.machine.handle({ kind: 'connected', peer }, env());
  /** @returns whether it gets more than the word that it has to wait. */
  const isAnswered = (from: NodeId, message: SyncMessage, now: number) => {
    const effects = node.machine.handle({ kind: 'message', from, body: encodeSync(message) }, env(now));
    const nothing = encodeSync({ kind: 'records', envelopes: [], last: true, more: false });
    return effects.some(
      (effect) => effect.kind === 'send' && effect.to === from && !Buffer.from(effect.body).equals(nothing),
    );
  };
  /** @returns at what time that ends. */
  const keepBusy = (from: NodeId, from_ms: number, for_ms: number) => {
    for (let now = from_ms; now < from_ms + for_ms; now += 1000) isAnswered(from, BUSY, now);
    return from_ms + for_ms;
  };
  return { node, peers, isAnswered, keepBusy };
}

t.test('beside a peer that has had a node alone for long enough others are answered', async (t) => {
  const { node, peers, isAnswered, keepBusy } = single();
  const [liar, honest] = peers as [NodeId, NodeId];
  const now = keepBusy(liar, NOW, repair_ms_max / 2);
  t.notOk(isAnswered(honest, HELLO, now), 'the first half of its time');
  // A new connection makes nothing undone.
  for (const kind of ['disconnected', 'connected'] as const)
    node.machine.handle({ kind, peer: liar }, env(now));
  const later = keepBusy(liar, now + 2 * repairSilence_ms, repair_ms_max / 2 + repairSilence_ms);
  t.ok(isAnswered(honest, HELLO, later));
  t.ok(isAnswered(liar, BUSY, later + 1), 'and its repair goes on');
  t.ok(isAnswered(honest, BUSY, later + 2), 'as that of the other does');
  t.notOk(isAnswered(peers[2]!, HELLO, later + 3), 'who has the node alone now');
});

t.test('a peer that has had a node alone has it for a tenth of the time after that', async (t) => {
  const { peers, isAnswered, keepBusy } = single();
  const [liar, honest] = peers as [NodeId, NodeId];
  let now = keepBusy(liar, NOW, repair_ms_max);
  let count = 0;
  const steps = 600;
  for (let step = 0; step < steps; step += 1) {
    now += 1000;
    isAnswered(liar, BUSY, now);
    if (isAnswered(honest, HELLO, now + 1)) count += 1;
    isAnswered(honest, DONE, now + 2);
  }
  t.ok(count > 0.85 * steps && count < 0.95 * steps, `${count} of ${steps}`);
});

t.test('two that have both had much time take turns: not both give the same at once', async (t) => {
  const { peers, isAnswered, keepBusy } = single();
  const [one, other] = peers as [NodeId, NodeId];
  let now = keepBusy(one, NOW, repair_ms_max);
  now = keepBusy(other, now, repair_ms_max);
  now = keepBusy(one, now + repairSilence_ms, repair_ms_max / 2);
  t.notOk(isAnswered(other, HELLO, now));
});

t.test('nor does one that gave something go on beside the next', async (t) => {
  const { node, peers, isAnswered, keepBusy } = single();
  const [, giver] = cluster(2) as [TestNode, TestNode];
  const [one, other] = peers as [NodeId, NodeId];
  const given = (key: string): SyncMessage => {
    const { bytes } = write(giver.machine, giver.signer.id, 'tag', key, TAG);
    return { kind: 'records', envelopes: [bytes], last: true, more: true };
  };
  const half_ms = repair_ms_max / 2;
  const later = keepBusy(one, NOW, half_ms);
  isAnswered(one, DONE, later);
  const now = keepBusy(one, later, half_ms + repairSilence_ms);
  t.ok(isAnswered(one, given('app:1'), now), 'it is asked for more');
  t.ok(isAnswered(other, HELLO, now + 1));
  t.notOk(isAnswered(one, given('app:2'), now + 2));
  t.ok(node.machine.ledger.get('tag', 'app:2'), 'what is on its way is taken');
});

t.test(
  'a peer ends the repairs of one that gives no more often than it may have the node alone',
  async (t) => {
    const { peers, isAnswered, keepBusy } = single();
    const [, giver] = cluster(2) as [TestNode, TestNode];
    const [one, liar] = peers as [NodeId, NodeId];
    let now = keepBusy(one, NOW, repair_ms_max - 1000);
    isAnswered(one, DONE, now);
    let [ended, number] = [0, 0];
    for (const end_ms = now + repair_ms_max; now < end_ms; now += STEP_MS) {
      // What it has back is used up at once.
      for (let asked = 0; asked < 2; asked += 1) {
        number += 1;
        const { bytes } = write(giver.machine, giver.signer.id, 'tag', `app:${number}`, TAG);
        isAnswered(one, BUSY, now);
        isAnswered(one, { kind: 'records', envelopes: [bytes], last: false, more: true }, now);
        now += STEP_MS;
      }
      if (isAnswered(liar, BUSY, now)) ended += 1;
      isAnswered(liar, DONE, now);
    }
    // Most of its time, and what it gets back.
    const ended_max = (repair_ms_max / 2 + repair_ms_max / 10) / repairSilence_ms + 1;
    t.ok(ended > 0 && ended <= ended_max, `${ended} times`);
  },
);

t.test('one that waits and never takes its turn has nobody else step back for ever', async (t) => {
  const { peers, isAnswered } = single();
  const [honest, waiting, ...liars] = peers as [NodeId, NodeId, ...NodeId[]];
  let [now, count] = [NOW, 0];
  t.ok(isAnswered(honest, HELLO, now));
  isAnswered(waiting, HELLO, now);
  isAnswered(honest, DONE, now);
  for (let step = 0; step < 4 * (repair_ms_max / STEP_MS); step += 1) {
    now += STEP_MS;
    for (const liar of liars) {
      if (!isAnswered(liar, BUSY, now)) continue;
      isAnswered(waiting, HELLO, now);
      isAnswered(liar, DONE, now);
    }
    if (!isAnswered(honest, HELLO, now)) continue;
    isAnswered(waiting, HELLO, now);
    isAnswered(honest, DONE, now);
    count += 1;
  }
  t.ok(count >= 3, `${count} turns`);
});

t.test('a clock that is set back keeps a node busy no longer than without that', async (t) => {
  const later = NOW + 3_600_000;
  const { peers, isAnswered } = single();
  const [one, other, third] = peers as [NodeId, NodeId, NodeId];
  t.ok(isAnswered(one, BUSY, later));
  t.notOk(isAnswered(other, BUSY, NOW), 'its repair goes on');
  t.ok(isAnswered(other, HELLO, NOW + repairSilence_ms), 'and is over when nothing comes');
  t.notOk(isAnswered(third, HELLO, NOW + repairSilence_ms), 'as ever');
});

t.test('nor longer because the peer goes on', async (t) => {
  const { peers, isAnswered, keepBusy } = single();
  const [one, other] = peers as [NodeId, NodeId];
  keepBusy(one, NOW + 3_600_000, 2000);
  const now = keepBusy(one, NOW, repair_ms_max);
  t.ok(isAnswered(other, HELLO, now));
});

t.test('nor does a peer that was served wait until it has caught up', async (t) => {
  const { peers, isAnswered } = single();
  const [one, other] = peers as [NodeId, NodeId];
  const later = NOW + 3_600_000;
  isAnswered(one, BUSY, later);
  isAnswered(other, HELLO, later);
  isAnswered(one, DONE, later);
  t.notOk(isAnswered(one, HELLO, NOW), 'it steps back for the other');
  t.ok(isAnswered(one, HELLO, NOW + repairSilence_ms));
});

t.test('nor does it regain nothing for so long of the time that it may have a node alone', async (t) => {
  const { peers, isAnswered, keepBusy } = single();
  const [one, other] = peers as [NodeId, NodeId];
  const end_ms = keepBusy(one, NOW + 3_600_000, repair_ms_max);
  isAnswered(one, DONE, end_ms);
  const now = NOW + 10 * repair_ms_max;
  isAnswered(one, DONE, NOW);
  isAnswered(one, BUSY, now);
  t.notOk(isAnswered(other, HELLO, now + repairSilence_ms - 1));
});

t.test('two that end one repair after another have one that waits greeted now and then', async (t) => {
  const { node, peers } = single();
  const [honest, one, other] = peers as [NodeId, NodeId, NodeId];
  let [greetings, isGreeted, turn_ms] = [0, true, Number.POSITIVE_INFINITY];
  const take = (event: LedgerEvent, now: number) => {
    for (const effect of node.machine.handle(event, env(now))) {
      if (effect.kind === 'send' && effect.to === honest && decodeSync(effect.body).kind === 'hello') {
        greetings += 1;
        isGreeted = true;
      } else if (effect.kind === 'schedule' && effect.token === 'turn') {
        turn_ms = effect.at_ms;
      }
    }
  };
  const says = (from: NodeId, message: SyncMessage, now: number) =>
    take({ kind: 'message', from, body: encodeSync(message) }, now);
  const steps = 5_000;
  for (let now = NOW; now < NOW + steps; now += 1) {
    if (now >= turn_ms) {
      turn_ms = Number.POSITIVE_INFINITY;
      take({ kind: 'timer', token: 'turn' }, now);
    }
    says(one, BUSY, now);
    if (isGreeted) says(honest, { ...BUSY, splits: [{ prefix: '', parts: [] }] }, now);
    isGreeted = false;
    says(one, DONE, now);
    // Nobody waits at the end of this one, so nobody has to step back.
    says(other, BUSY, now);
    says(other, DONE, now);
  }
  const { greetBurst_count, greet_ms } = LEDGER_DEFAULTS;
  t.ok(greetings >= greetBurst_count, 'it is answered by being busy again and again');
  t.ok(greetings <= greetBurst_count + steps / greet_ms, `${greetings} greetings`);
});

t.test(
  'a peer that ends repairs with news all the time leaves turns to those who wait, and turns leave offers',
  async (t) => {
    const { node, peers } = single();
    const [, giver] = cluster(2) as [TestNode, TestNode];
    const [honest, liar, ...others] = peers as [NodeId, NodeId, ...NodeId[]];
    let [turns, offers, isGreeted] = [0, 0, true];
    const timers = new Map<string, number>();
    const take = (event: LedgerEvent, now: number) => {
      for (const effect of node.machine.handle(event, env(now))) {
        if (effect.kind === 'schedule') timers.set(effect.token, effect.at_ms);
        if (effect.kind !== 'send' || decodeSync(effect.body).kind !== 'hello') continue;
        if (effect.to === honest) turns += 1;
        if (effect.to === honest) isGreeted = true;
        if (others.includes(effect.to)) offers += 1;
      }
    };
    const says = (from: NodeId, message: SyncMessage, now: number) =>
      take({ kind: 'message', from, body: encodeSync(message) }, now);
    const steps = 5_000;
    for (let now = NOW; now < NOW + steps; now += 1) {
      const { bytes } = write(giver.machine, giver.signer.id, 'tag', `new:${now}`, TAG);
      says(liar, BUSY, now);
      if (isGreeted) says(honest, { ...BUSY, splits: [{ prefix: '', parts: [] }] }, now);
      isGreeted = false;
      says(liar, { kind: 'records', envelopes: [bytes], last: false, more: true }, now);
      says(liar, DONE, now);
      // Those who come back need not step back for others.
      for (const kind of ['disconnected', 'connected'] as const) take({ kind, peer: liar }, now);
      for (const token of ['turn', 'offer'] as const) {
        if (now < (timers.get(token) ?? Number.POSITIVE_INFINITY)) continue;
        timers.delete(token);
        take({ kind: 'timer', token }, now);
      }
    }
    const { greet_ms, spread_count } = LEDGER_DEFAULTS;
    const half = steps / greet_ms / 2;
    t.ok(turns >= 0.8 * half, `${turns} turns`);
    t.ok(offers >= 0.8 * half * spread_count, `${offers} offers`);
  },
);
