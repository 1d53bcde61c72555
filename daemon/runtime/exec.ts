/** Runs one program attached, passing its input and output on: what the `exec` of the drivers shares. */
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { ShoalError } from '../../protocols/base/errors.ts';
import type { Runtime } from './runtime.ts';
import { signalExitCode } from './signals.ts';

/** Output that a left-behind child of the program still holds open is waited for no longer than this. */
const DRAIN_MS = 200;
/** Output that is taken slowly is waited for, as far as it can be from before the end: more than any pipe holds. */
const LATE_BYTES_MAX = 2 << 20;

export type ExecIo = Parameters<Runtime['exec']>[2];

/**
 * @param abort Called when the signal aborts before the program has ended, to end what was started.
 * @throws E_CANCELLED; the error of spawn, such as ENOENT
 */
export function runAttached(
  argv: readonly string[],
  options: {
    cwd?: string;
    env: NodeJS.ProcessEnv;
    detached: boolean;
    abort: (pid: number) => void;
    started?: (pid: number) => void;
    /** From here on its number may be another's, though its output is still passed on. */
    ended?: (pid: number) => void;
  },
  io: ExecIo,
): Promise<number> {
  if (io.signal?.aborted) return Promise.reject(cancelled());
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0]!, argv.slice(1), {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: options.env,
      detached: options.detached,
      stdio: [io.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    });
    if (child.pid !== undefined) options.started?.(child.pid);
    const input = io.stdin?.[Symbol.asyncIterator]();
    const cancel = (): void => {
      // Once it has ended its number may be another's.
      if (child.exitCode !== null || child.signalCode !== null) finish();
      else if (child.pid !== undefined) options.abort(child.pid);
    };
    let drain: NodeJS.Timeout | undefined;
    const settle = (act: () => void): void => {
      clearTimeout(drain);
      io.signal?.removeEventListener('abort', cancel);
      child.stdin?.destroy();
      // They are not there where descriptors have run out.
      child.stdout?.destroy();
      child.stderr?.destroy();
      // A source that still waits for its next chunk must not hold up the result.
      void input?.return?.().catch(() => undefined);
      act();
    };
    const finish = (): void =>
      settle(() => {
        if (io.signal?.aborted) return reject(cancelled());
        resolve(child.exitCode ?? signalExitCode(child.signalCode ?? 'SIGKILL'));
      });
    child.on('error', (error) => settle(() => reject(error)));
    let held_count = 0;
    let late_bytes = 0;
    let isHeldUp = false;
    const drained = (): void => {
      isHeldUp = held_count > 0 && late_bytes <= LATE_BYTES_MAX && io.signal?.aborted !== true;
      if (!isHeldUp) finish();
    };
    // Events would not do: at the end of a child Node.js resumes what is paused.
    const pass = async (name: 'stdout' | 'stderr', source: Readable | null | undefined): Promise<void> => {
      for await (const chunk of source ?? []) {
        if (drain !== undefined) late_bytes += (chunk as Buffer).byteLength;
        held_count += 1;
        try {
          await io.onOutput(name, chunk as Buffer);
        } finally {
          held_count -= 1;
          // Only what was held up all that time is waited for on: a child that is left behind may go on for ever.
          if (isHeldUp) drain?.refresh();
          isHeldUp = false;
        }
      }
    };
    const passing = Promise.allSettled([pass('stdout', child.stdout), pass('stderr', child.stderr)]);
    child.on('exit', () => {
      if (child.pid !== undefined) options.ended?.(child.pid);
      drain = setTimeout(drained, DRAIN_MS);
    });
    child.on('close', () => void passing.then(finish));
    io.signal?.addEventListener('abort', cancel, { once: true });
    if (input && child.stdin) {
      child.stdin.on('error', () => undefined);
      void pump(input, child.stdin);
    }
  });
}

function cancelled(): ShoalError {
  return new ShoalError('E_CANCELLED', 'The command was cancelled and killed.');
}

async function pump(input: AsyncIterator<Uint8Array>, output: NodeJS.WritableStream): Promise<void> {
  try {
    for (let next = await input.next(); !next.done; next = await input.next()) {
      if (!output.writable) return;
      if (!output.write(next.value))
        await new Promise<void>((resolve) => {
          output.once('drain', resolve);
          output.once('close', resolve);
        });
    }
  } finally {
    output.end();
  }
}
