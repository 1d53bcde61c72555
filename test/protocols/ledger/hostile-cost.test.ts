/** What a member with bad intent can make others spend or leave undone: never more than in proportion to what it sends. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { decode } from '../../../protocols/base/codec.ts';
import type { Crypto } from '../../../protocols/base/crypto.ts';
import { mix32 } from '../../../protocols/base/hash.ts';
import { gossipVerdict } from '../../../protocols/ledger/effects.ts';
import { REPLACED_CHECKED_MAX, STRANGERS_CHECKED_MAX } from '../../../protocols/ledger/intake.ts';
import { Ledger } from '../../../protocols/ledger/ledger.ts';
import { LEDGER_DEFAULTS, LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { answerCompare } from '../../../protocols/ledger/reconcile.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import {
  decodeSync,
  encodeGossip,
  encodeSync,
  LISTED_MAX,
  type Part,
  SYNC_BYTES_MAX,
  type SyncMessage,
} from '../../../protocols/ledger/sync.ts';
import {
  cluster,
  env,
  exchange,
  forged,
  genesis,
  introduce,
  memberGrant,
  NOW,
  operator,
  rejections,
  TAG,
  type TestNode,
  testSigner,
  write,
} from './fixtures.ts';

function withBadSignature(record: LedgerRecord): LedgerRecord {
  const bytes = record.bytes.slice();
  bytes[bytes.length - 1]! ^= 1;
  return { ...record, bytes };
}

/** The same envelope in more bytes, as anybody can write it. */
function rewritten({ bytes }: LedgerRecord): Uint8Array {
  const [payload, signature, sides, path] = decode(bytes, bytes.length) as Envelope;
  const binary = (part: Uint8Array) => [0xc6, 0, 0, part.length >> 8, part.length & 255, ...part];
  const alone = [...binary(payload), ...binary(signature)];
  if (path === undefined) return Uint8Array.from([0x92, ...alone]);
  return Uint8Array.from([0x94, ...alone, sides!, 0x90 + path.length, ...path.flatMap(binary)]);
}
type Envelope = readonly [Uint8Array, Uint8Array, number?, Uint8Array[]?];

/** A ledger of records that nobody signed, spread as hashes are. */
function largeLedger(count: number, kind = 'x'): Ledger {
  const ledger = new Ledger();
  const spread = (at: number) => mix32(at);
  for (let at = 0; at < count; at += 1) {
    const digest = spread(at).toString(16).padStart(8, '0').repeat(8);
    ledger.merge({
      digest,
      kind,
      key: String(at),
      author: 'x',
      epoch: 0,
      seq: at,
      context: [],
      hlc: { ms: NOW, n: 0 },
      bytes: new Uint8Array(1),
      payload_bytes: 1,
      words: [at, at, at, at],
      placeHigh: spread(at),
      placeLow: at,
      authorHash: at,
    } as unknown as LedgerRecord);
  }
  return ledger;
}

/** By the operator, written there. */
function grantTo(subject: string, machine: LedgerMachine): LedgerRecord {
  return write(machine, operator.id, 'grant', `${subject}/${operator.id}`, memberGrant(subject));
}

t.test('an answer to a comparison fits into a message, however much differs', async (t) => {
  for (const count of [190_000]) {
    const ledger = largeLedger(count);
    const splits = Array.from({ length: 256 }, (_, at) => {
      const prefix = at.toString(16).padStart(2, '0');
      const parts = Array.from({ length: 16 }, (_, part): Part => {
        return { prefix: prefix + part.toString(16), words: [0, 0, 0, 0], count: 1 };
      });
      return { prefix, parts };
    });
    const message = { kind: 'compare', splits, listings: [], wants: [], horizon_ms: 0 } as const;
    // One message answers all of it.
    const { compare } = answerCompare(ledger, message, () => false);
    const bytes = encodeSync({ kind: 'compare', ...compare!, horizon_ms: NOW });
    t.ok(bytes.byteLength <= SYNC_BYTES_MAX, `${bytes.byteLength} bytes of ${count} records`);
    t.doesNotThrow(() => decodeSync(bytes));
  }
});

