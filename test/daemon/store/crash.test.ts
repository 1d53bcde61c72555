/**
 * The store on a disk that fails at any boundary: the production code runs on a journalled disk, and each state that
 * kill -9 or a power cut may leave is opened by the production code. What was acknowledged is there, what was not is
 * there whole or not at all, nothing else is read, and no crash is taken for damage.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t, { type Test } from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { DataDirectory } from '../../../daemon/store/data-directory.ts';
import { CrashDisk, cutOffStates, type DiskState } from './crash-states.ts';
import {
  batchOf,
  DAMAGED_WRITE,
  digestsAfter,
  SCENARIOS,
  type Scenario,
  type ScenarioName,
} from './crash-writes.ts';
import { buildJournal, type DiskOp, runJournalled } from './disk-journal.ts';
import { memoryDirectory } from './memory-directory.ts';
import { Random } from './random.ts';

const SEED = Number(process.env['SHOAL_SEED'] ?? 1);
/** Drawn at each boundary of a power cut; every one there is when they are fewer. */
const STATES_MAX = Number(process.env['SHOAL_STATES'] ?? 24);
const CHILD = path.join(import.meta.dirname, 'crash-process.ts');
const CLEARING = path.join(import.meta.dirname, 'clearing-process.ts');

t.setTimeout(600_000);

/** What had been told when the crash came. */
interface Told {
  seed: string | undefined;
  begun: number;
  done: number;
}

interface Count {
  boundaries: number;
  states: number;
  opened: number;
  doubts_max: number;
}

const directory = await memoryDirectory(t);
const built = buildJournal(directory);
const skip = 'missing' in built ? built.missing : false;

