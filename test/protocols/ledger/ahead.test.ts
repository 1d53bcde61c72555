/** A member that stamps as far ahead as is accepted, among nodes whose clocks differ a little. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { HLC_AHEAD_MS_MAX, HLC_FOLLOWED_MS_MAX } from '../../../protocols/base/clock.ts';
import { recordKey } from '../../../protocols/base/records.ts';
import type { LedgerEffect } from '../../../protocols/ledger/effects.ts';
import { LEDGER_DEFAULTS, type LedgerEvent, LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { decodeSync, encodeGossip } from '../../../protocols/ledger/sync.ts';
import { revokeBody } from '../../../protocols/trust/acts.ts';
import { cutAfter } from '../../../protocols/trust/cut.ts';
import { STAMP_LATE_MS } from '../../../protocols/trust/cuts.ts';
import {
  cluster,
  env,
  forged,
  genesis,
  introduce,
  NOW,
  operator,
  rejections,
  TAG,
  type TestNode,
  write,
} from './fixtures.ts';

const SKEW_MS = 20;
const { settle_ms, exchange_ms } = LEDGER_DEFAULTS;
/** By then one of two nodes has begun an exchange. */
const USUAL_MS = 1.25 * exchange_ms + settle_ms;
/** In such steps time goes by. */
const STEP_MS = 10;
/** So long gossip takes, where it takes any time. */
const GOSSIP_MS = 200;

type Host = TestNode & { readonly skew_ms: number };

/** Hosts that have been connected for long, and a member that is connected to nobody. */
class World {
  now = NOW + 100_000;
  readonly hosts: readonly Host[];
  readonly liar: TestNode;
  /** Is what hosts gossip lost? */
  isLost = false;
  /** After that it comes. */
  gossip_ms = 0;
  readonly refused: string[] = [];
  readonly sent_count = { hello: 0, compare: 0, records: 0 };
  #due: { readonly host: Host; readonly event: LedgerEvent; readonly at_ms: number }[] = [];
  #seed = 5;
  #seq = 1000;

  constructor(skews_ms: readonly number[]) {
    const [liar, ...nodes] = cluster(skews_ms.length + 1);
    this.liar = liar!;
    this.hosts = nodes.map((node, at) => ({ ...node, skew_ms: skews_ms[at]! }));
    for (const host of this.hosts) {
      this.feed(host, { kind: 'start' });
      // What the fixture gave them is known to all.
      host.machine.handle({ kind: 'timer', token: 'flush' }, env(this.now));
      for (const { signer } of this.hosts)
        if (signer !== host.signer) this.feed(host, { kind: 'connected', peer: signer.id });
    }
    this.pass(2 * settle_ms);
  }

  feed(host: Host, event: LedgerEvent): void {
    for (const effect of host.machine.handle(event, {
      now: this.now + host.skew_ms,
      random: () => this.#random(),
    }))
      this.#carryOut(host, effect);
  }

  pass(for_ms: number): void {
    for (const end_ms = this.now + for_ms; this.now < end_ms; this.now += STEP_MS) {
      const due = this.#due.filter(({ at_ms }) => at_ms <= this.now);
      this.#due = this.#due.filter(({ at_ms }) => at_ms > this.now);
      for (const { host, event } of due) this.feed(host, event);
    }
  }

  write(host: Host, key: string, body: unknown = TAG): void {
    this.feed(host, { kind: 'write', author: host.signer.id, recordKind: 'tag', key, body });
  }

  /** Gossips a record of the member's, by default with the latest stamp which the host with the first clock takes. */
  lie(
    key: string,
    ahead_ms = Math.max(...this.hosts.map(({ skew_ms }) => skew_ms)) + HLC_AHEAD_MS_MAX,
  ): void {
    this.#seq += 1;
    const { machine, signer } = this.liar;
    const ms = this.now + ahead_ms;
    const honest = write(machine, signer.id, 'tag', key, TAG);
    const record = forged(honest, { hlc: { ms, n: 0 }, seq: this.#seq }, signer);
    const body = encodeGossip([record.bytes]);
    for (const host of this.hosts) this.feed(host, { kind: 'gossip', from: signer.id, body });
    this.refused.length = 0;
  }

  haveAll(key: string): boolean {
    return this.hosts.every(({ machine }) => machine.ledger.get('tag', key) !== undefined);
  }

  #carryOut(host: Host, effect: LedgerEffect): void {
    const from = host.signer.id;
    if (effect.kind === 'rejected') this.refused.push(effect.reason);
    if (effect.kind === 'schedule')
      this.#due.push({
        host,
        event: { kind: 'timer', token: effect.token },
        at_ms: effect.at_ms - host.skew_ms,
      });
    if (effect.kind === 'publish' && !this.isLost)
      for (const other of this.hosts)
        if (other !== host) this.#gossip(other, { kind: 'gossip', from, body: effect.body });
    if (effect.kind === 'send') {
      this.sent_count[decodeSync(effect.body).kind] += 1;
      const to = this.hosts.find(({ signer }) => signer.id === effect.to);
      if (to !== undefined) this.feed(to, { kind: 'message', from, body: effect.body });
    }
  }

  #gossip(host: Host, event: LedgerEvent): void {
    if (this.gossip_ms === 0) this.feed(host, event);
    else this.#due.push({ host, event, at_ms: this.now + this.gossip_ms });
  }

  #random(): number {
    this.#seed = (this.#seed * 16_807) % 2_147_483_647;
    return this.#seed / 2_147_483_647;
  }
}

