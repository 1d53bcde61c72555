/**
 * The SQLite database of a node's state: its tables, how it is opened and checked, and its errors as ShoalErrors.
 * The one importer of node:sqlite. What the rows mean is in state-store.ts.
 *
 * Write-ahead log with synchronous=FULL: a transaction that returned survives kill -9 and power loss. The file is locked
 * while it is in use: so SQLite keeps the log's index on its heap, and no file is mapped into memory. Since another file
 * may take its place, the lock on the data directory is one of its own.
 */
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isShoalError, ShoalError } from '../../protocols/base/errors.ts';

export type Database = DatabaseSync;

/** Raised when the tables change in a way that older versions cannot read. */
export const STORE_FORMAT = 2;
/** SQLite's default; the first page of a database is known from its tables (salvage.ts), so it is fixed. */
export const PAGE_BYTES = 4096;

/** In the order of their creation, which gives them their root pages. A new one goes to the end. */
const TABLES: Readonly<Record<string, string>> = {
  meta: 'CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, sum BLOB NOT NULL) WITHOUT ROWID',
  records:
    'CREATE TABLE records (digest BLOB PRIMARY KEY, envelope BLOB NOT NULL, sum BLOB NOT NULL) WITHOUT ROWID',
  streams:
    'CREATE TABLE streams (stream TEXT PRIMARY KEY, high INTEGER NOT NULL, sum BLOB NOT NULL) WITHOUT ROWID',
  // Its numbers are never given twice while a store is open, so that who follows it misses nothing.
  history:
    'CREATE TABLE history (id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, stamp_ms INTEGER NOT NULL, entry TEXT NOT NULL, sum BLOB NOT NULL)',
};

/**
 * Opens, locks and checks a database; makes it when absent.
 * @returns its format before: 0 when it was made now. The caller rewrites one that is older than STORE_FORMAT.
 * @throws E_DATA_LOCKED, E_DATA_NEWER, E_DATA_CORRUPT, E_DATA_DENIED, E_DISK_FULL, E_DISK_FAILED
 */
export function openDatabase(file: string): { readonly database: Database; readonly format: number } {
  let database: Database | undefined;
  try {
    database = openUnchecked(file);
    const format = database.prepare('PRAGMA user_version').get()?.['user_version'] as number;
    if (format > STORE_FORMAT) {
      throw new ShoalError(
        'E_DATA_NEWER',
        `the data directory has format ${format}; this version reads ${STORE_FORMAT}`,
      );
    }
    const check = database.prepare('PRAGMA quick_check(1)').get()?.['quick_check'];
    if (check !== 'ok') throw damaged(check);
    if (format === 0 || format === STORE_FORMAT) makeTables(database);
    return { database, format };
  } catch (error) {
    database?.close();
    throw translated(error);
  }
}

/**
 * Locks an empty file that stays where it is, until what is returned is closed. The system lets go of it with the process.
 * @throws E_DATA_LOCKED, E_DATA_DENIED, E_DATA_CORRUPT
 */
export function lock(file: string): Database {
  let database: Database | undefined;
  try {
    database = new DatabaseSync(file);
    // A journal on the disk could not be begun on a full one, and nothing is written that it would undo.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database?.close();
    const known = translated(error);
    if (isShoalError(known, 'E_DATA_CORRUPT')) {
      const text = `${file} is not the empty file that it should be; it holds nothing, and may be removed while no daemon runs`;
      throw new ShoalError('E_DATA_CORRUPT', text, { cause: error });
    }
    if (!isShoalError(known, 'E_DATA_LOCKED')) throw known;
    const message = `another daemon uses the data directory ${path.dirname(file)}`;
    throw new ShoalError('E_DATA_LOCKED', message, { cause: error });
  }
}

/** Opens and locks without a look at what is in it: for whoever reads what is left. */
export function openUnchecked(file: string): Database {
  let database: Database | undefined;
  try {
    database = new DatabaseSync(file);
    database.exec(`PRAGMA page_size = ${PAGE_BYTES}; PRAGMA locking_mode = EXCLUSIVE;`);
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    // Sorting must not depend on another disk, where temporary files are: the history is some MiB.
    database.exec('PRAGMA temp_store = MEMORY;');
    // Takes the lock now, not at the first write.
    database.exec('BEGIN EXCLUSIVE; COMMIT');
    return database;
  } catch (error) {
    database?.close();
    throw translated(error);
  }
}

/** All of it, durable when it returns, or nothing. @throws as SQLite says, translated. */
export function transaction(database: Database, work: () => void): void {
  try {
    database.exec('BEGIN IMMEDIATE');
    work();
    database.exec('COMMIT');
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw translated(error);
  }
}

/**
 * Puts all that the write-ahead log holds into the file, durable there when it returns, so that the file is whole without
 * its log. Closing does that too, but keeps it to itself when the disk refuses. @throws E_DISK_FULL, E_DISK_FAILED
 */
export function foldLog(database: Database): void {
  try {
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  } catch (error) {
    throw translated(error);
  }
}

/** Writes nothing when all is there: a full disk must not keep a daemon from its start. */
function makeTables(database: Database): void {
  const there = new Map(
    database
      .prepare('SELECT name, sql FROM sqlite_master')
      .all()
      .map((row) => [row['name'], row['sql']]),
  );
  for (const [name, sql] of there) {
    // SQLite's own, such as the index of a unique column.
    if (String(name).startsWith('sqlite_')) continue;
    if (TABLES[String(name)] !== sql) throw damaged(`table ${name}: ${sql}`);
  }
  const missing = Object.entries(TABLES).filter(([name]) => !there.has(name));
  if (missing.length === 0) return;
  transaction(database, () => {
    for (const [, sql] of missing) database.exec(sql);
    database.exec(`PRAGMA user_version = ${STORE_FORMAT}`);
  });
}

function damaged(cause: unknown): ShoalError {
  return new ShoalError('E_DATA_CORRUPT', 'state.db in the data directory is damaged', { cause });
}

/** SQLite result codes, and two extended ones. Source: sqlite.org/rescode.html. */
const ERROR = 1;
const BUSY = 5;
const READ_ONLY = 8;
const IO_ERROR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANNOT_OPEN = 14;
const FORMAT = 24;
const NOT_A_DATABASE = 26;
const SHORT_READ = 522;
const CORRUPT_FILE_SYSTEM = 8458;

export function translated(error: unknown): unknown {
  const { errcode, code } = error as { errcode?: number; code?: string };
  // A number in a damaged row.
  if (code === 'ERR_OUT_OF_RANGE') return damaged(error);
  if (errcode === SHORT_READ || errcode === CORRUPT_FILE_SYSTEM) return damaged(error);
  switch (errcode === undefined ? undefined : errcode & 0xff) {
    case BUSY:
      return new ShoalError('E_DATA_LOCKED', 'another daemon uses this data directory', { cause: error });
    case FULL:
      return new ShoalError('E_DISK_FULL', 'the disk of the data directory is full; nothing was changed', {
        cause: error,
      });
    case IO_ERROR:
      return new ShoalError('E_DISK_FAILED', 'the disk of the data directory fails; nothing was changed', {
        cause: error,
      });
    // Our statements are fixed and right: what SQLite cannot make sense of are tables that are not ours any more.
    case ERROR:
    case CORRUPT:
    case FORMAT:
    case NOT_A_DATABASE:
      return damaged(error);
    case READ_ONLY:
    case CANNOT_OPEN:
      return new ShoalError('E_DATA_DENIED', 'state.db in the data directory cannot be written', {
        cause: error,
      });
    default:
      return error;
  }
}
