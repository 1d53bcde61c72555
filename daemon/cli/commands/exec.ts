/** `shoal exec`: runs a command in an instance and exits with its exit code. */
import { Buffer } from 'node:buffer';
import type { Command } from 'commander';
import { ShoalError } from '../../../protocols/base/errors.ts';
import { parseReference } from '../arguments.ts';
import { clientCommand, clientOf } from '../command.ts';
import { DEFAULT_NAMESPACE_TEXT } from '../namespace.ts';
import { readStdin, type Terminal } from '../terminal.ts';

/** The daemon takes no more (EXEC_STDIN_BYTES_MAX). */
const STDIN_BYTES_MAX = 4 << 20;

interface Options {
  readonly namespace: string;
  readonly node?: string;
  readonly stdin: boolean;
}

export function execCommand(terminal: Terminal): Command {
  return clientCommand('exec', 'Run a command in an instance', [
    'shoal exec web -- cat /etc/resolv.conf',
    'echo PING | shoal exec redis/0 redis-cli',
    'shoal exec --no-stdin web/1 date',
  ])
    .addHelpText('after', '\nExits with the exit code of the command.')
    .argument('<instance>', 'NAME, NAME/INDEX or NAMESPACE/NAME/INDEX')
    .argument('<command...>', 'the command and its arguments')
    .option('--node <node>', 'the instance on this node')
    .option('-n, --namespace <name>', 'namespace of the workload', DEFAULT_NAMESPACE_TEXT)
    .option('--no-stdin', 'send no input; otherwise all of stdin is sent first, unless it is a terminal')
    .passThroughOptions()
    .action(async (instance: string, given: string[], options: Options, command: Command) => {
      const ref = {
        ...parseReference(instance, options.namespace),
        ...(options.node === undefined ? {} : { node: options.node }),
      };
      const input = options.stdin && !terminal.stdin.isTTY ? await readInput(terminal) : undefined;
      // What follows the instance is passed through as it is, the separator too.
      const argv = given[0] === '--' ? given.slice(1) : given;
      if (argv.length === 0) throw new ShoalError('E_USAGE', 'the command is missing');
      const body = { argv, ...(input ? { stdin: input.toString('base64') } : {}) };
      let exit: number | undefined;
      for await (const event of clientOf(command, terminal).exec(ref, body, { signal: terminal.signal })) {
        if ('exit' in event) exit = event.exit;
        else terminal[event.stream].write(Buffer.from(event.data, 'base64'));
      }
      if (exit === undefined)
        throw new ShoalError('E_NO_DAEMON', 'the daemon went away before the command had ended');
      terminal.exitCode = exit;
    });
}

async function readInput(terminal: Terminal): Promise<Buffer> {
  const input = await readStdin(terminal, STDIN_BYTES_MAX);
  if (input.byteLength > STDIN_BYTES_MAX)
    throw new ShoalError('E_TOO_LARGE', `stdin is over the limit of ${STDIN_BYTES_MAX} bytes`);
  return input;
}
