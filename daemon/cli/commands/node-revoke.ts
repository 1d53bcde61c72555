/** `shoal node revoke` and `shoal node rm`: an end to a node, one that lives and one that is gone. */
import type { Command } from 'commander';
import { clientCommand, clientOf } from '../command.ts';
import { type OperatorOption, operatorKeyOf, withOperatorKey } from '../operator-option.ts';
import { noteReach, reachOf } from '../reach.ts';
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
import type { Terminal } from '../terminal.ts';

interface RevokeOptions extends OperatorOption, PlanOptions, KeyRevocationOptions {}

interface RemoveOptions extends OperatorOption {
  readonly force?: boolean;
  readonly json?: boolean;
}

const AFTER = 'To come back it needs a fresh data directory and a token.';

export function nodeRevokeCommand(terminal: Terminal): Command {
  const command = clientCommand(
    'revoke',
    'Refuse the key of a node from now on: stolen, or no longer trusted',
    [
      "shoal node revoke host3 --reason 'stolen from the van'",
      'shoal node revoke host3 --since 6h --dry-run    # what would go if nothing of the last six hours counted',
      'shoal node revoke host3 --since 6h --keep-all   # but hosts that it let in since then stay',
      'shoal node revoke host1 --descendants --keep host2   # also those that it let in, but host2',
    ],
  )
    .argument('<node>', 'name or id')
    .option('--reason <text>', 'why, for those who look later')
    .option(
      '--since <time>',
      'void what it wrote after this: 6h, 2d, or a time in UTC (default: what is known of it counts)',
    )
    .option('--descendants', 'also refuse the hosts that it let in, and the tokens that it made');
  return withOperatorKey(withPlan(withKeeps(command))).action(
    async (node: string, options: RevokeOptions, command: Command) => {
      const body = { ...keyRevocationOf(options), ...(await operatorKeyOf(options)) };
      const client = clientOf(command, terminal);
      const plan = await client.planRevokeNode(node, body, { signal: terminal.signal });
      if (!(await isToBeDone(terminal, options, plan, body))) return;
      const reach = await reachOf(terminal, client);
      const done = await client.revokeNode(
        node,
        { ...body, ...agreedTo(options, plan) },
        { signal: terminal.signal },
      );
      showRevocation(terminal, options, { done, plan }, AFTER);
      noteOpenTokens(terminal, plan);
      noteReach(terminal, reach);
    },
  );
}

export function nodeRemoveCommand(terminal: Terminal): Command {
  const command = clientCommand('rm', 'Remove a node that is gone for good', [
    'shoal node rm host3',
    'shoal node rm host3 --force     # also if it lives',
  ])
    .argument('<node>', 'name or id')
    .option('-f, --force', 'also a node that is not failed')
    .option('--json', 'as JSON');
  return withOperatorKey(command).action(async (node: string, options: RemoveOptions, command: Command) => {
    const force = options.force ? { force: true } : {};
    const signing = await operatorKeyOf(options);
    const client = clientOf(command, terminal);
    const reach = await reachOf(terminal, client);
    const { signal } = terminal;
    // What it made before stays good: all that was known of it counts.
    const plan = await client.planRevokeNode(node, signing, { signal });
    const done = await client.removeNode(node, { ...force, ...signing }, { signal });
    showRevocation(terminal, options, { done, plan }, AFTER);
    if (done.effective) noteOpenTokens(terminal, plan);
    noteReach(terminal, reach);
  });
}
