/** What a node says of itself while another daemon runs with its key, or only seems to. */
import t from 'tap';
import type { LedgerDriver } from '../../daemon/drivers/ledger-driver.ts';
import type { Log } from '../../daemon/log.ts';
import { OwnMember } from '../../daemon/own-member.ts';
import { type Hlc, hlcNext, hlcSeen } from '../../protocols/base/clock.ts';
import type { NodeId } from '../../protocols/base/ids.ts';
import type { MemberBody } from '../../protocols/base/records.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';

const SELF = 'self' as NodeId;
const START_MS = 1_800_000_000_000;
/** Between two looks of a daemon at itself. */
const TICK_MS = 5_000;
const MINUTE_MS = 60_000;
/** A record takes longer to the other one than to the own disk. */
const HOP_TURNS = 10;

/** Daemons with one key on virtual time: what one writes reaches those that can be reached in no time. */
class World {
  now = START_MS;
  readonly daemons: Daemon[] = [];

  start(name: string): Daemon {
    const daemon = new Daemon(this, name);
    this.daemons.push(daemon);
    // It looks at its disk and its network before it says a word.
    this.now += 1_000;
    return daemon;
  }

  async pass(ms: number, look: () => void = () => {}): Promise<void> {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += TICK_MS;
      for (const daemon of this.daemons) if (daemon.runs) daemon.member.tick();
      await settled();
      look();
    }
  }
}

class Daemon {
  runs = true;
  connected = true;
  /** Its disk is full. */
  refuses = false;
  readonly written: LedgerRecord[] = [];
  readonly warnings: string[] = [];
  readonly member: OwnMember;
  readonly #world: World;
  #clock: Hlc = { ms: 0, n: 0 };

  constructor(world: World, name: string) {
    this.#world = world;
    const ledger = {
      write: async (_self: NodeId, kind: string, _key: string, body: unknown) => this.#write(kind, body),
      isOwn: (record: LedgerRecord) => this.written.includes(record),
      machine: { ledger: { get: () => undefined } },
    };
    this.member = new OwnMember({
      self: SELF,
      started_ms: world.now,
      epoch: 1,
      ledger: ledger as unknown as LedgerDriver,
      clock: { now: () => world.now, random: () => 0.5, after: () => () => {} },
      log: ((level, message) => {
        if (level === 'warn') this.warnings.push(message);
      }) as Log,
      facts: () => facts(name),
    });
  }

  /** Members say that it runs besides them. */
  get isCopied(): boolean {
    return this.member.copy !== null;
  }

  /** What it says last of the other one. */
  get told(): readonly string[] | undefined {
    return (this.written.at(-1)?.body as MemberBody | undefined)?.copy;
  }

  /** A record that it did not write, and that bears its key. */
  hear(record: LedgerRecord): void {
    this.#clock = hlcSeen(this.#clock, record.hlc, this.#world.now);
    this.member.changed([record]);
  }

  #write(kind: string, body: unknown): LedgerRecord {
    if (this.refuses) throw new Error('no space left');
    this.#clock = hlcNext(this.#clock, this.#world.now);
    const record = { author: SELF, kind, key: SELF, body, hlc: this.#clock } as unknown as LedgerRecord;
    this.written.push(record);
    const { daemons } = this.#world;
    for (const other of daemons)
      if (other !== this && other.runs && other.connected && this.connected)
        void turns(HOP_TURNS).then(() => other.hear(record));
    return record;
  }
}

function facts(name: string): Omit<MemberBody, 'incarnation' | 'copy'> {
  return {
    name: 'host',
    addresses: [`/memory/${name}`],
    doors: [],
    host: '10.0.0.1',
    labels: {},
    capacity: { cpu_millis: 1000, memory_bytes: 2 ** 30 },
    subnet: null,
    driver: 'memory',
    version: '0.1.0',
  };
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await Promise.resolve();
}

async function settled(): Promise<void> {
  await turns(10 * HOP_TURNS);
}

/** Two daemons with one key, of which the second began a while after the first. */
async function twins(): Promise<{ world: World; one: Daemon; two: Daemon }> {
  const world = new World();
  const one = world.start('one');
  await one.member.announce(true);
  await world.pass(MINUTE_MS);
  const two = world.start('two');
  await two.member.announce(true);
  await settled();
  return { world, one, two };
}