t.test('ranges in one message do not overlap, so that each record is looked at once', async (t) => {
  const none = { splits: [], listings: [], wants: [], horizon_ms: 0 };
  const part = (prefix: string) => ({ prefix, words: [0, 0, 0, 0] as const, count: 1 });
  const overlapping: Partial<Extract<SyncMessage, { kind: 'compare' }>>[] = [
    {
      splits: [
        { prefix: 'a', parts: [] },
        { prefix: 'a', parts: [] },
      ],
    },
    {
      splits: [
        { prefix: '', parts: [] },
        { prefix: 'a7', parts: [] },
      ],
    },
    { splits: [{ prefix: 'a', parts: [part('ab'), part('ab')] }] },
    { splits: [{ prefix: 'a', parts: [part('ab'), part('abc')] }] },
    { splits: [{ prefix: 'a', parts: [part('b')] }] },
    {
      listings: [
        { prefix: 'a', items: [] },
        { prefix: 'a5', items: [] },
      ],
    },
    {
      wants: [
        { prefix: '', digests: [] },
        { prefix: '', digests: [] },
      ],
    },
  ];
  for (const lists of overlapping)
    t.throws(() => decodeSync(encodeSync({ kind: 'compare', ...none, ...lists })), { code: 'E_MALFORMED' });
});

t.test('a listing, or a want, of more than a ledger would send is not looked at', async (t) => {
  const item = { digest: 'a'.repeat(16), placeLow: 0, ms: NOW, n: 0 };
  const ranges = (count: number) => {
    const items = Array.from({ length: count }, () => item);
    return [
      { listings: [{ prefix: 'a', items }] },
      { wants: [{ prefix: 'a', digests: items.map(({ digest }) => digest) }] },
    ];
  };
  const none = { splits: [], listings: [], wants: [], horizon_ms: 0 };
  const read = (lists: object) => decodeSync(encodeSync({ kind: 'compare', ...none, ...lists }));
  for (const lists of ranges(LISTED_MAX)) t.doesNotThrow(() => read(lists));
  for (const lists of ranges(LISTED_MAX + 1)) t.throws(() => read(lists), { code: 'E_MALFORMED' });
});

t.test('a record with a false signature keeps nobody from asking for the true one', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  const record = write(a.machine, a.signer.id, 'tag', 'app:1', TAG);
  t.same(rejections(introduce(b.machine, [withBadSignature(record)])), ['bad-signature']);
  b.machine.handle({ kind: 'connected', peer: a.signer.id }, env());
  const item = { digest: record.digest.slice(0, 16), placeLow: record.placeLow, ms: record.hlc.ms, n: 0 };
  const listing = { splits: [], listings: [{ prefix: '', items: [item] }], wants: [], horizon_ms: 0 };
  const effects = b.machine.handle(
    { kind: 'message', from: a.signer.id, body: encodeSync({ kind: 'compare', ...listing }) },
    env(),
  );
  const wants = effects.flatMap((effect) => {
    const message = effect.kind === 'send' ? decodeSync(effect.body) : undefined;
    return message?.kind === 'compare' ? message.wants : [];
  });
  t.equal(wants.length, 1);
});

t.test('nor does it, while the grant of its author is awaited, take the place of the true one', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  const signer = testSigner(40);
  const grant = write(a.machine, operator.id, 'grant', `${signer.id}/${operator.id}`, memberGrant(signer.id));
  const like = write(a.machine, a.signer.id, 'tag', 'app:1', TAG);
  const record = forged(like, { seq: 1 }, signer);
  introduce(b.machine, [withBadSignature(record)]);
  introduce(b.machine, [record]);
  introduce(b.machine, [grant]);
  t.ok(b.machine.ledger.has(record));
});

