/** With whom a ledger compares itself and when: new connections, peers that are busy, turns, and how repairs end. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import type { NodeId } from '../../../protocols/base/ids.ts';
import { type GrantBody, type RevokeBody, type Role, recordKey } from '../../../protocols/base/records.ts';
import type { LedgerEffect } from '../../../protocols/ledger/effects.ts';
import { UNWANTED_MAX, UNWANTED_MS } from '../../../protocols/ledger/exchange.ts';
import { LEDGER_DEFAULTS, type LedgerEvent, LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { type LedgerRecord, sealRecord } from '../../../protocols/ledger/record.ts';
import {
  decodeSync,
  encodeSync,
  itemOf,
  type SyncMessage,
  shortDigest,
} from '../../../protocols/ledger/sync.ts';
import { renewalGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import {
  cluster,
  env,
  exchange,
  forged,
  genesis,
  introduce,
  memberGrant,
  NOW,
  newNode,
  operator,
  rejections,
  sealedAct,
  TAG,
  type TestNode,
  testSigner,
  write,
} from './fixtures.ts';

/** So many that a ledger is more than one range. */
const RECORDS = 200;
const PEERS = [1, 2, 3].map((number) => testSigner(number).id);
const HELLO = { kind: 'hello', hash: 'f'.repeat(32), records: 1, horizon_ms: 0 } as const;
const BEGINNING = {
  kind: 'compare',
  splits: [{ prefix: '', parts: [] }],
  listings: [],
  wants: [],
  horizon_ms: 0,
} satisfies SyncMessage;
const NOTHING: SyncMessage = { kind: 'records', envelopes: [], last: true, more: false };

function tags(node: TestNode, name: string, count: number) {
  return Array.from({ length: count }, (_, at) =>
    write(node.machine, node.signer.id, 'tag', `${name}:${at}`, TAG),
  );
}

/** Nodes that hold the same, in the order of their ids. */
function equals(count: number): TestNode[] {
  const nodes = cluster(count).sort((a, b) => (a.signer.id < b.signer.id ? -1 : 1));
  const records = tags(nodes[0]!, 'old', RECORDS);
  for (const { machine } of nodes.slice(1)) introduce(machine, records);
  return nodes;
}

/** One node, connected to peers that are played by the test. */
function single(node = cluster(1)[0]!): {
  node: TestNode;
  hears: (from: NodeId, message: SyncMessage, now?: number) => LedgerEffect[];
} {
  tags(node, 'old', RECORDS);
  for (const peer of PEERS) node.machine.handle({ kind: 'connected', peer }, env());
  const hears = (from: NodeId, message: SyncMessage, now = NOW) =>
    node.machine.handle({ kind: 'message', from, body: encodeSync(message) }, env(now));
  return { node, hears };
}

function sent(effects: readonly LedgerEffect[]): [NodeId, SyncMessage][] {
  return effects.flatMap((effect) => (effect.kind === 'send' ? [[effect.to, decodeSync(effect.body)]] : []));
}

function kinds(effects: readonly LedgerEffect[]): [NodeId, string][] {
  return sent(effects).map(([to, { kind }]) => [to, kind]);
}

function timers(effects: readonly LedgerEffect[]): string[] {
  return effects.flatMap((effect) => (effect.kind === 'schedule' ? [effect.token] : []));
}

t.test('a peer that has connected is greeted once more, by one of the two, while it stays', async (t) => {
  const [a, b] = equals(2) as [TestNode, TestNode];
  const connect = (now: number) =>
    a.machine.handle({ kind: 'connected', peer: b.signer.id }, env(now)) as LedgerEffect[];
  const fire = (now: number) =>
    kinds(a.machine.handle({ kind: 'timer', token: `fresh/${b.signer.id}` }, env(now)));
  const { fresh_ms } = LEDGER_DEFAULTS;
  t.match(connect(NOW), [
    { kind: 'send' },
    { kind: 'schedule', token: `fresh/${b.signer.id}`, at_ms: NOW + fresh_ms },
  ]);
  t.same(b.machine.handle({ kind: 'connected', peer: a.signer.id }, env()), [], 'the other one waits for it');
  t.same(fire(NOW + fresh_ms), [[b.signer.id, 'hello']]);
  a.machine.handle({ kind: 'disconnected', peer: b.signer.id }, env(NOW + 10));
  t.same(fire(NOW + fresh_ms), [], 'it is gone');
  connect(NOW + 20);
  t.same(fire(NOW + fresh_ms), [], 'it is back, and its own timer is to come');
});

