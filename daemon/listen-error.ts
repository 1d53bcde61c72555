/** What to tell of an address and port that cannot be listened on. */
import { ShoalError } from '../protocols/base/errors.ts';

/** @param who listens, for the message. @returns E_PORT_IN_USE, E_PORT_DENIED, E_ADDRESS_NOT_HERE or E_NETWORK_FAILED. */
export function listenError(who: string, host: string, port: number, cause: unknown): ShoalError {
  const where = `${host} port ${port}`;
  switch ((cause as NodeJS.ErrnoException).code) {
    case 'EADDRINUSE':
      return new ShoalError('E_PORT_IN_USE', `${who} cannot listen on ${where}: it is in use`, { cause });
    case 'EADDRNOTAVAIL':
      return new ShoalError(
        'E_ADDRESS_NOT_HERE',
        `${who} cannot listen on ${where}: this host does not have that address`,
        { cause },
      );
    case 'EACCES':
    case 'EPERM':
      return new ShoalError(
        'E_PORT_DENIED',
        `${who} may not listen on ${where}: run as root, or choose a port above 1023`,
        { cause },
      );
    default:
      return new ShoalError('E_NETWORK_FAILED', `${who} cannot listen on ${where}: ${String(cause)}`, {
        cause,
      });
  }
}
