/** What is told of keys, however much somebody with one stolen key has written about them. */
import t from 'tap';
import type { GrantBody } from '../../../protocols/base/records.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { Cuts, STAMP_LATE_MS } from '../../../protocols/trust/cuts.ts';
import { GRANTS_TOLD_MAX } from '../../../protocols/trust/telling.ts';
import { ADMITTER, appoint, authority, grant, key, NOW, Replica, revoke } from './facts.ts';

const cut = (last: number) => ({ cut: { epoch: 0, last } });
const MANY = 1_000;
const DAY_MS = 86_400_000;

/** Operators sue, op and tom; op -> ann, an admitter -> ben, for ten days; op -> eve, an admitter whose key is stolen. */
function stage(threshold = 1) {
  const ann = grant('op', 'ann', { ...ADMITTER, notAfter_ms: NOW + 10 * DAY_MS }, { seq: 1 });
  const ben = grant('ann', 'ben', { parent: ann.digest, notAfter_ms: NOW + 10 * DAY_MS }, { seq: 1 });
  const eve = grant('op', 'eve', ADMITTER, { seq: 2 });
  const replica = new Replica(authority(['sue', 'op', 'tom'], threshold)).offer([ann, ben, eve]);
  return { replica, of: replica.authority, ann, ben, eve };
}

function digests(records: readonly LedgerRecord[]): string[] {
  return records.map(({ digest }) => digest).sort();
}

/** Taken in without asking what each of them drops: none does. */
function flood({ authority: of, held }: Replica, records: readonly LedgerRecord[]): void {
  for (const record of records) {
    if (of.admission(record) !== 'yes') throw new Error('a ledger would refuse it');
    of.add(record);
    held.set(record.digest, record);
  }
}

t.test(
  'what a stolen key of an admitter has written is told to nobody once the key is revoked',
  async (t) => {
    const { replica, of, ann, ben, eve } = stage();
    const revoked = revoke('op', 'eve', { seq: 9 }, { ...cut(9), descendants: true });
    const before = digests(of.about(key('ben')));
    const parent = eve.digest;
    flood(replica, [revoked]);
    for (const name of ['op', 'sue', 'ann', 'tom'])
      flood(
        replica,
        Array.from({ length: MANY }, (_, at) =>
          grant('eve', name, { ...ADMITTER, parent }, { seq: 10 + at }),
        ),
      );
    const puppets = Array.from({ length: 300 }, (_, at) =>
      grant('eve', `p${at}`, { ...ADMITTER, parent }, { seq: 1 }),
    );
    flood(replica, puppets);
    flood(
      replica,
      puppets.flatMap(({ digest }, at) => [
        ...[ann, ben].map(({ body, digest: renews }) =>
          grant(
            `p${at}`,
            renews === ann.digest ? 'ann' : 'ben',
            { ...(body as object), parent: digest, renews },
            { seq: 2 },
          ),
        ),
        revoke(`p${at}`, 'ben', { seq: 3 }),
        revoke(`p${at}`, 'ann', { seq: 3 }),
        revoke(`p${at}`, 'op', { seq: 3 }),
      ]),
    );
    const told = of.about(key('ben'));
    const own = told.filter(({ author }) => author !== key('eve') && !author.startsWith('p'));
    t.same(digests(own), [...before, eve.digest, revoked.digest].sort(), 'but why what it wrote is void');
    t.ok(told.length < 40, `${told.length} are told`);
    const alone = new Replica(authority(['sue', 'op', 'tom'])).offer(told).authority;
    t.equal(alone.memberUntil(key('ben')), NOW + 10 * DAY_MS);
  },
);

t.test('while the key is good a few of its grants are told, and what was there before', async (t) => {
  const { replica, of, ben, eve } = stage();
  const parent = eve.digest;
  flood(
    replica,
    Array.from({ length: MANY }, (_, at) => grant('eve', 'ben', { parent }, { seq: 10 + at })),
  );
  flood(
    replica,
    Array.from({ length: MANY }, (_, at) => revoke('eve', 'ben', { seq: 5000 + at }, { reason: `${at}` })),
  );
  const told = of.about(key('ben'));
  t.ok(told.length <= 2 * GRANTS_TOLD_MAX + 2, `${told.length} are told`);
  const alone = new Replica(authority(['sue', 'op', 'tom'])).offer(told).authority;
  t.equal(alone.memberUntil(key('ben')), of.memberUntil(key('ben')));
  t.ok(told.includes(ben), 'what stands comes first');
});

