/** Who is an operator after votes that contradict one another: the most senior prevail, whatever came first. */
import t, { type Test } from 'tap';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { GrantBook } from '../../../protocols/trust/grant-book.ts';
import { OPERATORS_EVER_MAX } from '../../../protocols/trust/operators.ts';
import { ADMITTER, appoint, authority, grant, key, NOW, Replica, revoke } from './facts.ts';

/** Names of the operators in force, the most senior first; the same for the records in the reverse order. */
function inForce(t: Test, operators: readonly string[], threshold: number, records: LedgerRecord[]): string {
  const names = [records, [...records].reverse()].map((order) =>
    new Replica(authority(operators, threshold))
      .offer(order)
      .authority.operators()
      .filter((operator) => operator.inForce)
      .map((operator) => operator.key.replaceAll('.', ''))
      .join(),
  );
  t.equal(names[0], names[1], 'in either order');
  return names[0]!;
}

const cut = (last: number) => ({ cut: { epoch: 0, last } });

const CASES: readonly [
  fact: string,
  operators: string[],
  threshold: number,
  votes: LedgerRecord[],
  left: string,
][] = [
  ['nobody has voted', ['a', 'b'], 1, [], 'a,b'],
  ['one of one is enough', ['a', 'b'], 1, [revoke('b', 'a', { seq: 1 })], 'b'],
  ['one of two is not', ['a', 'b', 'c'], 2, [revoke('a', 'b', { seq: 1 })], 'a,b,c'],
  [
    'one who says it twice is one',
    ['a', 'b', 'c'],
    2,
    [revoke('a', 'b', { seq: 1 }), revoke('a', 'b', { seq: 2 })],
    'a,b,c',
  ],
  [
    'as many votes against a key as it takes are not final where those who appoint it, with it, are senior',
    ['a', 'b', 'c', 'd'],
    2,
    [
      ...['a', 'b'].map((by) => appoint(by, 'x', { seq: 1 })),
      ...['c', 'd'].map((by) => revoke(by, 'x', { seq: 1 })),
      ...['a', 'x'].map((by) => revoke(by, 'c', { seq: 2 })),
    ],
    'a,b,d,x',
  ],
  ['two of two are', ['a', 'b', 'c'], 2, [revoke('a', 'c', { seq: 1 }), revoke('b', 'c', { seq: 1 })], 'a,b'],
  [
    'mutual: the senior stays',
    ['a', 'b'],
    1,
    [revoke('a', 'b', { seq: 1 }), revoke('b', 'a', { seq: 1 })],
    'a',
  ],
  [
    'mutual: the senior stays, though the cut spares the vote of the junior',
    ['a', 'b'],
    1,
    [revoke('b', 'a', { seq: 4 }), revoke('a', 'b', { seq: 1 }, cut(9))],
    'a',
  ],
  [
    'a vote of the junior against a third stays when the cut spares it',
    ['a', 'b', 'c'],
    1,
    [revoke('b', 'c', { seq: 4 }), revoke('a', 'b', { seq: 1 }, cut(9))],
    'a',
  ],
  [
    'and is undone when the cut is before it',
    ['a', 'b', 'c'],
    1,
    [revoke('b', 'c', { seq: 4 }), revoke('a', 'b', { seq: 1 }, cut(3))],
    'a,c',
  ],
  [
    'also when a stricter cut comes later',
    ['a', 'b', 'c'],
    1,
    [
      revoke('b', 'c', { seq: 4 }),
      revoke('a', 'b', { seq: 1 }, cut(9)),
      revoke('a', 'b', { seq: 2 }, cut(3)),
    ],
    'a,c',
  ],
  [
    'an operator that a thief dismissed has no vote until the thief is answered',
    ['a', 'b', 'c'],
    1,
    [revoke('b', 'c', { seq: 4 }), revoke('c', 'b', { seq: 1 })],
    'a,b',
  ],
  [
    'a circle: the most senior vote counts, and what it voids does not',
    ['a', 'b', 'c'],
    1,
    [revoke('a', 'b', { seq: 1 }), revoke('b', 'c', { seq: 1 }), revoke('c', 'a', { seq: 1 })],
    'c',
  ],
  [
    'with a threshold one thief, even of the most senior key, decides nothing',
    ['a', 'b', 'c'],
    2,
    [revoke('a', 'b', { seq: 1 }), revoke('a', 'c', { seq: 2 }), appoint('a', 'x', { seq: 3 })],
    'a,b,c',
  ],
  [
    'and the two others replace it',
    ['a', 'b', 'c'],
    2,
    [
      revoke('a', 'b', { seq: 1 }),
      revoke('b', 'a', { seq: 1 }),
      revoke('c', 'a', { seq: 1 }),
      appoint('b', 'd', { seq: 2 }),
      appoint('c', 'd', { seq: 2 }),
    ],
    'b,c,d',
  ],
  [
    'of two camps the one with the most senior key stays',
    ['a', 'b', 'c', 'd'],
    2,
    [
      revoke('a', 'b', { seq: 1 }),
      revoke('d', 'b', { seq: 1 }),
      revoke('b', 'a', { seq: 1 }),
      revoke('c', 'a', { seq: 1 }),
    ],
    'a,c,d',
  ],
  ['an appointed operator is the most junior', ['a', 'b'], 1, [appoint('b', 'x', { seq: 1 })], 'a,b,x'],
  [
    'an appointed operator may appoint',
    ['a'],
    1,
    [appoint('a', 'x', { seq: 1 }), appoint('x', 'y', { seq: 1 })],
    'a,x,y',
  ],
  [
    'the appointments of a revoked operator fall, and all that hangs on them',
    ['a', 'b'],
    1,
    [appoint('b', 'x', { seq: 2 }), appoint('x', 'y', { seq: 1 }), revoke('a', 'b', { seq: 1 }, cut(1))],
    'a',
  ],
  [
    'unless they were before the cut',
    ['a', 'b'],
    1,
    [appoint('b', 'x', { seq: 2 }), revoke('a', 'b', { seq: 1 }, cut(2))],
    'a,x',
  ],
  [
    'a key that was revoked cannot be appointed again',
    ['a', 'b'],
    1,
    [revoke('a', 'b', { seq: 1 }), appoint('a', 'b', { seq: 2 })],
    'a',
  ],
  [
    'an appointed operator that was retired keeps what it decided',
    ['a', 'b'],
    1,
    [appoint('a', 'x', { seq: 1 }), revoke('x', 'b', { seq: 1 }), revoke('a', 'x', { seq: 2 }, cut(1))],
    'a',
  ],
  ['nobody else has a vote', ['a'], 1, [revoke('x', 'a', { seq: 1 }), appoint('x', 'x', { seq: 1 })], 'a'],
  ['a threshold of more than there are is all of them', ['a'], 3, [appoint('a', 'x', { seq: 1 })], 'a,x'],
];