t.test('what is written after the news of such a member is taken by all at once', async (t) => {
  const world = new World([SKEW_MS, 0, -SKEW_MS]);
  for (let second = 0; second < 5; second += 1) {
    world.lie(`theirs:${second}`);
    for (const [at, host] of world.hosts.entries()) world.write(host, `own:${second}-${at}`);
    world.pass(2 * STEP_MS);
    t.same(world.refused, []);
    for (const at of world.hosts.keys()) t.ok(world.haveAll(`own:${second}-${at}`), `${at} in ${second} s`);
    world.pass(1000);
  }
});

for (const skews_ms of [
  [SKEW_MS, 0, -SKEW_MS],
  [0, 0],
])
  t.test(`what is lost of it is mended once its stamp is past, with clocks at ${skews_ms} ms`, async (t) => {
    const world = new World(skews_ms);
    world.lie('theirs:1');
    world.isLost = true;
    world.write(world.hosts[0]!, 'own:1');
    world.pass(STEP_MS);
    t.notOk(world.haveAll('own:1'));
    for (let spent_ms = 0; spent_ms < HLC_FOLLOWED_MS_MAX + USUAL_MS; spent_ms += 1000) {
      world.lie(`theirs:${spent_ms}`);
      world.pass(1000);
    }
    t.ok(world.haveAll('own:1'));
  });

for (const { what, skews_ms, ahead_ms } of [
  { what: 'a host three seconds ahead', skews_ms: [3000, 0, 0] },
  { what: 'a host seven seconds ahead', skews_ms: [0, 7000, 0] },
  {
    what: 'a member that stamps as far ahead',
    skews_ms: [SKEW_MS, 0, -SKEW_MS],
    ahead_ms: HLC_FOLLOWED_MS_MAX,
  },
])
  t.test(`${what} has nobody begin a repair while all gossip comes`, async (t) => {
    const world = new World(skews_ms);
    world.gossip_ms = GOSSIP_MS;
    Object.assign(world.sent_count, { hello: 0, compare: 0, records: 0 });
    for (let round = 0; round < 200; round += 1) {
      if (ahead_ms !== undefined && round % 5 === 0) world.lie(`theirs:${round}`, ahead_ms);
      for (const [at, host] of world.hosts.entries()) world.write(host, `own:${round}-${at}`);
      world.pass(GOSSIP_MS);
    }
    t.ok(world.sent_count.hello > 10, `${world.sent_count.hello} hellos`);
    t.match(world.sent_count, { compare: 0, records: 0 });
  });

/** A record of another as far ahead as it may be, and who has taken it. */
function misled() {
  const [liar, node, other] = cluster(3) as [TestNode, TestNode, TestNode];
  const honest = write(liar.machine, liar.signer.id, 'tag', 'app:1', TAG);
  const far = forged(honest, { hlc: { ms: NOW + HLC_AHEAD_MS_MAX, n: 7 }, seq: 1000 }, liar.signer);
  for (const { machine } of [node, other]) introduce(machine, [far]);
  return { node, other, far };
}

t.test('a write replaces what it is written over, however far ahead that is', async (t) => {
  for (const body of [{ digest: `sha256:${'2'.repeat(64)}` }, null]) {
    const { node, other } = misled();
    const { signer, machine } = node;
    const beside = write(machine, signer.id, 'tag', 'app:2', TAG);
    t.ok(beside.hlc.ms <= NOW + HLC_FOLLOWED_MS_MAX, 'a write of another key is not as far ahead');
    const over = write(machine, signer.id, 'tag', 'app:1', body);
    introduce(other.machine, [over], NOW + 1000);
    for (const { ledger } of [machine, other.machine])
      t.same(
        ledger.siblings('tag', 'app:1').map(({ digest }) => digest),
        [over.digest],
      );
    const next = write(machine, signer.id, 'tag', 'app:2', TAG);
    t.ok(next.hlc.ms >= over.hlc.ms, 'own stamps only grow');
  }
});

/** The same node after a start at this time. */
function restarted({ signer, machine }: TestNode, now: number): LedgerMachine {
  const stored = { records: [...machine.ledger.records()] as LedgerRecord[], streams: [] };
  const next = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer], stored });
  next.handle({ kind: 'start' }, env(now));
  return next;
}

t.test('a start follows others no further', async (t) => {
  const { node } = misled();
  t.equal(restarted(node, NOW).stamped_ms, NOW + HLC_FOLLOWED_MS_MAX);
  const behind_ms = NOW - 3_600_000;
  t.equal(restarted(node, behind_ms).stamped_ms, NOW + HLC_AHEAD_MS_MAX, 'the clock was set back');
  const own = write(node.machine, node.signer.id, 'tag', 'app:3', TAG, NOW + HLC_AHEAD_MS_MAX / 2);
  t.equal(restarted(node, NOW).stamped_ms, own.hlc.ms, 'its own it goes on from');
});

t.test('a revocation leaves what its author has seen, also where the clock was set back', async (t) => {
  t.ok(HLC_AHEAD_MS_MAX - HLC_FOLLOWED_MS_MAX <= STAMP_LATE_MS);
  const [node, liar] = cluster(2) as [TestNode, TestNode];
  const { machine } = node;
  const later = NOW + 3_600_000;
  const far = write(liar.machine, liar.signer.id, 'tag', 'app:1', TAG, later + HLC_AHEAD_MS_MAX);
  t.same(rejections(introduce(machine, [far], later)), []);
  const cut = cutAfter(machine.ledger.recordsOf(liar.signer.id));
  const body = revokeBody({ subject: liar.signer.id, reason: 'stolen', cut });
  const key = recordKey.revoke(liar.signer.id, operator.id);
  write(machine, operator.id, 'revoke', key, body, NOW);
  t.notOk(machine.authority.isMember(liar.signer.id));
  t.ok(machine.authority.counts(far));
});
