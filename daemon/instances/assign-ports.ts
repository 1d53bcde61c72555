/**
 * Ports of an instance. One with a network of its own gets the ports of its spec; those that share the host's address
 * get them while they are free, and any free ones after that.
 */
import net from 'node:net';
import type { WorkloadSpec } from '../../protocols/base/workload.ts';
import type { Attachment } from '../network/network.ts';

export async function assignPorts(
  wanted: WorkloadSpec['ports'],
  attachment: Attachment,
): Promise<Record<string, number>> {
  if (attachment.netns !== null) return Object.fromEntries(wanted.map(({ name, port }) => [name, port]));
  const ports: Record<string, number> = {};
  for (const { name, port } of wanted) {
    ports[name] =
      (await bindable(attachment.address, port)) ?? (await bindable(attachment.address, 0)) ?? port;
  }
  return ports;
}

/** @returns the port when it could be bound just now. Another may take it before the instance does: it then restarts. */
function bindable(host: string, port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ host, port, exclusive: true }, () => {
      const bound = (server.address() as net.AddressInfo).port;
      server.close(() => resolve(bound));
    });
  });
}