for (const [fact, operators, threshold, votes, left] of CASES) {
  t.test(fact, async (t) => {
    t.equal(inForce(t, operators, threshold, votes), left);
  });
}

t.test('what an operator granted falls or stays with the cut of enough votes', async (t) => {
  const early = grant('c', 'x', {}, { seq: 1 });
  const late = grant('c', 'y', {}, { seq: 5 });
  const votes = [revoke('a', 'c', { seq: 1 }, cut(5)), revoke('b', 'c', { seq: 1 }, cut(1))];
  const of = new Replica(authority(['a', 'b', 'c'], 2)).offer([early, late, ...votes]).authority;
  t.ok(of.isMember(key('x')));
  t.ok(of.isMember(key('y')), 'only one of two says that it was not for c to give');
  const strict = new Replica(authority(['a', 'b', 'c'], 2)).offer([
    early,
    late,
    revoke('a', 'c', { seq: 1 }, cut(4)),
    revoke('b', 'c', { seq: 1 }, cut(1)),
  ]).authority;
  t.ok(strict.isMember(key('x')));
  t.notOk(strict.isMember(key('y')));
});

t.test('a stricter cut takes nothing back of what others void, or the same in a vote before', async (t) => {
  const good = grant('op', 'good', {}, { seq: 2 });
  const puppet = grant('op', 'puppet', {}, { seq: 1 });
  const late = grant('op', 'late', {}, { seq: 7 });
  const bare = (by: string) =>
    revoke(by, 'op', { seq: 1 }, { ...cut(9), descendants: true, keeps: [good.digest] });
  const earlier = (by: string) => revoke(by, 'op', { seq: 2 }, cut(5));
  const cases: readonly [fact: string, threshold: number, votes: LedgerRecord[]][] = [
    ['the same operator', 1, [bare('a'), earlier('a')]],
    ['a senior to the first', 1, [bare('b'), earlier('a')]],
    ['a junior to the first', 1, [bare('a'), earlier('b')]],
    ['the same two', 2, ['a', 'b'].flatMap((by) => [bare(by), earlier(by)])],
    ['one of the two, and a senior to both', 2, [bare('b'), bare('c'), earlier('a'), earlier('b')]],
    ['one of the two, and a junior to both', 2, [bare('a'), bare('b'), earlier('b'), earlier('c')]],
  ];
  for (const [fact, threshold, votes] of cases)
    for (const order of [votes, votes.toReversed()]) {
      const of = new Replica(authority(['a', 'b', 'c', 'op'], threshold)).offer([
        good,
        puppet,
        late,
        ...order,
      ]);
      const members = ['good', 'puppet', 'late'].filter((name) => of.authority.isMember(key(name)));
      t.same(members, ['good'], fact);
    }
});

