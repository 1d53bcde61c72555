/** What all commands share: how one is made, and how it finds its daemon. */
import { Command } from 'commander';
import { ApiClient } from '../api/client.ts';
import { defaultSocket } from '../config/paths.ts';
import type { Terminal } from './terminal.ts';

export interface SocketOption {
  readonly socket?: string;
}

/**
 * A command that talks to a daemon.
 * @param examples lines of a shell, shown below the options.
 */
export function clientCommand(name: string, summary: string, examples: readonly string[]): Command {
  return plainCommand(name, summary, examples).option(
    '--socket <path>',
    'socket of the daemon (default: $SHOAL_SOCKET, or the usual place)',
  );
}

export function plainCommand(name: string, summary: string, examples: readonly string[]): Command {
  const shown = examples.map((example) => `  ${example}`).join('\n');
  return new Command(name)
    .description(summary)
    .helpOption('-h, --help', 'show this help')
    .addHelpText('after', `\nExamples:\n${shown}`);
}

/** The flag wins, also when it stands before the command; then SHOAL_SOCKET; then the usual place. */
export function socketOf(command: Command, terminal: Terminal): string {
  for (let at: Command | null = command; at; at = at.parent) {
    const given = at.opts<SocketOption>().socket;
    if (given) return given;
  }
  return terminal.env.SHOAL_SOCKET || defaultSocket(terminal.env, terminal.uid);
}

export function clientOf(command: Command, terminal: Terminal): ApiClient {
  return new ApiClient(socketOf(command, terminal));
}
