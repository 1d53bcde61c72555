/** With what is one too many goes all that only it let in, however much that is, and nothing else. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Crypto, Signer } from '../../../protocols/base/crypto.ts';
import type { KeyId } from '../../../protocols/base/ids.ts';
import { type GrantBody, type Role, recordKey } from '../../../protocols/base/records.ts';
import { LedgerMachine, sealGenesis } from '../../../protocols/ledger/machine.ts';
import { type LedgerRecord, sealRecord } from '../../../protocols/ledger/record.ts';
import { operatorGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import { fastCrypto, fastSigner } from '../../sim/fast-crypto.ts';
import {
  exchange,
  genesis,
  introduce,
  memberGrant,
  NOW,
  newNode,
  operator,
  TAG,
  testSigner,
  write,
} from './fixtures.ts';

const ADMITS: Role[] = ['member', 'worker', 'deployer', 'admitter', 'admit'];
const ADMITTER = { roles: ['member', 'admitter'] as Role[], admits: ADMITS };
/** No stamp is after it. */
const LATER = NOW + 4000;
/** More than a stack holds, if each link is a call or two. */
const CHAIN = 4000;
const BATCH = 500;
/** All is offered again until nothing moves; it has to rest by then. */
const ROUNDS_MAX = 12;

/** Signs grants, and what else there is, under numbers of their own. */
class Desk {
  readonly #cluster: string;
  readonly #crypto: Crypto;
  #seq = 1;

  constructor(cluster: string, crypto: Crypto) {
    this.#cluster = cluster;
    this.#crypto = crypto;
  }

  seal(author: Signer, kind: string, key: string, body: unknown, ms = NOW): LedgerRecord {
    this.#seq += 1;
    const number = { epoch: 0, seq: this.#seq, hlc: { ms, n: 0 } };
    const header = { cluster: this.#cluster, author: author.id, ...number, kind, key };
    return sealRecord({ ...header, generation: 1, context: [] }, body, author, this.#crypto);
  }

  grant(author: Signer, body: GrantBody, ms = NOW): LedgerRecord {
    return this.seal(author, 'grant', recordKey.grant(body.subject, author.id), body, ms);
  }

  /** One that goes after another of its author, where both hang on the same: it pushes that out where there is room for one. */
  before(other: LedgerRecord, author: Signer, body: GrantBody): LedgerRecord {
    for (;;) {
      const grant = this.grant(author, body, other.hlc.ms - 1);
      if (grant.digest < other.digest) return grant;
    }
  }
}

/** A cluster whose signatures take no time. */
function quick(config: { author_records_max: number }) {
  const op = fastSigner('op');
  const body = { name: 'test', operators: [op.id], range: '10.210.0.0/16', nonce: '00'.repeat(16) };
  const genesis = sealGenesis(body, op, fastCrypto, NOW);
  const signers = [fastSigner('self')] as const;
  const machine = new LedgerMachine({ genesis, crypto: fastCrypto, signers: [...signers], config });
  return { op, machine, desk: new Desk(genesis.digest, fastCrypto) };
}

function take(machine: LedgerMachine, records: readonly LedgerRecord[]) {
  for (let at = 0; at < records.length; at += BATCH) introduce(machine, records.slice(at, at + BATCH), LATER);
}

t.test('a chain of thousands of operators goes with the vote that it hangs on', async (t) => {
  const { op, machine, desk } = quick({ author_records_max: 3 });
  const keys = Array.from({ length: CHAIN }, (_, at) => fastSigner(`key ${at}`));
  const chain = keys.map(({ id }, at) => desk.grant(at === 0 ? op : keys[at - 1]!, operatorGrant(id)));
  take(machine, chain);
  t.equal(machine.ledger.size, 1 + chain.length);
  const fill = ['a', 'b'].map((name) => desk.before(chain[0]!, op, memberGrant(fastSigner(name).id)));
  const persists = introduce(machine, fill, LATER).filter(({ kind }) => kind === 'persist');
  t.equal(machine.ledger.size, 1 + fill.length);
  t.match(persists, [{ evicted_count: CHAIN }], 'and leaves the disk');
});

t.test('a renewal that goes takes nothing with it: what it let in counts for nothing then', async (t) => {
  const desk = new Desk(genesis.digest, nodeCrypto);
  const { machine } = nodeOf(1);
  const [ann, ben, token, host] = [20, 21, 22, 23].map(testSigner) as [Signer, Signer, Signer, Signer];
  const single = desk.grant(operator, memberGrant(token.id, { roles: ['admit'], admits: ADMITS, uses: 0 }));
  const larger = desk.grant(token, memberGrant(ben.id, { ...ADMITTER, parent: single.digest }));
  const original = desk.grant(operator, memberGrant(ann.id, { ...ADMITTER, notAfter_ms: NOW + 1000 }));
  const renewing = { ...(original.body as GrantBody), renews: original.digest, notAfter_ms: NOW + 2000 };
  const renewal = desk.grant(ben, { ...renewing, parent: larger.digest }, NOW + 1000);
  const late = desk.grant(ann, memberGrant(host.id, { parent: original.digest }), NOW + 1500);
  const own = desk.seal(host, 'member', host.id, {}, NOW + 1600);
  introduce(machine, [single, larger, original, renewal, late, own], LATER);
  t.ok(machine.authority.isMember(host.id, LATER));
  introduce(
    machine,
    [desk.before(larger, token, memberGrant(testSigner(24).id, { parent: single.digest }))],
    LATER,
  );
  for (const record of [larger, renewal]) t.notOk(machine.ledger.has(record));
  for (const record of [original, late, own]) t.ok(machine.ledger.has(record));
  t.notOk(machine.authority.isMember(host.id, LATER));
  t.notOk(machine.authority.counts(own));
  introduce(machine, [desk.grant(operator, renewing, NOW + 1000)], LATER);
  t.ok(machine.authority.isMember(host.id, LATER), 'but by another renewal it does');
  t.ok(machine.authority.counts(own));
});

function nodeOf(number: number, author_records_max = 100) {
  const signer = testSigner(number);
  const config = { author_records_max };
  return { signer, machine: new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer], config }) };
}

