/** The command line as a whole: its commands, and how a failure is shown. It has no state and starts nothing. */
import { Command, CommanderError } from 'commander';
import { EXIT, ShoalError } from '../../protocols/base/errors.ts';
import { removeCommand, scaleCommand, stopCommand } from './commands/change.ts';
import { clusterCommand } from './commands/cluster.ts';
import { daemonCommand } from './commands/daemon.ts';
import { execCommand } from './commands/exec.ts';
import { grantCommand } from './commands/grant.ts';
import { imageCommand } from './commands/image.ts';
import { initCommand } from './commands/init.ts';
import { joinCommand } from './commands/join.ts';
import { logsCommand } from './commands/logs.ts';
import { nodeCommand } from './commands/node.ts';
import { operatorCommand } from './commands/operator.ts';
import { psCommand } from './commands/ps.ts';
import { runCommand } from './commands/run.ts';
import { statusCommand } from './commands/status.ts';
import { tokenCommand } from './commands/token.ts';
import { versionCommand } from './commands/version.ts';
import { note, type Terminal } from './terminal.ts';
import { printable } from './text.ts';

/** Commands in the order in which a newcomer meets them. */
const COMMANDS = [
  daemonCommand,
  initCommand,
  tokenCommand,
  joinCommand,
  runCommand,
  psCommand,
  logsCommand,
  execCommand,
  scaleCommand,
  stopCommand,
  removeCommand,
  imageCommand,
  nodeCommand,
  grantCommand,
  operatorCommand,
  clusterCommand,
  statusCommand,
  versionCommand,
] as const;

function program(terminal: Terminal): Command {
  const root = new Command('shoal')
    .description('Containers on a handful of hosts to a few thousand, with no leader')
    .helpOption('-h, --help', 'show this help')
    .option('--socket <path>', 'socket of the daemon')
    .enablePositionalOptions()
    .addHelpText(
      'after',
      '\nBegin with:\n  shoal daemon &\n  shoal init\n  shoal token create        # then, on another host: shoal join\n' +
        '\nExit codes: docs/reference/exit-codes.md',
    );
  for (const command of COMMANDS) root.addCommand(command(terminal));
  const settle = (command: Command) => {
    command.exitOverride();
    command.configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: (text) => void terminal.stderr.write(text),
      outputError: () => {},
    });
    command.commands.forEach(settle);
  };
  settle(root);
  return root;
}

/** One line: code, what happened, what to do. */
function show(terminal: Terminal, error: ShoalError): void {
  const message = printable(error.message).replace(/[.\s]+$/, '');
  note(terminal, `shoal: ${error.code}: ${message}. ${error.next}`);
}

/** @param argv without node and script. @returns the exit code; it throws nothing but defects of its own. */
export async function runProgram(argv: readonly string[], terminal: Terminal): Promise<number> {
  try {
    await program(terminal).parseAsync(argv, { from: 'user' });
    return terminal.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return usageFailure(error, terminal);
    const expected =
      error instanceof ShoalError
        ? error
        : new ShoalError('E_INTERNAL', error instanceof Error ? error.message : String(error), {
            cause: error,
          });
    if (expected.code === 'E_INTERNAL' && error instanceof Error && error.stack && terminal.env.SHOAL_DEBUG) {
      note(terminal, error.stack);
    }
    show(terminal, expected);
    return expected.exit;
  }
}

function usageFailure(error: CommanderError, terminal: Terminal): number {
  if (error.exitCode === 0) return EXIT.ok;
  // `shoal` or `shoal image` alone: its help has been shown on stderr.
  if (error.code !== 'commander.help') {
    show(terminal, new ShoalError('E_USAGE', error.message.replace(/^error: /, '').replaceAll('\n', ' ')));
  }
  return EXIT.usage;
}
