import t from 'tap';
import {
  DOCUMENT_BYTES_MAX,
  documentKind,
  LAYERS_MAX,
  MANIFESTS_MAX,
  parseConfig,
  parseIndex,
  parseManifest,
} from '../../../images/core/documents.ts';
import { chooseManifest, linuxPlatform } from '../../../images/core/platform.ts';
import { isShoalError } from '../../../protocols/base/errors.ts';
import fc from '../../laws.ts';

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const digest = `sha256:${'0'.repeat(64)}`;
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: 2 };
const layer = { mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', digest, size: 3 };
const INVALID = { code: 'E_IMAGE_INVALID' };

t.test('OCI and docker manifests are read', async (t) => {
  const manifest = parseManifest(bytes({ schemaVersion: 2, config, layers: [layer] }));
  t.equal(manifest.config.digest, digest);
  t.same(
    manifest.layers.map((one) => one.size),
    [3],
  );
  t.equal(
    documentKind(bytes({ layers: [] }), 'application/vnd.docker.distribution.manifest.v2+json'),
    'manifest',
  );
  t.equal(documentKind(bytes({ manifests: [] }), ''), 'index');
});

t.test('what is no manifest is refused', async (t) => {
  const cases: [string, unknown][] = [
    ['schema 1', { schemaVersion: 1, config, layers: [] }],
    ['no layers', { schemaVersion: 2, config }],
    ['a foreign layer', { schemaVersion: 2, config, layers: [{ ...layer, mediaType: 'text/plain' }] }],
    ['no digest', { schemaVersion: 2, config: { ...config, digest: 'md5:1' }, layers: [] }],
    ['a negative size', { schemaVersion: 2, config: { ...config, size: -1 }, layers: [] }],
    ['a giant', { schemaVersion: 2, config: { ...config, size: 2 ** 50 }, layers: [] }],
    ['too many layers', { schemaVersion: 2, config, layers: Array(LAYERS_MAX + 1).fill(layer) }],
    ['a list', []],
  ];
  for (const [name, value] of cases) t.throws(() => parseManifest(bytes(value)), INVALID, name);
  t.throws(() => parseManifest(new Uint8Array(DOCUMENT_BYTES_MAX + 1)), INVALID, 'too large');
  t.throws(() => parseManifest(Uint8Array.of(0xff, 0xfe)), INVALID, 'not UTF-8');
  t.throws(() => parseIndex(bytes({ manifests: Array(MANIFESTS_MAX + 1).fill(layer) })), INVALID);
});

t.test('a config gives what a container needs', async (t) => {
  const parsed = parseConfig(
    bytes({
      os: 'linux',
      architecture: 'amd64',
      config: { Cmd: ['a'], Entrypoint: null, Env: ['A=b'], ExposedPorts: { '80/tcp': {} }, User: '1' },
      rootfs: { type: 'layers', diff_ids: [digest] },
    }),
  );
  t.equal(parsed.platform, 'linux/amd64');
  t.same(parsed.diffIds, [digest]);
  t.match(parsed.config, {
    command: ['a'],
    entrypoint: [],
    exposedPorts: ['80/tcp'],
    user: '1',
    workingDir: '',
  });
  t.throws(() => parseConfig(bytes({ rootfs: {} })), INVALID);
});

t.test('an index gives the manifest of this machine and no attestation', async (t) => {
  const entry = (platform: unknown, annotations = {}) => ({ ...layer, platform, annotations });
  const manifests = parseIndex(
    bytes({
      manifests: [
        entry({ os: 'linux', architecture: 'arm64' }),
        entry(
          { os: 'linux', architecture: 'amd64' },
          { 'vnd.docker.reference.type': 'attestation-manifest' },
        ),
        entry({ os: 'linux', architecture: 'amd64' }),
      ],
    }),
  );
  t.equal(chooseManifest(manifests, linuxPlatform('x64')), manifests[2]);
  t.equal(chooseManifest(manifests, linuxPlatform('arm64')), manifests[0]);
  t.equal(chooseManifest(manifests, 'linux/s390x'), undefined);
});

t.test('any JSON is read or refused, never anything else', async () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      for (const parse of [parseManifest, parseConfig, parseIndex]) {
        try {
          parse(bytes(value));
        } catch (error) {
          if (!isShoalError(error, 'E_IMAGE_INVALID')) return false;
        }
      }
      return true;
    }),
  );
});