t.test('the renewal of a grant that is one too many of its author goes with it', async (t) => {
  const desk = new Desk(genesis.digest, nodeCrypto);
  const [ann, host] = [testSigner(10), testSigner(11)];
  const max = 5;
  const nodes = [nodeOf(1, max), nodeOf(2, max)] as const;
  const members = nodes.map(({ signer }) => desk.grant(operator, memberGrant(signer.id)));
  const root = desk.grant(operator, memberGrant(ann.id, ADMITTER));
  const parent = root.digest;
  const original = desk.grant(ann, memberGrant(host.id, { parent, notAfter_ms: NOW + 9000 }));
  const renews = original.digest;
  const renewal = desk.grant(
    operator,
    memberGrant(host.id, { notAfter_ms: NOW + 12_000, renews }),
    NOW + 3500,
  );
  const own = desk.seal(host, 'member', host.id, {}, NOW + 10);
  const fill = Array.from({ length: max }, (_, at) =>
    desk.before(original, ann, memberGrant(testSigner(50 + at).id, { parent })),
  );
  introduce(nodes[0].machine, [...members, root, original, renewal, own], LATER);
  t.ok(nodes[0].machine.ledger.has(own));
  introduce(nodes[0].machine, fill, LATER);
  for (const record of [original, renewal, own]) t.notOk(nodes[0].machine.ledger.has(record), record.kind);
  // Where there was no room for it from the beginning.
  introduce(nodes[1].machine, [...members, root, ...fill, original, renewal, own], LATER);
  exchange(...nodes, LATER);
  t.equal(nodes[0].machine.ledger.hash, nodes[1].machine.ledger.hash);
});

t.test('what a member let in by a renewal stays when its issuer renews it once more', async (t) => {
  const desk = new Desk(genesis.digest, nodeCrypto);
  const [ann, host] = [testSigner(10), testSigner(11)];
  const { machine } = nodeOf(1);
  const body = memberGrant(ann.id, { ...ADMITTER, notAfter_ms: NOW + 1000 });
  const original = desk.grant(operator, body);
  const renewals = [1000, 2000].map((ms) =>
    desk.grant(operator, { ...body, notAfter_ms: NOW + 1000 + ms, renews: original.digest }, NOW + ms),
  ) as [LedgerRecord, LedgerRecord];
  const late = desk.grant(ann, memberGrant(host.id, { parent: original.digest }), NOW + 1500);
  const own = desk.seal(host, 'member', host.id, {}, NOW + 1600);
  introduce(machine, [original, renewals[0], late, own], LATER);
  introduce(machine, [renewals[1]], LATER);
  t.notOk(machine.ledger.has(renewals[0]));
  for (const record of [original, renewals[1], late, own]) t.ok(machine.ledger.has(record));
});

