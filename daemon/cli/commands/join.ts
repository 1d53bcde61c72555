/**
 * `shoal join`: makes this host a member of the cluster that a token is for.
 * The token is a secret, so it never comes from the command line, which all users of a host can read.
 */
import type { Command } from 'commander';
import { ShoalError } from '../../../protocols/base/errors.ts';
import { readTextUpTo } from '../bounded-file.ts';
import { clientCommand, clientOf } from '../command.ts';
import { ask } from '../question.ts';
import { note, printJson, printLine, readStdin, type Terminal } from '../terminal.ts';

/** No token is longer. */
const TOKEN_BYTES_MAX = 8192;

export function joinCommand(terminal: Terminal): Command {
  return clientCommand('join', 'Join a cluster with a token', [
    'shoal join --token-file token',
    'shoal join < token',
    'SHOAL_TOKEN=… shoal join',
    'ssh host1 shoal token create | shoal join',
  ])
    .argument('[token]', 'not here: see above for the ways to hand it over')
    .option('--token-file <path>', 'read the token from a file')
    .option('--json', 'as JSON')
    .action(
      async (
        given: string | undefined,
        options: { tokenFile?: string; json?: boolean },
        command: Command,
      ) => {
        if (given !== undefined) {
          throw new ShoalError(
            'E_USAGE',
            'a token on the command line can be read by all users of this host; ' +
              'use `shoal join --token-file FILE`, `shoal join < FILE` or SHOAL_TOKEN, and make a new token',
          );
        }
        const token = (await readToken(terminal, options.tokenFile)).trim();
        if (token === '') throw new ShoalError('E_TOKEN_MALFORMED', 'the token is empty');
        if (Buffer.byteLength(token) > TOKEN_BYTES_MAX)
          throw new ShoalError('E_TOKEN_MALFORMED', 'this is no token: it is too long');
        const cluster = await clientOf(command, terminal).join({ token }, { signal: terminal.signal });
        if (options.json) return printJson(terminal, cluster);
        printLine(terminal, cluster.id);
        note(terminal, `${cluster.nodeName} is a member of the cluster "${cluster.name}".`);
        for (const text of cluster.notes) note(terminal, `Note: ${text}.`);
      },
    );
}

async function readToken(terminal: Terminal, file: string | undefined): Promise<string> {
  if (file !== undefined) {
    return readTextUpTo(file, TOKEN_BYTES_MAX * 2).catch((cause: Error) => {
      throw new ShoalError('E_USAGE', `--token-file cannot be read: ${cause.message}`, { cause });
    });
  }
  if (terminal.env.SHOAL_TOKEN) return terminal.env.SHOAL_TOKEN;
  if (terminal.stdin.isTTY) return (await ask(terminal, 'Token: ')) ?? '';
  return (await readStdin(terminal, TOKEN_BYTES_MAX * 2)).toString('utf8');
}
