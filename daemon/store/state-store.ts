/**
 * The durable state of a node: the ledger's records, what it has seen change and a few values, in SQLite. The one importer of node:sqlite.
 *
 * Write-ahead log with synchronous=FULL: a transaction that returned survives kill -9 and power loss. The exclusive
 * lock on the file is also the lock on the data directory. Each record is checked against its digest when it is read.
 */
import { DatabaseSync } from 'node:sqlite';
import type { Crypto } from '../../protocols/base/crypto.ts';
import { isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import { fromHex } from '../../protocols/base/ids.ts';
import { type LedgerRecord, openRecord, type StreamId } from '../../protocols/ledger/record.ts';
import { HISTORY_ENTRIES_MAX, type HistoryEntry } from '../history/history-entry.ts';

/** Raised when the tables change in a way that older versions cannot read. */
export const STORE_FORMAT = 1;

export interface StoreBatch {
  readonly put: readonly LedgerRecord[];
  readonly remove: readonly LedgerRecord[];
  readonly streams: Iterable<readonly [StreamId, number]>;
  readonly values?: Iterable<readonly [string, string]>;
  /** One record is told once, however often it is put. */
  readonly history?: readonly HistoryEntry[];
}

/** Which lines of the history, and in which order: the latest stamp first, or as they were taken in. */
export type HistoryQuery =
  | { readonly latestFirst: true; readonly since_ms: number }
  | { readonly latestFirst: false; readonly after: number };

/** A line with its number, which grows as lines are taken in. */
export interface StoredHistory {
  readonly number: number;
  readonly entry: HistoryEntry;
}

export class StateStore {
  readonly #database: DatabaseSync;
  readonly #crypto: Crypto;

  /** @throws E_DATA_LOCKED, E_DATA_NEWER, E_DATA_CORRUPT, E_DATA_DENIED, E_DISK_FULL */
  constructor(file: string, crypto: Crypto) {
    this.#crypto = crypto;
    this.#database = opened(file);
  }

  /** @throws E_DATA_CORRUPT; so does `load`. */
  value(name: string): string | undefined {
    try {
      const row = this.#database.prepare('SELECT value FROM meta WHERE name = ?').get(name);
      return row?.['value'] as string | undefined;
    } catch (error) {
      throw translated(error);
    }
  }

  /**
   * All records and stream heights. A record that fails its checksum is left out and named in `damaged`. Which stream
   * it was of cannot be told, so no heights are given then: peers send again what is missing. `forget` it, or it is
   * found damaged at every start.
   */
  load(): { records: LedgerRecord[]; streams: [StreamId, number][]; damaged: string[] } {
    const records: LedgerRecord[] = [];
    const damaged: string[] = [];
    try {
      for (const row of this.#database.prepare('SELECT digest, envelope FROM records').iterate()) {
        const expected = Buffer.from(row['digest'] as Uint8Array).toString('hex');
        const record = this.#read(row['envelope'] as Uint8Array);
        if (record?.digest === expected) records.push(record);
        else damaged.push(expected);
      }
      const rows = damaged.length > 0 ? [] : this.#database.prepare('SELECT stream, high FROM streams').all();
      const streams = rows.map((row) => [row['stream'], row['high']] as [StreamId, number]);
      return { records, streams, damaged };
    } catch (error) {
      throw translated(error);
    }
  }

  /** Takes damaged records away, and with them all stream heights. @param values kept in the same transaction. */
  forget(damaged: readonly string[], values: Iterable<readonly [string, string]>): void {
    this.#transaction(() => {
      const remove = this.#database.prepare('DELETE FROM records WHERE digest = ?');
      for (const digest of damaged) remove.run(fromHex(digest));
      this.#database.exec('DELETE FROM streams');
      this.#putValues(values);
    });
  }

  /** One transaction, durable when it returns. @throws E_DISK_FULL; nothing of it is kept then. */
  write(batch: StoreBatch): void {
    this.#transaction(() => {
      const put = this.#database.prepare('INSERT OR REPLACE INTO records (digest, envelope) VALUES (?, ?)');
      const remove = this.#database.prepare('DELETE FROM records WHERE digest = ?');
      const stream = this.#database.prepare('INSERT OR REPLACE INTO streams (stream, high) VALUES (?, ?)');
      for (const record of batch.put) put.run(fromHex(record.digest), record.bytes);
      for (const record of batch.remove) remove.run(fromHex(record.digest));
      for (const [id, high] of batch.streams) stream.run(id, high);
      this.#putValues(batch.values ?? []);
      this.#putHistory(batch.history ?? []);
    });
  }

  /** Lines are read as they are asked for: stop when there are enough. */
  *history(query: HistoryQuery): IterableIterator<StoredHistory> {
    try {
      const rows = query.latestFirst
        ? this.#database
            .prepare('SELECT id, entry FROM history WHERE stamp_ms >= ? ORDER BY stamp_ms DESC, id DESC')
            .iterate(query.since_ms)
        : this.#database
            .prepare('SELECT id, entry FROM history WHERE id > ? ORDER BY id')
            .iterate(query.after);
      for (const row of rows)
        yield { number: row['id'] as number, entry: JSON.parse(row['entry'] as string) as HistoryEntry };
    } catch (error) {
      throw translated(error);
    }
  }

  /** The number of the last line; 0 when there is none. */
  historyEnd(): number {
    const row = this.#database.prepare('SELECT max(id) AS last FROM history').get();
    return (row?.['last'] as number | null) ?? 0;
  }

  /** Forgets everything: for a change into a cluster that failed halfway. */
  clear(): void {
    this.#transaction(() =>
      this.#database.exec('DELETE FROM meta; DELETE FROM records; DELETE FROM streams; DELETE FROM history'),
    );
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #transaction(work: () => void): void {
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      work();
      this.#database.exec('COMMIT');
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw translated(error);
    }
  }

  #putValues(values: Iterable<readonly [string, string]>): void {
    const put = this.#database.prepare('INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)');
    for (const [name, text] of values) put.run(name, text);
  }

  #putHistory(entries: readonly HistoryEntry[]): void {
    if (entries.length === 0) return;
    const put = this.#database.prepare(
      'INSERT OR IGNORE INTO history (digest, stamp_ms, entry) VALUES (?, ?, ?)',
    );
    for (const entry of entries) put.run(fromHex(entry.digest), entry.stamp.ms, JSON.stringify(entry));
    this.#database
      .prepare('DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?')
      .run(HISTORY_ENTRIES_MAX);
  }

  #read(envelope: Uint8Array): LedgerRecord | undefined {
    try {
      return openRecord(new Uint8Array(envelope), this.#crypto);
    } catch (error) {
      if (isShoalError(error)) return undefined;
      throw error;
    }
  }
}

