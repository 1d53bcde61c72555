/** `shoal status`: this node and its cluster at a glance. */
import type { Command } from 'commander';
import { clientCommand, clientOf } from '../command.ts';
import { printJson, printLine, type Terminal } from '../terminal.ts';
import { printable, sizeText } from '../text.ts';

export function statusCommand(terminal: Terminal): Command {
  return clientCommand('status', 'Show this node and its cluster', ['shoal status', 'shoal status --json'])
    .option('--json', 'as JSON')
    .action(async (options: { json?: boolean }, command: Command) => {
      const status = await clientOf(command, terminal).status({ signal: terminal.signal });
      if (options.json) return printJson(terminal, status);
      const sum = (list: readonly { bytes: number }[]) =>
        sizeText(list.reduce((total, one) => total + one.bytes, 0));
      const { alive, suspect, failed } = status.members;
      const kept = status.guard.peers.filter((peer) => peer.standing !== 'good');
      const { standing } = status;
      const until = standing?.until_ms ? ` until ${new Date(standing.until_ms).toISOString()}` : '';
      const lines: [string, string][] = [
        ['node', `${status.nodeName} (${status.node})`],
        ['cluster', status.cluster ? `${status.cluster.name} (${status.cluster.id})` : 'none yet'],
        ['standing', standing === null ? '-' : standingText(standing.state, until, standing.reason)],
        ['members', `${alive} alive, ${suspect} suspect, ${failed} failed`],
        ['runtime', `${status.driver}, network ${status.network}${status.subnet ? ` ${status.subnet}` : ''}`],
        ['listens', [...status.addresses, ...status.doors].join(' ') || '-'],
        ['dns', status.dns.join(' ') || '-'],
        ['images', `${sum(status.traffic.received)} received, ${sum(status.traffic.sent)} sent`],
        ...kept.map((peer): [string, string] => [peer.standing, peer.nodeName]),
        ['version', status.version],
      ];
      for (const { message } of status.problems) lines.push(['problem', message]);
      for (const [name, value] of lines) printLine(terminal, `${name.padEnd(9)}${printable(value)}`);
    });
}

function standingText(
  state: 'member' | 'expired' | 'revoked' | 'evicted',
  until: string,
  reason: string | null,
): string {
  if (state === 'revoked' || state === 'evicted')
    return `${state} (${reason}): members refuse this node, and it places nothing more`;
  if (state === 'expired')
    return `expired${until.replace('until', 'at')}: members refuse this node until it is renewed`;
  return `member${until}`;
}