t.test('what nobody signed does not wait: who brings it pays, and not who brings the grant', async (t) => {
  const [a, b, c] = cluster(3) as [TestNode, TestNode, TestNode];
  const signer = testSigner(40);
  const grant = write(a.machine, operator.id, 'grant', `${signer.id}/${operator.id}`, memberGrant(signer.id));
  const like = write(c.machine, c.signer.id, 'tag', 'app:1', TAG);
  const false_ = withBadSignature(forged(like, { seq: 9 }, signer));
  const gossip = (from: TestNode, ...records: readonly LedgerRecord[]) =>
    b.machine.handle(
      { kind: 'gossip', from: from.signer.id, body: encodeGossip(records.map(({ bytes }) => bytes)) },
      env(),
    );
  const planted = gossip(c, like, false_);
  t.same(rejections(planted), ['bad-signature']);
  t.equal(gossipVerdict(planted), 'reject', 'nor is it passed on along with news');
  t.equal(b.machine.pending.records, 0);
  const brought = gossip(a, grant);
  t.same(rejections(brought), []);
  t.equal(gossipVerdict(brought), 'accept');
});

t.test(
  'a signature is checked once, however often what waits is brought, and not again after it',
  async (t) => {
    const [a] = cluster(1) as [TestNode];
    const signer = testSigner(40);
    const grant = grantTo(signer.id, a.machine);
    const like = write(a.machine, operator.id, 'tag', 'app:1', TAG);
    const records = [1, 2, 3].map((seq) => forged(like, { seq, key: `app:${seq}` }, signer));
    let checked = 0;
    const crypto: Crypto = {
      ...nodeCrypto,
      verify(signed) {
        checked += 1;
        return nodeCrypto.verify(signed);
      },
    };
    const machine = new LedgerMachine({ genesis, crypto, signers: [testSigner(1)] });
    for (let time = 0; time < 10; time += 1) introduce(machine, records);
    t.equal(checked, records.length);
    introduce(machine, [grant]);
    for (const record of records) t.ok(machine.ledger.has(record));
    t.equal(checked, records.length + 1);
  },
);

t.test(
  'of authors that nobody knows few signatures are looked at for one message, and few wait',
  async (t) => {
    const [a, b] = cluster(2) as [TestNode, TestNode];
    const stranger = testSigner(40);
    const like = write(a.machine, a.signer.id, 'tag', 'app:1', TAG);
    const many = 3 * STRANGERS_CHECKED_MAX;
    const records = Array.from({ length: many }, (_, seq) =>
      forged(like, { seq: seq + 1, key: `app:${seq}` }, stranger),
    );
    let checked = 0;
    const crypto: Crypto = {
      ...nodeCrypto,
      verify(signed) {
        checked += 1;
        return nodeCrypto.verify(signed);
      },
    };
    const machine = new LedgerMachine({ genesis, crypto, signers: [b.signer] });
    const envelopes = records.map(({ bytes }) => bytes);
    const body = encodeSync({ kind: 'records', envelopes, last: true, more: false });
    const effects = machine.handle({ kind: 'message', from: a.signer.id, body }, env());
    t.equal(checked, STRANGERS_CHECKED_MAX);
    t.equal(machine.pending.records, STRANGERS_CHECKED_MAX);
    t.same(
      rejections(effects),
      records.map(() => 'unknown-author'),
      'all of them count',
    );
    // Once its grant is there all are taken.
    const grant = grantTo(stranger.id, a.machine);
    introduce(machine, [grant]);
    machine.handle({ kind: 'message', from: a.signer.id, body }, env());
    t.ok(records.every((record) => machine.ledger.has(record)));
  },
);

t.test(
  'gossip is passed on where all of it was checked and taken, not along with what was known or refused',
  async (t) => {
    const [a, b] = cluster(2) as [TestNode, TestNode];
    const tag = write(a.machine, a.signer.id, 'tag', 'app:0', TAG);
    introduce(b.machine, [tag]);
    let seq = 9;
    const make = (changes: Partial<LedgerRecord>, signer = a.signer) => {
      seq += 1;
      return forged(tag, { seq, key: `app:${seq}`, ...changes }, signer);
    };
    const passedOn = (record: LedgerRecord) => {
      const body = encodeGossip([make({}), record].map(({ bytes }) => bytes));
      return gossipVerdict(b.machine.handle({ kind: 'gossip', from: a.signer.id, body }, env()));
    };
    // As each of these is where it is not known or is allowed, so it would be held against this node there.
    t.equal(passedOn(withBadSignature(tag)), 'ignore', 'known');
    t.equal(passedOn(withBadSignature(make({ hlc: { ms: NOW + 90_000, n: 0 } }))), 'ignore', 'early');
    t.equal(passedOn(withBadSignature(make({ kind: 'alloc', key: 'x' }))), 'ignore', 'not allowed');
    t.equal(passedOn(withBadSignature(make({}))), 'reject');
    t.equal(passedOn(make({})), 'accept');
    const waiting = make({}, testSigner(40));
    t.equal(passedOn(waiting), 'ignore', 'waits');
    t.equal(passedOn(waiting), 'ignore', 'has waited already');
    const evidence = make({ kind: 'evidence', key: `${a.signer.id}/${b.signer.id}` });
    t.equal(passedOn(evidence), 'ignore', 'signed, and refused after that');
  },
);

