/** Shows what a revocation did: the key on stdout, what it means for people on stderr. */
import type { RevocationInfo, RevocationPlan } from '../api/trust-schemas.ts';
import { wordText } from './revocation.ts';
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

/**
 * @param plan what was foreseen of it.
 * @param after a sentence on what is to be done next, when it took effect.
 */
export function showRevocation(
  terminal: Terminal,
  options: Shown,
  { done, plan }: { readonly done: RevocationInfo; readonly plan: RevocationPlan },
  after: string,
): void {
  if (options.json) {
    printJson(terminal, done);
    return;
  }
  printLine(terminal, done.key);
  // Without hosts that stay it keeps no tokens, but revocations that the key wrote.
  const keepsHosts = options.keepAll === true || options.keep !== undefined;
  const text = stayingText(done, plan) ?? `${done.name} is refused from now on. ${after}`;
  note(terminal, done.effective ? printable(text) : openText(done, keepsHosts));
}

/** Of who stays a member by the word of others, or is one again once it is renewed. */
function stayingText(
  { key, name, by }: RevocationInfo,
  { staying, untilRenewed }: RevocationPlan,
): string | undefined {
  const host = staying.find((one) => one.key === key);
  if (host === undefined) return undefined;
  const ends = `What ${name} had by the word of ${by.name} ends`;
  // An operator is no host, and who may do nothing any more has let it in all the same.
  const there = host.at.length === host.by.length ? 'there, or ' : '';
  const how = `run the same ${there}with an operator's key (--operator-key).`;
  return untilRenewed.some((one) => one.key === key)
    ? `${ends}: it is refused until an admitter renews it, for it stays ${wordText(host)}. To refuse it for good ${how}`
    : `${ends}, and it stays a member: ${name} ${wordText(host)}. To refuse it ${how}`;
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
