/** `shoal token ls`: the join tokens that are good now, or all that there ever were, and who joined with them. */
import type { Command } from 'commander';
import { GRANTS_LISTED_MAX } from '../../api/client.ts';
import type { TokenInfo } from '../../api/trust-schemas.ts';
import { clientCommand, clientOf } from '../command.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';
import { shortDigest, table, timeText } from '../text.ts';

interface Options {
  readonly all?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function tokenListCommand(terminal: Terminal): Command {
  return clientCommand('ls', 'List the tokens that hosts can join with; the secrets are not kept', [
    'shoal token ls',
    'shoal token ls --all          # also used, expired and revoked ones, and who joined with them',
  ])
    .option('-a, --all', 'also those that nobody can join with any more')
    .option('-q, --quiet', 'only their ids')
    .option('--json', 'as JSON, with whole ids')
    .action(async (options: Options, command: Command) => {
      const query = options.all ? { all: true } : {};
      const tokens = await clientOf(command, terminal).tokens(query, { signal: terminal.signal });
      if (options.json) return printJson(terminal, tokens);
      if (options.quiet) return tokens.forEach(({ id }) => void printLine(terminal, id));
      const head = ['ID', 'STATE', 'USED', 'EXPIRES', 'MADE AT', 'ROLES', 'JOINED'];
      printLine(terminal, table(head, tokens.map(cells)));
      if (tokens.length === GRANTS_LISTED_MAX)
        note(terminal, 'There may be more than are listed: `shoal cluster info` counts all grants.');
    });
}

function cells(token: TokenInfo): string[] {
  return [
    shortDigest(token.id),
    token.state,
    `${token.used}/${token.uses ?? '-'}`,
    token.expires_ms === null ? 'never' : timeText(token.expires_ms),
    token.issuerName,
    token.roles.join(','),
    token.joined.map(({ nodeName }) => nodeName).join(',') || '-',
  ];
}