t.test('a record that is cut out of a message, and comes first, stops none of the others', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  const together = (names: readonly string[]) => {
    const writes = names.map((name) => ({ recordKind: 'tag', key: name, body: TAG }));
    const effects = a.machine.handle({ kind: 'writes', author: a.signer.id, writes }, env());
    return effects.flatMap((effect) => (effect.kind === 'written' ? [effect.record] : []));
  };
  const gossip = (...envelopes: readonly Uint8Array[]) => {
    const body = encodeGossip(envelopes);
    return gossipVerdict(b.machine.handle({ kind: 'gossip', from: a.signer.id, body }, env()));
  };
  const apart = (names: readonly string[]) => names.flatMap((name) => together([name]));
  for (const [name, written] of Object.entries({ together, apart }))
    for (const [how, cutOut] of Object.entries({ same: (of: LedgerRecord) => of.bytes, rewritten })) {
      const of = (parts: string) => [...parts].map((part) => `${name}-${how}:${part}`);
      const records = written(of('abcdef'));
      for (const record of records.slice(1)) t.equal(gossip(cutOut(record)), 'accept');
      t.equal(gossip(...records.map(({ bytes }) => bytes)), 'accept', `${name}, ${how}`);
      const [news, known] = written(of('gh'));
      gossip(known!.bytes);
      t.equal(gossip(news!.bytes, withBadSignature(known!).bytes), 'ignore', `${name}, with a false copy`);
    }
});

t.test(
  'nor does one that is replaced: it is looked at, and few more of those than there is news',
  async (t) => {
    const [a, b] = cluster(2) as [TestNode, TestNode];
    let checked = 0;
    const verify: Crypto['verify'] = (signed) => {
      checked += 1;
      return nodeCrypto.verify(signed);
    };
    const stored = { records: b.machine.ledger.records(), streams: [] };
    const crypto = { ...nodeCrypto, verify };
    const machine = new LedgerMachine({ genesis, crypto, signers: [b.signer], stored });
    const written = (name: string) => write(a.machine, a.signer.id, 'tag', name, TAG);
    const names = Array.from({ length: REPLACED_CHECKED_MAX + 2 }, (_, at) => `app:${at}`);
    const old = names.map(written);
    const gossip = (...records: readonly LedgerRecord[]) => {
      const body = encodeGossip(records.map(({ bytes }) => bytes));
      checked = 0;
      return gossipVerdict(machine.handle({ kind: 'gossip', from: a.signer.id, body }, env()));
    };
    gossip(...names.map(written));
    t.equal(gossip(old[0]!, written('other:1')), 'accept');
    t.equal(gossip(...old, written('other:2')), 'ignore');
    t.equal(checked, REPLACED_CHECKED_MAX + 2);
    t.equal(gossip(...old), 'ignore', 'nothing is news');
    t.equal(checked, 0);
    // As an author gossips what it writes to one key and another within a moment: the last of the one came first.
    const versions = [1, 2, 3].map(() => written('app:x'));
    t.equal(gossip(versions[2]!), 'accept');
    t.equal(gossip(...versions, written('app:y')), 'accept');
  },
);

