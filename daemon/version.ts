/** The version of this package, as its package.json says: found by looking upward, from a checkout or an installed build. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

export function packageVersion(): string {
  for (
    let directory = import.meta.dirname;
    directory !== path.dirname(directory);
    directory = path.dirname(directory)
  ) {
    const file = path.join(directory, 'package.json');
    if (existsSync(file)) return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
  }
  return '0.0.0';
}