/** A token that lets in one, and two grants by it; the first has to go for the second. */
function crowded(desk: Desk) {
  const [token, ann, ben] = [testSigner(20), testSigner(21), testSigner(22)];
  const single = memberGrant(token.id, { roles: ['admit'], admits: ADMITS, uses: 0 });
  const root = desk.grant(operator, single);
  const larger = desk.grant(token, memberGrant(ann.id, { ...ADMITTER, parent: root.digest }));
  const smaller = desk.before(larger, token, memberGrant(ben.id, { parent: root.digest }));
  return { token, ann, ben, root, larger, smaller };
}

t.test('what waits for a grant is taken in though others of the same batch went for that', async (t) => {
  const desk = new Desk(genesis.digest, nodeCrypto);
  const { ann, ben, root, larger, smaller } = crowded(desk);
  const { machine } = nodeOf(1);
  const below = desk.grant(ann, memberGrant(testSigner(23).id, { parent: larger.digest }));
  const waiting = desk.seal(ben, 'member', ben.id, {});
  introduce(machine, [root, larger, below, waiting, smaller], LATER);
  t.notOk(machine.ledger.has(below));
  t.ok(machine.ledger.has(waiting));
});

t.test('what was refused is asked for again once an own revocation keeps it', async (t) => {
  const desk = new Desk(genesis.digest, nodeCrypto);
  const { token, root, larger, smaller } = crowded(desk);
  const [a, b] = [newNode(testSigner(2), operator), newNode(testSigner(1))] as const;
  const members = [a, b].map(({ signer }) => desk.grant(operator, memberGrant(signer.id)));
  introduce(a.machine, [...members, root, smaller, larger], LATER);
  t.notOk(a.machine.ledger.has(larger));
  const body = revokeBody({ subject: token.id, reason: '', keeps: [larger.digest] });
  const key = recordKey.revoke(token.id, operator.id);
  const revocation = write(a.machine, operator.id, 'revoke', key, body, LATER);
  introduce(b.machine, [...members, root, revocation, smaller, larger], LATER);
  t.ok(b.machine.ledger.has(larger));
  exchange(a, b, LATER);
  t.ok(a.machine.ledger.has(larger));
});

/** All of it, again and again until it rests, in this order and turned round. @returns whether that comes to the same. */
function settled(records: readonly LedgerRecord[], author_records_max: number): LedgerMachine | undefined {
  const machines = [records, records.toReversed()].map((order) => {
    const { machine } = nodeOf(1, author_records_max);
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const { hash } = machine.ledger;
      for (const record of order) introduce(machine, [record], LATER);
      if (machine.ledger.hash === hash) return machine;
    }
    return undefined;
  });
  return machines[0]?.ledger.hash === machines[1]?.ledger.hash ? machines[0] : undefined;
}

t.test(
  'a token that is used too often and has written too much leaves the same, whatever came first',
  async (t) => {
    const desk = new Desk(genesis.digest, nodeCrypto);
    const token = testSigner(20);
    const body = memberGrant(token.id, { roles: ['admit'], admits: ADMITS, uses: 1 });
    const root = desk.grant(operator, body);
    const joining = (number: number, ms: number) =>
      desk.grant(token, memberGrant(testSigner(number).id, { parent: root.digest }), ms);
    for (let round = 0; round < 8; round += 1) {
      const joins = [0, 1, 2].map((at) => joining(30 + 3 * round + at, NOW + 1000 * ((round >> at) & 1)));
      const fill = [0, 1].map((at) =>
        desk.seal(
          token,
          'revoke',
          recordKey.revoke(token.id, token.id),
          revokeBody({ subject: token.id, reason: `${at}`, cut: { epoch: 9, last: 9 } }),
          NOW + at,
        ),
      );
      t.ok(settled([root, ...joins, ...fill], 4));
    }
  },
);

