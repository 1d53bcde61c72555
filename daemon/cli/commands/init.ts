/** `shoal init`: begins a cluster with the node of this host. */
import type { Command } from 'commander';
import { clientCommand, clientOf } from '../command.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';

export function initCommand(terminal: Terminal): Command {
  return clientCommand('init', 'Begin a cluster with this host', ['shoal init', 'shoal init --name shop'])
    .option('--name <name>', 'name of the cluster')
    .option('--json', 'as JSON')
    .action(async (options: { name?: string; json?: boolean }, command: Command) => {
      const body = options.name === undefined ? {} : { name: options.name };
      const cluster = await clientOf(command, terminal).init(body, { signal: terminal.signal });
      if (options.json) return printJson(terminal, cluster);
      printLine(terminal, cluster.id);
      note(terminal, `The cluster "${cluster.name}" has one node, ${cluster.nodeName}.`);
      note(terminal, 'To add a host: `shoal token create` here, then `shoal join` there.');
    });
}
