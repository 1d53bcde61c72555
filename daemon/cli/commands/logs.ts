/** `shoal logs`: the output of one instance; its stderr goes to stderr. */
import type { Command } from 'commander';
import { isShoalError } from '../../../protocols/base/errors.ts';
import type { LogEvent } from '../../api/schemas.ts';
import { parseCount, parseReference } from '../arguments.ts';
import { clientCommand, clientOf } from '../command.ts';
import { DEFAULT_NAMESPACE_TEXT } from '../namespace.ts';
import { printLine, type Terminal } from '../terminal.ts';
import { exactTimeText } from '../text.ts';

interface Options {
  readonly namespace: string;
  readonly node?: string;
  readonly follow?: boolean;
  readonly tail?: string;
  readonly timestamps?: boolean;
  readonly json?: boolean;
}

export function logsCommand(terminal: Terminal): Command {
  return clientCommand('logs', 'Show the output of an instance', [
    'shoal logs web',
    'shoal logs -f --tail 20 web/2',
  ])
    .argument('<instance>', 'NAME, NAME/INDEX or NAMESPACE/NAME/INDEX')
    .option('-f, --follow', 'go on as more comes')
    .option('--tail <lines>', 'only the last lines of the past')
    .option('-t, --timestamps', 'with the time of each line')
    .option('--node <node>', 'the instance on this node')
    .option('-n, --namespace <name>', 'namespace of the workload', DEFAULT_NAMESPACE_TEXT)
    .option('--json', 'one JSON object a line')
    .action(async (instance: string, options: Options, command: Command) => {
      const ref = {
        ...parseReference(instance, options.namespace),
        ...(options.node === undefined ? {} : { node: options.node }),
      };
      const lines = clientOf(command, terminal).logs(ref, {
        signal: terminal.signal,
        ...(options.follow ? { follow: true } : {}),
        ...(options.tail === undefined ? {} : { tail: parseCount(options.tail, '--tail') }),
      });
      try {
        for await (const line of lines) show(terminal, line, options);
      } catch (error) {
        // To end it by hand is how following ends.
        if (!(options.follow && isShoalError(error, 'E_CANCELLED'))) throw error;
      }
    });
}

function show(terminal: Terminal, line: LogEvent, options: Options): void {
  if (options.json) {
    printLine(terminal, JSON.stringify(line));
    return;
  }
  const at = options.timestamps && line.at_ms !== null ? `${exactTimeText(line.at_ms)} ` : '';
  terminal[line.stream].write(`${at}${line.text}\n`);
}
