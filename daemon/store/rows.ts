/**
 * The rows of a database as the store's values, each checked by a sum that it bears. (The digest of a record says
 * nothing of its signature.) What fails its check is counted and never returned. Not here: which file, and what is done about damage.
 */
import type { Crypto } from '../../protocols/base/crypto.ts';
import { isShoalError } from '../../protocols/base/errors.ts';
import { fromHex } from '../../protocols/base/ids.ts';
import { type LedgerRecord, openRecord, type StreamId } from '../../protocols/ledger/record.ts';
import { type Database, translated } from './database.ts';

/** All that a store holds. */
export interface Contents {
  readonly records: LedgerRecord[];
  readonly streams: [StreamId, number][];
  readonly values: [string, string][];
  /** The greatest number of a line of the history: those that are yet to come get greater ones. */
  lastLine: number;
  /** Rows that failed their check. */
  bad: number;
  /** Parts of tables that could not be read at all. */
  unread: number;
}

type Row = Record<string, unknown>;
type Range = { readonly where: string; readonly bounds: readonly Uint8Array[] };

const SUM_BYTES = 8;
const WHOLE: Range = { where: '', bounds: [] };
/** Digests are spread evenly: a page that cannot be read takes its part with it, and no other. */
const BY_FIRST_BYTE: readonly Range[] = Array.from({ length: 256 }, (_, first) =>
  first < 255
    ? {
        where: 'WHERE digest >= ? AND digest < ?',
        bounds: [Uint8Array.of(first), Uint8Array.of(first + 1)],
      }
    : { where: 'WHERE digest >= ?', bounds: [Uint8Array.of(first)] },
);

/** @throws E_DATA_CORRUPT when a page cannot be read. */
export function readAll(database: Database, crypto: Crypto): Contents {
  const contents: Contents = { records: [], streams: [], values: [], lastLine: 0, bad: 0, unread: 0 };
  const read = (sql: string, take: (row: Row) => boolean) => {
    try {
      for (const row of database.prepare(sql).iterate()) if (!take(row)) contents.bad += 1;
    } catch (error) {
      throw translated(error);
    }
  };
  read('SELECT * FROM records', (row) => takeRecord(contents, row, crypto));
  read('SELECT * FROM meta', (row) => takeValue(contents, row, crypto));
  read('SELECT * FROM streams', (row) => takeStream(contents, row, crypto));
  read('SELECT max(id) AS last FROM history', ({ last }) => {
    contents.lastLine = (last as number | null) ?? 0;
    return true;
  });
  return contents;
}

/**
 * As much as can be read: around pages that cannot. Of format 1, whose rows have no sums, they are taken as they are
 * only when `isTrusted`. Never throws for damage.
 */
export function readLeft(database: Database, crypto: Crypto, isTrusted: boolean): Contents {
  const contents: Contents = { records: [], streams: [], values: [], lastLine: 0, bad: 0, unread: 0 };
  const seen = new Set<string>();
  const trusted = (row: Row): Row => (isTrusted && row['sum'] === undefined ? withSum(row, crypto) : row);
  const read = (table: string, key: string, parts: readonly Range[], take: (row: Row) => boolean) => {
    const once = (row: Row) => {
      const value = row[key];
      const name = `${table}/${value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value)}`;
      if (seen.has(name)) return;
      seen.add(name);
      if (!take(row)) contents.bad += 1;
    };
    const isRead = ({ where, bounds }: Range) => {
      const select = `SELECT * FROM ${table} ${where} ORDER BY ${key}`;
      if (readInto(database, select, bounds, once)) return true;
      // What lies behind the page that stopped us, from its other end.
      readInto(database, `${select} DESC`, bounds, once);
      return false;
    };
    // The search for the beginning of a part compares rows whole: one that cannot be read may bar the way to all parts.
    if (isRead(WHOLE)) return;
    if (parts.length === 0) contents.unread += 1;
    for (const part of parts) if (!isRead(part)) contents.unread += 1;
  };
  read('records', 'digest', BY_FIRST_BYTE, (row) => takeRecord(contents, trusted(row), crypto));
  read('meta', 'name', [], (row) => takeValue(contents, trusted(row), crypto));
  read('streams', 'stream', [], (row) => takeStream(contents, trusted(row), crypto));
  return contents;
}

