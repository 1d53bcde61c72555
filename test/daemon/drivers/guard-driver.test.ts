/** What peers do reaches their standing, and who is banned is disconnected and kept out until the ban is over. */
import t, { type Test } from 'tap';
import { type Clock, systemClock } from '../../../daemon/clock.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { GuardDriver } from '../../../daemon/drivers/guard-driver.ts';
import { HLC_AHEAD_MS_MAX } from '../../../protocols/base/clock.ts';
import { recordKey } from '../../../protocols/base/records.ts';
import { gossipVerdict, type LedgerEffect, recordsIn } from '../../../protocols/ledger/effects.ts';
import { type LedgerEvent, LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { encodeGossip, encodeSync } from '../../../protocols/ledger/sync.ts';
import { MemoryNetwork } from '../../../protocols/mesh/memory-mesh.ts';
import { type Offence, STANDING_DEFAULTS } from '../../../protocols/standing/config.ts';
import { connected, event, failure, TestCluster } from '../../conformance/mesh.ts';
import {
  forged,
  genesis,
  cluster as ledgers,
  memberGrant,
  NOW,
  operator,
  TAG,
  type TestNode,
  testSigner,
  write,
} from '../../protocols/ledger/fixtures.ts';

async function guarded(t: Test) {
  const network = new MemoryNetwork();
  const cluster = new TestCluster(t, (init) => network.createMesh(init));
  let now = 1_000_000;
  const clock: Clock = { ...systemClock, now: () => now };
  const warned: string[] = [];
  const log = (level: string, message: string) => void (level === 'warn' && warned.push(message));
  const guard = new GuardDriver({ self: 'self', clock, log });
  const mesh = await cluster.node({
    guard,
    isMember: (peer) => cluster.members.has(peer) && !guard.isBanned(peer),
  });
  guard.start(mesh);
  const peer = await cluster.node();
  await connected(peer, mesh);
  return { mesh, peer, guard, warned, pass: (ms: number) => (now += ms) };
}

t.test('a flood is cut off after what it is allowed, and its sender comes back after the ban', async (t) => {
  const { mesh, peer, guard, warned, pass } = await guarded(t);
  let got = 0;
  mesh.on('message', () => got++);
  const gone = event(mesh, 'disconnected');
  const limit = setInterval(() => {
    for (let n = 0; n < 1000; n++) peer.send(mesh.self, 'c', Uint8Array.of(1));
  }, 0);
  await gone;
  clearInterval(limit);
  t.ok(got <= STANDING_DEFAULTS.allowances.messages.capacity, `${got} were handled`);
  t.same(warned, ['a peer is limited', 'a peer is banned for a time']);
  t.equal(await failure(mesh.connect(peer.self, peer.addresses())), 'E_NOT_ALLOWED', 'not dialled');
  t.equal(await failure(peer.connect(mesh.self, mesh.addresses())), 'E_UNREACHABLE', 'not let in');
  t.match(guard.reports(), [{ peer: peer.self, standing: 'banned' }]);
  t.equal(guard.counters.bans, 1);
  pass(STANDING_DEFAULTS.banFirst_ms);
  await connected(peer, mesh);
  t.same(mesh.peers(), [peer.self]);
});

t.test('records count by what they turned out to be, and equivocation counts for its author', async (t) => {
  const { guard } = await guarded(t);
  const rejected = (reason: 'not-allowed' | 'bad-signature') =>
    ({ kind: 'rejected', from: 'p', reason, author: 'a' }) as const;
  guard.judge('relay', [rejected('not-allowed'), rejected('not-allowed')]);
  t.notOk(guard.isBanned('relay'));
  guard.judge('liar', [rejected('bad-signature'), rejected('bad-signature'), rejected('bad-signature')]);
  t.ok(guard.isBanned('liar'));
  const equivocation = (author: string, n: number) =>
    ({ kind: 'equivocation', author, records: [{ digest: 'a' }, { digest: `${n}` }] as never }) as const;
  for (let n = 0; n < 9; n++) guard.judge('messenger', [equivocation('copy', 0)]);
  t.notOk(guard.isBanned('copy'), 'one proof counts once, however often it is brought');
  for (let n = 1; n < 4; n++) guard.judge('messenger', [equivocation('twin', n)]);
  t.ok(guard.isBanned('twin'));
  t.notOk(guard.isBanned('messenger'));
  for (let n = 4; n < 9; n++) guard.judge('messenger', [equivocation('self', n)]);
  t.notOk(guard.isBanned('self'));
  t.match(guard.counters.offences, { 'not-allowed': 2, 'bad-signature': 3, equivocation: 4 });
});

t.test('what another clock took in and passed on is held against nobody, what none would is', async (t) => {
  const { guard } = await guarded(t);
  const [a, b] = ledgers(2) as [TestNode, TestNode];
  const record = write(a.machine, a.signer.id, 'tag', 'app:1', { digest: `sha256:${'1'.repeat(64)}` });
  const relay = (peer: string, ahead_ms: number) => {
    for (let seq = 10; seq < 300; seq += 1) {
      const early = forged(record, { seq, hlc: { ms: NOW + ahead_ms, n: 0 } }, a.signer);
      const effects = b.machine.handle(
        { kind: 'gossip', from: peer, body: encodeGossip([early.bytes]) },
        { now: NOW, random: () => 0.5 },
      );
      t.equal(gossipVerdict(effects), 'ignore');
      t.match(effects, [{ kind: 'rejected', reason: 'from-the-future' }]);
      guard.judge(peer, effects);
    }
  };
  relay('fast', 2 * HLC_AHEAD_MS_MAX);
  t.notOk(guard.isBanned('fast'));
  t.match(guard.counters.offences, { 'from-the-future': 0 });
  relay('liar', 2 * HLC_AHEAD_MS_MAX + 1);
  t.ok(guard.isBanned('liar'));
});

t.test(
  'what others may rightly take is held against its author, and not against who passes it on',
  async (t) => {
    const [a, b] = ledgers(2) as [TestNode, TestNode];
    const like = write(a.machine, a.signer.id, 'tag', 'app:1', TAG);
    const horizon_ms = NOW + 1000;
    const make = (seq: number, changes: Partial<LedgerRecord> = {}, signer = b.signer) =>
      forged(like, { seq, key: `app:${seq}`, hlc: { ms: horizon_ms + seq, n: 0 }, ...changes }, signer);
    const table: readonly [Offence, (seq: number) => LedgerRecord][] = [
      ['over-quota', (seq) => make(seq)],
      ['stale', (seq) => make(seq, { hlc: { ms: NOW, n: seq } })],
      ['not-allowed', (seq) => make(seq, { kind: 'member', key: a.signer.id })],
      ['unknown-author', (seq) => make(seq, {}, testSigner(40))],
    ];
    for (const [reason, record] of table) {
      const { guard } = await guarded(t);
      const machine = new LedgerMachine({
        ...{
          genesis,
          crypto: nodeCrypto,
          signers: [a.signer],
          horizon_ms,
          config: { author_records_max: 2 },
        },
        stored: { records: a.machine.ledger.records(), streams: [] },
      });
      const bring = (event: Extract<LedgerEvent, { kind: 'gossip' | 'message' }>) => {
        const effects = machine.handle(event, { now: horizon_ms, random: () => 0.5 });
        guard.judge(event.from, effects);
        return effects;
      };
      const gossip = (from: string, bytes: Uint8Array) =>
        bring({ kind: 'gossip', from, body: encodeGossip([bytes]) });
      const give = (from: string, bytes: Uint8Array) =>
        bring({
          ...{ kind: 'message', from },
          body: encodeSync({ kind: 'records', envelopes: [bytes], last: false, more: false }),
        });
      for (const seq of [10, 11]) gossip(b.signer.id, make(seq).bytes);
      for (let seq = 20; seq < 520; seq += 1) {
        const { author, bytes } = record(seq);
        t.match(gossip('relay', bytes), [{ kind: 'rejected', reason }]);
        gossip(author, bytes);
      }
      t.notOk(guard.isBanned('relay'), reason);
      t.ok(guard.isBanned(record(20).author), reason);
      t.equal(guard.counters.offences[reason], 500, reason);
      // In a repair whoever gives has told how far it has collected, and does not take what none may write.
      for (let seq = 520; seq < 1020; seq += 1)
        t.match(give('giver', record(seq).bytes), [{ kind: 'rejected', reason }]);
      t.equal(guard.isBanned('giver'), reason === 'stale' || reason === 'not-allowed', reason);
    }
  },
);

t.test(
  'what is known here counts by its records, and is no repetition: another may have been told less',
  async (t) => {
    const [a, b] = ledgers(2) as [TestNode, TestNode];
    const { guard } = await guarded(t);
    const tags = [1, 2].map((n) => write(a.machine, a.signer.id, 'tag', `app:${n}`, TAG));
    const gossip = (bytes: Uint8Array[]) =>
      b.machine.handle(
        { kind: 'gossip', from: 'relay', body: encodeGossip(bytes) },
        { now: NOW, random: () => 0.5 },
      );
    for (const { bytes } of tags) t.equal(gossipVerdict(gossip([bytes])), 'accept');
    const both = tags.map(({ bytes }) => bytes);
    t.same(gossip(both), [{ kind: 'known', records_count: 2 }]);
    const { records, repeats } = STANDING_DEFAULTS.allowances;
    for (let n = 0; n < 2 * repeats.capacity; n += 1) guard.judge('relay', gossip(both));
    t.ok(guard.admit('relay', 'message', 1));
    guard.judge('flooder', [{ kind: 'known', records_count: records.capacity + 1 }]);
    t.notOk(guard.admit('flooder', 'message', 1));
  },
);

t.test('what had waited and is refused is not held against who brings the grant', async (t) => {
  const { guard } = await guarded(t);
  const [a, b] = ledgers(2) as [TestNode, TestNode];
  const tag = write(a.machine, a.signer.id, 'tag', 'app:1', { digest: `sha256:${'1'.repeat(64)}` });
  for (let number = 40; number < 160; number += 1) {
    const signer = testSigner(number);
    const gossip = (from: string, record: LedgerRecord) => {
      const body = encodeGossip([record.bytes]);
      const effects = b.machine.handle({ kind: 'gossip', from, body }, { now: NOW, random: () => 0.5 });
      guard.judge(from, effects);
      return effects;
    };
    t.match(gossip(signer.id, forged(tag, { seq: 9 }, signer)), [{ reason: 'unknown-author' }]);
    const body = memberGrant(signer.id, { roles: ['member'] });
    const key = recordKey.grant(signer.id, operator.id);
    const effects = gossip('honest', write(a.machine, operator.id, 'grant', key, body));
    t.equal(gossipVerdict(effects), 'accept');
    t.ok(effects.some((effect) => effect.kind === 'rejected' && effect.reason === 'not-allowed'));
  }
  t.notOk(guard.isBanned('honest'));
  t.match(guard.counters.offences, { 'not-allowed': 0, 'unknown-author': 120 });
});

/** What a ledger makes of gossip with one new record, and so many that it knows. */
const newsBeside = (known_count: number, author = 'author'): LedgerEffect[] => [
  { kind: 'persist', put: [{ author, bytes: new Uint8Array(200) }] as never, remove: [], streams: [] },
  { kind: 'changed', records: [] },
  ...(known_count > 0 ? [{ kind: 'known', records_count: known_count } as const] : []),
];

t.test('who stays below its own allowance has no relay banned, and starves nobody', async (t) => {
  // Of one message: its size, and what it has besides one new record.
  const attacks = [
    { resource: 'messages', bytes: 231, known_count: 0 },
    { resource: 'records', bytes: 1000, known_count: 999 },
    { resource: 'bytes', bytes: 1 << 20, known_count: 0 },
  ] as const;
  for (const { resource, bytes, known_count } of attacks) {
    let now = 1_000_000;
    const guard = (self: string) =>
      new GuardDriver({ self, clock: { now: () => now }, log: (level) => t.not(level, 'warn', resource) });
    const relay = guard('relay');
    const peer = guard('peer');
    let relayed_count = 0;
    const send = (from: string, size: number, effects: LedgerEffect[]) => {
      if (!relay.admit(from, 'message', size)) return 'refused';
      relay.judge(from, effects);
      const verdict = relay.verdict(from, size, effects);
      if (verdict !== 'accept') return verdict;
      relayed_count += 1;
      if (!peer.admit('relay', 'message', size)) return 'refused by the peer';
      peer.judge('relay', effects);
      return verdict;
    };
    const { capacity, perSecond } = STANDING_DEFAULTS.allowances[resource];
    const each = { messages: 1, records: 1 + known_count, bytes }[resource];
    const honest: string[] = [];
    const attack: string[] = [];
    for (let turn = 0; turn < 3000; turn += 1) {
      const most = (0.99 * (capacity + (perSecond * turn) / 10)) / each;
      while (attack.length + 1 <= most) attack.push(send('greedy', bytes, newsBeside(known_count, 'greedy')));
      for (let n = 0; n < 4; n += 1) honest.push(send('modest', 10_000, newsBeside(9, 'modest')));
      now += 100;
    }
    t.same(new Set(attack), new Set(['accept', 'ignore']), resource);
    t.same(new Set(honest), new Set(['accept']), resource);
    // Half of the half, and as much again as is refilled meanwhile.
    t.ok((relayed_count - honest.length) * each > (capacity + perSecond * 290) / 4.5, resource);
    t.same(peer.reports(), [], resource);
  }
});

t.test('what is refused or no news uses up nothing of what is passed on', async (t) => {
  const { guard } = await guarded(t);
  const { capacity } = STANDING_DEFAULTS.allowances.messages;
  for (let n = 0; n < capacity; n += 1) {
    const known: LedgerEffect[] = [{ kind: 'known', records_count: 1 }];
    if (guard.verdict('p', 300, known) !== 'ignore') t.fail('known');
    const rejected = { kind: 'rejected', from: 'p', reason: 'malformed', author: null } as const;
    if (guard.verdict('p', 300, [rejected]) !== 'reject') t.fail('malformed');
  }
  for (let n = 0; n < capacity / 4; n += 1)
    if (guard.verdict('p', 300, newsBeside(0)) !== 'accept') t.fail('a burst is passed on whole');
  t.equal(guard.counters.notRelayed, 0);
  t.equal(guard.verdict('p', 300, newsBeside(0)), 'ignore');
  t.equal(guard.verdict('p', 300, newsBeside(0, 'another')), 'accept');
  t.equal(guard.counters.notRelayed, 1);
});

t.test('what one author has too much of is kept, by whomever it comes, and nothing of others', async (t) => {
  const { guard } = await guarded(t);
  const { messages } = STANDING_DEFAULTS.allowances;
  for (let n = 0; n < messages.capacity; n += 1) guard.verdict(`peer ${n % 8}`, 300, newsBeside(0, 'greedy'));
  t.equal(guard.counters.notRelayed, messages.capacity * 0.75);
  for (let n = 0; n < 8; n += 1) {
    t.equal(guard.verdict(`peer ${n}`, 300, newsBeside(0, 'greedy')), 'ignore');
    t.equal(guard.verdict(`peer ${n}`, 300, newsBeside(0, 'modest')), 'accept');
  }
});

t.test(
  'what is known beside the news of an author uses up nothing of what there is for its news',
  async (t) => {
    const { guard } = await guarded(t);
    const { bytes, records } = STANDING_DEFAULTS.allowances;
    const besides = [
      { size: 1000, known_count: 1000, most: records.capacity / 1000 },
      { size: 1 << 20, known_count: 1, most: bytes.capacity / (1 << 20) },
    ];
    for (const { size, known_count, most } of besides) {
      const verdicts = Array.from({ length: most }, () => guard.verdict('p', size, newsBeside(known_count)));
      t.same(new Set(verdicts), new Set(['accept', 'ignore']));
      const news = Array.from({ length: 1000 }, () => guard.verdict('p', 300, newsBeside(0)));
      t.same(new Set(news), new Set(['accept']));
    }
  },
);

t.test('a proof is paid for by whose it is, and what leaves nothing by who brings it', async (t) => {
  const proof: LedgerEffect = { kind: 'equivocation', author: 'twin', records: [{}, {}] as never };
  for (const [payer, effects] of [
    ['twin', [proof, { kind: 'known', records_count: 1 }]],
    ['p', [{ kind: 'changed', records: [] }]],
  ] as const) {
    const { guard } = await guarded(t);
    let passed_count = 0;
    while (guard.verdict('p', 300, effects) === 'accept') passed_count += 1;
    t.equal(passed_count, STANDING_DEFAULTS.allowances.messages.capacity / 4);
    t.equal(guard.verdict('q', 300, newsBeside(0, payer)), 'ignore');
    t.equal(guard.verdict('p', 300, newsBeside(0, 'another')), 'accept');
  }
});

t.test('authors whose news is in one message each pay for their own', async (t) => {
  const { guard } = await guarded(t);
  const [a, b, relay] = ledgers(3) as [TestNode, TestNode, TestNode];
  const { capacity } = STANDING_DEFAULTS.allowances.records;
  const tags = (node: TestNode, count: number) =>
    Array.from({ length: count }, (_, n) => {
      const key = `${node.signer.id.slice(-4)}:${n}`;
      return write(node.machine, node.signer.id, 'tag', key, TAG).bytes;
    });
  const body = encodeGossip([...tags(a, 90), ...tags(b, 10)]);
  const news = relay.machine.handle({ kind: 'gossip', from: 'p', body }, { now: NOW, random: () => 0.5 });
  t.equal(recordsIn(news), 100);
  const both = () => guard.verdict('p', body.byteLength, news);
  let passed_count = 0;
  while (both() === 'accept') passed_count += 1;
  t.equal(passed_count, Math.floor(capacity / 2 / 190), 'until as much is free as a has used');
  const oneOf = ({ signer }: TestNode) => guard.verdict('p', 300, newsBeside(0, signer.id));
  for (let n = 0; n < 100; n += 1) oneOf(a);
  t.equal(oneOf(a), 'ignore');
  t.equal(oneOf(b), 'accept');
});

t.test(
  'records that replace one another in one message count each, as where the last is known',
  async (t) => {
    const [a, relay, peer] = ledgers(3) as [TestNode, TestNode, TestNode];
    const versions = Array.from(
      { length: 50 },
      () => write(a.machine, a.signer.id, 'tag', 'app:1', TAG).bytes,
    );
    const gossip = ({ machine }: TestNode, envelopes: Uint8Array[]) =>
      machine.handle(
        { kind: 'gossip', from: a.signer.id, body: encodeGossip(envelopes) },
        { now: NOW, random: () => 0.5 },
      );
    const news = gossip(relay, versions);
    t.equal(gossipVerdict(news), 'accept');
    gossip(peer, versions.slice(-1));
    t.equal(recordsIn(gossip(peer, versions)), versions.length);
    t.equal(recordsIn(news), versions.length);
  },
);

t.test('what gossip evicts is not held against who passes it on, what is given in a repair is', async (t) => {
  const [a, ...nodes] = ledgers(4) as [TestNode, TestNode, TestNode, TestNode];
  const small_count = 200;
  const small = Array.from({ length: small_count }, (_, n) =>
    write(a.machine, a.signer.id, 'tag', `small:${n}`, TAG, NOW + 1000 + n),
  );
  const [one] = small as [LedgerRecord];
  const like = write(a.machine, a.signer.id, 'tag', 'large', { ...TAG, x: 'x'.repeat(20_000) }, NOW + 5000);
  // Both were written before all of the small ones, so those must make room for them.
  const large = forged(like, { seq: 9000, hlc: { ms: NOW + 1, n: 0 } }, a.signer);
  const news = forged(one, { seq: 9001, key: 'news', hlc: { ms: NOW + 2, n: 0 } }, a.signer);
  const config = { author_bytes_max: small_count * one.payload_bytes + 1000 };
  const [relay, peer, repaired] = nodes.map(({ signer, machine }) => {
    const records = [...machine.ledger.records(), ...small];
    const stored = { records, streams: [] };
    return new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer], config, stored });
  }) as [LedgerMachine, LedgerMachine, LedgerMachine];
  const bring = (machine: LedgerMachine, kind: 'gossip' | 'message', body: Uint8Array) =>
    machine.handle({ kind, from: 'p', body }, { now: NOW + 10_000, random: () => 0.5 });
  const given = encodeSync({ kind: 'records', envelopes: [large.bytes], last: false, more: false });
  t.ok(recordsIn(bring(repaired, 'message', given)) > 50);
  bring(relay, 'message', given);
  const body = encodeGossip([large.bytes, news.bytes]);
  const passedOn = bring(relay, 'gossip', body);
  t.equal(gossipVerdict(passedOn), 'accept');
  const atPeer = bring(peer, 'gossip', body);
  t.ok(relay.ledger.hash === peer.ledger.hash && peer.ledger.size < small_count, 'both evicted many');
  t.equal(recordsIn(passedOn), 2);
  t.equal(recordsIn(atPeer), 2);
});