t.test(
  'what was gossiped before two peers had streams for gossip comes with the second greeting',
  async (t) => {
    const [a, b] = equals(2) as [TestNode, TestNode];
    const now = NOW + LEDGER_DEFAULTS.fresh_ms;
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const)
      one.machine.handle({ kind: 'connected', peer: other.signer.id }, env());
    tags(b, 'new', 1);
    let letters = sent(a.machine.handle({ kind: 'timer', token: `fresh/${b.signer.id}` }, env(now)));
    for (let turn = 0; letters.length > 0 && turn < 20; turn += 1) {
      letters = letters.flatMap(([to, message]) => {
        const [from, node] = to === a.signer.id ? [b, a] : [a, b];
        const event = { kind: 'message', from: from.signer.id, body: encodeSync(message) } as const;
        return sent(node.machine.handle(event, env(now)));
      });
    }
    t.equal(a.machine.ledger.hash, b.machine.ledger.hash);
  },
);

t.test('who repairs with another says so to whoever begins, and has it wait', async (t) => {
  const [p, q] = PEERS as [NodeId, NodeId];
  const { hears } = single();
  t.same(kinds(hears(p, HELLO)), [[p, 'compare']]);
  t.same(sent(hears(q, BEGINNING)), [[q, NOTHING]]);
  t.same(kinds(hears(p, NOTHING)), [[q, 'hello']], 'the repair has ended: it is the turn of the other');
});

t.test('who waited for a peer that has gone has its turn at once', async (t) => {
  const [p, q] = PEERS as [NodeId, NodeId];
  const { node, hears } = single();
  hears(p, HELLO);
  hears(q, BEGINNING);
  t.same(kinds(node.machine.handle({ kind: 'disconnected', peer: p }, env())), [[q, 'hello']]);
});

t.test('a peer is given no more at once than it may be, however much an answer may hold', async (t) => {
  const [p] = PEERS as [NodeId];
  const [{ signer, machine: full }] = cluster(1) as [TestNode];
  const config = { giveBurst_bytes: 20_000, give_bytes_per_s: 1 };
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer], config });
  introduce(machine, [...full.ledger.records()]);
  const { hears } = single({ signer, machine });
  const given_bytes = () =>
    sent(hears(p, BEGINNING))
      .flatMap(([, message]) => (message.kind === 'records' ? message.envelopes : []))
      .reduce((sum, { byteLength }) => sum + byteLength, 0);
  const first_bytes = given_bytes();
  t.ok(first_bytes > 10_000 && first_bytes <= 20_000, `${first_bytes} bytes`);
  t.ok(first_bytes + given_bytes() <= 20_000, 'nor with the next answer');
});

t.test('a turn that nobody needs is followed by the next', async (t) => {
  const [p, q, r] = PEERS as [NodeId, NodeId, NodeId];
  const { node, hears } = single();
  const fire = () => node.machine.handle({ kind: 'timer', token: 'turn' }, env());
  for (const peer of [p, q, r]) hears(peer, HELLO);
  const first = hears(p, NOTHING);
  t.same([kinds(first), timers(first)], [[[q, 'hello']], ['turn']]);
  t.same(kinds(fire()), [[r, 'hello']], 'q has said nothing');
  t.same(fire(), [], 'nobody waits any more');
});

t.test('a turn that is used is not followed by another before its end', async (t) => {
  const [p, q, r] = PEERS as [NodeId, NodeId, NodeId];
  const { node, hears } = single();
  for (const peer of [p, q, r]) hears(peer, HELLO);
  hears(p, NOTHING);
  hears(q, HELLO);
  t.same(node.machine.handle({ kind: 'timer', token: 'turn' }, env()), []);
  t.same(kinds(hears(q, NOTHING)), [[r, 'hello']]);
});

