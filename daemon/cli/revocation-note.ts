/** Shows what a revocation did: the key on stdout, what it means for people on stderr. */
import type { RevocationInfo } from '../api/trust-schemas.ts';
import { note, printJson, printLine, type Terminal } from './terminal.ts';
import { printable } from './text.ts';

const CROSSED =
  'Who joined with a token that is kept, and is not kept itself, goes with the last vote. Where all are told that they are too few, for they crossed on their way, run the same once more.';

interface Shown {
  readonly json?: boolean;
  /** Hosts that were named to stay, or all. */
  readonly keep?: readonly string[];
  readonly keepAll?: boolean;
}

/** @param after a sentence on what is to be done next, when it took effect. */
export function showRevocation(
  terminal: Terminal,
  options: Shown,
  done: RevocationInfo,
  after: string,
): void {
  if (options.json) {
    printJson(terminal, done);
    return;
  }
  printLine(terminal, done.key);
  // Without hosts that stay it keeps no tokens, but revocations that the key wrote.
  const keepsHosts = options.keepAll === true || options.keep !== undefined;
  note(
    terminal,
    done.effective ? printable(`${done.name} is refused from now on. ${after}`) : openText(done, keepsHosts),
  );
}

/** Of a vote that changes nothing as things are, but that nobody joins any more with tokens that it keeps. */
function openText({ name, votes, needed, keeps }: RevocationInfo, keepsHosts: boolean): string {
  if (votes >= needed)
    return printable(
      `This changes nothing: ${name} is refused already by the word of others. For an earlier --since ${needed} have to give one.`,
    );
  const crossed = keepsHosts && keeps.length > 0 ? ` ${CROSSED}` : '';
  return `This was vote ${votes} of ${needed}: other operators have to say so too.${crossed}`;
}
