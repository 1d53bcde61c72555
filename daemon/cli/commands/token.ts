/** `shoal token create`: a secret that lets hosts join. The token alone goes to stdout, to be piped. */
import type { Command } from 'commander';
import type { TokenRequest } from '../../api/schemas.ts';
import { parseCount, parseDuration } from '../arguments.ts';
import { clientCommand, clientOf, plainCommand } from '../command.ts';
import { type OperatorOption, operatorKeyOf, withOperatorKey } from '../operator-option.ts';
import { noteReach, reachOf } from '../reach.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';
import { shortDigest } from '../text.ts';
import { tokenListCommand } from './token-list.ts';
import { tokenRevokeCommand } from './token-revoke.ts';

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
    .option('--ttl <duration>', 'how long it is good (default: 15m)')
    .option('--uses <count>', 'how many hosts may join with it (default: 1)')
    .option(
      '--node-ttl <duration>',
      'how long the joiner is a member; admitters renew it while it is alive (default: until revoked)',
    )
    .option('--json', 'as JSON, with its expiry');
  const create = withOperatorKey(creating).action(async (options: Options, command: Command) => {
    const body: TokenRequest = {
      // The daemon refuses what is no role, and says which are.
      ...(options.role ? { roles: options.role as NonNullable<TokenRequest['roles']> } : {}),
      ...(options.ttl === undefined ? {} : { ttl_ms: parseDuration(options.ttl, '--ttl') }),
      ...(options.uses === undefined ? {} : { uses: parseCount(options.uses, '--uses') }),
      ...(options.nodeTtl === undefined ? {} : { nodeTtl_ms: parseDuration(options.nodeTtl, '--node-ttl') }),
      ...(await operatorKeyOf(options)),
    };
    const client = clientOf(command, terminal);
    const reach = await reachOf(terminal, client);
    const token = await client.createToken(body, { signal: terminal.signal });
    noteReach(terminal, reach);
    if (options.json) return printJson(terminal, token);
    printLine(terminal, token.token);
    const times = token.uses === 1 ? 'once' : `${token.uses} times`;
    note(terminal, `Good ${times}, until ${new Date(token.expires_ms).toISOString()}. Keep it secret.`);
    note(terminal, `To take it back: shoal token revoke ${shortDigest(token.id)}`);
  });
  return plainCommand('token', 'Make, list and revoke join tokens', ['shoal token create', 'shoal token ls'])
    .addCommand(create)
    .addCommand(tokenListCommand(terminal))
    .addCommand(tokenRevokeCommand(terminal));
}
