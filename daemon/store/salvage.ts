/**
 * A database that is damaged, or of an older format, becomes a whole one of this format with every row that is still
 * true. The old file is kept aside, one of them, named by when it was last written. A crash at any point leaves either
 * the old state or the new one. Not here: which rows are true (rows.ts), and fetching what is missing.
 */
import {
  closeSync,
  existsSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import type { Crypto } from '../../protocols/base/crypto.ts';
import { isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import { type Database, foldLog, openDatabase, openUnchecked, PAGE_BYTES, transaction } from './database.ts';
import { createDurably, removeDurably, syncDirectory } from './durable-file.ts';
import { type Contents, insertAll, readLeft } from './rows.ts';
import { cutUnreadable, UNKNOWN_LOST } from './write-ahead-log.ts';

/** Of the file that is kept aside, for whoever wants to look at it; more is cut off. */
export const ASIDE_BYTES_MAX = 256 << 20;

/** Name of the value that is set while records may be missing that this disk once held. */
export const INCOMPLETE = 'incomplete';
/** Name of the value that says until when, in milliseconds, lines of the history were lost. */
export const HISTORY_LOST = 'history-lost';

/** What a start found damaged, and what became of it. */
export interface Damage {
  /** Where the damaged file is now; null when only the end of the log was damaged, and is gone. */
  readonly aside: string | null;
  readonly records_kept: number;
  /** Rows that were read and were not what was written. */
  readonly rows_lost: number;
  /** Parts of tables that could not be read: how many rows were there is not known. */
  readonly parts_lost: number;
  /** Transactions of the log that come after a place that could not be read. */
  readonly writes_lost: number;
}

/** What is kept of a loss for the starts that come. The clock may be wrong; it is for people. */
export function lossValues(since: string): [string, string][] {
  return [
    [INCOMPLETE, since],
    [HISTORY_LOST, String(Date.now())],
  ];
}

/**
 * Notes durably that some of the log is lost, before the log is changed: a start that is broken off after that leaves a
 * file that is whole, and no log that tells of it. @throws as the file system does, when that could not be kept.
 */
export function noteLoss(file: string): void {
  if (notedLoss(file) === 0) createDurably(lost(file), '');
}

/** How many transactions are lost by the note of a start that was broken off; 0 when there is none. */
export function notedLoss(file: string): number {
  return existsSync(lost(file)) ? UNKNOWN_LOST : 0;
}

/** The database itself tells of the loss now, or what was lost has come. */
export function forgetLoss(file: string): void {
  if (notedLoss(file) > 0) removeDurably(lost(file));
}

/**
 * Rewrites a database that `openDatabase` refused as damaged. @param writes_lost of its log.
 * @throws E_DISK_FULL; the damaged file is as it was then, or a note tells what was cut off its log.
 */
export function salvage(file: string, crypto: Crypto, writes_lost: number): Damage {
  if (writes_lost > 0) noteLoss(file);
  const left = whatIsLeft(file, crypto);
  const { records, values, bad, unread } = left;
  // Heights are left out: those of rows that are lost would be missing, and a number may not be given twice.
  values.push(...lossValues('since a salvage'));
  const aside = replaceWith(file, { ...left, streams: [] }, crypto);
  return {
    aside,
    records_kept: records.length,
    rows_lost: bad,
    parts_lost: unread,
    writes_lost: Math.max(writes_lost, notedLoss(file)),
  };
}

/** Brings a whole database of an older format to this one. @param database open; it is closed. */
export function rewrite(file: string, database: Database, crypto: Crypto): void {
  const contents = readLeft(database, crypto, true);
  database.close();
  replaceWith(file, contents, crypto);
}

/** Puts this in the place of what a database holds. @returns where the old file is. */
function replaceWith(file: string, contents: Contents, crypto: Crypto): string {
  prepareReplacing(file, contents, crypto);
  return finishReplacing(file)!;
}

/** All of a replacement but the end. Once it returns the new contents count, and nothing may be written to the old file. */
export function prepareReplacing(file: string, contents: Contents, crypto: Crypto): void {
  const draft = `${file}.new`;
  clearDraft(draft);
  try {
    const { database } = openDatabase(draft);
    try {
      transaction(database, () => insertAll(database, contents, crypto));
      // It takes its place without its log.
      foldLog(database);
    } finally {
      database.close();
    }
  } catch (error) {
    clearDraft(draft);
    throw error;
  }
  // From here on it counts: a start that finds it carries on.
  renameSync(draft, whole(file));
  syncDirectory(path.dirname(file));
}

/** Has a replacement begun that counts, and not ended? */
export function isReplacing(file: string): boolean {
  return existsSync(whole(file));
}

/** Carries on where a crash broke a replacement off. @returns where the old file is, if there was anything to do. */
export function finishReplacing(file: string): string | undefined {
  if (!isReplacing(file)) return undefined;
  const aside = `${file}.before-${writtenAt(file)}`;
  const directory = path.dirname(file);
  if (existsSync(file) && !existsSync(aside)) linkSync(file, aside);
  syncDirectory(directory);
  // Not before the new one is there.
  for (const name of readdirSync(directory)) {
    const other = path.join(directory, name);
    if (name.startsWith(`${path.basename(file)}.before-`) && other !== aside) rmSync(other);
  }
  // A log that stays behind would be taken for the new file's.
  for (const end of ['-wal', '-journal']) rmSync(file + end, { force: true });
  syncDirectory(directory);
  renameSync(whole(file), file);
  syncDirectory(directory);
  if (existsSync(aside) && statSync(aside).size > ASIDE_BYTES_MAX) truncateSync(aside, ASIDE_BYTES_MAX);
  return aside;
}

function clearDraft(draft: string): void {
  for (const end of ['', '-wal', '-journal']) rmSync(draft + end, { force: true });
}

function whole(file: string): string {
  return `${file}.whole`;
}

function lost(file: string): string {
  return `${file}.lost`;
}

function writtenAt(file: string): string {
  const at = existsSync(file) ? statSync(file).mtime : new Date(0);
  return at.toISOString().replaceAll(':', '-');
}

/** The most of: the file as it is, with what can be read of its log, with a new first page, and that without the log. */
function whatIsLeft(file: string, crypto: Crypto): Contents {
  const tries: (() => void)[] = [
    () => {},
    () => cutUnreadable(`${file}-wal`),
    () => mendFirstPage(file),
    () => dropLog(file),
  ];
  let best: Contents = { records: [], streams: [], values: [], lastLine: 0, bad: 0, unread: 1 };
  for (const prepare of tries) {
    prepare();
    try {
      const database = openUnchecked(file);
      try {
        const left = readLeft(database, crypto, false);
        if (sizeOf(left) > sizeOf(best)) best = left;
      } finally {
        database.close();
      }
    } catch (error) {
      if (!isShoalError(error, 'E_DATA_CORRUPT')) throw error;
    }
    if (sizeOf(best) > 0) break;
  }
  return best;
}

function dropLog(file: string): void {
  const log = `${file}-wal`;
  if (!existsSync(log)) return;
  noteLoss(file);
  rmSync(log);
}

function sizeOf({ records, values }: Contents): number {
  return records.length + values.length;
}

/**
 * The first page says where the tables begin, and without it nothing is read. But it follows from the tables: that of
 * an empty database is put in its place. In the file itself: a copy may not fit the disk.
 */
function mendFirstPage(file: string): void {
  const model = `${file}.new`;
  clearDraft(model);
  let page: Buffer;
  try {
    const { database } = openDatabase(model);
    try {
      foldLog(database);
    } finally {
      database.close();
    }
    page = readFileSync(model).subarray(0, PAGE_BYTES);
  } finally {
    clearDraft(model);
  }
  // The count of pages is that of the file when this number and the change counter differ (SQLite file format 1.3.7).
  page.writeUInt32BE(page.readUInt32BE(24) + 1, 24);
  let handle: number | undefined;
  try {
    handle = openSync(file, 'r+');
    writeSync(handle, page, 0, PAGE_BYTES, 0);
  } catch (error) {
    throw new ShoalError('E_DATA_DENIED', `state.db cannot be read: ${String(error)}`, { cause: error });
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}
