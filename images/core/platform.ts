/** Which manifest of an index is for this machine. Source: OCI image specification, image index, platform. */
import type { Descriptor } from './documents.ts';

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: 'ppc64le',
  mipsel: 'mipsle',
};

/** @param arch as `process.arch` names it. @returns `linux/` and the name that Go and OCI use. */
export function linuxPlatform(arch: string): string {
  return `linux/${ARCHITECTURES[arch] ?? arch}`;
}

/** Attestations and signatures sit beside images in an index; they are no images. */
function isImage(descriptor: Descriptor): boolean {
  return (
    !('vnd.docker.reference.type' in descriptor.annotations) && descriptor.platform !== 'unknown/unknown'
  );
}

/** @returns the manifest for the platform, else the first that does not name one, else undefined. */
export function chooseManifest(manifests: readonly Descriptor[], platform: string): Descriptor | undefined {
  const images = manifests.filter(isImage);
  return (
    images.find((manifest) => manifest.platform === platform) ??
    images.find((manifest) => manifest.platform === undefined)
  );
}
