/** Tells people of versions that were written at the same time: which is in force, which lost, and how to settle it. */
import type { Sibling } from '../api/schemas.ts';
import { note, type Terminal } from './terminal.ts';
import { printable, timeText } from './text.ts';

/** @param settle what ends the conflict, a sentence. */
export function noteConflict(
  terminal: Terminal,
  what: string,
  winner: Pick<Sibling, 'generation' | 'authorName' | 'written_ms'>,
  siblings: readonly Sibling[],
  settle: string,
): void {
  const written = (one: typeof winner) =>
    `generation ${one.generation}, at ${one.authorName}, ${timeText(one.written_ms)}`;
  const lines = [
    `${what} has ${siblings.length + 1} concurrent versions; the winner is ${written(winner)}. ${settle}`,
    ...siblings.map((one) => `  lost: ${written(one)}: ${one.difference}`),
  ];
  for (const line of lines) note(terminal, printable(line));
}