function opened(file: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    // Takes the lock now, not at the first write.
    database.exec('BEGIN EXCLUSIVE; COMMIT');
    const format = database.prepare('PRAGMA user_version').get()?.['user_version'] as number;
    if (format > STORE_FORMAT) {
      throw new ShoalError(
        'E_DATA_NEWER',
        `the data directory has format ${format}; this version reads ${STORE_FORMAT}`,
      );
    }
    database.exec(`
      CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS records (digest BLOB PRIMARY KEY, envelope BLOB NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS streams (stream TEXT PRIMARY KEY, high INTEGER NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS history (
        id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, stamp_ms INTEGER NOT NULL, entry TEXT NOT NULL);
      PRAGMA user_version = ${STORE_FORMAT};`);
    return database;
  } catch (error) {
    database?.close();
    throw translated(error);
  }
}

/** SQLite result codes. Source: sqlite.org/rescode.html. */
const BUSY = 5;
const READ_ONLY = 8;
const CORRUPT = 11;
const FULL = 13;
const CANNOT_OPEN = 14;
const NOT_A_DATABASE = 26;

function translated(error: unknown): unknown {
  const code = (error as { errcode?: number }).errcode;
  switch (code === undefined ? undefined : code & 0xff) {
    case BUSY:
      return new ShoalError('E_DATA_LOCKED', 'another daemon uses this data directory', { cause: error });
    case FULL:
      return new ShoalError('E_DISK_FULL', 'the disk of the data directory is full; nothing was changed', {
        cause: error,
      });
    case CORRUPT:
    case NOT_A_DATABASE:
      return new ShoalError('E_DATA_CORRUPT', 'state.db in the data directory is damaged', { cause: error });
    case READ_ONLY:
    case CANNOT_OPEN:
      return new ShoalError('E_DATA_DENIED', 'state.db in the data directory cannot be written', {
        cause: error,
      });
    default:
      return error;
  }
}