t.test('equivocation is news once, and not each time that somebody repeats it', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  const one = write(a.machine, a.signer.id, 'tag', 'app:1', TAG);
  const twin = forged(one, { key: 'app:2' }, a.signer);
  const gossip = (...records: LedgerRecord[]) =>
    gossipVerdict(
      b.machine.handle(
        { kind: 'gossip', from: a.signer.id, body: encodeGossip(records.map(({ bytes }) => bytes)) },
        env(),
      ),
    );
  t.equal(gossip(one, twin), 'accept');
  t.equal(gossip(twin, one), 'ignore');
  b.machine.handle({ kind: 'timer', token: 'evidence' }, env());
  t.equal(gossip(one), 'ignore');
});

t.test('a node stays within its quota whatever it writes, so that others keep all of it', async (t) => {
  const signer = testSigner(0);
  const limited = (config: object) => {
    const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer, operator], config });
    write(machine, operator.id, 'grant', `${signer.id}/${operator.id}`, memberGrant(signer.id));
    return machine;
  };
  const few = limited({ author_records_max: 3 });
  const writes = ['1', '2', '3', '4'].map((tag) => ({ recordKind: 'tag', key: `app:${tag}`, body: TAG }));
  t.throws(() => few.handle({ kind: 'writes', author: signer.id, writes }, env()), { code: 'E_QUOTA' });
  const small = limited({ author_bytes_max: 2000 });
  write(small, signer.id, 'unheard-of', 'key', { text: 'x' });
  t.throws(() => write(small, signer.id, 'unheard-of', 'key', { text: 'x'.repeat(3000) }), {
    code: 'E_QUOTA',
  });
  const granting = limited({ author_records_max: 3 });
  const again = () =>
    write(granting, operator.id, 'grant', `${signer.id}/${operator.id}`, memberGrant(signer.id), NOW + 1);
  again();
  t.throws(again, { code: 'E_QUOTA' }, 'a grant replaces nothing');
});

t.test('what a record replaces makes room for it, in number and in bytes', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  const grants = [...b.machine.ledger.records()].filter(({ kind }) => kind === 'grant');
  const large = (tag: string, letter: string, now: number) =>
    write(a.machine, a.signer.id, 'tag', tag, { text: letter.repeat(500) }, now);
  const [first, ...others] = ['app:1', 'app:2', 'app:3'].map((tag) => large(tag, 'x', NOW));
  const next = large('app:1', 'y', NOW + 1);
  const bytes = [next, ...others].reduce((sum, { payload_bytes }) => sum + payload_bytes, 0);
  // The operator fills as much with genesis and the grants.
  for (const config of [{ author_records_max: 3 }, { author_bytes_max: bytes }]) {
    const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [b.signer], config });
    t.same(rejections(introduce(machine, [...grants, first!, ...others, next])), []);
    t.ok([next, ...others].every((record) => machine.ledger.has(record)));
  }
});

t.test('what one peer refuses does not keep it from the rest, and is not given again at once', async (t) => {
  const config = { give_bytes_max: 20_000 };
  const [, , c] = cluster(3);
  const [a, b] = [0, 1].map((number): TestNode => {
    const signer = testSigner(number);
    const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer], config });
    introduce(
      machine,
      [...c!.machine.ledger.records()].filter(({ kind }) => kind === 'grant'),
    );
    return { signer, machine };
  }) as [TestNode, TestNode];
  const text = 'x'.repeat(1000);
  for (let at = 0; at < 60; at += 1)
    write(a.machine, a.signer.id, 'unheard-of', `refused:${at}`, { text }, NOW + 300_000);
  introduce(a.machine, [write(c!.machine, c!.signer.id, 'tag', 'good:1', TAG)], NOW);
  let messages = 0;
  for (let turn = 0; turn < 40; turn += 1) messages += exchange(a, b, NOW, () => (turn * 0.37) % 1).messages;
  t.ok(messages < 40 * 8, `${messages} messages`);
  t.same(b.machine.ledger.get('tag', 'good:1')?.body, TAG);
});

