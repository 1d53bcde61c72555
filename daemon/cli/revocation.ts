/**
 * How commands revoke: they show what would go besides what was named, ask about that, revoke, and say what that means.
 * The planning and the acting are the daemon's.
 */
import type { Command } from 'commander';
import type { RevocationPlan } from '../api/trust-schemas.ts';
import { collect, parseSince } from './arguments.ts';
import { confirm } from './confirm.ts';
import { note, printJson, printLine, type Terminal } from './terminal.ts';
import { printable, shortDigest, timeText } from './text.ts';

/** Names on one line of a plan; the rest are counted. */
const NAMES_SHOWN_MAX = 12;

const EARLY =
  'Some of what it signed later bears a time before --since: its stamps were set, and those that stay may be false too.';
const TOO_FEW =
  'Fewer operators remain than it takes to add or dismiss one: that is for good, and nobody can undo it.';

const VOTE = 'A vote against an operator is kept for ever: nobody can take it back.';
const VOTE_WHY = 'a vote against an operator is kept for ever';

export interface PlanOptions {
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function withPlan(command: Command): Command {
  return command
    .option('-y, --yes', 'do not ask, whatever else goes')
    .option('--dry-run', 'only show what would go')
    .option('--json', 'as JSON');
}

export function withKeeps(command: Command): Command {
  return command
    .option('--keep <node>', 'a host that it let in, or sent away, and that stays; repeat', collect)
    .option(
      '--keep-all',
      'all hosts that it let in, and that are up or may come back, stay; only its tokens go',
    );
}

/** Of the commands that revoke a key, of a node or of an operator. */
export interface KeyRevocationOptions {
  readonly reason?: string;
  readonly since?: string;
  readonly descendants?: boolean;
  readonly keep?: string[];
  readonly keepAll?: boolean;
}

/** What they ask of the daemon. @throws ShoalError E_USAGE on a time that is none. */
export function keyRevocationOf(options: KeyRevocationOptions) {
  const { reason, since, descendants, keep, keepAll } = options;
  return {
    ...(reason === undefined ? {} : { reason }),
    ...(since === undefined ? {} : { since_ms: parseSince(since, '--since', Date.now()) }),
    ...(descendants ? { descendants: true } : {}),
    ...(keep ? { keep } : {}),
    ...(keepAll ? { keepAll: true } : {}),
  };
}

/**
 * Shows the plan when it is asked for, or when more would go than was named or for good, and asks in the second case. A vote of
 * several is for good by itself.
 * @param init since_ms: what the key wrote later is to be void: told in any case, for it may be another time than was meant.
 * isToken: it is named as a token, so that a host or an operator with its key is not what was named.
 * @returns true when it is to be done. @throws E_UNCONFIRMED, E_CANCELLED
 */
export async function isToBeDone(
  terminal: Terminal,
  { yes = false, dryRun = false, json = false }: PlanOptions,
  plan: RevocationPlan,
  { since_ms, isToken = false }: { readonly since_ms?: number | undefined; readonly isToken?: boolean } = {},
): Promise<boolean> {
  const lines = planLines(plan, since_ms);
  if (dryRun) {
    if (json) printJson(terminal, plan);
    else for (const line of lines) printLine(terminal, line);
    return false;
  }
  if (takesMore(plan, isToken)) await confirm(terminal, lines.join('\n'), yes);
  else if (isVote(plan)) await confirm(terminal, [...lines, VOTE].join('\n'), yes, VOTE_WHY);
  else if (since_ms !== undefined) note(terminal, lines[0]!);
  return true;
}

/**
 * What was agreed to: the daemon refuses to do more than that. With `--yes` all was agreed to beforehand.
 * To be sent with the revocation.
 */
export function agreedTo({ yes = false }: PlanOptions, { digest }: RevocationPlan): { plan?: string } {
  return yes ? {} : { plan: digest };
}

/** Tokens that are still good although their maker is refused: said once it is. */
export function noteOpenTokens(terminal: Terminal, { open, effective }: RevocationPlan): void {
  if (!effective) return;
  for (const { id, key, host } of open)
    note(
      terminal,
      host === null
        ? `A token that it made is still good. Unless you have it: shoal token revoke ${shortDigest(id)}`
        : printable(
            `A token that it made is still good, and has the key of the host ${host}. Unless you trust that: shoal node revoke ${key} --descendants, with --keep for each host that joined with it and is to stay`,
          ),
    );
}

/** Such as `by the word of host1 and host2`. */
export function wordText({ by }: RevocationPlan['staying'][number]): string {
  return `by the word of ${by.map((one) => one.name).join(' and ')}`;
}

/** Such as `host3 by the word of host1`: hosts that stay by the word of others, and those that do so once they are renewed. */
export function stayingTexts({ staying, staying_count, untilRenewed }: RevocationPlan): {
  readonly now: readonly string[];
  readonly now_count: number;
  readonly untilRenewed: readonly string[];
} {
  const waiting = new Set(untilRenewed.map(({ key }) => key));
  const texts = new Map(staying.map((host) => [host.key, `${host.name} ${wordText(host)}`]));
  const now = [...texts].filter(([key]) => !waiting.has(key)).map(([, text]) => text);
  return {
    now,
    now_count: staying_count - staying.length + now.length,
    untilRenewed: untilRenewed.map(({ key, name }) => texts.get(key) ?? name),
  };
}

/** One of several that it takes: one more than those changes nothing. */
function isVote({ votes, needed, effective }: RevocationPlan): boolean {
  return needed > 1 && (effective || votes < needed);
}

/** Or what was named is for ever, for the cluster and not for the key alone. */
function takesMore(plan: RevocationPlan, isToken: boolean): boolean {
  const { key, nodes, untilRenewed, roles, operators, leavesTooFew, tokens, records } = plan;
  // What the key has sent away may have been its thief's to say.
  const told = [untilRenewed, roles, plan.lacking, plan.sentAway, plan.unnamed, plan.namesakes];
  if (leavesTooFew || told.some((list) => list.length > 0)) return true;
  const [theirs, made] = [[...nodes.ends, ...operators.ends], tokens.ends];
  const others = [
    ...theirs.filter((one) => isToken || one.key !== key),
    ...made.filter((one) => one.key !== key),
  ];
  const back = nodes.returns.length + operators.returns.length + tokens.returns.length;
  const written = records.ends_count + records.returns_count;
  return others.length + back + written > 0;
}

function planLines(plan: RevocationPlan, since_ms: number | undefined): string[] {
  const { name, by, effective, votes, needed, nodes, operators, leavesTooFew, tokens, records, open } = plan;
  const what = since_ms === undefined ? name : `${name}, with what it wrote after ${timeText(since_ms)},`;
  const called = (list: readonly { name: string }[]) => list.map((one) => one.name);
  const made = (list: readonly { id: string; issuerName: string }[]) =>
    list.map(({ id, issuerName }) => `${shortDigest(id)} made at ${issuerName}`);
  const stillGood = (list: RevocationPlan['open']) =>
    list.map((one) => `${made([one])}${one.host === null ? '' : `, the key of ${one.host}`}`);
  const written = (list: RevocationPlan['records']['ends']) =>
    list.map(({ kind, key, authorName }) => `${kind}/${key} at ${authorName}`);
  const changes = (list: RevocationPlan['roles']) =>
    list.map(
      ({ name, gains, loses }) =>
        `${name} ${[...gains.map((role) => `+${role}`), ...loses.map((role) => `-${role}`)].join(' ')}`,
    );
  const staying = stayingTexts(plan);
  type Row = [string, readonly string[], number?];
  const turns: Row[] = [
    ['hosts that are refused', called(nodes.ends), nodes.ends_count],
    ['refused until renewed', staying.untilRenewed, plan.untilRenewed_count],
    ['stay all the same', staying.now, staying.now_count],
    ['roles that change', changes(plan.roles), plan.roles_count],
    ['operators dismissed', called(operators.ends), operators.ends_count],
    ['tokens that end', made(tokens.ends), tokens.ends_count],
    ['written, and void', written(records.ends), records.ends_count],
    ['hosts that are back', called(nodes.returns), nodes.returns_count],
    ['operators that are back', called(operators.returns), operators.returns_count],
    ['tokens good again', made(tokens.returns), tokens.returns_count],
    ['written, and good again', written(records.returns), records.returns_count],
  ];
  const notes: Row[] = [
    ['named, and stay out', called(plan.lacking)],
    ['sent away, and stay out', called(plan.sentAway), plan.sentAway_count],
    ['stay, and not named', called(plan.unnamed)],
    [
      'kept by a name of many',
      plan.namesakes.map(({ key, name, others }) => `${name}: ${key}, and none of ${others} former ones`),
    ],
  ];
  const told = (rows: Row[]) => rows.filter(([, names]) => names.length > 0);
  const changed = told(turns);
  if (!effective) {
    // Which tokens stay good is told once it is refused.
    const rest = changed.length > 0 ? 'nothing else' : 'nothing';
    const why =
      votes < needed
        ? `vote ${votes} of ${needed}; ${rest} changes until there are enough.`
        : `${rest} changes, for it is refused already by the word of others.`;
    return [
      printable(`${since_ms === undefined ? `${name},` : what} by ${by.name}: ${why}`),
      ...[...changed, ...told(notes)].map((row) => rowText(...row)),
    ];
  }
  const isSubject = ({ key }: { readonly key: string }) => key === plan.key;
  const stays = plan.untilRenewed.some(isSubject)
    ? 'stays by that of others once it is renewed'
    : 'stays a member by that of others';
  const rows = [...changed, ...told([['tokens still good', stillGood(open), plan.open_count], ...notes])];
  const end = rows.length > 0 ? ':' : '; nothing else changes.';
  return [
    printable(
      plan.staying.some(isSubject)
        ? `${what} is to be refused by the word of ${by.name}, and ${stays}${end}`
        : `${what} is to be refused, by the word of ${by.name}${end}`,
    ),
    ...rows.map((row) => rowText(...row)),
    ...(plan.early_count > 0 ? [EARLY] : []),
    ...(leavesTooFew ? [TOO_FEW] : []),
  ];
}

function rowText(what: string, names: readonly string[], count = names.length): string {
  return `  ${what.padEnd(25)}${namesText(names, count)}`;
}

/** @param count of all of them, those included that are not told here. */
export function namesText(
  names: readonly string[],
  count: number,
  shown_max: number = NAMES_SHOWN_MAX,
): string {
  const shown = names.slice(0, shown_max).map(printable).join(', ');
  const more = count - Math.min(names.length, shown_max);
  return more > 0 ? `${shown} and ${more} more` : shown;
}
