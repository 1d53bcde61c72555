/** Turns a workload spec and an image config into a container spec. Pure: decides, does nothing. */
import { createHash } from 'node:crypto';
import type { ImageConfig, ReadyImage } from '../../images/images.ts';
import { ShoalError } from '../../protocols/base/errors.ts';
import type { SlotName, WorkloadSpec } from '../../protocols/base/workload.ts';
import type { Attachment } from '../network/network.ts';
import type { ContainerInfo, ContainerSpec, Mount } from '../runtime/runtime.ts';

/** What an instance's log may take on disk before its oldest half goes. */
export const LOGS_BYTES_MAX = 16 << 20;

/** Labels by which a daemon finds its containers again. */
export const LABEL = {
  slot: 'shoal.slot',
  attempt: 'shoal.attempt',
  spec: 'shoal.spec',
  address: 'shoal.address',
  ports: 'shoal.ports',
} as const;

/** A container of an earlier daemon, as its labels tell. */
export interface FoundContainer {
  readonly id: string;
  readonly isRunning: boolean;
  /** It ran, and does no more. One that was never started is neither. */
  readonly hasEnded: boolean;
  readonly attempt: number;
  readonly spec: WorkloadSpec;
  /** Where it is reached; undefined: a version started it that kept this in records alone. */
  readonly address: string | undefined;
  readonly ports: Readonly<Record<string, number>> | undefined;
}

export interface ContainerPlanInit {
  readonly slot: SlotName;
  readonly index: number;
  readonly attempt: number;
  readonly spec: WorkloadSpec;
  readonly image: ReadyImage;
  readonly attachment: Attachment;
  /** Port name to the port that the instance must listen on. */
  readonly ports: Readonly<Record<string, number>>;
  readonly nodeName: string;
  readonly mounts: readonly Mount[];
}

/** @returns undefined when a label is damaged. */
export function readFound({ id, state, labels }: ContainerInfo): FoundContainer | undefined {
  const ports = labels[LABEL.ports];
  try {
    return {
      id,
      isRunning: state === 'running',
      hasEnded: state === 'stopped',
      attempt: Number(labels[LABEL.attempt]),
      spec: JSON.parse(labels[LABEL.spec] ?? '') as WorkloadSpec,
      address: labels[LABEL.address],
      ports: ports === undefined ? undefined : (JSON.parse(ports) as Record<string, number>),
    };
  } catch {
    return undefined;
  }
}

/** Unique for each attempt, readable, at most 63 characters. */
export function containerId(slot: SlotName, attempt: number): string {
  return `${idStart(slot)}${attempt}`;
}

/** How the ids of all attempts in a slot begin, and no others. */
export function idStart(slot: SlotName): string {
  const hash = createHash('sha256').update(slot).digest('hex').slice(0, 8);
  const [, name = '', index = ''] = slot.split('/');
  return `${name.slice(0, 32)}-${index}-${hash}-`;
}

/** @throws E_BAD_SPEC when neither spec nor image says what to run. */
export function planContainer(init: ContainerPlanInit): ContainerSpec {
  const { spec, image, attachment, ports } = init;
  const argv = argumentVector(spec, image.config);
  return {
    id: containerId(init.slot, init.attempt),
    labels: {
      [LABEL.slot]: init.slot,
      [LABEL.attempt]: String(init.attempt),
      [LABEL.spec]: JSON.stringify(spec),
      [LABEL.address]: attachment.address,
      [LABEL.ports]: JSON.stringify(ports),
    },
    lowerDirs: image.lowerDirs,
    argv,
    env: environment(init),
    workingDir: image.config.workingDir || '/',
    user: image.config.user,
    resources: spec.resources,
    hostname: `${spec.name}-${init.index}`.slice(0, 63),
    mounts: init.mounts,
    netns: attachment.netns,
    stopSignal: image.config.stopSignal || 'SIGTERM',
    logs_bytes_max: LOGS_BYTES_MAX,
  };

  function environment({ index, nodeName, slot }: ContainerPlanInit): Record<string, string> {
    const env: Record<string, string> = {};
    for (const pair of image.config.env) {
      const equals = pair.indexOf('=');
      if (equals > 0) env[pair.slice(0, equals)] = pair.slice(equals + 1);
    }
    const [first] = spec.ports;
    const assigned = first && ports[first.name];
    return {
      ...env,
      SHOAL_NODE: nodeName,
      SHOAL_SLOT: slot,
      SHOAL_INDEX: String(index),
      SHOAL_ADDRESS: attachment.address,
      ...Object.fromEntries(
        Object.entries(ports).map(([name, port]) => [
          `SHOAL_PORT_${name.toUpperCase().replaceAll('-', '_')}`,
          String(port),
        ]),
      ),
      // Where instances share the host's address, programs must be told where to listen: the usual two variables.
      ...(attachment.netns === null && assigned ? { HOST: attachment.address, PORT: String(assigned) } : {}),
      ...spec.env,
    };
  }
}

/** Source: OCI image specification, config: Entrypoint and Cmd; a command of the spec replaces both. */
function argumentVector(spec: WorkloadSpec, config: ImageConfig): readonly string[] {
  const argv = spec.command.length > 0 ? spec.command : [...config.entrypoint, ...config.command];
  if (argv.length === 0)
    throw new ShoalError('E_BAD_SPEC', `neither the spec nor ${spec.image} says what to run`);
  return argv;
}
