/** Shows what a revocation did: the key on stdout, what it means for people on stderr. */
import type { RevocationInfo } from '../api/trust-schemas.ts';
import { note, printJson, printLine, type Terminal } from './terminal.ts';
import { printable } from './text.ts';

/** @param after a sentence on what is to be done next, when it took effect. */
export function showRevocation(
  terminal: Terminal,
  options: { readonly json?: boolean },
  done: RevocationInfo,
  after: string,
): void {
  if (options.json) {
    printJson(terminal, done);
    return;
  }
  printLine(terminal, done.key);
  const open = `This was vote ${done.votes} of ${done.needed}: other operators have to say so too.`;
  note(terminal, done.effective ? printable(`${done.name} is refused from now on. ${after}`) : open);
}