t.test('a peer that keeps a repair going for ever does not keep others from theirs', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  const liar = testSigner(9).id;
  const honest = a.signer.id;
  for (const peer of [liar, honest]) b.machine.handle({ kind: 'connected', peer }, env());
  const hello = (from: string, now: number) =>
    b.machine
      .handle(
        {
          kind: 'message',
          from: from as never,
          body: encodeSync({ kind: 'hello', hash: '0f'.repeat(16), records: 1, horizon_ms: 0 }),
        },
        env(now),
      )
      .some((effect) => effect.kind === 'send' && effect.to === from);
  t.ok(hello(liar, NOW));
  t.notOk(hello(honest, NOW + 1), 'it waits');
  let now = NOW;
  for (; now < NOW + LEDGER_DEFAULTS.repair_ms_max; now += 1000) hello(liar, now);
  b.machine.handle({ kind: 'timer', token: 'repair' }, env(now));
  t.notOk(hello(liar, now), 'the turn of the liar is over');
  t.ok(hello(honest, now + 100));
});

t.test(
  'what is too early for one of two is offered once in an exchange, and taken when it is due',
  async (t) => {
    const [a, b] = cluster(2) as [TestNode, TestNode];
    const record = write(a.machine, a.signer.id, 'tag', 'app:1', TAG, NOW + 90_000);
    const { messages } = exchange(a, b);
    t.ok(messages < 10, `${messages} messages`);
    t.notOk(b.machine.ledger.has(record));
    exchange(a, b, NOW + 30_000);
    t.ok(b.machine.ledger.has(record));
  },
);

t.test('an author at its quota costs no look at all of its records for each one more', async (t) => {
  const max = 300;
  const [a, b] = cluster(2) as [TestNode, TestNode];
  const like = write(a.machine, a.signer.id, 'tag', 'app:1', TAG);
  const machine = new LedgerMachine({
    genesis,
    crypto: nodeCrypto,
    signers: [b.signer],
    config: { author_records_max: max },
  });
  introduce(
    machine,
    [...b.machine.ledger.records()].filter(({ kind }) => kind === 'grant'),
  );
  const { ledger } = machine;
  let looked = 0;
  const { recordsOf } = ledger;
  ledger.recordsOf = function* (author) {
    for (const record of recordsOf.call(ledger, author)) {
      looked += 1;
      yield record;
    }
  };
  const make = (n: number) => forged(like, { key: `app:${n}`, seq: n, hlc: { ms: NOW - n, n: 0 } }, a.signer);
  // Each is earlier than all before, and so pushes one of them out.
  let evicted = 0;
  for (let n = 1; n <= 3 * max; n += 1)
    for (const effect of introduce(machine, [make(n)]))
      if (effect.kind === 'persist') evicted += effect.evicted_count ?? 0;
  t.equal(evicted, 2 * max);
  t.same(
    new Set(Array.from(recordsOf.call(ledger, a.signer.id), ({ seq }) => seq)),
    new Set(Array.from({ length: max }, (_, at) => 2 * max + 1 + at)),
  );
  // Too late to be kept, and known to be before any signature is checked.
  for (let n = 1; n <= max; n += 1) t.same(rejections(introduce(machine, [make(n)])), ['over-quota']);
  t.ok(looked <= 2 * max, `${looked} were looked at`);
});

t.test('what one message asks for of each kind is no more than there is', async (t) => {
  const count = 400;
  const ledger = largeLedger(count);
  const item = { digest: 'f'.repeat(16), placeLow: 0, ms: 0, n: 0 };
  const message = {
    kind: 'compare',
    splits: [{ prefix: '', parts: [] }],
    listings: [{ prefix: '', items: [item] }],
    wants: [{ prefix: '', digests: [item.digest] }],
    horizon_ms: 0,
  } as const;
  const { places } = ledger;
  let walked = 0;
  const counted = (records: Iterable<LedgerRecord>) => {
    const all = [...records];
    walked += all.length;
    return all;
  };
  Object.defineProperty(ledger, 'places', {
    value: {
      summary: (prefix: string) => places.summary(prefix),
      range: (prefix: string) => counted(places.range(prefix)),
      outside: (prefix: string, parts: string[]) => counted(places.outside(prefix, parts)),
    },
  });
  const { give, compare } = answerCompare(ledger, message, () => false);
  t.equal(give.length, count);
  t.equal(compare, undefined);
  t.equal(walked, count);
  // What does not overlap is all answered.
  const apart = { splits: [{ prefix: '0', parts: [] }], listings: [{ prefix: '1', items: [item] }] };
  const wants = [{ prefix: '2', digests: [item.digest] }];
  walked = 0;
  t.same(answerCompare(ledger, { ...message, ...apart, wants }, () => false).compare?.wants, [
    { prefix: '1', digests: [item.digest] },
  ]);
  t.equal(
    walked,
    ['0', '1', '2'].reduce((sum, prefix) => sum + places.summary(prefix).count, 0),
  );
});