t.test(
  'the word of a junior about who was dismissed counts, but not what its own thief has made it say',
  async (t) => {
    const good = grant('b', 'good', {}, { seq: 2 });
    const retired = revoke('a', 'b', { seq: 1 }, cut(9));
    const void_ = revoke('c', 'b', { seq: 8 }, { descendants: true });
    const of = new Replica(authority(['a', 'b', 'c'])).offer([good, retired, void_]);
    t.notOk(of.authority.isMember(key('good')));
    t.notOk(of.authority.mayRevoke(key('b'), key('c'), NOW), 'whom a senior had dismissed before');
    of.offer([revoke('a', 'c', { seq: 2 }, cut(7))]);
    t.ok(of.authority.isMember(key('good')), 'the senior answers');
  },
);

t.test('votes are told: how many there are, how many it takes', async (t) => {
  const replica = new Replica(authority(['a', 'b', 'c'], 2)).offer([revoke('a', 'c', { seq: 1 })]);
  t.match([...replica.authority.revocations()], [{ votes: 1, needed: 2, effective: false }]);
  replica.offer([appoint('a', 'x', { seq: 2 })]);
  t.match([...replica.authority.grants(0)], [{ state: 'awaiting', roles: ['operator'] }]);
  replica.offer([revoke('b', 'c', { seq: 1 }), appoint('b', 'x', { seq: 2 })]);
  t.match(
    [...replica.authority.revocations()],
    [
      { votes: 2, needed: 2, effective: true },
      { votes: 2, needed: 2, effective: true },
    ],
  );
  t.ok([...replica.authority.grants(0)].every(({ state }) => state === 'valid'));
  t.same([...replica.authority.roles(key('x'))].sort(), ['admitter', 'deployer', 'operator']);
});

