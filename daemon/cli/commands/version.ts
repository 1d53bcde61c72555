/** `shoal version`: of this command, and of the daemon if one answers. */
import type { Command } from 'commander';
import { isShoalError } from '../../../protocols/base/errors.ts';
import { packageVersion } from '../../version.ts';
import { clientCommand, clientOf } from '../command.ts';
import { printJson, printLine, type Terminal } from '../terminal.ts';

export function versionCommand(terminal: Terminal): Command {
  return clientCommand('version', 'Show the versions of this command and of the daemon', [
    'shoal version --json',
  ])
    .option('--json', 'as JSON')
    .action(async (options: { json?: boolean }, command: Command) => {
      const client = packageVersion();
      const daemon = await clientOf(command, terminal)
        .version({ signal: terminal.signal })
        .catch((error: unknown) => {
          if (isShoalError(error, 'E_NO_DAEMON') || isShoalError(error, 'E_SOCKET_DENIED')) return null;
          throw error;
        });
      if (options.json) return printJson(terminal, { version: client, daemon });
      printLine(terminal, `shoal ${client}`);
      printLine(
        terminal,
        daemon
          ? `daemon ${daemon.version}, API ${daemon.api}, Node.js ${daemon.runtime}`
          : 'daemon: none answers',
      );
    });
}