t.test(
  'a greeting that comes right after an own one is answered: it may be the turn that was waited for',
  async (t) => {
    const [a, b] = equals(2) as [TestNode, TestNode];
    b.machine.handle({ kind: 'connected', peer: a.signer.id }, env());
    const [, , ...started] = b.machine.handle({ kind: 'start' }, env());
    t.same(started, []);
    t.same(kinds(b.machine.handle({ kind: 'timer', token: 'exchange/1' }, env())), [[a.signer.id, 'hello']]);
    const hello = { kind: 'message', from: a.signer.id, body: encodeSync(HELLO) } as const;
    t.same(kinds(b.machine.handle(hello, env())), [[a.signer.id, 'compare']]);
  },
);

t.test('of two that begin at once one gives way, and nothing is sent twice', async (t) => {
  const [a, b] = equals(2) as [TestNode, TestNode];
  const both = [a, b] as const;
  for (const [at, node] of both.entries()) {
    node.machine.handle({ kind: 'connected', peer: both[1 - at]!.signer.id }, env());
    tags(node, `new${at}`, 20);
  }
  // Each has greeted the other.
  let letters: [NodeId, SyncMessage][] = both.map(({ signer }) => [signer.id, HELLO]);
  const given: SyncMessage[] = [];
  for (let turn = 0; letters.length > 0 && turn < 20; turn += 1) {
    letters = letters.flatMap(([to, message]) => {
      given.push(message);
      const [from, node] = to === a.signer.id ? [b, a] : [a, b];
      const event = { kind: 'message', from: from.signer.id, body: encodeSync(message) } as const;
      return sent(node.machine.handle(event, env()));
    });
  }
  t.equal(a.machine.ledger.hash, b.machine.ledger.hash);
  const records = given.flatMap((message) => (message.kind === 'records' ? message.envelopes : []));
  t.equal(records.length, 40);
});

t.test('two small ledgers that begin at once come together as well', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  tags(a, 'new', 100);
  exchange(a, b);
  t.equal(a.machine.ledger.hash, b.machine.ledger.hash);
});

t.test('a repair that brought no news is over for the other side too', async (t) => {
  const [p] = PEERS as [NodeId];
  const { node, hears } = single();
  const [record] = node.machine.ledger.records();
  hears(p, HELLO);
  t.same(sent(hears(p, { ...NOTHING, envelopes: [record!.bytes] })), [[p, NOTHING]]);
  const { hash } = node.machine.ledger;
  t.not(hash, HELLO.hash);
  const [, beginning] = sent(hears(p, HELLO))[0]!;
  t.same(sent(hears(p, beginning)), [[p, NOTHING]], 'nothing differs');
});

t.test('what both sides lack is found in one conversation', async (t) => {
  const [a, b] = equals(2) as [TestNode, TestNode];
  tags(a, 'one', 20);
  tags(b, 'two', 20);
  const { messages } = exchange(a, b);
  t.equal(a.machine.ledger.hash, b.machine.ledger.hash);
  // A hello, a comparison of three and the records of either side twice; and hellos that tell each other of the end.
  t.equal(messages, 10);
});

