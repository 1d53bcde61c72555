/** `shoal init`: begins a cluster with the node of this host. */
import type { Command } from 'commander';
import { isShoalError } from '../../../protocols/base/errors.ts';
import { clientCommand, clientOf } from '../command.ts';
import { createRecoveryKey, discardRecoveryKey } from '../recovery-key.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';

interface Options {
  readonly name?: string;
  readonly recoveryKey?: string;
  readonly json?: boolean;
}

export function initCommand(terminal: Terminal): Command {
  return clientCommand('init', 'Begin a cluster with this host', [
    'shoal init',
    'shoal init --name shop --recovery-key /media/usb/shop.key   # then take the stick out',
  ])
    .option('--name <name>', 'name of the cluster')
    .option(
      '--recovery-key <file>',
      'write a new operator key there that is senior to the one on this host; keep it offline',
    )
    .option('--json', 'as JSON')
    .action(async (options: Options, command: Command) => {
      const { name, recoveryKey } = options;
      const recovery = recoveryKey === undefined ? undefined : await createRecoveryKey(recoveryKey);
      const body = {
        ...(name === undefined ? {} : { name }),
        ...(recovery === undefined ? {} : { recovery }),
      };
      const client = clientOf(command, terminal);
      const cluster = await client.init(body, { signal: terminal.signal }).catch(async (error: unknown) => {
        // An answer that says no. Without one the cluster may have begun: the key stays.
        if (recoveryKey !== undefined && isShoalError(error, 'E_ALREADY_CLUSTER'))
          await discardRecoveryKey(recoveryKey);
        throw error;
      });
      if (options.json) return printJson(terminal, cluster);
      printLine(terminal, cluster.id);
      note(terminal, `The cluster "${cluster.name}" has one node, ${cluster.nodeName}.`);
      if (recoveryKey !== undefined)
        note(
          terminal,
          `${recoveryKey} is its recovery key: whoever has it rules the cluster. Keep it offline.`,
        );
      note(terminal, 'To add a host: `shoal token create` here, then `shoal join` there.');
    });
}
