/** `shoal grant ls`: which key may do what, until when, and by whose word. */
import type { Command } from 'commander';
import { GRANTS_LISTED_MAX } from '../../api/client.ts';
import type { GrantInfo } from '../../api/trust-schemas.ts';
import { clientCommand, clientOf, plainCommand } from '../command.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';
import { shortDigest, table, timeText } from '../text.ts';

interface Options {
  readonly all?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

function listCommand(terminal: Terminal): Command {
  return clientCommand('ls', 'List the grants that are in force, the oldest first', [
    'shoal grant ls',
    'shoal grant ls --all --json',
  ])
    .option('-a, --all', 'also expired, revoked and void ones')
    .option('-q, --quiet', 'only their ids')
    .option('--json', 'as JSON, with whole keys')
    .action(async (options: Options, command: Command) => {
      const query = options.all ? { all: true } : {};
      const grants = await clientOf(command, terminal).grants(query, { signal: terminal.signal });
      if (options.json) return printJson(terminal, grants);
      if (options.quiet) return grants.forEach(({ id }) => void printLine(terminal, id));
      const head = ['ID', 'TO', 'MAY', 'BY', 'STATE', 'EXPIRES', 'GRANTED'];
      printLine(terminal, table(head, grants.map(cells)));
      if (grants.length === GRANTS_LISTED_MAX)
        note(terminal, 'There may be more than are listed: `shoal cluster info` counts all grants.');
    });
}

function cells(grant: GrantInfo): string[] {
  return [
    shortDigest(grant.id),
    grant.subjectName,
    grant.roles.join(','),
    grant.issuerName,
    grant.state,
    grant.expires_ms === null ? 'never' : timeText(grant.expires_ms),
    timeText(grant.granted_ms),
  ];
}

export function grantCommand(terminal: Terminal): Command {
  return plainCommand('grant', 'List who may do what', ['shoal grant ls']).addCommand(listCommand(terminal));
}