t.test('of votes for operators only those are told by which one came to office', async (t) => {
  for (const threshold of [1, 2]) {
    const { replica, of } = stage(threshold);
    const dan = ['sue', 'op'].map((by) => appoint(by, 'dan', { seq: 1 }));
    const hal = grant('dan', 'hal', {}, { seq: 1 });
    replica.offer([...dan, hal]);
    const before = digests(of.about(key('hal')));
    t.equal(before.length, 1 + threshold);
    for (const name of ['sue', 'tom', 'op', 'dan', ...(threshold > 1 ? ['hal'] : [])])
      flood(
        replica,
        Array.from({ length: 100 }, (_, at) => appoint('tom', name, { seq: 10 + at })),
      );
    t.same(digests(of.about(key('hal'))), before, `threshold ${threshold}`);
  }
});

t.test('what is told has the room that is given, the chain of the first key first', async (t) => {
  const { replica, of, ann, ben, eve } = stage();
  const parent = eve.digest;
  const large = (record: LedgerRecord, bytes: number) => ({ ...record, bytes: new Uint8Array(bytes) });
  const small = [ann, ben, eve].map((record) => large(record, 400));
  const sized = new Replica(authority(['sue', 'op', 'tom'])).offer([
    ...small,
    large(grant('eve', 'ben', { parent }, { seq: 3 }), 120 << 10),
    ...Array.from({ length: 9 }, (_, at) => large(revoke('op', `x${at}`, { seq: 3 }), 120 << 10)),
    large(revoke('op', 'eve', { seq: 4 }, cut(9)), 120 << 10),
  ]).authority;
  const told = sized.about(['ben', 'eve'].map(key), 1200);
  t.same(digests(told), digests([ann, ben, eve]));
  t.same(digests(sized.about(key('ben'), 800)), digests([ann, ben]), 'what nobody has made large is first');
  t.same(sized.about(key('ben'), 399), []);
  t.equal(replica.held.size, 3);
  t.ok(of.isMember(key('ben')));
});

t.test('what keys stand by has room before what was said against those who spoke against them', async (t) => {
  const { ann, ben, eve } = stage();
  const sized = (bytes: number) => (record: LedgerRecord) => ({ ...record, bytes: new Uint8Array(bytes) });
  const puppets = Array.from({ length: 6 }, (_, at) => `p${at}`);
  const of = new Replica(authority(['sue', 'op', 'tom'])).offer([
    ...[ann, ben, eve].map(sized(400)),
    ...puppets.map((name, at) => appoint('tom', name, { seq: 20 + at })).map(sized(0)),
    // Each dismissal of the first counts, and what it says of ben after that is void.
    ...['tom', ...puppets.slice(1)]
      .map((by, at) => revoke(by, 'p0', { seq: 40 - at }, cut(40 - at)))
      .map(sized(300)),
    sized(300)(revoke('p0', 'ben', { seq: 50 })),
  ]).authority;
  t.ok(of.isMember(key('ben')));
  const told = of.about(['eve', 'ben'].map(key), 1300);
  t.same(digests(told.filter(({ bytes }) => bytes.byteLength === 400)), digests([ann, ben, eve]));
  const all = of.about(['eve', 'ben'].map(key));
  t.ok(all.length > told.length + 2, 'there is more to tell where there is room');
});

