/** What the ledger writes is on disk before anybody hears of it, and a disk that refuses loses nothing for good. */
import path from 'node:path';
import t, { type Test } from 'tap';
import { type Clock, systemClock } from '../../../daemon/clock.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { EFFECTS_MAX, LedgerDriver, type LedgerDriverInit } from '../../../daemon/drivers/ledger-driver.ts';
import { type Log, silentLog } from '../../../daemon/log.ts';
import { StateStore, type StoreBatch } from '../../../daemon/store/state-store.ts';
import { type ErrorCode, ShoalError } from '../../../protocols/base/errors.ts';
import { recordKey } from '../../../protocols/base/records.ts';
import { gossipVerdict } from '../../../protocols/ledger/effects.ts';
import { openEnvelope } from '../../../protocols/ledger/envelope.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { type LedgerRecord, sealRecord } from '../../../protocols/ledger/record.ts';
import { encodeGossip } from '../../../protocols/ledger/sync.ts';
import { MemoryNetwork } from '../../../protocols/mesh/memory-mesh.ts';
import type { PublishedHandler } from '../../../protocols/mesh/mesh.ts';
import {
  forged,
  genesis,
  introduce,
  memberGrant,
  NOW,
  newNode,
  operator,
  TAG,
  type TestNode,
  testSigner,
  write,
} from '../../protocols/ledger/fixtures.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';

const self = testSigner(1);
/** Timers that the test fires. */
interface HandClock extends Clock {
  readonly timers: Set<() => void>;
  /** Of each that was set. */
  readonly delays_ms: number[];
}

function handClock(): HandClock {
  const timers = new Set<() => void>();
  const delays_ms: number[] = [];
  return {
    ...systemClock,
    timers,
    delays_ms,
    after(delay_ms, action) {
      delays_ms.push(delay_ms);
      timers.add(action);
      return () => timers.delete(action);
    },
  };
}

async function driverOf(
  t: Test,
  given: { clock?: Clock; log?: Log; guard?: LedgerDriverInit['guard'] } = {},
) {
  const store = new StateStore(path.join(await temporaryDirectory(t), 'state.db'), nodeCrypto);
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self, operator] });
  const changed: string[] = [];
  const driver = new LedgerDriver({
    machine,
    store,
    clock: given.clock ?? systemClock,
    log: given.log ?? silentLog,
    guard: given.guard ?? { charge: () => undefined, judge: () => undefined, verdict: verdictOf },
    onChanged: (records) => changed.push(...records.map(({ digest }) => digest)),
  });
  t.teardown(async () => {
    await driver[Symbol.asyncDispose]();
    store.close();
  });
  const grant = memberGrant(self.id);
  await driver.write(operator.id, 'grant', recordKey.grant(self.id, operator.id), grant);
  return { driver, store, changed };
}

/** Of a node that passes on all that is news. */
const verdictOf: LedgerDriverInit['guard']['verdict'] = (_peer, _bytes, effects) => gossipVerdict(effects);
const intent = { intent: 'cordoned' };
const stored = (store: StateStore) => store.load().records.map(({ digest }) => digest);

t.test('a write resolves when it is durable, and is told after that', async (t) => {
  const { driver, store, changed } = await driverOf(t);
  const record = await driver.write(self.id, 'intent', self.id, intent);
  t.ok(stored(store).includes(record.digest));
  t.ok(changed.includes(record.digest));
  const many = await Promise.all(
    Array.from({ length: 50 }, (_, n) => driver.write(self.id, 'intent', `${self.id}-${n}`, intent)),
  );
  t.equal(new Set(many.map(({ seq }) => seq)).size, 50, 'one turn, one transaction, fifty numbers');
  const have = new Set(stored(store));
  t.ok(many.every(({ digest }) => have.has(digest)));
});

