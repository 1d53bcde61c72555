/** `shoal token create`: a secret that lets hosts join. The token alone goes to stdout, to be piped. */
import type { Command } from 'commander';
import { NODE_TTL_MS_RANGE, TOKEN_TTL_MS_RANGE, TOKEN_USES_RANGE } from '../../api/client.ts';
import type { TokenRequest } from '../../api/schemas.ts';
import { durationsText, parseChoice, parseCount, parseDuration } from '../arguments.ts';
import { clientCommand, clientOf, plainCommand } from '../command.ts';
import { type OperatorOption, operatorKeyOf, withOperatorKey } from '../operator-option.ts';
import { noteReach, reachOf } from '../reach.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';
import { exactTimeText, shortDigest } from '../text.ts';
import { tokenListCommand } from './token-list.ts';
import { tokenRevokeCommand } from './token-revoke.ts';

/** All that a host can be granted. */
const ROLES = ['member', 'worker', 'deployer', 'admitter'] as const satisfies TokenRequest['roles'];

interface Options extends OperatorOption {
  readonly role?: string[];
  readonly ttl?: string;
  readonly uses?: string;
  readonly nodeTtl?: string;
  readonly json?: boolean;
}

export function tokenCommand(terminal: Terminal): Command {
  const creating = clientCommand('create', 'Make a join token', [
    'shoal token create > token                 # then: shoal join --token-file token',
    'shoal token create | ssh host2 shoal join',
    'shoal token create --uses 20 --ttl 1h --role member --role worker',
  ])
    .option(
      '--role <role...>',
      'what the joiner may do: member, worker, deployer, admitter (default: the first three)',
    )
    .option('--ttl <duration>', `how long it is good: ${durationsText(TOKEN_TTL_MS_RANGE)} (default: 15m)`)
    .option(
      '--uses <count>',
      `how many hosts may join with it, at most ${TOKEN_USES_RANGE.maximum} (default: 1)`,
    )
    .option(
      '--node-ttl <duration>',
      `how long the joiner is a member, ${durationsText(NODE_TTL_MS_RANGE)}; admitters renew it while it is alive (default: until revoked)`,
    )
    .option('--json', 'as JSON, with its expiry');
  const create = withOperatorKey(creating).action(async (options: Options, command: Command) => {
    const body: TokenRequest = {
      ...(options.role ? { roles: rolesOf(options.role) } : {}),
      ...(options.ttl === undefined
        ? {}
        : { ttl_ms: parseDuration(options.ttl, '--ttl', TOKEN_TTL_MS_RANGE) }),
      ...(options.uses === undefined ? {} : { uses: parseCount(options.uses, '--uses', TOKEN_USES_RANGE) }),
      ...(options.nodeTtl === undefined
        ? {}
        : { nodeTtl_ms: parseDuration(options.nodeTtl, '--node-ttl', NODE_TTL_MS_RANGE) }),
      ...(await operatorKeyOf(options)),
    };
    const client = clientOf(command, terminal);
    const reach = await reachOf(terminal, client);
    const token = await client.createToken(body, { signal: terminal.signal });
    noteReach(terminal, reach);
    if (options.json) return printJson(terminal, token);
    printLine(terminal, token.token);
    const times = token.uses === 1 ? 'once' : `${token.uses} times`;
    note(terminal, `Good ${times}, until ${exactTimeText(token.expires_ms)}. Keep it secret.`);
    note(terminal, `To take it back: shoal token revoke ${shortDigest(token.id)}`);
  });
  return plainCommand('token', 'Make, list and revoke join tokens', ['shoal token create', 'shoal token ls'])
    .addCommand(create)
    .addCommand(tokenListCommand(terminal))
    .addCommand(tokenRevokeCommand(terminal));
}

/** Each once. */
function rolesOf(given: readonly string[]): NonNullable<TokenRequest['roles']> {
  return [...new Set(given.map((role) => parseChoice(role, '--role', ROLES)))];
}