/** Runs a scenario and tries what crashes leave of it. @returns what was wrong, each with the place that shows it again. */
function tryCrashes(
  name: ScenarioName,
  { states_max, every, isSyncHonest }: { states_max: number; every: number; isSyncHonest: boolean },
): { faults: string[]; count: Count; ops: DiskOp[] } {
  const place = path.join(directory, name);
  const root = path.join(place, 'disk');
  rmSync(place, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  const before = SCENARIOS[name].isDamaged ? makeDamaged(path.join(root, 'data'), SCENARIOS[name]) : [];
  const contents = before.map((file) => (statSync(file).isFile() ? readFileSync(file) : null));
  const inodes = before.map((file) => statSync(file).ino);
  const ops = runJournalled('library' in built ? built.library : '', place, root, [CHILD, name]);
  const disk = new CrashDisk();
  disk.add(root, statSync(root).ino, null);
  before.forEach((file, at) => {
    disk.add(file, inodes[at]!, contents[at]!);
  });
  const random = new Random(SEED);
  const told: Told = { seed: undefined, begun: 0, done: 0 };
  const count: Count = { boundaries: 0, states: 0, opened: 0, doubts_max: 0 };
  const seen = new Set<string>();
  const faults: string[] = [];
  ops.forEach((op, number) => {
    if (op.op === 'M') takeMark(told, op.data.toString());
    else if (isSyncHonest || op.op !== 'S') disk.apply(op);
    if (op.op === 'M' || random.below(every) !== 0) return;
    count.boundaries += 1;
    count.doubts_max = Math.max(count.doubts_max, disk.doubts);
    const tryOne = (kind: string, state: DiskState) => {
      count.states += 1;
      const mark = fingerprint(state, told);
      if (seen.has(mark)) return;
      seen.add(mark);
      count.opened += 1;
      const fault = faultOf(path.join(place, 'trial'), root, state, told, name);
      if (fault !== undefined)
        faults.push(`${kind} after operation ${number} of SHOAL_SEED=${SEED}: ${fault}`);
    };
    tryOne('kill -9', disk.killed());
    for (const state of cutOffStates(disk, random, states_max)) tryOne('a power cut', state);
  });
  return { faults, count, ops };
}

/** A data directory with a key, some writes, and one record that has gone bad. @returns all paths in it. */
function makeDamaged(place: string, scenario: Scenario): string[] {
  const data = new DataDirectory(place, nodeCrypto);
  for (let n = 1; n < scenario.first; n += 1) data.store.write(batchOf(n, scenario));
  data[Symbol.dispose]();
  const raw = new DatabaseSync(path.join(place, 'state.db'));
  const bad = batchOf(DAMAGED_WRITE, scenario).put[0]!;
  raw
    .prepare('UPDATE records SET envelope = ? WHERE digest = ?')
    .run(Buffer.from('bad'), Buffer.from(bad.digest, 'hex'));
  raw.close();
  return [place, ...readdirSync(place).map((name) => path.join(place, name))];
}

function takeMark(told: Told, text: string): void {
  const [what, value] = text.split(' ');
  if (what === 'seed') told.seed = value;
  if (what === 'begin') told.begun = Number(value);
  if (what === 'done') told.done = Number(value);
}

function fingerprint(state: DiskState, told: Told): string {
  const hash = createHash('sha1').update(JSON.stringify(told));
  for (const [file, content] of state) hash.update(`${file}\0${content?.byteLength}\0`).update(content ?? '');
  return hash.digest('base64');
}

/** Makes the directory `trial` what a crash has left of `root`. */
function layOut(trial: string, root: string, state: DiskState): void {
  rmSync(trial, { recursive: true, force: true });
  mkdirSync(trial);
  for (const [file, content] of state) {
    const at = path.join(trial, path.relative(root, file));
    if (content === null) mkdirSync(at, { recursive: true });
    else writeFileSync(at, content);
  }
}

/** What is wrong with what a start finds there, if anything. */
function faultOf(
  trial: string,
  root: string,
  state: DiskState,
  told: Told,
  name: ScenarioName,
): string | undefined {
  layOut(trial, root, state);
  let data: DataDirectory;
  try {
    data = new DataDirectory(path.join(trial, 'data'), nodeCrypto);
  } catch (error) {
    return `it does not open: ${String(error)}`;
  }
  try {
    const seed = Buffer.from(data.seed).toString('hex');
    if (told.seed !== undefined && seed !== told.seed) return 'the node has another key';
    const scenario: Scenario = SCENARIOS[name];
    if (data.store.damage !== null && !scenario.isDamaged)
      return `a crash is taken for damage: ${JSON.stringify(data.store.damage)}`;
    const { records, streams } = data.store.load();
    const written = Number(data.store.value('written') ?? 0);
    if (written < told.done)
      return `write ${told.done} was acknowledged, and ${written} is the last one there`;
    if (written > Math.max(told.begun, scenario.isDamaged ? scenario.first - 1 : 0))
      return `write ${written} is there, and was not begun`;
    const height = streams.find(([stream]) => stream === 'x/0')?.[1] ?? 0;
    if (height !== written && !(scenario.isDamaged && height === 0))
      return `height ${height} and value ${written} are of one write`;
    const expected = digestsAfter(written, scenario);
    if (records.length !== expected.size || records.some(({ digest }) => !expected.has(digest)))
      return `${records.length} records are there, and ${expected.size} should be after write ${written}`;
    return undefined;
  } finally {
    data[Symbol.dispose]();
  }
}

function show(
  t: Test,
  name: string,
  { boundaries, states, opened, doubts_max }: Count,
  ops: readonly DiskOp[],
) {
  t.comment(
    `${name}: ${ops.length} operations, ${boundaries} boundaries, ${states} states, ${opened} different ones opened, ` +
      `at most ${doubts_max} changes in doubt`,
  );
}

t.test(
  `small writes, a start from nothing and a new file: every boundary, seed ${SEED}`,
  { skip },
  async (t) => {
    const { faults, count, ops } = tryCrashes('small', {
      states_max: STATES_MAX,
      every: 1,
      isSyncHonest: true,
    });
    show(t, 'small', count, ops);
    t.same(faults.slice(0, 5), [], `${faults.length} faults`);
    t.ok(ops.filter(({ op }) => op === 'S').length > 40, 'it was the real thing');
    t.notOk(
      ops.some(({ path: file }) => file.endsWith('-shm')),
      'no index of the log that is shared memory: what SQLite writes is what the journal has seen',
    );
    t.ok(count.opened > 500);
  },
);

t.test(`large writes that fold the log in and begin it anew, seed ${SEED}`, { skip }, async (t) => {
  const { faults, count, ops } = tryCrashes('large', { states_max: 4, every: 48, isSyncHonest: true });
  show(t, 'large', count, ops);
  t.same(faults.slice(0, 5), [], `${faults.length} faults`);
  const log = ops.filter(({ op, path: file, at }) => op === 'W' && file.endsWith('-wal') && at === 0);
  t.ok(log.length > 1, 'the log was begun anew');
});

t.test(`a start that cuts damage out: every boundary, seed ${SEED}`, { skip }, async (t) => {
  const { faults, count, ops } = tryCrashes('mended', {
    states_max: STATES_MAX,
    every: 1,
    isSyncHonest: true,
  });
  show(t, 'mended', count, ops);
  t.same(faults.slice(0, 5), [], `${faults.length} faults`);
  t.ok(
    ops.some(({ op, other }) => op === 'R' && other.endsWith('state.db')),
    'a new file took its place',
  );
});

t.test('a cluster that was forgotten stays so, also where its name is kept twice', { skip }, async (t) => {
  const place = path.join(directory, 'clearing');
  const [root, trial] = [path.join(place, 'disk'), path.join(place, 'trial')];
  mkdirSync(root, { recursive: true });
  const ops = runJournalled('library' in built ? built.library : '', place, root, [CLEARING]);
  const disk = new CrashDisk();
  disk.add(root, statSync(root).ino, null);
  const random = new Random(SEED);
  let [isCleared, opened] = [false, 0];
  const back: number[] = [];
  ops.forEach((op, number) => {
    disk.apply(op);
    isCleared ||= op.op === 'M';
    if (!isCleared) return;
    for (const state of cutOffStates(disk, random, STATES_MAX)) {
      layOut(trial, root, state);
      using data = new DataDirectory(path.join(trial, 'data'), nodeCrypto);
      if (data.store.value('genesis') !== undefined) back.push(number);
      opened += 1;
    }
  });
  t.same(back, [], 'after operations of these numbers it was back');
  t.ok(opened > 0);
});

t.test(
  'a disk that lies about what is synced loses acknowledged writes, and it is seen here',
  { skip },
  async (t) => {
    const { faults, count, ops } = tryCrashes('small', { states_max: 4, every: 5, isSyncHonest: false });
    show(t, 'a lying disk', count, ops);
    t.ok(
      faults.some((fault) => fault.includes('was acknowledged')),
      `${faults.length} faults`,
    );
  },
);