t.test('an epoch that begins while it runs is on disk, or the next start would begin it again', async (t) => {
  const { driver, store } = await driverOf(t);
  const first = await driver.write(self.id, 'intent', self.id, intent);
  const hlc = { ms: systemClock.now(), n: 0 };
  const forgotten = forged(first, { epoch: 3, seq: 1, hlc, key: `${self.id}-other` }, self);
  t.equal(await driver.introduce([forgotten.bytes]), undefined);
  const next = await driver.write(self.id, 'intent', self.id, intent);
  t.ok(next.epoch > 3);
  t.equal(store.value(`epoch/${self.id}`), String(next.epoch));
});

t.test('what a later record replaces leaves the disk', async (t) => {
  const { driver, store } = await driverOf(t);
  const first = await driver.write(self.id, 'intent', self.id, intent);
  const second = await driver.write(self.id, 'intent', self.id, { intent: 'active' });
  t.notOk(stored(store).includes(first.digest));
  t.ok(stored(store).includes(second.digest));
});

t.test('a write that is not allowed is refused and changes nothing', async (t) => {
  const { driver, store } = await driverOf(t);
  const before = stored(store);
  await t.rejects(driver.write(self.id, 'member', operator.id, {}), { code: 'E_NOT_ALLOWED' });
  await t.rejects(driver.write(self.id, 'intent', self.id, 'x'.repeat(200_000)), { code: 'E_TOO_LARGE' });
  t.same(stored(store), before);
});

/** A disk that refuses until it is told otherwise, as `error` says. */
function refusing(store: StateStore, error: () => Error) {
  const write = store.write.bind(store);
  const disk = { refuses: true, tries: 0 };
  store.write = (batch) => {
    disk.tries += 1;
    if (disk.refuses) throw error();
    write(batch);
  };
  return disk;
}

const fire = (clock: HandClock) => {
  const timers = [...clock.timers];
  clock.timers.clear();
  for (const timer of timers) timer();
};
const member = (n: number) => ({ incarnation: n });
const turn = () => new Promise((resolve) => setImmediate(resolve));

for (const [code, error] of [
  ['E_DISK_FULL', () => new ShoalError('E_DISK_FULL', 'full')],
  ['E_DATA_DENIED', () => new ShoalError('E_DATA_DENIED', 'read-only')],
  ['E_DISK_FAILED', () => new Error('EIO')],
] as const) {
  t.test(
    `${code}: writes are refused by name, the node's own facts go on, and all is kept later`,
    async (t) => {
      const clock = handClock();
      const { driver, store, changed } = await driverOf(t, { clock });
      const disk = refusing(store, error);
      const have = stored(store).length;
      await t.rejects(driver.write(self.id, 'intent', self.id, intent), {
        code,
        message: /unless the daemon ends/,
      });
      t.match(driver.trouble, { code });
      const told = changed.length;
      await t.rejects(driver.write(self.id, 'intent', 'other', intent), {
        code,
        message: /nothing was changed/,
      });
      await t.rejects(driver.introduce([]), { code });
      await turn();
      t.equal(changed.length, told, 'of a refused write nobody hears');
      t.equal(driver.machine.ledger.get('intent', 'other'), undefined);

      const facts = [1, 2, 3].map((n) => driver.write(self.id, 'member', self.id, member(n)));
      for (const fact of await Promise.all(facts)) t.ok(changed.includes(fact.digest), 'the view goes on');
      t.equal(stored(store).length, have);
      const { tries } = disk;
      fire(clock);
      t.equal(disk.tries, tries + 1, 'it is tried again by time, and not with each write');
      t.match(driver.trouble, { code });

      disk.refuses = false;
      fire(clock);
      t.equal(driver.trouble, undefined);
      t.same(
        new Set(stored(store)),
        new Set(
          Array.from(driver.machine.ledger.records(), ({ digest }) => digest).filter(
            (d) => d !== genesis.digest,
          ),
        ),
        'the disk holds what is live, and nothing that came and went meanwhile',
      );
      t.ok(await driver.write(self.id, 'intent', 'other', intent), 'it takes writes again');
    },
  );
}

