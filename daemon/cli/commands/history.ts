/** `shoal cluster history`: who changed what, when and from where; one line a change, the latest last. */
import { type Command, Option } from 'commander';
import { CHANGE_KINDS, type ChangeKind } from '../../../protocols/base/change-kinds.ts';
import { isShoalError, ShoalError } from '../../../protocols/base/errors.ts';
import type { ApiClient } from '../../api/client.ts';
import type { ChangeInfo, HistoryQuery } from '../../api/trust-schemas.ts';
import { parseCount, parseSince } from '../arguments.ts';
import { clientCommand, clientOf } from '../command.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';
import { printable, shortDigest, table, timeText } from '../text.ts';

interface Options {
  readonly since?: string;
  readonly kind?: ChangeKind;
  readonly key?: string;
  readonly by?: string;
  readonly count?: string;
  readonly follow?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function historyCommand(terminal: Terminal): Command {
  return clientCommand('history', 'Show who changed what, as this host has seen it', [
    'shoal cluster history --since 2h',
    'shoal cluster history --kind workload --key web',
    'shoal cluster history --by host2 -n 200 --json',
    'shoal cluster history -f',
  ])
    .option(
      '--since <time>',
      'only what is not older, or came here later: 30m, 2h, 7d, or a time in UTC such as 2026-01-31T12:00',
    )
    .addOption(new Option('--kind <kind>', 'only changes of this kind').choices(CHANGE_KINDS))
    .option('--key <key>', 'only of this workload, image name or node')
    .option('--by <node>', 'only what was submitted at this node, or signed by this key')
    .option('-n, --count <count>', 'only the latest so many (default: 50, at most 10000)')
    .option('-f, --follow', 'go on as more comes')
    .option('-q, --quiet', 'only kind and key')
    .option('--json', 'as JSON; with --follow one object a line')
    .action(async (options: Options, command: Command) => {
      const query: HistoryQuery = {
        ...(options.since === undefined
          ? {}
          : { since_ms: parseSince(options.since, '--since', Date.now()) }),
        ...(options.kind === undefined ? {} : { kind: options.kind }),
        ...(options.key === undefined ? {} : { key: options.key }),
        ...(options.by === undefined ? {} : { by: options.by }),
        ...(options.count === undefined ? {} : { limit: parseLimit(options.count, options.follow === true) }),
      };
      const client = clientOf(command, terminal);
      if (options.follow) {
        await noteLoss(terminal, client, query);
        return follow(terminal, options, client.watchHistory(query, terminal));
      }
      const changes = await client.history(query, { signal: terminal.signal });
      // Reading finds what is damaged.
      await noteLoss(terminal, client, query);
      if (options.json) printJson(terminal, changes);
      else if (options.quiet) for (const change of changes) printLine(terminal, nameOf(change));
      else printLine(terminal, table(HEAD, changes.map(cells)));
    });
}

async function noteLoss(
  terminal: Terminal,
  client: ApiClient,
  { since_ms = 0 }: HistoryQuery,
): Promise<void> {
  const { historyLost_ms: lost_ms } = await client.status({ signal: terminal.signal });
  if (lost_ms === null || lost_ms <= since_ms) return;
  const when = timeText(lost_ms);
  note(
    terminal,
    `This host has lost lines of before ${when}, with a part of state.db; other members have theirs.`,
  );
}

async function follow(
  terminal: Terminal,
  options: Options,
  changes: AsyncIterable<ChangeInfo>,
): Promise<void> {
  try {
    for await (const change of changes) {
      const line = options.quiet ? nameOf(change) : cells(change).map(printable).join('  ');
      printLine(terminal, options.json ? JSON.stringify(change) : line);
    }
  } catch (error) {
    // To end it by hand is how following ends.
    if (!isShoalError(error, 'E_CANCELLED')) throw error;
  }
}

/** None is of use to a follower only, who then gets what is to come. @throws ShoalError E_USAGE */
function parseLimit(text: string, isFollowing: boolean): number {
  const count = parseCount(text, '--count', { minimum: 0, maximum: 10_000 });
  if (count === 0 && !isFollowing)
    throw new ShoalError('E_USAGE', '--count 0 shows nothing without --follow');
  return count;
}

/** Clocks differ by less, and a change is rarely longer on its way. */
const APART_MS = 60_000;

const HEAD = ['WHEN', 'AT', 'WHAT', 'ACTION', 'CHANGE'];

/** Of an image, whose key is long, the beginning of its digest. */
function nameOf({ kind, key, subjectName }: ChangeInfo): string {
  const name = kind === 'image' ? shortDigest(key.slice(key.lastIndexOf('/') + 1)) : key;
  return printable(`${kind}/${subjectName ?? name}`);
}

function cells(change: ChangeInfo): string[] {
  const { at_ms, seen_ms, authorName, kind, action, summary, concurrent, counts } = change;
  const marks = [
    ...(concurrent === 0 ? [] : [`concurrent with ${concurrent} other`]),
    ...(counts === false ? [kind === 'grant' || kind === 'revoke' ? 'without effect' : 'void'] : []),
    ...(Math.abs(seen_ms - at_ms) > APART_MS ? [`seen ${timeText(seen_ms)}`] : []),
  ];
  return [
    timeText(at_ms),
    authorName,
    nameOf(change),
    action,
    marks.reduce((text, mark) => `${text} (${mark})`, summary),
  ];
}