t.test('a revocation that keeps a grant is not pushed out by what hangs on that grant', async (t) => {
  const desk = new Desk(genesis.digest, nodeCrypto);
  const [ann, token] = [testSigner(21), testSigner(20)];
  const root = desk.grant(operator, memberGrant(ann.id, ADMITTER));
  const parent = root.digest;
  const single = desk.grant(ann, memberGrant(token.id, { ...ADMITTER, parent, uses: 0 }));
  const kept = desk.grant(token, memberGrant(ann.id, { ...ADMITTER, parent: single.digest }));
  const smaller = desk.before(kept, token, memberGrant(testSigner(22).id, { parent: single.digest }));
  const body = revokeBody({
    subject: token.id,
    reason: '',
    cut: { epoch: 9, last: 9 },
    keeps: [kept.digest],
  });
  const revocation = desk.seal(ann, 'revoke', recordKey.revoke(token.id, ann.id), body, NOW + 100);
  const below = desk.grant(ann, memberGrant(testSigner(23).id, { parent: kept.digest }), NOW + 5);
  const machine = settled([root, single, smaller, revocation, kept, below], 2);
  t.ok(machine, 'it comes to rest');
  for (const record of [single, kept, revocation]) t.ok(machine?.ledger.has(record));
  t.notOk(machine?.ledger.has(below));
});

t.test('a grant is not pushed out by what its author could write by that grant alone', async (t) => {
  const desk = new Desk(genesis.digest, nodeCrypto);
  const [ann, ben] = [testSigner(21), testSigner(22)];
  const root = desk.grant(operator, memberGrant(ann.id, ADMITTER));
  const given = desk.grant(ann, memberGrant(ben.id, { ...ADMITTER, parent: root.digest }));
  const back = desk.grant(ben, memberGrant(ann.id, { ...ADMITTER, parent: given.digest }));
  const below = desk.before(given, ann, memberGrant(testSigner(23).id, { parent: back.digest }));
  const other = desk.before(given, ann, memberGrant(testSigner(24).id, { parent: root.digest }));
  const machine = settled([root, given, back, other, below], 2);
  t.ok(machine?.ledger.has(back), 'it comes to rest');
});

/** A host that was let in for a second, and an admitter: with what a renewal of the host by that one says but its end. */
function renewable() {
  const desk = new Desk(genesis.digest, nodeCrypto);
  const [ann, host] = [testSigner(21), testSigner(22)];
  const root = desk.grant(operator, memberGrant(ann.id, ADMITTER));
  const body = memberGrant(host.id, { notAfter_ms: NOW + 1000 });
  const original = desk.grant(operator, body);
  const renewed = { ...body, parent: root.digest, renews: original.digest };
  return { desk, ann, host, root, original, renewed };
}

t.test('of two renewals the longer stays, also where their issuer has room for one', async (t) => {
  const { desk, ann, root, original, renewed } = renewable();
  const longer = desk.grant(ann, { ...renewed, notAfter_ms: NOW + 1500 }, NOW + 501);
  const shorter = desk.before(longer, ann, { ...renewed, notAfter_ms: NOW + 1400 });
  const other = desk.before(longer, ann, memberGrant(testSigner(23).id, { parent: root.digest }));
  const machine = settled([root, original, longer, shorter, other], 3);
  t.ok(machine?.ledger.has(longer));
  const { machine: full } = nodeOf(1, 3);
  const last = desk.before(longer, ann, memberGrant(testSigner(24).id, { parent: root.digest }));
  introduce(full, [root, original, other, last, shorter], LATER);
  t.ok(full.ledger.has(shorter));
  introduce(full, [longer], LATER);
  t.ok(full.ledger.has(longer), 'and not the one that came first');
  t.notOk(full.ledger.has(shorter));
});

t.test('a renewal that an operator keeps stays, also where its issuer has room for no more', async (t) => {
  const { desk, ann, host, root, original, renewed } = renewable();
  const kept = desk.grant(ann, { ...renewed, notAfter_ms: NOW + 1900 }, NOW + 900);
  const longer = desk.grant(ann, { ...renewed, notAfter_ms: NOW + 3000 }, NOW + 2000);
  const fill = [23, 24, 25].map((at) =>
    desk.grant(ann, memberGrant(testSigner(at).id, { parent: root.digest })),
  );
  const key = recordKey.revoke(ann.id, operator.id);
  const keeping = revokeBody({ subject: ann.id, reason: '', descendants: true, keeps: [kept.digest] });
  const revocation = desk.seal(operator, 'revoke', key, keeping, NOW + 1500);
  const machine = settled([root, original, ...fill, kept, revocation, longer], 4);
  t.ok(machine?.ledger.has(kept), 'whatever came first');
  t.notOk(machine?.ledger.has(longer));
  t.equal(machine?.authority.memberUntil(host.id), NOW + 1900);
});