t.test('a disk that refuses for long costs no more than what is live', async (t) => {
  const clock = handClock();
  const { driver, store } = await driverOf(t, { clock });
  const disk = refusing(store, () => new ShoalError('E_DISK_FULL', 'full'));
  for (let n = 0; n < 500; n += 1) await driver.write(self.id, 'member', self.id, member(n));
  let batch: StoreBatch | undefined;
  disk.refuses = false;
  const write = store.write.bind(store);
  store.write = (given) => {
    batch = given;
    write(given);
  };
  fire(clock);
  t.equal(batch!.put.length, 1, 'of 500 versions the last');
  t.equal(batch!.remove.length, 0);
});

t.test('a disk that takes long to refuse is tried less often, and what is not on it is known', async (t) => {
  let now = NOW;
  const clock = Object.assign(handClock(), { now: () => now });
  const { driver, store } = await driverOf(t, { clock });
  t.ok(driver.isKept);
  let took_ms = 0;
  const disk = refusing(store, () => {
    now += took_ms;
    return new ShoalError('E_DISK_FULL', 'full');
  });
  await driver.write(self.id, 'member', self.id, member(1));
  for (const [took, pause_ms] of [
    [5, 1_000],
    [900, 9_000],
    [20_000, 60_000],
    [-3_600_000, 1_000],
  ] as const) {
    took_ms = took;
    fire(clock);
    t.equal(clock.delays_ms.at(-1), pause_ms, `after ${took} ms`);
    t.notOk(driver.isKept);
  }
  disk.refuses = false;
  fire(clock);
  t.ok(driver.isKept);
});

t.test('a file that is found damaged by a write is begun anew with what is known', async (t) => {
  const { driver, store } = await driverOf(t);
  const write = store.write.bind(store);
  let isDamaged = true;
  store.write = (batch) => {
    if (isDamaged) {
      isDamaged = false;
      throw new ShoalError('E_DATA_CORRUPT', 'damaged');
    }
    write(batch);
  };
  const record = await driver.write(self.id, 'intent', self.id, intent);
  t.equal(driver.trouble, undefined);
  const have = stored(store);
  for (const { digest } of driver.machine.ledger.records()) t.ok(have.includes(digest));
  t.ok(have.includes(record.digest));
});

/** A mesh of one, on which the test plays the others. @returns what publishes to it. */
async function startedMesh(t: Test, driver: LedgerDriver): Promise<PublishedHandler> {
  const mesh = await new MemoryNetwork().createMesh({
    seed: new Uint8Array(32).fill(1),
    cluster: genesis.digest,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    isMember: () => true,
    mdns: false,
    log: silentLog,
  });
  t.teardown(() => mesh[Symbol.asyncDispose]());
  const handler = Promise.withResolvers<PublishedHandler>();
  mesh.handlePublished = handler.resolve;
  driver.start(mesh);
  return await handler.promise;
}

t.test('a defect that a peer can reach drops its message and is told; the daemon goes on', async (t) => {
  const told: string[] = [];
  const { driver } = await driverOf(t, {
    log: (level, message) => void (level === 'warn' && told.push(message)),
  });
  const publish = await startedMesh(t, driver);
  const { handle } = driver.machine;
  driver.machine.handle = () => {
    throw new TypeError('a defect');
  };
  t.equal(publish(operator.id, Uint8Array.of(1)), 'ignore');
  driver.machine.handle = handle;
  t.match(told, [/could not be handled and was dropped/]);
  t.ok(await driver.write(self.id, 'intent', self.id, intent));
});

t.test('what a timer asks for and the ledger refuses is told; the daemon goes on', async (t) => {
  const told: string[] = [];
  const clock = handClock();
  const log: Log = (level, message) => void (level === 'warn' && told.push(message));
  const { driver } = await driverOf(t, { clock, log });
  await startedMesh(t, driver);
  await turn();
  const { handle } = driver.machine;
  driver.machine.handle = () => {
    throw new ShoalError('E_QUOTA', 'full');
  };
  fire(clock);
  driver.machine.handle = handle;
  t.match(told, [/could not do what was due/]);
  t.ok(await driver.write(self.id, 'intent', self.id, intent));
});

