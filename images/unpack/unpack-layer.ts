/** Unpacks one layer in a process of its own. Not here: what happens inside it, and where layers are kept. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ERRORS, type ErrorCode, ShoalError } from '../../protocols/base/errors.ts';
import type { UnpackJob, UnpackResult } from './unpack-job.ts';

const OUTPUT_BYTES_MAX = 64 << 10;
/** Of V8's heap in the process that unpacks; file contents only pass through. */
const HEAP_MB_MAX = 512;

/** The same file type as this one: .ts in the repository, .js in the package. */
const PROGRAM = fileURLToPath(
  new URL(`./unpack-process${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
);

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}

/**
 * @throws E_LAYER_HOSTILE, E_BLOB_CORRUPT, E_IMAGE_INVALID, E_DISK_FULL, E_CANCELLED. The directory may hold half a
 * layer then, and the caller removes it.
 */
export async function unpackLayer(job: UnpackJob, options: { signal?: AbortSignal } = {}): Promise<void> {
  const result = await runProcess(job, options.signal);
  if (result.ok) return;
  throw new ShoalError(isErrorCode(result.code) ? result.code : 'E_INTERNAL', result.message, {
    detail: { layer: job.digest },
  });
}

function runProcess(job: UnpackJob, signal: AbortSignal | undefined): Promise<UnpackResult> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(new ShoalError('E_CANCELLED', 'unpacking was cancelled; nothing was kept'));
      return;
    }
    const child = spawn(process.execPath, [`--max-old-space-size=${HEAP_MB_MAX}`, PROGRAM], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let output = '';
    let words = '';
    const cancel = () => child.kill('SIGKILL');
    signal?.addEventListener('abort', cancel, { once: true });
    child.stdout.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString('utf8')).slice(0, OUTPUT_BYTES_MAX);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      words = (words + chunk.toString('utf8')).slice(-OUTPUT_BYTES_MAX);
    });
    child.on('error', reject);
    child.on('close', (code, killedBy) => {
      signal?.removeEventListener('abort', cancel);
      if (signal?.aborted) {
        reject(new ShoalError('E_CANCELLED', 'unpacking was cancelled; nothing was kept'));
        return;
      }
      try {
        resolve(JSON.parse(output) as UnpackResult);
      } catch {
        const how = killedBy ?? `exit code ${code}`;
        const last = words.trim().slice(-500);
        reject(new ShoalError('E_INTERNAL', `the process that unpacks ended with ${how}: ${last}`));
      }
    });
    // The pipe stays open: that it closes is how the process learns that the daemon is gone.
    child.stdin.on('error', () => undefined);
    child.stdin.write(`${JSON.stringify(job)}\n`);
  });
}