t.test('who was dismissed has a vote where, with seniors, it comes before those who did it', async (t) => {
  // By seniority: a, b, x, y.
  const dismissals = (...subjects: string[]) =>
    subjects.flatMap((subject, at) => [
      revoke('x', subject, { seq: 10 + at }, cut(5)),
      revoke('y', subject, { seq: 10 + at }, cut(5)),
    ]);
  const replica = new Replica(authority(['a', 'b', 'x', 'y'], 2)).offer(dismissals('a', 'b'));
  const of = replica.authority;
  const votes = () => Array.from(of.revocations(), ({ by, votes }) => [by.replaceAll('.', ''), votes]);
  t.same(
    of.operators().map(({ inForce }) => inForce),
    [false, false, true, true],
  );
  t.ok(of.mayRevoke(key('a'), key('x'), NOW));
  t.ok(of.mayRevoke(key('b'), key('x'), NOW));
  t.notOk(of.mayRevoke(key('b'), key('host'), NOW), 'about others it decides nothing');
  replica.offer([revoke('b', 'x', { seq: 20 }, cut(5))]);
  t.same(votes().at(-1), ['b', 1], 'a half of what it takes');
  replica.offer([revoke('a', 'x', { seq: 20 }, cut(5))]);
  t.same(
    of.operators().map(({ inForce }) => inForce),
    [true, true, false, true],
    'and both are back',
  );

  const { authority: juniors } = new Replica(authority(['a', 'b', 'x', 'y'], 2)).offer([
    revoke('a', 'x', { seq: 1 }, cut(5)),
    revoke('y', 'x', { seq: 1 }, cut(5)),
    revoke('a', 'y', { seq: 2 }, cut(5)),
    revoke('b', 'y', { seq: 2 }, cut(5)),
  ]);
  t.notOk(juniors.mayRevoke(key('y'), key('b'), NOW), 'who was dismissed by seniors is heard no more');
  t.notOk(juniors.mayRevoke(key('x'), key('a'), NOW), 'nor with whom it votes against');
});

t.test('votes of which too few count together are told as too few, however many they are', async (t) => {
  const { authority: of } = new Replica(authority(['a', 'b', 'c', 'd', 'e'], 2)).offer([
    revoke('b', 'd', { seq: 1 }),
    revoke('c', 'd', { seq: 1 }),
    revoke('d', 'b', { seq: 1 }),
    revoke('e', 'b', { seq: 1 }),
  ]);
  const against = (name: string) => [...of.revocations()].filter(({ subject }) => subject === key(name));
  t.match(against('d'), [
    { votes: 2, needed: 2, effective: true },
    { votes: 2, needed: 2, effective: true },
  ]);
  t.match(against('b'), [
    { votes: 1, needed: 2, effective: false },
    { votes: 1, needed: 2, effective: false },
  ]);
});

t.test('a vote for an operator is not taken back by fewer than it takes to dismiss one', async (t) => {
  const replica = new Replica(authority(['a', 'b', 'c'], 2)).offer([
    appoint('a', 'x', { seq: 1 }),
    revoke('a', 'x', { seq: 2 }),
  ]);
  const { authority: of } = replica;
  const states = () => [...of.grants(NOW)].map(({ state }) => state);
  t.match([...of.revocations()], [{ votes: 1, needed: 2, effective: false }]);
  t.same(states(), ['awaiting'], 'the vote counts');
  const other = of.fork();
  other.add(appoint('b', 'x', { seq: 1 }));
  t.ok(other.roles(key('x')).has('operator'), 'and with another it is one');

  replica.offer([revoke('b', 'x', { seq: 2 })]);
  const final = { votes: 2, needed: 2, effective: true };
  t.match([...of.revocations()], [final, final]);
  t.same(states(), ['revoked']);
  replica.offer([appoint('c', 'x', { seq: 1 })]);
  t.match(of.operators()[3], { key: key('x'), inForce: false }, 'dismissed as soon as it is appointed');

  const own = new Replica(authority(['a', 'b'], 2)).offer([
    appoint('a', 'x', { seq: 1 }),
    revoke('x', 'x', { seq: 1 }),
  ]);
  t.match([...own.authority.revocations()], [{ votes: 0, needed: 2, effective: false }], 'its own is none');
  const host = [grant('a', 'x', {}, { seq: 3 }), revoke('b', 'x', { seq: 1 })];
  t.match(
    [...own.offer(host).authority.revocations()].filter(({ by }) => by === key('b')),
    [{ votes: 1, needed: 1, effective: true }],
    'of a host, one is enough to end what it may do',
  );
});

t.test('an admitter that grants an operator something and takes it back makes it no less', async (t) => {
  const x = grant('a', 'x', ADMITTER, { seq: 1 });
  const snare = grant('x', 'b', { parent: x.digest }, { seq: 1 });
  const { authority: of } = new Replica(authority(['a', 'b'])).offer([
    x,
    snare,
    revoke('x', 'b', { seq: 2 }),
  ]);
  t.notOk(of.isMember(key('b')));
  t.notOk(of.isRevoked(key('b')));
  t.ok(of.roles(key('b')).has('operator'));
});

