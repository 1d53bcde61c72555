/**
 * Damage of any kind to the files of a store, hundreds of seeds: whatever it finds, it opens with true values only or
 * says why it does not. It never reads what was not written, and never ends in anything but a ShoalError.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { StateStore } from '../../../daemon/store/state-store.ts';
import { isShoalError } from '../../../protocols/base/errors.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { memoryDirectory } from './memory-directory.ts';
import { Random } from './random.ts';
import { recordOf } from './records.ts';

const SEED = Number(process.env['SHOAL_SEED'] ?? 1);
const ROUNDS = Number(process.env['SHOAL_ROUNDS'] ?? 400);

t.setTimeout(300_000);

const WRITES = 150;
/** The last of them that is in the database; the rest is in the log alone. */
const FOLDED = 109;

interface Model {
  /** All records that ever were written, by digest. */
  readonly truth: Map<string, LedgerRecord>;
  readonly values: ReadonlyMap<string, ReadonlySet<string>>;
  /** What is live after so many writes, digests in order. */
  readonly states: readonly string[];
}

/** A store with a past: rows that came and went, pages that are free, a log that is not folded in. */
function makeModel(directory: string): Model {
  const place = path.join(directory, 'making');
  mkdirSync(place);
  const file = path.join(place, 'state.db');
  const truth = new Map<string, LedgerRecord>();
  const values = new Map<string, Set<string>>();
  const live = new Set<string>();
  const states = [''];
  let store = new StateStore(file, nodeCrypto);
  let last: LedgerRecord | undefined;
  for (let seq = 1; seq <= WRITES; seq += 1) {
    if (seq === FOLDED + 1) {
      store.close();
      store = new StateStore(file, nodeCrypto);
    }
    const record = recordOf(seq, `k${seq}`, seq % 7 === 0 ? 9000 : 150);
    truth.set(record.digest, record);
    const value = `value ${seq}`;
    const name = `name-${seq % 10}`;
    values.set(name, (values.get(name) ?? new Set()).add(value));
    const remove = seq % 3 === 0 && last !== undefined ? [last] : [];
    store.write({ put: [record], remove, streams: [['x/0', seq]], values: [[name, value]] });
    live.add(record.digest);
    for (const { digest } of remove) live.delete(digest);
    states.push(stateOf(live));
    last = record;
  }
  // As kill -9 leaves it: the log is there.
  for (const end of ['', '-wal']) copyFileSync(file + end, path.join(directory, `model.db${end}`));
  store.close();
  return { truth, values, states };
}

function stateOf(digests: Iterable<string>): string {
  return [...digests].sort().join();
}

const KINDS = ['flip', 'zero', 'garbage', 'truncate', 'page', 'swap', 'empty', 'grow'] as const;

function damaged(bytes: Buffer, kind: (typeof KINDS)[number], random: Random): Buffer {
  const at = random.below(Math.max(1, bytes.byteLength));
  const length = 1 + random.below(600);
  const page = Math.floor(at / 4096) * 4096;
  switch (kind) {
    case 'flip': {
      for (let n = 1 + random.below(8); n > 0; n -= 1) {
        const where = random.below(bytes.byteLength);
        bytes[where] = bytes[where]! ^ (1 << random.below(8));
      }
      return bytes;
    }
    case 'zero':
      return bytes.fill(0, at, Math.min(at + length, bytes.byteLength));
    case 'garbage':
      for (let n = 0; n < length && at + n < bytes.byteLength; n += 1) bytes[at + n] = random.below(256);
      return bytes;
    case 'truncate':
      return bytes.subarray(0, at);
    case 'page':
      return bytes.fill(random.below(256), page, Math.min(page + 4096, bytes.byteLength));
    case 'swap': {
      const other = Math.floor(random.below(bytes.byteLength) / 4096) * 4096;
      const kept = Buffer.from(bytes.subarray(page, page + 4096));
      bytes.copyWithin(page, other, other + 4096);
      kept.copy(bytes, other);
      return bytes;
    }
    case 'empty':
      return Buffer.alloc(0);
    case 'grow':
      return Buffer.concat([bytes, Buffer.alloc(length, random.below(256))]);
  }
}

