/** The systemd unit: what may pass by itself must not leave a host without its daemon. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import { ERRORS, type ErrorCode } from '../../protocols/base/errors.ts';

const UNIT = path.resolve(import.meta.dirname, '../../scripts/packaging/shoal.service');
/** Of a start, after a power cut of the whole site: an older daemon that ends, a disk that is full or fails once. */
const PASSING: ErrorCode[] = [
  'E_DATA_LOCKED',
  'E_SOCKET_IN_USE',
  'E_PORT_IN_USE',
  'E_ADDRESS_NOT_HERE',
  'E_DISK_FULL',
  'E_DISK_FAILED',
  'E_DATA_DENIED',
  'E_NETWORK_FAILED',
  'E_INTERNAL',
];

t.test(
  'systemd starts a daemon again for as long as it takes, unless its command line is wrong',
  async (t) => {
    const settings = new Map<string, string>();
    let section = '';
    for (const line of (await readFile(UNIT, 'utf8')).split('\n')) {
      section = /^\[(\w+)\]$/.exec(line)?.[1] ?? section;
      const [, name, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
      if (name !== undefined) settings.set(`${section}.${name}`, value!);
    }
    t.equal(settings.get('Unit.StartLimitIntervalSec'), '0');
    t.equal(settings.get('Service.Restart'), 'on-failure');
    t.ok(Number(settings.get('Service.RestartSec')) >= 3, 'and not in a tight loop');
    const prevented = settings.get('Service.RestartPreventExitStatus')!.split(' ').map(Number);
    t.same(prevented, [ERRORS.E_USAGE.exit]);
    for (const code of PASSING) t.notOk(prevented.includes(ERRORS[code].exit), code);
  },
);
