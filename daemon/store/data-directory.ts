/** The data directory of a node: where things are, its keys, and its lock. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Crypto } from '../../protocols/base/crypto.ts';
import { ShoalError } from '../../protocols/base/errors.ts';
import { fromHex, toHex } from '../../protocols/base/ids.ts';
import { StateStore } from './state-store.ts';

const SEED_BYTES = 32;

export class DataDirectory {
  readonly path: string;
  readonly store: StateStore;
  /** Secret: the seed of this node's Ed25519 key. */
  readonly seed: Uint8Array;

  /** Makes it when absent. @throws E_DATA_LOCKED, E_DATA_NEWER, E_DATA_CORRUPT, E_DATA_DENIED, E_DISK_FULL */
  constructor(directory: string, crypto: Crypto) {
    this.path = directory;
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      chmodSync(directory, 0o700);
    } catch (error) {
      throw explained(error, directory);
    }
    this.store = new StateStore(path.join(directory, 'state.db'), crypto);
    try {
      this.seed = this.#key('node.key') ?? this.#createKey('node.key');
    } catch (error) {
      this.store.close();
      throw explained(error, directory);
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

  /** A new random key, mode 0600. It fails when the file exists: a key is never overwritten. */
  #createKey(name: 'node.key' | 'operator.key'): Uint8Array {
    const seed = new Uint8Array(randomBytes(SEED_BYTES));
    writeFileSync(path.join(this.path, name), `${toHex(seed)}\n`, { mode: 0o600, flag: 'wx', flush: true });
    return seed;
  }

  #key(name: string): Uint8Array | undefined {
    let text: string;
    try {
      text = readFileSync(path.join(this.path, name), 'utf8').trim();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    if (!/^[0-9a-f]{64}$/.test(text))
      throw new ShoalError('E_DATA_CORRUPT', `${name} in the data directory is damaged`);
    return fromHex(text);
  }

  [Symbol.dispose](): void {
    this.store.close();
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
    case 'ENOSPC':
    case 'EDQUOT':
      return new ShoalError('E_DISK_FULL', `the disk of ${directory} is full; nothing was changed`, {
        cause: error,
      });
    default:
      return error;
  }
}