/** What a row of names and values is checked by. */
export function sumOf(name: string, value: string | number, crypto: Crypto): Uint8Array {
  return envelopeSum(new TextEncoder().encode(`${name}\0${value}`), crypto);
}

/** What the row of a record is checked by, besides its digest. */
export function envelopeSum(envelope: Uint8Array, crypto: Crypto): Uint8Array {
  return crypto.sha256(envelope).subarray(0, SUM_BYTES);
}

/** Puts all of it into an empty database, within the caller's transaction. */
export function insertAll(database: Database, contents: Contents, crypto: Crypto): void {
  const record = database.prepare('INSERT OR REPLACE INTO records (digest, envelope, sum) VALUES (?, ?, ?)');
  const value = database.prepare('INSERT OR REPLACE INTO meta (name, value, sum) VALUES (?, ?, ?)');
  const stream = database.prepare('INSERT OR REPLACE INTO streams (stream, high, sum) VALUES (?, ?, ?)');
  for (const { digest, bytes } of contents.records)
    record.run(fromHex(digest), bytes, envelopeSum(bytes, crypto));
  for (const [name, text] of contents.values) value.run(name, text, sumOf(name, text, crypto));
  for (const [name, high] of contents.streams) stream.run(name, high, sumOf(name, high, crypto));
  // SQLite's own table for AUTOINCREMENT (autoinc.html).
  database.prepare("INSERT INTO sqlite_sequence (name, seq) VALUES ('history', ?)").run(contents.lastLine);
}

/** @returns false when a page stopped it. */
function readInto(
  database: Database,
  sql: string,
  bounds: readonly Uint8Array[],
  take: (row: Row) => void,
): boolean {
  try {
    for (const row of database.prepare(sql).iterate(...bounds)) take(row);
    return true;
  } catch (error) {
    if (isShoalError(translated(error), 'E_DATA_CORRUPT')) return false;
    throw translated(error);
  }
}

function withSum(row: Row, crypto: Crypto): Row {
  const { envelope } = row;
  if (envelope instanceof Uint8Array) return { ...row, sum: envelopeSum(envelope, crypto) };
  const name = String(row['name'] ?? row['stream']);
  return { ...row, sum: sumOf(name, (row['value'] ?? row['high']) as string | number, crypto) };
}

function takeRecord(contents: Contents, row: Row, crypto: Crypto): boolean {
  const { digest, envelope, sum } = row;
  if (!(digest instanceof Uint8Array) || !(envelope instanceof Uint8Array)) return false;
  if (!isSum(sum, envelopeSum(envelope, crypto))) return false;
  try {
    const record = openRecord(new Uint8Array(envelope), crypto);
    if (record.digest !== Buffer.from(digest).toString('hex')) return false;
    contents.records.push(record);
    return true;
  } catch (error) {
    if (isShoalError(error)) return false;
    throw error;
  }
}

function takeValue(contents: Contents, { name, value, sum }: Row, crypto: Crypto): boolean {
  if (typeof name !== 'string' || typeof value !== 'string' || !isSum(sum, sumOf(name, value, crypto)))
    return false;
  contents.values.push([name, value]);
  return true;
}

function takeStream(contents: Contents, { stream, high, sum }: Row, crypto: Crypto): boolean {
  if (typeof stream !== 'string' || typeof high !== 'number' || !isSum(sum, sumOf(stream, high, crypto)))
    return false;
  contents.streams.push([stream as StreamId, high]);
  return true;
}

export function isSum(given: unknown, expected: Uint8Array): boolean {
  return given instanceof Uint8Array && Buffer.compare(given, expected) === 0;
}