t.test(
  'however many repairs a peer ends, what they brought is offered now and then, and all of it',
  async (t) => {
    const [giver, other] = cluster(2) as [TestNode, TestNode];
    const { node, hears } = single(other);
    const [liar, ...others] = PEERS as [NodeId, ...NodeId[]];
    const { greet_ms, greetBurst_count, spread_count } = LEDGER_DEFAULTS;
    const greeted = (effects: readonly LedgerEffect[]) =>
      sent(effects).filter(([to, { kind }]) => others.includes(to) && kind === 'hello').length;
    const steps = 1_000;
    let offers_at_ms = Number.POSITIVE_INFINITY;
    let count = 0;
    const take = (effects: readonly LedgerEffect[]) => {
      count += greeted(effects);
      for (const effect of effects)
        if (effect.kind === 'schedule' && effect.token === 'offer') offers_at_ms = effect.at_ms;
    };
    const fire = (now: number) => {
      if (now < offers_at_ms) return;
      offers_at_ms = Number.POSITIVE_INFINITY;
      take(node.machine.handle({ kind: 'timer', token: 'offer' }, env(now)));
    };
    for (let step = 0; step < steps; step += 1) {
      const now = NOW + step;
      fire(now);
      const record = write(giver.machine, giver.signer.id, 'tag', `new:${step}`, TAG);
      take(
        hears(
          liar,
          { ...BEGINNING, splits: [{ prefix: '', parts: [{ prefix: '', words: [1, 2, 3, 4], count: 7 }] }] },
          now,
        ),
      );
      take(hears(liar, { ...NOTHING, envelopes: [record.bytes], last: false }, now));
      const before = count;
      take(hears(liar, { ...BEGINNING, splits: [] }, now));
      if (step === 0) t.equal(count - before, spread_count, 'the first is offered at once');
    }
    t.ok(
      count <= (steps / greet_ms + greetBurst_count) * spread_count,
      `${count} offers of ${steps} repairs`,
    );
    const before = count;
    fire(NOW + steps + greet_ms);
    t.equal(count - before, spread_count, 'and so is the last');
  },
);

/** Two nodes with a link that takes a millisecond, and their timers. @returns milliseconds until they hold the same. */
function untilEqual(one: TestNode, other: TestNode, ms_max: number): number {
  const steps: { at_ms: number; run: (now: number) => void }[] = [];
  const timers = new Map<string, number>();
  const feed = (node: TestNode, event: LedgerEvent, now: number) => {
    const peer = node === one ? other : one;
    for (const effect of node.machine.handle(event, { now, random: () => 0.5 })) {
      if (effect.kind === 'send') {
        const message = { kind: 'message', from: node.signer.id, body: effect.body } as const;
        steps.push({ at_ms: now + 1, run: (at_ms) => feed(peer, message, at_ms) });
      } else if (effect.kind === 'schedule') {
        const { token, at_ms } = effect;
        const name = `${node.signer.id} ${token}`;
        timers.set(name, at_ms);
        const run = (now_ms: number) => {
          if (timers.get(name) === at_ms) feed(node, { kind: 'timer', token }, now_ms);
        };
        steps.push({ at_ms, run });
      }
    }
  };
  for (const node of [one, other]) feed(node, { kind: 'start' }, NOW);
  for (const node of [one, other])
    feed(node, { kind: 'connected', peer: (node === one ? other : one).signer.id }, NOW);
  while (one.machine.ledger.hash !== other.machine.ledger.hash) {
    steps.sort((a, b) => a.at_ms - b.at_ms);
    const step = steps.shift();
    if (step === undefined || step.at_ms > NOW + ms_max) return Number.POSITIVE_INFINITY;
    step.run(step.at_ms);
    if (one.machine.ledger.hash === other.machine.ledger.hash) return step.at_ms - NOW;
  }
  return 0;
}

t.test(
  'more than may be given at once comes as fast as it may, and not with the next chance meeting',
  async (t) => {
    const { giveBurst_bytes, give_bytes_per_s, repairSilence_ms } = LEDGER_DEFAULTS;
    const [one, other] = equals(2) as [TestNode, TestNode];
    const bulk = 'x'.repeat(100_000);
    const count = Math.ceil((3.5 * giveBurst_bytes) / bulk.length);
    for (let at = 0; at < count; at += 1)
      write(one.machine, one.signer.id, 'alloc', `${one.signer.id}/${at}`, { bulk });
    const least_ms = ((count * bulk.length - giveBurst_bytes) / give_bytes_per_s) * 1000;
    const took_ms = untilEqual(one, other, 60_000);
    t.ok(
      took_ms < least_ms + 2 * repairSilence_ms,
      `${took_ms} ms, where ${Math.round(least_ms)} are needed`,
    );
  },
);

