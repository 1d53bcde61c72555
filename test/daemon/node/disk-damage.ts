/** A state.db of a stopped node, damaged as a failing disk would, row by row. */
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { type LedgerRecord, openRecord } from '../../../protocols/ledger/record.ts';

/** Flips a bit of each record that `which` chooses. @returns how many. */
export function damage(data: string, which: (record: LedgerRecord) => boolean): number {
  const database = new DatabaseSync(path.join(data, 'state.db'));
  let count = 0;
  for (const { digest, envelope } of database.prepare('SELECT digest, envelope FROM records').all()) {
    const bytes = Uint8Array.from(envelope as Uint8Array);
    if (!which(openRecord(bytes, nodeCrypto))) continue;
    bytes[bytes.length - 70]! ^= 1;
    database.prepare('UPDATE records SET envelope = ? WHERE digest = ?').run(bytes, digest as Uint8Array);
    count += 1;
  }
  database.close();
  return count;
}

/** Makes a value one that was never written. */
export function damageValue(data: string, name: string): void {
  change(data, "UPDATE meta SET value = 'x' || substr(value, 2) WHERE name = ?", name);
}

/** Takes a value away, as if it had never been written. */
export function dropValue(data: string, name: string): void {
  change(data, 'DELETE FROM meta WHERE name = ?', name);
}

function change(data: string, statement: string, name: string): void {
  const database = new DatabaseSync(path.join(data, 'state.db'));
  database.prepare(statement).run(name);
  database.close();
}
