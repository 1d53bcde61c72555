/** `shoal token revoke`: nobody joins with a token any more, whoever has it. */
import type { Command } from 'commander';
import { clientCommand, clientOf } from '../command.ts';
import { type OperatorOption, operatorKeyOf, withOperatorKey } from '../operator-option.ts';
import { noteAbsent, noteReach, reachOf } from '../reach.ts';
import { agreedTo, isToBeDone, namesText, type PlanOptions, stayingTexts, withPlan } from '../revocation.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';

/** Of grants of hosts that are members, or may be again once they are renewed. */
const STAYING: ReadonlySet<string> = new Set(['valid', 'used-up', 'expired']);

interface Options extends OperatorOption, PlanOptions {
  readonly reason?: string;
  readonly hosts?: boolean;
}

export function tokenRevokeCommand(terminal: Terminal): Command {
  const command = clientCommand('revoke', 'Let nobody join with a token any more', [
    'shoal token revoke 4f5c0e91a2b3',
    "shoal token revoke 4f5c0e91a2b3 --hosts --reason 'was on the lost laptop'",
  ])
    .argument('<id>', 'of the token, from `shoal token ls`; the first eight characters are enough')
    .option('--hosts', 'also refuse the hosts that joined with it (default: they stay)')
    .option('--reason <text>', 'why, for those who look later');
  return withOperatorKey(withPlan(command)).action(async (id: string, options: Options, command: Command) => {
    const body = {
      ...(options.reason === undefined ? {} : { reason: options.reason }),
      ...(options.hosts ? { hosts: true } : {}),
      ...(await operatorKeyOf(options)),
    };
    const client = clientOf(command, terminal);
    const plan = await client.planRevokeToken(id, body, { signal: terminal.signal });
    if (!options.hosts) await noteAbsent(terminal, client);
    if (!(await isToBeDone(terminal, options, plan, { isToken: true }))) return;
    const reach = await reachOf(terminal, client);
    const token = await client.revokeToken(
      id,
      { ...body, ...agreedTo(options, plan) },
      { signal: terminal.signal },
    );
    noteReach(terminal, reach);
    if (options.json) return printJson(terminal, token);
    printLine(terminal, token.id);
    // Some that joined with it may stay by another grant, or were refused before.
    const refused = plan.nodes.ends.map(({ name }) => name);
    const staying = token.joined.filter(({ state }) => STAYING.has(state)).map(({ nodeName }) => nodeName);
    const others = stayingTexts(plan);
    const fates: [string, readonly string[], number][] = [
      options.hosts
        ? ['Refused from now on', refused, plan.nodes.ends_count]
        : ['Joined with it, and stay', staying, staying.length],
      ['Refused until renewed', others.untilRenewed, plan.untilRenewed_count],
      ['Stay all the same', others.now, others.now_count],
    ];
    for (const [fate, names, count] of fates)
      if (names.length > 0) note(terminal, `${fate}: ${namesText(names, count, names.length)}.`);
  });
}
