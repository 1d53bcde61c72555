/** `shoal cluster info`: the cluster as a whole. Its other command, `history`, is in history.ts. */
import type { Command } from 'commander';
import type { ClusterInfo } from '../../api/trust-schemas.ts';
import { clientCommand, clientOf, plainCommand } from '../command.ts';
import { printJson, printLine, type Terminal } from '../terminal.ts';
import { printable, sizeText, table, timeText } from '../text.ts';
import { historyCommand } from './history.ts';

function infoCommand(terminal: Terminal): Command {
  return clientCommand('info', 'Show the cluster: operators, members, ledger, keys that are refused', [
    'shoal cluster info',
    "shoal cluster info --json | jq -r '.ledger.hash'   # equal on nodes that know the same",
    'shoal cluster info -q',
  ])
    .option('-q, --quiet', 'only the id of the cluster')
    .option('--json', 'as JSON, with whole keys')
    .action(async (options: { json?: boolean; quiet?: boolean }, command: Command) => {
      const info = await clientOf(command, terminal).clusterInfo({ signal: terminal.signal });
      if (options.json) printJson(terminal, info);
      else if (options.quiet) printLine(terminal, info.id);
      else show(terminal, info);
    });
}

function show(terminal: Terminal, info: ClusterInfo): void {
  const { alive, suspect, failed } = info.members;
  const operators = info.operators.map(({ name, revoked }) => (revoked ? `${name} (revoked)` : name));
  const agree = info.threshold === 1 ? 'any one decides' : `${info.threshold} must agree about an operator`;
  const lines = [
    ['cluster', `${info.name} (${info.id})`],
    ['created', timeText(info.created_ms)],
    ['operators', `${operators.join(', ')}; ${agree}`],
    ['members', `${alive} alive, ${suspect} suspect, ${failed} failed; connected to ${info.peers}`],
    ['roles', info.roles.map(({ role, members }) => `${members} ${role}`).join(', ') || '-'],
    ['versions', info.versions.map(({ version, members }) => `${members} on ${version}`).join(', ') || '-'],
    ['range', info.range],
    ['ledger', `${info.ledger.records} records, ${sizeText(info.ledger.bytes)}, hash ${info.ledger.hash}`],
    [
      'collected',
      info.ledger.horizon_ms === 0 ? 'nothing yet' : `deletions up to ${timeText(info.ledger.horizon_ms)}`,
    ],
    ...(info.ledger.isInDoubt
      ? [
          [
            'in doubt',
            'this disk may hold what was deleted: it vouches for nothing until a deployer has told it',
          ],
        ]
      : []),
    ...info.ledger.awaiting.map(({ name }) => [
      'awaiting',
      `${name} has not acknowledged the next deletions`,
    ]),
    ...info.revocations.map(({ name, by, reason, written_ms, effective, votes, needed }) => {
      const said = `${name}, by ${by.name}, ${timeText(written_ms)}: ${reason || '-'}`;
      const open = needed > 1 ? ` (${votes} of ${needed} votes)` : ' (without effect)';
      return ['refused', effective ? said : `${said}${open}`];
    }),
    ...(info.revocationsLeftOut === 0
      ? []
      : [['refused', `${info.revocationsLeftOut} more are not shown: without effect, or said before`]]),
    ...info.flagged.map(({ name, by }) => [
      'flagged',
      `${name}: its key was used twice (seen by ${by.map((one) => one.name).join(', ')}): stop the copy, or revoke it`,
    ]),
  ] as const;
  for (const [name = '', value = ''] of lines) printLine(terminal, `${name.padEnd(11)}${printable(value)}`);
  const rows = info.ledger.kinds.map((kind) => [
    kind.kind,
    String(kind.records),
    String(kind.deleted),
    String(kind.conflicts),
    sizeText(kind.bytes),
  ]);
  printLine(terminal, `\n${table(['KIND', 'RECORDS', 'DELETED', 'CONFLICTS', 'SIZE'], rows)}`);
}

export function clusterCommand(terminal: Terminal): Command {
  return plainCommand('cluster', 'Look at the cluster as a whole, and at who changed what', [
    'shoal cluster info',
    'shoal cluster history --since 1d',
  ])
    .addCommand(infoCommand(terminal))
    .addCommand(historyCommand(terminal));
}
