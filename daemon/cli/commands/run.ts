/** `shoal run`: submits a workload, and shows its progress until it is healthy. */
import type { Command } from 'commander';
import { ShoalError } from '../../../protocols/base/errors.ts';
import type { ApiClient } from '../../api/client.ts';
import type { WatchEvent, WorkloadInfo } from '../../api/schemas.ts';
import { collect, parseDuration } from '../arguments.ts';
import { clientCommand, clientOf } from '../command.ts';
import { healthySlots } from '../progress.ts';
import { progressDisplay } from '../progress-display.ts';
import { type SpecOptions, specFromOptions } from '../spec-options.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';
import { table } from '../text.ts';

interface Options extends SpecOptions {
  readonly detach?: boolean;
  readonly timeout: string;
  readonly json?: boolean;
}

export function runCommand(terminal: Terminal): Command {
  return clientCommand('run', 'Run a workload in the cluster, or change one', [
    'shoal run web site:1 --replicas 3 --port http:8080 --health-http /',
    'shoal run redis redis:7 --cpu 0.5 --memory 256Mi -p redis:6379 --health-tcp',
    'shoal run worker tools:2 --env MODE=fast --constraint zone=a -- /bin/worker --verbose',
    'shoal run -f web.json --detach',
  ])
    .argument('[name]', 'name of the workload')
    .argument('[image]', 'name:tag or digest of an image')
    .argument('[command...]', 'after --: replaces the command of the image')
    .option('-f, --file <path>', 'spec as JSON; - for stdin. Flags win over it')
    .option('-n, --namespace <name>', 'namespace (default: default)')
    .option('--kind <kind>', 'service, or daemon for one on every node (default: service)')
    .option('--replicas <count>', 'how many instances (default: 1)')
    .option('--cpu <cores>', 'cores for each, as in 0.5 or 500m (default: 0.1)')
    .option('--memory <size>', 'memory for each, as in 256Mi (default: 128Mi)')
    .option('-p, --port <name:port>', 'port that it listens on; repeat', collect)
    .option('-e, --env <key=value>', 'environment variable, or KEY to pass on the one here; repeat', collect)
    .option('--env-file <path>', 'file of KEY=VALUE lines; repeat', collect)
    .option('--constraint <key=value>', 'only on nodes with this label; repeat', collect)
    .option('--health-http <path>', 'healthy when GET of this path succeeds')
    .option('--health-tcp', 'healthy when its port accepts connections')
    .option('--health-exec <command>', 'healthy when this shell command exits with 0')
    .option('--health-port <port>', 'port to check (default: the first)')
    .option('--health-interval <duration>', 'between checks (default: 1s)')
    .option('--health-timeout <duration>', 'of one check (default: 1s)')
    .option('--health-retries <count>', 'failures in a row that count (default: 3)')
    .option('--restart <policy>', 'always, on-failure or never (default: always)')
    .option('--stop-grace <duration>', 'from the stop signal to kill (default: 10s)')
    .option('-d, --detach', 'return when it is submitted')
    .option('--timeout <duration>', 'how long to wait until it is healthy', '5m')
    .option('--json', 'the workload as JSON at the end')
    .addHelpText(
      'after',
      '\nExits with 8 when no node can take it, and with 9 when it is not healthy in time.',
    )
    .action(
      async (
        name: string | undefined,
        image: string | undefined,
        argv: string[],
        options: Options,
        command: Command,
      ) => {
        const timeout_ms = parseDuration(options.timeout, '--timeout');
        const spec = await specFromOptions(name, image, argv, options, terminal);
        const client = clientOf(command, terminal);
        const submitted = await client.run(spec, { signal: terminal.signal });
        if (options.detach) return finish(terminal, options, submitted, undefined);
        const last = await untilHealthy(terminal, client, submitted, timeout_ms);
        finish(terminal, options, last.workload, last);
      },
    );
}

function finish(
  terminal: Terminal,
  options: Options,
  workload: WorkloadInfo,
  last: WatchEvent | undefined,
): void {
  if (options.json) {
    printJson(terminal, workload);
  } else if (!last) {
    printLine(terminal, `${workload.namespace}/${workload.name}`);
  } else {
    const rows = last.allocations
      .filter((one) => one.phase === 'running')
      .map((one) => [one.slot, one.nodeName, one.health, one.address ?? '-']);
    printLine(terminal, table(['INSTANCE', 'NODE', 'HEALTH', 'ADDRESS'], rows));
  }
}

/** @throws ShoalError E_TIMEOUT with what was missing, E_CANCELLED when the user gave up, E_NOT_FOUND when removed. */
async function untilHealthy(
  terminal: Terminal,
  client: ApiClient,
  submitted: WorkloadInfo,
  timeout_ms: number,
): Promise<WatchEvent> {
  const display = progressDisplay(terminal);
  const timeout = AbortSignal.timeout(timeout_ms);
  const signal = AbortSignal.any([terminal.signal, timeout]);
  const what = `${submitted.namespace}/${submitted.name}`;
  let last: WatchEvent | undefined;
  try {
    for await (const event of client.watch(submitted, { signal })) {
      // A node that has not caught up yet may show the generation before.
      if (event.workload.generation < submitted.generation) continue;
      last = event;
      display.show(event);
      if (healthySlots(event) >= event.workload.desired) return event;
    }
    throw new ShoalError('E_NOT_FOUND', `${what} was removed before it was healthy`);
  } catch (error) {
    if (timeout.aborted && !terminal.signal.aborted) throw tooLate(what, timeout_ms, last);
    if (terminal.signal.aborted) note(terminal, `${what} goes on without being watched; see \`shoal ps\`.`);
    throw error;
  } finally {
    display.end();
  }
}

function tooLate(what: string, timeout_ms: number, last: WatchEvent | undefined): ShoalError {
  const healthy = last ? healthySlots(last) : 0;
  const reasons = [
    ...(last?.waiting ?? []).flatMap((slot) => slot.reasons),
    ...(last?.allocations ?? []).map((one) => one.reason ?? ''),
  ].filter(Boolean);
  const why = reasons.length > 0 ? `: ${[...new Set(reasons)].slice(0, 3).join('; ')}` : '';
  const count = `${healthy} of ${last?.workload.desired ?? '?'}`;
  return new ShoalError(
    'E_TIMEOUT',
    `${what} is not healthy after ${timeout_ms / 1000} s (${count})${why}; it goes on`,
  );
}
