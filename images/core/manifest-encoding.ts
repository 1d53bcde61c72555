/** Writes manifests and configs: the same content always gives the same bytes. Source: OCI image specification. */
import type { Digest } from '../../protocols/base/ids.ts';
import { OCI_MANIFEST } from './media-types.ts';

export interface BlobReference {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

function reference(blob: BlobReference): BlobReference {
  return { mediaType: blob.mediaType, digest: blob.digest, size: blob.size };
}

export function encodeManifest(config: BlobReference, layers: readonly BlobReference[]): Uint8Array {
  return encodeJson({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: reference(config),
    layers: layers.map(reference),
  });
}

export interface ConfigInit {
  /** `os/architecture` */
  readonly platform: string;
  readonly diffIds: readonly Digest[];
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  /** As `80/tcp`. */
  readonly exposedPorts: readonly string[];
  readonly stopSignal: string;
}

/** Empty fields are left out; there is no date, so that a build of the same tree is the same image. */
export function encodeConfig(init: ConfigInit): Uint8Array {
  const [os, architecture] = init.platform.split('/');
  const filled = (list: readonly string[]) => (list.length > 0 ? list : undefined);
  const ports = [...init.exposedPorts].sort().map((port) => [port, {}]);
  return encodeJson({
    architecture,
    os,
    config: {
      User: init.user || undefined,
      ExposedPorts: ports.length > 0 ? Object.fromEntries(ports) : undefined,
      Env: filled(init.env),
      Entrypoint: filled(init.entrypoint),
      Cmd: filled(init.command),
      WorkingDir: init.workingDir || undefined,
      StopSignal: init.stopSignal || undefined,
    },
    rootfs: { type: 'layers', diff_ids: init.diffIds },
  });
}

function encodeJson(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}
