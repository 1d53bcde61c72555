/** `shoal daemon`: runs the daemon in the foreground. The only command that does not talk to one. */

import type { Command } from 'commander';
import { Option } from 'commander';
import { ShoalError } from '../../../protocols/base/errors.ts';
import { parseCpu, parseMemory } from '../../../scheduler/units.ts';
import { defaultData } from '../../config/paths.ts';
import { collect, parsePair } from '../arguments.ts';
import { plainCommand, socketOf } from '../command.ts';
import type { Terminal } from '../terminal.ts';

interface Options {
  readonly data?: string;
  readonly listen?: string;
  readonly door?: string;
  readonly dns?: string[];
  readonly name?: string;
  readonly label?: string[];
  readonly driver: 'auto' | 'oci' | 'process';
  readonly host?: string;
  readonly capacityCpu?: string;
  readonly capacityMemory?: string;
  readonly upstream?: string[];
  readonly mdns: boolean;
  readonly logLevel: 'debug' | 'info' | 'warn';
}

export function daemonCommand(terminal: Terminal): Command {
  return plainCommand('daemon', 'Run the daemon of this host, in the foreground', [
    'shoal daemon',
    'shoal daemon --name van-3 --label zone=north --dns 127.0.0.1:53',
    'shoal daemon --data ./a --socket ./a.sock --listen 127.0.0.1:0 --door 127.0.0.1:0   # a second one to play with',
  ])
    .option(
      '--data <directory>',
      'what this node keeps (default: /var/lib/shoal as root, else below your home)',
    )
    .option(
      '--socket <path>',
      'where the API listens (default: /run/shoal/shoal.sock as root, else your own)',
    )
    .option('--listen <address>', 'where members connect, TCP (default: 0.0.0.0:4747)')
    .option('--door <address>', 'where hosts with a token connect, TCP (default: the same host, port 4748)')
    .option(
      '--dns <address>',
      'where DNS answers, UDP and TCP, besides the container network; repeat',
      collect,
    )
    .option('--name <name>', 'name of this node (default: from the host name)')
    .option('--label <key=value>', 'label for constraints; repeat', collect)
    .addOption(
      new Option('--driver <driver>', 'how containers run')
        .choices(['auto', 'oci', 'process'])
        .default('auto'),
    )
    .option('--host <address>', 'IP address at which other hosts reach this one (default: found)')
    .option('--capacity-cpu <cores>', 'what workloads may have in total (default: all)')
    .option('--capacity-memory <size>', 'what workloads may have in total (default: most)')
    .option(
      '--upstream <address>',
      'DNS server for other names; repeat; "none" (default: those of the host)',
      collect,
    )
    .option('--no-mdns', 'do not look for members on the LAN')
    .addOption(
      new Option('--log-level <level>', 'least level that is logged')
        .choices(['debug', 'info', 'warn'])
        .default('info'),
    )
    .action(async (options: Options, command: Command) => {
      const { checkOptions, parseListen, DOOR_PORT_DEFAULT, MESH_PORT_DEFAULT } = await import(
        '../../config/options.ts'
      );
      const listen = parseListen(options.listen ?? '0.0.0.0', MESH_PORT_DEFAULT, '--listen');
      const none = options.upstream?.length === 1 && options.upstream[0] === 'none';
      const checked = checkOptions({
        data: options.data ?? defaultData(terminal.env, terminal.uid),
        socket: socketOf(command, terminal),
        listen,
        door: parseListen(options.door ?? listen.host, DOOR_PORT_DEFAULT, '--door'),
        dns: (options.dns ?? []).map((text) => parseListen(text, 53, '--dns')),
        name: options.name ?? null,
        labels: Object.fromEntries((options.label ?? []).map((pair) => parsePair(pair, '--label'))),
        driver: options.driver,
        host: options.host ?? null,
        capacity: {
          cpu_millis:
            options.capacityCpu === undefined ? null : usage(() => parseCpu(options.capacityCpu ?? '')),
          memory_bytes:
            options.capacityMemory === undefined
              ? null
              : usage(() => parseMemory(options.capacityMemory ?? '')),
        },
        upstream: none ? [] : (options.upstream?.map((text) => parseListen(text, 53, '--upstream')) ?? null),
        mdns: options.mdns,
        logLevel: options.logLevel,
      });
      const { runDaemon } = await import('../../main.ts');
      await runDaemon(checked);
    });
}

/** The units speak of a spec; here it is a flag. */
function usage(parse: () => number): number {
  try {
    return parse();
  } catch (error) {
    if (error instanceof ShoalError)
      throw new ShoalError('E_USAGE', `--capacity-${error.message}`, { cause: error });
    throw error;
  }
}
