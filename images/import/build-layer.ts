/**
 * A directory's tree to a layer, always the same bytes for the same tree: sorted by name, no owner, no times.
 * Symlinks are kept as they are; devices, sockets and fifos are refused.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline, Transform } from 'node:stream';
import { createGzip } from 'node:zlib';
import { ShoalError } from '../../protocols/base/errors.ts';
import type { Digest } from '../../protocols/base/ids.ts';
import { LAYER_LIMITS } from '../core/layer-rules.ts';
import type { BlobStore, StoredBlob } from '../store/blob-store.ts';
import { type ArchiveEntry, ArchiveWriter } from '../tar/archive.ts';

/** Fixed, because the layer's digest follows from it. */
const GZIP_LEVEL = 6;

/** @throws E_IMAGE_INVALID, E_DISK_FULL, E_CANCELLED */
export async function buildLayer(
  directory: string,
  store: BlobStore,
  signal?: AbortSignal,
): Promise<StoredBlob & { readonly diffId: Digest }> {
  if (!(await lstat(directory).catch(() => undefined))?.isDirectory()) {
    throw new ShoalError('E_IMAGE_INVALID', `${directory} is no directory`);
  }
  const archive = new ArchiveWriter();
  const plain = createHash('sha256');
  const hashed = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      plain.update(chunk);
      done(null, chunk);
    },
  });
  const packed = pipeline(archive.output, hashed, createGzip({ level: GZIP_LEVEL }), () => undefined);
  const budget = { entries: 0 };
  const walk = addTree(archive, directory, '', budget, signal).then(
    () => archive.end(),
    (error: unknown) => {
      archive.destroy(error as Error);
      throw error;
    },
  );
  const [walked, stored] = await Promise.allSettled([walk, store.put(packed)]);
  if (walked.status === 'rejected' && stored.status === 'rejected') {
    // A full disk stops the reader first, and the walk then fails for want of one.
    throw stored.reason instanceof ShoalError ? stored.reason : walked.reason;
  }
  if (walked.status === 'rejected') throw walked.reason;
  if (stored.status === 'rejected') throw stored.reason;
  return { ...stored.value, diffId: `sha256:${plain.digest('hex')}` };
}

async function addTree(
  archive: ArchiveWriter,
  root: string,
  within: string,
  budget: { entries: number },
  signal: AbortSignal | undefined,
): Promise<void> {
  const names = (await readdir(join(root, within))).sort();
  for (const name of names) {
    if (signal?.aborted) throw new ShoalError('E_CANCELLED', 'the build was cancelled; nothing was kept');
    budget.entries += 1;
    if (budget.entries > LAYER_LIMITS.entries_max) {
      throw new ShoalError(
        'E_IMAGE_INVALID',
        `the directory has more than ${LAYER_LIMITS.entries_max} entries`,
      );
    }
    const path = within === '' ? name : `${within}/${name}`;
    if (name.startsWith('.wh.')) {
      throw new ShoalError('E_IMAGE_INVALID', `${path} has a name that means a deletion in a layer`);
    }
    const source = join(root, path);
    const stats = await lstat(source);
    const entry: ArchiveEntry = {
      path,
      type: 'file',
      size: 0,
      mode: stats.mode & 0o7777,
      uid: 0,
      gid: 0,
      mtime_s: 0,
      link: '',
      major: 0,
      minor: 0,
      xattrs: {},
    };
    if (stats.isDirectory()) {
      await archive.add({ ...entry, type: 'directory', path: `${path}/` });
      await addTree(archive, root, path, budget, signal);
    } else if (stats.isSymbolicLink()) {
      await archive.add({ ...entry, type: 'symlink', mode: 0o777, link: await readlink(source) });
    } else if (stats.isFile()) {
      await archive.add({ ...entry, size: stats.size }, createReadStream(source));
    } else
      throw new ShoalError('E_IMAGE_INVALID', `${path} is no file, directory or symlink; nothing was kept`);
  }
}
