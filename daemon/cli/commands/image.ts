/** `shoal image import | build | ls`. Paths are made absolute here, as the daemon works elsewhere. */
import path from 'node:path';
import type { Command } from 'commander';
import type { BuildRequest, Imported } from '../../api/schemas.ts';
import { collect, parseCount, parsePair } from '../arguments.ts';
import { clientCommand, clientOf, plainCommand } from '../command.ts';
import { noteConflict } from '../conflict.ts';
import { note, printJson, printLine, type Terminal } from '../terminal.ts';
import { shortDigest, sizeText, table } from '../text.ts';

function show(terminal: Terminal, made: readonly Imported[]): void {
  for (const one of made) {
    printLine(terminal, one.digest);
    note(
      terminal,
      `${one.names.join(', ') || 'no name'}: ${one.layers} layers, ${sizeText(one.size)}, ${sizeText(one.bytes)} new`,
    );
  }
}

function importCommand(terminal: Terminal): Command {
  return clientCommand('import', 'Import an OCI layout (directory or tar) or a `docker save` archive', [
    'shoal image import redis.tar',
    'shoal image import ./layout --name redis:7',
  ])
    .argument('<path>', 'on the host of the daemon')
    .option('--name <name>', 'name:tag; needed when the source names nothing')
    .option('--json', 'as JSON')
    .action(async (source: string, options: { name?: string; json?: boolean }, command: Command) => {
      const body = {
        path: path.resolve(source),
        ...(options.name === undefined ? {} : { name: options.name }),
      };
      const made = await clientOf(command, terminal).importImage(body, { signal: terminal.signal });
      if (options.json) printJson(terminal, made);
      else show(terminal, made);
    });
}

interface BuildOptions {
  readonly name: string;
  readonly base?: string;
  readonly entrypoint?: string[];
  readonly command?: string[];
  readonly env?: string[];
  readonly workdir?: string;
  readonly user?: string;
  readonly port?: string[];
  readonly json?: boolean;
}

function buildCommand(terminal: Terminal): Command {
  return clientCommand('build', 'Make an image from a directory, on top of another or of nothing', [
    'shoal image build ./site --name site:1 --base debian:12 --entrypoint python3 --command -m --command http.server',
  ])
    .argument('<directory>', 'on the host of the daemon; its tree becomes a layer')
    .requiredOption('--name <name>', 'name:tag of the image')
    .option('--base <image>', 'image to build on, which this host must have')
    .option('--entrypoint <argument>', 'program that it runs; repeat for its arguments', collect)
    .option('--command <argument>', 'default arguments; repeat', collect)
    .option('-e, --env <key=value>', 'environment variable; repeat', collect)
    .option('--workdir <path>', 'directory that it starts in')
    .option('--user <user>', 'user that it runs as')
    .option('-p, --port <port>', 'port that it listens on; repeat', collect)
    .option('--json', 'as JSON')
    .action(async (directory: string, options: BuildOptions, command: Command) => {
      const body: BuildRequest = {
        directory: path.resolve(directory),
        name: options.name,
        ...(options.base === undefined ? {} : { base: options.base }),
        ...(options.entrypoint ? { entrypoint: options.entrypoint } : {}),
        ...(options.command ? { command: options.command } : {}),
        ...(options.env
          ? { env: Object.fromEntries(options.env.map((pair) => parsePair(pair, '--env'))) }
          : {}),
        ...(options.workdir === undefined ? {} : { workingDir: options.workdir }),
        ...(options.user === undefined ? {} : { user: options.user }),
        ...(options.port ? { ports: options.port.map((port) => parseCount(port, '--port')) } : {}),
      };
      const made = await clientOf(command, terminal).buildImage(body, { signal: terminal.signal });
      if (options.json) printJson(terminal, made);
      else show(terminal, [made]);
    });
}

function listCommand(terminal: Terminal): Command {
  return clientCommand('ls', 'List the images that the cluster knows', [
    'shoal image ls',
    'shoal image ls --json',
  ])
    .option('--json', 'as JSON')
    .action(async (options: { json?: boolean }, command: Command) => {
      const images = await clientOf(command, terminal).images({ signal: terminal.signal });
      if (options.json) return printJson(terminal, images);
      const rows = images.map((image) => [
        image.names.join(',') || '-',
        shortDigest(image.digest),
        sizeText(image.size),
        String(image.layers.length),
        image.platform,
        image.here ? 'yes' : 'no',
      ]);
      printLine(terminal, table(['NAME', 'DIGEST', 'SIZE', 'LAYERS', 'PLATFORM', 'HERE'], rows));
      for (const { name, winner, siblings } of images.flatMap(({ conflicts }) => conflicts))
        noteConflict(
          terminal,
          name,
          winner,
          siblings,
          'Import or build it again under this name to settle it.',
        );
    });
}

export function imageCommand(terminal: Terminal): Command {
  return plainCommand('image', 'Import, build and list images', ['shoal image ls'])
    .addCommand(importCommand(terminal))
    .addCommand(buildCommand(terminal))
    .addCommand(listCommand(terminal));
}
