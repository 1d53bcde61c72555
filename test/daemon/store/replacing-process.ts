/**
 * Databases that are to be replaced (damaged, of an older format, damaged while in use) on a disk with more or less
 * room, and what becomes of them once it has room again. argv: a directory on a small disk. Prints JSON.
 */
import { copyFileSync, mkdirSync, readFileSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { StateStore } from '../../../daemon/store/state-store.ts';
import { recordOf } from './records.ts';

const directory = process.argv[2]!;
const ballast = path.join(directory, 'ballast');
const place = path.join(directory, 'trial');
const file = path.join(place, 'state.db');
const records = Array.from({ length: 60 }, (_, n) => recordOf(n + 1, `k${n}`, 12_000));

/** Makes a database to be replaced. @returns its path. */
function make(name: string, fill: (file: string) => void): string {
  const model = path.join(directory, name);
  fill(model);
  return model;
}

function raw(model: string, change: (database: DatabaseSync) => void): void {
  const database = new DatabaseSync(model);
  change(database);
  database.close();
}

function filled(model: string): void {
  const store = new StateStore(model, nodeCrypto);
  store.write({ put: records, remove: [], streams: [], values: [['name', 'one']] });
  store.close();
}

function reopen(): void {
  new StateStore(file, nodeCrypto).close();
}

const ways: Record<string, { model: string; replace: () => void }> = {
  damaged: {
    model: make('damaged', (model) => {
      filled(model);
      raw(model, (database) => database.exec("UPDATE meta SET value = 'two'"));
    }),
    replace: reopen,
  },
  older: {
    model: make('older', (model) =>
      raw(model, (database) => {
        database.exec(`PRAGMA journal_mode = WAL;
          CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
          CREATE TABLE records (digest BLOB PRIMARY KEY, envelope BLOB NOT NULL) WITHOUT ROWID;
          CREATE TABLE streams (stream TEXT PRIMARY KEY, high INTEGER NOT NULL) WITHOUT ROWID;
          PRAGMA user_version = 1; BEGIN`);
        const put = database.prepare('INSERT INTO records VALUES (?, ?)');
        for (const { digest, bytes } of records) put.run(Buffer.from(digest, 'hex'), bytes);
        database.exec('COMMIT');
      }),
    ),
    replace: reopen,
  },
  'in use': {
    model: make('used', filled),
    replace: () => {
      const store = new StateStore(file, nodeCrypto);
      try {
        store.replace(records);
      } finally {
        store.close();
      }
    },
  },
};

const trials: unknown[] = [];
for (const [name, { model, replace }] of Object.entries(ways)) {
  const size = statSync(model).size;
  for (const times of [0.5, 1.1, 1.5, 1.9, 3]) {
    mkdirSync(place);
    copyFileSync(model, file);
    const before = readFileSync(file);
    const { bavail, bsize } = statfsSync(directory);
    writeFileSync(ballast, Buffer.alloc(bavail * bsize - Math.round(size * times)));
    let code = 'replaced';
    try {
      replace();
    } catch (error) {
      code = String((error as { code?: unknown }).code ?? error);
    }
    const isIntact = Buffer.compare(before, readFileSync(file)) === 0;
    rmSync(ballast);
    const store = new StateStore(file, nodeCrypto);
    const kept = store.load().records.length;
    store.close();
    rmSync(place, { recursive: true });
    trials.push({ name: `${name}, room for ${times}`, code, isIntact, kept, expected: records.length });
  }
}
process.stdout.write(JSON.stringify(trials));
