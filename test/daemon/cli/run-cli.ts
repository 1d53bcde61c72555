/** Runs the real `shoal` command as a user does: a process of its own, with its streams and its exit code. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const BIN = path.resolve(import.meta.dirname, '../../../bin/shoal');
/** A command that has not ended by then hangs. */
const TIMEOUT_MS = 30_000;
/** Sources are stripped of types once, and not by every process that a test starts. */
const cache = mkdtempSync(path.join(tmpdir(), 'shoal-test-cache-'));
process.on('exit', () => rmSync(cache, { recursive: true, force: true }));

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  /** Text of stdin; it is at its end at once when absent. */
  readonly stdin?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Called with all of stdout so far; `interrupt` sends SIGINT, once. */
  readonly onOutput?: (stdout: string, interrupt: () => void) => void;
}

/** @param socket given as SHOAL_SOCKET. */
export function runCli(
  socket: string,
  args: readonly string[],
  options: CliOptions = {},
): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(BIN, args, {
      env: {
        PATH: process.env.PATH ?? '',
        HOME: '/nonexistent',
        NODE_COMPILE_CACHE: cache,
        SHOAL_SOCKET: socket,
        ...options.env,
      },
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    let stdout = '';
    let stderr = '';
    let interrupted = false;
    // Once: a second SIGINT ends a command at once.
    const interrupt = () => {
      if (!interrupted) child.kill('SIGINT');
      interrupted = true;
    };
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk;
      options.onOutput?.(stdout, interrupt);
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
    child.stdin.on('error', () => {});
    child.stdin.end(options.stdin ?? '');
  });
}
