/**
 * What a command has of the world: its streams, environment and user. Data goes to stdout, all the rest to stderr.
 */
import { Buffer } from 'node:buffer';
import { addAbortSignal } from 'node:stream';
import { ShoalError } from '../../protocols/base/errors.ts';

export interface Terminal {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly env: NodeJS.ProcessEnv;
  /** Of the user; -1 where users have no numbers. */
  readonly uid: number;
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** What the process exits with when nothing fails; `exec` sets it. */
  exitCode: number;
}

/** All of stdin, or what it had when it was over the limit. @throws E_CANCELLED when the user gives up first. */
export async function readStdin({ stdin, signal }: Terminal, bytes_max: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of addAbortSignal(signal, stdin) as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.byteLength;
      if (bytes > bytes_max) break;
    }
  } catch (cause) {
    if (!signal.aborted) throw cause;
    throw new ShoalError('E_CANCELLED', 'interrupted while reading stdin; nothing was asked of the daemon', {
      cause,
    });
  }
  return Buffer.concat(chunks);
}

export function printLine(terminal: Terminal, text: string): void {
  terminal.stdout.write(`${text}\n`);
}

/** For people: never data. */
export function note(terminal: Terminal, text: string): void {
  terminal.stderr.write(`${text}\n`);
}

export function printJson(terminal: Terminal, value: unknown): void {
  terminal.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