t.test('that the clock was ahead is told', async (t) => {
  const told: string[] = [];
  const clock = { ...handClock(), now: () => NOW };
  const log: Log = (level, message) => void (level === 'warn' && told.push(message));
  const { driver } = await driverOf(t, { clock, log });
  t.equal(driver.clockTrouble, undefined);
  driver.machine.handle = () => [{ kind: 'clock', ahead_ms: 90_000, records_count: 2 }];
  await startedMesh(t, driver);
  await turn();
  t.match(told, [/clock of this host was far ahead/]);
  t.same(driver.clockTrouble, { ahead_ms: 90_000, mended_ms: NOW });
});

t.test('what peers send while the disk is stuck is dropped beyond the cap', async (t) => {
  let refused = 0;
  const { driver } = await driverOf(t, {
    log: (_level, message) => {
      if (message === 'a record was not taken') refused += 1;
    },
  });
  const publish = await startedMesh(t, driver);
  // Within one turn nothing is written: as good as a disk that hangs.
  for (let n = 0; n < EFFECTS_MAX + 1000; n += 1) publish(operator.id, Uint8Array.of(0xc1));
  await new Promise((resolve) => setImmediate(resolve));
  t.ok(refused > EFFECTS_MAX - 10 && refused <= EFFECTS_MAX, `${refused} were looked at`);
});

t.test('what is news is relayed, what is known is not, and what is to blame is rejected', async (t) => {
  const judged: string[] = [];
  const { driver } = await driverOf(t, {
    clock: { ...systemClock, now: () => NOW },
    guard: {
      charge: (_peer, resource) => t.fail(`gossip is not charged as ${resource}`),
      judge: (_peer, effects) => judged.push(...effects.map(({ kind }) => kind)),
      verdict: verdictOf,
    },
  });
  const publish = await startedMesh(t, driver);
  const other = newNode(testSigner(2));
  const key = recordKey.grant(other.signer.id, operator.id);
  const grant = memberGrant(other.signer.id);
  const granted = await driver.write(operator.id, 'grant', key, grant);
  introduce(other.machine, [granted]);
  const gossip = ({ machine, signer }: TestNode, body: unknown): Uint8Array =>
    encodeGossip([write(machine, signer.id, 'intent', signer.id, body).bytes]);
  const record = gossip(other, intent);
  t.equal(publish('p', record), 'accept');
  t.equal(publish('p', record), 'ignore');
  t.equal(judged.at(-1), 'known');
  const fast = newNode(other.signer);
  introduce(fast.machine, [granted]);
  const early = write(fast.machine, other.signer.id, 'intent', other.signer.id, intent, NOW + 100_000);
  t.equal(publish('p', encodeGossip([early.bytes])), 'ignore');
  const news = write(other.machine, other.signer.id, 'intent', other.signer.id, { intent: 'drained' });
  const copy = granted.bytes.slice();
  copy[copy.length - 1]! ^= 1;
  t.equal(publish('p', encodeGossip([copy, news.bytes])), 'ignore');
  const forged = gossip(other, { intent: 'active' });
  forged[forged.length - 1]! ^= 1;
  t.equal(publish('p', forged), 'reject');
  t.equal(publish('p', Uint8Array.of(0xc1)), 'reject');
  t.same(
    judged.filter((kind) => kind === 'rejected'),
    ['rejected', 'rejected', 'rejected'],
  );
});