t.test('there is an end to how many operators there ever were', async (t) => {
  const names = Array.from({ length: OPERATORS_EVER_MAX + 9 }, (_, at) => `x${at}`);
  const votes = names.map((name, at) => appoint('a', name, { seq: at + 1 }));
  t.equal(inForce(t, ['a'], 1, votes).split(',').length, OPERATORS_EVER_MAX);
  const dismissed = names.map((name, at) => revoke('a', name, { seq: 100 + at }));
  const { authority: of } = new Replica(authority(['a'], 1)).offer([...votes, ...dismissed]);
  t.equal(of.operators().length, OPERATORS_EVER_MAX, 'those that were dismissed count');
});

t.test(
  'votes are counted once for a list of thousands of revocations or appointments of one key',
  async (t) => {
    const of = authority(['sen', 'op'], 2);
    const ann = grant('op', 'ann', ADMITTER, { seq: 1 });
    of.add(ann);
    for (let seq = 2; seq < 202; seq += 1) {
      of.add(revoke('ann', 'sen', { seq }));
      of.add(revoke('ann', 'new', { seq: seq + 1000 }));
      of.add(appoint('op', 'new', { seq }));
    }
    const revocationsOf = GrantBook.prototype.revocationsOf;
    t.teardown(() => {
      GrantBook.prototype.revocationsOf = revocationsOf;
    });
    let looked = 0;
    GrantBook.prototype.revocationsOf = function (subject) {
      const found = [...revocationsOf.call(this, subject)];
      const filter = (passes: (each: (typeof found)[number]) => boolean) => {
        looked += found.length;
        return [...found].filter(passes);
      };
      return Object.assign(found, { filter });
    };
    t.equal([...of.revocations()].length, 400);
    t.equal([...of.grants(NOW)].filter(({ state }) => state === 'awaiting').length, 200);
    t.ok(looked < 5_000, `${looked} were looked at`);
  },
);

t.test(
  'votes for thousands that are in no office cost one look each, however many are decided',
  async (t) => {
    const of = authority(['a', 'b', 'c'], 1);
    let looks = 0;
    const counted = (record: LedgerRecord): LedgerRecord =>
      Object.defineProperty({ ...record }, 'author', {
        get: () => {
          looks += 1;
          return record.author;
        },
      });
    const count = 1000;
    for (let seq = 1; seq <= count; seq += 1) of.add(counted(appoint('a', `x${seq}`, { seq })));
    for (let seq = 1; seq <= count; seq += 1) of.add(counted(revoke('b', 'c', { seq })));
    looks = 0;
    t.equal(of.operators().length, OPERATORS_EVER_MAX);
    t.ok(looks <= 10 * count, `${looks} looks`);
  },
);

t.test(
  'operators that all vote against one another cost no look at all votes for each that goes',
  async (t) => {
    // A thief of the junior key has appointed as many as there may be.
    const of = authority(['sen', 'op'], 1);
    const puppets = Array.from({ length: OPERATORS_EVER_MAX - 2 }, (_, at) => `p${at}`);
    let looks = 0;
    const counted = (record: LedgerRecord): LedgerRecord =>
      Object.defineProperty({ ...record }, 'digest', {
        get: () => {
          looks += 1;
          return record.digest;
        },
      });
    for (const [at, puppet] of puppets.entries()) of.add(appoint('op', puppet, { seq: at + 1 }));
    let votes = 0;
    for (const puppet of puppets)
      for (const [at, other] of puppets.entries()) {
        if (puppet === other) continue;
        of.add(counted(revoke(puppet, other, { seq: at + 1 })));
        votes += 1;
      }
    looks = 0;
    t.equal(of.operators().length, OPERATORS_EVER_MAX);
    // One for each that comes to office, and none for each that is dismissed.
    t.ok(looks <= OPERATORS_EVER_MAX * votes, `${looks} looks at ${votes} votes`);
  },
);
