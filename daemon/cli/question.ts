/** One question to a person on a terminal, answered by a line. */
import { createInterface } from 'node:readline/promises';
import type { Terminal } from './terminal.ts';

/** @returns undefined when it was interrupted, or the input ended. */
export async function ask(
  { stdin, stderr, signal }: Terminal,
  question: string,
): Promise<string | undefined> {
  const lines = createInterface({ input: stdin, output: stderr });
  // The promise of a question that nobody can answer any more is never settled.
  const ended = new Promise<undefined>((resolve) => lines.once('close', () => resolve(undefined)));
  try {
    return await Promise.race([lines.question(question, { signal }), ended]);
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  } finally {
    lines.close();
  }
}