t.test('what the guard keeps back is taken all the same', async (t) => {
  const asked: unknown[] = [];
  const { driver, store } = await driverOf(t, {
    clock: { ...systemClock, now: () => NOW },
    guard: {
      charge: () => undefined,
      judge: () => undefined,
      verdict: (peer, bytes, effects) => {
        asked.push([peer, bytes, gossipVerdict(effects)]);
        return 'ignore';
      },
    },
  });
  const publish = await startedMesh(t, driver);
  const tag = write(newNode(operator).machine, operator.id, 'tag', 'app:1', TAG);
  const body = encodeGossip([tag.bytes]);
  t.equal(publish('p', body), 'ignore');
  t.same(asked, [['p', body.byteLength, 'accept']]);
  await new Promise((resolve) => setImmediate(resolve));
  t.ok(stored(store).includes(tag.digest));
});

t.test('a grant is taken, whatever else had waited for it and is refused', async (t) => {
  const { driver } = await driverOf(t, { clock: { ...systemClock, now: () => NOW } });
  const publish = await startedMesh(t, driver);
  const other = testSigner(2);
  const late = { author: other.id, seq: 2, kind: 'intent', key: other.id };
  const tag = await driver.write(operator.id, 'intent', other.id, intent);
  t.equal(publish('p', encodeGossip([forged(tag, late, other).bytes])), 'ignore');
  const key = recordKey.grant(other.id, operator.id);
  const body = memberGrant(other.id, { roles: ['member'] });
  const grant = write(newNode(operator).machine, operator.id, 'grant', key, body);
  t.equal(await driver.introduce([grant.bytes]), undefined);
  t.equal(await driver.introduce([forged(tag, { ...late, seq: 3 }, other).bytes]), 'not-allowed');
});

t.test('a stopped driver has written what it had, and takes no more', async (t) => {
  const { driver, store } = await driverOf(t);
  const last = driver.write(self.id, 'intent', self.id, intent);
  await driver[Symbol.asyncDispose]();
  t.ok(stored(store).includes((await last).digest));
  await t.rejects(driver.write(self.id, 'intent', self.id, intent), { code: 'E_CANCELLED' });
  const subject = testSigner(2).id;
  const key = recordKey.grant(subject, operator.id);
  const late = write(newNode(operator).machine, operator.id, 'grant', key, memberGrant(subject));
  await t.rejects(driver.introduce([late.bytes]), { code: 'E_CANCELLED' });
});

t.test('a driver that stops in trouble tries the disk once more, and no longer', async (t) => {
  for (const refuses of [false, true]) {
    const clock = handClock();
    const { driver, store } = await driverOf(t, { clock });
    const disk = refusing(store, () => new ShoalError('E_DISK_FULL', 'full'));
    await t.rejects(driver.write(self.id, 'intent', self.id, intent), { code: 'E_DISK_FULL' });
    const fact = driver.write(self.id, 'member', self.id, member(1));
    disk.refuses = refuses;
    const { tries } = disk;
    await driver[Symbol.asyncDispose]();
    await driver[Symbol.asyncDispose]();
    if (refuses) t.equal(disk.tries, tries + 1);
    t.equal(clock.timers.size, 0, 'nothing is tried after that');
    t.equal(stored(store).includes((await fact).digest), !refuses);
    const kept = driver.machine.ledger.get('intent', self.id)!;
    t.equal(stored(store).includes(kept.digest), !refuses);
  }
});

t.test(
  'writes of one turn share a signature, one that is refused fails alone, and one key has its order',
  async (t) => {
    const { driver } = await driverOf(t);
    const write = (key: string, kind = 'intent') => driver.write(self.id, kind, key, intent);
    const [one, two, refused, again] = await Promise.allSettled([
      write('a'),
      write('b'),
      write('somebody else', 'member'),
      write('a'),
    ]);
    t.equal(refused.status, 'rejected');
    t.match(refused, { reason: { code: 'E_NOT_ALLOWED' } });
    const records = [one, two, again].map((result) => (result as PromiseFulfilledResult<LedgerRecord>).value);
    t.same(
      records.map(({ seq, generation }) => [seq, generation]),
      [
        [1, 1],
        [2, 1],
        [3, 2],
      ],
    );
    const batch = await Promise.all([write('c'), write('d')]);
    const signatures = batch.map(({ bytes }) => openEnvelope(bytes, bytes.byteLength)!.signature);
    t.same(Uint8Array.from(signatures[0]!), Uint8Array.from(signatures[1]!));
  },
);