/** A node in whose ledger a look at all takes more than a peer may be given at once. */
function oversized() {
  const [{ signer, machine: writing }, other] = cluster(2) as [TestNode, TestNode];
  const config = { giveBurst_bytes: 16_000, give_bytes_per_s: 64_000 };
  const records = 2_500;
  for (let from = 0; from < records; from += 500) {
    const writes = Array.from({ length: 500 }, (_, at) => {
      return { recordKind: 'tag', key: `bulk:${from + at}`, body: TAG };
    });
    writing.handle({ kind: 'writes', author: signer.id, writes }, env());
  }
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer], config });
  introduce(machine, [...writing.ledger.records()]);
  return { full: { signer, machine }, other, config, look_bytes: 8 * records };
}

t.test('a newcomer gets some of a ledger with each repair, however large that is', async (t) => {
  const { full, other } = oversized();
  untilEqual(full, other, 60_000);
  const { size } = other.machine.ledger;
  t.ok(size >= 500, `${size} of ${full.machine.ledger.size}`);
});

t.test('but it is given no more in the long run for that, looks and all', async (t) => {
  const { full, other, config, look_bytes } = oversized();
  const from = other.signer.id;
  full.machine.handle({ kind: 'connected', peer: from }, env());
  const body = encodeSync(BEGINNING);
  const elapsed_ms = 20_000;
  let [given_bytes, answers] = [0, 0];
  for (let now = NOW; now < NOW + elapsed_ms; now += 10) {
    const given = sent(full.machine.handle({ kind: 'message', from, body }, env(now))).flatMap(
      ([, message]) => (message.kind === 'records' ? message.envelopes : []),
    );
    if (given.length > 0) answers += 1;
    given_bytes += given.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (given_bytes > (answers * config.giveBurst_bytes) / 2) t.fail(`${given_bytes} in ${answers} answers`);
  }
  const may_bytes = config.giveBurst_bytes + (elapsed_ms / 1000) * config.give_bytes_per_s;
  const spent_bytes = answers * look_bytes + given_bytes;
  t.ok(spent_bytes > 0.9 * may_bytes, `${spent_bytes} in ${answers} answers`);
  // What it owes at the end.
  t.ok(spent_bytes <= may_bytes + look_bytes + config.giveBurst_bytes / 2);
});

t.test('a ledger of another number of records is not equal, whatever its hash', async (t) => {
  const { node, hears } = single();
  const [peer] = PEERS as [NodeId];
  const { hash, size } = node.machine.ledger;
  const later = NOW + 10 * LEDGER_DEFAULTS.settle_ms;
  const hello = { kind: 'hello', hash, records: size, horizon_ms: 0 } as const;
  t.same(kinds(hears(peer, hello)), [], 'equal');
  const body = encodeSync({ ...hello, records: size + 130 });
  const effects = node.machine.handle({ kind: 'message', from: peer, body }, env(later));
  t.same(kinds(effects), [[peer, 'compare']], 'also long after they met');
});

/** A node that has refused records whose author may not write them, and whether it asks a peer for one that it lists. */
function refusing(count: number) {
  const [granting, other] = cluster(2) as [TestNode, TestNode];
  const { node, hears } = single(other);
  const author = testSigner(40);
  const grant = (roles: Role[]) => {
    const body = memberGrant(author.id, { roles });
    const key = recordKey.grant(author.id, operator.id);
    introduce(node.machine, [write(granting.machine, operator.id, 'grant', key, body)]);
  };
  grant(['member']);
  const [like] = tags(node, 'like', 1);
  const refused = Array.from({ length: count }, (_, at) =>
    forged(like!, { key: `theirs:${at}`, seq: at + 1 }, author),
  );
  const reasons = rejections(introduce(node.machine, refused));
  if (reasons.some((reason) => reason !== 'not-allowed')) throw new Error('it was not refused');
  const isAskedFor = (record: LedgerRecord, now = NOW) => {
    const listings = [{ prefix: '', items: [itemOf(record)] }];
    const answers = sent(hears(PEERS[0]!, { ...BEGINNING, splits: [], listings }, now));
    return answers.some(
      ([, message]) =>
        message.kind === 'compare' &&
        message.wants.some(({ digests }) => digests.includes(shortDigest(record))),
    );
  };
  const revoke = () => {
    const body = revokeBody({ subject: testSigner(41).id, reason: '' });
    return introduce(node.machine, [
      sealedAct(genesis.digest, operator, 'revoke', body, { seq: 900, ms: NOW }),
    ]);
  };
  return { refused, grant, revoke, isAskedFor };
}

