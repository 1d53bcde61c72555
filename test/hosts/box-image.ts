/** The files of an image of one static busybox, for `shoal image build`. */
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const APPLETS = [
  'sh',
  'echo',
  'sleep',
  'cat',
  'httpd',
  'wget',
  'nslookup',
  'tail',
  'head',
  'dd',
  'kill',
  'ls',
];

/** Root file system of one static busybox. @param files besides it: path to text. */
export function makeBusybox(directory: string, files: Readonly<Record<string, string>>): void {
  for (const name of ['bin', 'etc', 'tmp', 'www']) mkdirSync(path.join(directory, name), { recursive: true });
  copyFileSync('/bin/busybox', path.join(directory, 'bin/busybox'));
  for (const applet of APPLETS) symlinkSync('busybox', path.join(directory, 'bin', applet));
  writeFileSync(path.join(directory, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\n');
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(directory, name)), { recursive: true });
    writeFileSync(path.join(directory, name), text);
  }
}
