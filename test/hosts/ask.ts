/** Questions that programs on a test host ask: DNS over UDP and TCP, HTTP. Each is a process in the host's namespace. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ShoalHosts } from './shoal-hosts.ts';

const CLIENT = pathToFileURL(path.resolve(import.meta.dirname, '../daemon/dns/dns-client.ts')).href;

/** Prints the response in hex. */
const DNS = `
  const { askTcp, askUdp, queryBytes } = await import(${JSON.stringify(CLIENT)});
  const [address, name, transport] = process.argv.slice(1);
  const server = { address, port: 53 };
  const query = queryBytes(name);
  const framed = Buffer.concat([Buffer.from([query.length >> 8, query.length & 255]), query]);
  const message = transport === 'udp' ? await askUdp(server, query) : (await askTcp(server, framed))[0];
  if (!message) throw new Error('no answer');
  console.log(message.toString('hex'));
`;

const HTTP = `
  const response = await fetch(process.argv[1], { signal: AbortSignal.timeout(5000) });
  console.log(response.status + ' ' + (await response.text()).trim());
`;

export interface DnsAnswer {
  readonly rcode: number;
  readonly addresses: readonly string[];
}

/** Asks the DNS server of a host from that host. @throws Error when it does not answer. */
export async function askDns(
  hosts: ShoalHosts,
  number: number,
  name: string,
  transport: 'udp' | 'tcp',
): Promise<DnsAnswer> {
  const hex = await script(hosts, number, DNS, [hosts.dns(number).address, name, transport]);
  const message = Buffer.from(hex, 'hex');
  return { rcode: message.readUInt8(3) & 15, addresses: addressRecords(message).sort() };
}

/** Addresses of the A records that answer the one question of a message. Source: RFC 1035, section 4.1. */
function addressRecords(message: Buffer): string[] {
  const found: string[] = [];
  let at = skipName(message, 12) + 4;
  for (let left = message.readUInt16BE(6); left > 0; left--) {
    at = skipName(message, at);
    const length = message.readUInt16BE(at + 8);
    const data = message.subarray(at + 10, at + 10 + length);
    if (message.readUInt16BE(at) === 1) found.push(data.join('.'));
    at += 10 + length;
  }
  return found;
}

function skipName(message: Buffer, from: number): number {
  for (let at = from; ; at += message.readUInt8(at) + 1) {
    if (message.readUInt8(at) >= 0xc0) return at + 2;
    if (message.readUInt8(at) === 0) return at + 1;
  }
}

/** GET from a host. @returns status and body in one line. @throws Error when there is no response. */
export function askHttp(hosts: ShoalHosts, number: number, url: string): Promise<string> {
  return script(hosts, number, HTTP, [url]);
}

async function script(
  hosts: ShoalHosts,
  number: number,
  text: string,
  argv: readonly string[],
): Promise<string> {
  const command = [process.execPath, '--input-type=module', '-e', text, ...argv];
  const { code, stdout, stderr } = await hosts.net.exec(number, command);
  if (code !== 0)
    throw new Error(`it ended with ${code}: ${stderr.trim().split('\n').slice(0, 8).join(' ')}`);
  return stdout.trim();
}