t.test('what was refused is not asked for again until an act comes, or time has passed', async (t) => {
  for (const act of ['grant', 'revocation', 'none']) {
    const { refused, grant, revoke, isAskedFor } = refusing(1);
    const [record] = refused as [LedgerRecord];
    t.notOk(isAskedFor(record));
    t.notOk(isAskedFor(record, NOW + UNWANTED_MS - 1));
    if (act === 'grant') grant(['member', 'deployer']);
    // It may keep what was one too many.
    if (act === 'revocation') t.same(rejections(revoke()), []);
    t.equal(isAskedFor(record, NOW + UNWANTED_MS - 1), act !== 'none', act);
    t.ok(isAskedFor(record, NOW + UNWANTED_MS));
  }
});

t.test('of what was refused the latest is remembered, however much there is of it', async (t) => {
  const { refused, isAskedFor } = refusing(UNWANTED_MAX + 1);
  t.ok(isAskedFor(refused[0]!));
  t.notOk(isAskedFor(refused[1]!));
  t.notOk(isAskedFor(refused.at(-1)!));
});

/** A node that gives in one answer no more than a few records. */
function sparing(signer: Signer): TestNode {
  const config = { give_bytes_max: 8 << 10 };
  return { signer, machine: new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer], config }) };
}

t.test(
  'a newcomer is given all, however many renewals there are of what hangs on longer chains',
  async (t) => {
    const [full, newcomer] = [sparing(testSigner(50)), newNode(testSigner(51))];
    const [admitter, token] = [testSigner(52), testSigner(53)];
    let seq = 0;
    const act = (author: Signer, body: GrantBody, ms = NOW) => {
      seq += 1;
      return sealedAct(genesis.digest, author, 'grant', body, { seq, ms });
    };
    const appointed = act(
      operator,
      memberGrant(admitter.id, {
        roles: ['member', 'admitter'],
        admits: ['member', 'worker', 'deployer', 'admit'],
      }),
    );
    const used = act(
      admitter,
      memberGrant(token.id, {
        ...{ roles: ['admit'], admits: ['member', 'worker', 'deployer'] },
        parent: appointed.digest,
      }),
    );
    const [hosts, renewals]: [LedgerRecord[], LedgerRecord[]] = [[], []];
    for (let number = 200; number < 240; number += 1) {
      const notAfter_ms = NOW + 1000;
      const { id } = testSigner(number);
      const host = act(token, memberGrant(id, { parent: used.digest, notAfter_ms }));
      hosts.push(host);
      const original = { record: host, body: host.body as GrantBody };
      renewals.push(act(admitter, renewalGrant(original, appointed.digest, notAfter_ms + 500), NOW + 500));
    }
    t.same(rejections(introduce(full.machine, [appointed, used, ...hosts, ...renewals], NOW + 500)), []);
    introduce(newcomer.machine, [appointed], NOW + 500);
    exchange(full, newcomer, NOW + 500);
    t.equal(newcomer.machine.ledger.hash, full.machine.ledger.hash);
  },
);