t.test(
  'a few say why those are void that stand before a grant, however many there are of them',
  async (t) => {
    const siblings_count = 300;
    const token = grant('op', 'tok', { roles: ['admit'], admits: ['member'], uses: 1 }, { seq: 1 });
    const joins = Array.from({ length: siblings_count + 1 }, (_, at) =>
      grant('tok', `n${at}`, { roles: ['member'], parent: token.digest }, { seq: 1, epoch: at + 1 }),
    ).sort((a, b) => (a.digest < b.digest ? -1 : 1));
    const last = joins.at(-1)!;
    const keeps = joins.map(({ digest }) => digest);
    // Each voids another one.
    const votes = joins
      .slice(0, -1)
      .map(({ digest }, at) =>
        revoke('op', 'tok', { seq: 2 + at }, { keeps: keeps.filter((kept) => kept !== digest) }),
      );
    const replica = new Replica(authority(['op']));
    flood(replica, [token, ...votes, ...joins]);
    const of = replica.authority;
    const { subject } = last.body as GrantBody;
    t.ok(of.isMember(subject), 'the one use is its own');
    const asked = t.capture(Cuts.prototype, 'void', Cuts.prototype.void);
    const told = of.about(subject);
    t.ok(told.length < 100, `${told.length} are told`);
    const count = asked().length;
    t.ok(count < 10 * siblings_count, `${count} questions`);
  },
);

t.test(
  'an operator that has many speak against a key is dismissed once, whatever the revocation keeps',
  async (t) => {
    const host = grant('op', 'host', {}, { seq: 1 });
    const { authority: of } = new Replica(authority(['op', 'tom'])).offer([host]);
    let read = 0;
    const keeps = Array.from({ length: MANY }, (_, at) => at.toString(16).padStart(64, '0'));
    const revoked = revoke('op', 'tom', { seq: 2 }, { descendants: true, keeps });
    const counted = new Proxy(keeps, {
      get: (names, at) => {
        if (typeof at === 'string' && /^[0-9]+$/.test(at)) read += 1;
        return Reflect.get(names, at);
      },
    });
    of.add({ ...revoked, body: { ...(revoked.body as object), keeps: counted } });
    for (let at = 0; at < 300; at += 1)
      for (const record of [appoint('tom', `p${at}`, { seq: at + 1 }), revoke(`p${at}`, 'host', { seq: 1 })])
        of.add(record);
    t.ok(of.isMember(key('host')));
    read = 0;
    t.same(digests(of.about(key('host'))), digests([host, revoked]));
    t.ok(read <= 20 * MANY, `${read} names are read`);
  },
);

t.test('what voids a word is told, however many others came before it that nothing voids', async (t) => {
  const host = grant('op', 'host', {}, { seq: 1 });
  // Kept by all but the first.
  const late = Array.from({ length: 300 }, (_, at) => revoke('tom', 'host', { seq: 100 + at }));
  const keeps = late.map(({ digest }) => digest);
  const isLast = ({ digest }: LedgerRecord) => keeps.every((other) => other < digest);
  const early = Array.from({ length: 10_000 }, (_, at) =>
    revoke('tom', 'host', { seq: 5 }, { reason: `${at}` }),
  );
  const word = early.find(isLast)!;
  let read = 0;
  const counted = (record: LedgerRecord): LedgerRecord => ({
    ...record,
    body: {
      ...(record.body as object),
      get descendants() {
        read += 1;
        return true;
      },
    },
  });
  const against = (seq: number, kept: string[]) =>
    revoke('op', 'tom', { seq, at_ms: NOW + seq }, { ...cut(10), descendants: true, keeps: kept });
  // The first of them is told in any case, and so is the one with the smallest digest.
  const others = Array.from({ length: 300 }, (_, at) =>
    against(2 + at, [...(at === 0 ? [] : keeps), word.digest]),
  );
  const needed = Array.from({ length: MANY }, (_, at) => against(1000 + at, keeps)).find(
    ({ digest }) => digest > others[0]!.digest,
  )!;
  const votes = [...others, needed].map(counted);
  const of = authority(['op', 'tom']);
  for (const record of [host, ...late, word, ...votes]) of.add(record);
  t.ok(of.isMember(key('host')));
  read = 0;
  const told = of.about(key('host'));
  t.ok(read <= 20 * votes.length, `${read} looks at votes`);
  t.ok(digests(told).includes(needed.digest));
  const asker = new Replica(authority(['op', 'tom'])).offer([...late, word, ...told]);
  t.ok(asker.authority.isMember(key('host')));
});

