/** `shoal operator create | ls | add | revoke`: the keys that rule the cluster, and votes about them. */
import type { Command } from 'commander';
import type { Appointment } from '../../api/trust-schemas.ts';
import { clientCommand, clientOf, plainCommand } from '../command.ts';
import { confirm } from '../confirm.ts';
import { type OperatorOption, operatorKeyOf, withOperatorKey } from '../operator-option.ts';
import { noteReach, reachOf } from '../reach.ts';
import { createRecoveryKey } from '../recovery-key.ts';
import {
  agreedTo,
  isToBeDone,
  type KeyRevocationOptions,
  keyRevocationOf,
  noteOpenTokens,
  type PlanOptions,
  withKeeps,
  withPlan,
} from '../revocation.ts';
import { showRevocation } from '../revocation-note.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';
import { printable, table } from '../text.ts';

interface AddOptions extends OperatorOption {
  readonly yes?: boolean;
  readonly json?: boolean;
}

interface RevokeOptions extends OperatorOption, PlanOptions, KeyRevocationOptions {}

function createCommand(terminal: Terminal): Command {
  return plainCommand('create', 'Make a key for an operator to be; no daemon is asked', [
    'shoal operator create ./second.key     # prints its id, for `shoal operator add`',
  ])
    .argument('<file>', 'where to write the key; it must not exist')
    .action(async (file: string) => {
      printLine(terminal, await createRecoveryKey(file, 'operator create'));
      note(terminal, `${file} is the key: keep it offline. It may do nothing until operators add its id.`);
    });
}

function listCommand(terminal: Terminal): Command {
  return clientCommand('ls', 'List the operators, the most senior first', ['shoal operator ls'])
    .option('-q, --quiet', 'only the ids of those in force')
    .option('--json', 'as JSON')
    .action(async (options: { quiet?: boolean; json?: boolean }, command: Command) => {
      const operators = await clientOf(command, terminal).operators({ signal: terminal.signal });
      if (options.json) return printJson(terminal, operators);
      if (options.quiet) {
        for (const { key, revoked } of operators) if (!revoked) printLine(terminal, key);
        return;
      }
      const rows = operators.map(({ key, revoked }, rank) => [
        String(rank + 1),
        revoked ? 'revoked' : 'in force',
        key,
      ]);
      printLine(terminal, table(['RANK', 'STATE', 'ID'], rows));
    });
}

function addCommand(terminal: Terminal): Command {
  const command = clientCommand('add', 'Vote for a new operator', [
    'shoal operator add 12D3KooW…            # shows the id once more, and asks',
    'shoal operator add 12D3KooW… --operator-key /media/usb/shop.key',
  ])
    .argument('<id>', 'of its key, from `shoal operator create`')
    .option('-y, --yes', 'do not ask')
    .option('--json', 'as JSON');
  return withOperatorKey(command).action(async (key: string, options: AddOptions, command: Command) => {
    const body = { key, ...(await operatorKeyOf(options)) };
    const client = clientOf(command, terminal);
    const known = await client.operators({ signal: terminal.signal });
    const one = known.find((operator) => operator.key === key && !operator.revoked);
    if (one?.genesis !== true) await askToAdd(terminal, key, options, one !== undefined);
    const reach = await reachOf(terminal, client);
    const done = await client.appoint(body, { signal: terminal.signal });
    if (done.written) noteReach(terminal, reach);
    if (options.json) return printJson(terminal, done);
    printLine(terminal, key);
    note(terminal, addedText(done));
  });
}

async function askToAdd(
  terminal: Terminal,
  key: string,
  { yes = false }: AddOptions,
  isOne: boolean,
): Promise<void> {
  await confirm(
    terminal,
    isOne
      ? printable(
          `${key} is an operator already. One more vote keeps it one where those who made it one are revoked.`,
        ) + '\nA vote is kept for ever.'
      : printable(`${key} is to rule the cluster. Is this the id that \`shoal operator create\` printed?`) +
          '\nNobody can tell a mistyped one, and a vote is kept for ever.',
    yes,
    'a vote for an operator is kept for ever',
  );
}

function addedText({ effective, written, votes, needed }: Appointment): string {
  if (effective)
    return written ? 'It is an operator now.' : 'It is an operator already: nothing was changed.';
  const vote = written
    ? `This was vote ${votes} of ${needed}`
    : `This key has voted for it already, and nothing was changed; there are ${votes} votes of ${needed}`;
  return `${vote}: other operators have to add it too. Nobody can take a vote back: if it was a mistake, ${needed} of them have to \`shoal operator revoke\` this id.`;
}

function revokeCommand(terminal: Terminal): Command {
  const command = clientCommand('revoke', 'Vote against an operator: its key was lost or stolen', [
    "shoal operator revoke 1a2b3c4d --reason 'disk lost' --operator-key /media/usb/shop.key",
    'shoal operator revoke 1a2b3c4d --since 6h     # what it signed in the last six hours is void',
  ])
    .argument('<id>', 'of its key, or the last eight characters; also of one that was only voted for')
    .option('--reason <text>', 'why, for those who look later')
    .option(
      '--since <time>',
      'void what it signed after this: 6h, 2d, or a time in UTC (default: all of it counts)',
    )
    .option('--descendants', 'also void what hangs on the grants that it gave, and its votes for operators');
  return withOperatorKey(withPlan(withKeeps(command))).action(
    async (id: string, options: RevokeOptions, command: Command) => {
      const body = { ...keyRevocationOf(options), ...(await operatorKeyOf(options)) };
      const client = clientOf(command, terminal);
      const plan = await client.planRevokeOperator(id, body, { signal: terminal.signal });
      if (!(await isToBeDone(terminal, options, plan, body))) return;
      const reach = await reachOf(terminal, client);
      const done = await client.revokeOperator(
        id,
        { ...body, ...agreedTo(options, plan) },
        { signal: terminal.signal },
      );
      showRevocation(terminal, options, { done, plan }, 'Destroy the key if you have it.');
      noteOpenTokens(terminal, plan);
      noteReach(terminal, reach);
    },
  );
}

export function operatorCommand(terminal: Terminal): Command {
  return plainCommand('operator', 'Make, list, add and revoke the keys that rule the cluster', [
    'shoal operator ls',
  ])
    .addCommand(createCommand(terminal))
    .addCommand(listCommand(terminal))
    .addCommand(addCommand(terminal))
    .addCommand(revokeCommand(terminal));
}
