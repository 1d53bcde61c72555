/**
 * A recovery key: an operator's key that is made here, written to a file and kept by no daemon. Its holder can put a
 * cluster right whose other operator keys were lost or stolen: `--operator-key` lends it, for one request, to the
 * daemon that signs with it.
 */
import { generateKeyPairSync } from 'node:crypto';
import { unlink, writeFile } from 'node:fs/promises';
import { ShoalError } from '../../protocols/base/errors.ts';
import { type KeyId, keyIdFromPublicKey, toHex } from '../../protocols/base/ids.ts';
import { readTextUpTo } from './bounded-file.ts';

/** A raw key is the end of its DER form. Source: RFC 8410. */
const KEY_BYTES = 32;
/** No file with a key is longer. */
const KEY_FILE_BYTES_MAX = 1024;

/** One key in each file. @returns their ids. @throws ShoalError as `createRecoveryKey` does: no file is left then */
export async function createRecoveryKeys(files: readonly string[]): Promise<KeyId[]> {
  const ids: KeyId[] = [];
  for (const file of files) {
    try {
      ids.push(await createRecoveryKey(file));
    } catch (error) {
      await discardRecoveryKeys(files.slice(0, ids.length));
      throw error;
    }
  }
  return ids;
}

/**
 * Makes a key and writes its seed in hex, readable by its owner only. @returns its id.
 * @throws ShoalError E_USAGE when the file is there already, or cannot be written: nothing was changed
 */
export async function createRecoveryKey(path: string, field = '--recovery-key'): Promise<KeyId> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-KEY_BYTES);
  try {
    await writeFile(path, `${toHex(seed)}\n`, { mode: 0o600, flag: 'wx', flush: true });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const why = code === 'EEXIST' ? 'there is such a file already, and a key is never overwritten' : message;
    throw new ShoalError('E_USAGE', `${field} ${path}: ${why}`, { cause });
  }
  return keyIdFromPublicKey(
    new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-KEY_BYTES)),
  );
}

/**
 * Reads a key that `createRecoveryKey` wrote, or the operator.key of a data directory. @returns its seed in hex, a secret.
 * @throws ShoalError E_USAGE; the message never repeats what is in the file
 */
export async function readOperatorKey(path: string): Promise<string> {
  const text = await readTextUpTo(path, KEY_FILE_BYTES_MAX).catch((cause: NodeJS.ErrnoException) => {
    throw new ShoalError('E_USAGE', `--operator-key ${path}: ${cause.message}`, { cause });
  });
  const seed = text.trim();
  if (!/^[0-9a-f]{64}$/.test(seed))
    throw new ShoalError('E_USAGE', `--operator-key ${path}: this is no key, or part of it is missing`);
  return seed;
}

/** Takes away the files of keys that no cluster knows. */
export async function discardRecoveryKeys(files: readonly string[]): Promise<void> {
  for (const file of files) await unlink(file).catch(() => {});
}
