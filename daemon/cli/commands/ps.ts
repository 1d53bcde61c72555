/** `shoal ps`: what runs where. */
import type { Command } from 'commander';
import type { WorkloadInfo } from '../../api/schemas.ts';
import { parseReference } from '../arguments.ts';
import { clientCommand, clientOf } from '../command.ts';
import { noteConflict } from '../conflict.ts';
import { DEFAULT_NAMESPACE_TEXT } from '../namespace.ts';
import { printJson, printLine, type Terminal } from '../terminal.ts';
import { ageText, table } from '../text.ts';

interface Options {
  readonly namespace?: string;
  readonly node?: string;
  readonly all?: boolean;
  readonly workloads?: boolean;
  readonly json?: boolean;
}

export function psCommand(terminal: Terminal): Command {
  return clientCommand('ps', 'List instances, or workloads', [
    'shoal ps',
    'shoal ps web --json',
    'shoal ps --workloads',
  ])
    .argument('[workload]', 'only of this workload')
    .option('-n, --namespace <name>', 'only of this namespace')
    .option('--node <node>', 'only on this node')
    .option('-a, --all', 'also those that have ended, and those of failed nodes')
    .option('-w, --workloads', 'workloads instead of instances, stopped ones too')
    .option('--json', 'as JSON')
    .action((workload: string | undefined, options: Options, command: Command) =>
      options.workloads
        ? workloads(terminal, command, options)
        : instances(terminal, command, workload, options),
    );
}

async function workloads(terminal: Terminal, command: Command, options: Options): Promise<void> {
  const all = await clientOf(command, terminal).workloads({ signal: terminal.signal });
  const list = all.filter((one) => options.namespace === undefined || one.namespace === options.namespace);
  if (options.json) return printJson(terminal, list);
  const rows = list.map((one) => [
    `${one.namespace}/${one.name}`,
    one.spec.image,
    one.stopped ? 'stopped' : `${one.healthy}/${one.desired}`,
    String(one.running),
    String(one.generation),
    ageText(Date.now() - one.written_ms),
  ]);
  printLine(terminal, table(['WORKLOAD', 'IMAGE', 'HEALTHY', 'RUNNING', 'GENERATION', 'AGE'], rows));
  noteConflicts(terminal, list);
}

async function instances(
  terminal: Terminal,
  command: Command,
  workload: string | undefined,
  options: Options,
): Promise<void> {
  const ref =
    workload === undefined
      ? undefined
      : parseReference(workload, options.namespace ?? DEFAULT_NAMESPACE_TEXT);
  const client = clientOf(command, terminal);
  const found = await client.allocations(
    {
      ...(ref ? { namespace: ref.namespace, workload: ref.name } : {}),
      ...(!ref && options.namespace !== undefined ? { namespace: options.namespace } : {}),
      ...(options.node === undefined ? {} : { node: options.node }),
      ...(options.all ? { all: true } : {}),
    },
    { signal: terminal.signal },
  );
  const list = ref?.index === undefined ? found : found.filter((one) => one.index === ref.index);
  if (options.json) return printJson(terminal, list);
  const rows = list.map((one) => [
    one.slot,
    one.nodeStatus === 'alive' ? one.nodeName : `${one.nodeName} (${one.nodeStatus})`,
    one.exitCode === null ? one.phase : `${one.phase} (${one.exitCode})`,
    one.health,
    one.address ?? '-',
    Object.entries(one.ports)
      .map(([name, port]) => `${name}:${port}`)
      .join(',') || '-',
    String(one.restarts),
    ageText(Date.now() - one.since_ms),
    one.reason ?? '',
  ]);
  const head = ['INSTANCE', 'NODE', 'PHASE', 'HEALTH', 'ADDRESS', 'PORTS', 'RESTARTS', 'AGE', 'REASON'];
  printLine(terminal, table(head, rows));
  const all = await client.workloads({ signal: terminal.signal });
  const namespace = ref?.namespace ?? options.namespace;
  noteConflicts(
    terminal,
    all.filter(
      (one) =>
        (namespace === undefined || one.namespace === namespace) &&
        (ref === undefined || one.name === ref.name),
    ),
  );
}

/** Writes that did not know of each other: the user is to know of those that lost. */
function noteConflicts(terminal: Terminal, workloads: readonly WorkloadInfo[]): void {
  for (const { namespace, name, generation, authorName, written_ms, siblings } of workloads) {
    if (siblings.length === 0) continue;
    const winner = { generation, authorName, written_ms };
    noteConflict(terminal, `${namespace}/${name}`, winner, siblings, 'Run or scale it again to settle it.');
  }
}