t.test('nor are grants in its way that a key has issued by a longer chain than its shortest', async (t) => {
  const [full, newcomer] = [sparing(testSigner(50)), newNode(testSigner(51))];
  const [thief, other] = [testSigner(52), testSigner(53)];
  let seq = 0;
  const act = (author: Signer, subject: Signer, changes: Partial<GrantBody>) => {
    seq += 1;
    const body = memberGrant(subject.id, changes);
    return sealedAct(genesis.digest, author, 'grant', body, { seq, ms: NOW });
  };
  const roles: Role[] = ['member', 'admitter'];
  const first = act(operator, thief, { roles, admits: roles });
  const second = act(thief, other, { roles, admits: roles, parent: first.digest });
  const third = act(other, thief, { roles, admits: roles, parent: second.digest });
  const junk = Array.from({ length: 40 }, (_, number) =>
    act(thief, testSigner(200 + number), { roles: ['member'], parent: third.digest }),
  );
  t.same(rejections(introduce(full.machine, [first, second, third, ...junk])), []);
  introduce(newcomer.machine, [first]);
  exchange(full, newcomer);
  t.equal(newcomer.machine.ledger.hash, full.machine.ledger.hash);
});

t.test('nor are grants that are taken only behind a revocation that keeps one of them', async (t) => {
  const [full, newcomer] = [sparing(testSigner(50)), newNode(testSigner(51))];
  const [token, admitter] = [testSigner(52), testSigner(53)];
  let seq = 0;
  const act = (author: Signer, body: GrantBody | RevokeBody) => {
    seq += 1;
    const kind = 'roles' in body ? 'grant' : 'revoke';
    return sealedAct(genesis.digest, author, kind, body, { seq, ms: NOW });
  };
  const roles: Role[] = ['member', 'admitter'];
  const once = act(operator, memberGrant(token.id, { roles: ['admit'], admits: roles, uses: 1 }));
  const used = Array.from({ length: 3 }, () =>
    act(token, memberGrant(admitter.id, { roles, admits: ['member'], parent: once.digest })),
  ).sort((a, b) => (a.digest < b.digest ? -1 : 1));
  // One too many, with smaller digests before it.
  const kept = used[2]!;
  const keeping = act(operator, revokeBody({ subject: token.id, reason: '', keeps: [kept.digest] }));
  const hosts = Array.from({ length: 40 }, (_, number) =>
    act(admitter, memberGrant(testSigner(200 + number).id, { roles: ['member'], parent: kept.digest })),
  );
  t.same(rejections(introduce(full.machine, [once, keeping, ...used, ...hosts])), []);
  introduce(newcomer.machine, [once]);
  exchange(full, newcomer);
  t.equal(newcomer.machine.ledger.hash, full.machine.ledger.hash);
});

t.test('no record is given before the grant of its author', async (t) => {
  const [node] = cluster(1) as [TestNode];
  const roles: Role[] = ['member', 'deployer', 'admitter'];
  const chain = [operator, ...[20, 21, 22, 23, 24, 25].map(testSigner)];
  let parent: string | null = null;
  const [like] = tags(node, 'like', 1);
  for (const [at, { id }] of chain.slice(1).entries()) {
    const author = chain[at]!;
    const grant = sealRecord(
      {
        ...like!,
        author: author.id,
        seq: at === 0 ? 1000 : 1,
        kind: 'grant',
        key: recordKey.grant(id, author.id),
      },
      memberGrant(id, { roles, admits: roles, parent }),
      author,
      nodeCrypto,
    );
    parent = grant.digest;
    t.same(
      rejections(
        introduce(node.machine, [grant, forged(like!, { key: `of:${at}`, seq: 2 }, chain[at + 1]!)]),
      ),
      [],
    );
  }
  // Wherever it stands in the ledger.
  const records = [...node.machine.ledger.records()].reverse();
  const machine = new LedgerMachine({
    genesis,
    crypto: nodeCrypto,
    signers: [node.signer],
    stored: { records, streams: [] },
  });
  const { hears } = single({ signer: node.signer, machine });
  const given = sent(hears(PEERS[0]!, BEGINNING)).flatMap(([, message]) =>
    message.kind === 'records' ? message.envelopes : [],
  );
  const taker = newNode(testSigner(50)).machine;
  t.same(
    rejections(given.flatMap((bytes) => taker.handle({ kind: 'introduce', envelopes: [bytes] }, env()))),
    [],
  );
  t.equal(taker.ledger.hash, machine.ledger.hash);
});
