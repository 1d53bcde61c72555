/** Runs a command of the host to its end with bounded output and time. For the short tools of this folder. */
import { spawn } from 'node:child_process';

const OUTPUT_BYTES_MAX = 64 * 1024;
const TIMEOUT_MS = 30_000;

export interface CommandResult {
  /** -1 when it could not be started or had to be killed at the deadline. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function runCommand(
  argv: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; timeout_ms?: number } = {},
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(argv[0]!, argv.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: options.env ?? process.env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    const output = { stdout: '', stderr: '' };
    // They are not there where descriptors have run out.
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream]?.on('data', (chunk: Buffer) => {
        if (output[stream].length < OUTPUT_BYTES_MAX) output[stream] += chunk.toString('utf8');
      });
    const settle = (code: number): void => {
      clearTimeout(timer);
      child.stdout?.destroy();
      child.stderr?.destroy();
      resolve({ code, ...output });
    };
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      output.stderr += `${argv[0]} did not end in time`;
      settle(-1);
    }, options.timeout_ms ?? TIMEOUT_MS);
    child.on('error', (error) => {
      output.stderr += error.message;
      settle(-1);
    });
    child.on('close', (code) => settle(code ?? -1));
  });
}