t.test(`${ROUNDS} kinds of damage, seed ${SEED}: only true values are read, or it is told`, async (t) => {
  const directory = await memoryDirectory(t);
  const model = makeModel(directory);
  const random = new Random(SEED);
  const outcomes: Record<string, number> = {};
  const kept: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const place = path.join(directory, 'trial');
    rmSync(place, { recursive: true, force: true });
    mkdirSync(place);
    const file = path.join(place, 'state.db');
    for (const end of ['', '-wal']) copyFileSync(path.join(directory, `model.db${end}`), file + end);
    const what: string[] = [];
    for (let n = 1 + random.below(3); n > 0; n -= 1) {
      const target = file + ['', '-wal'][random.below(2)];
      // The first page is one of hundreds, and all depends on it.
      const kind = KINDS[random.below(KINDS.length)]!;
      const bytes = readFileSync(target);
      const isHead = random.below(4) === 0 && bytes.byteLength > 4096;
      const head = isHead ? damaged(bytes.subarray(0, 100), kind, random) : bytes;
      const after = isHead ? Buffer.concat([head, bytes.subarray(100)]) : damaged(bytes, kind, random);
      writeFileSync(target, after);
      what.push(`${kind} ${path.basename(target)}${isHead ? ' (head)' : ''}`);
    }
    const outcome = look(file, model, leastAfter(what));
    outcomes[outcome.name] = (outcomes[outcome.name] ?? 0) + 1;
    kept.push(outcome.records);
    if (outcome.fault !== undefined)
      t.fail(`round ${round} of SHOAL_SEED=${SEED} (${what.join(', ')}): ${outcome.fault}`);
  }
  t.comment(`outcomes: ${JSON.stringify(outcomes)}`);
  t.comment(`records kept: ${kept.reduce((sum, n) => sum + n, 0)} of ${ROUNDS * 150} at most`);
  const { salvaged = 0, opened = 0 } = outcomes;
  t.ok(salvaged > ROUNDS / 10, 'much of it was found and mended');
  t.ok(salvaged + opened > 0.95 * ROUNDS, 'and hardly any kept a start from its work');
});

/** How many writes must be there where no damage is told. */
function leastAfter(damage: readonly string[]): number {
  // As a new store is.
  if (damage.some((each) => each.startsWith('empty state.db') && !each.includes('-wal'))) return 0;
  // As a crash leaves it, or the log is no log any more.
  if (damage.some((each) => /^(truncate|empty|grow) state\.db-wal/.test(each))) return FOLDED;
  // The last write may be one that a crash has cut.
  return WRITES - 1;
}

/** What a start makes of these files; a second start must then find nothing to mend. */
function look(file: string, { truth, values, states }: Model, least: number) {
  let records = 0;
  let isSalvaged = false;
  for (const start of ['first', 'second']) {
    let store: StateStore;
    try {
      store = new StateStore(file, nodeCrypto);
    } catch (error) {
      const name = isShoalError(error) ? error.code : 'not told';
      const isExpected = start === 'first' && ['E_DATA_NEWER', 'E_DATA_DENIED'].includes(name);
      return { name, records, fault: isExpected ? undefined : `${start} start: ${String(error)}` };
    }
    try {
      const loaded = store.load();
      records = loaded.records.length;
      for (const record of loaded.records) {
        const known = truth.get(record.digest);
        if (known === undefined || Buffer.compare(known.bytes, record.bytes) !== 0)
          return { name: 'false', records, fault: `a record that was never written: ${record.key}` };
      }
      for (const name of store.names('name-')) {
        if (values.get(name)?.has(store.value(name)!) !== true)
          return { name: 'false', records, fault: `a value that was never written: ${name}` };
      }
      for (const [stream, high] of loaded.streams) {
        if (stream !== 'x/0' || high < 1 || high > WRITES)
          return { name: 'false', records, fault: `a height that was never written: ${stream} ${high}` };
      }
      if (start === 'first') {
        isSalvaged = store.damage !== null;
        const state = stateOf(loaded.records.map(({ digest }) => digest));
        if (!isSalvaged && !states.slice(least).includes(state))
          return {
            name: 'untold',
            records,
            fault: `not told: it is as after write ${states.lastIndexOf(state)}`,
          };
        store.write({ put: [recordOf(9999, 'after')], remove: [], streams: [] });
        truth.set(recordOf(9999, 'after').digest, recordOf(9999, 'after'));
      } else if (store.damage !== null) {
        return { name: 'twice', records, fault: 'damaged again at the next start' };
      } else if (!loaded.records.some(({ key }) => key === 'after')) {
        return { name: 'lost', records, fault: 'what was written after it is lost' };
      }
    } catch (error) {
      return { name: 'thrown', records, fault: String(error) };
    } finally {
      store.close();
    }
  }
  if (existsSync(`${file}.whole`) || existsSync(`${file}.new`))
    return { name: 'left', records, fault: 'a draft is left' };
  return { name: isSalvaged ? 'salvaged' : 'opened', records, fault: undefined };
}
