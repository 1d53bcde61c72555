/** `shoal scale`, `stop` and `rm`: changes of a workload that exists. They return when the change is written. */
import type { Command } from 'commander';
import { ShoalError } from '../../../protocols/base/errors.ts';
import type { WorkloadRef } from '../../api/backend.ts';
import type { WorkloadInfo } from '../../api/schemas.ts';
import { parseCount, parseReference } from '../arguments.ts';
import { clientCommand, clientOf } from '../command.ts';
import { DEFAULT_NAMESPACE_TEXT } from '../namespace.ts';
import { printJson, printLine, type Terminal } from '../terminal.ts';

interface Options {
  readonly namespace: string;
  readonly json?: boolean;
}

function workloadOf(text: string, options: Options): WorkloadRef {
  const { index, namespace, name } = parseReference(text, options.namespace);
  if (index !== undefined)
    throw new ShoalError('E_USAGE', `"${text}" is an instance: give the workload, ${namespace}/${name}`);
  return { namespace, name };
}

function changeCommand(name: string, summary: string, examples: string[]): Command {
  return clientCommand(name, summary, examples)
    .argument('<workload>', 'NAME or NAMESPACE/NAME')
    .option('-n, --namespace <name>', 'namespace of the workload', DEFAULT_NAMESPACE_TEXT)
    .option('--json', 'as JSON');
}

function show(terminal: Terminal, options: Options, now: WorkloadInfo): void {
  if (options.json) printJson(terminal, now);
  else printLine(terminal, `${now.namespace}/${now.name}`);
}

export function scaleCommand(terminal: Terminal): Command {
  return changeCommand('scale', 'Change the number of replicas', ['shoal scale web 5'])
    .argument('<replicas>', 'how many instances there are to be')
    .action(async (workload: string, replicas: string, options: Options, command: Command) => {
      const count = parseCount(replicas, 'replicas');
      const signal = { signal: terminal.signal };
      show(
        terminal,
        options,
        await clientOf(command, terminal).scale(workloadOf(workload, options), count, signal),
      );
    });
}

export function stopCommand(terminal: Terminal): Command {
  return changeCommand('stop', 'Stop a workload and keep its spec', [
    'shoal stop web',
    'shoal scale web 3         # starts it again',
  ]).action(async (workload: string, options: Options, command: Command) => {
    const signal = { signal: terminal.signal };
    show(terminal, options, await clientOf(command, terminal).stop(workloadOf(workload, options), signal));
  });
}

export function removeCommand(terminal: Terminal): Command {
  return changeCommand('rm', 'Remove a workload and stop its instances', ['shoal rm web']).action(
    async (workload: string, options: Options, command: Command) => {
      const ref = workloadOf(workload, options);
      await clientOf(command, terminal).remove(ref, { signal: terminal.signal });
      if (options.json) printJson(terminal, { removed: `${ref.namespace}/${ref.name}` });
      else printLine(terminal, `${ref.namespace}/${ref.name}`);
    },
  );
}
