/** The data directory of a node: where things are, its keys, and its lock. */
import { randomBytes } from 'node:crypto';
import { chmodSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Crypto } from '../../protocols/base/crypto.ts';
import { ShoalError } from '../../protocols/base/errors.ts';
import { fromHex, toHex } from '../../protocols/base/ids.ts';
import { createDurably, syncDirectory } from './durable-file.ts';
import { makeDirectories } from './make-directories.ts';
import { StateStore } from './state-store.ts';

const SEED_BYTES = 32;
/** What a key that is damaged or gone means. The ledger is of no use without the node's own. */
const LOSSES = {
  'node.key':
    'the identity of this node is lost unless you have a copy; all else is as it was. Without a copy move the ' +
    'directory away, join again with a token, and revoke the old node on a member',
  'operator.key':
    "the operator's key of this cluster is lost unless you have a copy; nothing was changed. The cluster goes on " +
    'without it, and only it can grant what its holders may not hand on',
};
type KeyName = keyof typeof LOSSES;
const KEY_NAMES = Object.keys(LOSSES) as KeyName[];
const KEY_MODE = 0o600;
/** What may be there before a node is: a new file system, and what is kept when keys and state.db are moved away. */
const LEFT: ReadonlySet<string> = new Set(['lost+found', 'images', 'containers', 'network']);
/** What the owner's group and all others may do. */
const OTHERS_MODE = 0o077;

/** A key that other users of this host could read, or were allowed to by the mode of its file. */
export interface OpenKey {
  readonly file: string;
  /** Its mode was made right. */
  readonly isClosed: boolean;
}

export class DataDirectory {
  readonly path: string;
  readonly store: StateStore;
  /** Secret: the seed of this node's Ed25519 key. */
  readonly seed: Uint8Array;
  /** The node has its key, and state.db was not there: all that it knew is gone. */
  readonly isEmptied: boolean;
  /** As the start found them. */
  readonly openKeys: readonly OpenKey[];

  /**
   * Makes it when absent. @throws E_DATA_LOCKED, E_DATA_NEWER, E_DATA_CORRUPT, E_DATA_DENIED, E_DISK_FULL, E_DISK_FAILED
   */
  constructor(directory: string, crypto: Crypto) {
    this.path = directory;
    try {
      // Each new directory is named by the one above it.
      for (const made of makeDirectories(directory, 0o700)) syncDirectory(path.dirname(made));
      assertOurs(directory);
      closeDirectory(directory);
    } catch (error) {
      throw explained(error, directory);
    }
    this.openKeys = KEY_NAMES.map((name) => path.join(directory, name))
      .filter(isOpen)
      .map((file) => ({ file, isClosed: close(file) }));
    const seed = this.#key('node.key');
    // Without a key beside it nothing says that a file which is no database was ever ours: it is left as it is.
    try {
      this.store = new StateStore(path.join(directory, 'state.db'), crypto, seed !== undefined);
    } catch (error) {
      throw explained(error, directory);
    }
    this.isEmptied = seed !== undefined && this.store.isNew;
    try {
      this.seed = seed ?? this.#key('node.key') ?? this.#firstKey();
    } catch (error) {
      this.store.close();
      throw error;
    }
  }

  /** A directory below this one; the owner of its content makes it. */
  sub(name: 'images' | 'containers' | 'network'): string {
    return path.join(this.path, name);
  }

  /** The operator's key of a cluster that is begun here; one that an earlier try left is used again. */
  operatorKey(): Uint8Array {
    return this.#key('operator.key') ?? this.#createKey('operator.key');
  }

  /** The operator's key, where there is one. @throws E_DATA_CORRUPT */
  keptOperatorKey(): Uint8Array | undefined {
    return this.#key('operator.key');
  }

  /** @throws E_DATA_CORRUPT when the node that this directory belongs to has had a key. */
  #firstKey(): Uint8Array {
    if (this.store.value('genesis') === undefined) return this.#createKey('node.key');
    const file = path.join(this.path, 'node.key');
    throw new ShoalError('E_DATA_CORRUPT', `${file} is gone: ${LOSSES['node.key']}`);
  }

  /** A new random key, mode 0600. It fails when the file exists: a key is never overwritten. */
  #createKey(name: KeyName): Uint8Array {
    const seed = new Uint8Array(randomBytes(SEED_BYTES));
    try {
      createDurably(path.join(this.path, name), `${toHex(seed)}\n`);
    } catch (error) {
      throw explained(error, this.path);
    }
    return seed;
  }

  #key(name: KeyName): Uint8Array | undefined {
    let text: string;
    try {
      text = readFileSync(path.join(this.path, name), 'utf8').trim();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw explained(error, this.path);
    }
    if (!/^[0-9a-f]{64}$/.test(text))
      throw new ShoalError('E_DATA_CORRUPT', `${path.join(this.path, name)} is damaged: ${LOSSES[name]}`);
    return fromHex(text);
  }

  [Symbol.dispose](): void {
    this.store.close();
  }
}

/** A directory of something else, as /tmp or that of a user, is not made unusable for others. @throws E_DATA_DENIED */
function assertOurs(directory: string): void {
  const names = readdirSync(directory);
  if (names.some((name) => name.startsWith('state.db') || KEY_NAMES.some((key) => key === name))) return;
  const other = names.find((name) => !LEFT.has(name));
  if (other !== undefined)
    throw new ShoalError(
      'E_DATA_DENIED',
      `${directory} holds other things than a node's, such as ${other}; nothing was changed. Name a directory that is empty or not there`,
    );
}

/** @throws as the file system does, unless others of this host have no rights there anyway, as on a volume that is lent. */
function closeDirectory(directory: string): void {
  try {
    chmodSync(directory, 0o700);
  } catch (error) {
    if ((statSync(directory).mode & 0o007) !== 0) throw error;
  }
}

function isOpen(file: string): boolean {
  const mode = statSync(file, { throwIfNoEntry: false })?.mode ?? KEY_MODE;
  return (mode & OTHERS_MODE) !== 0;
}

/** @returns false where the file is another user's, or the file system refuses. */
function close(file: string): boolean {
  try {
    chmodSync(file, KEY_MODE);
    return true;
  } catch {
    return false;
  }
}

/** What the file system refuses, as a user is told it. */
function explained(error: unknown, directory: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'EEXIST':
    case 'ENOTDIR':
    case 'ENOENT':
      return new ShoalError('E_DATA_DENIED', `the data directory ${directory} cannot be used: ${message}`, {
        cause: error,
      });
    case 'EIO':
      return new ShoalError('E_DISK_FAILED', `the disk of ${directory} fails: ${message}`, { cause: error });
    case 'ENOSPC':
    case 'EDQUOT':
      return new ShoalError('E_DISK_FULL', `the disk of ${directory} is full; nothing was changed`, {
        cause: error,
      });
    default:
      return error;
  }
}
