/**
 * The process that unpacks one layer, so that the daemon's event loop stays free. Started by `unpack-layer.ts`, which
 * writes one UnpackJob to its standard input and reads one UnpackResult from its standard output. It ends when its
 * input closes: it never outlives the daemon. What it leaves after a failure is removed by its parent.
 */
import { spawn } from 'node:child_process';
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pipeline, type Readable, Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import { hostile } from '../core/layer-rules.ts';
import { asDiskError } from '../store/disk-errors.ts';
import { ArchiveWriter } from '../tar/archive.ts';
import { rewriteLayer } from './rewrite-layer.ts';
import type { UnpackJob, UnpackResult } from './unpack-job.ts';

const STDERR_BYTES_MAX = 4096;

function decompressor(job: UnpackJob): Transform | undefined {
  if (job.compression === 'none') return undefined;
  if (job.compression === 'gzip') return zlib.createGunzip();
  if (typeof zlib.createZstdDecompress === 'function') return zlib.createZstdDecompress();
  throw new ShoalError('E_IMAGE_INVALID', 'a layer is compressed with zstd, which this Node.js cannot read');
}

function counted(hash: Hash, onBytes: (bytes: number) => void): Transform {
  return new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      hash.update(chunk);
      try {
        onBytes(chunk.byteLength);
        done(null, chunk);
      } catch (error) {
        done(error as Error);
      }
    },
  });
}

/** Runs a program to its end. @returns a promise that rejects with the last words of a program that failed. */
function run(command: string, args: readonly string[], input: Readable | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: [input === undefined ? 'ignore' : 'pipe', 'ignore', 'pipe'],
      env: { ...process.env, LC_ALL: 'C' },
    });
    let words = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      words = (words + chunk.toString('utf8')).slice(-STDERR_BYTES_MAX);
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve();
      else if (/No space left|quota exceeded/i.test(words)) reject(asDiskError({ code: 'ENOSPC' }));
      else reject(hostile(`${command} could not unpack the layer: ${words.trim().slice(-500)}`));
    });
    // The program may end early; its exit code says why.
    if (input !== undefined && child.stdin !== null) pipeline(input, child.stdin, () => undefined);
  });
}

async function unpack(job: UnpackJob): Promise<void> {
  const privileged = process.geteuid?.() === 0;
  const target = join(job.directory, 'fs');
  await mkdir(target, { mode: 0o755 });
  const { limits } = job;
  const packedHash = createHash('sha256');
  const plainHash = createHash('sha256');
  let packed = 0;
  let plain = 0;
  const packedBytes = counted(packedHash, (bytes) => {
    packed += bytes;
  });
  const plainBytes = counted(plainHash, (bytes) => {
    plain += bytes;
    // Headers count too; a quarter more than the content allows is no image.
    if (plain > limits.unpacked_bytes_max * 1.25 + (64 << 20)) throw hostile('the layer is too large');
    if (plain > limits.ratioFree_bytes && plain > packed * limits.ratio_max) {
      throw hostile(`the layer unpacks to over ${limits.ratio_max} times its size`);
    }
  });
  const decompress = decompressor(job);
  const stages = [
    createReadStream(job.blob, { highWaterMark: 256 << 10 }),
    packedBytes,
    decompress,
    plainBytes,
  ];
  let failure: Error | undefined;
  pipeline(stages.filter((stage) => stage !== undefined) as unknown as [Readable, Transform], (error) => {
    failure ??= error ?? undefined;
  });
  const archive = new ArchiveWriter();
  const tar = run(
    'tar',
    [
      '--extract',
      '--file=-',
      `--directory=${target}`,
      '--numeric-owner',
      '--preserve-permissions',
      '--delay-directory-restore',
      ...(privileged ? ['--same-owner', '--xattrs', '--xattrs-include=*'] : ['--no-same-owner']),
    ],
    archive.output,
  );
  const rewritten = rewriteLayer(plainBytes, archive, { limits, privileged }).catch((error: unknown) => {
    archive.destroy(error as Error);
    throw isShoalError(error) ? error : (failure ?? error);
  });
  const [read, written] = await Promise.allSettled([rewritten, tar]);
  if (read.status === 'rejected') {
    // When tar gave up first, the writer only saw its pipe close.
    if (written.status === 'rejected' && !isShoalError(read.reason) && failure === undefined)
      throw written.reason;
    throw read.reason;
  }
  if (written.status === 'rejected') throw written.reason;
  if (`sha256:${packedHash.digest('hex')}` !== job.digest) throw corrupt('its digest');
  if (`sha256:${plainHash.digest('hex')}` !== job.diffId) throw corrupt('the diff id of the config');
  await writeFile(join(job.directory, 'whiteouts.json'), JSON.stringify(read.value));
  // Node has no syncfs(2); one call of sync makes the whole tree durable before it gets its name.
  await run('sync', ['--file-system', job.directory], undefined);
}

function corrupt(what: string): ShoalError {
  return new ShoalError('E_BLOB_CORRUPT', `the bytes of a layer do not match ${what}; nothing was kept`);
}

function resultOf(error: unknown): UnpackResult {
  const told = asDiskError(error);
  if (isShoalError(told)) return { ok: false, code: told.code, message: told.message };
  const message = told instanceof Error ? told.message : String(told);
  return {
    ok: false,
    code: 'E_LAYER_HOSTILE',
    message: `the layer cannot be read (${message}); nothing was kept`,
  };
}

try {
  setPriority(constants.priority.PRIORITY_LOW);
} catch {
  // A host that forbids it unpacks at the usual priority.
}
const lines = createInterface({ input: process.stdin });
lines.on('close', () => process.exit(1));
lines.once('line', (line) => {
  unpack(JSON.parse(line) as UnpackJob).then(
    () => answer({ ok: true }),
    (error: unknown) => answer(resultOf(error)),
  );
});

function answer(result: UnpackResult): void {
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}