t.test('a renewal that an operator keeps pushes out no grant that it renews', async (t) => {
  const desk = new Desk(genesis.digest, nodeCrypto);
  const [ann, host] = [testSigner(21), testSigner(22)];
  const root = desk.grant(operator, memberGrant(ann.id, ADMITTER));
  const { digest: parent } = root;
  const other = desk.grant(ann, memberGrant(testSigner(23).id, { parent }));
  const body = memberGrant(host.id, { parent, notAfter_ms: NOW + 1000 });
  const original = desk.before(other, ann, body);
  const smaller = [24, 25, 26].map((at) =>
    desk.before(original, ann, memberGrant(testSigner(at).id, { parent })),
  );
  const end = { renews: original.digest, notAfter_ms: NOW + 1900 };
  const renewal = desk.grant(ann, { ...body, ...end }, NOW + 900);
  const revoke = (keeps: string[]) => {
    const key = recordKey.revoke(ann.id, operator.id);
    return desk.seal(operator, 'revoke', key, revokeBody({ subject: ann.id, reason: '', keeps }), NOW + 1500);
  };
  const records = [root, other, original, ...smaller, renewal, revoke([renewal.digest])];
  const without = settled(records, 4);
  for (const grant of [original, ...smaller]) t.ok(without?.ledger.has(grant), 'whatever came first');
  const machine = settled([...records, revoke([original.digest])], 4);
  t.ok(machine?.ledger.has(renewal), 'it has the room where both are kept');
  t.ok(machine?.ledger.has(original));
});

t.test(
  'a role that comes and goes takes along what needs it, without a look at all else each time',
  async (t) => {
    const max = 40;
    const { op, machine, desk } = quick({ author_records_max: max });
    const { ledger, authority } = machine;
    const [ann, ben] = [fastSigner('ann'), fastSigner('ben')];
    const root = desk.grant(op, memberGrant(ann.id, ADMITTER));
    const parent = root.digest;
    const wide = memberGrant(ben.id, { roles: ['worker', 'admitter'], admits: ADMITS, parent });
    const hosts = Array.from({ length: 9 * max }, (_, at) =>
      desk.grant(ann, memberGrant(fastSigner(`host ${at}`).id, { parent })),
    ).sort(byDigest);
    // What ann may write is full of the smallest digests, and one more: that goes for the next, which is smaller.
    const fill = hosts.splice(0, max - 1);
    const turns: LedgerRecord[] = [];
    const last = () => turns.at(-1) ?? hosts.at(-1)!;
    for (let host = hosts.pop(); host !== undefined; host = hosts.pop()) {
      if (host.digest >= last().digest && turns.length > 0) continue;
      const again = desk.before(host, ann, wide);
      if (again.digest > fill.at(-1)!.digest) turns.push(host, again);
    }
    const roles: Role[] = ['member', 'deployer', 'admit'];
    const others = desk.grant(op, memberGrant(ben.id, { roles, admits: ADMITS }));
    take(machine, [root, others, ...fill]);
    const revoke = (subject: KeyId, reason: string) => {
      const body = revokeBody({ subject, reason, cut: { epoch: 9, last: 9 } });
      return desk.seal(ben, 'revoke', recordKey.revoke(subject, ben.id), body);
    };
    const guest = memberGrant(fastSigner('guest').id, { roles: ['member'], parent: others.digest });
    const kept = Array.from({ length: max / 2 }, (_, at) => desk.seal(ben, 'tag', `app:${at}`, TAG));
    kept.push(revoke(ben.id, 'own'), desk.grant(ben, guest));
    take(machine, kept);
    const looked = t.capture(ledger, 'recordsOf', ledger.recordsOf.bind(ledger));
    for (const grant of turns) {
      const more = [desk.seal(ben, 'alloc', `${ben.id}/${grant.seq}`, {}), revoke(ann.id, `${grant.seq}`)];
      take(machine, [grant, ...more]);
      const isWide = (grant.body as GrantBody).subject === ben.id;
      for (const record of more) t.equal(ledger.has(record), isWide, record.kind);
      for (const record of ledger.records()) t.equal(authority.admission(record), 'yes', record.kind);
    }
    for (const record of kept) t.ok(ledger.has(record), record.kind);
    t.ok(turns.length >= 6, `${turns.length} turns`);
    const times = looked().filter(({ args }) => args[0] === ben.id).length;
    t.ok(times <= 1, `all that it wrote was looked at ${times} times`);
  },
);

function byDigest(a: LedgerRecord, b: LedgerRecord): number {
  return a.digest < b.digest ? -1 : 1;
}