t.test('ranges and parts are paid for, whatever is in them', async (t) => {
  const ledger = largeLedger(400);
  const none = { kind: 'compare', splits: [], listings: [], wants: [], horizon_ms: 0 } as const;
  const prefixes = Array.from({ length: 1024 }, (_, at) => `00000${at.toString(16).padStart(3, '0')}`);
  const part = (prefix: string): Part => ({ prefix, words: [0, 0, 0, 0], count: 0 });
  for (const lists of [
    { splits: prefixes.map((prefix) => ({ prefix, parts: [] })) },
    { listings: prefixes.map((prefix) => ({ prefix, items: [] })) },
    { wants: prefixes.map((prefix) => ({ prefix, digests: [] })) },
    { splits: [{ prefix: '', parts: prefixes.map(part) }] },
  ])
    t.ok(answerCompare(ledger, { ...none, ...lists }, () => false).looked_count >= 4 * 1024);
  // Short parts have all that differs divided and listed.
  const parts = Array.from({ length: 16 }, (_, at) => ({ ...part(at.toString(16)), count: 1 }));
  const { compare, looked_count } = answerCompare(
    ledger,
    { ...none, splits: [{ prefix: '', parts }] },
    () => false,
  );
  const listed = compare!.listings.reduce((sum, { items }) => sum + items.length, 0);
  t.ok(listed > 100);
  t.ok(looked_count >= 2 * listed + 4 * 16, `${looked_count} for ${listed}`);
});

t.test('a peer that has everything looked at by short messages is soon answered no more', async (t) => {
  const records = 400;
  const wants = [{ prefix: '', digests: ['00'.repeat(8)] }];
  const splits = [{ prefix: '', parts: [] }];
  const listings = [{ prefix: '', items: [] }];
  // To compare a record is more than a look, and so it is to put a grant behind what it hangs on.
  for (const [lists, looks, kind] of [
    [{ wants }, 2],
    [{ splits }, 1],
    [{ listings }, 2],
    [{ splits, listings, wants }, 1],
    [{ splits }, 5, 'grant'],
  ] as const) {
    const [a, b] = cluster(2) as [TestNode, TestNode];
    const config = { giveBurst_bytes: 40_000, give_bytes_per_s: 1, give_bytes_max: 1 };
    const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [b.signer], config });
    introduce(machine, [...b.machine.ledger.records()]);
    const { ledger } = machine;
    const { places } = largeLedger(records, kind);
    let looked = 0;
    const counted = function* (walk: Iterable<LedgerRecord>) {
      for (const record of walk) {
        looked += 1;
        yield record;
      }
    };
    Object.defineProperty(ledger, 'places', {
      value: {
        summary: (prefix: string) => places.summary(prefix),
        divide: (prefix: string, parts: number) => places.divide(prefix, parts),
        range: (prefix: string) => counted(places.range(prefix)),
        outside: (prefix: string, parts: string[]) => counted(places.outside(prefix, parts)),
      },
    });
    const from = a.signer.id;
    machine.handle({ kind: 'connected', peer: from }, env());
    const none = { splits: [], listings: [], wants: [], horizon_ms: 0 };
    const body = encodeSync({ kind: 'compare', ...none, ...lists });
    for (let n = 0; n < 200; n += 1) machine.handle({ kind: 'message', from, body }, env());
    t.ok(looked >= records, 'it was answered');
    t.ok(looked <= 40_000 / (8 * looks) + 2 * records, `${looked} were looked at`);
  }
});
