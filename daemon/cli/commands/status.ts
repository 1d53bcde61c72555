/** `shoal status`: this node and its cluster at a glance. */
import type { Command } from 'commander';
import type { Status } from '../../api/schemas.ts';
import { clientCommand, clientOf } from '../command.ts';
import { printJson, printLine, type Terminal } from '../terminal.ts';
import { printable, sizeText, timeText } from '../text.ts';

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
      const lines: [string, string][] = [
        ['node', `${status.nodeName} (${status.node})`],
        ['cluster', status.cluster ? `${status.cluster.name} (${status.cluster.id})` : 'none yet'],
        ['standing', standing === null ? '-' : standingText(standing, Date.now())],
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

function standingText(standing: NonNullable<Status['standing']>, now: number): string {
  const { state, until_ms, renewableUntil_ms, reason } = standing;
  if (state === 'revoked' || state === 'evicted')
    return `${state} (${reason}): members refuse this node, and it places nothing more`;
  if (state === 'member') return until_ms === null ? state : `${state} until ${timeText(until_ms)}`;
  const ended = `expired at ${timeText(until_ms ?? 0)}: members refuse this node`;
  if (renewableUntil_ms !== null && now <= renewableUntil_ms)
    return `${ended} until an admitter that it reaches renews it, which can be until ${timeText(renewableUntil_ms)}`;
  return `${ended}, and no admitter renews it any more: give it a new token of this cluster with \`shoal join\`; it keeps its key and its data`;
}