t.test('two that run are told of by both, for as long as both run', async (t) => {
  const { world, one, two } = await twins();
  t.same([one.told, two.told], [['/memory/two'], ['/memory/one']]);
  const before = one.written.length + two.written.length;
  await world.pass(60 * MINUTE_MS, () => {
    if (!one.isCopied || !two.isCopied) t.fail(`not told of any more after ${world.now - START_MS} ms`);
  });
  const written = one.written.length + two.written.length - before;
  t.ok(written <= 2 * 60, `${written} records in an hour are no flood`);
  t.same([one.warnings.length, two.warnings.length], [1, 1]);

  two.runs = false;
  await world.pass(12 * MINUTE_MS);
  t.notOk(one.isCopied);
  t.equal(one.told, undefined, 'and the others know');
});

t.test(
  'a life of its own that it does not remember is soon known to be over, whatever was before',
  async (t) => {
    const { world, one, two } = await twins();
    await world.pass(MINUTE_MS);
    two.runs = false;
    await world.pass(12 * MINUTE_MS);
    t.notOk(one.isCopied);
    for (const time of ['first', 'second']) {
      // As after a machine came back with the memory that it had before: it wrote what it knows nothing of.
      const forgotten = world.start('one');
      forgotten.connected = false;
      await world.pass(MINUTE_MS);
      await forgotten.member.announce(true);
      forgotten.runs = false;
      forgotten.member.tell();
      for (const record of forgotten.written) {
        one.hear(record);
        await settled();
      }
      t.ok(one.isCopied, 'it may be a copy that runs');
      // A clock that is put right may go back.
      world.now -= 10 * MINUTE_MS;
      await world.pass(2 * MINUTE_MS);
      t.notOk(one.isCopied, `nobody answered the ${time} time`);
      t.equal(one.told, undefined, 'and the others know');
      await world.pass(20 * MINUTE_MS);
    }
  },
);

t.test('what is refuted before the first record is refuted by that record', async (t) => {
  const world = new World();
  const { member, written } = world.start('one');
  member.tell(7);
  t.same(written, [], 'the first record is still to come');
  await member.announce(true);
  t.same(
    written.map(({ body }) => (body as MemberBody).incarnation),
    [7],
  );
});

t.test('a copy that could not be reached is told of when it can', async (t) => {
  const { world, one, two } = await twins();
  await world.pass(MINUTE_MS);
  two.connected = false;
  await world.pass(30 * MINUTE_MS);
  t.same([one.isCopied, two.isCopied], [false, false]);
  two.connected = true;
  one.member.tell();
  await settled();
  t.same([one.isCopied, two.isCopied], [true, true]);
  await world.pass(30 * MINUTE_MS, () => {
    if (!one.isCopied || !two.isCopied) t.fail(`not told of any more after ${world.now - START_MS} ms`);
  });
});

t.test('one that was started anew hears of the other, and goes on telling of it', async (t) => {
  const { world, one, two } = await twins();
  for (const rest_ms of [0, 7_000, 100_000, 299_000]) {
    await world.pass(10 * MINUTE_MS);
    one.runs = false;
    world.now += rest_ms;
    const again = world.start('one');
    await again.member.announce(true);
    await world.pass(6 * MINUTE_MS);
    t.ok(again.isCopied);
    await world.pass(30 * MINUTE_MS, () => {
      if (!again.isCopied || !two.isCopied) t.fail(`not told of any more after ${world.now - START_MS} ms`);
    });
    again.runs = false;
    world.daemons.splice(world.daemons.indexOf(again), 1);
  }
});

t.test('a clock that is set back keeps no notice alive, and lets none end', async (t) => {
  const { world, one, two } = await twins();
  world.now -= 60 * MINUTE_MS;
  await world.pass(30 * MINUTE_MS, () => {
    if (!one.isCopied || !two.isCopied) t.fail(`not told of any more after ${world.now - START_MS} ms`);
  });
  world.now -= 60 * MINUTE_MS;
  two.runs = false;
  await world.pass(12 * MINUTE_MS);
  t.notOk(one.isCopied);
  t.equal(one.told, undefined, 'and the others know');
});

t.test('a copy that could not be told, for the disk was full, is not taken for gone', async (t) => {
  const world = new World();
  const one = world.start('one');
  await one.member.announce(true);
  one.refuses = true;
  const two = world.start('two');
  await two.member.announce(true);
  await settled();
  await world.pass(9 * MINUTE_MS, () => {
    if (!one.isCopied) t.fail(`not told of any more after ${world.now - START_MS} ms`);
  });
  t.notOk(two.isCopied, 'which knows of nothing');
  one.refuses = false;
  await world.pass(MINUTE_MS);
  t.same([one.told, two.told], [['/memory/two'], ['/memory/one']]);

  two.runs = false;
  one.refuses = true;
  await world.pass(12 * MINUTE_MS);
  t.notOk(one.isCopied, 'it is gone, also while nothing can be written');
});
