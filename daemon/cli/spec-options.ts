/** From the flags of `shoal run` to a workload spec as the API takes it. What is not given is left to the daemon. */
import { isShoalError, ShoalError } from '../../protocols/base/errors.ts';
import { parseCpu, parseMemory } from '../../scheduler/units.ts';
import {
  parseCount,
  parseDuration,
  parseEnvironment,
  parseEnvironmentFile,
  parsePair,
  parsePort,
} from './arguments.ts';
import { readTextUpTo } from './bounded-file.ts';
import { readStdin, type Terminal } from './terminal.ts';

/** The API takes no larger body (BODY_BYTES_MAX). */
const SPEC_BYTES_MAX = 1 << 20;

export interface SpecOptions {
  readonly file?: string;
  readonly namespace?: string;
  readonly kind?: string;
  readonly replicas?: string;
  readonly cpu?: string;
  readonly memory?: string;
  readonly port?: string[];
  readonly env?: string[];
  readonly envFile?: string[];
  readonly constraint?: string[];
  readonly healthHttp?: string;
  readonly healthTcp?: boolean;
  readonly healthExec?: string;
  readonly healthPort?: string;
  readonly healthInterval?: string;
  readonly healthTimeout?: string;
  readonly healthRetries?: string;
  readonly restart?: string;
  readonly stopGrace?: string;
}

type Fields = Record<string, unknown>;

/** Keeps only what was given. */
function given(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function healthOf(options: SpecOptions): Fields | undefined {
  const kinds = [options.healthHttp, options.healthTcp, options.healthExec].filter(
    (kind) => kind !== undefined,
  );
  if (kinds.length > 1)
    throw new ShoalError('E_USAGE', 'give one of --health-http, --health-tcp and --health-exec');
  const count = (text: string | undefined, field: string) =>
    text === undefined ? undefined : parseCount(text, field);
  const ms = (text: string | undefined, field: string) =>
    text === undefined ? undefined : parseDuration(text, field);
  const health = given({
    kind:
      options.healthHttp !== undefined
        ? 'http'
        : options.healthTcp
          ? 'tcp'
          : options.healthExec
            ? 'exec'
            : undefined,
    path: options.healthHttp,
    command: options.healthExec === undefined ? undefined : ['/bin/sh', '-c', options.healthExec],
    port: count(options.healthPort, '--health-port'),
    interval_ms: ms(options.healthInterval, '--health-interval'),
    timeout_ms: ms(options.healthTimeout, '--health-timeout'),
    retries: count(options.healthRetries, '--health-retries'),
  });
  return Object.keys(health).length === 0 ? undefined : health;
}

async function environmentOf(options: SpecOptions, env: NodeJS.ProcessEnv): Promise<Fields | undefined> {
  const pairs: [string, string][] = [];
  for (const file of options.envFile ?? []) {
    const text = await readTextUpTo(file, SPEC_BYTES_MAX).catch((cause: Error) => {
      throw new ShoalError('E_USAGE', `--env-file cannot be read: ${cause.message}`, { cause });
    });
    if (Buffer.byteLength(text) > SPEC_BYTES_MAX)
      throw new ShoalError('E_USAGE', `--env-file ${file} is over ${SPEC_BYTES_MAX} bytes`);
    pairs.push(...parseEnvironmentFile(text, file));
  }
  pairs.push(...(options.env ?? []).map((text) => parseEnvironment(text, env)));
  return pairs.length === 0 ? undefined : Object.fromEntries(pairs);
}

async function fileOf(file: string, terminal: Terminal): Promise<Fields> {
  let text: string;
  try {
    if (file === '-') text = (await readStdin(terminal, SPEC_BYTES_MAX)).toString('utf8');
    else text = await readTextUpTo(file, SPEC_BYTES_MAX);
  } catch (cause) {
    if (isShoalError(cause, 'E_CANCELLED')) throw cause;
    throw new ShoalError('E_USAGE', `the spec cannot be read: ${(cause as Error).message}`, { cause });
  }
  if (Buffer.byteLength(text) > SPEC_BYTES_MAX)
    throw new ShoalError('E_TOO_LARGE', `the spec is over ${SPEC_BYTES_MAX} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ShoalError('E_BAD_SPEC', `${file} is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ShoalError('E_BAD_SPEC', `${file} does not hold an object`);
  }
  return value as Fields;
}

/** Flags win over the file; resources, health and env of both are merged field by field. */
export async function specFromOptions(
  name: string | undefined,
  image: string | undefined,
  command: readonly string[],
  options: SpecOptions,
  terminal: Terminal,
): Promise<Fields> {
  const base = options.file === undefined ? {} : await fileOf(options.file, terminal);
  if (options.file === undefined && (name === undefined || image === undefined)) {
    throw new ShoalError('E_USAGE', 'give NAME and IMAGE, or a spec with --file');
  }
  const resources = given({
    cpu_millis: options.cpu === undefined ? undefined : parseCpu(options.cpu),
    memory_bytes: options.memory === undefined ? undefined : parseMemory(options.memory),
  });
  const constraints = Object.fromEntries(
    (options.constraint ?? []).map((pair) => parsePair(pair, '--constraint')),
  );
  const merged = (field: string, value: Fields | undefined) =>
    value && Object.keys(value).length > 0 ? { ...(base[field] as Fields | undefined), ...value } : undefined;
  return {
    ...base,
    ...given({
      name,
      image,
      namespace: options.namespace,
      kind: options.kind,
      replicas: options.replicas === undefined ? undefined : parseCount(options.replicas, '--replicas'),
      command: command.length > 0 ? command : undefined,
      ports: options.port?.map(parsePort),
      restart: options.restart,
      stop_grace_ms:
        options.stopGrace === undefined ? undefined : parseDuration(options.stopGrace, '--stop-grace'),
      resources: merged('resources', resources),
      health: merged('health', healthOf(options)),
      env: merged('env', await environmentOf(options, terminal.env)),
      constraints: merged('constraints', constraints),
    }),
  };
}