t.test(
  'a record that goes and comes back within one turn is on disk, one that comes and goes is not',
  async (t) => {
    const { driver, store } = await driverOf(t);
    const record = await driver.write(self.id, 'intent', self.id, intent);
    driver.machine.handle = () => [
      { kind: 'persist', put: [], remove: [record], streams: [] },
      { kind: 'persist', put: [record], remove: [], streams: [] },
    ];
    await driver.introduce([]);
    t.ok(stored(store).includes(record.digest));
    const other = sealRecord({ ...record, seq: record.seq + 1 }, intent, self, nodeCrypto);
    driver.machine.handle = () => [
      { kind: 'persist', put: [other], remove: [], streams: [] },
      { kind: 'persist', put: [], remove: [other], streams: [] },
    ];
    await driver.introduce([]);
    t.notOk(stored(store).includes(other.digest));
  },
);

/** A driver whose ledger and disk do as they are told: `answers` are those of the disk, one for each write. */
async function puppet(t: Test) {
  const clock = handClock();
  const { driver, store } = await driverOf(t, { clock });
  const record = await driver.write(self.id, 'intent', self.id, intent);
  const publish = await startedMesh(t, driver);
  await turn();
  const write = store.write.bind(store);
  const answers: ErrorCode[] = [];
  store.write = (batch) => {
    const code = answers.shift();
    if (code !== undefined) throw new ShoalError(code, 'refused');
    write(batch);
  };
  const live = new Set([record]);
  driver.machine.ledger.records = () => live.values();
  const change = (put: LedgerRecord[], remove: LedgerRecord[]) => {
    for (const each of put) live.add(each);
    for (const each of remove) live.delete(each);
    driver.machine.handle = () => [{ kind: 'persist', put, remove, streams: [] }];
    publish(operator.id, Uint8Array.of(1));
    driver.machine.handle = () => [];
  };
  const other = (seq: number) => sealRecord({ ...record, seq: record.seq + seq }, intent, self, nodeCrypto);
  const isAsLive = () =>
    t.same(
      new Set(stored(store)),
      new Set(Array.from(live, ({ digest }) => digest)),
      'what is live is on disk',
    );
  return { clock, driver, record, answers, change, other, isAsLive };
}

t.test('what comes and goes after a new file was begun on a disk that is full is kept so', async (t) => {
  const { clock, driver, record, answers, change, other, isAsLive } = await puppet(t);
  const next = other(1);
  answers.push('E_DATA_CORRUPT', 'E_DISK_FULL');
  change([next], [record]);
  await turn();
  t.match(driver.trouble, { code: 'E_DISK_FULL' });
  isAsLive();
  change([record], [next]);
  await turn();
  fire(clock);
  t.equal(driver.trouble, undefined);
  isAsLive();
});

t.test('a new file has what the ledger took in just now, and it is known to be there', async (t) => {
  const { clock, driver, answers, change, other, isAsLive } = await puppet(t);
  const [first, second] = [other(1), other(2)];
  answers.push('E_DISK_FULL', 'E_DATA_CORRUPT', 'E_DISK_FULL');
  change([first], []);
  await turn();
  change([second], []);
  fire(clock);
  isAsLive();
  await turn();
  change([], [second]);
  await turn();
  fire(clock);
  t.equal(driver.trouble, undefined);
  isAsLive();
});

t.test('the disk takes writes again also where a new file has all that it lacked', async (t) => {
  const { clock, driver, record, answers, change, isAsLive } = await puppet(t);
  answers.push('E_DATA_CORRUPT', 'E_DISK_FULL');
  change([], [record]);
  await turn();
  t.match(driver.trouble, { code: 'E_DISK_FULL' });
  fire(clock);
  t.equal(driver.trouble, undefined);
  isAsLive();
});