t.test('of what an operator said more than once that is told which decided what came first', async (t) => {
  const host = grant('a', 'host', {}, { seq: 1 });
  const against = revoke('b', 'a', { seq: 1 });
  const ofItself = (isFirst: boolean) => {
    for (let seq = 2; ; seq += 1) {
      const vote = revoke('b', 'b', { seq });
      if (vote.digest < against.digest === isFirst)
        return { ...vote, bytes: new Uint8Array(isFirst ? 2 : 1) };
    }
  };
  const votes = [ofItself(true), ofItself(false), against];
  const { authority: of } = new Replica(authority(['a', 'b'])).offer([host, ...votes]);
  t.ok(of.isMember(key('host')), 'it ended itself first');
  const asker = new Replica(authority(['a', 'b'])).offer([against, ...of.about(key('host'))]);
  t.ok(asker.authority.isMember(key('host')));
});

t.test('what silenced an admitter is told to who knows what it had said', async (t) => {
  const eve = grant('op', 'eve', ADMITTER, { seq: 1 });
  const host = grant('eve', 'host', { parent: eve.digest }, { seq: 1 });
  const unheard = revoke('eve', 'host', { seq: 2 });
  const votes = [
    revoke('op', 'eve', { seq: 2 }, cut(3)),
    revoke('sue', 'eve', { seq: 1, at_ms: NOW + 9 }, { ...cut(4), descendants: true, keeps: [host.digest] }),
  ];
  const { authority: of } = new Replica(authority(['sue', 'op'])).offer([eve, host, unheard, ...votes]);
  t.ok(of.isMember(key('host')));
  const asker = new Replica(authority(['sue', 'op'])).offer([unheard, ...of.about(key('host'))]);
  t.ok(asker.authority.isMember(key('host')));
});

t.test('so is what silenced it by its stamp alone, and not what named it', async (t) => {
  const eve = grant('op', 'eve', ADMITTER, { seq: 1 });
  const host = grant('eve', 'host', { parent: eve.digest }, { seq: 1 });
  const unheard = revoke('eve', 'host', { seq: 2, at_ms: NOW + 9 * STAMP_LATE_MS });
  const votes = [
    revoke('op', 'eve', { seq: 2 }, { ...cut(3), keeps: [unheard.digest] }),
    revoke('sue', 'eve', { seq: 1, at_ms: NOW + 9 }, cut(4)),
  ];
  const { authority: of } = new Replica(authority(['sue', 'op'])).offer([eve, host, unheard, ...votes]);
  t.ok(of.isMember(key('host')));
  const asker = new Replica(authority(['sue', 'op'])).offer([unheard, ...of.about(key('host'))]);
  t.ok(asker.authority.isMember(key('host')));
});

t.test('what keeps a grant is told to who knows the others that used its token', async (t) => {
  const ann = grant('op', 'ann', ADMITTER, { seq: 1 });
  const token = grant(
    'ann',
    'tok',
    { roles: ['admit'], admits: ['member'], parent: ann.digest, uses: 1 },
    { seq: 1 },
  );
  const [one, two, host] = ['x', 'y', 'z']
    .map((name) => grant('tok', name, { roles: ['member'], parent: token.digest }, { seq: 1 }))
    .sort((a, b) => (a.digest < b.digest ? -1 : 1)) as [LedgerRecord, LedgerRecord, LedgerRecord];
  const { subject } = host.body as GrantBody;
  // It keeps the grant, and what it says of the token is void: that counts by the token's word about itself.
  const ofKeeper = (by: string) => revoke(by, 'tok', { seq: 2 }, { keeps: [host.digest] });
  const ofItself = revoke('tok', 'tok', { seq: 2 }, { keeps: [host.digest] });
  const ended = (by: string) => revoke('op', by, { seq: 3 }, { keeps: [ann.digest] });
  const dan = appoint('op', 'dan', { seq: 4 });
  const cases = {
    'of genesis': [ofKeeper('op'), ended('op')],
    appointed: [dan, ofKeeper('dan'), ended('dan')],
  };
  for (const [keeper, said] of Object.entries(cases)) {
    const { authority: of } = new Replica(authority(['op'])).offer([
      ...[ann, token, ofItself, ...said, one, two, host],
    ]);
    t.ok(of.isMember(subject), keeper);
    for (const known of [[], [ann, token, one, two]]) {
      const asker = new Replica(authority(['op'])).offer(known).offer(of.about(subject)).authority;
      t.ok(asker.isMember(subject), `to who knows ${known.length}`);
    }
  }
});
