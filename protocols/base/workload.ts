/**
 * The workload specification: what a user asks for. One schema serves the CLI, the HTTP API, the ledger and the
 * scheduler. Units are in the names: `cpu_millis` (1000 = one core), `memory_bytes`, `..._ms`.
 */
import Type, { type Static } from 'typebox';
import { LABEL_PATTERN } from './label.ts';

export const REPLICAS_MAX = 1000;
export const DEFAULT_NAMESPACE = 'default';

const Label = Type.String({ pattern: LABEL_PATTERN, maxLength: 63 });
const Port = Type.Integer({ minimum: 1, maximum: 65535 });

/** What one instance may ask for, and what one host may offer. */
export const RESOURCE_BOUNDS = {
  cpu_millis: { minimum: 1, maximum: 1_000_000 },
  memory_bytes: { minimum: 1 << 20, maximum: 2 ** 46 },
};

export const ResourcesSchema = Type.Object({
  /** Thousandths of a core, reserved and enforced. */
  cpu_millis: Type.Integer(RESOURCE_BOUNDS.cpu_millis),
  memory_bytes: Type.Integer(RESOURCE_BOUNDS.memory_bytes),
});
export type Resources = Static<typeof ResourcesSchema>;

export const HealthSchema = Type.Object({
  /** `none`: running is healthy. */
  kind: Type.Union([Type.Literal('none'), Type.Literal('tcp'), Type.Literal('http'), Type.Literal('exec')]),
  /** For tcp and http; default: the first port of the spec. */
  port: Type.Optional(Port),
  path: Type.Optional(Type.String({ pattern: '^/', maxLength: 1024 })),
  command: Type.Optional(Type.Array(Type.String({ maxLength: 4096 }), { minItems: 1, maxItems: 64 })),
  interval_ms: Type.Integer({ minimum: 100, maximum: 3_600_000 }),
  timeout_ms: Type.Integer({ minimum: 50, maximum: 600_000 }),
  /** Failures in a row that make a healthy instance unhealthy. */
  retries: Type.Integer({ minimum: 1, maximum: 100 }),
});
export type Health = Static<typeof HealthSchema>;

export const WorkloadSpecSchema = Type.Object({
  namespace: Label,
  name: Label,
  kind: Type.Union([Type.Literal('service'), Type.Literal('daemon')]),
  /** Image name as in `redis:7`, or a manifest digest. */
  image: Type.String({ minLength: 1, maxLength: 512 }),
  /** Replaces the image's entrypoint and command when not empty. */
  command: Type.Array(Type.String({ maxLength: 32_768 }), { maxItems: 256 }),
  env: Type.Record(
    Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,255}$' }),
    Type.String({ maxLength: 32_768 }),
  ),
  /** For `service`; `daemon` runs one on every matching node. */
  replicas: Type.Integer({ minimum: 0, maximum: REPLICAS_MAX }),
  resources: ResourcesSchema,
  /** Container ports; the first is the default of a health check and of SRV answers. */
  ports: Type.Array(Type.Object({ name: Label, port: Port }), { maxItems: 64 }),
  /** All must equal the node's label; the label `name` is the node's name. */
  constraints: Type.Record(Type.String({ maxLength: 128 }), Type.String({ maxLength: 256 })),
  health: HealthSchema,
  restart: Type.Union([Type.Literal('always'), Type.Literal('on-failure'), Type.Literal('never')]),
  /** SIGTERM (or the image's stop signal), then SIGKILL after this. */
  stop_grace_ms: Type.Integer({ minimum: 0, maximum: 3_600_000 }),
});
export type WorkloadSpec = Static<typeof WorkloadSpecSchema>;

/** What a spec means where its author said nothing. */
export const SPEC_DEFAULTS = {
  namespace: DEFAULT_NAMESPACE,
  kind: 'service',
  command: [] as string[],
  env: {} as Record<string, string>,
  replicas: 1,
  resources: { cpu_millis: 100, memory_bytes: 128 << 20 },
  ports: [] as { name: string; port: number }[],
  constraints: {} as Record<string, string>,
  health: { kind: 'none', interval_ms: 1000, timeout_ms: 1000, retries: 3 },
  restart: 'always',
  stop_grace_ms: 10_000,
} as const;

/** `<namespace>/<name>`: how a workload is keyed everywhere. */
export type WorkloadName = `${string}/${string}`;

export function workloadName(namespace: string, name: string): WorkloadName {
  return `${namespace}/${name}`;
}

/** `<namespace>/<name>/<index>`: one place that an instance may fill. */
export type SlotName = `${string}/${string}/${number}`;

export function slotName(namespace: string, name: string, index: number): SlotName {
  return `${namespace}/${name}/${index}`;
}
