/**
 * Opens a store of which the disk does not give back some place, once for each place, and says what is left of it.
 * Prints JSON. Env: those of disk-fault.c.
 */
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { DataDirectory } from '../../../daemon/store/data-directory.ts';
import { StateStore } from '../../../daemon/store/state-store.ts';
import { LOG_BYTES_MAX } from '../../../daemon/store/write-ahead-log.ts';
import { recordOf } from './records.ts';

const PAGE_BYTES = 4096;
const root = process.env['SHOAL_DISK_ROOT']!;
const fault = process.env['SHOAL_DISK_FAULT']!;
const model = path.join(root, 'model.db');
const place = path.join(root, 'trial');
const file = path.join(place, 'state.db');
const written = Array.from({ length: 120 }, (_, n) => recordOf(n + 1, `k${n}`, n % 3 === 0 ? 9000 : 200));

const store = new StateStore(model, nodeCrypto);
store.write({ put: written.slice(0, 100), remove: [], streams: [], values: [['name', 'one']] });
store.close();
const again = new StateStore(model, nodeCrypto);
for (const record of written.slice(100)) again.write({ put: [record], remove: [], streams: [] });
for (const end of ['', '-wal']) copyFileSync(model + end, path.join(root, `killed.db${end}`));
again.close();

/** One byte is enough for a whole read to fail. @param end of the file's name; a log is as kill -9 leaves it. */
function lay(from: number, to: number, end: '' | '-wal', log_bytes?: number) {
  rmSync(fault, { force: true });
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place);
  writeFileSync(path.join(place, 'node.key'), `${'ab'.repeat(32)}\n`);
  if (end === '') copyFileSync(model, file);
  else for (const part of ['', end]) copyFileSync(path.join(root, `killed.db${part}`), file + part);
  if (log_bytes !== undefined) truncateSync(`${file}-wal`, log_bytes);
  writeFileSync(fault, `${constants.errno.EIO} r ${from} ${to} ${statSync(file + end).ino}`);
}

function trial(from: number, to: number, end: '' | '-wal') {
  lay(from, to, end);
  return opened(from);
}

/** The first start has no room for another file, and the next one has. */
function brokenOff(from: number, log_bytes?: number) {
  lay(from, from + 1, '-wal', log_bytes);
  const { prepare } = DatabaseSync.prototype;
  DatabaseSync.prototype.prepare = function (this: DatabaseSync, sql: string) {
    if (sql.startsWith('INSERT')) throw Object.assign(new Error('database or disk is full'), { errcode: 13 });
    return prepare.call(this, sql);
  };
  const first = opened(from);
  DatabaseSync.prototype.prepare = prepare;
  return { ...opened(from), first: first.error };
}

/** The first start can keep no note of what is lost. */
function unnoted(from: number) {
  lay(from, from + 1, '-wal');
  const { size } = statSync(`${file}-wal`);
  // Nothing but a file is taken away there.
  mkdirSync(`${file}.lost.new`);
  const first = opened(from);
  const isLogWhole = statSync(`${file}-wal`, { throwIfNoEntry: false })?.size === size;
  rmdirSync(`${file}.lost.new`);
  return { ...opened(from), first: first.error, isLogWhole };
}

function opened(from: number) {
  try {
    const directory = new DataDirectory(place, nodeCrypto);
    const kept = directory.store.load().records.length;
    const { damage, isIncomplete } = directory.store;
    directory[Symbol.dispose]();
    return { from, kept, isTold: damage !== null && isIncomplete };
  } catch (error) {
    return { from, kept: 0, isTold: false, error: String((error as Error).stack) };
  }
}

const bytes = readFileSync(model);
const pages = [];
for (let at = 0; at < bytes.byteLength; at += PAGE_BYTES)
  // All other pages that are in use begin with their kind (SQLite file format, section 1.6).
  pages.push({ isOverflow: bytes[at] === 0, ...trial(at, at + PAGE_BYTES, '') });
const { size } = statSync(path.join(root, 'killed.db-wal'));
const log = [0, Math.floor(size / 2), size - 1].map((at) => trial(at, at + 1, '-wal'));
const middle = Math.floor(size / 2);
const broken = {
  cut: brokenOff(middle),
  // One that is not looked at is taken away as a whole.
  large: brokenOff(middle, LOG_BYTES_MAX + 1),
  unnoted: unnoted(middle),
};
rmSync(fault);
process.stdout.write(JSON.stringify({ first: 100, all: written.length, pages, log, broken }));
