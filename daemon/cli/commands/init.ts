/** `shoal init`: begins a cluster with the node of this host. */
import type { Command } from 'commander';
import { isShoalError } from '../../../protocols/base/errors.ts';
import { isUnanswered } from '../../api/client.ts';
import { collect, parseCount, parseLabel } from '../arguments.ts';
import { clientCommand, clientOf } from '../command.ts';
import { createRecoveryKeys, discardRecoveryKeys } from '../recovery-key.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';

interface Options {
  readonly name?: string;
  readonly recoveryKey?: string[];
  readonly threshold?: string;
  readonly json?: boolean;
}

/** Whoever says no has begun nothing. Without an answer, or with one that was not expected, nobody knows. */
function mayHaveBegun(error: unknown): boolean {
  return (
    !isShoalError(error) || isUnanswered(error) || error.code === 'E_INTERNAL' || error.code === 'E_CANCELLED'
  );
}

export function initCommand(terminal: Terminal): Command {
  return clientCommand('init', 'Begin a cluster with this host', [
    'shoal init',
    'shoal init --name shop --recovery-key /media/usb/shop.key   # then take the stick out',
    'shoal init --recovery-key /media/a/key --recovery-key /media/b/key --threshold 2',
  ])
    .option('--name <name>', 'name of the cluster, as in DNS: a-z, 0-9 and - (default: shoal)')
    .option(
      '--recovery-key <file>',
      'write a new operator key there that is senior to the one on this host; keep it offline (repeatable)',
      collect,
    )
    .option('--threshold <count>', 'how many operator keys it takes to add or revoke one (default: 1)')
    .option('--json', 'as JSON')
    .action(async (options: Options, command: Command) => {
      const { recoveryKey: files = [] } = options;
      const name = options.name === undefined ? {} : { name: parseLabel(options.name, '--name') };
      const threshold =
        options.threshold === undefined ? {} : { threshold: parseCount(options.threshold, '--threshold') };
      const recovery = await createRecoveryKeys(files);
      const body = {
        ...name,
        ...(recovery.length === 0 ? {} : { recovery }),
        ...threshold,
      };
      const client = clientOf(command, terminal);
      const cluster = await client.init(body, { signal: terminal.signal }).catch(async (error: unknown) => {
        if (!mayHaveBegun(error)) await discardRecoveryKeys(files);
        else if (files.length > 0)
          note(
            terminal,
            `The cluster may have begun: ${files.join(', ')} may be the key of it. \`shoal operator ls\` tells; if this is no cluster, remove the file.`,
          );
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
