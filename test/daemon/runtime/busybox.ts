/** A root file system of one static busybox, as the layers that tests run containers from. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

const APPLETS = [
  ...[
    'sh',
    'echo',
    'sleep',
    'cat',
    'id',
    'seq',
    'ls',
    'mount',
    'head',
    'dd',
    'touch',
    'hostname',
    'ip',
    'grep',
    'true',
  ],
  ...['chmod', 'unshare', 'tail', 'mkdir', 'pwd', 'env'],
];
const PLACES = ['/bin/busybox', '/usr/bin/busybox', '/usr/bin/busybox.static', '/sbin/busybox'];

/** The reason why it cannot be made, or false. */
export function busyboxMissing(): string | false {
  const found = PLACES.find((place) => existsSync(place));
  if (!found) return 'needs busybox (package busybox-static)';
  // A static program names no interpreter.
  return readFileSync(found).includes('/ld-') ? 'needs a static busybox (package busybox-static)' : false;
}

/** Makes two layers in `directory`: programs, and files that a user lookup needs. Base first. */
export function busyboxLayers(directory: string): string[] {
  const base = path.join(directory, 'base');
  const top = path.join(directory, 'top');
  mkdirSync(path.join(base, 'bin'), { recursive: true });
  mkdirSync(path.join(base, 'tmp'));
  chmodSync(path.join(base, 'tmp'), 0o1777);
  copyFileSync(PLACES.find((place) => existsSync(place))!, path.join(base, 'bin/busybox'));
  chmodSync(path.join(base, 'bin/busybox'), 0o755);
  for (const applet of APPLETS) symlinkSync('busybox', path.join(base, 'bin', applet));
  mkdirSync(path.join(top, 'etc'), { recursive: true });
  writeFileSync(path.join(top, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nredis:x:101:102::/data:/bin/sh\n');
  writeFileSync(path.join(top, 'etc/group'), 'root:x:0:\nredis:x:102:\naudio:x:29:redis\n');
  return [base, top];
}
