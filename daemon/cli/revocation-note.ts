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
  note(
    terminal,
    done.effective ? printable(`${done.name} is refused from now on. ${after}`) : openText(done),
  );
}

/** Of a vote that changes nothing as things are. */
function openText({ name, votes, needed }: Pick<RevocationInfo, 'name' | 'votes' | 'needed'>): string {
  return votes < needed
    ? `This was vote ${votes} of ${needed}: other operators have to say so too.`
    : printable(
        `This changes nothing: ${name} is refused already by the word of others. For an earlier --since ${needed} have to give one.`,
      );
}
