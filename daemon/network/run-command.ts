/** Runs one program to its end, with bounded time and output. The network's only way to act. */
import { spawn } from 'node:child_process';

export interface CommandResult {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** @throws the error of spawn(2), such as ENOENT; a failing program is a result. */
export type RunCommand = (argv: readonly string[], input?: string) => Promise<CommandResult>;

export const COMMAND_TIMEOUT_MS = 30_000;
/** A listing of some thousand interfaces is a megabyte; beyond this the program is killed. */
export const OUTPUT_BYTES_MAX = 32 << 20;

export const runCommand: RunCommand = (argv, input = '') =>
  new Promise((resolve, reject) => {
    const [program = '', ...args] = argv;
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: COMMAND_TIMEOUT_MS,
      killSignal: 'SIGKILL',
      env: { PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`, LC_ALL: 'C' },
    });
    const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    let bytes = 0;
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (chunk: Buffer) => {
        bytes += chunk.byteLength;
        if (bytes > OUTPUT_BYTES_MAX) child.kill('SIGKILL');
        else output[name].push(chunk);
      });
    }
    child.once('error', reject);
    child.once('close', (code) =>
      resolve({
        code,
        stdout: Buffer.concat(output.stdout).toString(),
        stderr: Buffer.concat(output.stderr).toString(),
      }),
    );
    // A program that ends before it has read everything is no error of ours.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
