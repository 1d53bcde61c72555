/**
 * The durable state of a node: the ledger's records, what it has seen change and a few values. Each row is checked
 * when it is read: what is not what was written is never returned. A damaged database is replaced at its opening by
 * one with all that is left (the history begins anew), and that is told (`damage`). How it is on disk is in
 * database.ts, rows.ts, salvage.ts and spare.ts.
 */
import { existsSync } from 'node:fs';
import type { Crypto } from '../../protocols/base/crypto.ts';
import { isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import { fromHex } from '../../protocols/base/ids.ts';
import type { LedgerRecord, StreamId } from '../../protocols/ledger/record.ts';
import { HISTORY_ENTRIES_MAX, type HistoryEntry } from '../history/history-entry.ts';
import { HistoryShares } from '../history/history-shares.ts';
import {
  type Database,
  foldLog,
  lock,
  openDatabase,
  STORE_FORMAT,
  transaction,
  translated,
} from './database.ts';
import { type Contents, envelopeSum, isSum, readAll, sumOf } from './rows.ts';
import {
  type Damage,
  finishReplacing,
  forgetLoss,
  HISTORY_LOST,
  INCOMPLETE,
  isReplacing,
  lossValues,
  notedLoss,
  noteLoss,
  prepareReplacing,
  rewrite,
  salvage,
} from './salvage.ts';
import { isSpared, Spare, type Values } from './spare.ts';
import { lostTransactions } from './write-ahead-log.ts';

export interface StoreBatch {
  readonly put: readonly LedgerRecord[];
  readonly remove: readonly LedgerRecord[];
  readonly streams: Iterable<readonly [StreamId, number]>;
  readonly values?: Iterable<readonly [string, string]>;
  /** One record is told once, however often it is put. */
  readonly history?: readonly HistoryEntry[];
}

/**
 * Which lines of the history, and in which order: the latest first, of those that are not older than a time by their
 * stamps or by when they were taken in; or as they were taken in.
 */
export type HistoryQuery =
  | { readonly latestFirst: true; readonly since_ms: number }
  | { readonly latestFirst: false; readonly after: number };

/** When a line was taken in; of one that cannot be read nobody knows. */
const APPLIED_SQL = "iif(json_valid(entry), CAST(entry ->> '$.applied_ms' AS INTEGER), 0)";
/**
 * By its stamp alone a line could be put where nobody looks, and by when it was taken in alone those that came with one
 * another would be in no order: what is late by more than a minute stands where it came, by stamps within that minute.
 */
const MINUTE_MS = 60_000;

/** A line with its number, which grows as lines are taken in. */
export interface StoredHistory {
  readonly number: number;
  readonly entry: HistoryEntry;
}

export class StateStore {
  /** What its opening found damaged; null: nothing. */
  readonly damage: Damage | null;
  /** Nothing was there before. */
  readonly isNew: boolean;
  readonly #file: string;
  readonly #crypto: Crypto;
  readonly #lock: Database;
  readonly #spare: Spare;
  #database: Database;
  /** Of the history as it is on the disk; undefined until a line is put, and after a write that failed. */
  #shares: HistoryShares | undefined;
  /** All values and heights, as they are on the disk: there are few, and a replacement of the file takes them from here. */
  readonly #values: Map<string, string>;
  readonly #streams: Map<StreamId, number>;
  /** Records are missing, and the disk refused to keep that. */
  #isMarkDue = false;
  /** Values that the disk has lost and did not take again yet. */
  #due: Values = [];
  /** A replacement of the file has begun and was broken off. */
  #isReplacing = false;
  /** Numbers of lines that are not what was written; the next write takes them away. */
  readonly #damagedLines = new Set<number>();
  /** The greatest number that a line of the history had since the opening: those of a new file go on from it. */
  #lastLine: number;
  /** What the opening read, until somebody asks for it. */
  #contents: Contents | undefined;

  /**
   * @param isOurs a file that cannot be read is a damaged one of this node, and not something else that bears its name.
   * @throws E_DATA_LOCKED, E_DATA_NEWER, E_DATA_DENIED, E_DISK_FULL, E_DISK_FAILED, E_DATA_CORRUPT when it is not ours
   */
  constructor(file: string, crypto: Crypto, isOurs = true) {
    this.#file = file;
    this.#crypto = crypto;
    this.#spare = new Spare(`${file}.spare`, crypto);
    // Before anything is touched: what was left half done may be what another daemon is about to do.
    this.#lock = lock(`${file}.lock`);
    try {
      finishReplacing(file);
      const { opened, damage } = openOrSalvage(file, crypto, isOurs);
      this.damage = damage;
      this.isNew = opened.isNew;
      this.#database = opened.database;
      this.#contents = opened.contents;
      this.#values = new Map(opened.contents.values);
      this.#streams = new Map(opened.contents.streams);
      this.#lastLine = opened.contents.lastLine;
    } catch (error) {
      this.#lock.close();
      throw error;
    }
    if (this.damage !== null && this.damage.writes_lost > 0) this.#markIncomplete();
    try {
      this.#restore();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Records may be missing that this disk once held, and no start since has seen them whole. */
  get isIncomplete(): boolean {
    return this.#isMarkDue || this.value(INCOMPLETE) !== undefined;
  }

  /** Lines of the history that this disk held before it were lost; null: none was. */
  get historyLost_ms(): number | null {
    const text = this.#values.get(HISTORY_LOST);
    return text === undefined ? null : Number(text);
  }

  /** What was missing has come from peers. */
  setComplete(): void {
    this.#settleMark();
    this.remove([INCOMPLETE]);
  }

  /** @throws E_DATA_CORRUPT; so does `load`. */
  value(name: string): string | undefined {
    const due = this.#due.find(([each]) => each === name);
    if (due !== undefined) return due[1];
    try {
      const row = this.#database.prepare('SELECT value, sum FROM meta WHERE name = ?').get(name);
      if (row === undefined) return undefined;
      const { value, sum } = row as { value: string; sum: Uint8Array };
      if (Buffer.compare(sum, sumOf(name, value, this.#crypto)) === 0) return value;
    } catch (error) {
      throw translated(error);
    }
    throw new ShoalError('E_DATA_CORRUPT', `the value ${name} in state.db is damaged`);
  }

  /** Names of all values that begin so. */
  names(prefix: string): string[] {
    try {
      const rows = this.#database.prepare('SELECT name FROM meta WHERE name >= ? ORDER BY name').all(prefix);
      return rows.map((row) => String(row['name'])).filter((name) => name.startsWith(prefix));
    } catch (error) {
      throw translated(error);
    }
  }

  /** All records and stream heights. */
  load(): { records: LedgerRecord[]; streams: [StreamId, number][] } {
    const contents = this.#contents ?? readAll(this.#database, this.#crypto);
    this.#contents = undefined;
    if (contents.bad > 0) throw new ShoalError('E_DATA_CORRUPT', 'rows of state.db are damaged');
    const { records, streams } = contents;
    return { records, streams };
  }

  /** One transaction, durable when it returns. @throws E_DISK_FULL, E_DISK_FAILED, E_DATA_DENIED; nothing of it is kept then. */
  write(batch: StoreBatch): void {
    this.#contents = undefined;
    const shares = this.#shares;
    const streams = [...batch.streams];
    const values = [...this.#due, ...(batch.values ?? []), ...this.#dueMark()];
    // What a write that fails did to them is not on the disk.
    this.#shares = undefined;
    this.#change(() => {
      const put = this.#database.prepare(
        'INSERT OR REPLACE INTO records (digest, envelope, sum) VALUES (?, ?, ?)',
      );
      const remove = this.#database.prepare('DELETE FROM records WHERE digest = ?');
      const stream = this.#database.prepare(
        'INSERT OR REPLACE INTO streams (stream, high, sum) VALUES (?, ?, ?)',
      );
      const value = this.#database.prepare('INSERT OR REPLACE INTO meta (name, value, sum) VALUES (?, ?, ?)');
      for (const { digest, bytes } of batch.put)
        put.run(fromHex(digest), bytes, envelopeSum(bytes, this.#crypto));
      for (const record of batch.remove) remove.run(fromHex(record.digest));
      for (const [id, high] of streams) stream.run(id, high, sumOf(id, high, this.#crypto));
      for (const [name, text] of values) value.run(name, text, sumOf(name, text, this.#crypto));
      this.#putHistory(batch.history ?? [], shares);
    });
    for (const [id, high] of streams) this.#streams.set(id, high);
    for (const [name, text] of values) this.#values.set(name, text);
    this.#due = [];
    this.#damagedLines.clear();
    this.#settleMark();
    if (values.some(([name]) => isSpared(name))) this.#spare.keep(this.#values);
  }

  /** Takes values away. */
  remove(names: readonly string[]): void {
    this.#change(() => {
      const remove = this.#database.prepare('DELETE FROM meta WHERE name = ?');
      for (const name of names) remove.run(name);
    });
    for (const name of names) this.#values.delete(name);
  }

  /** Lines are read as they are asked for: stop when there are enough. One that is damaged is left out, and counts as lost. */
  *history(query: HistoryQuery): IterableIterator<StoredHistory> {
    try {
      const rows = query.latestFirst
        ? this.#database
            .prepare(
              `SELECT id, digest, entry, sum FROM (SELECT *, ${APPLIED_SQL} AS applied_ms FROM history)
               WHERE max(stamp_ms, applied_ms) >= ?
               ORDER BY max(stamp_ms, applied_ms / ${MINUTE_MS} * ${MINUTE_MS}) DESC, stamp_ms DESC, id DESC`,
            )
            .iterate(query.since_ms)
        : this.#database.prepare('SELECT * FROM history WHERE id > ? ORDER BY id').iterate(query.after);
      for (const { id, digest, entry, sum } of rows) {
        const name = Buffer.from(digest as Uint8Array).toString('hex');
        if (isSum(sum, sumOf(name, entry as string, this.#crypto)))
          yield { number: id as number, entry: JSON.parse(entry as string) as HistoryEntry };
        else this.#loseLine(id as number);
      }
    } catch (error) {
      throw translated(error);
    }
  }

  #loseLine(number: number): void {
    if (this.#damagedLines.has(number)) return;
    this.#damagedLines.add(number);
    this.#noteLostLines();
  }

  #noteLostLines(): void {
    const value = [HISTORY_LOST, String(Date.now())] as const;
    this.#values.set(...value);
    this.#due = [...this.#due.filter(([name]) => name !== HISTORY_LOST), value];
  }

  /** The number of the last line; 0 when there is none. */
  historyEnd(): number {
    const row = this.#database.prepare('SELECT max(id) AS last FROM history').get();
    return (row?.['last'] as number | null) ?? 0;
  }

  /** Forgets everything: for a change into a cluster that failed halfway. @throws as `write` */
  clear(): void {
    this.#spare.clear();
    this.#contents = undefined;
    this.#shares = undefined;
    this.#change(() =>
      this.#database.exec('DELETE FROM meta; DELETE FROM records; DELETE FROM streams; DELETE FROM history'),
    );
    this.#values.clear();
    this.#due = [];
    this.#damagedLines.clear();
    this.#streams.clear();
    this.#settleMark();
  }

  /**
   * Begins a new file with these records, after a write found the old one damaged. What the records are is known to
   * whoever holds them, and the rest here; the history begins anew, and its numbers go on. Where the disk breaks it off
   * it has to be called again: until then nothing is written, for the next start may find the new file in the place of
   * the old one.
   * @returns where the old file is.
   */
  replace(records: readonly LedgerRecord[]): string {
    this.#contents = undefined;
    this.#shares = undefined;
    this.#noteLostLines();
    const contents = {
      records: [...records],
      streams: [...this.#streams],
      values: [...new Map([...this.#values, ...this.#due, ...this.#dueMark()])],
      lastLine: this.#lastLine,
      bad: 0,
      unread: 0,
    };
    try {
      prepareReplacing(this.#file, contents, this.#crypto);
    } finally {
      if (isReplacing(this.#file)) this.#isReplacing = true;
    }
    const aside = finishReplacing(this.#file)!;
    // Before the new file is opened: the end of the old one takes the log's name away.
    this.#closeFile();
    this.#database = openWhole(this.#file, this.#crypto).database;
    this.#isReplacing = false;
    for (const [name, text] of [...this.#due, ...this.#dueMark()]) this.#values.set(name, text);
    this.#due = [];
    this.#settleMark();
    return aside;
  }

  #change(work: () => void): void {
    if (this.#isReplacing) throw new ShoalError('E_DATA_CORRUPT', 'state.db is about to be replaced');
    transaction(this.#database, work);
  }

  #dueMark(): [string, string][] {
    return this.#isMarkDue ? lossValues('since a damaged log') : [];
  }

  #markIncomplete(): void {
    this.#isMarkDue = true;
    try {
      this.#keepValues([]);
    } catch (error) {
      // A disk that refuses keeps no daemon from its start; the next write that it takes keeps the mark.
      if (!isShoalError(error)) throw error;
    }
  }

  /** What the opening read can still be asked for then. */
  #keepValues(values: Values): void {
    const contents = this.#contents;
    try {
      this.write({ put: [], remove: [], streams: [], values });
    } finally {
      this.#contents = contents;
    }
  }

  /**
   * Puts back what the file has lost of the values that are kept twice, or has of an earlier time: an epoch that was given
   * is not given again. @throws as `write`, where this node would come up in no cluster
   */
  #restore(): void {
    const genesis = this.value('genesis');
    const spare = new Map(this.#spare.read());
    const isOurs = spare.has('genesis') && (genesis ?? spare.get('genesis')) === spare.get('genesis');
    if (!isOurs) return;
    const isLater = ([name, value]: Values[number]) =>
      name.startsWith('epoch/') && Number(value) > Number(this.#values.get(name) ?? -1);
    // The copy is written after the database: an epoch that this one does not know was lost with all that came after.
    const hasLost = genesis === undefined || this.damage !== null || [...spare].some(isLater);
    this.#due = [...spare].filter(([name, value]) => {
      const have = this.#values.get(name);
      if (name.startsWith('epoch/')) return isLater([name, value]);
      return hasLost && (have === undefined || (name === 'contacts' && have === '[]' && value !== '[]'));
    });
    if (this.#due.length === 0) return;
    if (hasLost) this.#isMarkDue ||= !this.isIncomplete;
    try {
      this.#keepValues([]);
    } catch (error) {
      // Until the disk takes them they are known here.
      if (genesis === undefined || !isShoalError(error)) throw error;
    }
  }

  /** The mark is kept, or needed no more: what SQLite cannot read of the log goes, or another start would find it again. */
  #settleMark(): void {
    if (!this.#isMarkDue) return;
    this.#isMarkDue = false;
    try {
      forgetLoss(this.#file);
      foldLog(this.#database);
    } catch {
      // The disk refuses: then the loss may be told once more.
    }
  }

  close(): void {
    this.#closeFile();
    if (this.#lock.isOpen) this.#lock.close();
  }

  #closeFile(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #putHistory(entries: readonly HistoryEntry[], known: HistoryShares | undefined): void {
    let shares = this.#damagedLines.size === 0 ? known : undefined;
    const put = this.#database.prepare(
      'INSERT OR IGNORE INTO history (digest, stamp_ms, entry, sum) VALUES (?, ?, ?, ?)',
    );
    const drop = this.#database.prepare('DELETE FROM history WHERE id = ?');
    for (const number of this.#damagedLines) drop.run(number);
    for (const entry of entries) {
      shares ??= this.#readShares();
      const text = JSON.stringify(entry);
      const { changes, lastInsertRowid } = put.run(
        fromHex(entry.digest),
        entry.stamp.ms,
        text,
        sumOf(entry.digest, text, this.#crypto),
      );
      if (changes === 0) continue;
      this.#lastLine = Number(lastInsertRowid);
      for (const number of shares.add(entry.author, this.#lastLine)) drop.run(number);
    }
    this.#shares = shares;
  }

  /** Lines that cannot be read are one author's. */
  #readShares(): HistoryShares {
    const shares = new HistoryShares(HISTORY_ENTRIES_MAX);
    const rows = this.#database
      .prepare(
        "SELECT id, iif(json_valid(entry), entry ->> '$.author', '') AS author FROM history ORDER BY id",
      )
      .iterate();
    for (const { id, author } of rows) shares.add(String(author), id as number);
    return shares;
  }
}

function openOrSalvage(
  file: string,
  crypto: Crypto,
  isOurs: boolean,
): { readonly opened: ReturnType<typeof openWhole>; readonly damage: Damage | null } {
  // Of a file that somebody took away since it says nothing of the next one.
  if (!existsSync(file)) forgetLoss(file);
  const writes_lost = Math.max(lostTransactions(`${file}-wal`), notedLoss(file));
  if (writes_lost > 0 && isOurs) {
    try {
      noteLoss(file);
    } catch {
      // A disk that refuses keeps no daemon from its start, while nothing has to be cut.
    }
  }
  try {
    const opened = openWhole(file, crypto);
    if (writes_lost === 0) return { opened, damage: null };
    const records_kept = opened.contents.records.length;
    return { opened, damage: { aside: null, records_kept, rows_lost: 0, parts_lost: 0, writes_lost } };
  } catch (error) {
    if (!isShoalError(error, 'E_DATA_CORRUPT') || !isOurs) throw error;
    const damage = salvage(file, crypto, writes_lost);
    return { opened: openWhole(file, crypto), damage };
  }
}

/** Opens a database and reads all of it, rewritten first when its format is older. @throws E_DATA_CORRUPT */
function openWhole(
  file: string,
  crypto: Crypto,
): { readonly database: Database; readonly isNew: boolean; readonly contents: Contents } {
  const { database, format } = openDatabase(file);
  if (format > 0 && format < STORE_FORMAT) {
    rewrite(file, database, crypto);
    return openWhole(file, crypto);
  }
  try {
    const contents = readAll(database, crypto);
    if (contents.bad > 0)
      throw new ShoalError('E_DATA_CORRUPT', `${contents.bad} rows of state.db are damaged`);
    return { database, isNew: format === 0, contents };
  } catch (error) {
    database.close();
    throw error;
  }
}
