/** `shoal init`: begins a cluster with the node of this host. */
import type { Command } from 'commander';
import { isShoalError } from '../../../protocols/base/errors.ts';
import { collect, parseCount } from '../arguments.ts';
import { clientCommand, clientOf } from '../command.ts';
import { createRecoveryKeys, discardRecoveryKeys } from '../recovery-key.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';

interface Options {
  readonly name?: string;
  readonly recoveryKey?: string[];
  readonly threshold?: string;
  readonly json?: boolean;
}

export function initCommand(terminal: Terminal): Command {
  return clientCommand('init', 'Begin a cluster with this host', [
    'shoal init',
    'shoal init --name shop --recovery-key /media/usb/shop.key   # then take the stick out',
    'shoal init --recovery-key /media/a/key --recovery-key /media/b/key --threshold 2',
  ])
    .option('--name <name>', 'name of the cluster')
    .option(
      '--recovery-key <file>',
      'write a new operator key there that is senior to the one on this host; keep it offline (repeatable)',
      collect,
    )
    .option('--threshold <count>', 'how many operator keys it takes to add or revoke one (default: 1)')
    .option('--json', 'as JSON')
    .action(async (options: Options, command: Command) => {
      const { name, recoveryKey: files = [] } = options;
      const threshold =
        options.threshold === undefined ? {} : { threshold: parseCount(options.threshold, '--threshold') };
      const recovery = await createRecoveryKeys(files);
      const body = {
        ...(name === undefined ? {} : { name }),
        ...(recovery.length === 0 ? {} : { recovery }),
        ...threshold,
      };
      const client = clientOf(command, terminal);
      const cluster = await client.init(body, { signal: terminal.signal }).catch(async (error: unknown) => {
        // An answer that says no. Without one the cluster may have begun: the keys stay.
        if (isShoalError(error, 'E_ALREADY_CLUSTER') || isShoalError(error, 'E_BAD_INPUT'))
          await discardRecoveryKeys(files);
        throw error;
      });
      if (options.json) return printJson(terminal, cluster);
      printLine(terminal, cluster.id);
      note(terminal, `The cluster "${cluster.name}" has one node, ${cluster.nodeName}.`);
      if (files.length > 0)
        note(
          terminal,
          `Recovery keys: ${files.join(', ')}. Who has them rules the cluster: keep them offline.`,
        );
      note(terminal, 'To add a host: `shoal token create` here, then `shoal join` there.');
    });
}
