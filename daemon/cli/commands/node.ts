/** `shoal node ls`: the members of the cluster, as this host sees them. An end to one is in node-revoke.ts. */
import type { Command } from 'commander';
import type { NodeInfo } from '../../api/schemas.ts';
import { clientCommand, clientOf, plainCommand } from '../command.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';
import { coresText, printable, sizeText, table } from '../text.ts';
import { nodeRemoveCommand, nodeRevokeCommand } from './node-revoke.ts';

function statusText({ status, copied, flagged }: NodeInfo): string {
  return [status, ...(copied ? ['copied'] : []), ...(flagged ? ['flagged'] : [])].join(', ');
}

export function nodeCommand(terminal: Terminal): Command {
  const list = clientCommand('ls', 'List the members; * is this host', [
    'shoal node ls',
    'shoal node ls --json',
  ])
    .option('--json', 'as JSON, with whole ids')
    .action(async (options: { json?: boolean }, command: Command) => {
      const nodes = await clientOf(command, terminal).nodes({ signal: terminal.signal });
      if (options.json) return printJson(terminal, nodes);
      const rows = nodes.map((node) => [
        `${node.name}${node.self ? '*' : ''}`,
        node.id.slice(-8),
        statusText(node),
        node.intent,
        node.host,
        node.driver,
        `${coresText(node.used.cpu_millis)}/${coresText(node.capacity.cpu_millis)}`,
        `${sizeText(node.used.memory_bytes)}/${sizeText(node.capacity.memory_bytes)}`,
        String(node.instances),
        node.version,
      ]);
      const head = [
        'NAME',
        'ID',
        'STATUS',
        'INTENT',
        'HOST',
        'DRIVER',
        'CPU',
        'MEMORY',
        'INSTANCES',
        'VERSION',
      ];
      printLine(terminal, table(head, rows));
      for (const { name } of nodes.filter(({ copied }) => copied))
        note(
          terminal,
          printable(
            `${name} is copied: two daemons run with its key, and it is now the one and now the other; ` +
              '`shoal status` says where both are and what to do.',
          ),
        );
      for (const { name } of nodes.filter(({ flagged }) => flagged))
        note(
          terminal,
          printable(
            `${name} is flagged: its key was used twice, by a copied data directory (stop one of the two) ` +
              `or by a thief (shoal node revoke ${name}).`,
          ),
        );
    });
  return plainCommand('node', 'List, revoke and remove members of the cluster', ['shoal node ls'])
    .addCommand(list)
    .addCommand(nodeRevokeCommand(terminal))
    .addCommand(nodeRemoveCommand(terminal));
}
