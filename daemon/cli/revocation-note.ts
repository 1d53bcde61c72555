/** Shows what a revocation did: the key on stdout, what it means for people on stderr. */
import type { RevocationInfo } from '../api/trust-schemas.ts';
import { note, printJson, printLine, type Terminal } from './terminal.ts';
import { printable } from './text.ts';

const CROSSED =
  'Who joined with a token that is kept, and is not kept itself, goes with the last vote. Where all are told that they are too few, for they crossed on their way, run the same once more.';

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

/** Of a vote that changes nothing as things are, but that nobody joins any more with tokens that it keeps. */
function openText({ name, votes, needed, keeps }: RevocationInfo): string {
  if (votes >= needed)
    return printable(
      `This changes nothing: ${name} is refused already by the word of others. For an earlier --since ${needed} have to give one.`,
    );
  const crossed = keeps.length > 0 ? ` ${CROSSED}` : '';
  return `This was vote ${votes} of ${needed}: other operators have to say so too.${crossed}`;
}
