/** `--operator-key`: commands that take rights away or give them may be signed with a key that no daemon keeps. It is sent to the daemon for that. */
import type { Command } from 'commander';
import { readOperatorKey } from './recovery-key.ts';

export interface OperatorOption {
  readonly operatorKey?: string;
}

export function withOperatorKey(command: Command): Command {
  return command.option(
    '--operator-key <file>',
    "sign with the operator's key in this file, which this host's daemon gets to see (default: the one on this host, or the key of this host)",
  );
}

/** The field of a request; empty when the option was not given. @throws ShoalError E_USAGE */
export async function operatorKeyOf({ operatorKey }: OperatorOption): Promise<{ operatorKey?: string }> {
  return operatorKey === undefined ? {} : { operatorKey: await readOperatorKey(operatorKey) };
}
